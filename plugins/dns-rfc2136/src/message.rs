//! DNS messages: questions, the one update that a write is, and which answer belongs to which request.
//!
//! Pure: does not know sockets, signatures or what a route is.

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

/// Which records there are at one name.
pub fn question(name: &Name, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.clone(), record_type));
    message
}

/// What has to be true of the zone for an update to happen.
pub enum Condition<'a> {
    /// Some record stands at this name.
    InUse(&'a Name),
    /// No record of this type stands there.
    Absent(&'a Name, RecordType),
    /// Exactly this text stands there.
    Text(&'a Name, &'a str),
}

/// Only these records of this type stand at the name afterwards.
pub struct Replacement<'a> {
    /// Where they stand.
    pub name: &'a Name,
    /// How long a resolver may keep them.
    pub ttl_seconds: u32,
    /// What goes.
    pub record_type: RecordType,
    /// What comes.
    pub data: Vec<RData>,
}

/// One update of a zone: all replacements happen or none, and none unless every condition holds.
pub fn update(zone: &Name, conditions: &[Condition<'_>], replacements: Vec<Replacement<'_>>) -> Message {
    let id = Message::query().metadata.id;
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(zone.clone(), RecordType::SOA));
    message.add_answers(conditions.iter().map(Condition::record));
    for Replacement { name, ttl_seconds, record_type, data } in replacements {
        message.add_authority(of_class(name, record_type, DNSClass::ANY));
        message.add_authorities(data.into_iter().map(|data| Record::from_rdata(name.clone(), ttl_seconds, data)));
    }
    message
}

/// What nobody writes, for [`harmless`] to remove.
const NEVER_WRITTEN: &str = "tidegate was here only to ask";

/// An update that a server takes only from who may write texts at `name`, and that changes nothing all the same: it
/// removes a text that is not there.
pub fn harmless(zone: &Name, name: &Name) -> Message {
    let mut message = update(zone, &[Condition::InUse(zone)], Vec::new());
    let mut removed = Record::from_rdata(name.clone(), 0, text(NEVER_WRITTEN));
    removed.dns_class = DNSClass::NONE;
    message.add_authority(removed);
    message
}

/// Whether these bytes answer that request. An update's answer may leave its zone out (RFC 2136, section 3.8).
pub fn answers(request: &Message, bytes: &[u8]) -> bool {
    let Ok(answer) = Message::from_vec(bytes) else { return false };
    let asked = answer.queries == request.queries;
    answer.metadata.id == request.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.metadata.op_code == request.metadata.op_code
        && (asked || (answer.queries.is_empty() && request.metadata.op_code == OpCode::Update))
}

/// A text as the data of a TXT record.
pub fn text(text: &str) -> RData {
    RData::TXT(TXT::from_bytes(text.as_bytes().chunks(255).collect()))
}

/// The text of a TXT record; none of any other.
pub fn text_of(data: &RData) -> Option<String> {
    let RData::TXT(txt) = data else { return None };
    Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
}

impl Condition<'_> {
    fn record(&self) -> Record {
        match self {
            Self::InUse(name) => of_class(name, RecordType::ANY, DNSClass::ANY),
            Self::Absent(name, record_type) => of_class(name, *record_type, DNSClass::NONE),
            Self::Text(name, held) => Record::from_rdata((*name).clone(), 0, text(held)),
        }
    }
}

fn of_class(name: &Name, record_type: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(name.clone(), 0, record_type);
    record.dns_class = class;
    record
}

#[cfg(test)]
mod tests {
    use super::{Condition, Replacement, answers, question, text, text_of, update};
    use hickory_proto::op::Message;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{DNSClass, Name, RData, RecordType};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn an_update_carries_its_conditions_and_changes_as_the_rfc_writes_them() {
        let (zone, host) = (name("example.test."), name("shop.example.test."));
        let conditions =
            [Condition::InUse(&zone), Condition::Absent(&host, RecordType::CNAME), Condition::Text(&host, "was")];
        let data = vec![RData::A(A::new(10, 0, 0, 1))];
        let replacement = Replacement { name: &host, ttl_seconds: 30, record_type: RecordType::A, data };
        let sent = update(&zone, &conditions, vec![replacement]).to_vec().unwrap();
        let read = Message::from_vec(&sent).unwrap();
        let form = |records: &[hickory_proto::rr::Record]| -> Vec<_> {
            records.iter().map(|r| (r.record_type(), r.dns_class, r.ttl)).collect()
        };
        assert_eq!(
            form(&read.answers),
            [
                (RecordType::ANY, DNSClass::ANY, 0),
                (RecordType::CNAME, DNSClass::NONE, 0),
                (RecordType::TXT, DNSClass::IN, 0)
            ]
        );
        assert_eq!(form(&read.authorities), [(RecordType::A, DNSClass::ANY, 0), (RecordType::A, DNSClass::IN, 30)]);
    }

    #[test]
    fn only_the_answer_to_a_request_is_its_answer() {
        let asked = question(&name("shop.example.test."), RecordType::A);
        let good = asked.clone().into_response();
        let mut other_id = good.clone();
        other_id.metadata.id ^= 1;
        let mut other_name = question(&name("other.example.test."), RecordType::A).into_response();
        other_name.metadata.id = asked.metadata.id;
        let mut empty = good.clone();
        empty.queries.clear();
        for (case, message, is) in [
            ("the answer", &good, true),
            ("the request itself", &asked, false),
            ("another identifier", &other_id, false),
            ("another question", &other_name, false),
            ("no question", &empty, false),
        ] {
            assert_eq!(answers(&asked, &message.to_vec().unwrap()), is, "{case}");
        }
        assert!(!answers(&asked, b"nonsense"));
    }

    #[test]
    fn a_text_comes_back_however_long_it_is() {
        for length in [0, 1, 255, 256, 1000] {
            let long = "x".repeat(length);
            assert_eq!(text_of(&text(&long)), Some(long));
        }
    }
}
