//! Hosts and agents over real sockets: who may speak, over what, and what becomes of a command when a line is cut.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail with it")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::agent::ledger::Ledger;
use tidegate::agent::{self, Fitting, Outfit};
use tidegate::agents::protocol::{ChainHead, Done, Order, SlotPlan, Work};
use tidegate::agents::{Agents, Clock, Installation, Names, Word};
use tidegate::prober::{Looker, Looking};
use tidegate::tls;
use tidegate_kernel::contract::{Failure, Finding, Outcome, Output};
use tidegate_kernel::event::Event;
use tidegate_kernel::fleet::Fleet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const WEST: &str = "west-0123456789abcdef";
const EAST: &str = "east-0123456789abcdef";

/// Two sites with an agent each, and a command that leaves a line in a file.
fn fleet(ran: &Path) -> Arc<Fleet> {
    let text = format!(
        r#"
        [host]
        site = "west"
        mode = "observe"
        state = "state"
        agents-listen = "127.0.0.1:0"
        [site.west]
        [site.east]
        [agent.west]
        site = "west"
        token = "west"
        [agent.east]
        site = "east"
        token = "east"
        [secret]
        west = {{ env = "WEST" }}
        east = {{ env = "EAST" }}
        [service.shop]
        probe = {{ slot = "probe/tcp", interval = "100ms", timeout = "50ms" }}
        [service.shop.at.west]
        endpoint = "192.0.2.1"
        target = {{ address = "192.0.2.1:80" }}
        [service.shop.at.east]
        endpoint = "192.0.2.2"
        target = {{ address = "192.0.2.2:80" }}
        [command.note]
        argv = ["/bin/sh", "-c", "echo \"$1\" >> \"$0\"; echo noted", "{ran}", "{{text}}"]
        arguments = {{ text = "[a-z; ]+" }}
        timeout = "30s"
        "#,
        ran = ran.display()
    );
    let parsed = tidegate_kernel::fleet::parse(Path::new("fleet.toml"), &|_| Ok(text.clone()));
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{problems:#?}")))
}

/// A host's side, its clock running in real milliseconds.
struct Host {
    agents: Arc<Agents>,
    words: mpsc::Receiver<Word>,
    fleet: Arc<Fleet>,
}

impl Host {
    async fn start(directory: &TempDir, listen: &str, tls: Option<Arc<rustls::ServerConfig>>) -> Host {
        let fleet = fleet(&directory.path().join("ran"));
        let (sender, words) = mpsc::channel(1_024);
        let agents = Agents::start(Some(listen), tls, clock(), sender, Ledger::in_memory()).await.unwrap();
        let tokens = [("west", WEST), ("east", EAST)].map(|(name, token)| (name.to_owned(), token.to_owned()));
        let installation = Installation {
            fleet: fleet.clone(),
            tokens: tokens.into(),
            slots: BTreeMap::new(),
            components: Default::default(),
        };
        agents.install(installation).unwrap();
        Host { agents: Arc::new(agents), words, fleet }
    }

    fn address(&self) -> SocketAddr {
        self.agents.address().unwrap()
    }

    /// The next word in which that vantage point saw something.
    async fn word_of(&mut self, vantage: &str) -> Word {
        loop {
            let word = self.words.recv().await.expect("the host lives");
            if &*word.vantage == vantage && !word.looks.is_empty() {
                return word;
            }
        }
    }

    fn ask(&self, order: Order) -> JoinHandle<Result<Output, Failure>> {
        let agents = self.agents.clone();
        tokio::spawn(async move { agents.run_command("west", order).await })
    }
}

fn clock() -> Clock {
    let started = std::time::Instant::now();
    Arc::new(move || 1_000 + started.elapsed().as_millis() as u64)
}

fn order(key: &str) -> Order {
    let arguments = [("text".to_owned(), "a; b".to_owned())].into();
    Order { key: key.into(), command: "note".into(), arguments, timeout: 30_000 }
}

/// An agent whose probe finds everything refused; it stops when this is dropped.
struct Agent {
    _stop: oneshot::Sender<()>,
    looks: Arc<AtomicU64>,
}

struct Blind(Arc<AtomicU64>);

impl Looker for Blind {
    fn look<'a>(&'a self, slot: &'a str, _: &'a str, _: &'a str, _: Duration) -> Looking<'a> {
        Box::pin(async move {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Finding { outcome: Outcome::Refused, latency: Some(1), detail: format!("by {slot}") })
        })
    }
}

impl Outfit for Blind {
    fn fit(&self, _: BTreeMap<String, SlotPlan>, _: std::collections::HashMap<String, bytes::Bytes>) -> Fitting<'_> {
        Box::pin(async { Vec::new() })
    }
}

