//! The name server over real sockets, asked and updated by a client that shares no code with it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm as WireAlgorithm, TsigError};
use hickory_proto::rr::rdata::{A, CNAME, SOA, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};
use tidegate_nameserver::{Nameserver, NameserverConfig, RecordData, Running, TsigAlgorithm, TsigKey, ZoneRecord};

const SECRET: &[u8] = b"a secret of the test, 32 bytes..";

/// Asks one server; panics when it gets no answer.
struct Client {
    server: SocketAddr,
    key: Option<TSigner>,
    tcp: bool,
}

impl Client {
    fn new(server: SocketAddr) -> Self {
        Self { server, key: Some(signer(SECRET, "tidegate.", WireAlgorithm::HmacSha256)), tcp: false }
    }

    fn query(&self, name: &str, record_type: RecordType) -> Message {
        self.query_name(fqdn(name), record_type)
    }

    fn query_name(&self, name: Name, record_type: RecordType) -> Message {
        let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name, record_type));
        self.exchange(&message.to_vec().unwrap())
    }

    fn update(&self, prerequisites: &[Record], updates: &[Record]) -> Message {
        self.update_zone("example.test.", prerequisites, updates)
    }

    fn update_zone(&self, zone: &str, prerequisites: &[Record], updates: &[Record]) -> Message {
        let mut message = Message::new(4712, MessageType::Query, OpCode::Update);
        message.add_query(Query::query(fqdn(zone), RecordType::SOA));
        message.add_answers(prerequisites.iter().cloned());
        message.add_authorities(updates.iter().cloned());
        if let Some(key) = &self.key {
            message.finalize(key, now()).unwrap();
        }
        self.exchange(&message.to_vec().unwrap())
    }

    fn exchange(&self, request: &[u8]) -> Message {
        let answer = if self.tcp { self.exchange_tcp(request) } else { self.exchange_udp(request) };
        let message = Message::from_vec(&answer).unwrap();
        assert_eq!(message.metadata.id, u16::from_be_bytes([request[0], request[1]]));
        message
    }

    fn exchange_udp(&self, request: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket.send_to(request, self.server).unwrap();
        let mut answer = vec![0; 4096];
        let length = socket.recv(&mut answer).unwrap();
        answer.truncate(length);
        answer
    }

    fn exchange_tcp(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.server).unwrap();
        stream.write_all(&u16::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(request).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).unwrap();
        answer
    }

    fn serial(&self) -> u32 {
        match &self.query("example.test.", RecordType::SOA).answers[0].data {
            RData::SOA(soa) => soa.serial,
            other => panic!("not an SOA: {other}"),
        }
    }

    fn addresses(&self, name: &str) -> Vec<Ipv4Addr> {
        let answers = self.query(name, RecordType::A).answers;
        answers.iter().filter_map(|record| if let RData::A(a) = &record.data { Some(a.0) } else { None }).collect()
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signer(secret: &[u8], name: &str, algorithm: WireAlgorithm) -> TSigner {
    TSigner::new(secret.to_vec(), algorithm, fqdn(name), 300).unwrap()
}

fn fqdn(name: &str) -> Name {
    Name::from_ascii(name).unwrap()
}

fn a(name: &str, last: u8) -> Record {
    Record::from_rdata(fqdn(name), 30, RData::A(A(Ipv4Addr::new(10, 0, 0, last))))
}

fn txt(name: &str, text: &str) -> Record {
    Record::from_rdata(fqdn(name), 30, RData::TXT(TXT::new(vec![text.into()])))
}

fn cname(name: &str, target: &str) -> Record {
    Record::from_rdata(fqdn(name), 30, RData::CNAME(CNAME(fqdn(target))))
}

/// "Any such set" (class ANY) or "no such set" (class NONE); as an update, class ANY deletes.
fn set(name: &str, record_type: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(fqdn(name), 0, record_type);
    record.dns_class = class;
    record
}

fn exactly(mut record: Record) -> Record {
    record.ttl = 0;
    record
}

fn delete_one(mut record: Record) -> Record {
    record.ttl = 0;
    record.dns_class = DNSClass::NONE;
    record
}

fn config(state: Option<&Path>) -> NameserverConfig {
    let key = |name: &str, algorithm| TsigKey { name: name.into(), algorithm, secret: SECRET.to_vec() };
    let address = |name: &str, last| ZoneRecord {
        name: name.into(),
        ttl_seconds: 30,
        data: RecordData::A(Ipv4Addr::new(10, 0, 0, last)),
    };
    NameserverConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        zone: "example.test".into(),
        keys: vec![
            key("tidegate", TsigAlgorithm::HmacSha256),
            key("longer", TsigAlgorithm::HmacSha384),
            key("longest", TsigAlgorithm::HmacSha512),
        ],
        records: vec![
            address("shop", 1),
            address("below.nothing", 2),
            ZoneRecord { name: "www".into(), ttl_seconds: 30, data: RecordData::Cname("shop.example.test".into()) },
            ZoneRecord { name: "away".into(), ttl_seconds: 30, data: RecordData::Cname("example.org".into()) },
            ZoneRecord { name: "lost".into(), ttl_seconds: 30, data: RecordData::Cname("gone.example.test".into()) },
            ZoneRecord { name: "round".into(), ttl_seconds: 30, data: RecordData::Cname("round.example.test".into()) },
        ],
        state: state.map(Into::into),
    }
}

