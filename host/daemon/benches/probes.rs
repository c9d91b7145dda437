//! 10,000 targets looked at every five seconds from one process on two threads, with the real `probe-tcp` in its sandbox:
//! all of them well, then a third of them black holes. One JSON object for each figure.
//!
//! The well ones are listeners in this process, on a thread whose own processor time is taken off. A black hole is a listener
//! with a full backlog: the kernel drops what knocks.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

use std::net::{SocketAddr, TcpListener as Listener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tidegate::agents::plan::probe_limits;
use tidegate::agents::protocol::Heartbeat;
use tidegate::prober::{Counters, Looker, Looking, Prober, Seen, Target, raise_file_limit};
use tidegate_engine::{Engine, EngineConfig, Grants, ProviderSlot, RevisionSpec};
use tidegate_kernel::contract::{Millis, Outcome};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

const TARGETS: usize = 10_000;
const INTERVAL: Millis = 5_000;
const TIMEOUT: Millis = 2_000;
const SITES: [&str; 3] = ["west", "east", "south"];
const SLOT: &str = "probe/tcp";
/// One is not measured: instances are made in it.
const WARM_UP: Duration = Duration::from_secs(10);
const RUNS: usize = 6;
/// So many that a client's ports to each of them are never used up.
const LISTENERS: u8 = 32;

fn main() {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        measure("well", None).await;
        measure("third-black-hole", Some("south")).await;
    });
}

/// Looks for a while and says how it went. The site `hole`, a third of all targets, answers nobody.
async fn measure(case: &str, hole: Option<&str>) {
    let well = Well::start();
    let black = BlackHole::start().await;
    let targets = targets(&well.addresses, hole.map(|site| (site, black.address)));
    let (sender, mut seen) = mpsc::channel(65_536);
    let prober = Prober::start(slot(&targets).await, Arc::new(Heartbeat::default), sender);
    prober.set_targets(targets);
    let tally = tokio::spawn(async move {
        let mut tally = Tally::default();
        while let Some(look) = seen.recv().await {
            tally.count(&look);
        }
        tally
    });
    tokio::time::sleep(WARM_UP).await;
    let mut figures = Figures::default();
    for _ in 0..RUNS {
        let (before, processor, started) = (prober.counters(), well.processor_elsewhere(), Instant::now());
        tokio::time::sleep(Duration::from_millis(INTERVAL)).await;
        let elapsed = started.elapsed().as_secs_f64();
        figures.add(before, prober.counters(), well.processor_elsewhere() - processor, elapsed);
    }
    drop(prober);
    figures.print(case);
    tally.await.unwrap().print(case);
}

