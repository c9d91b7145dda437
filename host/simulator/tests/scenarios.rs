//! Scenario files: wrong ones are refused with their line and what is known instead, and right ones are judged by what lasts and by
//! what is said.

use std::path::Path;

use tidegate_kernel::contract::{Decision, Reason, Situation, Verdict};
use tidegate_kernel::fleet::Problem;
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::{Plain, fleets};

fn read(rest: &str) -> Result<Scenario, Vec<Problem>> {
    let text = format!("title = \"t\"\nfleet = \"builtin:three-sites\"\nlength = \"10m\"\n{rest}");
    let fleet = |name: &str| fleets::builtin(name.strip_prefix("builtin:").unwrap_or(name));
    Scenario::parse(Path::new("night.toml"), &text, &fleet)
}

fn refused(rest: &str) -> String {
    let found = read(rest).expect_err("it is wrong");
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_wrong_scenario_is_refused_with_its_line_and_what_is_known_instead() {
    let event = |what: &str| format!("[[event]]\nat = \"1m\"\nbreak = {what}\n");
    let table = [
        ("colour = \"red\"\n".to_owned(), "night.toml:4:1: unknown field `colour`", "expected one of"),
        (event("{ site-down = \"eats\" }"), "night.toml:6:", "did you mean `east`?"),
        (event("{ site-gone = \"east\" }"), "night.toml:6:", "site-down"),
        (event("{ cut = { from = [\"east\"], to = [\"moon\"] } }"), "the fleet has no site `moon`", "internet"),
        (event("{ loss = { from = [\"east\"], to = [\"west\"], per-cent = 140 } }"), "140 per cent", "1 to 100"),
        (event("{ agent-down = \"south\" }"), "the fleet has no agent `south`", "east, west, north"),
        (event("{ node-down = { cluster = \"orders\", node = \"moon\" } }"), "no node `moon`", "east, west, north"),
        (
            event("{ provider-slow = \"dns/primry\" }"),
            "`dns/primry` (did you mean `dns/primary`?",
            "probe/tcp, replication",
        ),
        (
            "[[event]]\nat = \"11m\"\nbreak = \"host-down\"\n".to_owned(),
            "night.toml:5:6: \"11m\" is after the end",
            "10m",
        ),
        ("[[event]]\nat = \"soon\"\nbreak = \"host-down\"\n".to_owned(), "\"soon\" is no length of time", "500ms"),
        ("[[event]]\nat = \"1m\"\n".to_owned(), "this event is not one thing", "break"),
        ("[[must]]\nby = \"1m\"\nservice = \"shopp\"\n".to_owned(), "night.toml:6:", "did you mean `shop`?"),
        ("[[must]]\nby = \"1m\"\nactive = \"west\"\n".to_owned(), "of which service", "service = \"NAME\""),
        ("[at-most]\ndowntime = { shpo = \"1s\" }\n".to_owned(), "no service `shpo`", "shop"),
        (event("{ cut = { from = [\"east\"], to = [\"east\"] } }"), "nothing between these", "both sides"),
        (event("{ loss = { from = [\"east\"], to = [], per-cent = 9 } }"), "nothing between these", "both sides"),
        (event("{ service-down = { service = \"mail\", site = \"north\" } }"), "mail has no place at `north`", "west"),
        (event("\"host-down\"\nlasts = \"soon\""), "night.toml:7:9: \"soon\" is no length", "500ms"),
        (event("{ clock-jumps = 5 }\nlasts = \"1m\""), "night.toml:7:9: this is over as soon", "leave `lasts` out"),
    ];
    for (rest, what, todo) in table {
        let told = refused(&rest);
        assert!(told.contains(what) && told.contains(todo), "{rest}\n→ {told}");
    }
}

#[test]
fn an_order_is_held_against_the_fleet() {
    let order = |what: &str| format!("[[event]]\nat = \"1m\"\norder = {{ command = {what} }}\n");
    let table = [
        (order("\"failovr\""), "night.toml:6:9: this is no order: unknown variant `failovr`", "`failover`"),
        (order("\"failback\""), "missing field `service`", "README.md"),
        (order("\"failover\", service = \"shopp\""), "no service `shopp` (did you mean `shop`?)", "login"),
        (order("\"switchover\", service = \"shop\", to = \"wset\""), "no site `wset` (did you mean `west`?)", "east"),
        (order("\"evacuate\", site = \"moon\""), "night.toml:6:9: the fleet has no site `moon`", "east, west, north"),
        (
            order("\"failover\", service = \"shop\", acept_loss = 5"),
            "this order has no key `acept_loss` (did you mean `accept_loss`?)",
            "service, to",
        ),
    ];
    for (rest, what, todo) in table {
        let told = refused(&rest);
        assert!(told.contains(what) && told.contains(todo), "{rest}\n→ {told}");
    }
    let lasting = order("\"rearm\", note = \"seen\"") + "lasts = \"1m\"\n";
    assert!(refused(&lasting).contains("night.toml:7:9: this is over as soon"), "{}", refused(&lasting));
    let right = order("\"failover\", service = \"shop\", to = \"west\", accept_loss = 5000");
    read(&right).expect("it is right");
}

#[test]
fn an_expectation_that_could_never_fail_is_refused() {
    let not = |what: &str| format!("[[must-not]]\nservice = \"shop\"\n{what}\n");
    let table = [
        (not("from = \"5m\"\nuntil = \"4m\"\nrun = true"), "night.toml:6:8: \"5m\" is after the end of its time", "4m"),
        (not("by = \"4m\"\nuntil = \"5m\"\nrun = true"), "night.toml:7:9: its time has two ends", "leave one out"),
        (
            not("verdict = \"failover\""),
            "night.toml:6:11: there is no verdict `failover` (did you mean `fail-over`?)",
            "switch-over",
        ),
        (not("state = \"failedover\""), "night.toml:6:9: unknown variant `failedover`", "`failed-over`"),
        (not("active = \"wset\""), "night.toml:6:10: shop has no place at `wset` (did you mean `west`?)", "east"),
        (not("primary = \"west\""), "night.toml:6:11: shop has no cluster, and so no primary", "leave `primary` out"),
        (
            "[[must-not]]\nservice = \"orders\"\nprimary = \"wset\"\n".to_owned(),
            "night.toml:6:11: the cluster orders has no node `wset` (did you mean `west`?)",
            "east, west, north",
        ),
        ("[[must-not]]\nservice = \"mail\"\nactive = \"north\"\n".to_owned(), "mail has no place at `north`", "west"),
        (not(""), "night.toml:4:1: it says nothing that could be so or not", "verdict = "),
        ("[[must]]\nactive = \"moon\"\n".to_owned(), "the fleet has no site `moon`", "service = \"NAME\""),
    ];
    for (rest, what, todo) in table {
        let told = refused(&rest);
        assert!(told.contains(what) && told.contains(todo), "{rest}\n→ {told}");
    }
}

/// Nothing ever happens.
fn holds(ask_again_in: Option<u64>) -> Result<Decision, String> {
    Ok(Decision {
        verdict: Verdict::Hold,
        analysis: "fine".into(),
        reasons: vec![Reason::new("fine", "fine")],
        vetoes: Vec::new(),
        would_change_if: Vec::new(),
        ask_again_in,
        memo: String::new(),
        facts: Vec::new(),
    })
}

fn watches(_: &Situation) -> Result<Decision, String> {
    holds(Some(1_000))
}

fn rests(_: &Situation) -> Result<Decision, String> {
    holds(None)
}

/// At 1 min a person moves the shop to west, where it stays; nothing is written down in the seconds that are asked about.
fn failures_of(expected: &str, mut policy: Plain) -> Vec<String> {
    let event = "[[event]]\nat = \"1m\"\norder = { command = \"switchover\", service = \"shop\", to = \"west\" }\n";
    let of_orders =
        "[[event]]\nat = \"1m\"\norder = { command = \"switchover\", service = \"orders\", to = \"west\" }\n";
    let scenario = read(&format!("{event}{of_orders}{expected}")).unwrap_or_else(|found| panic!("{found:#?}"));
    scenario.play(&mut policy).failures.into_iter().map(|failure| failure.text).collect()
}

#[test]
fn what_was_so_before_its_time_and_lasts_counts_when_its_time_begins() {
    let shop =
        [("active", "west"), ("state", "failed-over")].map(|(key, value)| ("shop", format!("{key} = {value:?}")));
    let others = [("orders", "primary = \"west\"".to_owned()), ("shop", "run = false".to_owned())];
    for (service, what) in shop.into_iter().chain(others) {
        let expected = |kind: &str| {
            format!("[[{kind}]]\nfrom = \"5m7s\"\nuntil = \"5m8s\"\nservice = {service:?}\n{what}\nasks = false\n")
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(failures_of(&expected("must"), Plain(rests)), none, "{what}");
        let told = failures_of(&expected("must-not"), Plain(rests));
        assert!(told.len() == 1 && told[0].contains("it was so at 05:07.000"), "{what}: {told:?}");
    }
    let whole = "[[must]]\nfrom = \"5m7s\"\nby = \"5m8s\"\nfrozen = false\nbraked = false\n";
    assert!(failures_of(whole, Plain(rests)).is_empty());
}

#[test]
fn what_is_said_counts_when_it_is_said_and_when_it_is_said_again() {
    let late = "from = \"5m7s\"\nby = \"5m9s\"\nservice = \"shop\"";
    for what in ["verdict = \"hold\"", "analysis = \"fine\"", "reason = \"fine\""] {
        let expected = |kind: &str| format!("[[{kind}]]\n{late}\n{what}\n");
        assert_eq!(failures_of(&expected("must"), Plain(rests)).len(), 1, "nobody was asked then: {what}");
        assert!(failures_of(&expected("must-not"), Plain(rests)).is_empty(), "nobody was asked then: {what}");
        assert!(failures_of(&expected("must"), Plain(watches)).is_empty(), "it was said again: {what}");
        assert_eq!(failures_of(&expected("must-not"), Plain(watches)).len(), 1, "it was said again: {what}");
    }
}

#[test]
fn people_are_told_once_and_of_one_service() {
    let told = |time: &str, service: &str| {
        let expected = format!("[[must-not]]\n{time}\nservice = {service:?}\ntold = \"switch-over\"\n");
        failures_of(&expected, Plain(rests)).len()
    };
    assert_eq!(told("from = \"1m\"", "shop"), 1);
    assert_eq!(told("from = \"1m\"", "search"), 0, "it was of the shop");
    assert_eq!(told("from = \"5m7s\"", "shop"), 0, "it was long before");
}

#[test]
fn a_host_that_was_to_die_and_did_not_is_told_of() {
    let told = failures_of("[at-most]\nmoves = 9\n", Plain(rests));
    assert!(told.is_empty(), "{told:?}");
    let scenario = read("crash-at-record = 100000\n").unwrap();
    let told = scenario.play(&mut Plain(rests)).failures;
    assert!(told.len() == 1 && told[0].text.contains("the host was to die at its record 100000"), "{told:?}");
}

#[test]
fn a_fleet_that_is_not_there_is_named() {
    let text = "title = \"t\"\nfleet = \"builtin:mars\"\nlength = \"1m\"\n";
    let fleet = |name: &str| fleets::builtin(name.strip_prefix("builtin:").unwrap_or(name));
    let found = Scenario::parse(Path::new("night.toml"), text, &fleet).expect_err("there is none");
    assert!(found[0].to_string().contains("night.toml:2:9: no fleet of that name"), "{}", found[0]);
}

/// The words that somebody who writes another one is told of.
fn known_instead(rest: &str) -> Vec<String> {
    let told = refused(rest);
    let (_, known) = told.split_once("expected").unwrap_or_else(|| panic!("{told}"));
    known.lines().next().expect("a line").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_has_every_key_every_fault_and_every_order() {
    let page = include_str!("../../../examples/scenarios/README.md");
    let keys = ["colour = 1\n", "[[event]]\ncolour = 1\n", "[[must]]\ncolour = 1\n", "[at-most]\ncolour = 1\n"];
    let orders = "[[event]]\nat = \"1m\"\norder = { command = \"colour\" }\n";
    for kind in keys.into_iter().chain([orders]) {
        let known = known_instead(kind);
        assert!(known.len() > 2, "{kind}: {known:?}");
        let missing: Vec<_> = known.iter().filter(|word| !page.contains(&format!("`{word}`"))).collect();
        assert!(missing.is_empty(), "examples/scenarios/README.md lacks {missing:?}");
    }
    let faults = known_instead("[[event]]\nat = \"1m\"\nbreak = \"colour\"\n");
    assert!(faults.len() > 20, "{faults:?}");
    let stands =
        |word: &&String| page.contains(&format!("| `{{ {word} = ")) || page.contains(&format!("| `\"{word}\"`"));
    let missing: Vec<_> = faults.iter().filter(|word| !stands(word)).collect();
    assert!(
        missing.is_empty(),
        "the faults of examples/scenarios/README.md lack {missing:?}: say what follows from each"
    );
}