async fn start() -> (Running, Client) {
    let running = Nameserver::start(config(None)).await.unwrap();
    let client = Client::new(running.local_addr());
    (running, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_questions_about_its_zone_and_refuses_others() {
    let (running, client) = start().await;
    let cases = [
        ("shop.example.test.", RecordType::A, ResponseCode::NoError, 1),
        ("SHOP.Example.Test.", RecordType::A, ResponseCode::NoError, 1),
        ("shop.example.test.", RecordType::AAAA, ResponseCode::NoError, 0),
        ("shop.example.test.", RecordType::ANY, ResponseCode::NoError, 1),
        ("www.example.test.", RecordType::A, ResponseCode::NoError, 2),
        ("www.example.test.", RecordType::CNAME, ResponseCode::NoError, 1),
        ("away.example.test.", RecordType::A, ResponseCode::NoError, 1),
        ("lost.example.test.", RecordType::A, ResponseCode::NXDomain, 1),
        ("nothing.example.test.", RecordType::A, ResponseCode::NoError, 0),
        ("missing.example.test.", RecordType::A, ResponseCode::NXDomain, 0),
        ("example.test.", RecordType::NS, ResponseCode::NoError, 1),
        ("example.test.", RecordType::AXFR, ResponseCode::Refused, 0),
        ("example.org.", RecordType::A, ResponseCode::Refused, 0),
    ];
    for (name, record_type, code, answers) in cases {
        let message = client.query(name, record_type);
        let got = (message.metadata.response_code, message.answers.len());
        assert_eq!(got, (code, answers), "{name} {record_type}");
        assert_eq!(message.metadata.authoritative, code != ResponseCode::Refused, "{name} {record_type}");
    }
    assert_eq!(client.query("round.example.test.", RecordType::A).metadata.response_code, ResponseCode::NoError);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn says_with_a_start_of_authority_how_long_a_no_may_be_kept() {
    let (running, client) = start().await;
    for name in ["missing.example.test.", "nothing.example.test."] {
        let message = client.query(name, RecordType::A);
        assert_eq!(message.authorities.len(), 1, "{name}");
        assert_eq!((message.authorities[0].record_type(), message.authorities[0].ttl), (RecordType::SOA, 5), "{name}");
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_signed_updates_by_udp_and_tcp_with_every_algorithm() {
    let (running, mut client) = start().await;
    let keys = [
        ("tidegate.", WireAlgorithm::HmacSha256),
        ("longer.", WireAlgorithm::HmacSha384),
        ("longest.", WireAlgorithm::HmacSha512),
    ];
    for (index, (name, algorithm)) in keys.into_iter().enumerate() {
        client.key = Some(signer(SECRET, name, algorithm));
        for tcp in [false, true] {
            client.tcp = tcp;
            let last = 10 + 2 * u8::try_from(index).unwrap() + u8::from(tcp);
            let before = client.serial();
            let replace = [set("shop.example.test.", RecordType::A, DNSClass::ANY), a("shop.example.test.", last)];
            let answer = client.update(&[], &replace);
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{name} tcp: {tcp}");
            assert!(answer.signature().is_some_and(|tsig| tsig.data.error.is_none() && !tsig.data.mac.is_empty()));
            assert_eq!(client.addresses("shop.example.test."), [Ipv4Addr::new(10, 0, 0, last)]);
            assert_eq!(client.serial(), before + 1, "{name} tcp: {tcp}");
        }
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_the_answer_with_the_key_of_the_request() {
    let (running, client) = start().await;
    let mut message = Message::new(99, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(fqdn("example.test."), RecordType::SOA));
    let key = client.key.as_ref().unwrap();
    message.finalize(key, now()).unwrap();
    let mac = message.signature().unwrap().data.mac.clone();
    let answer = client.exchange_udp(&message.to_vec().unwrap());
    key.verify_message_byte(&answer, Some(&mac), true).unwrap();
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_updates_that_are_not_rightly_signed_and_changes_nothing() {
    let (running, mut client) = start().await;
    let wrong = b"another secret of the same length";
    let cases = [
        ("unsigned", None, ResponseCode::Refused, None),
        (
            "unknown key",
            Some(signer(SECRET, "stranger.", WireAlgorithm::HmacSha256)),
            ResponseCode::NotAuth,
            Some(TsigError::BadKey),
        ),
        (
            "wrong secret",
            Some(signer(wrong, "tidegate.", WireAlgorithm::HmacSha256)),
            ResponseCode::NotAuth,
            Some(TsigError::BadSig),
        ),
        (
            "other algorithm",
            Some(signer(SECRET, "tidegate.", WireAlgorithm::HmacSha512)),
            ResponseCode::NotAuth,
            Some(TsigError::BadKey),
        ),
    ];
    let before = client.serial();
    for (case, key, code, error) in cases {
        client.key = key;
        let answer = client.update(&[], &[a("shop.example.test.", 66)]);
        assert_eq!(answer.metadata.response_code, code, "{case}");
        assert_eq!(answer.signature().and_then(|tsig| tsig.data.error), error, "{case}");
        assert_eq!(client.addresses("shop.example.test."), [Ipv4Addr::new(10, 0, 0, 1)], "{case}");
        assert_eq!(client.serial(), before, "{case}");
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_signature_from_another_time_and_one_over_other_bytes() {
    let (running, client) = start().await;
    let mut message = Message::new(7, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(fqdn("example.test."), RecordType::SOA));
    message.add_authority(a("shop.example.test.", 66));
    let mut late = message.clone();
    late.finalize(client.key.as_ref().unwrap(), now() - 3600).unwrap();
    let answer = client.exchange(&late.to_vec().unwrap());
    assert_eq!(answer.metadata.response_code, ResponseCode::NotAuth);
    assert_eq!(answer.signature().unwrap().data.error, Some(TsigError::BadTime));

    message.finalize(client.key.as_ref().unwrap(), now()).unwrap();
    message.authorities[0] = a("shop.example.test.", 67);
    let answer = client.exchange(&message.to_vec().unwrap());
    assert_eq!(answer.signature().unwrap().data.error, Some(TsigError::BadSig));
    assert_eq!(client.addresses("shop.example.test."), [Ipv4Addr::new(10, 0, 0, 1)]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_an_update_only_if_every_prerequisite_holds() {
    let (running, client) = start().await;
    let (shop, none) = ("shop.example.test.", "none.example.test.");
    let mut with_ttl = set(shop, RecordType::A, DNSClass::ANY);
    with_ttl.ttl = 1;
    let cases = [
        ("set there", vec![set(shop, RecordType::A, DNSClass::ANY)], ResponseCode::NoError),
        ("set missing", vec![set(shop, RecordType::TXT, DNSClass::ANY)], ResponseCode::NXRRSet),
        ("name there", vec![set(shop, RecordType::ANY, DNSClass::ANY)], ResponseCode::NoError),
        ("name missing", vec![set(none, RecordType::ANY, DNSClass::ANY)], ResponseCode::NXDomain),
        ("no such set", vec![set(shop, RecordType::TXT, DNSClass::NONE)], ResponseCode::NoError),
        ("such a set", vec![set(shop, RecordType::A, DNSClass::NONE)], ResponseCode::YXRRSet),
        ("no such name", vec![set(none, RecordType::ANY, DNSClass::NONE)], ResponseCode::NoError),
        ("such a name", vec![set(shop, RecordType::ANY, DNSClass::NONE)], ResponseCode::YXDomain),
        ("exactly this", vec![exactly(a(shop, 1))], ResponseCode::NoError),
        ("another", vec![exactly(a(shop, 2))], ResponseCode::NXRRSet),
        ("more than there is", vec![exactly(a(shop, 1)), exactly(a(shop, 2))], ResponseCode::NXRRSet),
        ("one of two fails", vec![exactly(a(shop, 1)), exactly(txt(shop, "x"))], ResponseCode::NXRRSet),
        ("other zone", vec![set("example.org.", RecordType::ANY, DNSClass::NONE)], ResponseCode::NotZone),
        ("with a TTL", vec![with_ttl], ResponseCode::FormErr),
    ];
    for (index, (case, prerequisites, code)) in cases.into_iter().enumerate() {
        let mark = format!("mark{index}.example.test.");
        let before = client.serial();
        let answer = client.update(&prerequisites, &[a(&mark, 9)]);
        assert_eq!(answer.metadata.response_code, code, "{case}");
        let done = code == ResponseCode::NoError;
        assert_eq!(client.addresses(&mark).len(), usize::from(done), "{case}");
        assert_eq!(client.serial(), before + u32::from(done), "{case}");
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn applies_an_update_whole_or_not_at_all() {
    let (running, client) = start().await;
    let before = client.serial();
    let outside = [a("shop.example.test.", 66), a("shop.example.org.", 66)];
    let senseless = [a("shop.example.test.", 66), set("shop.example.test.", RecordType::AXFR, DNSClass::ANY)];
    let empty = [a("shop.example.test.", 66), set("shop.example.test.", RecordType::A, DNSClass::IN)];
    let cases =
        [(&outside, ResponseCode::NotZone), (&senseless, ResponseCode::FormErr), (&empty, ResponseCode::FormErr)];
    for (updates, code) in cases {
        assert_eq!(client.update(&[], updates).metadata.response_code, code);
        assert_eq!(client.addresses("shop.example.test."), [Ipv4Addr::new(10, 0, 0, 1)]);
    }
    assert_eq!(client.serial(), before);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_changes_nothing_leaves_the_serial() {
    let (running, client) = start().await;
    let before = client.serial();
    for updates in
        [vec![], vec![a("shop.example.test.", 1)], vec![set("none.example.test.", RecordType::A, DNSClass::ANY)]]
    {
        assert_eq!(client.update(&[], &updates).metadata.response_code, ResponseCode::NoError);
    }
    assert_eq!(client.serial(), before);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn adds_and_removes_records_as_the_rfc_says() {
    let (running, client) = start().await;
    let shop = "shop.example.test.";
    let steps = [
        ("add", vec![a(shop, 2)], vec![1, 2]),
        ("add again", vec![a(shop, 2)], vec![1, 2]),
        ("a CNAME beside others is ignored", vec![cname(shop, "example.org.")], vec![1, 2]),
        ("remove one", vec![delete_one(a(shop, 1))], vec![2]),
        ("replace", vec![set(shop, RecordType::A, DNSClass::ANY), a(shop, 3)], vec![3]),
        ("remove the name", vec![set(shop, RecordType::ANY, DNSClass::ANY)], vec![]),
    ];
    for (step, updates, left) in steps {
        assert_eq!(client.update(&[], &updates).metadata.response_code, ResponseCode::NoError, "{step}");
        let left: Vec<_> = left.into_iter().map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        assert_eq!(client.addresses(shop), left, "{step}");
    }
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_start_of_authority_and_the_last_name_server() {
    let (running, client) = start().await;
    let apex = "example.test.";
    let server = client.query(apex, RecordType::NS).answers[0].clone();
    let updates = [
        set(apex, RecordType::ANY, DNSClass::ANY),
        set(apex, RecordType::SOA, DNSClass::ANY),
        set(apex, RecordType::NS, DNSClass::ANY),
        delete_one(server),
    ];
    assert_eq!(client.update(&[], &updates).metadata.response_code, ResponseCode::NoError);
    assert_eq!(client.query(apex, RecordType::NS).answers.len(), 1);
    assert_eq!(client.serial(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_a_new_serial_only_forward() {
    let (running, client) = start().await;
    let soa = |serial| {
        let data = SOA::new(fqdn("ns.example.test."), fqdn("x.example.test."), serial, 1, 1, 1, 1);
        Record::from_rdata(fqdn("example.test."), 5, RData::SOA(data))
    };
    client.update(&[], &[soa(2_026_000_000)]);
    assert_eq!(client.serial(), 2_026_000_000);
    client.update(&[], &[soa(7), a("shop.example.test.", 8)]);
    assert_eq!(client.serial(), 2_026_000_001);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_updates_of_a_foreign_zone() {
    let (running, client) = start().await;
    for zone in ["example.org.", "shop.example.test."] {
        let answer = client.update_zone(zone, &[], &[a("shop.example.test.", 66)]);
        assert_eq!(answer.metadata.response_code, ResponseCode::NotAuth, "{zone}");
    }
    assert_eq!(client.addresses("shop.example.test."), [Ipv4Addr::new(10, 0, 0, 1)]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_a_client_to_tcp_when_udp_is_too_small() {
    let (running, mut client) = start().await;
    let many: Vec<_> = (0..100).map(|last| a("many.example.test.", last)).collect();
    client.tcp = true;
    assert_eq!(client.update(&[], &many).metadata.response_code, ResponseCode::NoError);
    assert_eq!(client.addresses("many.example.test.").len(), 100);
    client.tcp = false;
    let answer = client.query("many.example.test.", RecordType::A);
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_garbage() {
    let (running, client) = start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for garbage in [&b""[..], b"x", &[0xff; 12], &[0; 512], b"\0\x01\x28\0\xff\xff\xff\xff\xff\xff\xff\xff"] {
        socket.send_to(garbage, client.server).unwrap();
    }
    assert_eq!(client.addresses("shop.example.test.").len(), 1);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_its_zone_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("zone");
    let running = Nameserver::start(config(Some(&state))).await.unwrap();
    let client = Client::new(running.local_addr());
    let odd = Name::from_labels([&b"a b.\\\0\xff"[..], b"example", b"test"]).unwrap();
    let binary = Record::from_rdata(odd.clone(), 30, RData::TXT(TXT::from_bytes(vec![b"\0\n\"\xff", b""])));
    let updates = [
        set("shop.example.test.", RecordType::A, DNSClass::ANY),
        a("shop.example.test.", 42),
        binary.clone(),
        cname("moved.example.test.", "shop.example.test."),
    ];
    assert_eq!(client.update(&[], &updates).metadata.response_code, ResponseCode::NoError);
    let serial = client.serial();
    drop(running); // as in a crash: what was answered is on disk already

    let running = Nameserver::start(config(Some(&state))).await.unwrap();
    let client = Client::new(running.local_addr());
    assert_eq!(client.addresses("moved.example.test."), [Ipv4Addr::new(10, 0, 0, 42)]);
    assert_eq!(client.query_name(odd, RecordType::TXT).answers, [binary]);
    assert_eq!(client.serial(), serial);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_cannot_be_kept_fails_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("sub/zone");
    std::fs::create_dir(state.parent().unwrap()).unwrap();
    let running = Nameserver::start(config(Some(&state))).await.unwrap();
    let client = Client::new(running.local_addr());
    std::fs::remove_dir_all(state.parent().unwrap()).unwrap();
    let answer = client.update(&[], &[a("shop.example.test.", 66)]);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(client.addresses("shop.example.test."), [Ipv4Addr::new(10, 0, 0, 1)]);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_to_start_with_what_cannot_work() {
    let directory = tempfile::tempdir().unwrap();
    let spoilt = directory.path().join("spoilt");
    std::fs::write(&spoilt, "example.test. 5 IN A 10.0.0.1\n").unwrap();
    type Change<'a> = Box<dyn Fn(&mut NameserverConfig) + 'a>;
    let cases: [(Change<'_>, &str); 6] = [
        (Box::new(|config| config.listen.clear()), "no address to listen on"),
        (Box::new(|config| config.zone = String::new()), "is not a domain name"),
        (Box::new(|config| config.keys[0].secret.clear()), "its secret is empty"),
        (Box::new(|config| config.keys[1].name = "tidegate".into()), "two TSIG keys are called `tidegate`"),
        (Box::new(|config| config.records[0].name = "example.org.".into()), "lies outside the zone"),
        (Box::new(|config| config.state = Some(spoilt.clone())), "it was left as it is"),
    ];
    for (change, words) in cases {
        let mut config = config(None);
        change(&mut config);
        let error = Nameserver::start(config).await.err().expect(words);
        assert!(format!("{error:#}").contains(words), "{error:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frees_its_port_when_it_stops() {
    let (running, client) = start().await;
    running.stop().await.unwrap();
    let mut config = config(None);
    config.listen = vec![client.server];
    let running = Nameserver::start(config).await.unwrap();
    assert_eq!(running.local_addrs(), [client.server]);
    running.stop().await.unwrap();
}
