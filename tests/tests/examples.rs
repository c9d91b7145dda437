//! The examples as components inside the real engine, as an operator would load them.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tidegate_engine::grants::Directory;
use tidegate_engine::{Engine, EngineConfig, Grants, PolicySlot, ProviderSlot, Question, RevisionSpec};
use tidegate_kernel::contract::{Outcome, Situation};

/// A day begins; the hours of the policy's shifts count from it.
const MIDNIGHT: u64 = 1_767_225_600_000;
const HOUR: u64 = 3_600_000;

#[tokio::test]
async fn the_example_policy_follows_the_sun() {
    let shifts = json!({ "shifts": [[2, "singapore"], [8, "dublin"], [16, "oregon"]] });
    let spec = RevisionSpec {
        slot: "failover/desk".to_owned(),
        source: "examples/policy-follow-the-sun".to_owned(),
        bytes: tidegate_plugins::examples::policy_follow_the_sun().to_vec(),
        settings: shifts,
        ..RevisionSpec::default()
    };
    let engine = engine().await;
    let slot = PolicySlot::install(engine.stage(spec).await.expect("it loads")).expect("it is a policy");

    for (hour, lost, verdict) in
        [(7, "", "hold"), (8, "", "switch-over"), (8, "dublin", "hold"), (7, "singapore", "fail-over")]
    {
        let decided = slot.decide(Arc::new(Question::new(situation(hour, lost)))).await;
        let decision = decided.result.expect("it decides");
        assert_eq!(decision.verdict.name(), verdict, "at {hour} with {lost:?} lost: {decision:?}");
    }
}

#[tokio::test]
async fn the_example_provider_sees_how_old_a_file_is_and_nothing_outside_its_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let shared = directory.path().join("exports");
    fs::create_dir(&shared).expect("a directory to share");
    fs::write(shared.join("new.csv"), "orders").expect("a new file");
    let old = fs::File::create(shared.join("old.csv")).expect("an old file");
    old.set_modified(SystemTime::now() - Duration::from_secs(3_600)).expect("an hour ago");
    fs::write(directory.path().join("secret.csv"), "not shared").expect("a file outside");
    std::os::unix::fs::symlink("../secret.csv", shared.join("way-out.csv")).expect("a way out");

    let shared = Directory { path: shared, writable: false };
    let grants = Grants { directories: [("files".to_owned(), shared)].into(), ..Grants::default() };
    let spec = RevisionSpec {
        slot: "probe/export".to_owned(),
        source: "examples/provider-fresh-file".to_owned(),
        bytes: tidegate_plugins::examples::provider_fresh_file().to_vec(),
        settings: json!({}),
        grants,
        ..RevisionSpec::default()
    };
    let engine = engine().await;
    let slot = ProviderSlot::install(engine.stage(spec).await.expect("it loads")).expect("it is a provider");

    // By an absolute path there is nothing at all: its world is the one directory.
    let outside =
        [("../secret.csv", Outcome::Error), ("way-out.csv", Outcome::Error), ("/etc/passwd", Outcome::Partial)];
    let inside = [("new.csv", Outcome::Ok), ("old.csv", Outcome::Corrupt), ("none.csv", Outcome::Partial)];
    for (path, outcome) in inside.into_iter().chain(outside) {
        let target = json!({ "path": path, "max-age": "10m" }).to_string();
        let finding = slot.check("here", &target, 2_000).await.expect("it looks");
        assert_eq!(finding.outcome, outcome, "{path}: {}", finding.detail);
    }
}

async fn engine() -> Engine {
    let config = EngineConfig { policy_workers: 1, ..EngineConfig::default() };
    Engine::start(config).await.expect("the engine starts")
}

/// Singapore serves; every site works but the one that is lost.
fn situation(hour: u64, lost: &str) -> Situation {
    let site = |(rank, name): (usize, &str)| {
        let status = if name == lost { "unhealthy" } else { "healthy" };
        let consensus = json!({ "status": status, "agreeing": 3, "voting": 3, "expected": 3, "held": HOUR });
        json!({
            "site": name, "failure-domain": name, "rank": rank + 1, "capacity": 100, "share": 0, "consensus": consensus,
            "observations": [], "services-unhealthy": 0, "services-total": 1, "facts": [],
        })
    };
    let sites: Vec<Value> = ["singapore", "dublin", "oregon"].into_iter().enumerate().map(site).collect();
    let whole = json!({
        "now": MIDNIGHT + hour * HOUR, "time-zone": "UTC", "epoch": 1, "service": "desk", "tier": "tier3",
        "objectives": { "rto": HOUR, "rpo": 0, "mtpd": null }, "strategy": "active-passive",
        "failover": "automatic", "failback": "automatic", "state": "normal", "state-held": HOUR,
        "active-site": "singapore", "preferred-site": "singapore", "vantages": [], "sites": sites,
        "route": null, "cluster": null, "dependencies": [], "moves": [], "in-maintenance": false,
        "warming-up": false, "signals": [], "memo": "", "settings": "", "facts": [],
    });
    serde_json::from_value(whole).expect("a situation")
}
