//! `tidegate policy`, as its author types it: a component checked, asked and measured without a host, and a project begun.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// What a real policy answers, and what it cannot be told.
const QUORUM: &str = "builtin:failover-quorum";

fn tidegate(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program was built");
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().expect("it has one").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

/// The situation that `--example` prints, with its active site lost.
fn lost(directory: &Path) -> Value {
    let mut situation = document(&tidegate(directory, &["policy", "eval", "--example"], ""));
    let site = &mut situation["sites"][0];
    site["consensus"] = json!({ "status": "unhealthy", "agreeing": 2, "voting": 2, "expected": 2, "held": 120_000 });
    for look in site["observations"].as_array_mut().expect("looks") {
        for (field, value) in
            [("outcome", json!("timed-out")), ("latency", json!(null)), ("good", json!(0)), ("bad", json!(60))]
        {
            look[field] = value;
        }
    }
    situation
}

#[test]
fn check_names_every_import_and_asks_a_policy_twice_in_each_of_two_engines() {
    let directory = tempfile::tempdir().unwrap();
    let output = tidegate(directory.path(), &["policy", "check", QUORUM, "--json"], "");
    assert_eq!(code(&output), 0, "{}", said(&output));
    let report = document(&output);
    assert_eq!((&report["world"], &report["contract"]), (&json!("failover"), &json!("0.1.0")));
    assert_eq!((&report["deterministic"], &report["settings"]), (&json!(true), &json!({})));
    let imports = report["imports"].as_array().unwrap();
    assert!(imports.iter().any(|import| import["name"] == "tidegate:dr/health@0.1.0"), "{imports:?}");
    assert!(imports.iter().all(|import| !import["answer"].as_str().unwrap().contains("unknown")), "{imports:?}");
    assert_eq!(report["situations"].as_array().unwrap().len(), 5);
    assert!(report["situations"][0]["fuel"].as_u64().unwrap() > 0);
    let page = said(&tidegate(directory.path(), &["policy", "check", QUORUM], ""));
    assert!(page.contains("always the same, at the same fuel") && page.contains("the active site is lost"), "{page}");
}

/// A component with another name in the place of one of its imports or exports, of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    let mut bytes = tidegate_plugins::find("failover-quorum").expect("it comes with it").bytes.to_vec();
    let places: Vec<usize> =
        (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
    assert!(!places.is_empty() && from.len() == to.len(), "{from}");
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to.as_bytes()));
    bytes
}

#[test]
fn check_refuses_what_no_host_would_take_by_the_name_of_the_thing() {
    let directory = tempfile::tempdir().unwrap();
    let cases: [(&str, Vec<u8>, &str); 6] = [
        ("text.wasm", b"#!/bin/sh\n".to_vec(), "this is not WebAssembly"),
        ("module.wasm", b"\0asm\x01\0\0\0".to_vec(), "a core WebAssembly module"),
        ("large.wasm", vec![0; (32 << 20) + 1], "33554433 bytes"),
        ("newer.wasm", renamed("tidegate:dr/dns@0.1.0", "tidegate:dr/dns@0.2.0"), "version 0.2.0 of the contract"),
        ("stranger.wasm", renamed("tidegate:dr/health@0.1.0", "tidegate:dr/dns-ct@0.1.0"), "dns-ct"),
        ("probe.wasm", tidegate_plugins::examples::provider_fresh_file().to_vec(), "it is a probe-provider"),
    ];
    for (name, bytes, why) in cases {
        std::fs::write(directory.path().join(name), bytes).unwrap();
        let output = tidegate(directory.path(), &["policy", "check", name], "");
        assert_eq!(code(&output), 2, "{name}: {}", said(&output));
        assert!(said(&output).contains(why) && said(&output).contains("next: "), "{name}: {}", said(&output));
    }
}

#[test]
fn check_says_which_setting_is_wrong_and_which_limit_is_too_tight() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("bad.json"), r#"{"patiense": "10s"}"#).unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--settings", "bad.json"], "/patiense"),
        (&["--settings", "none.json"], "none.json"),
        (&["--limit", "memory=64KiB"], "memory"),
        (&["--limit", "fuel=1000"], "fuel 1000"),
        (&["--limit", "full=1000"], "`fuel`"),
    ];
    for (flags, hint) in cases {
        let output = tidegate(directory.path(), &[&["policy", "check", QUORUM], flags].concat(), "");
        assert_eq!(code(&output), 2, "{flags:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{flags:?}: {}", said(&output));
    }
}

