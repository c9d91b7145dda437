//! Real outages as scenarios: the built-in policy gets through all of them, and each is one that a naive policy does not.

#[path = "support/naive.rs"]
mod naive;
#[path = "support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use tidegate_kernel::fleet::{Fleet, parse};
use tidegate_simulator::checkers::{Checker, Mutant};
use tidegate_simulator::fault::{Between, Fault, NodeOf};
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::{Ended, Happening, Plain, Script, What, fleets};

const MINUTE: u64 = 60_000;

/// By file: the naive policy that fails it, and a word of why.
const NAIVE: [(&str, Plain, &str); 18] = [
    ("aws-2025", Plain(naive::eager), "fail-over"),
    ("azure-devops-2018", Plain(naive::sleepy), "asks"),
    ("cloudflare-2020", Plain(naive::eager), "fail-over"),
    ("datadog-gameday", Plain(naive::sleepy), "failover-window-closing"),
    ("github-2018", Plain(naive::eager), "fail-over"),
    ("github-2018-a", Plain(naive::eager), "although up to 5 s"),
    ("github-2018-b", Plain(naive::forgetful), "node east of repos has"),
    ("gocardless-2017", Plain(naive::sleepy), "no-standby-quorum"),
    ("gocardless-2017-ranked", Plain(naive::orderly), "told = Promote west at west"),
    ("herd", Plain(naive::eager), "fail-back"),
    ("k8gb-blind", Plain(naive::eager), "fail-over"),
    ("patroni-2779", Plain(naive::sleepy), "primary = west"),
    ("patroni-3453", Plain(naive::sleepy), "primary = west"),
    ("patroni-3453-agent", Plain(naive::nervous), "verdict = fail-over"),
    ("repmgr-766", Plain(naive::forgetful), "run to west is done"),
    ("salesforce-2016", Plain(naive::eager), "verdict = fail-back"),
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

/// GitHub 2018 with a naive policy whose move a person lets through ten seconds after the cut; after 43 all is over.
fn forced(cut_off: &[&str], unguarded: bool, mutants: Vec<Mutant>) -> Ended {
    let places = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let cut = Fault::Cut(Between { from: places(&["east"]), to: places(cut_off), one_way: false });
    let nobody_ends_it = Fault::NodeUnguarded(NodeOf { cluster: "repos".into(), node: "east".into() });
    let mut night = vec![(MINUTE, What::Break(cut)), (MINUTE + 10_000, What::Approve("repos".into()))];
    night.extend(unguarded.then_some((1_000, What::Break(nobody_ends_it))));
    let happenings = night.into_iter().map(|(at, what)| Happening { at, lasts: None, what }).collect();
    let mut scenario = scenario("github-2018");
    scenario.script = Script { happenings, length: MINUTE + 43_000, mutants, ..Script::default() };
    scenario.play(&mut Plain(naive::eager)).ended
}

/// Variant C. What keeps it from happening is the host, not the policy: it waits until the old primary's lease is over. Where nothing
/// ends that one but a person's wrong word, both write until the link is back; where a fence lies, the checkers say so.
#[test]
fn github_2018_a_naive_move_that_is_forced_splits_the_brain_only_where_nothing_ends_the_old_primary() {
    let everybody = ["west", "north", "internet"];
    let held = forced(&everybody, false, Vec::new());
    assert!(held.hits.is_empty(), "{:#?}", held.hits);
    assert_eq!(held.split_brain, 0);
    assert!(held.timeline.iter().any(|line| line.contains("repos is failed-over at west")), "it was forced");

    let word = forced(&everybody, true, Vec::new());
    let lie = forced(&["west", "internet"], true, vec![Mutant::FenceLies]);
    for (split, story) in [(&word, "on a person's word"), (&lie, "on a fence's lie")] {
        let told = format!("{story}: {} ms, {:?}", split.split_brain, split.lost_writes);
        assert!((32_000..=33_000).contains(&split.split_brain), "{told}");
        // Two sets of writes: what east took in that time, west does not have.
        assert!(split.lost_writes["repos"] >= 32_000 / 50, "{told}");
    }
    assert!(lie.hits.iter().any(|hit| hit.checker == Checker::SplitBrain), "{:#?}", lie.hits);
}
