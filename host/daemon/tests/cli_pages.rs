//! What operators read, page by page, over hand-made pictures and journals: the text is compared with `golden/NAME.txt`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p tidegate --test cli_pages` writes the files anew; read the difference before keeping it.

use std::path::PathBuf;

use jiff::tz::{Offset, TimeZone};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate::cli::times::Times;
use tidegate::cli::{check, evacuate, explain, journal, orders, plugins, ready, report, runs, status, what_if};
use tidegate_kernel::record::Record;

/// 2026-11-20 22:14:05 UTC, in milliseconds.
const NOW: u64 = 1_795_212_845_000;

#[track_caller]
fn golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    let text = anstream::adapter::strip_str(text).to_string();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the folder of goldens can be written to");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs", path.display());
}

/// An operator in Vienna.
fn times() -> Times {
    Times::new(TimeZone::fixed(Offset::constant(1)), NOW)
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the picture is written as the kernel writes it")
}

/// `ago` milliseconds before now.
fn moment(ago: u64) -> Value {
    json!({ "mono": 1_000_000 - ago, "wall": NOW - ago })
}

fn reason(code: &str, text: &str) -> Value {
    json!({ "code": code, "text": text })
}

fn consensus(status: &str, agreeing: u32, held: u64) -> Value {
    json!({ "status": status, "agreeing": agreeing, "voting": 3, "expected": 3, "held": held })
}

fn look(vantage: &str, outcome: &str) -> Value {
    let (good, bad) = if outcome == "ok" { (20, 0) } else { (10, 10) };
    json!({ "vantage": vantage, "outcome": outcome, "latency": null, "age": 400, "consecutive": 4, "good": good, "bad": bad, "detail": "" })
}

fn looks(outcomes: [&str; 3]) -> Value {
    json!([look("ap-south", outcomes[0]), look("eu-west", outcomes[1]), look("us-east", outcomes[2])])
}

fn revision() -> Value {
    json!({ "number": 2, "digest": "sha256:7f1c09aa55d1b2e4", "settings": "sha256:44136fa355b3678a", "name": "failover-quorum", "version": "0.1.0" })
}

fn fail_over() -> Value {
    json!({ "fail-over": { "to-site": "eu-west", "promote": [], "shifts": [], "expected-loss": null } })
}

fn life(state: &str, active: &str, ago: u64) -> Value {
    json!({ "state": state, "since": moment(ago), "active": active, "shares": [{ "site": active, "per-cent": 100 }],
        "home": [{ "site": "us-east", "per-cent": 100 }], "epoch": 4 })
}

fn last_decision(verdict: Value, ruling: Value, ago: u64) -> Value {
    json!({
        "at": moment(ago), "revision": revision(), "verdict": verdict, "analysis": "site-lost",
        "reasons": [reason("majority-bad", "3 of 3 failure domains see us-east refuse"), reason("held", "for 2 s, 2 looks each")],
        "vetoes": [{ "candidate": { "site": "ap-south" }, "reason": reason("rank", "eu-west is preferred") }],
        "would-change-if": [reason("recovers", "a majority of the domains sees us-east answer again")],
        "ruling": ruling, "situation": "sha256:51", "repeated": 0
    })
}

fn service(name: &str, changes: Value) -> Value {
    let mut service = json!({
        "name": name, "tier": "tier1", "strategy": "active-passive", "state": "normal", "since": NOW - 7_200_000,
        "state-held": 7_200_000, "active-site": "us-east", "preferred-site": "us-east", "epoch": 3, "status": "healthy",
        "shares": [{ "site": "us-east", "per-cent": 100 }],
        "places": [
            { "site": "us-east", "endpoint": "10.0.1.5", "consensus": consensus("healthy", 3, 7_200_000), "observations": looks(["ok"; 3]) },
            { "site": "eu-west", "endpoint": "10.0.2.5", "consensus": consensus("healthy", 3, 7_200_000), "observations": looks(["ok"; 3]) }
        ],
        "movable": { "yes": "eu-west" }, "route": null, "drift": null, "readiness": null, "paused": null, "in-maintenance": false,
        "decision": null, "repeated": 0, "questions": [], "run": null
    });
    for (key, value) in changes.as_object().expect("changes by key") {
        service[key] = value.clone();
    }
    service
}

