//! Three sites: a database, an enforcer and an agent each, and one host; all of it real, all of it ended with the stage. All of them
//! on loopback, or the first one apart, so that it can be cut off.
//!
//! Knows how things are set up, started, killed and asked; not what a round is about.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;

use super::tree;
use crate::network::Network;
use crate::servers_postgres::{PASSWORD, Postgres, REPLICATION_PASSWORD, USER, wait_for};

/// Sites, agents and nodes have the same names; the first is the primary, and the host stands at the last.
pub const NODES: [&str; 3] = ["a", "b", "c"];
/// As the example's fleet file calls the one service, and its cluster.
pub const SERVICE: &str = "orders";

/// What a crash of the machine would have to survive: nothing is spared on the disk.
const DURABLE: &str = "fsync = on\n";

/// How a commit is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Once one standby has it.
    Synchronous,
    /// Once the primary has it.
    Asynchronous,
}

impl Mode {
    /// In figures.
    pub fn name(self) -> &'static str {
        if self == Mode::Synchronous { "synchronous" } else { "asynchronous" }
    }
}

/// The whole set-up.
pub struct Stage {
    binary: PathBuf,
    /// The data directories; their servers run under the enforcers.
    pub postgres: Postgres,
    host: Option<Child>,
    agents: [Option<Child>; 3],
    /// Orders whose answer nobody waits for.
    orders: Vec<Child>,
    agents_listen: u16,
}

impl Stage {
    /// Everything up and well: the standbys stream, and the host could move the service.
    pub fn start(binary: &Path, mode: Mode) -> Result<Stage> {
        Stage::start_with(binary, mode, &[])
    }

    /// As [`Stage::start`], with other words in the fleet file: each of these, and what stands there instead.
    pub fn start_with(binary: &Path, mode: Mode, instead: &[(&str, &str)]) -> Result<Stage> {
        Stage::start_in(Network::loopback(), binary, mode, instead)
    }

