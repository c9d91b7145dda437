//! Real PostgreSQL for the tests: a primary and its standbys on loopback, in a directory of their own.
//!
//! Knows how to start, kill, hang and ask them; not what they are tested for.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use replication_postgres::connection::Connection;
use replication_postgres::settings::Place;
use replication_postgres::trouble::Trouble;
use replication_postgres::wire::{Access, Query, Row};
use tempfile::TempDir;

use crate::network::{self, Network};

/// The superuser of every cluster here.
pub const USER: &str = "tidegate";
/// Its password.
pub const PASSWORD: &str = "known to the tests";
/// The role that standbys stream as.
pub const REPLICATION_USER: &str = "replicator";
/// Its password; a quote and a backslash are in it, as an operator may have them.
pub const REPLICATION_PASSWORD: &str = r"it's \ secret";

/// How long a server may take for anything; a busy machine is no fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Small and quick. Nobody cuts the power in a test, so nobody waits for the disk.
const SETTINGS: &str = "\
fsync = off
shared_buffers = 16MB
max_connections = 30
max_wal_senders = 8
wal_log_hints = on
wal_retrieve_retry_interval = 100ms
hot_standby_feedback = on
logging_collector = off
";

/// For whoever was away for a while. A server without standbys needs none of it, and version 12 would not know it.
const KEPT: &str = "wal_keep_size = 64MB\n";

/// What servers show to whoever wants TLS, PEM; standbys hold each other against the same authority.
pub struct Shown {
    /// The server's certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The authority.
    pub root: String,
}

/// One primary and its standbys, all stopped when it is dropped.
pub struct Postgres {
    /// The nodes are at its sites, in their order.
    pub network: Network,
    programs: PathBuf,
    /// Whom the servers run as, if not us: they refuse to run as root.
    owner: Option<User>,
    nodes: Vec<Node>,
    /// Written into the configuration beside [`SETTINGS`].
    extra: String,
    directory: TempDir,
}

struct Node {
    name: String,
    port: u16,
    process: Option<Child>,
}

impl Postgres {
    /// The first name is the primary, the others stream from it, each under its own name.
    pub fn cluster(names: &[&str]) -> Result<Self> {
        Self::cluster_with(names, "")
    }

    /// As [`Postgres::cluster`], with further lines of `postgresql.conf`.
    pub fn cluster_with(names: &[&str], settings: &str) -> Result<Self> {
        Self::cluster_in(Network::loopback(), names, settings)
    }

    /// As [`Postgres::cluster_with`], each node at a site of its own.
    pub fn cluster_in(network: Network, names: &[&str], settings: &str) -> Result<Self> {
        let mut cluster = Self::prepare(programs()?)?;
        cluster.network = network;
        settings.clone_into(&mut cluster.extra);
        cluster.with_nodes(names)
    }

    /// As [`Postgres::cluster`], of the version whose programs these are.
    pub fn cluster_of(programs: PathBuf, names: &[&str]) -> Result<Self> {
        let mut cluster = Self::prepare(programs)?;
        cluster.lend_programs()?;
        cluster.with_nodes(names)
    }

    /// As `cluster`; its servers take TLS.
    pub fn secured(names: &[&str], shown: &Shown) -> Result<Self> {
        let mut cluster = Self::prepare(programs()?)?;
        cluster.write_private("server.key", &shown.key)?;
        cluster.write_private("root.pem", &shown.root)?;
        cluster.write_private("server.pem", &shown.certificate)?;
        let file = |name: &str| cluster.directory.path().join(name).display().to_string();
        let (certificate, key) = (file("server.pem"), file("server.key"));
        cluster.extra = format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n");
        cluster.with_nodes(names)
    }

    /// File with the authority of a cluster in TLS.
    pub fn root(&self) -> PathBuf {
        self.directory.path().join("root.pem")
    }

    fn with_nodes(self, names: &[&str]) -> Result<Self> {
        let mut cluster = self;
        let (primary, standbys) = names.split_first().context("a cluster has a primary")?;
        if !standbys.is_empty() {
            cluster.extra.insert_str(0, KEPT);
        }
        cluster.add(primary, |cluster| cluster.initialise(primary))?;
        if !standbys.is_empty() {
            let password = REPLICATION_PASSWORD.replace('\'', "''");
            let role = format!("CREATE ROLE {REPLICATION_USER} REPLICATION LOGIN PASSWORD '{password}'");
            cluster.query(primary, &role)?;
            for name in standbys {
                cluster.add(name, |cluster| cluster.copy(name, primary))?;
            }
            cluster.await_standbys(names)?;
        }
        Ok(cluster)
    }

    /// Starts a further server, once its data directory is filled.
    fn add(&mut self, name: &str, fill: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.nodes.push(Node { name: name.to_owned(), port: free_port()?, process: None });
        fill(self)?;
        // The last line counts, and a copy brings the primary's along.
        let at = self.position(name)?;
        let own = format!("listen_addresses = '{}'\nport = {}\n", self.network.address(at), self.nodes[at].port);
        append(&self.data(name).join("postgresql.conf"), &own)?;
        self.start(name)
    }