fn moved_service() -> Value {
    service(
        "shop",
        json!({
            "state": "failed-over", "since": NOW - 240_000, "state-held": 240_000, "active-site": "eu-west", "epoch": 4,
            "shares": [{ "site": "eu-west", "per-cent": 100 }],
            "places": [
                { "site": "us-east", "endpoint": "10.0.1.5", "consensus": consensus("unhealthy", 3, 241_000), "observations": looks(["refused", "refused", "timed-out"]) },
                { "site": "eu-west", "endpoint": "10.0.2.5", "consensus": consensus("healthy", 3, 7_200_000), "observations": looks(["ok"; 3]) }
            ],
            "movable": { "no": [reason("cooldown", "the last move ended 4 min ago, the cooldown is 10 min")] },
            "route": { "name": "shop.example.com", "endpoints": [{ "site": "eu-west", "target": "10.0.2.5", "weight": 100 }],
                "ttl-seconds": 5, "dns-changed-at": NOW - 241_000, "last-cache-lets-go-at": NOW - 236_000 },
            "decision": last_decision(fail_over(), json!({ "run": 3 }), 242_000),
            "run": run_view("done")
        }),
    )
}

fn step_view(name: &str, what: &str, status: &str, started: Option<u64>, text: &str) -> Value {
    json!({
        "name": name, "what": what, "needs": [], "point-of-no-return": name == "point-dns", "undo": null, "manual": "", "status": status,
        "attempt": 1, "started": started.map(moment), "ended": started.map(|ago| moment(ago - 120)), "text": text
    })
}

fn run_view(end: &str) -> Value {
    let resting = end == "resting";
    json!({
        "id": 3, "service": "shop", "kind": "fail-over", "runbook": "built-in/fail-over", "from": "us-east", "to": "eu-west",
        "shares": [{ "site": "eu-west", "per-cent": 100 }], "epoch": 4, "by": null, "opened": moment(241_900),
        "closed": if resting { Value::Null } else { moment(240_000) }, "heading": if resting { "resting" } else { "forward" },
        "past-point-of-no-return": true, "end": if resting { Value::Null } else { json!(end) },
        "steps": [
            step_view("check", "everything that a move to eu-west needs works", "done", Some(241_900), "all 4 checks passed"),
            step_view("point-dns", "shop.example.com leads to 10.0.2.5", if resting { "failed" } else { "done" }, Some(241_400),
                if resting { "rejected: REFUSED by 10.0.0.53" } else { "read back from 2 of 2 servers" }),
            step_view("await", "it answers well at eu-west", if resting { "pending" } else { "done" }, (!resting).then_some(240_300), "")
        ],
        "words": if resting { json!(["tidegate run retry r3", "tidegate run skip r3 point-dns"]) } else { json!([]) }
    })
}

fn fleet(changes: Value) -> Value {
    let mut fleet = json!({
        "now": NOW, "time-zone": "Europe/Vienna", "mode": "act", "warming-up": false, "paused": null, "brake": null, "freeze": null,
        "sites": [], "vantages": [{ "name": "us-east", "failure-domain": "us-east", "sound": true, "fresh": true }],
        "services": [], "questions": [], "runs": [], "incidents": [], "messages-waiting": 0
    });
    for (key, value) in changes.as_object().expect("changes by key") {
        fleet[key] = value.clone();
    }
    fleet
}

fn question() -> Value {
    json!({
        "id": 7, "service": "pay", "about": { "move": { "options": [fail_over()], "epoch": 2, "revision": revision() } },
        "text": "May pay move to eu-west?", "reasons": [reason("autonomy", "its failover is manual")], "asked": moment(30_000)
    })
}

