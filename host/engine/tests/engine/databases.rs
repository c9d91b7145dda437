//! A database's provider: what it is asked and answers arrives whole, and a cluster that hangs holds up nobody else.

use crate::support::{engine, limits, wait_until};
use serde_json::json;
use std::sync::Arc;
use tidegate_engine::{Engine, Grants, LimitSettings, ProviderSlot, RevisionSpec};
use tidegate_kernel::contract::{Call, Cluster, Fact, Failure, Node, Proof, Role, Sighting, SyncSet};

pub(crate) fn spec(grants: Grants, settings: LimitSettings) -> RevisionSpec {
    RevisionSpec {
        slot: "replication/default".into(),
        source: "echo.wasm".into(),
        bytes: tidegate_test_guests::echo_replication().to_vec(),
        settings: json!({}),
        grants,
        limits: settings,
        ..RevisionSpec::default()
    }
}

async fn slot(engine: &Engine, settings: serde_json::Value) -> Arc<ProviderSlot> {
    let staged = engine.stage(spec(Grants::default(), limits(settings))).await.unwrap();
    Arc::new(ProviderSlot::install(staged).unwrap())
}

pub(crate) fn call(timeout: u64) -> Call {
    Call { epoch: 42, key: "run-7/3".into(), timeout }
}

fn fact(key: &str, value: &str) -> Fact {
    Fact { key: key.into(), value: value.into() }
}

fn nodes() -> Vec<Node> {
    let seen = Sighting { vantage: "v".into(), reached: true, attempt_age: 1, success_age: Some(2) };
    let full = Node {
        id: "a".into(),
        site: "eu-west".into(),
        role: Role::Primary,
        seen_by: vec![seen],
        writable: Some(true),
        fenced: Some(Proof { kind: "stopped".into(), position: Some(3), survives_restart: true, facts: vec![] }),
        identity: Some("orders".into()),
        timeline: Some(4),
        forked_at: Some(5),
        received: Some(6),
        replayed: Some(7),
        lag_bytes: Some(8),
        lag_at_contact: Some(9),
        contact_age: Some(10),
        upstream: Some("u".into()),
        upstream_heard: Some(11),
        priority: 12,
        facts: vec![fact("f", "g")],
    };
    let bare = Node {
        id: "b".into(),
        site: "eu-east".into(),
        role: Role::Unknown,
        seen_by: vec![],
        writable: None,
        fenced: None,
        identity: None,
        timeline: None,
        forked_at: None,
        received: None,
        replayed: None,
        lag_bytes: None,
        lag_at_contact: None,
        contact_age: None,
        upstream: None,
        upstream_heard: None,
        priority: 0,
        facts: vec![],
    };
    vec![full, bare]
}

#[tokio::test]
async fn a_topology_arrives_whole() {
    let slot = slot(&engine().await, json!({})).await;
    let published = Some(SyncSet { nodes: vec!["b".into(), "c".into()], wait_for: 1, epoch: 7 });
    let expected = Cluster { name: "orders".into(), published, nodes: nodes(), facts: vec![fact("k", "v")] };
    assert_eq!(slot.topology("orders").await.unwrap(), expected);
}

#[tokio::test]
async fn what_is_asked_of_a_node_arrives_whole_with_epoch_key_and_timeout() {
    let slot = slot(&engine().await, json!({})).await;
    let call = call(5_000);
    let proof = slot.fence("orders", "a", &call).await.unwrap();
    let facts = vec![fact("cluster", "orders"), fact("node", "a"), fact("call", "42 run-7/3 5000")];
    assert_eq!(proof, Proof { kind: "stopped".into(), position: Some(u64::MAX), survives_restart: true, facts });
    let set = SyncSet { nodes: vec!["b".into()], wait_for: 1, epoch: 9 };
    for (done, expected) in [
        (slot.unfence("orders", "a", &call).await, "unfence orders a"),
        (slot.detach("orders", "b", &call).await, "detach orders b"),
        (slot.catch_up("orders", "b", "c", &call).await, "catch-up orders b c"),
        (slot.promote("orders", "b", &call).await, "promote orders b"),
        (slot.rejoin("orders", "a", "b", &call).await, "rejoin orders a b"),
        (slot.set_synchronous("orders", "a", &set, &call).await, "set-synchronous orders a [\"b\"] 1 9"),
    ] {
        assert_eq!(done, Err(Failure::Rejected(format!("{expected} 42 run-7/3 5000"))));
    }
    for done in [slot.promote("orders", "fine", &call).await, slot.rejoin("orders", "fine", "b", &call).await] {
        assert_eq!(done, Ok(()));
    }
    let checks = ["select 1".to_owned(), "select 2".to_owned()];
    let answers = slot.verify("orders", "a", &checks, &call).await.unwrap();
    assert_eq!(answers, ["orders a select 1 42 run-7/3 5000", "orders a select 2 42 run-7/3 5000"]);
    let failure = slot.verify("orders", "forgets", &checks, &call).await.unwrap_err();
    assert!(matches!(&failure, Failure::UnknownOutcome(text) if text.contains("0 of 2")), "{failure}");
}

