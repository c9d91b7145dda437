//! A host as an operator starts it: how soon it decides, how much memory it takes with 10 and with 1,010 services, and how long
//! after a site's death the authoritative DNS answer is another. One JSON object for each figure.
//!
//! Starts the real binary and asks it by its own commands; the deaths are the demonstration's.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a bench that cannot be set up has nothing to say, and may poll"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const TIDEGATE: &str = env!("CARGO_BIN_EXE_tidegate");
/// The difference of the two tells what one further service costs.
const FEW: usize = 10;
const MANY: usize = 1_010;
const STARTS: usize = 5;
const DEATHS: usize = 5;
/// Between two questions to a host that starts.
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let (few, starts) = measure_starts(directory.path(), FEW, STARTS);
    let (many, _) = measure_starts(directory.path(), MANY, 1);
    tell("start-to-first-decision", "ms", &starts);
    let megabytes = |kib: &f64| kib * 1_024.0 / 1e6;
    tell("resident-10-services", "MB", &few.iter().map(megabytes).collect::<Vec<_>>());
    let each = (megabytes(&median(&many)) - megabytes(&median(&few))) / (MANY - FEW) as f64;
    tell("resident-each-further-service", "KB", &[each * 1e3]);
    measure_deaths("death", &[]);
    measure_deaths("hang", &["--hang"]);
}

/// Resident KiB and milliseconds to the first decision. The first start compiles the plugins and is not counted.
fn measure_starts(directory: &Path, services: usize, starts: usize) -> (Vec<f64>, Vec<f64>) {
    let fleet = directory.join(format!("fleet-{services}.toml"));
    std::fs::write(&fleet, fleet_of(directory, services)).expect("a fleet file");
    let all: Vec<(f64, f64)> = (0..=starts).map(|_| start_once(&fleet, services)).collect();
    all.into_iter().skip(1).unzip()
}

fn start_once(fleet: &Path, services: usize) -> (f64, f64) {
    let began = Instant::now();
    let mut host = Command::new(TIDEGATE);
    host.args(["run", "--fleet"]).arg(fleet).stdout(Stdio::null()).stderr(Stdio::null());
    let mut host = host.spawn().expect("the host starts");
    let status = wait_for(fleet, |status| decided(status) > 0);
    let took = began.elapsed().as_secs_f64() * 1_000.0;
    assert!(!status.is_null(), "the host decides");
    wait_for(fleet, |status| decided(status) == services);
    let resident = resident_kib(&host);
    stop(&mut host);
    (resident, took)
}

fn decided(status: &Value) -> usize {
    status["services"].as_array().map_or(0, |all| all.iter().filter(|one| !one["decision"].is_null()).count())
}

fn wait_for(fleet: &Path, there: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        let output =
            Command::new(TIDEGATE).args(["status", "--json", "--fleet"]).arg(fleet).output().expect("status runs");
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() && there(&status) {
            return status;
        }
        std::thread::sleep(POLL);
    }
    panic!("waited in vain for the host of {}", fleet.display());
}

fn resident_kib(host: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.id())).expect("the host's figures");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its resident memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn stop(host: &mut Child) {
    let pid = nix::unistd::Pid::from_raw(host.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("the host is told to stop");
    assert!(host.wait().expect("the host stops").success(), "the host stops cleanly");
}

/// Two sites, nobody listens: every look is refused at once.
fn fleet_of(directory: &Path, services: usize) -> String {
    let state = directory.join(format!("state-{services}"));
    let mut text = format!("[host]\nsite = \"west\"\nstate = {state:?}\n\n[site.west]\n[site.east]\n");
    for number in 0..services {
        text += &format!(
            "\n[service.s{number}]\nprobe = {{ slot = \"probe/tcp\", interval = \"5s\", timeout = \"1s\" }}\n"
        );
        for (site, host) in [("west", 1), ("east", 2)] {
            let address = format!("127.0.{host}.1");
            text += &format!("at.{site} = {{ endpoint = \"{address}\", target = {{ address = \"{address}:9\" }} }}\n");
        }
    }
    text
}

/// From the end of a site's service and agent, at default probe settings, as the demonstration measures it: killed, so that its
/// ports refuse; and stopped, so that it takes connections and answers nothing.
fn measure_deaths(what: &str, arguments: &[&str]) {
    let mut figures =
        [("to-verdict", "detected-ms"), ("to-dns", "dns-changed-ms"), ("client-outage", "client-outage-ms")]
            .map(|(name, key)| (format!("{what}-{name}"), key, Vec::new()));
    for _ in 0..DEATHS {
        let output = Command::new(TIDEGATE).args(["demo", "--json"]).args(arguments).output();
        let output = output.expect("the demonstration runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("its report");
        assert!(output.status.success(), "{report:#}");
        for (_, key, values) in &mut figures {
            values.push(report[*key].as_f64().expect("a figure"));
        }
    }
    figures.iter().for_each(|(name, _, values)| tell(name, "ms", values));
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn tell(name: &str, unit: &str, values: &[f64]) {
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let figure = serde_json::json!({
        "name": name, "unit": unit, "median": median(values), "min": min, "max": max, "n": values.len(),
    });
    println!("{figure}");
}
