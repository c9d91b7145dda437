//! A journal with real decisions, decided again: by the policy that decided then, by one that waits longer, by one that asks for
//! what nobody wrote down, and not at all once somebody has edited it.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::cli::policy::{Wanted, Workbench, backtest};
use tidegate::journal::{FileJournal, SEGMENT_BYTES, Store, Verified, verify};
use tidegate_kernel::record::{Cause, Record};
use tidegate_simulator::fault::Fault;
use tidegate_simulator::{Compiled, Happening, Script, Simulation, What, fleets};

const POLICY: &str = "builtin:failover-quorum";

/// What a simulated host whose east dies writes down, decided by `plugin`.
async fn records(plugin: &str, settings: Value) -> Vec<Record> {
    let fleet = fleets::three_sites().unwrap();
    let bench = Workbench::start(1).await.unwrap();
    let mut wanted = Wanted { plugin: plugin.into(), settings, ..Wanted::default() };
    wanted.limits = serde_json::from_value(json!({ "wall-clock": "60s", "memory": "32MiB" })).unwrap();
    let slot = Arc::new(bench.ready(wanted).await.unwrap());
    let slots = fleet.services.iter().map(|service| (service.policy.clone(), slot.clone()));
    let mut decider = Compiled::new(bench.workers().remove(0), slots.collect::<BTreeMap<_, _>>());
    let dies = Happening { at: 60_000, lasts: Some(60_000), what: What::Break(Fault::SiteDown("east".into())) };
    let script = Script { happenings: vec![dies], length: 600_000, ..Script::default() };
    Simulation::new(&fleet, script, 1).run(&mut decider).journal
}

/// They as a host writes them.
fn journal(records: &[Record]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let bodies = records.iter().map(|record| to_raw_value(record).unwrap()).collect();
    FileJournal::open(directory.path(), SEGMENT_BYTES).unwrap().finish().unwrap().append(bodies).unwrap();
    directory
}

fn asked(directory: &Path, policy: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["policy", "backtest", "--policy", policy, "--limit", "wall-clock=60s", "--journal"]);
    command.arg(directory).args(more).output().unwrap()
}