#[test]
fn a_quiet_fleet_is_one_line_for_each_service() {
    let fleet = fleet(json!({ "services": [service("shop", json!({})), service("目録", json!({ "tier": "tier2" }))] }));
    golden("status-quiet", &status::fleet(&read(fleet), &times()));
}

#[test]
fn a_fleet_in_trouble_says_the_worst_first() {
    let fleet = fleet(json!({
        "mode": "observe", "messages-waiting": 2,
        "freeze": { "since": moment(60_000), "text": "us-east and eu-west turned bad together" },
        "paused": { "by": "ann", "reason": "moving racks", "since": moment(600_000) },
        "vantages": [
            { "name": "us-east", "failure-domain": "us-east", "sound": true, "fresh": false },
            { "name": "ap-south", "failure-domain": "ap-south", "sound": false, "fresh": true }
        ],
        "services": [moved_service(), service("shop\u{1b}[2J", json!({}))],
        "runs": [run_view("resting")], "questions": [question()]
    }));
    golden("status-trouble", &status::fleet(&read(fleet), &times()));
}

#[test]
fn one_service_shows_when_the_answer_changed_and_when_caches_let_go() {
    golden("status-service", &status::service(&read(moved_service()), &times()));
}

#[test]
fn drift_says_both_sides_and_what_to_type() {
    let endpoint = |target: &str| json!([{ "site": "us-east", "target": target, "weight": 100 }]);
    let drift = json!({ "since": moment(5_000), "expected": endpoint("10.0.1.5"), "found": endpoint("203.0.113.9"), "text": "changed" });
    let drifted = service(
        "shop",
        json!({ "drift": drift, "movable": { "no": [reason("drift", "the DNS servers say something else")] } }),
    );
    golden("status-drift", &status::service(&read(drifted), &times()));
}

fn node(name: &str, changes: Value) -> Value {
    let mut node = json!({
        "name": name, "site": name, "role": "replica", "leads": false, "answers": true, "timeline": 2, "lag-bytes": 0, "lag": 0,
        "contact-age": 100, "upstream": "eu-west", "heard": 200, "priority": 100, "outside": null, "proof": null,
        "diverged-bytes": null, "facts": []
    });
    for (key, value) in changes.as_object().expect("changes by key") {
        node[key] = value.clone();
    }
    node
}

fn service_with_data() -> Value {
    let alarm = json!({
        "at": moment(9_000), "revision": revision(), "verdict": "hold", "analysis": "standby-lost", "alarm": "warning",
        "reasons": [reason("standby-lost", "us-east follows nobody")], "vetoes": [], "would-change-if": [], "ruling": "nothing",
        "situation": "sha256:51"
    });
    let mut moved = moved_service();
    moved["decision"] = alarm;
    moved["database"] = json!({
        "cluster": "orders", "primary": "eu-west", "since": NOW - 241_000, "synchronous": 1,
        "published": { "nodes": ["ap-south", "us-east"], "wait-for": 1, "epoch": 4 }, "sample-age": 120, "failure": null,
        "unsound": "select count(*) > 0 from orders: f",
        "nodes": [
            node("us-east", json!({ "answers": false, "role": "unknown", "lag-bytes": null, "lag": null, "upstream": null,
                "outside": "it was the primary before node eu-west", "proof": "standby-quorum", "diverged-bytes": 512 })),
            node("eu-west", json!({ "role": "primary", "leads": true, "lag-bytes": null, "lag": null, "upstream": null })),
            node("ap-south", json!({ "lag-bytes": 4_096, "lag": 1_500, "priority": 0 }))
        ]
    });
    moved
}

#[test]
fn a_service_with_data_shows_who_leads_who_lags_and_who_does_not_count() {
    golden("status-data", &status::service(&read(service_with_data()), &times()));
    let fleet = fleet(json!({ "services": [service_with_data()] }));
    golden("status-data-fleet", &status::fleet(&read(fleet), &times()));
}

