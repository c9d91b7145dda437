//! A journal with real decisions, decided again: by the policy that decided then, by one that waits longer, and not at all
//! once somebody has edited it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::to_raw_value;
use tidegate::cli::policy::{Wanted, Workbench};
use tidegate::journal::{FileJournal, SEGMENT_BYTES, Store};
use tidegate_simulator::fault::Fault;
use tidegate_simulator::{Compiled, Happening, Script, Simulation, What, fleets};

const POLICY: &str = "builtin:failover-quorum";

/// The journal of a simulated host whose east dies, written as a host writes it.
async fn journal(directory: &Path) {
    let fleet = fleets::three_sites().unwrap();
    let bench = Workbench::start(1).await.unwrap();
    let mut wanted = Wanted { plugin: POLICY.into(), ..Wanted::default() };
    wanted.limits = serde_json::from_value(serde_json::json!({ "wall-clock": "60s" })).unwrap();
    let slot = Arc::new(bench.ready(wanted).await.unwrap());
    let slots = fleet.services.iter().map(|service| (service.policy.clone(), slot.clone()));
    let mut decider = Compiled::new(bench.workers().remove(0), slots.collect::<BTreeMap<_, _>>());
    let dies = Happening { at: 60_000, lasts: Some(60_000), what: What::Break(Fault::SiteDown("east".into())) };
    let script = Script { happenings: vec![dies], length: 600_000, ..Script::default() };
    let ended = Simulation::new(&fleet, script, 1, &mut decider).run();
    let bodies = ended.journal.iter().map(|record| to_raw_value(record).unwrap()).collect();
    let mut store = FileJournal::open(directory, SEGMENT_BYTES).unwrap().finish().unwrap();
    store.append(bodies).unwrap();
}

fn backtest(directory: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["policy", "backtest", "--policy", POLICY, "--limit", "wall-clock=60s", "--journal"]);
    command.arg(directory).args(more).output().unwrap()
}

fn found(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_journal_is_decided_again() {
    let directory = tempfile::tempdir().unwrap();
    journal(directory.path()).await;

    let same = backtest(directory.path(), &["--json", "--verify"]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    let all = found(&same);
    let decisions = all["decisions"].as_u64().unwrap();
    assert!(decisions > 30, "{all}");
    assert_eq!(all["unchanged"], decisions, "{all}");
    assert_eq!(all["cannot-tell"], serde_json::json!({}));
    assert_eq!(all["verified"]["decisions"], decisions, "{all}");
    assert!(all["now"]["fuel-p50"].as_u64().unwrap() > 0 && all["then"]["fuel-p50"] == all["now"]["fuel-p50"], "{all}");

    let settings = directory.path().join("patient.json");
    std::fs::write(&settings, r#"{ "unhealthy-for": "10m" }"#).unwrap();
    let patient = found(&backtest(directory.path(), &["--json", "--settings", settings.to_str().unwrap()]));
    assert!(patient["moves-removed"].as_u64().unwrap() > 3, "{patient}");
    let removed = patient["differences"].as_array().unwrap().iter().find(|found| found["kind"] == "move-removed");
    let removed = removed.unwrap();
    assert!(removed["then"]["verdict"].as_str().unwrap().starts_with("fail over to"), "{removed}");
    assert_eq!(removed["now"]["verdict"], "hold", "{removed}");
    assert!(!removed["then"]["reasons"].as_array().unwrap().is_empty(), "{removed}");
    let page = backtest(directory.path(), &["--settings", settings.to_str().unwrap()]);
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("MOVE REMOVED record") && page.contains("now:  hold ["), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_decided_from_a_journal_that_was_edited_or_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let none = backtest(directory.path(), &[]);
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("there is no journal"));

    journal(directory.path()).await;
    let segment = directory.path().join("journal-0000000000000001.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("fail-over", "fail-back", 1)).unwrap();
    let edited = backtest(directory.path(), &[]);
    let told = String::from_utf8_lossy(&edited.stderr).into_owned();
    assert_eq!(edited.status.code(), Some(1), "{told}");
    assert!(told.contains("the journal's chain is broken at record") && told.contains("nothing was decided"), "{told}");
    assert!(edited.stdout.is_empty());
}
