//! The component `dns-rfc2136` in the real engine, against real servers: the embedded one and Knot. What it has done is
//! looked up by a client of the tests' own, never by the component.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{Engine, EngineConfig, Grants, LimitSettings, Outside, ProviderSlot, RevisionSpec, SecretSource};
use tidegate_kernel::contract::{Call, Endpoint, Fact, Failure, Route};
use tidegate_nameserver::{Nameserver, NameserverConfig, RecordData, Running, TsigAlgorithm, TsigKey, ZoneRecord};
use tidegate_tests::servers::{BlackHole, DnsKey, Knot};
use tidegate_tests::servers_dns::{ask, serial};

const ZONE: &str = "example.test";
const SECRET: &[u8] = b"what only the server and we know";

/// What stands in the zone before anybody writes, in both servers.
const RECORDS: &str = "\
$TTL 30
@ SOA ns hostmaster 1 3600 600 86400 5
@ NS ns
ns A 127.0.0.1
old A 10.0.0.1
old TXT \"kept\"
beside A 10.0.0.99
alias CNAME ns
taken A 10.0.0.1
_tidegate.taken TXT \"somebody else's\"
";

/// Every name that the tests write, one for each case.
const NAMES: [&str; 15] = [
    "a", "aaaa", "cname", "many", "old", "taken", "alias", "race", "shift", "stale", "refused", "apart", "silent",
    "late", "ready",
];

/// Every secret is this key, which may change.
struct Secrets {
    key: Mutex<&'static [u8]>,
}

impl Secrets {
    fn become_key(&self, key: &'static [u8]) {
        *self.key.lock().unwrap() = key;
    }
}

impl SecretSource for Secrets {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        let key = *self.key.lock().unwrap();
        Box::pin(async move { Ok(format!("{}\n", BASE64.encode(key)).into_bytes()) })
    }
}

/// The server under test, and the engine that the component runs in.
struct Bench {
    server: SocketAddr,
    engine: Engine,
    secrets: Arc<Secrets>,
}

/// How a slot differs from the usual one.
struct Setup {
    servers: Vec<SocketAddr>,
    settings: Value,
    granted: bool,
    secret_granted: bool,
}

impl Bench {
    async fn new(server: SocketAddr) -> Self {
        let secrets = Arc::new(Secrets { key: Mutex::new(SECRET) });
        let outside = Outside { secrets: secrets.clone(), ..Outside::default() };
        // The component is the same for every slot and every run: compiled once.
        let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        let config = EngineConfig { policy_workers: 1, outside, cache, ..EngineConfig::default() };
        Self { server, engine: Engine::start(config).await.unwrap(), secrets }
    }

    async fn slot(&self) -> ProviderSlot {
        slot(&self.engine, Setup::new(self.server)).await
    }

    /// The data of the records of one type at a name of the zone.
    fn at(&self, name: &str, record_type: &str) -> Vec<String> {
        ask(self.server, &full(name), record_type).unwrap().records
    }

    fn mark(&self, name: &str) -> Vec<String> {
        self.at(&format!("_tidegate.{name}"), "TXT")
    }

    fn serial(&self) -> u32 {
        serial(self.server, ZONE).unwrap()
    }
}

impl Setup {
    fn new(server: SocketAddr) -> Self {
        Self { servers: vec![server], settings: json!({}), granted: true, secret_granted: true }
    }

    fn with(server: SocketAddr, settings: Value) -> Self {
        Self { settings, ..Self::new(server) }
    }
}

async fn slot(engine: &Engine, setup: Setup) -> ProviderSlot {
    let mut settings = json!({ "servers": setup.servers, "zone": ZONE, "key": "dns-key" });
    settings.as_object_mut().unwrap().extend(setup.settings.as_object().unwrap().clone());
    let patterns = setup.servers.iter().flat_map(|server| [format!("udp://{server}"), format!("tcp://{server}")]);
    let grants = Grants {
        connect: patterns.filter(|_| setup.granted).map(|pattern| pattern.parse().unwrap()).collect(),
        secrets: setup.secret_granted.then(|| "dns-key".to_owned()).into_iter().collect(),
        ..Grants::default()
    };
    let staged = engine.stage(RevisionSpec {
        slot: "dns/primary".into(),
        source: "built in".into(),
        bytes: tidegate_plugins::find("dns-rfc2136").unwrap().bytes.to_vec(),
        settings,
        grants,
        limits: LimitSettings::default(),
        declared: NAMES.map(|name| Fact { key: full(name), value: "{}".into() }).into(),
        cases: Vec::new(),
    });
    ProviderSlot::install(staged.await.unwrap()).unwrap()
}