#[track_caller]
fn found(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(output)))
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn file(directory: &Path, name: &str, bytes: &[u8]) -> String {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_journal_is_decided_again() {
    let directory = journal(&records(POLICY, Value::Null).await);
    let directory = directory.path();

    let same = asked(directory, POLICY, &["--json", "--verify"]);
    assert_eq!(same.status.code(), Some(0), "{}", told(&same));
    let all = found(&same);
    let decisions = all["decisions"].as_u64().unwrap();
    assert!(decisions > 30 && all["counted-only"].as_u64().unwrap() > 0, "{all}");
    assert_eq!(all["unchanged"], decisions, "{all}");
    assert_eq!((&all["cannot-tell"], &all["torn"]), (&json!({}), &Value::Null));
    assert_eq!((&all["verified"]["decisions"], &all["proven"]), (&json!(decisions), &json!(true)), "{all}");
    assert!(all["now"]["fuel-p50"].as_u64().unwrap() > 0 && all["then"]["fuel-p50"] == all["now"]["fuel-p50"], "{all}");
    let head = verify(directory).unwrap().head;
    assert_eq!(all["journal"], json!({ "n": head.n, "hash": head.hash }));

    let page = told(&asked(directory, POLICY, &["--verify"]));
    assert!(page.contains(&format!("PROVEN all {decisions} decisions: those that decided say the same")), "{page}");

    let settings = file(directory, "patient.json", br#"{ "unhealthy-for": "10m" }"#);
    let patient = found(&asked(directory, POLICY, &["--json", "--settings", &settings]));
    assert!(patient["moves-removed"].as_u64().unwrap() > 3, "{patient}");
    let differences = patient["differences"].as_array().unwrap();
    let removed = differences.iter().find(|found| found["kind"] == "move-removed").unwrap();
    assert!(removed["then"]["verdict"].as_str().unwrap().starts_with("fail over to"), "{removed}");
    assert_eq!(removed["now"]["verdict"], "hold", "{removed}");
    assert!(!removed["then"]["reasons"].as_array().unwrap().is_empty(), "{removed}");
    let numbers: Vec<u64> = differences.iter().map(|found| found["record"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    let page = told(&asked(directory, POLICY, &["--settings", &settings]));
    assert!(page.contains("MOVE REMOVED record") && page.contains("now:  hold ["), "{page}");
    assert!(page.contains("equal ones that were only counted"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_moves_where_the_one_before_held_is_told_from_who_holds() {
    let patient = journal(&records(POLICY, json!({ "unhealthy-for": "10m" })).await);
    let all = found(&asked(patient.path(), POLICY, &["--json"]));
    assert!(all["moves-added"].as_u64().unwrap() > 3, "{all}");
    assert_eq!(all["moves-removed"], 0, "{all}");
    let timing = &all["time-to-verdict"];
    assert_eq!(
        (&timing["sooner-ms"], &timing["later-ms"]),
        (&json!([]), &json!([])),
        "who never moves is not late: {all}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn how_much_sooner_a_candidate_moves_is_told_where_both_move() {
    let slower = journal(&records(POLICY, json!({ "unhealthy-for": "20s" })).await);
    let all = found(&asked(slower.path(), POLICY, &["--json"]));
    let sooner: Vec<u64> = serde_json::from_value(all["time-to-verdict"]["sooner-ms"].clone()).unwrap();
    assert!(!sooner.is_empty() && sooner.iter().all(|by| *by > 0), "{all}");
    let page = told(&asked(slower.path(), POLICY, &[]));
    assert!(page.contains(&format!("{} sooner (by at least ", sooner.len())), "{page}");
    // The same beside itself begins together.
    let settings = file(slower.path(), "slower.json", br#"{ "unhealthy-for": "20s" }"#);
    let all = found(&asked(slower.path(), POLICY, &["--json", "--settings", &settings]));
    let timing = &all["time-to-verdict"];
    assert!(timing["together"].as_u64().unwrap() > 0, "{all}");
    assert_eq!((&timing["sooner-ms"], &timing["later-ms"]), (&json!([]), &json!([])), "{all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_the_record_does_not_hold_is_told_and_what_it_holds_is_answered() {
    let plugins = tempfile::tempdir().unwrap();
    let guest = file(plugins.path(), "guest.wasm", tidegate_test_guests::hostile_policy());
    let look = file(plugins.path(), "look.json", br#"{ "do": "look" }"#);

    // Nothing that it looks up has been looked up by the one that decided.
    let of_another = journal(&records(POLICY, Value::Null).await);
    let all = found(&asked(of_another.path(), &guest, &["--json", "--settings", &look]));
    let cannot: u64 = all["cannot-tell"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert!(cannot > 30 && all["decisions"] == cannot, "{all}");
    for count in ["unchanged", "changed", "moves-added", "moves-removed", "moves-changed", "faults"] {
        assert_eq!(all[count], 0, "{count}: {all}");
    }
    let page = told(&asked(of_another.path(), &guest, &["--settings", &look]));
    assert!(page.contains("× cannot tell: it asks for health.observations("), "{page}");

    // Its own record holds all of it, and its component is at hand only where it is named.
    let own = journal(&records(&guest, json!({ "do": "look" })).await);
    let here = plugins.path().to_str().unwrap();
    let all = found(&asked(own.path(), &guest, &["--json", "--settings", &look, "--verify", "--plugins", here]));
    let decisions = all["decisions"].as_u64().unwrap();
    assert!(decisions > 0, "{all}");
    assert_eq!((&all["unchanged"], &all["cannot-tell"]), (&json!(decisions), &json!({})), "{all}");
    assert_eq!((&all["verified"]["decisions"], &all["verified"]["problems"]), (&json!(decisions), &json!([])), "{all}");
    let output = asked(own.path(), &guest, &["--json", "--settings", &look, "--verify"]);
    let unnamed = found(&output);
    assert_eq!((output.status.code(), &unnamed["proven"]), (Some(1), &json!(false)), "{unnamed}");
    let reasons: Vec<&String> = unnamed["verified"]["not-repeated"].as_object().unwrap().keys().collect();
    assert!(reasons.len() == 1 && reasons[0].contains("is not at hand; name its directory"), "{unnamed}");
    let page = told(&asked(own.path(), &guest, &["--settings", &look, "--verify"]));
    let line =
        format!("0 of {decisions} decisions are proven, 0 came out otherwise, {decisions} could not be asked again");
    assert!(page.contains(&format!("NOT PROVEN {line}")) && !page.contains("PROVEN all"), "{page}");
    assert!(page.contains(&format!("next: of {decisions}: policy sha256:")), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_journal_in_which_nothing_was_decided_proves_nothing() {
    let records = records(POLICY, Value::Null).await;
    let first = records.iter().position(|record| matches!(record.cause, Cause::Decided(_))).unwrap();
    let before = journal(&records[..first]);
    assert_eq!(asked(before.path(), POLICY, &[]).status.code(), Some(0));
    let output = asked(before.path(), POLICY, &["--verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("NOT PROVEN there is no decision in it"), "{}", told(&output));
}

/// Once where it is made ready, and once where it decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_policy_that_needs_more_than_the_default_is_proven_with_what_its_slot_gives_it() {
    let plugins = tempfile::tempdir().unwrap();
    let guest = file(plugins.path(), "guest.wasm", tidegate_test_guests::hostile_policy());
    let slot = "[slot.\"failover/default\"]\nplugin = \"file:guest.wasm\"\nlimits = { memory = \"32MiB\" }\n";
    let three_sites = include_str!("../../simulator/fleets/three-sites.toml");
    let fleet = file(plugins.path(), "fleet.toml", format!("{three_sites}\n{slot}").as_bytes());
    let here = ["--json", "--plugins", plugins.path().to_str().unwrap()];
    for (word, more) in [("roomy", ["--limit", "memory=32MiB"]), ("roomy-when-lost", ["--fleet", &fleet])] {
        let own = journal(&records(&guest, json!({ "do": word })).await);
        let verify = |more: &[&str]| asked(own.path(), POLICY, &[&here[..], &["--verify"], more].concat());
        let poor = verify(&[]);
        let verified = &found(&poor)["verified"];
        assert_eq!(poor.status.code(), Some(1), "{word}: {}", told(&poor));
        assert_eq!((&verified["differing"], &verified["problems"]), (&json!(0), &json!([])), "{word}");
        let mut reasons = verified["not-repeated"].as_object().unwrap().keys();
        let helps = |why: &String| why.contains("memory: 4MiB; if its slot gives it more, say so with --fleet FILE");
        assert!(reasons.all(helps) && verified["not-repeated"] != json!({}), "{word}: {verified}");
        let output = verify(&more);
        assert_eq!(
            (output.status.code(), &found(&output)["proven"]),
            (Some(0), &json!(true)),
            "{word}: {}",
            told(&output)
        );
        // The journal's own command asks them with the same.
        let state = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(own.path(), state.path().join("journal")).unwrap();
        let again = found(&replayed(state.path(), &[&here[..], &more].concat()));
        assert_eq!(again["replay"], found(&output)["verified"], "{word}: {again}");
    }
}

fn replayed(state: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["journal", "verify", "--replay", "--state"]).arg(state).args(more).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_was_not_decided_like_that_fails_the_verification_by_its_record() {
    let mut records = records(POLICY, Value::Null).await;
    let is_decision = |record: &Record| matches!(record.cause, Cause::Decided(_));
    let at = records.iter().position(is_decision).unwrap();
    let Cause::Decided(decided) = &mut records[at].cause else { panic!("it was found by that") };
    decided.fuel += 1;
    // Its chain is whole: it was written like that.
    let forged = journal(&records);
    let output = asked(forged.path(), POLICY, &["--json", "--verify"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let all = found(&output);
    assert_eq!(all["unchanged"], all["decisions"], "{all}");
    let problems = all["verified"]["problems"].as_array().unwrap();
    assert_eq!((problems.len(), &problems[0]["record"]), (1, &json!(at + 1)), "{all}");
    assert!(problems[0]["text"].as_str().unwrap().contains("units of work instead of"), "{all}");
    assert_eq!((&all["proven"], &all["verified"]["differing"]), (&json!(false), &json!(1)), "{all}");
    let page = told(&asked(forged.path(), POLICY, &["--verify"]));
    assert!(page.contains(&format!("record {}: asked again, the policy of", at + 1)), "{page}");
    assert!(page.contains("decisions are proven, 1 came out otherwise, 0 could not be asked again"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_decided_from_a_journal_that_was_edited_cut_or_reordered_or_is_not_there() {
    let none = tempfile::tempdir().unwrap();
    let output = asked(none.path(), POLICY, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("there is no journal"));

    let directory = journal(&records(POLICY, Value::Null).await);
    let segment = directory.path().join("journal-0000000000000001.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without_third = [&lines[..2], &lines[3..]].concat();
    let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat();
    let edited = lines.iter().position(|line| line.contains("fail-over")).unwrap() + 1;
    for (broken, at) in
        [(text.replacen("fail-over", "fail-back", 1), edited), (without_third.concat(), 3), (swapped.concat(), 3)]
    {
        std::fs::write(&segment, broken).unwrap();
        let output = asked(directory.path(), POLICY, &[]);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(&format!("the journal's chain is broken at record {at}:")), "{told}");
        assert!(told.contains(&format!("jsonl:{at}")) && told.contains("nothing was decided"), "{told}");
        assert!(output.stdout.is_empty());
    }

    // What a crash leaves is no edit, and no part of the journal.
    std::fs::write(&segment, &text[..text.len() - 9]).unwrap();
    let torn = found(&asked(directory.path(), POLICY, &["--json"]));
    assert_eq!(torn["journal"]["n"], lines.len() - 1, "{torn}");
    assert!(torn["torn"].as_str().unwrap().contains("jsonl at byte "), "{torn}");
    assert!(told(&asked(directory.path(), POLICY, &[])).contains("left out: an unfinished write"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_not_what_was_verified_or_cannot_be_read_ends_it() {
    let bench = Workbench::start(2).await.unwrap();
    let slot = bench.ready(Wanted { plugin: POLICY.into(), ..Wanted::default() }).await.unwrap();
    let decide = |directory: &TempDir, journal: &Verified| {
        backtest::backtest(directory.path(), journal, &slot, bench.workers(), |_| ()).map(|found| found.decisions)
    };

    // More than what may wait for a thread that no longer takes any.
    let strange = tempfile::tempdir().unwrap();
    let body = || to_raw_value(&json!({ "decided": "by a version that is still to come" })).unwrap();
    let mut store = FileJournal::open(strange.path(), SEGMENT_BYTES).unwrap().finish().unwrap();
    store.append((0..10_000).map(|_| body()).collect()).unwrap();
    let written = verify(strange.path()).unwrap();
    let failed = decide(&strange, &written).unwrap_err().to_string();
    assert!(failed.contains("record 1 is intact, but not of a form that this version knows"), "{failed}");

    let records = records(POLICY, Value::Null).await;
    let whole = journal(&records);
    let verified = verify(whole.path()).unwrap();
    let (all, half) = (decide(&whole, &verified).unwrap(), records.len() / 2);
    let shorter = journal(&records[..half]);
    let failed = decide(&shorter, &verified).unwrap_err().to_string();
    assert!(failed.contains("the journal was changed while it was read"), "{failed}");
    // What a host has written since is for the next time.
    let before = verify(shorter.path()).unwrap();
    assert_eq!(before.head.n, half as u64);
    let part = decide(&whole, &before).unwrap();
    assert!(0 < part && part < all, "{part} of {all}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_situation_that_a_record_only_names_is_found_in_an_earlier_one_or_nobody_can_tell() {
    let mut records = records(POLICY, Value::Null).await;
    let first = records.iter().position(|record| matches!(record.cause, Cause::Decided(_))).unwrap();
    let mut named = records[first].clone();
    let Cause::Decided(decided) = &mut named.cause else { panic!("it was found by that") };
    decided.situation.body = None;
    named.transitions.clear();
    let whole = found(&asked(journal(&records).path(), POLICY, &["--json"]));
    let decisions = whole["decisions"].as_u64().unwrap();

    records.push(named.clone());
    let after = found(&asked(journal(&records).path(), POLICY, &["--json"]));
    assert_eq!((&after["decisions"], &after["unchanged"]), (&json!(decisions + 1), &json!(decisions + 1)), "{after}");
    assert_eq!(after["cannot-tell"], json!({}), "{after}");

    // What comes later does not tell what was known before.
    records.pop();
    records.insert(first, named);
    let before = found(&asked(journal(&records).path(), POLICY, &["--json"]));
    assert_eq!((&before["decisions"], &before["unchanged"]), (&json!(decisions + 1), &json!(decisions)), "{before}");
    let why = "neither its record nor an earlier one holds the situation";
    assert_eq!(before["cannot-tell"], json!({ why: 1 }), "{before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_candidate_remembers_what_it_said_itself_and_nothing_of_what_another_remembered() {
    let guests = tempfile::tempdir().unwrap();
    let guest = file(guests.path(), "guest.wasm", tidegate_test_guests::hostile_policy());
    let count = file(guests.path(), "count.json", br#"{ "do": "count" }"#);
    let ask = |records: &[Record]| {
        let directory = journal(records);
        let output = asked(directory.path(), &guest, &["--json", "--settings", &count]);
        (found(&output), told(&asked(directory.path(), &guest, &["--settings", &count])))
    };

    let (all, _) = ask(&records(POLICY, Value::Null).await);
    let mut times = BTreeMap::new();
    for difference in all["differences"].as_array().unwrap() {
        let times: &mut u64 = times.entry(difference["service"].as_str().unwrap()).or_default();
        *times += 1;
        assert_eq!(difference["now"]["analysis"], format!("times-{times}"), "{difference}");
    }
    assert_eq!((times.values().sum::<u64>(), &all["unsure-memory"]), (all["decisions"].as_u64().unwrap(), &json!(0)));
    assert!(times.values().any(|times| *times > 2), "{times:?}");

    // It has decided then as well, and its memory is its own from the first decision on.
    let own = records(&guest, json!({ "do": "count" })).await;
    let (all, page) = ask(&own);
    assert_eq!((&all["unchanged"], &all["unsure-memory"]), (&all["decisions"], &json!(0)), "{all}");
    assert!(!page.contains("might remember something else"), "{page}");

    // The journal begins when it already remembers something, which nobody can give back to it.
    let (all, page) = ask(&own[own.len() / 2..]);
    let decisions = all["decisions"].as_u64().unwrap();
    assert!(decisions > 0 && all["unsure-memory"] == decisions && all["changed"] == decisions, "{all}");
    assert!(page.contains(&format!("{decisions} × the candidate might remember something else here")), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn as_many_threads_as_there_are_find_the_same() {
    let guests = tempfile::tempdir().unwrap();
    let plugin = file(guests.path(), "guest.wasm", tidegate_test_guests::hostile_policy());
    let directory = journal(&records(POLICY, Value::Null).await);
    let verified = verify(directory.path()).unwrap();
    let mut all = Vec::new();
    for threads in [1, 2, 5] {
        let bench = Workbench::start(threads).await.unwrap();
        let wanted = Wanted { plugin: plugin.clone(), settings: json!({ "do": "count" }), ..Wanted::default() };
        let slot = bench.ready(wanted).await.unwrap();
        let found = backtest::backtest(directory.path(), &verified, &slot, bench.workers(), |_| ()).unwrap();
        let mut found = serde_json::to_value(found).unwrap();
        // How long it took is the machine's.
        (found["now"]["took-us-p50"], found["now"]["took-us-p99"]) = (Value::Null, Value::Null);
        all.push(found);
    }
    assert!(all[0]["decisions"].as_u64().unwrap() > 30, "{}", all[0]);
    assert_eq!((&all[0], &all[0]), (&all[1], &all[2]));
}