impl Agent {
    fn start(directory: &TempDir, host: SocketAddr, token: &str, ca: Option<PathBuf>) -> Agent {
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, format!("{token}\n")).unwrap();
        let options = agent::Options {
            site: "west".into(),
            name: "west".into(),
            host: host.to_string(),
            token_file,
            ca,
            trust: None,
            plugins: None,
            state: None,
            enforced: false,
        };
        let (sender, stop) = oneshot::channel();
        let looks = Arc::new(AtomicU64::new(0));
        let outfit = Arc::new(Blind(looks.clone()));
        tokio::spawn(agent::run_until(options, outfit, async { drop(stop.await) }));
        Agent { _stop: sender, looks }
    }
}

/// One request as it goes over the line.
async fn request(host: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(host).await.unwrap();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let text =
        format!("{line} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

fn speaking(token: &str, session: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("authorization", format!("Bearer {token}")),
        ("tidegate-agent", "west".to_owned()),
        ("tidegate-site", "west".to_owned()),
        ("tidegate-session", session.to_owned()),
    ]
}

async fn as_west(host: SocketAddr, session: &'static str, line: &str, body: &str) -> (u16, String) {
    let headers = speaking(WEST, session);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    request(host, line, &headers, body).await
}

#[tokio::test]
async fn nobody_speaks_without_a_token_or_in_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start(&directory, "127.0.0.1:0", None).await;
    let cases = [
        ("its own name", Some(WEST), "west", "west", 200),
        ("no token", None, "west", "west", 401),
        ("a wrong token", Some("west-0123456789abcdeX"), "west", "west", 401),
        ("an empty token", Some(""), "west", "west", 401),
        ("another agent's token", Some(EAST), "west", "west", 403),
        ("another agent's name", Some(WEST), "east", "west", 403),
        ("another site", Some(WEST), "west", "east", 403),
    ];
    for (what, token, agent, site, status) in cases {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("tidegate-agent", agent), ("tidegate-site", site), ("tidegate-session", "1")];
        headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
        for line in ["GET /agent/v1/plan", "GET /agent/v1/plugin/sha256:00"] {
            let expected = if line.contains("plugin") && status == 200 { 404 } else { status };
            assert_eq!(request(host.address(), line, &headers, "").await.0, expected, "{what}, {line}");
        }
    }
}

#[tokio::test]
async fn refuses_nonsense_and_stays_up() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start(&directory, "127.0.0.1:0", None).await;
    for body in ["", "{", "[]", "{\"looks\": 7}", "\0\u{1}"] {
        assert_eq!(as_west(host.address(), "1", "POST /agent/v1/report", body).await.0, 400, "{body:?}");
    }
    let large = "x".repeat(9 << 20);
    let mut stream = TcpStream::connect(host.address()).await.unwrap();
    // The host may hang up in the middle of it.
    let _ = stream.write_all(large.as_bytes()).await;
    assert_eq!(as_west(host.address(), "1", "GET /agent/v1/plan", "").await.0, 200);
}

#[tokio::test]
async fn a_host_that_knows_nobody_yet_calls_no_token_wrong() {
    let (words, _) = mpsc::channel(1);
    let agents = Agents::start(Some("127.0.0.1:0"), None, clock(), words, Ledger::in_memory()).await.unwrap();
    assert_eq!(as_west(agents.address().unwrap(), "1", "GET /agent/v1/plan", "").await.0, 503);
}

#[tokio::test]
async fn does_not_listen_in_the_clear_off_loopback() {
    let (words, _) = mpsc::channel(1);
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let started = Agents::start(Some(listen), None, clock(), words.clone(), Ledger::in_memory()).await;
        let error = started.err().expect(listen).to_string();
        assert!(error.contains("loopback") && error.contains("next:"), "{error}");
    }
}

#[tokio::test]
async fn what_an_agent_sees_reaches_the_kernel_with_the_bound_of_its_age() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::start(&directory, "127.0.0.1:0", None).await;
    let _agent = Agent::start(&directory, host.address(), WEST, None);
    let word = host.word_of("west").await;
    assert!(word.sound);
    for look in &word.looks {
        assert_eq!((&*look.service, look.outcome, look.detail.as_str()), ("shop", Outcome::Refused, "by probe/tcp"));
        assert!(look.not_before >= 1_000, "a heartbeat of this host: {look:?}");
    }
    let count = word.looks.len();
    let events = Names::of(&host.fleet).events(word);
    assert!(matches!(events[0], Event::Heard { sound: true, .. }));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Look(_))).count(), count);
}

#[tokio::test]
async fn speaks_tls_with_the_authority_that_it_was_given_and_with_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (server, ca) = self_made(&directory, "ours");
    let (_, other) = self_made(&directory, "other");
    let mut host = Host::start(&directory, "127.0.0.1:0", Some(server)).await;

    let stranger = tokio_rustls::TlsConnector::from(tls::client(Some(&other)).unwrap());
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let stream = TcpStream::connect(host.address()).await.unwrap();
    assert!(stranger.connect(name, stream).await.is_err());

    let _agent = Agent::start(&directory, host.address(), WEST, Some(ca));
    assert_eq!(&*host.word_of("west").await.vantage, "west");
}