fn full(name: &str) -> String {
    format!("{name}.{ZONE}")
}

fn route(name: &str, endpoints: &[(&str, u32)]) -> Route {
    let endpoint = |(target, weight): &(&str, u32)| Endpoint {
        site: format!("site-of-{target}"),
        target: (*target).to_owned(),
        weight: *weight,
    };
    Route {
        name: full(name),
        ttl_seconds: 30,
        endpoints: endpoints.iter().map(endpoint).collect(),
        written_by: None,
        age: 0,
        facts: Vec::new(),
    }
}

async fn apply(slot: &ProviderSlot, route: Route, epoch: u64) -> Result<Route, Failure> {
    apply_within(slot, route, epoch, 10_000).await
}

async fn apply_within(slot: &ProviderSlot, route: Route, epoch: u64, timeout: u64) -> Result<Route, Failure> {
    let call = Call { epoch, key: format!("run-{epoch}/point"), timeout };
    slot.apply(&[route], &call).await?.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_on_the_embedded_name_server() {
    let running = embedded().await;
    check(running.local_addr()).await;
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_on_knot() {
    let key = |name, algorithm| DnsKey { name, algorithm, secret: BASE64.encode(SECRET) };
    let keys = [key("dns-key", "hmac-sha256"), key("long", "hmac-sha384"), key("longest", "hmac-sha512")];
    let knot = Knot::start(ZONE, RECORDS, &keys).unwrap();
    check(knot.address()).await;
}

/// The same claims on every server.
async fn check(server: SocketAddr) {
    let bench = Bench::new(server).await;
    writes_each_kind_of_record_by_each_transport_with_each_algorithm(&bench).await;
    sends_long_answers_by_tcp(&bench).await;
    adopts_a_name_and_keeps_its_other_records(&bench).await;
    writes_nothing_twice_and_lets_a_run_shift_on(&bench).await;
    yields_to_a_newer_epoch(&bench).await;
    leaves_the_newest_of_many_writers(&bench).await;
    refuses_what_cannot_be(&bench).await;
    stops_at_what_stands_in_the_way(&bench).await;
    is_refused_without_the_right_key(&bench).await;
    reaches_nothing_without_a_grant(&bench).await;
    is_ready_without_a_trace(&bench).await;
    does_not_call_it_done_before_every_server_shows_it(&bench).await;
    does_not_know_what_a_black_hole_did(&bench).await;
}

async fn writes_each_kind_of_record_by_each_transport_with_each_algorithm(bench: &Bench) {
    let ways = [
        json!({ "transport": "udp" }),
        json!({ "transport": "tcp" }),
        json!({ "key": "long", "algorithm": "hmac-sha384", "secret": "dns-key" }),
        json!({ "key": "longest", "algorithm": "hmac-sha512", "secret": "dns-key", "transport": "tcp" }),
    ];
    for (epoch, way) in (1..).zip(ways) {
        let slot = slot(&bench.engine, Setup::with(bench.server, way.clone())).await;
        let cases = [
            ("a", "A", vec![format!("10.0.1.{epoch}"), format!("10.0.2.{epoch}")]),
            ("aaaa", "AAAA", vec![format!("fd00::{epoch}")]),
            ("cname", "CNAME", vec![format!("gate{epoch}.example.net.")]),
        ];
        for (name, record_type, targets) in cases {
            let mut endpoints: Vec<(&str, u32)> = targets.iter().map(|target| (target.as_str(), 50)).collect();
            let idle = match record_type {
                "A" => "10.0.3.1",
                "AAAA" => "fd00::ff",
                _ => "idle.example.net",
            };
            endpoints.push((idle, 0));
            let done = apply(&slot, route(name, &endpoints), epoch).await.unwrap();
            assert_eq!(bench.at(name, record_type), targets, "{way}");
            assert_eq!(bench.mark(name), [format!("v=tidegate1 epoch={epoch} write=1")], "{way}");
            assert_eq!(done.written_by, Some(epoch), "{way}");
            let weights: Vec<u32> = done.endpoints.iter().map(|endpoint| endpoint.weight).collect();
            assert_eq!(weights.iter().sum::<u32>(), u32::try_from(targets.len()).unwrap(), "{way}: {done:?}");
            assert_eq!(weights.last(), Some(&0), "{way}: {done:?}");
        }
        let read = slot.resolve(&full("a")).await.unwrap();
        assert_eq!((read.endpoints.len(), read.written_by, read.ttl_seconds), (2, Some(epoch), 30), "{way}: {read:?}");
    }
}

async fn sends_long_answers_by_tcp(bench: &Bench) {
    let targets: Vec<String> = (1..=90).map(|last| format!("10.0.9.{last}")).collect();
    let endpoints: Vec<(&str, u32)> = targets.iter().map(|target| (target.as_str(), 1)).collect();
    let done = apply(&bench.slot().await, route("many", &endpoints), 1).await.unwrap();
    assert!(done.endpoints.iter().all(|endpoint| endpoint.weight == 1), "{done:?}");
}

async fn adopts_a_name_and_keeps_its_other_records(bench: &Bench) {
    let slot = bench.slot().await;
    let found = slot.resolve(&full("old")).await.unwrap();
    assert_eq!(found.written_by, None);
    assert_eq!((found.endpoints[0].target.as_str(), found.endpoints[0].weight), ("10.0.0.1", 1));
    apply(&slot, route("old", &[("10.0.0.1", 0), ("10.0.0.2", 100)]), 3).await.unwrap();
    assert_eq!(bench.at("old", "A"), ["10.0.0.2"]);
    assert_eq!(bench.at("old", "TXT"), ["kept"]);
    assert_eq!(bench.at("beside", "A"), ["10.0.0.99"]);
}

async fn writes_nothing_twice_and_lets_a_run_shift_on(bench: &Bench) {
    let slot = bench.slot().await;
    let half = || route("shift", &[("10.0.0.1", 50), ("10.0.0.2", 50)]);
    apply(&slot, half(), 7).await.unwrap();
    let serial = bench.serial();
    assert_eq!(apply(&slot, half(), 7).await.unwrap().written_by, Some(7));
    assert_eq!(bench.serial(), serial);
    apply(&slot, route("shift", &[("10.0.0.1", 0), ("10.0.0.2", 100)]), 7).await.unwrap();
    assert_eq!(bench.at("shift", "A"), ["10.0.0.2"]);
    assert_eq!(bench.mark("shift"), ["v=tidegate1 epoch=7 write=2"]);
}

async fn yields_to_a_newer_epoch(bench: &Bench) {
    let slot = bench.slot().await;
    apply(&slot, route("stale", &[("10.0.0.1", 1)]), 9).await.unwrap();
    let serial = bench.serial();
    for target in ["10.0.0.2", "10.0.0.1"] {
        assert_eq!(apply(&slot, route("stale", &[(target, 1)]), 8).await, Err(Failure::Stale(9)));
    }
    assert_eq!((bench.at("stale", "A"), bench.serial()), (vec!["10.0.0.1".to_owned()], serial));
}

async fn leaves_the_newest_of_many_writers(bench: &Bench) {
    const WRITERS: u64 = 12;
    let slot = Arc::new(bench.slot().await);
    let write = |epoch: u64| {
        let slot = slot.clone();
        tokio::spawn(async move { apply(&slot, route("race", &[(&format!("10.0.4.{epoch}"), 1)]), epoch).await })
    };
    let writers: Vec<_> = (1..=WRITERS).map(write).collect();
    for (epoch, writer) in (1..).zip(writers) {
        match writer.await.unwrap() {
            Ok(done) => assert_eq!(done.written_by, Some(epoch)),
            Err(Failure::Stale(newer)) => assert!(newer > epoch, "{newer} is not newer than {epoch}"),
            Err(failure) => panic!("epoch {epoch}: {failure}"),
        }
    }
    assert_eq!(bench.at("race", "A"), [format!("10.0.4.{WRITERS}")]);
    assert_eq!(bench.mark("race"), [format!("v=tidegate1 epoch={WRITERS} write=1")]);
}

async fn refuses_what_cannot_be(bench: &Bench) {
    let slot = bench.slot().await;
    let serial = bench.serial();
    let two_aliases = [("one.example.net", 1), ("two.example.net", 1)];
    let cases = [
        (route("refused", &[]), "never left without an answer"),
        (route("refused", &[("10.0.0.1", 0)]), "never left without an answer"),
        (route("refused", &two_aliases), "exactly one target"),
        (route("refused", &[("10.0.0.1", 1), ("fd00::1", 1)]), "cannot stand in A records"),
    ];
    for (route, words) in cases {
        for answer in [slot.preview(&route).await, apply(&slot, route.clone(), 1).await] {
            assert!(matches!(&answer, Err(Failure::Invalid(text)) if text.contains(words)), "{route:?}: {answer:?}");
        }
    }
    for answer in [slot.resolve("other.example.test").await, apply(&slot, route("other", &[("10.0.0.1", 1)]), 1).await]
    {
        assert!(matches!(answer, Err(Failure::NotFound(_))), "{answer:?}");
    }
    assert_eq!(bench.serial(), serial);
}

async fn stops_at_what_stands_in_the_way(bench: &Bench) {
    let slot = bench.slot().await;
    let serial = bench.serial();
    for (name, words) in [("taken", "where Tidegate's mark belongs"), ("alias", "has a CNAME")] {
        let failure = apply(&slot, route(name, &[("10.0.0.2", 1)]), 5).await.unwrap_err();
        assert!(matches!(&failure, Failure::Rejected(text) if text.contains(words)), "{name}: {failure}");
    }
    apply(&slot, route("ready", &[("10.0.0.1", 1)]), 5).await.unwrap();
    let failure = apply(&slot, route("ready", &[("gate.example.net", 1)]), 6).await.unwrap_err();
    assert!(matches!(&failure, Failure::Rejected(text) if text.contains("records of other types")), "{failure}");
    assert_eq!(bench.at("taken", "A"), ["10.0.0.1"]);
    assert_eq!(bench.mark("taken"), ["somebody else's"]);
    assert_eq!(bench.at("alias", "CNAME"), ["ns.example.test."]);
    assert_eq!((bench.mark("ready"), bench.serial()), (vec!["v=tidegate1 epoch=5 write=1".to_owned()], serial + 1));
}

async fn is_refused_without_the_right_key(bench: &Bench) {
    let cases: [(&'static [u8], Value, &str); 3] = [
        (b"what neither of them has", json!({}), "with another secret"),
        (SECRET, json!({ "key": "stranger", "secret": "dns-key" }), "does not know the key"),
        (SECRET, json!({ "algorithm": "hmac-sha512" }), "not with this algorithm"),
    ];
    let serial = bench.serial();
    let as_usual = bench.slot().await;
    for (secret, settings, words) in cases {
        bench.secrets.become_key(secret);
        let slot = slot(&bench.engine, Setup::with(bench.server, settings)).await;
        let written = apply(&slot, route("refused", &[("10.0.0.1", 1)]), 1).await.map(drop);
        let ready = slot.ready(&full("refused")).await.map(drop);
        for answer in [written, ready] {
            assert!(matches!(&answer, Err(Failure::Rejected(text)) if text.contains(words)), "{words}: {answer:?}");
        }
        assert_eq!(as_usual.ready(&full("refused")).await.is_ok(), secret == SECRET, "the secret of today counts");
    }
    assert_eq!((bench.at("refused", "A").len(), bench.serial()), (0, serial));
}

async fn reaches_nothing_without_a_grant(bench: &Bench) {
    for transport in ["udp", "tcp"] {
        for (granted, secret_granted) in [(false, true), (true, false)] {
            let settings = json!({ "transport": transport });
            let setup = Setup { granted, secret_granted, ..Setup::with(bench.server, settings) };
            let slot = slot(&bench.engine, setup).await;
            let answer = apply(&slot, route("refused", &[("10.0.0.1", 1)]), 1).await;
            assert!(matches!(answer, Err(Failure::Denied(_))), "{transport} {granted} {secret_granted}: {answer:?}");
        }
    }
    assert!(bench.at("refused", "A").is_empty());
}

async fn is_ready_without_a_trace(bench: &Bench) {
    for transport in ["udp", "tcp"] {
        let slot = slot(&bench.engine, Setup::with(bench.server, json!({ "transport": transport }))).await;
        let serial = bench.serial();
        for name in ["ready", "late"] {
            let facts = slot.ready(&full(name)).await.unwrap();
            let of_server = facts.iter().find(|fact| fact.key == format!("server/{}", bench.server)).unwrap();
            assert!(of_server.value.starts_with(&format!("serial {serial}")), "{facts:?}");
        }
        assert_eq!((bench.serial(), bench.mark("late").len()), (serial, 0), "{transport}");
    }
}

async fn does_not_call_it_done_before_every_server_shows_it(bench: &Bench) {
    let apart = embedded().await;
    let hole = BlackHole::open().unwrap();
    for (name, second, words) in
        [("apart", apart.local_addr(), "still shows"), ("silent", hole.address(), "does not answer")]
    {
        let settings = json!({ "timeout": "300ms" });
        let setup = Setup { servers: vec![bench.server, second], ..Setup::with(bench.server, settings) };
        let slot = slot(&bench.engine, setup).await;
        let answer = apply_within(&slot, route(name, &[("10.0.0.1", 1)]), 4, 1_500).await;
        assert!(matches!(&answer, Err(Failure::UnknownOutcome(text)) if text.contains(words)), "{name}: {answer:?}");
        assert_eq!(bench.at(name, "A"), ["10.0.0.1"]);
        let read = slot.resolve(&full(name)).await.unwrap();
        assert_eq!((read.written_by, read.facts.len()), (Some(4), 1), "{read:?}");
        assert!(read.facts[0].key.ends_with(&second.to_string()), "{read:?}");
    }
    apart.stop().await.unwrap();
}

async fn does_not_know_what_a_black_hole_did(bench: &Bench) {
    let hole = BlackHole::open().unwrap();
    for transport in ["udp", "tcp"] {
        let settings = json!({ "transport": transport, "timeout": "300ms" });
        let slot = slot(&bench.engine, Setup::with(hole.address(), settings)).await;
        let written = apply_within(&slot, route("late", &[("10.0.0.1", 1)]), 1, 1_000).await.map(drop);
        let read = slot.resolve(&full("late")).await.map(drop);
        let ready = slot.ready(&full("late")).await.map(drop);
        for answer in [written, read, ready] {
            let words = "does not answer in time";
            assert!(
                matches!(&answer, Err(Failure::UnknownOutcome(text)) if text.contains(words)),
                "{transport}: {answer:?}"
            );
        }
    }
}

/// The embedded name server with the records that Knot has.
async fn embedded() -> Running {
    let record = |name: &str, data| ZoneRecord { name: name.into(), ttl_seconds: 30, data };
    let a = |last| RecordData::A(Ipv4Addr::new(10, 0, 0, last));
    let text = |text: &str| RecordData::Txt(text.into());
    let key = |name: &str, algorithm| TsigKey { name: name.into(), algorithm, secret: SECRET.to_vec() };
    let config = NameserverConfig {
        listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        zone: ZONE.into(),
        keys: vec![
            key("dns-key", TsigAlgorithm::HmacSha256),
            key("long", TsigAlgorithm::HmacSha384),
            key("longest", TsigAlgorithm::HmacSha512),
        ],
        records: vec![
            record("ns", RecordData::A(Ipv4Addr::LOCALHOST)),
            record("old", a(1)),
            record("old", text("kept")),
            record("beside", a(99)),
            record("alias", RecordData::Cname("ns.example.test".into())),
            record("taken", a(1)),
            record("_tidegate.taken", text("somebody else's")),
        ],
        state: None,
    };
    Nameserver::start(config).await.unwrap()
}