    /// `HOST:PORT`
    pub fn address(&self, name: &str) -> Result<String> {
        Ok(format!("{}:{}", self.network.address(self.position(name)?), self.node(name)?.port))
    }

    /// Where its data is.
    pub fn data(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a server that does not run, and waits until it answers.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.directory.path().join("log"))?;
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data(name));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = self.network.within(self.position(name)?, || command.spawn())?;
        self.node_mut(name)?.process = Some(process.context("start postgres")?);
        // One that the provider is too new for has answered as well.
        let answers = || matches!(self.ask(name, "SELECT 1"), Ok(_) | Err(Trouble::TooOld(_)));
        wait_for(&format!("{name} answers"), || Ok(answers())).with_context(|| self.log_end())
    }

    /// Ends a server in good order, as an administrator would.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        let process = self.node_mut(name)?.process.take();
        let mut process = process.with_context(|| format!("{name} does not run"))?;
        kill(Pid::from_raw(process.id().try_into()?), Signal::SIGINT)?;
        process.wait().map(drop).context("wait for postgres")
    }

    /// Kills every process of a server, all at once.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGKILL)?;
        if let Some(mut process) = self.node_mut(name)?.process.take() {
            process.wait()?;
        }
        let data = self.data(name);
        wait_for("all of its processes are gone", || Ok(processes(&data)?.is_empty()))
    }

    /// Hangs every process of a server: it takes connections and answers nothing.
    pub fn hang(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGSTOP)
    }

    /// Lets a server that hangs go on.
    pub fn resume(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGCONT)
    }

    /// What a server answers, over a connection of its own.
    pub fn query(&self, name: &str, text: &str) -> Result<Vec<Row>> {
        self.ask(name, text).map_err(|trouble| anyhow::anyhow!("{name}: {trouble}: {text}"))
    }

    fn ask(&self, name: &str, text: &str) -> Result<Vec<Row>, Trouble> {
        let access =
            Access { user: USER.to_owned(), password: Some(PASSWORD.to_owned()), database: "postgres".to_owned() };
        let address = self.address(name).map_err(|error| Trouble::Unreachable(error.to_string()))?;
        let place = Place { address, certified: None };
        let mut connection = Connection::open(&place, &access, Duration::from_secs(5))?;
        connection.ask(Query::Simple(text), Instant::now() + PATIENCE)
    }

    /// The first value that a server answers.
    pub fn value(&self, name: &str, text: &str) -> Result<String> {
        let rows = self.query(name, text)?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        value.with_context(|| format!("{name} has no answer to {text}"))
    }

    /// A command of PostgreSQL's own, run as the servers are.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.directory.path()).env_clear().env("LC_ALL", "C").env("PGPASSWORD", PASSWORD);
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        command
    }

    /// The last lines that the servers wrote, for a test that fails.
    pub fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn prepare(programs: PathBuf) -> Result<Self> {
        let owner = match geteuid().is_root() {
            true => Some(User::from_name("postgres")?.context("there is no user postgres, and servers refuse root")?),
            false => None,
        };
        let directory = tempfile::tempdir().context("make a directory for PostgreSQL")?;
        if let Some(owner) = &owner {
            chown(directory.path(), Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?;
        }
        let (network, nodes, extra) = (Network::loopback(), Vec::new(), String::new());
        Ok(Postgres { network, programs, owner, nodes, extra, directory })
    }

    /// A target folder may lie where the servers' owner may not go. Then the owner gets a copy: the programs, and with them
    /// the folders beside theirs, where they look for the rest.
    fn lend_programs(&mut self) -> Result<()> {
        let run = self.program("postgres").arg("--version").output();
        if run.is_ok_and(|output| output.status.success()) {
            return Ok(());
        }
        let given = self.programs.parent().context("the programs lie in a folder of a version")?;
        let lent = self.directory.path().join("programs");
        succeed(Command::new("cp").arg("--archive").arg(given).arg(&lent))?;
        if let Some(owner) = &self.owner {
            succeed(Command::new("chown").arg("--recursive").arg(owner.uid.to_string()).arg(&lent))?;
        }
        self.programs = lent.join("bin");
        Ok(())
    }

    /// A server takes no key that others could read.
    fn write_private(&self, name: &str, text: &str) -> Result<()> {
        let file = self.directory.path().join(name);
        std::fs::write(&file, text).with_context(|| format!("write {name}"))?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        match &self.owner {
            Some(owner) => Ok(chown(&file, Some(owner.uid.as_raw()), Some(owner.gid.as_raw()))?),
            None => Ok(()),
        }
    }

    fn initialise(&self, name: &str) -> Result<()> {
        let secret = self.directory.path().join("password");
        std::fs::write(&secret, PASSWORD)?;
        let mut command = self.program("initdb");
        command.args(["--no-sync", "--auth=scram-sha-256", "--locale=C", "--username", USER]);
        succeed(command.arg("--pwfile").arg(&secret).arg("-D").arg(self.data(name)))?;
        let sockets = self.directory.path().display();
        // What is said last counts.
        let own = format!("unix_socket_directories = '{sockets}'\n");
        append(&self.data(name).join("postgresql.conf"), &format!("{SETTINGS}{own}{}", self.extra))?;
        match self.network.is_apart() {
            true => append(&self.data(name).join("pg_hba.conf"), &from_all_sites()),
            false => Ok(()),
        }
    }

    /// A standby that follows the primary under its own name.
    fn copy(&mut self, name: &str, primary: &str) -> Result<()> {
        match self.programs.join("pg_basebackup").is_file() {
            true => self.copy_running(name, primary),
            false => self.copy_stopped(name, primary),
        }
    }

    fn copy_running(&self, name: &str, primary: &str) -> Result<()> {
        let mut command = self.program("pg_basebackup");
        let (host, port) = (self.network.address(self.position(primary)?), self.node(primary)?.port);
        let from = format!("host={host} port={port} user={REPLICATION_USER} application_name={name}");
        command.env("PGPASSWORD", REPLICATION_PASSWORD).arg("-d").arg(from);
        command.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-D"]).arg(self.data(name));
        succeed(&mut command).with_context(|| self.log_end())
    }

    /// As `copy_running`, while the primary stands still: not everybody who packs PostgreSQL packs `pg_basebackup`.
    fn copy_stopped(&mut self, name: &str, primary: &str) -> Result<()> {
        self.stop(primary)?;
        succeed(Command::new("cp").arg("--archive").arg(self.data(primary)).arg(self.data(name)))?;
        self.start(primary)?;
        let (host, port) = (self.network.address(self.position(primary)?), self.node(primary)?.port);
        let password = quoted(REPLICATION_PASSWORD, r"\'");
        let conninfo =
            format!("host={host} port={port} user={REPLICATION_USER} password={password} application_name={name}");
        let line = format!("primary_conninfo = {}\n", quoted(&conninfo, "''"));
        append(&self.data(name).join("postgresql.auto.conf"), &line)?;
        std::fs::write(self.data(name).join("standby.signal"), "").context("write standby.signal")
    }

    fn await_standbys(&self, names: &[&str]) -> Result<()> {
        let count = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        let expected = (names.len() - 1).to_string();
        wait_for("every standby streams", || Ok(self.value(names[0], count)? == expected))
            .with_context(|| self.log_end())
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let found = processes(&self.data(name))?;
        ensure!(!found.is_empty(), "{name} does not run");
        for process in found {
            // One that has ended meanwhile is what was wanted, or nobody's concern.
            let _ = kill(process, signal);
        }
        Ok(())
    }

    fn position(&self, name: &str) -> Result<usize> {
        self.nodes.iter().position(|node| node.name == name).with_context(|| format!("there is no node {name}"))
    }

    fn node(&self, name: &str) -> Result<&Node> {
        Ok(&self.nodes[self.position(name)?])
    }

    fn node_mut(&mut self, name: &str) -> Result<&mut Node> {
        let at = self.position(name)?;
        Ok(&mut self.nodes[at])
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let names: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        for name in names {
            let _ = self.kill(&name);
        }
    }
}