    /// As [`Stage::start_with`], elsewhere.
    pub fn start_in(network: Network, binary: &Path, mode: Mode, instead: &[(&str, &str)]) -> Result<Stage> {
        ensure!(nix::unistd::geteuid().is_root(), "an enforcer makes PID namespaces: run this as root");
        let mut postgres = Postgres::cluster_in(network, &NODES, DURABLE)?;
        if mode == Mode::Synchronous {
            postgres.query("a", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (\"b\", \"c\")'")?;
        }
        for node in NODES {
            postgres.stop(node)?;
        }
        let agents_listen = free_port()?;
        let (host, agents, orders) = (None, [None, None, None], Vec::new());
        let mut stage = Stage { binary: binary.to_owned(), postgres, host, agents, orders, agents_listen };
        stage.write_files(mode, instead)?;
        stage.start_host()?;
        stage.hand_over().with_context(|| stage.tell())?;
        Ok(stage)
    }

    /// An enforcer starts a primary by its host's word alone, and a host has to have seen who leads: so the primary runs by itself
    /// once, before its enforcer takes it over. Nothing moves meanwhile.
    fn hand_over(&mut self) -> Result<()> {
        self.ask(&["pause", "--reason", "the enforcers take the databases over", "--json"])?;
        self.postgres.start("a")?;
        wait_for("the host has seen who leads", || {
            Ok(self.ask(&["status", "--json"])?["services"][0]["database"]["primary"] == "a")
        })?;
        self.postgres.stop("a")?;
        for at in 0..NODES.len() {
            self.start_agent(at)?;
        }
        wait_for("the enforcer has started the primary", || Ok(!self.database(0)?.is_empty()))?;
        self.ask(&["resume", "--json"])?;
        self.await_settled()?;
        self.await_movable()
    }

    /// `HOST:PORT` of each node as clients know them.
    pub fn clients(&self) -> Result<Vec<String>> {
        let client = |node: &&str| {
            let address = self.postgres.address(node)?;
            let (host, port) = address.split_once(':').context("an address has a port")?;
            Ok(format!("host={host} port={port} user={USER} password='{PASSWORD}' dbname=postgres connect_timeout=1"))
        };
        NODES.iter().map(client).collect()
    }

    /// Where everything lies.
    pub fn directory(&self) -> PathBuf {
        self.postgres.data("a").parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Starts the host.
    pub fn start_host(&mut self) -> Result<()> {
        let fleet = self.fleet_file();
        let mut command = self.logged("host")?;
        command.args(["run", "--fleet"]).arg(fleet).arg("--cache").arg(self.compiled());
        self.host = Some(command.spawn().context("start the host")?);
        wait_for("the host answers", || Ok(self.ask(&["status", "--json"]).is_ok()))
    }

    /// Cuts a site off from all others and from the host; only the first one stands apart.
    pub fn cut(&self, at: usize) -> Result<()> {
        ensure!(at == 0, "{} cannot be cut off: it does not stand apart", NODES[at]);
        self.postgres.network.cut()
    }

    /// Kills the host.
    pub fn kill_host(&mut self) -> Result<()> {
        let mut host = self.host.take().context("the host does not run")?;
        host.kill()?;
        host.wait().map(drop).context("wait for the host")
    }

    /// Starts a site's enforcer, and with it the agent and, if it may, the database.
    pub fn start_agent(&mut self, at: usize) -> Result<()> {
        let (name, directory) = (NODES[at], self.directory());
        let state = directory.join(format!("state-{name}"));
        self.share_compiled(&state)?;
        let mut command = self.logged(&format!("agent-{name}"))?;
        command.args(["agent", "--site", name, "--host", &self.host_address()]);
        if self.postgres.network.is_apart() {
            command.arg("--ca").arg(directory.join("authority.pem"));
        }
        command.arg("--token-file").arg(directory.join(format!("{name}.token")));
        command.arg("--state").arg(state);
        command.arg("--hold").arg(format!("{SERVICE}/{name}={}", self.postgres.data(name).display()));
        let agent = self.postgres.network.within(at, || command.spawn())?;
        self.agents[at] = Some(agent.context("start an agent")?);
        Ok(())
    }

    /// The enforcer of a site, with everything below it: agent and database.
    pub fn site(&self, at: usize) -> Vec<Pid> {
        self.agents[at].as_ref().map(|enforcer| tree::below(enforcer.id())).unwrap_or_default()
    }

    /// The agent's own process, below its enforcer.
    pub fn agent(&self, at: usize) -> Vec<Pid> {
        let Some(enforcer) = &self.agents[at] else { return Vec::new() };
        let below = tree::below_with(enforcer.id(), "agent");
        below.into_iter().filter(|pid| pid.as_raw().cast_unsigned() != enforcer.id()).collect()
    }

    /// Every process of a site's database.
    pub fn database(&self, at: usize) -> Result<Vec<Pid>> {
        crate::servers_postgres::processes(&self.postgres.data(NODES[at]))
    }

    /// Starts another enforcer once the one that was killed is gone.
    pub fn restart_agent(&mut self, at: usize) -> Result<()> {
        let mut enforcer = self.agents[at].take().context("the enforcer does not run")?;
        enforcer.wait().context("wait for an enforcer")?;
        self.start_agent(at)
    }

    /// What `tidegate …` prints, as JSON.
    pub fn ask(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(arguments).output().context("ask the host")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).with_context(|| format!("{arguments:?} printed {text}"))
    }

    /// Ends an order with the stage, if it has not ended by itself.
    pub fn keep(&mut self, order: Child) {
        self.orders.push(order);
    }

    /// Position of the node that the host holds to be the primary.
    pub fn primary(&self) -> Result<usize> {
        let status = self.ask(&["status", "--json"])?;
        let service = &status["services"][0];
        let site = service["active-site"].as_str().context("the service is somewhere")?;
        NODES.iter().position(|node| *node == site).context("a site of the stage")
    }

    /// Nothing stands in the way of a move, by itself or by a person's word.
    pub fn await_movable(&self) -> Result<()> {
        wait_for("the service could be moved", || {
            self.ask(&["ready", SERVICE, "--json"])?;
            Ok(self.ask(&["status", "--json"])?["services"][0]["movable"]["yes"].is_string())
        })
    }

    /// Every standby streams from the primary, no node is left out, and nothing is under way.
    pub fn await_settled(&self) -> Result<()> {
        wait_for("every standby streams and no run is under way", || {
            let status = self.ask(&["status", "--json"])?;
            let database = &status["services"][0]["database"];
            let primary = database["primary"].as_str().context("somebody leads")?;
            let left_out = |node: &Value| node["outside"].is_object() || node["outside"].is_string();
            let whole = !database["nodes"].as_array().is_some_and(|nodes| nodes.iter().any(left_out));
            let quiet = status["runs"].as_array().is_some_and(Vec::is_empty);
            let count = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
            let streaming = self.postgres.value(primary, count)?;
            Ok(whole && quiet && streaming == (NODES.len() - 1).to_string())
        })
    }

    /// What everybody wrote last, for a round that fails.
    pub fn tell(&self) -> String {
        let tail = |name: &str| {
            let text = std::fs::read_to_string(self.directory().join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("== {name}\n{}\n", lines[lines.len().saturating_sub(30)..].join("\n"))
        };
        let status = self.command(&["status", "orders"]).output().map(|output| output.stdout).unwrap_or_default();
        let runs = self.command(&["run", "list"]).output().map(|output| output.stdout).unwrap_or_default();
        let pages = [status, runs].map(|page| String::from_utf8_lossy(&page).into_owned()).join("\n");
        ["host", "agent-a", "agent-b", "agent-c"].iter().map(|name| tail(name)).collect::<String>() + &pages
    }

    /// Where the host keeps its journal.
    pub fn journal(&self) -> PathBuf {
        self.directory().join("state").join("journal")
    }

    /// `tidegate …` with this stage's fleet file.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--fleet").arg(self.fleet_file());
        command
    }

    fn fleet_file(&self) -> PathBuf {
        self.directory().join("fleet.toml")
    }

    /// Beside the binary that compiled it: what every host and every agent of every stage loads is compiled once.
    fn compiled(&self) -> PathBuf {
        self.binary.with_file_name("stage-compiled")
    }

    /// An agent keeps what it compiled in its state.
    fn share_compiled(&self, state: &Path) -> Result<()> {
        std::fs::create_dir_all(state)?;
        let link = state.join("compiled");
        if link.is_symlink() {
            return Ok(());
        }
        std::os::unix::fs::symlink(self.compiled(), link).context("share what was compiled")
    }

    fn logged(&self, name: &str) -> Result<Command> {
        let file = File::options().create(true).append(true).open(self.directory().join(format!("{name}.log")))?;
        let mut command = Command::new(&self.binary);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(command)
    }

    /// The example's fleet file, with this stage's ports and directories.
    fn write_files(&self, mode: Mode, instead: &[(&str, &str)]) -> Result<()> {
        let directory = self.directory();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/fleets/postgres.toml");
        let mut fleet = std::fs::read_to_string(&example).context("read the example's fleet file")?;
        for (at, node) in NODES.iter().enumerate() {
            let peers = format!("{}:{}", self.postgres.network.address(at), free_port()?);
            fleet = fleet.replace(&format!("127.0.0.1:{}", 6_001 + at), &self.postgres.address(node)?);
            fleet = fleet.replace(&format!("127.0.0.1:{}", 7_451 + at), &peers);
            secret(&directory.join(format!("{node}.token")), &format!("the token of agent {node}"))?;
        }
        fleet = fleet.replace("127.0.0.1:7441", &self.host_address());
        fleet = fleet.replace("/srv/orders", &directory.display().to_string());
        fleet = fleet.replace("/usr/bin/tidegate", &self.binary.display().to_string());
        if mode == Mode::Asynchronous {
            fleet = fleet.replace("synchronous = 1\n", "").replace("rpo = \"0s\"", "rpo = \"10s\"");
        }
        if self.postgres.network.is_apart() {
            fleet = self.off_loopback(&fleet)?;
        }
        for (from, to) in instead {
            ensure!(fleet.contains(from), "the example's fleet file does not say {from}");
            fleet = fleet.replace(from, to);
        }
        std::fs::write(self.fleet_file(), fleet)?;
        secret(&directory.join("password"), PASSWORD)?;
        secret(&directory.join("replication-password"), REPLICATION_PASSWORD)
    }

    /// Where agents find the host: it stands at the last site.
    fn host_address(&self) -> String {
        format!("{}:{}", self.postgres.network.address(NODES.len() - 1), self.agents_listen)
    }

    /// Beyond loopback agents report by TLS, and a database without it has to be said to be one.
    fn off_loopback(&self, fleet: &str) -> Result<String> {
        let directory = self.directory();
        let (authority, certificate, key) = certified(self.postgres.network.address(NODES.len() - 1))?;
        std::fs::write(directory.join("authority.pem"), authority)?;
        std::fs::write(directory.join("host.pem"), certificate)?;
        secret(&directory.join("host.key"), &key)?;
        let (certificate, key) = (directory.join("host.pem"), directory.join("host.key"));
        let tls = format!("[host]\ntls = {{ certificate = {certificate:?}, key = {key:?} }}");
        let fleet = fleet.replacen("[host]", &tls, 1);
        let fleet = fleet.replacen("[cluster.orders]", "[cluster.orders]\ntls = \"disable\"", 1);
        Ok(fleet.replace("\"--password-file\"", "\"--tls\", \"disable\", \"--password-file\""))
    }
}

/// An authority and, signed by it, a certificate for an address, with its key; all PEM.
fn certified(address: &str) -> Result<(String, String, String)> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([address.to_owned()])?.signed_by(&key, &authority)?;
    Ok((authority.pem(), certificate.pem(), key.serialize_pem()))
}

impl Drop for Stage {
    fn drop(&mut self) {
        for at in 0..NODES.len() {
            tree::signal(&self.site(at), Signal::SIGCONT);
            tree::signal(&self.site(at), Signal::SIGKILL);
        }
        let processes = self.agents.iter_mut().chain([&mut self.host]).filter_map(Option::take);
        let processes = processes.chain(self.orders.drain(..));
        for mut process in processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What the host warns of if others can read it.
fn secret(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).context("keep a secret")
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// How long anything may take that is waited for in a round; a busy machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(60);
