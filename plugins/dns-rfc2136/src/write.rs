//! One write: compare and set by epoch on the primary, then read back from every server.
//!
//! Repeating a write is safe: what stands there already is not written again. Does not know sockets or fleets.

use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use tidegate_sdk::Failure;

use crate::mark::Mark;
use crate::message::{self, Condition, Replacement};
use crate::route::{Reading, Wanted, Watched};
use crate::servers::{Servers, Updated};
use crate::transport::pause;
use crate::tsig::Key;

/// Between two rounds of reading back.
const READ_AGAIN: Duration = Duration::from_millis(50);

/// What may not stand beside a CNAME, as far as anybody uses it; a server would drop the CNAME without a word.
const BARS_CNAME: [RecordType; 8] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::NS,
    RecordType::MX,
    RecordType::TXT,
    RecordType::SRV,
    RecordType::CAA,
    RecordType::HTTPS,
];

/// What is to be written, by whom.
pub struct Write<'a> {
    /// The zone of the name.
    pub zone: &'a Name,
    /// The name.
    pub watched: &'a Watched,
    /// What has to stand there.
    pub wanted: &'a Wanted,
    /// Of the run that writes.
    pub epoch: u64,
}

/// What a reading of the primary means for a write.
#[derive(Debug, PartialEq)]
enum Next {
    /// It stands there already.
    Done,
    /// Somebody with a newer epoch was here.
    Stale(u64),
    /// Write, and leave this mark.
    Leave(Mark),
}

impl Write<'_> {
    /// Done once every server shows it.
    pub fn perform(&self, servers: &Servers, key: &Key, deadline: Instant) -> Result<Reading, Failure> {
        let sent = self.set(servers, key, deadline)?;
        self.read_back(servers, deadline, &sent)
    }

    /// Until the primary has it, may have it, or has said why not; in words, what is known so far.
    fn set(&self, servers: &Servers, key: &Key, deadline: Instant) -> Result<String, Failure> {
        loop {
            let before = servers.read(servers.primary(), self.watched, self.wanted.kind, deadline)?;
            let mark = match self.next(&before) {
                Next::Done => return Ok("it stands at the primary".to_owned()),
                Next::Stale(epoch) => return Err(Failure::Stale(epoch)),
                Next::Leave(mark) => mark,
            };
            match servers.update(&self.update(before.mark, mark), key, deadline) {
                Ok(Updated::Done) => return Ok("written at the primary".to_owned()),
                Err(Failure::UnknownOutcome(why)) => return Ok(why),
                Ok(Updated::ConditionFailed) => {}
                Err(failure) => return Err(failure),
            }
            let after = servers.read(servers.primary(), self.watched, self.wanted.kind, deadline)?;
            if after.mark == before.mark {
                return Err(self.in_the_way());
            }
        }
    }

    fn next(&self, found: &Reading) -> Next {
        match found.mark {
            Some(mark) if mark.epoch > self.epoch => Next::Stale(mark.epoch),
            _ if self.is_shown(found) => Next::Done,
            before => Next::Leave(Mark::next(before, self.epoch)),
        }
    }

    fn is_shown(&self, found: &Reading) -> bool {
        let written_by = found.mark.map(|mark| mark.epoch);
        found.content.as_ref() == Some(&self.wanted.content) && written_by == Some(self.epoch)
    }

    /// Name and mark change together, and only if the mark is still the one that was read.
    fn update(&self, before: Option<Mark>, after: Mark) -> Message {
        let (name, mark_name) = (&self.watched.name, &self.watched.mark_name);
        let (kind, content) = (self.wanted.kind, &self.wanted.content);
        let held = before.map(|mark| mark.to_string());
        let mut conditions = vec![match &held {
            Some(text) => Condition::Text(mark_name, text),
            None => Condition::Absent(mark_name, RecordType::TXT),
        }];
        match kind.record_type() {
            RecordType::CNAME => conditions.extend(BARS_CNAME.map(|barring| Condition::Absent(name, barring))),
            _ => conditions.push(Condition::Absent(name, RecordType::CNAME)),
        }
        let replace =
            |name, record_type, data| Replacement { name, ttl_seconds: content.ttl_seconds, record_type, data };
        let records = replace(name, kind.record_type(), content.data(kind));
        let mark = replace(mark_name, RecordType::TXT, vec![message::text(&after.to_string())]);
        message::update(self.zone, &conditions, vec![records, mark])
    }

    /// Servers may take a while to hear of a change, and one that is down may come back in time. Who has been
    /// overwritten meanwhile need not wait for what will never show.
    fn read_back(&self, servers: &Servers, deadline: Instant, known: &str) -> Result<Reading, Failure> {
        let mut behind = servers.addresses.clone();
        let mut why = known.to_owned();
        loop {
            let mut shown = None;
            for server in std::mem::take(&mut behind) {
                let saw = match servers.read(server, self.watched, self.wanted.kind, deadline) {
                    Ok(reading) if self.is_shown(&reading) => {
                        shown = Some(reading);
                        continue;
                    }
                    Ok(Reading { mark: Some(mark), .. }) if mark.epoch > self.epoch => {
                        return Err(Failure::Stale(mark.epoch));
                    }
                    Ok(reading) => format!("{server} still shows {reading}"),
                    Err(failure) => words(&failure),
                };
                // What the deadline cut short tells less than the round before.
                if why == known || Instant::now() < deadline {
                    why = format!("{known}; {saw}");
                }
                behind.push(server);
            }
            match shown {
                Some(reading) if behind.is_empty() => return Ok(reading),
                _ if Instant::now() + READ_AGAIN >= deadline => return Err(Failure::UnknownOutcome(why)),
                _ => pause(READ_AGAIN),
            }
        }
    }

    fn in_the_way(&self) -> Failure {
        let (name, kind) = (&self.watched.name, self.wanted.kind.record_type());
        let held = if kind == RecordType::CNAME { "records of other types" } else { "a CNAME" };
        Failure::Rejected(format!("{name} has {held}, beside which no {kind} can stand; nothing was changed"))
    }
}