/// Waits until something is so; the error says what never was.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = is_so();
        match found {
            Ok(true) => return Ok(()),
            Ok(false) if Instant::now() >= deadline => bail!("waited in vain: {what}"),
            Err(error) if Instant::now() >= deadline => return Err(error.context(format!("waited in vain: {what}"))),
            Ok(false) | Err(_) => pause(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a server tells nobody when something has come about")]
fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}

/// Every process that works in a data directory: the postmaster, its backends, and orphans of either.
pub fn processes(data: &Path) -> Result<Vec<Pid>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("read /proc")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let works_there = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data);
        if works_there {
            found.push(Pid::from_raw(id));
        }
    }
    Ok(found)
}

/// Where PostgreSQL's programs are: the newest of Debian's versions, what `pg_config` says, or `$PATH`.
fn programs() -> Result<PathBuf> {
    let said = Command::new("pg_config").arg("--bindir").output().ok();
    let said = said.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|dir| dir.path().join("bin"))
        .collect();
    debian.sort();
    let places = said.into_iter().chain(std::env::split_paths(&path)).chain(debian.into_iter().rev());
    let found = places.into_iter().find(|place| place.join("initdb").is_file() && place.join("postgres").is_file());
    found.context("PostgreSQL is not installed; type: apt-get install postgresql")
}

/// `initdb` lets in who comes by loopback; these come from the other sites too.
fn from_all_sites() -> String {
    ["all", "replication"].map(|what| format!("host {what} all {} scram-sha-256\n", network::ALL)).concat()
}

/// Between quotes, as libpq (where a quote within is `\'`) and `postgresql.conf` (where it is `''`) read it.
fn quoted(text: &str, quote: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', quote))
}

fn append(file: &Path, text: &str) -> Result<()> {
    let given = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    std::fs::write(file, given + text).with_context(|| format!("write {}", file.display()))
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Nobody else on this machine's loopback is likely to take it before the server does.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
