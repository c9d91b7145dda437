//! Scenario files that are wrong: each is refused with its line and what is known instead.

use std::path::Path;

use tidegate_simulator::fleets;
use tidegate_simulator::scenario::Scenario;

fn refused(rest: &str) -> String {
    let text = format!("title = \"t\"\nfleet = \"builtin:three-sites\"\nlength = \"10m\"\n{rest}");
    let fleet = |name: &str| fleets::builtin(name.strip_prefix("builtin:").unwrap_or(name));
    let found = Scenario::parse(Path::new("night.toml"), &text, &fleet).expect_err("it is wrong");
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
    ];
    for (rest, what, todo) in table {
        let told = refused(&rest);
        assert!(told.contains(what) && told.contains(todo), "{rest}\n→ {told}");
    }
}

#[test]
fn a_fleet_that_is_not_there_is_named() {
    let text = "title = \"t\"\nfleet = \"builtin:mars\"\nlength = \"1m\"\n";
    let fleet = |name: &str| fleets::builtin(name.strip_prefix("builtin:").unwrap_or(name));
    let found = Scenario::parse(Path::new("night.toml"), text, &fleet).expect_err("there is none");
    assert!(found[0].to_string().contains("night.toml:2:9: no fleet of that name"), "{}", found[0]);
}
