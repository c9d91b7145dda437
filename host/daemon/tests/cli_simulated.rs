//! `policy test`, `policy storm` and `policy replay`, as they are typed.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("policy").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

fn scenario(directory: &Path, active: &str) -> String {
    let path = directory.join("night.toml");
    let text = format!(
        "title = \"East dies\"\nfleet = \"builtin:three-sites\"\nlength = \"3m\"\n\n[[event]]\nat = \"1m\"\n\
         break = {{ site-down = \"east\" }}\n\n[[must]]\nby = \"1m30s\"\nservice = \"shop\"\nactive = \"{active}\"\n"
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_scenario_passes_fails_with_its_line_and_is_held_against_its_golden_timeline() {
    let directory = tempfile::tempdir().unwrap();
    let path = scenario(directory.path(), "west");
    let none = tidegate(&["test", &path]);
    assert_eq!(none.status.code(), Some(0), "{}", said(&none));
    assert!(said(&none).contains("no golden timeline; --update writes it"), "{}", said(&none));
    let written = tidegate(&["test", &path, "--update"]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written));
    let golden = directory.path().join("night.timeline");
    let timeline = std::fs::read_to_string(&golden).unwrap();
    assert!(
        timeline.contains("everything at east dies") && timeline.contains("shop is failed-over at west"),
        "{timeline}"
    );
    let same = tidegate(&["test", &path, "--json"]);
    assert_eq!((same.status.code(), &json(&same)["cases"][0]["not-compared"]), (Some(0), &Value::Null));

    std::fs::write(&golden, timeline.replacen("fail-over of shop to west", "fail-over of shop to north", 1)).unwrap();
    let differs = tidegate(&["test", directory.path().to_str().unwrap()]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(said(&differs).contains("was: ") && said(&differs).contains("shop to north"), "{}", said(&differs));

    let of_another = timeline.replacen("# failover-quorum", "# another", 1).replacen("to west", "to north", 1);
    std::fs::write(&golden, of_another).unwrap();
    let other = tidegate(&["test", &path, "--json"]);
    assert_eq!(other.status.code(), Some(0), "another policy's timeline is no measure");
    assert_eq!(json(&other)["cases"][0]["not-compared"], "golden timeline of another policy: not compared");

    std::fs::remove_file(&golden).unwrap();
    let report = directory.path().join("report.xml");
    let codes = directory.path().join("codes.txt");
    std::fs::write(&codes, "dead-site\nnever-said\n").unwrap();
    let path = scenario(directory.path(), "north");
    let more = ["--junit", report.to_str().unwrap(), "--codes", codes.to_str().unwrap(), "--json"];
    let failed = tidegate(&[&["test", path.as_str()], &more[..]].concat());
    assert_eq!(failed.status.code(), Some(1));
    let told = json(&failed);
    assert_eq!(told["cases"][0]["failures"][0]["line"], 10, "{told}");
    assert_eq!(told["never-given"], serde_json::json!(["never-said"]), "{told}");
    let report = std::fs::read_to_string(&report).unwrap();
    assert!(report.contains("failures=\"1\"") && report.contains("night.toml:10: it did not come to this"), "{report}");
    assert!(report.contains("time=\""), "{report}");
}

#[test]
fn a_scenario_that_cannot_be_read_plays_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = scenario(directory.path(), "wset");
    let refused = tidegate(&["test", &path]);
    assert_eq!(refused.status.code(), Some(2));
    let told = said(&refused);
    assert!(told.contains("night.toml:12:") && told.contains("did you mean `west`?"), "{told}");
    assert!(told.contains("no scenario was played"), "{told}");
}

#[test]
fn a_table_asks_one_question_a_case_and_names_the_line_of_what_is_not_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes.toml");
    let table = |set: &str, verdict: &str| {
        let text = format!(
            "title = \"Votes\"\n\n[[case]]\nname = \"all is well\"\nanalysis = \"healthy\"\n\n\
             [[case]]\nname = \"lost\"\nset = {{ {set} = \"unhealthy\" }}\nverdict = \"{verdict}\"\nto = \"b\"\n"
        );
        std::fs::write(&path, text).unwrap();
        tidegate(&["test", path.to_str().unwrap(), "--json"])
    };
    let passed = table("\"/sites/0/consensus/status\"", "fail-over");
    assert_eq!((passed.status.code(), &json(&passed)["passed"]), (Some(0), &Value::from(2)), "{}", said(&passed));

    let failed = table("\"/sites/0/consensus/status\"", "hold");
    assert_eq!(failed.status.code(), Some(1));
    let case = &json(&failed)["cases"][1];
    assert_eq!(
        (&case["title"], &case["failures"][0]["line"]),
        (&Value::from("Votes: lost"), &Value::from(7)),
        "{case}"
    );
    assert_eq!(case["failures"][0]["text"], "the verdict is fail-over, not hold");

    let nowhere = table("\"/sites/7/consensus/status\"", "hold");
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(said(&nowhere).contains("votes.toml:7") && said(&nowhere).contains("/sites/7/consensus/status"));
}