#[test]
fn a_run_shows_its_steps_and_what_a_person_can_type() {
    golden("run-done", &runs::page(&read(run_view("done")), &times()));
    golden("run-resting", &runs::page(&read(run_view("resting")), &times()));
    golden("run-list", &runs::table(&[read(run_view("resting")), read(run_view("done"))], &times()));
}

#[test]
fn a_dry_run_shows_plan_guards_and_loss() {
    let plan = json!({
        "service": "shop", "kind": "fail-over", "runbook": "built-in/fail-over", "from": "us-east", "to": "eu-west",
        "shares": [{ "site": "eu-west", "per-cent": 100 }],
        "steps": [
            step_view("check", "everything that a move to eu-west needs works", "pending", None, ""),
            step_view("point-dns", "shop.example.com leads to 10.0.2.5", "pending", None, "")
        ],
        "guards": [
            { "number": 2, "name": "one move at a time", "objections": [] },
            { "number": 4, "name": "targets", "objections": [reason("capacity", "eu-west has 20 % left, shop needs 40 %")] }
        ],
        "differences": ["shop.example.com: 10.0.1.5 → 10.0.2.5"], "loss": "requests under way at us-east", "markdown": ""
    });
    golden("dry-run", &orders::plan(&read(plan), &times()));
}

#[test]
fn a_dry_run_of_data_shows_who_would_lead_what_is_lost_and_how_it_is_proven() {
    let proof = |kind: &str, open: bool, text: &str| json!({ "kind": kind, "open": open, "text": text });
    let plan = json!({
        "service": "shop", "kind": "fail-over", "runbook": "fail-over", "from": "us-east", "to": "eu-west",
        "shares": [{ "site": "eu-west", "per-cent": 100 }],
        "steps": [step_view("promote", "make node b the primary of orders", "pending", None, "")],
        "guards": [{ "number": 56, "name": "loss-bound", "objections": [] }],
        "differences": [], "loss": "up to 1800 ms of data as of now", "markdown": "",
        "data": { "cluster": "orders", "synchronous": 0, "from": "a", "to": "b", "loss": "up to 1800 ms of data as of now", "proofs": [
            proof("stopped", true, "the agent at its site stops a by the command a-stop, if it answers"),
            proof("lease", false, "no agent has said that its enforcer holds a of orders")
        ] }
    });
    golden("dry-run-data", &orders::plan(&read(plan), &times()));
}

fn evacuation(end: Value) -> Value {
    json!({
        "id": 2, "site": "us-east", "to": null, "by": "ann", "opened": moment(60_000), "phase": 1, "stays": ["racks"], "end": end,
        "closed": null, "phases": [
            [{ "service": "login", "to": "eu-west", "run": 4, "gone": true }, { "service": "media", "to": "eu-west", "run": null, "gone": true }],
            [{ "service": "shop", "to": "eu-west", "run": 5, "gone": false }],
            [{ "service": "pay", "to": "ap-south", "run": null, "gone": false }]
        ]
    })
}

#[test]
fn an_evacuation_shows_its_phases_and_what_has_gone() {
    let all = json!([evacuation(Value::Null), evacuation(json!({ "stopped": "run r5 was undone" }))]);
    golden("evacuations", &evacuate::list(&read::<Vec<_>>(all), &times()));
    golden("evacuations-none", &evacuate::list(&[], &times()));
    let fleet = fleet(
        json!({ "services": [service("shop", json!({}))], "evacuation": evacuation(json!({ "stopped": "run r5 was undone" })) }),
    );
    golden("status-evacuation", &status::fleet(&read(fleet), &times()));
}