/// What a failure says, without its kind.
pub fn words(failure: &Failure) -> String {
    match failure {
        Failure::Denied(text)
        | Failure::NotFound(text)
        | Failure::Invalid(text)
        | Failure::Rejected(text)
        | Failure::UnknownOutcome(text) => text.clone(),
        Failure::Busy(after) => format!("busy for {after} ms"),
        Failure::Stale(epoch) => format!("epoch {epoch} has written it since"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Next, Write};
    use crate::mark::Mark;
    use crate::route::{Content, Kind, Reading, Wanted, Watched, parse_name, watch};
    use tidegate_sdk::{Declared, Fact};

    const EPOCH: u64 = 7;

    fn content(target: &str, ttl_seconds: u32) -> Content {
        Content { ttl_seconds, targets: [target.to_owned()].into() }
    }

    fn watched() -> Watched {
        let declared = Declared::new(vec![Fact { key: "shop.example.test".into(), value: "{}".into() }]);
        watch(&declared, &parse_name("example.test").unwrap()).unwrap().remove(0)
    }

    #[test]
    fn writes_unless_it_stands_there_or_somebody_newer_was_here() {
        let (zone, watched) = (parse_name("example.test").unwrap(), watched());
        let wanted = Wanted { kind: Kind::A, content: content("10.0.0.1", 30) };
        let write = Write { zone: &zone, watched: &watched, wanted: &wanted, epoch: EPOCH };
        let mark = |epoch, write| Mark { epoch, write };
        let cases = [
            ("never written", None, None, Next::Leave(mark(EPOCH, 1))),
            (
                "right by chance: an adoption still leaves the mark",
                None,
                Some(("10.0.0.1", 30)),
                Next::Leave(mark(EPOCH, 1)),
            ),
            ("older", Some(mark(6, 4)), Some(("10.0.0.2", 30)), Next::Leave(mark(EPOCH, 1))),
            (
                "older, and right: the newer epoch still takes it",
                Some(mark(6, 4)),
                Some(("10.0.0.1", 30)),
                Next::Leave(mark(EPOCH, 1)),
            ),
            ("repeated", Some(mark(EPOCH, 2)), Some(("10.0.0.1", 30)), Next::Done),
            (
                "the next shift of the same run",
                Some(mark(EPOCH, 2)),
                Some(("10.0.0.2", 30)),
                Next::Leave(mark(EPOCH, 3)),
            ),
            ("another TTL", Some(mark(EPOCH, 2)), Some(("10.0.0.1", 60)), Next::Leave(mark(EPOCH, 3))),
            ("newer", Some(mark(8, 1)), Some(("10.0.0.2", 30)), Next::Stale(8)),
            ("newer, and right", Some(mark(8, 1)), Some(("10.0.0.1", 30)), Next::Stale(8)),
        ];
        for (case, mark, found, next) in cases {
            let content = found.map(|(target, ttl_seconds)| content(target, ttl_seconds));
            assert_eq!(write.next(&Reading { content, mark }), next, "{case}");
        }
    }
}
