//! A policy may do what it likes: what counts is a decision that makes sense, and everything else is a named fault.

use crate::support::{decide, engine, limits, policy, policy_slot, question, refused};
use serde_json::json;
use std::sync::Arc;
use tidegate_engine::{PolicyFault, Question};
use tidegate_kernel::contract::{Consensus, Endpoint, Route, Status, Verdict};
use tidegate_kernel::event::Read;
use tidegate_kernel::picture::Health;

/// What stops each rule-breaker. It breaks its rule in the self-test already, so it never gets into a slot.
#[tokio::test]
async fn every_rule_breaker_is_refused_in_its_self_test_by_the_limit_that_it_broke() {
    let engine = engine().await;
    let small = json!({ "fuel": 2_000_000, "memory": "2MiB", "host-calls": 100 });
    let timed = json!({ "fuel": 1_000_000_000_000_u64, "wall-clock": "20ms" });
    let cases = [
        ("loop", &small, "used up its work budget"),
        ("loop", &timed, "not done after 20 ms"),
        ("memory", &small, "memory: 2MiB"),
        ("stack", &timed, "crashed"),
        ("panic", &small, "on purpose"),
        ("hold-and-trap", &small, "with a lock in my hand"),
        ("sleep", &small, "waiting"),
        ("host-calls", &small, "host-calls: 100"),
        ("transfer", &timed, "transfer"),
        ("huge-string", &timed, "output"),
        ("huge-list", &timed, "output"),
        ("memo", &small, "4096"),
        ("mars", &small, "not told of"),
        ("shares", &small, "add up to 140"),
        ("veto", &small, "not told of"),
        ("enum", &small, "without words"),
        ("network", &small, "wasi:sockets/"),
        ("exit", &small, "exit("),
    ];
    for (word, limited, expected) in cases {
        let mut spec = policy(word);
        spec.limits = limits(limited.clone());
        let refusal = refused(&engine, spec).await;
        assert_eq!(refusal.code, "self-test", "{word}: {refusal}");
        assert!(refusal.why.contains(expected), "{word}: expected “{expected}” in: {refusal}");
        assert!(refusal.unchanged.contains("failover/default"));
    }
    assert_eq!(engine.metrics().refusals, cases.len() as u64);
}

#[tokio::test]
async fn loops_before_the_first_question_are_stopped_too() {
    let engine = engine().await;
    for (name, bytes) in
        [("describe", tidegate_test_guests::loops_in_describe()), ("start", tidegate_test_guests::loops_in_start())]
    {
        let mut spec = policy("nothing");
        spec.bytes = bytes.to_vec();
        let refusal = refused(&engine, spec).await;
        assert!(refusal.why.contains("work budget"), "loop in {name}: {refusal}");
    }
}

#[tokio::test]
async fn a_policy_that_turns_bad_later_faults_and_disturbs_nobody() {
    let engine = engine().await;
    // Enough for the quiet situation of the self-test, and not for the real one.
    let mut spec = policy("slow");
    let probe = policy_slot(&engine, policy("slow")).await;
    let needed = decide(&probe).await.fuel;
    spec.limits = limits(json!({ "fuel": needed - 5_000 }));
    spec.slot = "failover/greedy".into();
    let greedy = policy_slot(&engine, spec).await;
    let good = policy_slot(&engine, policy("nothing")).await;
    for _ in 0..20 {
        assert_eq!(decide(&greedy).await.result, Err(PolicyFault::OutOfFuel(needed - 5_000)));
        assert_eq!(decide(&good).await.result.unwrap().verdict, Verdict::Hold);
    }
    assert_eq!(engine.metrics().policy_limits, 20);
}

#[tokio::test]
async fn floods_of_log_are_cut_and_the_decision_counts() {
    let engine = engine().await;
    for word in ["log-flood", "print-flood"] {
        let decided = decide(&policy_slot(&engine, policy(word)).await).await;
        assert!(decided.result.is_ok(), "{word}: {:?}", decided.result);
        let logged: usize = decided.log.iter().map(|line| line.text.len()).sum();
        assert!(logged <= (64 << 10) + 100, "{word}: {logged}");
        assert!(decided.log.last().unwrap().text.contains("cut off"), "{word}");
    }
}

#[tokio::test]
async fn a_policy_sees_the_questions_clock_and_nothing_around_it() {
    let engine = engine().await;
    let slot = policy_slot(&engine, policy("surroundings")).await;
    let first = decide(&slot).await;
    let facts = first.result.clone().unwrap().facts;
    let fact = |key: &str| facts.iter().find(|fact| fact.key == key).unwrap().value.clone();
    assert_eq!(fact("now"), "1750000000123");
    assert_eq!(fact("elapsed"), "0");
    assert_eq!((fact("environment"), fact("arguments")), ("0".into(), "0".into()));
    let again = decide(&slot).await;
    assert_eq!((again.result, again.fuel), (first.result.clone(), first.fuel), "the same question, the same answer");
    let mut other = question();
    Arc::make_mut(&mut other.situation).epoch += 1;
    let other = slot.decide(Arc::new(other)).await;
    assert_ne!(other.result.unwrap().facts, first.result.unwrap().facts, "another question, other randomness");
}