#[test]
fn an_evacuations_dry_run_shows_phases_then_each_plan() {
    let plan = |service: &str, to: &str| {
        json!({
            "service": service, "kind": "switch-over", "runbook": "switch-over", "from": "us-east", "to": to, "shares": [],
            "steps": [step_view("traffic", "point its name there", "pending", None, "")], "guards": [], "differences": [],
            "loss": "no data: traffic only", "markdown": ""
        })
    };
    let planned = json!({ "site": "us-east", "to": "eu-west", "stays": ["racks"], "phases": [
        [{ "service": "login", "under-way": null, "plan": plan("login", "eu-west"), "blockers": [] },
         { "service": "media", "under-way": 7, "plan": null, "blockers": [] }],
        [{ "service": "shop", "under-way": null, "plan": plan("shop", "eu-west"),
           "blockers": [reason("capacity", "eu-west would be full: what goes first has taken its room")] }]
    ] });
    golden("evacuation-plan", &evacuate::plan(&read(planned), &times()));
}

#[test]
fn a_report_says_what_was_promised_what_was_measured_and_how_it_came_to_that() {
    let mark = |name: &str, ago: u64, text: &str| json!({ "name": name, "at": moment(ago), "text": text });
    let step = |name: &str, began: u64, took: u64, text: &str| {
        json!({
            "name": name, "what": format!("what {name} does"), "status": "done", "began": began, "took": took, "tries": 1, "text": text
        })
    };
    let told = json!({
        "id": 3, "service": "shop", "kind": "fail-over", "from": "us-east", "to": "eu-west", "by": null, "end": "done",
        "promised": { "rto": 5_000, "rpo": 5_000, "mtpd": null },
        "outage": { "at-most": 3_400, "text": "since its primary answered for the last time, until it was seen well at eu-west", "verdict": "kept" },
        "loss": { "beforehand": 700, "bytes": 512, "at-most": 2_950, "text": "node b lacked the last 512 bytes of log that node a had", "verdict": "kept" },
        "marks": [mark("primary answered", 242_600, "node a of orders answered for the last time"), mark("decided", 241_900, "by itself"),
            mark("proven", 239_650, "lease"), mark("promoted", 239_400, "b"), mark("closed", 239_000, "")],
        "steps": [step("proof", 0, 2_250, "lease: over-for-ms 0"), step("promote", 2_300, 200, "done")]
    });
    golden("report", &report::page(&read(told.clone()), &times()));
    let mut open = told;
    (open["end"], open["promised"], open["outage"]["at-most"]) = (Value::Null, Value::Null, Value::Null);
    (open["outage"]["verdict"], open["outage"]["text"]) = (json!("unknown"), json!("it is not over"));
    (open["loss"]["verdict"], open["loss"]["beforehand"], open["loss"]["at-most"]) =
        (json!("missed"), Value::Null, Value::Null);
    golden("report-open", &report::page(&read(open), &times()));
}

#[test]
fn questions_say_why_and_what_to_type() {
    golden("questions", &orders::question_list(&[read(question())], &times()));
    golden("questions-none", &orders::question_list(&[], &times()));
}

#[test]
fn what_is_not_ready_comes_first() {
    let checked = json!([
        { "service": "catalog", "blockers": [] },
        { "service": "shop", "blockers": [reason("dns-denied", "10.0.0.53 refuses the key"), reason("capacity", "eu-west is full")] }
    ]);
    golden("ready", &ready::page(&read::<Vec<_>>(checked)));
}

#[test]
fn readiness_of_data_says_whether_a_lease_would_prove_anything() {
    let checked = json!([
        { "service": "shop", "blockers": [reason("command-missing", "command a-stop of node a, at agent east: there is no program /x")],
          "notes": [reason("no-lease", "if the site of its primary is lost, a person is asked: no agent holds a")] },
        { "service": "pay", "blockers": [], "notes": [reason("lease", "agent east ends the primary of pay with its lease")] }
    ]);
    golden("ready-data", &ready::page(&read::<Vec<_>>(checked)));
}

