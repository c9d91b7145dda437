//! What whole-host tests stand on: services, a DNS server, a fleet file with its directory, and hosts in this process.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tidegate::client::{Address, Client};
use tidegate::host::{Options, Serving, run};
use tidegate_nameserver::{Nameserver, NameserverConfig, RecordData, Running, TsigAlgorithm, TsigKey, ZoneRecord};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Long enough for a busy machine; nothing is timed, everything is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// 30 bytes of 7, as the nameserver has them and in base64.
const KEY: [u8; 30] = [7; 30];
const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

/// A small HTTP service; aborting it is its death.
pub async fn service(address: Ipv4Addr) -> (SocketAddr, JoinHandle<()>) {
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

/// What an HTTP server was asked.
#[derive(Debug)]
pub struct Seen {
    pub line: String,
    pub headers: HeaderMap,
    pub body: String,
}

/// An HTTP server that is pleased with every request.
pub async fn receiver() -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, (sender, received)) = (listener.local_addr().unwrap(), mpsc::unbounded_channel());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            let service = service_fn(move |request| take(request, sender.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, received)
}

async fn take(request: Request<Incoming>, seen: mpsc::UnboundedSender<Seen>) -> Result<Response<String>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await?.to_bytes().into()).unwrap();
    // The test may have seen enough.
    let _ = seen.send(Seen { line: format!("{} {}", head.method, head.uri), headers: head.headers, body });
    Ok(Response::new(String::new()))
}

/// The program as an operator types it, in the directory of the stage.
pub async fn tidegate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for variable in ["TIDEGATE_HOST", "TIDEGATE_FLEET", "TIDEGATE_TOKEN_FILE", "TIDEGATE_CA"] {
        command.env_remove(variable);
    }
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).output().await.unwrap()
}

/// All that it printed.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub async fn nameserver() -> Running {
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
pub async fn shop_leads_to(server: SocketAddr) -> Vec<Ipv4Addr> {
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

pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// A host with its fleet file, its state and the way to it.
pub struct Stage {
    pub directory: TempDir,
    pub client: Client,
}

pub struct Host {
    pub serving: Serving,
    running: JoinHandle<anyhow::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Stage {
    pub fn new(fleet: impl FnOnce(&Path) -> String) -> Stage {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("key"), KEY_TEXT).unwrap();
        fs::write(directory.path().join("fleet.toml"), fleet(directory.path())).unwrap();
        let client = Client::new(Address::Unix(directory.path().join("host.sock")), None, None);
        Stage { directory, client }
    }

    pub fn fleet_file(&self) -> PathBuf {
        self.directory.path().join("fleet.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub async fn start(&self) -> Host {
        let (serving, serves) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let options =
            Options { workers: Some(1), cache: Some(compiled()), serving: Some(serving), stop: Some(stopped) };
        let fleet_file = self.fleet_file();
        let running = tokio::spawn(async move { run(&fleet_file, options).await });
        match serves.await {
            Ok(serving) => Host { serving, running, stop },
            Err(_) => panic!("the host did not start: {:#}", running.await.unwrap().unwrap_err()),
        }
    }

    pub async fn journal(&self) -> String {
        let mut lines = self.client.lines("/v1/journal").await.unwrap();
        let mut journal = String::new();
        while let Some(line) = lines.next().await.unwrap() {
            journal.push_str(&line);
            journal.push('\n');
        }
        journal
    }
}

/// A host as a process of its own, killed when this is dropped.
pub struct Process {
    pub child: Child,
    log: PathBuf,
}

impl Stage {
    /// The real program; serves when this returns.
    pub async fn start_process(&self) -> Process {
        let log = self.directory.path().join("log");
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["run", "--workers", "1", "--fleet"]).arg(self.fleet_file()).arg("--cache").arg(compiled());
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).kill_on_drop(true);
        let process = Process { child: command.spawn().unwrap(), log };
        process.says("serving at").await;
        process
    }
}

impl Process {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log has these words.
    pub async fn says(&self, words: &str) {
        until(words, || async { self.log().contains(words) }).await;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().cast_signed()), signal).unwrap();
    }
}

impl Host {
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
    }
}

/// Shared by the tests, so that the plugins are compiled once.
pub fn compiled() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

pub fn fleet(directory: &Path, left: SocketAddr, right: SocketAddr, dns: SocketAddr) -> String {
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
