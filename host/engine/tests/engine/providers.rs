//! A provider touches what it was granted; what else it tries is refused, logged, and disturbs nobody.

use crate::support::{check, connect, engine, limits, probe, probe_slot};
use serde_json::json;
use std::{
    collections::BTreeMap,
    net::IpAddr,
    os::unix::fs::symlink,
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_engine::{
    Engine, EngineConfig, Grants, Outside, ProviderSlot, RevisionSpec, SecretSource,
    grants::{BoxFuture, Directory, Resolver},
};
use tidegate_kernel::contract::Failure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

/// Every name leads to loopback, but for one.
pub(crate) struct Names;

impl Resolver for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, std::io::Result<Vec<IpAddr>>> {
        let address = match name {
            "public.test" => "203.0.113.7",
            _ => "127.0.0.1",
        };
        Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
    }
}

struct Safe;

impl SecretSource for Safe {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        Box::pin(async move { Ok(format!("the secret {name}").into_bytes()) })
    }
}

async fn named_engine() -> Engine {
    let outside = Outside { secrets: Arc::new(Safe), ..Outside::default() };
    let config = EngineConfig { policy_workers: 1, resolver: Arc::new(Names), outside, ..EngineConfig::default() };
    Engine::start(config).await.unwrap()
}

/// Answers each connection's first request with this, for ever.
async fn http(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

fn page(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}", text.len())
}

async fn detail(slot: &ProviderSlot, target: &str) -> String {
    match check(slot, target).await {
        Ok(finding) => finding.detail,
        Err(failure) => failure.to_string(),
    }
}

#[tokio::test]
async fn sockets_reach_what_was_granted_and_nothing_else() {
    let engine = named_engine().await;
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (tcp_to, udp_to) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let grants = connect(&[
        &format!("tcp://{tcp_to}"),
        &format!("udp://{udp_to}"),
        "tcp://public.test:80",
        "tcp://inside.test:80",
    ]);
    let slot = probe_slot(&engine, probe(grants)).await;
    let cases = [
        (format!("tcp {tcp_to}"), "TcpStream"),
        (format!("udp {udp_to}"), "1"),
        (format!("tcp {udp_to}"), "PermissionDenied"),
        ("udp 127.0.0.1:9".into(), "PermissionDenied"),
        ("listen 127.0.0.1:0".into(), "PermissionDenied"),
        ("listen 127.0.0.1:18080".into(), "PermissionDenied"),
        ("name public.test".into(), "203.0.113.7"),
        ("name other.test".into(), "rejected"),
        // Rebinding: the granted name leads to loopback, which was granted for other ports only by address.
        ("tcp inside.test:80".into(), "rejected"),
    ];
    for (target, expected) in cases {
        let found = detail(&slot, &target).await;
        assert!(found.contains(expected), "{target}: expected “{expected}”: {found}");
    }
    assert!(slot.health().refused >= 5);
    assert_eq!(slot.health().recent_traps, 0, "a refusal is an answer");
}

#[tokio::test]
async fn http_goes_where_it_was_granted_even_when_redirected_or_rebound() {
    let engine = named_engine().await;
    let inner = http(page("the crown jewels")).await;
    let outer = http(page("hello")).await;
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{inner}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let redirecting = http(redirect).await;
    let big = http(page(&"x".repeat(1 << 20))).await;
    let mut spec = probe(connect(&[
        &format!("http://127.0.0.1:{outer}"),
        &format!("http://127.0.0.1:{redirecting}"),
        &format!("http://127.0.0.1:{big}"),
        &format!("http://inside.test:{inner}"),
    ]));
    spec.limits = limits(json!({ "http-body": "64KiB" }));
    let slot = probe_slot(&engine, spec).await;
    let cases = [
        (format!("http://127.0.0.1:{outer}/"), "hello"),
        (format!("http://127.0.0.1:{inner}/"), "HttpRequestDenied"),
        (format!("http://127.0.0.1:{redirecting}/"), "HttpRequestDenied"),
        (format!("http://inside.test:{inner}/"), "HttpRequestDenied"),
        (format!("http://user@127.0.0.1:{outer}/"), "HttpRequestUriInvalid"),
        (format!("http://127.0.0.1:{big}/"), "body size exceeds limit"),
    ];
    for (url, expected) in cases {
        let found = detail(&slot, &format!("http {url}")).await;
        assert!(found.contains(expected), "{url}: expected “{expected}”: {found}");
        assert!(!found.contains("jewels"));
    }
}

#[tokio::test]
async fn files_end_at_the_granted_directory() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("mine"), "mine").unwrap();
    std::fs::write(home.path().join("theirs"), "theirs").unwrap();
    symlink(home.path().join("theirs"), data.join("link")).unwrap();
    symlink("../theirs", data.join("up")).unwrap();
    let directory = Directory { path: data.clone(), writable: false };
    let mut grants = Grants { directories: BTreeMap::from([("/data".into(), directory)]), ..Grants::default() };
    // Given, but not wanted: not there.
    grants.directories.insert("/extra".into(), Directory { path: home.path().into(), writable: true });
    let slot = probe_slot(&engine().await, probe(grants)).await;
    let outside = home.path().join("theirs").display().to_string();
    for target in
        ["/data/../theirs", "/data/link", "/data/up", &outside, "/extra/theirs", "/etc/passwd", "/proc/self/environ"]
    {
        let found = detail(&slot, &format!("read {target}")).await;
        assert!(found.starts_with("rejected"), "{target}: {found}");
    }
    assert_eq!(detail(&slot, "read /data/mine").await, "\"mine\"");
    assert!(detail(&slot, "write /data/new").await.starts_with("rejected"), "read only");
    assert!(!data.join("new").exists());
}