#[test]
fn check_takes_a_policy_that_declines() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shifts.json"), r#"{"shifts": []}"#).unwrap();
    std::fs::write(directory.path().join("sun.wasm"), tidegate_plugins::examples::policy_follow_the_sun()).unwrap();
    let output = tidegate(directory.path(), &["policy", "check", "sun.wasm", "--settings", "shifts.json"], "");
    assert_eq!(code(&output), 0, "to decline is no crash: {}", said(&output));
    assert!(said(&output).contains("no site for this hour"), "{}", said(&output));
}

#[test]
fn eval_answers_json_with_json_and_people_with_a_page() {
    let directory = tempfile::tempdir().unwrap();
    let situation = lost(directory.path()).to_string();
    let output = tidegate(directory.path(), &["policy", "eval", QUORUM, "--input", "-", "--json"], &situation);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let evaluated = document(&output);
    assert_eq!(evaluated["decision"]["verdict"]["fail-over"]["to-site"], "b", "{evaluated}");
    assert!(evaluated["fuel"].as_u64().unwrap() > 0 && evaluated["memory"].as_u64().unwrap() > 0, "{evaluated}");

    std::fs::write(directory.path().join("whole.json"), json!({ "situation": lost(directory.path()) }).to_string())
        .unwrap();
    let again = document(&tidegate(directory.path(), &["policy", "eval", QUORUM, "--input", "whole.json"], ""));
    assert_eq!((&again["decision"], &again["fuel"]), (&evaluated["decision"], &evaluated["fuel"]));

    let page = said(&tidegate(directory.path(), &["policy", "eval", QUORUM, "--input", "-", "--explain"], &situation));
    for words in ["self-test is normal, served from a", "fail over to b", "decided by", "a timed-out, b timed-out"] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn eval_tells_no_decision_from_a_bad_question() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("shifts.json"), r#"{"shifts": []}"#).unwrap();
    std::fs::write(directory.path().join("sun.wasm"), tidegate_plugins::examples::policy_follow_the_sun()).unwrap();
    let situation = lost(directory.path());
    let declines = ["policy", "eval", "sun.wasm", "--settings", "shifts.json", "--input", "-"];
    let output = tidegate(directory.path(), &declines, &situation.to_string());
    assert_eq!(code(&output), 1, "{}", said(&output));
    assert_eq!(document(&output)["fault"]["declined"], "no site for this hour");

    let mut misspelt = situation;
    misspelt["sites"][0]["consensus"]["status"] = json!("dead");
    let output = tidegate(directory.path(), &["policy", "eval", QUORUM, "--input", "-"], &misspelt.to_string());
    assert_eq!(code(&output), 2, "{}", said(&output));
    let told = said(&output);
    assert!(told.contains("sites[0].consensus.status") && told.contains("`unhealthy`"), "{told}");
}

#[test]
fn bench_counts_what_it_was_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let output = tidegate(directory.path(), &["policy", "bench", QUORUM, "--decisions", "50", "--json"], "");
    assert_eq!(code(&output), 0, "{}", said(&output));
    let measured = document(&output);
    assert_eq!(measured["decisions"], 50);
    assert!(measured["p50-us"].as_f64().unwrap() <= measured["p99-us"].as_f64().unwrap(), "{measured}");
    assert!(measured["fuel"].as_u64().unwrap() > 0 && measured["per-second"].as_f64().unwrap() > 0.0, "{measured}");
    // Whole pages of memory: a linear memory has no other size.
    let memory = measured["memory"].as_u64().unwrap();
    assert!(memory > 0 && memory.is_multiple_of(64 << 10), "{memory}");
    assert_eq!(code(&tidegate(directory.path(), &["policy", "bench", QUORUM, "--decisions", "0"], "")), 2);
}

#[test]
fn new_writes_a_project_in_each_language_and_never_over_anything() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("failover", "rust", "src/lib.rs"),
        ("retention", "rust", "src/lib.rs"),
        ("tiering", "python", "policy.py"),
        ("cost", "js", "policy.js"),
    ];
    for (kind, language, main) in cases {
        let (name, new) = (format!("night-{kind}-{language}"), ["policy", "new", kind]);
        let flags = [&new[..], &[&name, "--lang", language]].concat();
        let output = tidegate(directory.path(), &flags, "");
        assert_eq!(code(&output), 0, "{language}: {}", said(&output));
        let project = directory.path().join(&name);
        for file in [main, "README.md", "settings.json", ".gitignore"] {
            let text = std::fs::read_to_string(project.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            assert!(!text.contains("new-policy") && !text.contains("new_policy"), "{language}: {file}");
        }
        std::fs::write(project.join(main), "mine").unwrap();
        let again = tidegate(directory.path(), &flags, "");
        assert_eq!(code(&again), 2, "{language}: {}", said(&again));
        assert_eq!(std::fs::read_to_string(project.join(main)).unwrap(), "mine");
    }
}