#[test]
fn a_check_of_the_running_host_says_which_commands_are_missing_where() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.toml");
    let commands = "[command.stop]\nargv = [\"/bin/stop\"]\nsites = [\"us-east\", \"eu-west\"]\n[command.note]\nargv = [\"/bin/note\"]\n";
    std::fs::write(&path, format!("{FLEET}{commands}")).unwrap();
    let fleet = tidegate::cli::reach::parse(&path).expect("a sound file");
    let agents = json!([
        { "name": "east", "site": "us-east", "heard-ago": 100, "missing": { "stop": "there is no user postgres on this machine" } },
        { "name": "south", "site": "ap-south", "heard-ago": null, "missing": {} }
    ]);
    let mut report = check::report(&path);
    (report.findings, report.survival) = (Vec::new(), Vec::new());
    report.missing = Some(check::missing_commands(&fleet, &read::<Vec<_>>(agents)));
    let page = check::page(&report);
    golden("check-online", &page.replace(&format!("{}/", directory.path().display()), ""));
}

#[test]
fn what_needs_a_person_comes_first_then_the_order_of_moves() {
    let judged = json!([
        { "service": "shop", "tier": "tier1", "verdict": fail_over(), "reasons": [reason("lost", "us-east would be lost")], "order": 2,
          "to": "eu-west", "blockers": [], "loss": "nothing" },
        { "service": "login", "tier": "tier1", "verdict": fail_over(), "reasons": [reason("lost", "us-east would be lost")], "order": 1,
          "to": "eu-west", "blockers": [], "loss": "nothing" },
        { "service": "pay", "tier": "tier1", "verdict": "hold", "reasons": [], "order": null, "to": null,
          "blockers": [reason("autonomy", "its failover is manual")], "loss": "up to 30 s" }
    ]);
    golden("what-if", &what_if::page(&read::<Vec<_>>(judged)));
}

#[test]
fn slots_say_what_they_lack_and_what_waits_beside_them() {
    let slots = json!([
        { "slot": "failover/default", "plugin": "builtin:failover-quorum", "revision": revision(), "grants": [], "missing-grants": [],
          "swapped": false, "previous": null, "candidate": { "digest": "sha256:00", "name": "follow-the-sun", "version": "1.2.0" } },
        { "slot": "dns/primary", "plugin": "builtin:dns-rfc2136", "revision": revision(), "grants": [], "missing-grants": ["secret:dns-key"],
          "swapped": true, "previous": "sha256:11", "candidate": null },
        { "slot": "probe/http", "plugin": "builtin:probe-http", "revision": revision(), "grants": [], "missing-grants": [],
          "swapped": false, "previous": "sha256:11", "candidate": null, "rollout": { "reached": ["us-east"],
          "to-come": ["eu-west", "ap-south"], "trying": "us-east", "waits-for": "a look", "stopped": null } }
    ]);
    golden("plugins", &plugins::table(&read::<Vec<_>>(slots)));
}

#[test]
fn a_check_says_where_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.toml");
    std::fs::write(&path, "[host]\nsite = \"us-east\"\n\n[site.us-east]\nrang = 1\n").unwrap();
    let page = check::page(&check::report(&path));
    golden("check-bad", &page.replace(&format!("{}/", directory.path().display()), ""));
}

#[test]
fn a_check_says_which_losses_a_service_survives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fleet.toml");
    std::fs::write(&path, FLEET).unwrap();
    let page = check::page(&check::report(&path));
    golden("check-good", &page.replace(&format!("{}/", directory.path().display()), ""));
}

const FLEET: &str = r#"
[host]
site = "ap-south"
mode = "act"

[site.us-east]
[site.eu-west]
[site.ap-south]

[slot."dns/primary"]
plugin = "builtin:dns-rfc2136"

[service.shop]
failover = "automatic"
one-domain-suffices = true
probe = { slot = "probe/http" }
route = { slot = "dns/primary", name = "shop.example.com" }
at.us-east = { endpoint = "10.0.1.5", target = { url = "http://10.0.1.5/" } }
at.eu-west = { endpoint = "10.0.2.5", target = { url = "http://10.0.2.5/" } }