fn targets(well: &[SocketAddr], hole: Option<(&str, SocketAddr)>) -> Vec<Target> {
    let target = |number: usize| {
        let site = SITES[number % SITES.len()];
        let address = match hole {
            Some((black, address)) if black == site => address,
            _ => well[number % well.len()],
        };
        Target {
            service: format!("service-{number}").into(),
            site: site.into(),
            slot: SLOT.into(),
            target: format!(r#"{{"address": "{address}"}}"#).into(),
            interval: INTERVAL,
            timeout: TIMEOUT,
        }
    };
    (0..TARGETS).map(target).collect()
}

/// The real plugin, with the limits that a host would give it for these targets.
async fn slot(targets: &[Target]) -> Arc<dyn Looker> {
    let config = EngineConfig { policy_workers: 1, ..EngineConfig::default() };
    let engine = Engine::start(config).await.expect("the engine starts");
    let limits = probe_limits(SLOT, &serde_json::json!({}), targets);
    let plugin = tidegate_plugins::find("probe-tcp").expect("it is built in");
    let spec = RevisionSpec {
        slot: SLOT.into(),
        source: "built in".into(),
        bytes: plugin.bytes.to_vec(),
        settings: serde_json::json!({}),
        grants: Grants { connect: vec!["tcp://127.0.0.0/8:*".parse().unwrap()], ..Grants::default() },
        limits: serde_json::from_value(limits).unwrap(),
        ..RevisionSpec::default()
    };
    let slot = ProviderSlot::install(engine.stage(spec).await.expect("the plugin is sound")).unwrap();
    Arc::new(Probe { slot, _engine: engine })
}

struct Probe {
    slot: ProviderSlot,
    _engine: Engine,
}

impl Looker for Probe {
    fn look<'a>(&'a self, _: &'a str, bulkhead: &'a str, target: &'a str, timeout: Duration) -> Looking<'a> {
        Box::pin(self.slot.check(bulkhead, target, timeout.as_millis() as Millis))
    }
}

/// Listeners that take every connection and hang up.
struct Well {
    addresses: Vec<SocketAddr>,
    /// Processor seconds of the listeners' thread.
    own: Arc<std::sync::Mutex<f64>>,
}

impl Well {
    fn start() -> Well {
        let bind = |last| Listener::bind((std::net::Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
        let listeners: Vec<Listener> = (1..=LISTENERS).map(bind).collect();
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let own = Arc::new(std::sync::Mutex::new(0.0));
        let told = own.clone();
        std::thread::spawn(move || serve(listeners, &told));
        Well { addresses, own }
    }

    fn processor_elsewhere(&self) -> f64 {
        processor(UsageWho::RUSAGE_SELF) - *self.own.lock().unwrap()
    }
}

fn serve(listeners: Vec<Listener>, own: &std::sync::Mutex<f64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for listener in listeners {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        }
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            *own.lock().unwrap() = processor(UsageWho::RUSAGE_THREAD);
        }
    });
}

fn processor(who: UsageWho) -> f64 {
    let usage = getrusage(who).unwrap();
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
}

struct BlackHole {
    address: SocketAddr,
    _listener: tokio::net::TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    async fn start() -> BlackHole {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.64:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        BlackHole { address, _listener: listener, _waiting: waiting }
    }
}

/// What was seen.
#[derive(Default)]
struct Tally {
    good: u64,
    timed_out: u64,
    other: u64,
    example: Option<String>,
}

impl Tally {
    fn count(&mut self, seen: &Seen) {
        match seen.outcome {
            outcome if outcome.is_good() => self.good += 1,
            Outcome::TimedOut => self.timed_out += 1,
            outcome => {
                self.other += 1;
                self.example.get_or_insert_with(|| format!("{outcome}: {}", seen.detail));
            }
        }
    }

    fn print(&self, case: &str) {
        for (what, count) in [("good", self.good), ("timed-out", self.timed_out), ("neither", self.other)] {
            print(&format!("probes-{case}-{what}"), "looks", &mut [count as f64]);
        }
        if let Some(example) = &self.example {
            eprintln!("{case}: {example}");
        }
    }
}

/// One value for each interval.
#[derive(Default)]
struct Figures {
    due: Vec<f64>,
    done: Vec<f64>,
    skipped: Vec<f64>,
    overdue: Vec<f64>,
    processor: Vec<f64>,
}

impl Figures {
    fn add(&mut self, before: Counters, after: Counters, processor: f64, elapsed: f64) {
        self.due.push((after.due - before.due) as f64);
        self.done.push((after.done - before.done) as f64);
        self.skipped.push((after.skipped - before.skipped) as f64);
        self.overdue.push((after.overdue - before.overdue) as f64);
        self.processor.push(processor / elapsed);
    }

    fn print(&mut self, case: &str) {
        let looks = [
            ("due", &mut self.due),
            ("done", &mut self.done),
            ("skipped", &mut self.skipped),
            ("overdue", &mut self.overdue),
        ];
        for (what, values) in looks {
            print(&format!("probes-{case}-{what}"), "looks/5s", values);
        }
        print(&format!("probes-{case}-processor"), "cores", &mut self.processor);
        print(&format!("probes-{case}-resident"), "MB", &mut [resident_mb()]);
    }
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1_024.0
}

fn print(name: &str, unit: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (n, median) = (values.len(), values[values.len() / 2]);
    let (min, max) = (values[0], values[n - 1]);
    println!("{}", serde_json::json!({"name": name, "unit": unit, "median": median, "min": min, "max": max, "n": n}));
}
