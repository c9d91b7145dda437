//! The enforcer on real PostgreSQL, with real agents and a real host's side: what ends a database, and what does not.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail with it")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::{PATIENCE, Place, Server, await_that, free_port, path, send, text, tidegate};
use tidegate::agent::ledger::Ledger;
use tidegate::agents::{Agents, Clock, Installation};
use tidegate_kernel::fleet::Fleet;
use tokio::sync::mpsc;

const AGENTS: [&str; 3] = ["a", "b", "c"];

/// Three sites with an agent each, the node at the first; a host's side of them.
struct Stage {
    place: Place,
    server: Server,
    peers: Vec<u16>,
    synchronous: u32,
    /// The first agent is run by root, as it has to be.
    privileged: bool,
    host: Option<Agents>,
    /// The host's.
    clock: Clock,
    address: SocketAddr,
    agents: BTreeMap<&'static str, Ended>,
}

/// Ended with the stage.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stage {
    async fn start(synchronous: u32) -> Stage {
        let place = Place::new();
        let server = place.server("a", "");
        let peers = AGENTS.map(|_| free_port()).to_vec();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let started = Instant::now();
        let clock: Clock = Arc::new(move || 1_000 + started.elapsed().as_millis() as u64);
        let mut stage = Stage {
            clock,
            place,
            server,
            peers,
            synchronous,
            privileged: true,
            host: None,
            address,
            agents: BTreeMap::new(),
        };
        stage.start_host().await;
        stage
    }

    fn fleet(&self) -> Arc<Fleet> {
        let sites: String = AGENTS.iter().zip(&self.peers).map(|(name, port)| {
            format!(
                "[site.{name}]\n[agent.{name}]\nsite = \"{name}\"\ntoken = \"{name}\"\npeers-listen = \"127.0.0.1:{port}\"\n\
                 [cluster.orders.node.{name}]\nsite = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n\
                 [service.orders.at.{name}]\nendpoint = \"192.0.2.1\"\ntarget = {{ address = \"192.0.2.1:80\" }}\n"
            )
        }).collect();
        let text = format!(
            "[host]\nsite = \"a\"\nmode = \"observe\"\nstate = \"state\"\nagents-listen = \"127.0.0.1:0\"\n\
             [secret]\na = {{ env = \"A\" }}\nb = {{ env = \"B\" }}\nc = {{ env = \"C\" }}\n\
             [cluster.orders]\nsynchronous = {}\n[service.orders]\ncluster = \"orders\"\nprobe = {{ slot = \"probe/tcp\" }}\n{sites}",
            self.synchronous
        );
        let parsed = tidegate_kernel::fleet::parse(Path::new("fleet.toml"), &|_| Ok(text.clone()));
        Arc::new(parsed.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}")))
    }

    async fn start_host(&mut self) {
        // What it hears of looks is nobody's business here.
        let (words, mut heard) = mpsc::channel(64);
        tokio::spawn(async move { while heard.recv().await.is_some() {} });
        let clock = self.clock.clone();
        let listen = self.address.to_string();
        let agents = Agents::start(Some(&listen), None, clock, words, Ledger::in_memory()).await.unwrap();
        agents.keep_leases_in(&self.place.directory.path().join("host")).unwrap();
        agents.lead("orders", Some("a"), 1);
        let tokens = AGENTS.map(|name| (name.to_owned(), token(name)));
        let (fleet, slots, components) = (self.fleet(), BTreeMap::new(), Default::default());
        agents.install(Installation { fleet, tokens: tokens.into(), slots, components }).unwrap();
        self.host = Some(agents);
    }

    fn start_agent(&mut self, name: &'static str) {
        let directory = self.place.directory.path();
        let token_file = directory.join(format!("{name}.token"));
        std::fs::write(&token_file, token(name)).unwrap();
        let log = std::fs::File::create(self.log_of(name)).unwrap();
        let mut agent = tidegate();
        agent.args(["agent", "--site", name, "--host", &self.address.to_string(), "--token-file", path(&token_file)]);
        agent.args(["--state", path(&directory.join(format!("{name}.state")))]);
        if name == "a" {
            agent.arg("--hold").arg(format!("orders/a={}", path(&self.server.data)));
        }
        if !self.privileged {
            support::run_by_postgres(&mut agent);
        }
        let child = agent.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.agents.insert(name, Ended(child));
    }

    /// Everything runs, and the first node is the primary.
    async fn with_everything(synchronous: u32) -> Stage {
        let mut stage = Stage::start(synchronous).await;
        AGENTS.into_iter().for_each(|name| stage.start_agent(name));
        stage.until("the primary's first write", |stage| stage.server.writes()).await;
        stage.until("the enforcer's word", |stage| stage.armed()).await;
        // Nobody asks about a synchronous cluster.
        let known = |stage: &Stage| synchronous > 0 || AGENTS.iter().all(|name| stage.knows_others(name));
        stage.until("everybody's knowledge of everybody", known).await;
        stage
    }

    fn knows_others(&self, name: &str) -> bool {
        let memory = self.place.directory.path().join(format!("{name}.state/leases.json"));
        std::fs::read_to_string(memory).is_ok_and(|memory| memory.contains("others") && memory.contains("orders"))
    }

    fn armed(&self) -> bool {
        let host = self.host.as_ref().unwrap();
        host.holds().iter().any(|at| at.agent == "a" && at.held.armed && at.held.running)
    }

    /// The host's side goes on meanwhile.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Stage) -> bool) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            while !holds(self) {
                assert!(
                    Instant::now() < deadline,
                    "{what} did not come about ({caller})\n{}\n{}",
                    std::fs::read_to_string(self.log_of("a")).unwrap_or_default(),
                    self.server.log()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.place.directory.path().join(format!("{name}.log"))
    }

    fn enforcer(&self) -> i32 {
        self.agents["a"].0.id() as i32
    }

    /// The agent below the enforcer.
    fn agent(&self) -> Option<i32> {
        children(self.enforcer()).into_iter().find(|pid| title(*pid).contains("--enforced"))
    }

    /// The database has ended, and takes no write whoever starts it.
    fn is_fenced(&self) -> bool {
        self.server.processes().is_empty() && self.server.is_barred()
    }

    async fn silence_host(&mut self) {
        self.host = None;
        // Connections that are open are ended with it.
        tokio::task::yield_now().await;
    }
}