[service.pay]
failover = "manual"
probe = { slot = "probe/http" }
at.us-east = { endpoint = "10.0.1.6", target = { url = "http://10.0.1.6/" } }
"#;

#[test]
fn the_journal_reads_as_what_happened() {
    let records = [
        started(),
        sensed("healthy", "unhealthy"),
        decided(fail_over(), json!({ "run": 3 }), &[run_opened()]),
        run_closed(),
        json!({ "at": moment(9_000), "cause": { "ordered": { "by": "ann", "command": { "command": "pause", "service": null, "reason": "racks" } } } }),
        json!({ "at": moment(8_000), "cause": { "plugin-fault": { "slot": "dns/primary", "text": "quarantined after 5 restarts" } } }),
    ];
    let lines = (1..).zip(records).map(|(n, record)| journal::line(n, &read(record), &times()));
    golden("journal", &(lines.collect::<Vec<_>>().join("\n") + "\n"));
}

// --- explain: from journal entries ---

fn started() -> Value {
    json!({
        "at": moment(7_200_000 / 8), "cause": { "started": { "version": "0.1.0", "recovered": false } },
        "transitions": [{ "rule": 20, "change": { "life": { "service": "shop", "life": life("normal", "us-east", 900_000) } } }]
    })
}

fn sensed(from: &str, to: &str) -> Value {
    json!({ "at": moment(242_500), "cause": { "sensed": { "consensus": { "service": "shop", "site": "us-east", "from": from, "to": to } } } })
}

fn situation() -> Value {
    let site = |name: &str, rank: u32, consensus: Value, looks: Value| {
        json!({ "site": name, "failure-domain": name, "rank": rank, "capacity": 100, "share": 0, "consensus": consensus,
            "observations": looks, "services-unhealthy": 0, "services-total": 1, "facts": [] })
    };
    json!({
        "now": NOW - 242_000, "time-zone": "Europe/Vienna", "epoch": 3, "service": "shop", "tier": "tier1",
        "objectives": { "rto": 300_000, "rpo": 0, "mtpd": null }, "strategy": "active-passive", "failover": "automatic",
        "failback": "manual", "state": "degraded", "state-held": 1_000, "active-site": "us-east", "preferred-site": "us-east",
        "vantages": [],
        "sites": [
            site("us-east", 1, consensus("unhealthy", 3, 2_000), looks(["refused", "refused", "timed-out"])),
            site("eu-west", 2, consensus("healthy", 3, 600_000), looks(["ok"; 3])),
            site("ap-south", 3, consensus("healthy", 3, 600_000), looks(["ok"; 3]))
        ],
        "route": null, "cluster": null, "dependencies": [], "moves": [], "in-maintenance": false, "warming-up": false, "signals": [],
        "memo": "", "settings": "", "facts": []
    })
}

fn decision(verdict: Value) -> Value {
    json!({ "verdict": verdict, "analysis": "site-lost", "reasons": [], "vetoes": [], "would-change-if": [], "ask-again-in": null,
        "memo": "", "facts": [] })
}

/// A decision with the ruling of the host, and whatever else changed with it.
fn decided(verdict: Value, ruling: Value, more: &[Value]) -> Value {
    let last = last_decision(verdict.clone(), ruling, 242_000);
    let mut transitions =
        vec![json!({ "rule": 21, "change": { "decision": { "service": "shop", "last": last, "memo": null } } })];
    transitions.extend_from_slice(more);
    json!({
        "at": moment(242_000),
        "cause": { "decided": { "service": "shop", "revision": revision(), "situation": { "hash": "sha256:51", "body": situation() },
            "fuel": 183_412, "took-us": 21, "result": { "Ok": decision(verdict) } } },
        "transitions": transitions
    })
}