#[tokio::test]
async fn a_secret_reaches_only_who_wants_it_and_was_given_it() {
    let engine = named_engine().await;
    let secrets = ["own", "other"].map(str::to_owned).into();
    let slot = probe_slot(&engine, probe(Grants { secrets, ..Grants::default() })).await;
    assert_eq!(detail(&slot, "secret own").await, "the secret own");
    assert!(matches!(check(&slot, "secret other").await, Err(Failure::Denied(_))), "given, but not wanted");
    let bare = probe_slot(&engine, probe(Grants::default())).await;
    assert!(matches!(check(&bare, "secret own").await, Err(Failure::Denied(_))), "wanted, but not given");
}

#[tokio::test]
async fn every_crash_costs_one_instance_and_nothing_else() {
    let engine = engine().await;
    let mut spec = probe(Grants::default());
    spec.limits = limits(json!({ "cpu": "50ms", "memory": "4MiB", "host-calls": 2_000, "restarts": 100 }));
    let slot = probe_slot(&engine, spec).await;
    let cases = [
        ("panic", "on purpose"),
        ("holding", "with a resource in my hand"),
        ("loop", "cpu: 50ms"),
        ("memory", "memory: 4MiB"),
        ("stack", "crashed"),
        ("host-calls", "host-calls: 2000"),
        ("huge", "memory: 4MiB"),
        ("enum", "crashed"),
    ];
    for (word, expected) in cases {
        assert_eq!(check(&slot, "ok").await.unwrap().detail, "1", "before {word}: a fresh instance");
        let failure = check(&slot, word).await.unwrap_err();
        assert!(matches!(&failure, Failure::UnknownOutcome(text) if text.contains(expected)), "{word}: {failure}");
    }
    assert!(check(&slot, "log-flood").await.is_ok());
    let health = slot.health();
    assert_eq!((health.recent_traps, health.timeouts, health.quarantined), (cases.len() as u64, 0, None));
}

#[tokio::test]
async fn instances_are_kept_between_calls() {
    let slot = probe_slot(&engine().await, probe(Grants::default())).await;
    for number in ["1", "2", "3"] {
        assert_eq!(check(&slot, "ok").await.unwrap().detail, number);
    }
    assert_eq!(slot.health().instances, 1);
    assert_eq!(slot.ready("thing").await.unwrap()[0].value, "thing");
}

#[tokio::test]
async fn a_sleeper_is_cut_off_and_a_black_hole_starves_nobody() {
    let engine = engine().await;
    let mut spec = probe(Grants::default());
    spec.limits = limits(json!({ "pool": 8, "bulkhead": 4, "wall-clock": "20s" }));
    let slot = Arc::new(probe_slot(&engine, spec).await);
    let started = Instant::now();
    let hole: Vec<_> = (0..12).map(|_| tokio::spawn(hang(slot.clone()))).collect();
    while slot.health().busy < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..20 {
        assert!(slot.check("elsewhere", "ok", 10_000).await.is_ok());
    }
    assert!(hole.iter().all(|call| !call.is_finished()) || started.elapsed() > Duration::from_secs(1));
    for call in hole {
        let failure = call.await.unwrap();
        assert!(matches!(failure, Failure::UnknownOutcome(_) | Failure::Busy(_)), "{failure}");
    }
    let health = slot.health();
    assert!(health.timeouts >= 4 && health.recent_traps == 0 && health.quarantined.is_none(), "{health:?}");
}

async fn hang(slot: Arc<ProviderSlot>) -> Failure {
    slot.check("hole", "sleep", 2_000).await.unwrap_err()
}

#[tokio::test]
async fn who_crashes_too_often_is_quarantined_with_the_reason() {
    let engine = engine().await;
    let mut spec = probe(Grants::default());
    spec.limits = limits(json!({ "restarts": 2 }));
    let slot = probe_slot(&engine, spec).await;
    for _ in 0..3 {
        assert!(matches!(check(&slot, "panic").await, Err(Failure::UnknownOutcome(_))));
    }
    let failure = check(&slot, "ok").await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Rejected(text) if text.contains("quarantined") && text.contains("on purpose")),
        "{failure}"
    );
    assert!(slot.health().quarantined.is_some());
    let staged = engine.stage(probe(Grants::default())).await.unwrap();
    slot.swap(staged).await.unwrap();
    assert!(check(&slot, "ok").await.is_ok(), "another revision starts afresh");
}

#[tokio::test]
async fn a_number_that_is_none_is_refused() {
    let engine = engine().await;
    let spec = RevisionSpec {
        slot: "signal/default".into(),
        bytes: tidegate_test_guests::hostile_signal().to_vec(),
        settings: json!({}),
        ..RevisionSpec::default()
    };
    let slot = ProviderSlot::install(engine.stage(spec).await.unwrap()).unwrap();
    assert_eq!(slot.sample("", "1.5", 1_000).await.unwrap(), 1.5);
    for nonsense in ["NaN", "inf", "-inf"] {
        assert!(matches!(slot.sample("", nonsense, 1_000).await, Err(Failure::Rejected(_))), "{nonsense}");
    }
    assert!(matches!(slot.check("", "ok", 1_000).await, Err(Failure::Invalid(_))), "a signal is no probe");
}
