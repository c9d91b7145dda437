//! Real outages as scenarios: the built-in policy gets through all of them, and each is one that a naive policy does not.

#[path = "support/naive.rs"]
mod naive;
#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use tidegate_kernel::fleet::{Fleet, parse};
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::{Plain, fleets};

/// By file: the naive policy that fails it, and a word of why.
const NAIVE: [(&str, Plain, &str); 13] = [
    ("aws-2025", Plain(naive::eager), "fail-over"),
    ("azure-devops-2018", Plain(naive::sleepy), "asks"),
    ("cloudflare-2020", Plain(naive::eager), "fail-over"),
    ("datadog-gameday", Plain(naive::sleepy), "failover-window-closing"),
    ("github-2018", Plain(naive::eager), "fail-over"),
    ("gocardless-2017", Plain(naive::sleepy), "no-standby-quorum"),
    ("herd", Plain(naive::eager), "fail-back"),
    ("k8gb-blind", Plain(naive::eager), "fail-over"),
    ("patroni-2779", Plain(naive::sleepy), "primary = west"),
    ("patroni-3453", Plain(naive::sleepy), "primary = west"),
    ("repmgr-766", Plain(naive::sleepy), "primary = west"),
    ("stripe-2019", Plain(naive::sleepy), "failed-over"),
    ("two-sites", Plain(naive::eager), "fail-over"),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scenarios/outages")
}

fn fleet(name: &str) -> Result<Fleet, String> {
    match name.strip_prefix("builtin:") {
        Some(name) => fleets::builtin(name),
        None => {
            parse(&directory().join(name), &|path| std::fs::read_to_string(path)).map_err(|found| format!("{found:#?}"))
        }
    }
}

fn scenario(name: &str) -> Scenario {
    let path = directory().join(name).with_extension("toml");
    let text = std::fs::read_to_string(&path).expect("the scenario is there");
    Scenario::parse(&path, &text, &fleet).unwrap_or_else(|found| panic!("{found:#?}"))
}

#[test]
fn the_built_in_policy_gets_through_every_one() {
    for (name, ..) in NAIVE {
        let scenario = scenario(name);
        let mut decider = support::compiled(&scenario.fleet, 1).remove(0);
        let judged = scenario.play(&mut decider);
        assert!(judged.failures.is_empty(), "{name}: {:#?}\n{}", judged.failures, judged.ended.timeline.join("\n"));
        let golden = std::fs::read_to_string(directory().join(name).with_extension("timeline")).unwrap();
        let lines: Vec<&str> = golden.lines().skip(1).collect();
        assert_eq!(judged.ended.timeline, lines, "{name}: `tidegate policy test --update` writes it anew");
    }
}

#[test]
fn each_is_one_that_a_naive_policy_does_not_get_through() {
    for (name, mut policy, why) in NAIVE {
        let judged = scenario(name).play(&mut policy);
        let told: Vec<&str> = judged.failures.iter().map(|failure| failure.text.as_str()).collect();
        assert!(told.iter().any(|text| text.contains(why)), "{name} does not bite: {told:#?}");
    }
}

#[test]
fn every_scenario_is_in_the_table() {
    let files = std::fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, NAIVE.map(|(name, ..)| name));
}