fn step(name: &str, started: u64, text: &str) -> Value {
    json!({
        "name": name, "action": { "confirm": { "text": "" } }, "needs": [], "timeout": 5_000, "point-of-no-return": name == "point-dns",
        "state": { "status": "done", "attempt": 1, "started": moment(started), "ended": moment(started - 120), "text": text }
    })
}

fn run_opened() -> Value {
    json!({ "rule": 70, "change": { "run-opened": { "run": {
        "id": 3, "service": "shop", "kind": "fail-over", "runbook": "built-in/fail-over", "from": "us-east", "to": "eu-west",
        "shares": [{ "site": "eu-west", "per-cent": 100 }], "shares-before": [{ "site": "us-east", "per-cent": 100 }], "epoch": 4,
        "by": null, "opened": moment(241_900), "heading": "forward",
        "steps": [step("check", 241_900, "all 4 checks passed"), step("point-dns", 241_400, "read back from 2 of 2 servers")]
    } } } })
}

fn run_closed() -> Value {
    json!({
        "at": moment(240_000), "cause": { "due": "the run's last step ended" },
        "transitions": [
            { "rule": 77, "change": { "run-closed": { "run": 3, "end": "done", "at": moment(240_000) } } },
            { "rule": 5, "change": { "life": { "service": "shop", "life": life("failed-over", "eu-west", 240_000) } } }
        ]
    })
}

fn explained(records: &[Value]) -> explain::Explanation {
    let records: Vec<Record> = records.iter().map(|record| read(record.clone())).collect();
    explain::explain("shop", NOW, (1..).zip(&records)).expect("the journal knows the shop")
}

#[test]
fn explains_why_it_moved() {
    let records = [started(), decided(fail_over(), json!({ "run": 3 }), &[run_opened()]), run_closed()];
    golden("explain-moved", &explain::page(&explained(&records), &times()));
}

#[test]
fn explains_why_it_did_not_move() {
    let ruling = json!({ "hold": [reason("frozen", "automatic moves are frozen")] });
    let freeze = json!({ "rule": 112, "change": { "freeze": { "freeze": { "since": moment(242_000), "text": "us-east and eu-west turned bad together" } } } });
    let counted = json!({ "at": moment(1_000), "cause": { "due": "" }, "transitions": [{ "rule": 22, "change": { "holds": { "counts": [["shop", 240]] } } }] });
    let records = [started(), sensed("healthy", "unhealthy"), decided(fail_over(), ruling, &[freeze]), counted];
    golden("explain-held", &explain::page(&explained(&records), &times()));
}

#[test]
fn explains_a_move_that_a_person_ordered() {
    let mut ordered = run_opened();
    ordered["change"]["run-opened"]["run"]["by"] = json!("ann");
    let order = json!({
        "at": moment(241_900), "cause": { "ordered": { "by": "ann", "command": { "command": "failover", "service": "shop", "to": "eu-west" } } },
        "transitions": [ordered]
    });
    golden("explain-ordered", &explain::page(&explained(&[started(), order, run_closed()]), &times()));
}

#[test]
fn explains_only_services_that_the_journal_knows() {
    let record: Record = read(started());
    let failed = explain::explain("chop", NOW, [(1, &record)]).unwrap_err();
    assert_eq!(failed.exit, tidegate::cli::failed::Exit::Usage);
}

#[test]
fn an_explanation_as_json_keeps_the_contracts_names() {
    let records = [started(), decided(fail_over(), json!({ "run": 3 }), &[run_opened()]), run_closed()];
    let json = serde_json::to_value(explained(&records)).unwrap();
    assert_eq!(json["run"]["decision"]["verdict"], fail_over());
    assert_eq!(json["run"]["decision"]["votes"][0]["site"], "us-east");
    assert_eq!(json["decision"]["would-change-if"][0]["code"], "recovers");
    assert_eq!(json["decision"]["revision"]["digest"], "sha256:7f1c09aa55d1b2e4");
}