/// A policy that keeps everything, and says why in a word of its settings.
fn adviser(directory: &Path, world: &str) -> String {
    let component = match world {
        "retention" => tidegate_test_guests::hostile_retention(),
        "tiering" => tidegate_test_guests::hostile_tiering(),
        _ => tidegate_test_guests::hostile_cost(),
    };
    std::fs::write(directory.join("settings.json"), r#"{"do": "well"}"#).expect("it is written");
    std::fs::write(directory.join(format!("{world}.wasm")), component).expect("it is written");
    format!("{world}.wasm")
}

#[test]
fn policies_of_every_kind_are_checked_asked_and_measured() {
    let directory = tempfile::tempdir().unwrap();
    let with = ["--settings", "settings.json"];
    let kinds = [
        ("retention", "keep 3 of 3", "/0/reasons/0/text", "full-1"),
        ("tiering", "move 0 of 2", "/0/reasons/0/text", "read-today"),
        ("cost", "self-test: active-passive", "/assignments/0/reasons/0/text", "SERVICE"),
    ];
    for (world, short, place, named) in kinds {
        let plugin = adviser(directory.path(), world);
        let run =
            |words: &[&str], input: &str| tidegate(directory.path(), &[&["policy"], words, &with[..]].concat(), input);
        let checked = run(&["check", &plugin], "");
        assert!(said(&checked).contains(short) && said(&checked).contains("always the same"), "{}", said(&checked));
        let report = document(&run(&["check", &plugin, "--json"], ""));
        assert_eq!((&report["world"], report["situations"].as_array().unwrap().len()), (&world.into(), 5));

        let example = tidegate(directory.path(), &["policy", "eval", "--example", world], "");
        let example = String::from_utf8_lossy(&example.stdout).into_owned();
        let answer = document(&run(&["eval", &plugin, "--input", "-"], &example));
        assert_eq!(answer["decision"].pointer(place), Some(&"well".into()), "{answer}");
        let page = said(&run(&["eval", &plugin, "--input", "-", "--explain"], &example));
        assert!(page.contains(named) && page.contains("well [said]"), "{page}");
        let wrong = said(&run(&["eval", &plugin, "--input", "-"], r#"{"now": 1, "backup": []}"#));
        assert!(wrong.contains("--example KIND"), "{wrong}");

        let measured = document(&run(&["bench", &plugin, "--decisions", "20", "--json"], ""));
        assert!(measured["fuel"].as_u64() > Some(0), "{measured}");
    }
}

#[test]
fn a_table_asks_the_kind_of_policy_that_it_names() {
    let directory = tempfile::tempdir().unwrap();
    adviser(directory.path(), "retention");
    let table = |case: &str| {
        let text = format!("title = \"Backups\"\nkind = \"retention\"\n\n[[case]]\nname = \"a case\"\n{case}\n");
        std::fs::write(directory.path().join("table.toml"), text).unwrap();
        let words = ["policy", "test", "table.toml", "--policy", "retention.wasm", "--settings", "settings.json"];
        tidegate(directory.path(), &words, "")
    };
    let good = table("unset = [\"/backups/0/parent\"]\nreason = \"said\"\nanswer = { \"/0/keep\" = true }");
    assert_eq!(code(&good), 0, "{}", said(&good));
    let cases = [
        ("answer = { \"/0/keep\" = false }", 1, "/0/keep of its answer is true, not false"),
        ("answer = { \"/7/keep\" = true }", 1, "/7/keep is nowhere in its answer"),
        ("reason = \"old\"", 1, "old is no reason of it; it has: said"),
        ("declines = true", 1, "it decides, keep 3 of 3"),
        ("verdict = \"hold\"", 2, "a policy of retention gives no verdict"),
        ("set = { \"/backups/0/age\" = 1 }", 2, "no such field: backups.0.age"),
    ];
    for (case, exit, why) in cases {
        let output = table(case);
        assert!(code(&output) == exit && said(&output).contains(why), "{case}: {}", said(&output));
    }
    let built_in = tidegate(directory.path(), &["policy", "test", "table.toml"], "");
    assert_eq!(code(&built_in), 2);
}

#[test]
fn new_refuses_another_kind_and_a_bad_name_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        (["backup", "keep-all"], "[possible values: failover, retention, tiering, cost]"),
        (["dns", "keep-all"], "a dns-provider is no policy: it touches the world"),
        (["failover", "Night Watch"], "lower-case words with hyphens"),
        (["failover", "../outside"], "lower-case words with hyphens"),
    ];
    for ([kind, name], why) in cases {
        let output = tidegate(directory.path(), &["policy", "new", kind, name, "--lang", "rust"], "");
        assert_eq!(code(&output), 2, "{kind} {name}: {}", said(&output));
        assert!(said(&output).contains(why), "{kind} {name}: {}", said(&output));
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
