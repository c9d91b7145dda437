//! A whole host in this process, with real plugins and a real DNS server: it sees, decides, moves, remembers, and stops.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::client::{Address, Client};
use tidegate::host::{Options, run};
use tidegate::journal;
use tidegate_nameserver::{Nameserver, NameserverConfig, RecordData, Running, TsigAlgorithm, TsigKey, ZoneRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Long enough for a busy machine; nothing is timed, everything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// 30 bytes of 7, as the nameserver has them and in base64.
const KEY: [u8; 30] = [7; 30];
const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

/// A small HTTP service; aborting it is its death.
async fn service(address: Ipv4Addr) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let bound = listener.local_addr().unwrap();
    (bound, tokio::spawn(serve(listener)))
}

async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        });
    }
}

async fn nameserver() -> Running {
    let record = ZoneRecord { name: "shop".into(), ttl_seconds: 1, data: RecordData::A(Ipv4Addr::new(127, 0, 0, 1)) };
    let key = TsigKey { name: "dns-key".into(), algorithm: TsigAlgorithm::HmacSha256, secret: KEY.to_vec() };
    let config = NameserverConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        zone: "example.test".into(),
        keys: vec![key],
        records: vec![record],
        state: None,
    };
    Nameserver::start(config).await.unwrap()
}