fn token(name: &str) -> String {
    format!("{name}-0123456789abcdef")
}

fn title(pid: i32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

fn children(of: i32) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parent = |pid: i32| -> Option<i32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
    };
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_agent_touches_no_database() {
    let stage = Stage::with_everything(0).await;
    let (agent, server) = (stage.agent().unwrap(), stage.server.postmaster().unwrap());
    send(agent, Signal::SIGKILL);
    stage.until("another agent", |stage| stage.agent().is_some_and(|pid| pid != agent)).await;
    stage.until("its word", |stage| stage.armed()).await;
    assert_eq!(stage.server.postmaster(), Some(server));
    assert!(stage.server.writes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_the_enforcer_is_the_databases() {
    let stage = Stage::with_everything(0).await;
    send(stage.enforcer(), Signal::SIGKILL);
    let killed = Instant::now();
    stage.until("the database's end", |stage| stage.server.processes().is_empty()).await;
    println!("gone {} ms after the enforcer", killed.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_death_stops_nobody_while_the_agents_know_nothing_newer() {
    let mut stage = Stage::with_everything(0).await;
    let server = stage.server.postmaster();
    stage.silence_host().await;
    let silent = Instant::now();
    stage
        .until("three leases' lengths of writing", |stage| {
            assert!(!stage.server.is_barred(), "{}", std::fs::read_to_string(stage.log_of("a")).unwrap());
            stage.server.writes() && silent.elapsed() > Duration::from_millis(3 * tidegate::lease::LEASE)
        })
        .await;
    assert_eq!(stage.server.postmaster(), server);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_host_and_peers_the_lease_ends_the_primary_and_bars_it() {
    let mut stage = Stage::with_everything(0).await;
    stage.agents.retain(|name, _| *name == "a");
    assert!(stage.server.writes());
    stage.silence_host().await;
    let silent = Instant::now();
    stage.until("the fence", Stage::is_fenced).await;
    println!("fenced {} ms after the last possible renewal", silent.elapsed().as_millis());
    stage.server.start("standby");
    assert!(stage.server.is_standby() && !stage.server.writes());
    let refused = stage.server.node(&["stop", "--mode", "fast"]);
    assert!(refused.status.success(), "{}", text(&refused));
    let refused = stage.server.node(&["start", "--role", "primary"]);
    assert!(!refused.status.success() && text(&refused).contains("the host has not said"), "{}", text(&refused));
    assert!(stage.is_fenced());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_its_lease_has_ended_goes_on_with_the_next_one() {
    let mut stage = Stage::with_everything(0).await;
    stage.agents.retain(|name, _| *name == "a");
    stage.silence_host().await;
    stage.until("the fence", Stage::is_fenced).await;
    stage.start_host().await;
    stage.until("the primary again", |stage| !stage.server.is_barred() && stage.server.writes()).await;
    stage.until("the enforcer's word", |stage| stage.armed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_lease_has_ended_stays_so_while_another_leads_or_once_it_was_stopped() {
    let mut stage = Stage::with_everything(0).await;
    stage.agents.retain(|name, _| *name == "a");
    stage.silence_host().await;
    stage.until("the fence", Stage::is_fenced).await;
    stage.start_host().await;
    stage.host.as_ref().unwrap().lead("orders", Some("b"), 2);
    let stays = async |stage: &Stage| {
        let begin = Instant::now();
        let while_ago = |stage: &Stage| {
            assert!(stage.is_fenced(), "{}", std::fs::read_to_string(stage.log_of("a")).unwrap());
            begin.elapsed() > Duration::from_millis(2 * tidegate::lease::LEASE)
        };
        stage.until("a while", while_ago).await;
    };
    stays(&stage).await;
    stage.server.stop("fast");
    stage.host.as_ref().unwrap().lead("orders", Some("a"), 3);
    stays(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_primary_needs_no_lease() {
    let mut stage = Stage::with_everything(1).await;
    stage.agents.retain(|name, _| *name == "a");
    stage.silence_host().await;
    let silent = Instant::now();
    stage
        .until("three leases' lengths of writing", |stage| {
            assert!(!stage.server.is_barred());
            stage.server.writes() && silent.elapsed() > Duration::from_millis(3 * tidegate::lease::LEASE)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_wakes_up_after_its_lease_is_ended() {
    let mut stage = Stage::with_everything(0).await;
    stage.agents.retain(|name, _| *name == "a");
    let mut frozen = vec![stage.enforcer(), stage.agent().unwrap()];
    frozen.extend(stage.server.processes().iter().map(|process| process.pid));
    frozen.iter().for_each(|pid| send(*pid, Signal::SIGSTOP));
    stage.silence_host().await;
    let begin = Instant::now();
    stage.until("the lease's end", |_| begin.elapsed() > Duration::from_millis(2 * tidegate::lease::LEASE)).await;
    assert!(!stage.server.processes().is_empty(), "frozen");
    // The database first, so that it could take a write.
    frozen.iter().rev().for_each(|pid| send(*pid, Signal::SIGCONT));
    let awake = Instant::now();
    stage.until("the fence", Stage::is_fenced).await;
    println!("fenced {} ms after waking up", awake.elapsed().as_millis());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_enforcer_does_not_keep_a_primary_beyond_its_lease() {
    let mut stage = Stage::with_everything(0).await;
    stage.agents.retain(|name, _| *name == "a");
    send(stage.enforcer(), Signal::SIGSTOP);
    assert!(stage.server.writes());
    stage.silence_host().await;
    let silent = Instant::now();
    stage.until("the database's end", |stage| stage.server.processes().is_empty()).await;
    println!("gone {} ms after the last possible renewal", silent.elapsed().as_millis());
}

/// Asked until enough agents have acknowledged it in time: on a busy machine one may be late.
async fn end_lease(host: &Agents) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match host.end_lease("orders", 2).await {
            Ok(ends) => return ends,
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_knows_when_a_lease_has_ended_and_by_then_the_primary_has() {
    let stage = Stage::with_everything(0).await;
    let host = stage.host.as_ref().unwrap();
    let ends = end_lease(host).await;
    assert!(end_lease(host).await >= ends, "it may be asked again");
    stage.until("the end", |stage| (stage.clock)() >= ends).await;
    assert!(stage.server.processes().is_empty(), "the host would promote another one now");
    stage.until("the bar", Stage::is_fenced).await;
    host.lead("orders", Some("b"), 2);
    let status = tidegate().args(["node", "status", "--data", path(&stage.server.data)]).output().unwrap();
    assert_eq!(support::last_line(&status)["barred"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_majority_could_still_confirm_has_no_certain_end() {
    let mut stage = Stage::with_everything(0).await;
    stage.agents.retain(|name, _| *name != "c");
    let host = stage.host.as_ref().unwrap();
    let refused = host.end_lease("orders", 2).await.unwrap_err();
    assert!(refused.contains("fewer than 2"), "{refused}");
    stage.start_agent("c");
    let deadline = Instant::now() + PATIENCE;
    while stage.host.as_ref().unwrap().end_lease("orders", 2).await.is_err() {
        assert!(Instant::now() < deadline, "c has come back and knows of the epoch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_crashes_is_started_again_and_one_that_was_stopped_is_not() {
    let stage = Stage::with_everything(0).await;
    let first = stage.server.postmaster().unwrap();
    send(first, Signal::SIGKILL);
    stage.until("writes again", |stage| stage.server.postmaster() != Some(first) && stage.server.writes()).await;
    let stopped = stage.server.stop("fast");
    assert_eq!((&stopped["left"], &stopped["clean"]), (&0.into(), &true.into()));
    let begin = Instant::now();
    stage
        .until("a while", |stage| {
            assert!(stage.is_fenced());
            begin.elapsed() > Duration::from_millis(1_500)
        })
        .await;
    stage.server.start("primary");
    assert!(stage.server.writes());
}

#[test]
fn a_stopped_enforcer_ends_its_databases_in_order() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut stage = runtime.block_on(Stage::with_everything(0));
    send(stage.enforcer(), Signal::SIGTERM);
    await_that("the enforcer's end", || matches!(stage.agents.get_mut("a").unwrap().0.try_wait(), Ok(Some(_))));
    assert!(stage.server.processes().is_empty());
    let status = support::last_line(&stage.server.node(&["status"]));
    assert_eq!(status["control"]["state"], "shut down");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_make_namespaces_it_says_that_a_lease_proves_nothing() {
    let mut stage = Stage::start(0).await;
    stage.privileged = false;
    stage.server.start("primary");
    AGENTS.into_iter().for_each(|name| stage.start_agent(name));
    stage
        .until("the enforcer's word", |stage| {
            let holds = stage.host.as_ref().unwrap().holds();
            let said = |why: &str| why.contains("CAP_SYS_ADMIN");
            holds.iter().any(|at| at.held.running && !at.held.armed && at.held.why.as_deref().is_some_and(said))
        })
        .await;
    let refused = stage.host.as_ref().unwrap().end_lease("orders", 2).await.unwrap_err();
    assert!(refused.contains("not armed"), "{refused}");
}
