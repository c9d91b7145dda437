//! The demonstration, as a stranger runs it: what it claims has to have happened.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

#[test]
fn the_demonstration_happens_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut demo = Command::new(tidegate_tests::binary::tidegate());
    demo.args(["demo", "--json", "--directory"]).arg(directory.path());
    let output = demo.stdin(Stdio::null()).output().expect("the demonstration starts");
    let told = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("no report: {error}\n{told}"));

    assert_eq!(report["wrong"], Value::Array(Vec::new()), "{report:#}\n{told}");
    assert!(output.status.success(), "{report:#}\n{told}");
    assert_eq!(report["verdict"], "fail-over");
    assert!(!report["reasons"].as_array().expect("reasons").is_empty());
    for measured in ["detected-ms", "dns-changed-ms", "client-outage-ms", "client-requests"] {
        assert!(report[measured].as_u64().is_some_and(|value| value > 0), "{measured} in {report:#}");
    }
    assert!(report["swap"]["decisions"].as_u64().is_some_and(|decisions| decisions >= 10_000), "{report:#}");
    assert_eq!((&report["swap"]["dropped"], &report["swap"]["stale"]), (&Value::from(0), &Value::from(0)));
    assert_eq!(report["hostile"], serde_json::json!({ "loaded": true, "contained": true }));
    assert_eq!((&report["failed-back"], &report["journal"]["verified"]), (&Value::from(true), &Value::from(true)));
    a_real_database_moved_and_lost_nothing(&report["database"]);
    the_simulator_decides_the_same(&directory.path().join("demonstration.toml"));
}

/// What was recorded happens again in the simulator: every verdict that moved something comes, and no other does.
fn the_simulator_decides_the_same(scenario: &Path) {
    let recorded = std::fs::read_to_string(scenario).expect("the demonstration leaves a scenario");
    for verdict in ["fail-over", "fail-back", "rebalance"] {
        assert!(recorded.contains(&format!("verdict = \"{verdict}\"")), "{verdict} in {recorded}");
    }
    let mut test = Command::new(tidegate_tests::binary::tidegate());
    let output = test.args(["policy", "test"]).arg(scenario).output().expect("the simulator starts");
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{recorded}\n{}", String::from_utf8_lossy(&told));
}

/// The tests' machines have PostgreSQL, so that a chapter left out is a fault here.
fn a_real_database_moved_and_lost_nothing(database: &Value) {
    assert!(database["version"].as_str().is_some_and(|version| !version.is_empty()), "{database:#}");
    for measured in ["outage-ms", "acknowledged"] {
        assert!(database[measured].as_u64().is_some_and(|value| value > 0), "{measured} in {database:#}");
    }
    assert_eq!(database["lost"], 0, "{database:#}");
    assert_eq!(database["proof"], "standby-quorum", "{database:#}");
    assert!(database["leads"].as_str().is_some_and(|site| site != "eu-west"), "{database:#}");
}
