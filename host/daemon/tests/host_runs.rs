//! A whole host in this process, with real plugins and a real DNS server: it sees, decides, moves, remembers, and stops.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "support/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
mod stage;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use stage::*;
use tempfile::TempDir;
use tidegate::cli::replay::{self, Means};
use tidegate::host::{Options, run};
use tidegate::journal::{self, FileJournal, SEGMENT_BYTES, Store};
use tidegate_kernel::contract::{Decision, Verdict};
use tidegate_kernel::record::{Cause, Change, Record};
use tidegate_kernel::state::LastDecision;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_dns_when_the_active_site_dies_and_goes_on_from_its_journal() {
    let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter("info").try_init();
    let (left, left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 1)]);
    until("both sites are seen well and a move would work", || async {
        let shop: Value = stage.client.get("/v1/services/shop").await.unwrap();
        let well = |at: usize| shop["places"][at]["consensus"]["status"] == "healthy";
        well(0) && well(1) && shop["movable"] == json!({"yes": "right"}) && !shop["readiness"].is_null()
    })
    .await;

    left_alive.abort();
    until("the name leads to the site that lives", || async {
        shop_leads_to(dns.local_addr()).await == [Ipv4Addr::new(127, 0, 0, 2)]
    })
    .await;
    until("the run is closed", || async { stage.journal().await.contains("run-closed") }).await;
    host.stop().await;

    let verified = journal::verify(&journal::directory(&stage.state())).unwrap();
    assert!(verified.head.n > 0 && verified.torn.is_none(), "{verified:?}");
    let host = stage.start().await;
    until("the journal has gone on", || async { stage.journal().await.contains(r#""recovered":true"#) }).await;
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 2)]);
    host.stop().await;
    let after = journal::verify(&journal::directory(&stage.state())).unwrap();
    assert!(after.head.n > verified.head.n, "{after:?}");
    replays_and_notices_edits(&journal::directory(&stage.state())).await;
}

/// What a real host wrote follows by the rules, its policy decides the same again, and a changed record is named.
async fn replays_and_notices_edits(directory: &Path) {
    let replayed = replay::replay(directory, Means::default()).await.unwrap();
    assert_eq!((&replayed.problems[..], replayed.not_repeated.len()), (&[][..], 0), "{replayed:?}");
    assert!(replayed.decisions > 0 && replayed.transitions > 0, "{replayed:?}");
    let records: Vec<Record> =
        journal::Reader::open(directory).unwrap().map(|entry| entry.unwrap().record().unwrap()).collect();

    let mut otherwise = records.clone();
    let at = first_fail_over(&mut otherwise, |decision, last| {
        (decision.analysis, last.analysis) = ("tuesday".into(), "tuesday".into());
    });
    names(&otherwise, at, "asked again, the policy of shop decides otherwise").await;
    let mut cheaper = records.clone();
    cheaper[at - 1] = match cheaper[at - 1].clone() {
        Record { cause: Cause::Decided(mut decided), at, transitions } => {
            decided.fuel -= 1;
            Record { cause: Cause::Decided(decided), at, transitions }
        }
        other => other,
    };
    names(&cheaper, at, "units of work").await;
    let mut stranger = records;
    if let Cause::Decided(decided) = &mut stranger[at - 1].cause {
        decided.revision.digest = "sha256:0".into();
    }
    let written = rewritten(&stranger);
    let replayed = replay::replay(written.path(), Means::default()).await.unwrap();
    assert!(replayed.not_repeated.keys().any(|why| why.contains("sha256:0 is not at hand")), "{replayed:?}");
}

/// Changes the first decision to fail over, where it was made and where it is noted; tells its record's number.
fn first_fail_over(records: &mut [Record], edit: impl Fn(&mut Decision, &mut LastDecision)) -> usize {
    let found = records.iter_mut().position(|record| {
        let Cause::Decided(decided) = &mut record.cause else { return false };
        let Ok(decision) = &mut decided.result else { return false };
        let noted = record.transitions.iter_mut().find_map(|transition| match &mut transition.change {
            Change::Decision { last, .. } => Some(last),
            _ => None,
        });
        let moves = matches!(decision.verdict, Verdict::FailOver(_));
        if let Some(last) = noted.filter(|_| moves) {
            edit(decision, last);
        }
        moves
    });
    found.unwrap() + 1
}