#[test]
fn a_table_is_known_by_its_cases_however_they_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes.toml");
    let cases =
        ["[[case]] # one\nname = \"well\"\n", "  [[ case ]]\nname = \"well\"\n", "case = [{ name = \"well\" }]\n"];
    for case in cases {
        std::fs::write(&path, format!("title = \"Votes\"\n{case}")).unwrap();
        let passed = tidegate(&["test", path.to_str().unwrap(), "--json"]);
        assert_eq!((passed.status.code(), &json(&passed)["passed"]), (Some(0), &Value::from(1)), "{}", said(&passed));
    }
}

#[test]
fn what_is_wrong_with_tables_and_with_scenarios_is_told_in_one_go() {
    let directory = tempfile::tempdir().unwrap();
    scenario(directory.path(), "wset");
    for name in ["a.toml", "z.toml"] {
        std::fs::write(directory.path().join(name), "title = \"Votes\"\n\n[[case]]\nnaem = \"well\"\n").unwrap();
    }
    let refused = tidegate(&["test", directory.path().to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    let told = said(&refused);
    for words in ["3 things are wrong", "a.toml:4: unknown field `naem`", "z.toml:4: ", "did you mean `west`?"] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn the_reference_has_every_key_of_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("votes.toml");
    let page = include_str!("../../../examples/scenarios/README.md");
    for wrong in ["colour = 1\ncase = []\n", "title = \"Votes\"\n[[case]]\ncolour = 1\n"] {
        std::fs::write(&path, wrong).unwrap();
        let told = said(&tidegate(&["test", path.to_str().unwrap()]));
        let (_, known) = told.split_once("expected one of").unwrap_or_else(|| panic!("{told}"));
        for word in known.lines().next().unwrap().split('`').skip(1).step_by(2) {
            assert!(page.contains(&format!("`{word}`")), "examples/scenarios/README.md lacks `{word}`");
        }
    }
}

#[test]
fn what_comes_with_tidegate_passes_and_shows_every_listed_code() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let [scenarios, cases, codes] =
        ["examples/scenarios", "plugins/failover-quorum/cases", "plugins/failover-quorum/codes.txt"]
            .map(|path| format!("{root}/{path}"));
    let tested = tidegate(&["test", &scenarios, &cases, "--codes", &codes, "--json"]);
    assert_eq!(tested.status.code(), Some(0), "{}", said(&tested));
    let told = json(&tested);
    assert_eq!(told["unlisted"], serde_json::json!([]), "{told}");
    assert_eq!(told["never-given"], serde_json::json!([]), "add a case that shows it, or strike it out: {told}");
}

#[test]
fn a_storm_keeps_score_and_each_disaster_can_be_played_again() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("storm.html");
    let storm = ["storm", "--runs", "3", "--seed", "6", "--json"];
    let against = ["--against", "builtin:failover-quorum", "--html", page.to_str().unwrap()];
    let both = json(&tidegate(&[&storm[..], &against[..]].concat()));
    let mut cards = [both["policy"].clone(), both["against"].clone()];
    for card in &mut cards {
        for key in [
            "runs",
            "sim-hours",
            "wall-s",
            "checker-hits",
            "false-moves",
            "missed-moves",
            "lost-writes",
            "split-brain-s",
        ] {
            assert!(card[key].is_number(), "{key} of {card}");
        }
        assert!(card["rto-s"]["p99"].is_number() && card["downtime-s"]["p50"].is_number(), "{card}");
        card["wall-s"] = Value::Null;
    }
    assert_eq!(cards[0], cards[1], "the same policy through the same disasters");
    assert_eq!(cards[0]["runs"], 3);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("3 disasters from seed 6"), "{page}");

    let again = tidegate(&["replay", "--seed", "7"]);
    assert!(said(&again).contains("node east of orders dies"), "{}", said(&again));
    assert_eq!(again.stdout, tidegate(&["replay", "--seed", "7"]).stdout);
}