/// The addresses of `shop.example.test`, asked as any client would.
async fn shop_leads_to(server: SocketAddr) -> Vec<Ipv4Addr> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut question = vec![0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["shop", "example", "test", ""] {
        question.push(label.len() as u8);
        question.extend(label.bytes());
    }
    question.extend([0, 1, 0, 1]);
    socket.send_to(&question, server).await.unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await.unwrap();
    // The one address of the one answer is what the message ends with.
    let answers = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
    answer[..length]
        .last_chunk::<4>()
        .filter(|_| answers == 1)
        .map(|address| Ipv4Addr::from(*address))
        .into_iter()
        .collect()
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// A host with its fleet file, its state and the way to it.
struct Stage {
    directory: TempDir,
    client: Client,
}

struct Host {
    running: JoinHandle<anyhow::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Stage {
    fn new(fleet: impl FnOnce(&Path) -> String) -> Stage {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("key"), KEY_TEXT).unwrap();
        fs::write(directory.path().join("fleet.toml"), fleet(directory.path())).unwrap();
        let client = Client::new(Address::Unix(directory.path().join("host.sock")), None, None);
        Stage { directory, client }
    }

    fn fleet_file(&self) -> PathBuf {
        self.directory.path().join("fleet.toml")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    async fn start(&self) -> Host {
        let (serving, serves) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let options =
            Options { workers: Some(1), cache: Some(compiled()), serving: Some(serving), stop: Some(stopped) };
        let fleet_file = self.fleet_file();
        let running = tokio::spawn(async move { run(&fleet_file, options).await });
        if serves.await.is_err() {
            panic!("the host did not start: {:#}", running.await.unwrap().unwrap_err());
        }
        Host { running, stop }
    }

    async fn journal(&self) -> String {
        let mut lines = self.client.lines("/v1/journal").await.unwrap();
        let mut journal = String::new();
        while let Some(line) = lines.next().await.unwrap() {
            journal.push_str(&line);
            journal.push('\n');
        }
        journal
    }
}

impl Host {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

/// Shared by the tests, so that the plugins are compiled once.
fn compiled() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

fn fleet(directory: &Path, left: SocketAddr, right: SocketAddr, dns: SocketAddr) -> String {
    let at = directory.display();
    format!(
        r#"
[host]
site = "left"
mode = "act"
state = "{at}/state"
listen = ["unix:{at}/host.sock"]
warm-up = "500ms"

[site.left]
[site.right]

[secret]
dns-key = {{ file = "{at}/key" }}

[slot."dns/primary"]
plugin = "builtin:dns-rfc2136"
grants = ["tcp://{dns}", "udp://{dns}", "secret:dns-key"]
settings = {{ servers = ["{dns}"], zone = "example.test", key = "dns-key" }}

[service.shop]
one-domain-suffices = true
failover = "automatic"
probe = {{ slot = "probe/http", interval = "200ms", timeout = "150ms" }}
route = {{ slot = "dns/primary", name = "shop.example.test", ttl = "1s" }}

[service.shop.at.left]
endpoint = "127.0.0.1"
target = {{ url = "http://{left}/" }}

[service.shop.at.right]
endpoint = "127.0.0.2"
target = {{ url = "http://{right}/" }}
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_dns_when_the_active_site_dies_and_goes_on_from_its_journal() {
    let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter("info").try_init();
    let (left, left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 1)]);
    until("both sites are seen well and a move would work", || async {
        let shop: Value = stage.client.get("/v1/services/shop").await.unwrap();
        let well = |at: usize| shop["places"][at]["consensus"]["status"] == "healthy";
        well(0) && well(1) && shop["movable"] == json!({"yes": "right"}) && !shop["readiness"].is_null()
    })
    .await;

    left_alive.abort();
    until("the name leads to the site that lives", || async {
        shop_leads_to(dns.local_addr()).await == [Ipv4Addr::new(127, 0, 0, 2)]
    })
    .await;
    until("the run is closed", || async { stage.journal().await.contains("run-closed") }).await;
    host.stop().await;

    let verified = journal::verify(&journal::directory(&stage.state())).unwrap();
    assert!(verified.head.n > 0 && verified.torn.is_none(), "{verified:?}");
    let host = stage.start().await;
    until("the journal has gone on", || async { stage.journal().await.contains(r#""recovered":true"#) }).await;
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 2)]);
    host.stop().await;
    let after = journal::verify(&journal::directory(&stage.state())).unwrap();
    assert!(after.head.n > verified.head.n, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_what_works_when_it_is_told_to_take_what_does_not() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let good = fs::read_to_string(stage.fleet_file()).unwrap();
    let slots = || async {
        let slots: Vec<Value> = stage.client.get("/v1/plugins").await.unwrap();
        slots.into_iter().map(|slot| (slot["slot"].clone(), slot["revision"].clone())).collect::<Vec<_>>()
    };
    let plugins = slots().await;
    // What is written instead, and what the refusal has to name.
    for (from, to, named) in [
        ("failover = \"automatic\"", "failover = \"automatc\"", "fleet.toml:"),
        ("ttl = \"1s\"", "tll = \"1s\"", "dns/primary"),
        ("interval = \"200ms\"", "interval = \"soon\"", "fleet.toml:"),
        ("builtin:dns-rfc2136", "builtin:dns-nowhere", "slot dns/primary"),
        ("zone = \"example.test\"", "zone = 7", "dns/primary"),
    ] {
        fs::write(stage.fleet_file(), good.replace(from, to)).unwrap();
        let refused = stage.client.post::<Value>("/v1/reload", &json!({})).await.unwrap_err().to_string();
        assert!(refused.contains(named), "{to}: {refused}");
        assert_eq!(slots().await, plugins, "{to}");
    }
    fs::write(stage.fleet_file(), good.replace("ttl = \"1s\"", "ttl = \"2s\"")).unwrap();
    stage.client.post::<Value>("/v1/reload", &json!({})).await.unwrap();
    assert!(stage.journal().await.contains("fleet-changed"));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_and_counts_what_it_does_and_refuses_an_order_that_makes_no_sense() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let status: Value = stage.client.get("/v1/status").await.unwrap();
    assert_eq!(status["services"][0]["name"], "shop");
    let ready: Value = stage.client.get("/v1/ready?service=shop").await.unwrap();
    assert_eq!(ready, json!([{"service": "shop", "blockers": []}]));
    let lost: Value = stage.client.get("/v1/what-if?lose=left").await.unwrap();
    assert_eq!(lost[0]["service"], "shop");
    for path in ["/v1/services/nope", "/v1/what-if?lose=nowhere", "/v1/runs/7", "/v1/plugins/nope", "/v1/nothing"] {
        let error = stage.client.get::<Value>(path).await.unwrap_err().to_string();
        assert!(error.contains("there is no"), "{path}: {error}");
    }
    let order = json!({"command": "failover", "service": "nope", "to": null});
    assert!(matches!(stage.client.post::<Value>("/v1/orders", &order).await, Err(tidegate::client::Error::Refused(_))));

    let mut lines = stage.client.lines("/metrics").await.unwrap();
    let mut figures = String::new();
    while let Some(line) = lines.next().await.unwrap() {
        figures.push_str(&line);
        figures.push('\n');
    }
    for figure in [
        "tidegate_journal_head ",
        "tidegate_services{state=\"normal\"} 1",
        "tidegate_orders_total{result=\"refused\"} 1",
    ] {
        assert!(figures.contains(figure), "{figure}:\n{figures}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_rolls_back_and_refuses_plugins_without_losing_the_one_that_works() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let slot = "/v1/plugins/failover%2Fdefault";
    let number = |view: &Value| view["revision"]["number"].as_u64().unwrap();
    let first: Value = stage.client.get(slot).await.unwrap();

    let wrong_world =
        stage.client.post::<Value>(&format!("{slot}/swap"), &json!({"plugin": "builtin:probe-tcp"})).await;
    assert!(wrong_world.unwrap_err().to_string().contains("takes a"));
    let outside =
        stage.client.post::<Value>(&format!("{slot}/swap"), &json!({"plugin": "file:../../etc/passwd"})).await;
    assert!(outside.unwrap_err().to_string().contains("plugin directory"));
    assert_eq!(stage.client.get::<Value>(slot).await.unwrap(), first);

    let candidate = json!({"plugin": "builtin:failover-quorum"});
    let loaded: Value = stage.client.post(&format!("{slot}/load"), &candidate).await.unwrap();
    assert_eq!(number(&loaded), number(&first));
    assert_eq!(loaded["candidate"]["name"], "failover-quorum");
    let swapped: Value = stage.client.post(&format!("{slot}/swap"), &Value::Null).await.unwrap();
    assert!(number(&swapped) > number(&first));
    let back: Value = stage.client.post(&format!("{slot}/rollback"), &Value::Null).await.unwrap();
    assert!(number(&back) > number(&swapped));
    assert_eq!(stage.journal().await.matches(r#""cause":{"swapped""#).count(), 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_start_from_a_journal_that_somebody_changed_nor_beside_another_host() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let second = run(&stage.fleet_file(), Options::default()).await.unwrap_err();
    assert!(format!("{second:#}").contains("another host"), "{second:#}");
    host.stop().await;

    let segment = journal::directory(&stage.state()).join("journal-0000000000000001.jsonl");
    let changed = fs::read_to_string(&segment).unwrap().replacen(r#""rule":20"#, r#""rule":21"#, 1);
    fs::write(&segment, changed).unwrap();
    let refused = format!("{:#}", run(&stage.fleet_file(), Options::default()).await.unwrap_err());
    assert!(refused.contains("journal-0000000000000001.jsonl:1: record 1"), "{refused}");
}