#[tokio::test]
async fn files_are_not_there() {
    let engine = engine().await;
    let decided = decide(&policy_slot(&engine, policy("file")).await).await;
    assert!(decided.result.unwrap().analysis.starts_with("Err("));
}

#[tokio::test]
async fn observations_come_from_the_frozen_picture_and_are_recorded_once_by_what_was_asked() {
    let engine = engine().await;
    let slot = policy_slot(&engine, policy("look")).await;
    let mut asked = question();
    let consensus = Consensus { status: Status::Healthy, agreeing: 2, voting: 5, expected: 5, held: 0 };
    let health = Health { observations: vec![], consensus };
    asked.picture.health.entry("other".into()).or_default().insert("b".into(), health);
    let decided = slot.decide(Arc::new(asked)).await;
    let facts: Vec<_> = decided.result.unwrap().facts.into_iter().map(|fact| fact.value).collect();
    assert_eq!(facts[..3], ["10", "5", "Ok(3)"]);
    assert!(facts[3].contains("not in the picture"));
    let keys: Vec<_> = decided.answers.iter().map(|a| format!("{}({})", a.capability, a.arguments.join(","))).collect();
    assert_eq!(
        keys,
        [
            "health.observations(orders,a)",
            "health.agreed(other,b)",
            "replication.topology(db)",
            "dns.resolve(nowhere.example)"
        ]
    );
    assert_eq!(decided.answers[1].result["voting"], 5);
}

#[tokio::test]
async fn what_a_decision_read_is_all_that_it_takes_to_repeat_it() {
    let engine = engine().await;
    let slot = policy_slot(&engine, policy("look")).await;
    let mut asked = question();
    let consensus = Consensus { status: Status::Degraded, agreeing: 1, voting: 3, expected: 5, held: 7 };
    let observations = asked.situation.sites[0].observations.clone();
    for service in ["other", "unread"] {
        let health = Health { observations: observations.clone(), consensus };
        asked.picture.health.entry(service.into()).or_default().insert("b".into(), health);
    }
    let endpoint = Endpoint { site: "b".into(), target: "192.0.2.7".into(), weight: 100 };
    let route = Route {
        name: "nowhere.example".into(),
        ttl_seconds: 5,
        endpoints: vec![endpoint],
        written_by: Some(3),
        age: 9,
        facts: vec![],
    };
    asked.picture.routes.insert(route.name.clone(), route);
    let first = slot.decide(Arc::new(asked.clone())).await;
    let facts: Vec<_> = first.result.clone().unwrap().facts.into_iter().map(|fact| fact.value).collect();
    assert_eq!((&*facts[1], &*facts[3]), ("3", "Ok(\"nowhere.example\")"));

    let reads: Vec<Read> = first.answers.iter().map(recorded).collect();
    let again = Question::recorded(asked.situation, asked.memo_format, &reads).unwrap();
    assert!(!again.picture.health.contains_key("unread"));
    let again = slot.decide(Arc::new(again)).await;
    assert_eq!((&again.result, again.fuel, &again.answers), (&first.result, first.fuel, &first.answers));

    let blind = slot.decide(Arc::new(question())).await;
    assert_ne!(blind.result, first.result, "the picture has made the difference");
}

fn recorded(answer: &tidegate_engine::Answer) -> Read {
    Read {
        capability: answer.capability.clone(),
        arguments: json!(answer.arguments).to_string(),
        answer: answer.result.to_string(),
    }
}

#[tokio::test]
async fn settings_and_memo_are_those_of_the_revision_that_decides() {
    let engine = engine().await;
    let said = decide(&policy_slot(&engine, policy("say")).await).await;
    assert_eq!(said.result.unwrap().analysis, r#"{"do":"say"}"#, "not the situation's own");
    let slot = policy_slot(&engine, policy("memo-back")).await;
    for (format, memo) in [("words", "remember me"), ("numbers", "")] {
        let asked = Question { memo_format: format.into(), ..question() };
        assert_eq!(slot.decide(Arc::new(asked)).await.result.unwrap().analysis, memo, "{format}");
    }
}

#[tokio::test]
async fn to_decline_is_a_fault_and_not_a_verdict() {
    let engine = engine().await;
    let decided = decide(&policy_slot(&engine, policy("decline")).await).await;
    assert_eq!(decided.result, Err(PolicyFault::Declined("I would rather not".into())));
}