/// Records with a chain of their own, as somebody who can write the whole directory would leave them.
fn rewritten(records: &[Record]) -> TempDir {
    let directory = TempDir::new().unwrap();
    let mut journal = FileJournal::open(directory.path(), SEGMENT_BYTES).unwrap().finish().unwrap();
    journal.append(records.iter().map(|record| to_raw_value(record).unwrap()).collect()).unwrap();
    directory
}

async fn names(records: &[Record], at: usize, words: &str) {
    let written = rewritten(records);
    let replayed = replay::replay(written.path(), Means::default()).await.unwrap();
    let first = replayed.problems.first().unwrap();
    assert!(first.record == at as u64 && first.text.contains(words), "{replayed:?}");
    assert!(replay::page(&replayed).contains(&format!("record {at}: ")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_what_works_when_it_is_told_to_take_what_does_not() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let good = fs::read_to_string(stage.fleet_file()).unwrap();
    let slots = || async {
        let slots: Vec<Value> = stage.client.get("/v1/plugins").await.unwrap();
        slots.into_iter().map(|slot| (slot["slot"].clone(), slot["revision"].clone())).collect::<Vec<_>>()
    };
    let plugins = slots().await;
    // What is written instead, and what the refusal has to name.
    for (from, to, named) in [
        ("failover = \"automatic\"", "failover = \"automatc\"", "fleet.toml:"),
        ("ttl = \"1s\"", "tll = \"1s\"", "dns/primary"),
        ("interval = \"200ms\"", "interval = \"soon\"", "fleet.toml:"),
        ("builtin:dns-rfc2136", "builtin:dns-nowhere", "slot dns/primary"),
        ("zone = \"example.test\"", "zone = 7", "dns/primary"),
    ] {
        fs::write(stage.fleet_file(), good.replace(from, to)).unwrap();
        let refused = stage.client.post::<Value>("/v1/reload", &json!({})).await.unwrap_err().to_string();
        assert!(refused.contains(named), "{to}: {refused}");
        assert_eq!(slots().await, plugins, "{to}");
    }
    fs::write(stage.fleet_file(), good.replace("ttl = \"1s\"", "ttl = \"2s\"")).unwrap();
    stage.client.post::<Value>("/v1/reload", &json!({})).await.unwrap();
    assert!(stage.journal().await.contains("fleet-changed"));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shows_and_counts_what_it_does_and_refuses_an_order_that_makes_no_sense() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let status: Value = stage.client.get("/v1/status").await.unwrap();
    assert_eq!(status["services"][0]["name"], "shop");
    let ready: Value = stage.client.get("/v1/ready?service=shop").await.unwrap();
    assert_eq!(ready, json!([{"service": "shop", "blockers": [], "notes": []}]));
    let lost: Value = stage.client.get("/v1/what-if?lose=left").await.unwrap();
    assert_eq!(lost[0]["service"], "shop");
    for path in ["/v1/services/nope", "/v1/what-if?lose=nowhere", "/v1/runs/7", "/v1/plugins/nope", "/v1/nothing"] {
        let error = stage.client.get::<Value>(path).await.unwrap_err().to_string();
        assert!(error.contains("there is no"), "{path}: {error}");
    }
    let order = json!({"command": "failover", "service": "nope", "to": null});
    assert!(matches!(stage.client.post::<Value>("/v1/orders", &order).await, Err(tidegate::client::Error::Refused(_))));

    let mut lines = stage.client.lines("/metrics").await.unwrap();
    let mut figures = String::new();
    while let Some(line) = lines.next().await.unwrap() {
        figures.push_str(&line);
        figures.push('\n');
    }
    for figure in [
        "tidegate_journal_head ",
        "tidegate_services{state=\"normal\"} 1",
        "tidegate_orders_total{result=\"refused\"} 1",
    ] {
        assert!(figures.contains(figure), "{figure}:\n{figures}");
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_rolls_back_and_refuses_plugins_without_losing_the_one_that_works() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let slot = "/v1/plugins/failover%2Fdefault";
    let number = |view: &Value| view["revision"]["number"].as_u64().unwrap();
    let first: Value = stage.client.get(slot).await.unwrap();

    let wrong_world =
        stage.client.post::<Value>(&format!("{slot}/swap"), &json!({"plugin": "builtin:probe-tcp"})).await;
    assert!(wrong_world.unwrap_err().to_string().contains("takes a"));
    let outside =
        stage.client.post::<Value>(&format!("{slot}/swap"), &json!({"plugin": "file:../../etc/passwd"})).await;
    assert!(outside.unwrap_err().to_string().contains("plugin directory"));
    assert_eq!(stage.client.get::<Value>(slot).await.unwrap(), first);

    let candidate = json!({"plugin": "builtin:failover-quorum"});
    let loaded: Value = stage.client.post(&format!("{slot}/load"), &candidate).await.unwrap();
    assert_eq!(number(&loaded), number(&first));
    assert_eq!(loaded["candidate"]["name"], "failover-quorum");
    let swapped: Value = stage.client.post(&format!("{slot}/swap"), &Value::Null).await.unwrap();
    assert!(number(&swapped) > number(&first));
    let back: Value = stage.client.post(&format!("{slot}/rollback"), &Value::Null).await.unwrap();
    assert!(number(&back) > number(&swapped));
    assert_eq!(stage.journal().await.matches(r#""cause":{"swapped""#).count(), 2);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_not_start_from_a_journal_that_somebody_changed_nor_beside_another_host() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    let second = run(&stage.fleet_file(), Options::default()).await.unwrap_err();
    assert!(format!("{second:#}").contains("another host"), "{second:#}");
    host.stop().await;

    let segment = journal::directory(&stage.state()).join("journal-0000000000000001.jsonl");
    let changed = fs::read_to_string(&segment).unwrap().replacen(r#""rule":20"#, r#""rule":21"#, 1);
    fs::write(&segment, changed).unwrap();
    let refused = format!("{:#}", run(&stage.fleet_file(), Options::default()).await.unwrap_err());
    assert!(refused.contains("journal-0000000000000001.jsonl:1: record 1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_site_is_evacuated_on_one_order_and_each_run_has_its_report() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()));
    let host = stage.start().await;
    until("both sites are seen well and a move would work", || async {
        let shop: Value = stage.client.get("/v1/services/shop").await.unwrap();
        shop["movable"] == json!({"yes": "right"}) && shop["places"][0]["consensus"]["status"] == "healthy"
    })
    .await;
    let socket = format!("unix:{}", stage.directory.path().join("host.sock").display());
    let typed = |arguments: &[&str]| {
        let arguments: Vec<String> =
            arguments.iter().map(|word| (*word).to_owned()).chain(["--host".into(), socket.clone()]).collect();
        let directory = stage.directory.path().to_owned();
        async move {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            tidegate(&directory, &words).await
        }
    };
    let planned = typed(&["evacuate", "left", "--dry-run"]).await;
    assert!(planned.status.success() && said(&planned).contains("dry run switch-over of shop"), "{}", said(&planned));
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 1)], "a dry run changes nothing");
    assert_eq!(typed(&["evacuate", "left"]).await.status.code(), Some(2), "nobody confirmed it");
    let begun = typed(&["evacuate", "left", "--yes"]).await;
    assert!(begun.status.success() && said(&begun).contains("evacuation e1 of left has begun"), "{}", said(&begun));
    until("everything has left", || async {
        let all: Value = stage.client.get("/v1/evacuations").await.unwrap();
        all[0]["end"] == "done"
    })
    .await;
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 2)]);
    let listed = typed(&["evacuate", "--list"]).await;
    assert!(said(&listed).contains("evacuation e1 of left: done"), "{}", said(&listed));
    let report = typed(&["report", "r0"]).await;
    assert!(
        report.status.success() && said(&report).contains("switch-over of shop: left → right"),
        "{}",
        said(&report)
    );
    assert_eq!(typed(&["evacuate", "left", "--yes"]).await.status.code(), Some(2), "nothing is there any more");
    host.stop().await;
}
