//! The demonstration's stage: a directory, addresses on loopback, a fleet file, and every process by its name.
//!
//! Each process is this same binary. What is started here is ended here, by its process id.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tidegate_kernel::record::Record;
use tokio::process::{Child, Command};

use crate::journal::Entry;

/// The sites, in the operator's order of preference; each has a loopback address of its own.
pub(super) const SITES: [(&str, Ipv4Addr); 3] = [
    ("eu-west", Ipv4Addr::new(127, 0, 1, 1)),
    ("us-east", Ipv4Addr::new(127, 0, 2, 1)),
    ("ap-south", Ipv4Addr::new(127, 0, 3, 1)),
];
/// The site that is going to die.
pub(super) const DOOMED: &str = "eu-west";
/// The vantage point that is going to be cut off.
pub(super) const CUT_OFF: &str = "ap-south";
/// The zone of the demonstration's names.
pub(super) const ZONE: &str = "tidegate.test";

/// Where everything is, and what runs.
pub(super) struct Stage {
    pub(super) directory: PathBuf,
    pub(super) nameserver: SocketAddr,
    /// The same at every site: the name says which site is called.
    pub(super) port: u16,
    agents_listen: SocketAddr,
    /// The uplink of the vantage point that will be cut off, by what it leads to.
    uplinks: BTreeMap<SocketAddr, SocketAddr>,
    binary: PathBuf,
    processes: BTreeMap<String, Child>,
}

impl Stage {
    /// Chooses addresses and writes the fleet file and its secrets; starts nothing.
    pub(super) fn set(directory: PathBuf) -> Result<Stage> {
        std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        let nameserver = free(Ipv4Addr::LOCALHOST)?;
        let port = common_port()?;
        let services = SITES.iter().map(|(_, address)| SocketAddr::new(IpAddr::V4(*address), port));
        let far_ends: Vec<SocketAddr> = services.chain([nameserver]).collect();
        let near_ends = far_ends.iter().map(|far| Ok((*far, free(site_address(CUT_OFF))?)));
        let stage = Stage {
            nameserver,
            port,
            agents_listen: free(Ipv4Addr::LOCALHOST)?,
            uplinks: near_ends.collect::<Result<_>>()?,
            binary: std::env::current_exe().context("find this binary")?,
            processes: BTreeMap::new(),
            directory,
        };
        stage.write_secrets()?;
        stage.write(Path::new("fleet.toml"), &super::fleet::file(&stage))?;
        Ok(stage)
    }

    /// The fleet file that the host runs.
    pub(super) fn fleet_file(&self) -> PathBuf {
        self.directory.join("fleet.toml")
    }

    /// Where agents report.
    pub(super) fn agents_listen(&self) -> SocketAddr {
        self.agents_listen
    }

    /// The address by which the vantage point that will be cut off sees `far`.
    pub(super) fn uplink_to(&self, far: SocketAddr) -> SocketAddr {
        self.uplinks[&far]
    }