/// With everything that was named: another policy, its settings, a fleet whose path is two words to a shell, and the one beside it.
#[test]
fn a_bad_disaster_is_replayed_by_the_very_command_that_a_storm_prints() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("my fleets");
    std::fs::create_dir(&home).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = home.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let guest = file("guest.wasm", tidegate_test_guests::hostile_policy());
    let patient = file("patient.json", br#"{ "unhealthy-for": "10m" }"#);
    let observes = include_str!("../../simulator/fleets/three-sites.toml").replacen("\"act\"", "\"observe\"", 1);
    let fleet = file("fleet.toml", observes.as_bytes());
    let html = home.join("storm.html");
    let storm =
        ["storm", "--seed", "13", "--runs", "1", "--settings", &patient, "--fleet", &fleet, "--against", &guest];
    let more = ["--limit", "wall-clock=60s", "--html", html.to_str().unwrap()];
    let told = said(&tidegate(&[&storm[..], &more].concat()));
    assert!(told.contains("says mode = \"observe\"; it is played as \"act\""), "{told}");

    let report = std::fs::read_to_string(html).unwrap();
    let commands: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("next: tidegate ")).collect();
    assert_eq!(commands.len(), 2, "one of each: {told}");
    assert!(commands[0].contains("--settings '") && !commands[0].contains("--policy"), "{told}");
    assert!(commands[1].contains("--policy '") && !commands[1].contains("--settings"), "{told}");
    for (command, policy) in commands.iter().zip(["builtin:failover-quorum", &guest]) {
        assert!(report.contains(&format!("<code>tidegate {command}</code>")), "{report}");
        let start = format!("!! {policy}: seed ");
        let bad = told.lines().find_map(|line| line.strip_prefix(&start)).unwrap();
        let what = bad.split_once(": missed-move: ").unwrap().1;
        let typed = format!("{} {command}", env!("CARGO_BIN_EXE_tidegate"));
        let again = Command::new("sh").args(["-c", &typed]).output().unwrap();
        assert!(said(&again).contains(&format!("!! {what}")), "{typed}: {}", said(&again));
    }
}

#[test]
fn a_fleet_without_services_plays_nothing_and_the_help_says_which_fleet_is_played() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.toml");
    std::fs::write(&path, "[host]\nsite = \"west\"\n\n[site.west]\n[site.east]\n").unwrap();
    for play in [&["storm", "--runs", "1"][..], &["replay", "--seed", "1"]] {
        let refused = tidegate(&[play, &["--fleet", path.to_str().unwrap()]].concat());
        let told = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains("has no service") && told.contains("fleet.toml") && told.contains("[service."), "{told}");
        let help = said(&tidegate(&[play[0], "--help"]));
        assert!(help.contains("three built-in sites") && !help.contains("else /etc/tidegate"), "{help}");
    }
}
