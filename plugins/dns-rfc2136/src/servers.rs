//! The authoritative servers: what each answers for a name, and the update of the primary.
//!
//! Turns whatever can go wrong on the way into the contract's failures. Does not know what a write needs, or why.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{Name, RData, RecordType};
use tidegate_sdk::Failure;

use crate::mark::Mark;
use crate::message;
use crate::route::{Content, Kind, Reading, Watched};
use crate::transport::Transport;
use crate::tsig::{Key, Unproven};

/// The servers of one zone.
pub struct Servers {
    /// The primary first: it takes the updates, all are read.
    pub addresses: Vec<SocketAddr>,
    /// How requests travel.
    pub transport: Transport,
    /// For one request.
    pub timeout: Duration,
}

/// What the primary said to an update.
#[derive(Debug, PartialEq, Eq)]
pub enum Updated {
    /// Done, and proven to be the server's word.
    Done,
    /// A condition did not hold; nothing has changed.
    ConditionFailed,
}

impl Servers {
    /// The one that takes updates.
    pub fn primary(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// What one server has for a name.
    pub fn read(
        &self,
        server: SocketAddr,
        watched: &Watched,
        kind: Kind,
        deadline: Instant,
    ) -> Result<Reading, Failure> {
        let records = self.look_up(server, &watched.name, kind.record_type(), deadline)?;
        let content = Content::read(kind, records.iter().map(|(ttl, data)| (*ttl, data)));
        let texts = self.look_up(server, &watched.mark_name, RecordType::TXT, deadline)?;
        let mark = match &texts[..] {
            [] => None,
            [(_, data)] => Some(parse_mark(server, &watched.mark_name, data)?),
            _ => return Err(foreign_mark(server, &watched.mark_name, "several texts")),
        };
        Ok(Reading { content, mark })
    }

    /// The serial of the zone at one server: proof that it is there and answers for the zone.
    pub fn serial(&self, server: SocketAddr, zone: &Name, deadline: Instant) -> Result<u32, Failure> {
        let records = self.look_up(server, zone, RecordType::SOA, deadline)?;
        match records.first() {
            Some((_, RData::SOA(soa))) => Ok(soa.serial),
            _ => Err(Failure::Rejected(format!("{server} has no zone {zone}"))),
        }
    }

    /// Sends an update to the primary. `unknown-outcome` = it may have happened all the same.
    pub fn update(&self, update: &Message, key: &Key, deadline: Instant) -> Result<Updated, Failure> {
        let server = self.primary();
        let wire =
            update.to_vec().map_err(|error| Failure::Invalid(format!("the update cannot be encoded: {error}")))?;
        let signed =
            key.sign(wire, now()).map_err(|error| Failure::Invalid(format!("the update cannot be signed: {error}")))?;
        let bytes = self.exchange(server, &signed.wire, update, deadline)?;
        let answer = decode(server, &bytes)?;
        let code = answer.metadata.response_code;
        match key.verify(&bytes, &signed, now()) {
            Ok(()) => judge(server, code),
            // An error without our signature is the usual word of a server that does not know the key. To believe it costs
            // a move that a person has to repeat; to believe an unsigned "done" could cost the service.
            Err(unproven) if code != ResponseCode::NoError => Err(refused(server, key, code, unproven)),
            Err(unproven) => {
                Err(Failure::UnknownOutcome(format!("{server} says done, but not with our key: {unproven:?}")))
            }
        }
    }

    /// The records of one type at one name, with their TTL.
    fn look_up(
        &self,
        server: SocketAddr,
        name: &Name,
        record_type: RecordType,
        deadline: Instant,
    ) -> Result<Vec<(u32, RData)>, Failure> {
        let question = message::question(name, record_type);
        let wire = question.to_vec().map_err(|error| Failure::Invalid(format!("{name}: {error}")))?;
        let answer = decode(server, &self.exchange(server, &wire, &question, deadline)?)?;
        match answer.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => {}
            ResponseCode::NoError | ResponseCode::NXDomain => {
                return Err(Failure::Rejected(format!("{server} does not answer for {name} with authority")));
            }
            code => return Err(Failure::Rejected(format!("{server} answers {code} for {name}"))),
        }
        let records =
            answer.answers.into_iter().filter(|record| record.name == *name && record.record_type() == record_type);
        Ok(records.map(|record| (record.ttl, record.data)).collect())
    }

    fn exchange(
        &self,
        server: SocketAddr,
        wire: &[u8],
        request: &Message,
        deadline: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let until = deadline.min(Instant::now() + self.timeout);
        let bytes = self.transport.exchange(server, wire, until, |bytes| message::answers(request, bytes));
        let bytes = bytes.map_err(|error| no_answer(server, &error))?;
        if message::answers(request, &bytes) {
            return Ok(bytes);
        }
        Err(Failure::UnknownOutcome(format!("{server} answered something else than what it was asked")))
    }
}

fn judge(server: SocketAddr, code: ResponseCode) -> Result<Updated, Failure> {
    match code {
        ResponseCode::NoError => Ok(Updated::Done),
        ResponseCode::NXDomain | ResponseCode::YXDomain | ResponseCode::NXRRSet | ResponseCode::YXRRSet => {
            Ok(Updated::ConditionFailed)
        }
        // A server that passes updates on says this too when it does not know what became of one.
        ResponseCode::ServFail => Err(Failure::UnknownOutcome(format!("{server} answers {code}"))),
        code => Err(Failure::Rejected(format!("{server} refuses the update: {code}"))),
    }
}

fn refused(server: SocketAddr, key: &Key, code: ResponseCode, unproven: Unproven) -> Failure {
    let why = match unproven {
        Unproven::Refused(TsigError::BadKey) => "it does not know the key, or not with this algorithm",
        Unproven::Refused(TsigError::BadSig) => "it knows the key by this name, with another secret",
        Unproven::Refused(TsigError::BadTime) => "its clock and ours are too far apart",
        Unproven::Refused(_) => "it does not accept the signature",
        Unproven::Unsigned | Unproven::WrongSignature | Unproven::WrongTime | Unproven::Malformed => {
            "and did not sign that with the key"
        }
    };
    Failure::Rejected(format!("{server} refuses the update with the key {}: {code}; {why}", key.name))
}

fn no_answer(server: SocketAddr, error: &Error) -> Failure {
    match error.kind() {
        ErrorKind::PermissionDenied => Failure::Denied(format!("{server} is not granted to this plugin")),
        ErrorKind::TimedOut => Failure::UnknownOutcome(format!("{server} does not answer in time")),
        _ => Failure::UnknownOutcome(format!("{server} cannot be reached: {error}")),
    }
}

fn decode(server: SocketAddr, bytes: &[u8]) -> Result<Message, Failure> {
    Message::from_vec(bytes).map_err(|error| Failure::UnknownOutcome(format!("{server} answers nonsense: {error}")))
}

fn parse_mark(server: SocketAddr, name: &Name, data: &RData) -> Result<Mark, Failure> {
    let text = message::text_of(data).unwrap_or_default();
    Mark::parse(&text).ok_or_else(|| foreign_mark(server, name, &format!("{text:?}")))
}

fn foreign_mark(server: SocketAddr, name: &Name, what: &str) -> Failure {
    Failure::Rejected(format!(
        "{server} has {what} at {name}, where Tidegate's mark belongs; nothing was changed: remove it, or bring it into the form `{}`",
        Mark { epoch: 1, write: 1 }
    ))
}

/// Seconds since 1970, as signatures have them.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