    /// The service's address at a site.
    pub(super) fn service_at(&self, site: &str) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(site_address(site)), self.port)
    }

    /// Starts the nameserver, the sites with their agents, and the host.
    pub(super) fn raise(&mut self) -> Result<()> {
        let key = self.directory.join("dns.key").display().to_string();
        let listen = self.nameserver.to_string();
        self.start("nameserver", &["nameserver", "--listen", &listen, "--zone", ZONE, "--key-file", &key])?;
        for (site, _) in SITES {
            self.raise_site(site)?;
        }
        self.raise_uplinks()?;
        let fleet = self.fleet_file().display().to_string();
        self.start("host", &["run", "--fleet", &fleet])
    }

    /// Adds a service with a database to the fleet file, and has the host read it again.
    pub(super) fn declare(&self, section: &str, password: &str) -> Result<()> {
        self.write(Path::new("pg.password"), password)?;
        self.write(Path::new("fleet.toml"), &(super::fleet::file(self) + section))?;
        let host = self.pid("host").and_then(|pid| Pid::from_raw(pid.cast_signed())).context("there is no host")?;
        kill_process(host, Signal::HUP).context("have the host read its fleet file again")
    }

    /// Starts a site: its service and its agent.
    pub(super) fn raise_site(&mut self, site: &str) -> Result<()> {
        let listen = self.service_at(site).to_string();
        self.start(&format!("service at {site}"), &["demo-site", "--name", site, "--listen", &listen])?;
        let host = self.agents_listen.to_string();
        let token = self.directory.join(format!("agent-{site}.token")).display().to_string();
        self.start(
            &format!("agent at {site}"),
            &["agent", "--site", site, "--name", site, "--host", &host, "--token-file", &token],
        )
    }

    /// Gives the vantage point its view of the world (back).
    pub(super) fn raise_uplinks(&mut self) -> Result<()> {
        for (far, near) in self.uplinks.clone() {
            let (near, far) = (near.to_string(), far.to_string());
            self.start(&format!("uplink to {far}"), &["demo-uplink", "--listen", &near, "--to", &far])?;
        }
        Ok(())
    }

    /// Cuts the vantage point off: every line by which it sees the world is gone, its agent lives.
    pub(super) async fn cut_uplinks(&mut self) -> Result<()> {
        for far in self.uplinks.keys().copied().collect::<Vec<_>>() {
            self.kill(&format!("uplink to {far}")).await?;
        }
        Ok(())
    }

    /// Ends a site as a power cut would.
    pub(super) async fn kill_site(&mut self, site: &str) -> Result<()> {
        self.kill(&format!("service at {site}")).await?;
        self.kill(&format!("agent at {site}")).await
    }

    /// Ends a site as a hung hypervisor would: it takes connections and answers nothing.
    pub(super) fn freeze_site(&self, site: &str) -> Result<()> {
        self.signal_site(site, Signal::STOP)
    }

    /// Lets a frozen site go on from where it was.
    pub(super) fn thaw_site(&self, site: &str) -> Result<()> {
        self.signal_site(site, Signal::CONT)
    }

    fn signal_site(&self, site: &str, signal: Signal) -> Result<()> {
        for name in [format!("service at {site}"), format!("agent at {site}")] {
            let pid = self.pid(&name).and_then(|pid| Pid::from_raw(pid.cast_signed()));
            kill_process(pid.with_context(|| format!("there is no {name}"))?, signal)
                .with_context(|| format!("signal the {name}"))?;
        }
        Ok(())
    }

    /// The process id of what was started under this name.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.processes.get(name).and_then(Child::id)
    }

    /// Names of processes that ended without being told to.
    pub(super) fn fallen(&mut self) -> Vec<String> {
        let ended = |child: &mut Child| child.try_wait().ok().flatten().is_some();
        self.processes.iter_mut().filter_map(|(name, child)| ended(child).then(|| name.clone())).collect()
    }

    /// Runs one of the commands that an operator types, against the demonstration's host.
    pub(super) async fn type_command(&self, arguments: &[&str]) -> Result<Output> {
        let socket = format!("unix:{}", self.directory.join("state").join("tidegate.sock").display());
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env("TIDEGATE_HOST", socket)
            .env("TIDEGATE_FLEET", self.fleet_file())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "110");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.output().await.with_context(|| format!("run tidegate {}", arguments.join(" ")))
    }

    /// The JSON document that an operator's command prints.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let output = self.type_command(&[arguments, &["--json"]].concat()).await?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned();
            bail!("tidegate {} failed: {said}", arguments.join(" "));
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("read what tidegate {} printed", arguments.join(" ")))
    }

    /// The journal's records of a service, the oldest first.
    pub(super) async fn records(&self, service: &str) -> Result<Vec<Record>> {
        self.journal(&["--service", service]).await
    }

    /// All of the journal's records, or those that are asked for.
    pub(super) async fn journal(&self, which: &[&str]) -> Result<Vec<Record>> {
        let output = self.type_command(&[&["journal", "show", "--json"], which].concat()).await?;
        let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice::<Entry>(line)?.record()).collect()
    }

    /// Ends everything: the host is asked to stop cleanly, the rest is killed.
    pub(super) async fn strike(mut self) -> Result<()> {
        if let Some(host) = self.processes.get_mut("host") {
            if let Some(pid) = host.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                kill_process(pid, Signal::TERM).context("ask the host to stop")?;
            }
            tokio::time::timeout(Duration::from_secs(10), host.wait()).await.context("the host does not stop")??;
        }
        for child in self.processes.values_mut() {
            child.kill().await.context("end a process of the demonstration")?;
        }
        Ok(())
    }

    fn start(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        let log_name = format!("{}.log", name.replace([' ', ':'], "-"));
        let log = std::fs::File::options().create(true).append(true).open(self.directory.join(log_name))?;
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(&self.directory).kill_on_drop(true).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("start the {name}"))?;
        self.processes.insert(name.to_owned(), child);
        Ok(())
    }

    async fn kill(&mut self, name: &str) -> Result<()> {
        let mut child = self.processes.remove(name).with_context(|| format!("there is no {name}"))?;
        child.kill().await.with_context(|| format!("kill the {name}"))
    }

    fn write_secrets(&self) -> Result<()> {
        self.write(Path::new("dns.key"), &format!("{}\n", secret()?))?;
        for (site, _) in SITES {
            self.write(Path::new(&format!("agent-{site}.token")), &format!("{}\n", secret()?))?;
        }
        Ok(())
    }

    fn write(&self, name: &Path, text: &str) -> Result<()> {
        let path = self.directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .with_context(|| format!("protect {}", path.display()))
    }
}

/// Asks again until the answer is there, or the patience is over.
pub(super) async fn until<T, F>(patience: Duration, what: &str, mut ask: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<Option<T>>,
{
    let began = Instant::now();
    loop {
        let last = ask().await;
        if let Ok(Some(found)) = last {
            return Ok(found);
        }
        if began.elapsed() > patience {
            let last = last.err().map_or(String::new(), |error| format!(" ({error:#})"));
            bail!("waited {} s for {what}{last}", patience.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The loopback address of a site.
pub(super) fn site_address(site: &str) -> Ipv4Addr {
    SITES.iter().find(|(name, _)| *name == site).map_or(Ipv4Addr::LOCALHOST, |(_, address)| *address)
}

fn free(address: Ipv4Addr) -> Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("find a free port on {address}"))?;
    Ok(listener.local_addr()?)
}

/// A port that is free at every site.
pub(super) fn common_port() -> Result<u16> {
    for _ in 0..64 {
        let port = free(SITES[0].1)?.port();
        if SITES.iter().all(|(_, address)| TcpListener::bind((*address, port)).is_ok()) {
            return Ok(port);
        }
    }
    bail!("no port is free on 127.0.1.1, 127.0.2.1 and 127.0.3.1 at once")
}

/// 32 random bytes in Base64.
pub(super) fn secret() -> Result<String> {
    let mut bytes = [0_u8; 32];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes).context("read random bytes")?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes))
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