/// A server's configuration and the file of the authority that signed it.
fn self_made(directory: &TempDir, name: &str) -> (Arc<rustls::ServerConfig>, PathBuf) {
    let file = |ending: &str| directory.path().join(format!("{name}.{ending}"));
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(file("pem"), signed.cert.pem()).unwrap();
    std::fs::write(file("key"), signed.signing_key.serialize_pem()).unwrap();
    (tls::server(&file("pem"), &file("key")).unwrap(), file("pem"))
}

#[tokio::test]
async fn an_agent_outlives_its_host() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::start(&directory, "127.0.0.1:0", None).await;
    let address = host.address();
    let agent = Agent::start(&directory, address, WEST, None);
    host.word_of("west").await;
    drop(host);
    let looks = agent.looks.load(Ordering::Relaxed);
    while agent.looks.load(Ordering::Relaxed) < looks + 3 {
        tokio::task::yield_now().await;
    }
    let mut host = Host::start(&directory, &address.to_string(), None).await;
    assert_eq!(&*host.word_of("west").await.vantage, "west");
}

#[tokio::test]
async fn looks_at_once_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::start(&directory, "127.0.0.1:0", None).await;
    let agent = Agent::start(&directory, host.address(), WEST, None);
    host.word_of("west").await;
    host.agents.look_now("shop", "east");
    host.word_of("west").await;
    assert!(agent.looks.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn the_same_key_is_run_once_and_its_arguments_stay_data() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start(&directory, "127.0.0.1:0", None).await;
    let _agent = Agent::start(&directory, host.address(), WEST, None);
    for _ in 0..3 {
        assert_eq!(host.agents.run_command("west", order("k")).await.unwrap().stdout, b"noted\n");
    }
    assert_eq!(std::fs::read_to_string(directory.path().join("ran")).unwrap(), "a; b\n");

    let hostile = Order { arguments: [("text".to_owned(), "$(id)".to_owned())].into(), ..order("h") };
    let refused = host.agents.run_command("west", hostile).await;
    assert!(matches!(refused, Err(Failure::Invalid(_))), "{refused:?}");
    let unknown = host.agents.run_command("west", Order { command: "other".into(), ..order("o") }).await;
    assert!(matches!(unknown, Err(Failure::NotFound(_))), "{unknown:?}");
    let nowhere = host.agents.run_command("north", order("n")).await;
    assert!(matches!(nowhere, Err(Failure::NotFound(_))), "{nowhere:?}");
}

#[tokio::test]
async fn a_command_whose_agent_was_lost_has_an_unknown_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start(&directory, "127.0.0.1:0", None).await;
    let asked = host.ask(order("k"));
    let (_, taken) = as_west(host.address(), "1", "GET /agent/v1/work", "").await;
    let work: Work = serde_json::from_str(&taken).unwrap();
    assert_eq!(work.items.len(), 1);
    // Its connection has ended; another process takes its place.
    let poll = as_west(host.address(), "2", "GET /agent/v1/work", "");
    let (outcome, _) = tokio::join!(asked, async {
        tokio::select! {
            (_, other) = poll => assert!(!other.contains("\"k\""), "given twice: {other}"),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    });
    assert!(matches!(outcome.unwrap(), Err(Failure::UnknownOutcome(_))));
}

#[tokio::test]
async fn a_lost_line_is_no_lost_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start(&directory, "127.0.0.1:0", None).await;
    let asked = host.ask(order("k"));
    for _ in 0..2 {
        let (_, taken) = as_west(host.address(), "1", "GET /agent/v1/work", "").await;
        assert!(taken.contains("\"k\""), "not acknowledged, so given again: {taken}");
    }
    let output = Output { status: 4, stdout: Vec::new(), stderr: b"no".to_vec() };
    let done = serde_json::to_string(&Done { key: "k".into(), result: Ok(output.clone()) }).unwrap();
    assert_eq!(as_west(host.address(), "1", "POST /agent/v1/done", &done).await.0, 200);
    assert_eq!(asked.await.unwrap(), Ok(output));
}

#[tokio::test]
async fn notices_a_journal_that_was_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = Host::start(&directory, "127.0.0.1:0", None).await;
    let _agent = Agent::start(&directory, host.address(), WEST, None);
    for (number, hash) in [(7, "g"), (8, "h"), (7, "x")] {
        host.agents.set_chain_head(ChainHead { number, hash: hash.into() });
        host.word_of("west").await;
        host.word_of("west").await;
        host.word_of("west").await;
    }
    while host.agents.views()[0].rewritten.is_none() {
        host.word_of("west").await;
    }
    let rewritten = host.agents.views()[0].rewritten.clone().unwrap();
    assert_eq!((rewritten.seen.hash.as_str(), rewritten.shown.hash.as_str()), ("g", "x"));
}