#[tokio::test]
async fn every_failure_arrives_as_it_was_meant() {
    let slot = slot(&engine().await, json!({})).await;
    for (name, expected) in [
        ("denied:why", Failure::Denied("why".into())),
        ("not-found:why", Failure::NotFound("why".into())),
        ("invalid:why", Failure::Invalid("why".into())),
        ("busy:70", Failure::Busy(70)),
        ("rejected:why", Failure::Rejected("why".into())),
        ("stale:43", Failure::Stale(43)),
        ("unknown-outcome:why", Failure::UnknownOutcome("why".into())),
    ] {
        assert_eq!(slot.topology(name).await.unwrap_err(), expected);
        assert_eq!(slot.promote("orders", name, &call(5_000)).await.unwrap_err(), expected);
    }
    assert_eq!(slot.health().recent_traps, 0, "a failure is an answer");
}

#[tokio::test]
async fn a_change_lasts_as_long_as_its_own_timeout_and_a_look_no_longer_than_the_wall_clock() {
    let slot = slot(&engine().await, json!({ "wall-clock": "2s" })).await;
    let long = slot.rejoin("orders", "sleep:3000", "b", &call(60_000)).await;
    assert!(matches!(&long, Err(Failure::Rejected(text)) if text.starts_with("rejoin orders")), "{long:?}");
    let cut = slot.rejoin("orders", "sleep:60000", "b", &call(100)).await;
    assert!(matches!(&cut, Err(Failure::UnknownOutcome(text)) if text.contains("within 350 ms")), "{cut:?}");
    let late = slot.topology("sleep:60000").await;
    assert!(matches!(&late, Err(Failure::UnknownOutcome(text)) if text.contains("within 2000 ms")), "{late:?}");
}

#[tokio::test]
async fn a_cluster_that_hangs_holds_up_neither_its_own_looks_nor_another_cluster() {
    let slot = slot(&engine().await, json!({ "pool": 4, "bulkhead": 1 })).await;
    let hang =
        |slot: Arc<ProviderSlot>| async move { slot.rejoin("orders", "sleep:600000", "b", &call(600_000)).await };
    let hanging = tokio::spawn(hang(slot.clone()));
    wait_until("the rejoin is under way", || slot.health().busy == 1).await;
    assert!(slot.topology("orders").await.is_ok(), "its own look");
    assert!(slot.promote("billing", "fine", &call(5_000)).await.is_ok(), "another cluster's change");
    let second = slot.promote("orders", "fine", &call(50)).await;
    assert!(matches!(second, Err(Failure::Busy(_))), "one change at a time, where the operator says so: {second:?}");
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test]
async fn a_swap_waits_for_a_change_that_outlasts_the_wall_clock() {
    let engine = engine().await;
    let slot = slot(&engine, json!({ "wall-clock": "2s" })).await;
    let rejoining = tokio::spawn({
        let slot = slot.clone();
        async move { slot.rejoin("orders", "sleep:4000", "b", &call(60_000)).await }
    });
    wait_until("the rejoin is under way", || slot.health().busy == 1).await;
    let staged = engine.stage(spec(Grants::default(), limits(json!({})))).await.unwrap();
    slot.swap(staged).await.unwrap();
    let done = rejoining.await.unwrap();
    assert!(matches!(&done, Err(Failure::Rejected(text)) if text.starts_with("rejoin orders")), "{done:?}");
}
