//! Real servers for the tests: each started by the test that needs it, on loopback, in a directory of its own.
//!
//! Knows how to find, configure, await and stop them; not what they are tested for. A server that is not installed
//! fails its test with the line to type: nothing is skipped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::socket::{Backlog, listen};
use tempfile::TempDir;

use crate::servers_dns::ask;

/// How long a server may take to answer for the first time; a busy machine is no fault.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether it answers.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// To a full queue no connection has come about by then.
const NEVER: Duration = Duration::from_millis(500);

/// Somebody else may take a free port between our look and the server's start.
const PORT_TRIES: usize = 5;

/// A TSIG key as servers are told it.
#[derive(Debug, Clone)]
pub struct DnsKey {
    /// As both sides call it.
    pub name: &'static str,
    /// "hmac-sha256" and so on.
    pub algorithm: &'static str,
    /// In base64.
    pub secret: String,
}

/// A knotd with one zone; stopped when it is dropped.
#[derive(Debug)]
pub struct Knot {
    address: SocketAddr,
    process: Child,
    directory: TempDir,
}

/// A server that is there, takes everything and never says a word.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _udp: UdpSocket,
    _tcp: TcpListener,
}

/// As a site that is cut off: no connection comes about, and nobody is refused.
#[derive(Debug)]
pub struct CutOff {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl Knot {
    /// `records` is the zone in master-file form, `more` whatever else the configuration of the zone shall say.
    pub fn start(zone: &str, records: &str, keys: &[DnsKey]) -> Result<Self> {
        let program = find_program("knotd", "knot")?;
        let mut last = None;
        for _ in 0..PORT_TRIES {
            let mut knot = Self::launch(&program, zone, records, keys)?;
            match knot.await_answer(zone) {
                Ok(()) => return Ok(knot),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("no port was tried")?)
    }

    /// Where it answers, by UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn launch(program: &Path, zone: &str, records: &str, keys: &[DnsKey]) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory for knotd")?;
        let address = free_address()?;
        let configuration = directory.path().join("knot.conf");
        std::fs::write(&configuration, configure(directory.path(), address, zone, keys))?;
        std::fs::write(directory.path().join("zone"), records)?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        let process = Command::new(program)
            .arg("--config")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { address, process, directory })
    }

    fn await_answer(&mut self, zone: &str) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_PATIENCE {
            if let Some(status) = self.process.try_wait()? {
                bail!("knotd ended at once ({status}): {}", self.log());
            }
            if ask(self.address, zone, "SOA").is_ok_and(|answer| !answer.records.is_empty()) {
                return Ok(());
            }
            wait(LOOK_AGAIN);
        }
        bail!("knotd does not answer for {zone}: {}", self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Knot {
    fn drop(&mut self) {
        // By its own process id; that it has ended already is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl BlackHole {
    /// A free port that answers nobody.
    pub fn open() -> Result<Self> {
        let (udp, tcp) = bind_free()?;
        Ok(Self { address: udp.local_addr()?, _udp: udp, _tcp: tcp })
    }

    /// Where it is silent.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl CutOff {
    /// A port whose queue is full, so that the kernel drops whatever else wants to connect.
    pub fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listen(&listener, Backlog::new(0)?)?;
        let address = listener.local_addr()?;
        let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, NEVER).ok()).collect();
        Ok(Self { address, _listener: listener, _waiting: waiting })
    }

    /// Where it is not reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A program that a Debian package brings, or the sentence that says how to get it.
pub fn find_program(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = directories.map(|directory| directory.join(program)).find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "this test needs {program}: run the tests with `cargo xtask test`, which installs it, or type: \
             sudo apt-get install --yes --no-install-recommends {package}"
        )
    })
}

fn configure(directory: &Path, address: SocketAddr, zone: &str, keys: &[DnsKey]) -> String {
    let directory = directory.display();
    let (ip, port) = (address.ip(), address.port());
    let mut text = format!(
        "server:\n  listen: {ip}@{port}\n  rundir: {directory}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         database:\n  storage: {directory}\nlog:\n  - target: stderr\n    any: info\nkey:\n"
    );
    for DnsKey { name, algorithm, secret } in keys {
        text += &format!("  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}\n");
    }
    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
    text += &format!("acl:\n  - id: update\n    key: [{}]\n    action: update\n", names.join(", "));
    text += &format!("zone:\n  - domain: {zone}\n    storage: {directory}\n    file: zone\n    acl: update\n");
    text
}

fn free_address() -> Result<SocketAddr> {
    Ok(bind_free()?.0.local_addr()?)
}

/// One port that is free for UDP and TCP.
fn bind_free() -> Result<(UdpSocket, TcpListener)> {
    for _ in 0..PORT_TRIES {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        if let Ok(tcp) = TcpListener::bind(udp.local_addr()?) {
            return Ok((udp, tcp));
        }
    }
    bail!("no port is free for both UDP and TCP")
}

fn wait(length: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a process that starts tells nobody when it is ready")]
    std::thread::sleep(length);
}
