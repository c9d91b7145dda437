//! A policy is replaced in full flight: nothing is dropped, and nothing of the old revision counts afterwards.

use crate::support::{decide, engine, policy, policy_slot, probe, probe_slot, question};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use std::time::Duration;
use tidegate_engine::{Grants, PolicySlot};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_load_nothing_is_dropped_and_nothing_old_counts_after_the_acknowledgement() {
    let engine = engine().await;
    // A busy machine may take its time; that is not what is tested here.
    let patient = |word: &str| {
        let mut spec = policy(word);
        spec.limits = crate::support::limits(serde_json::json!({ "wall-clock": "1m" }));
        spec
    };
    let slot = Arc::new(policy_slot(&engine, patient("nothing")).await);
    let acknowledged = Arc::new(AtomicU64::new(slot.revision().number));
    let load = Arc::new(Load::default());
    let callers: Vec<_> = (0..8).map(|_| tokio::spawn(ask(slot.clone(), acknowledged.clone(), load.clone()))).collect();
    for round in 0..10 {
        load.at_least(10 * (round + 1)).await;
        let swapped = slot.swap(engine.stage(patient(&format!("nothing-{round}"))).await.unwrap()).await.unwrap();
        acknowledged.store(swapped.to, Ordering::SeqCst);
    }
    load.at_least(200).await;
    load.done.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(engine.metrics().swaps, 10);
}

/// What the callers have had answered, and whether they may stop.
#[derive(Default)]
struct Load {
    decided: AtomicU64,
    done: AtomicBool,
}

impl Load {
    /// Waits for so many answers, so that each swap finds the callers at work, however slow the machine.
    async fn at_least(&self, answers: u64) {
        let answered = async {
            while self.decided.load(Ordering::SeqCst) < answers {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), answered).await.expect("the callers no longer get answers");
    }
}

/// Asks until told to stop; every question gets an answer, and none is older than the last acknowledgement.
async fn ask(slot: Arc<PolicySlot>, acknowledged: Arc<AtomicU64>, load: Arc<Load>) {
    let question = Arc::new(question());
    while !load.done.load(Ordering::SeqCst) {
        slot.decide_then(question.clone(), |found| {
            assert!(found.result.is_ok(), "{:?}", found.result);
            assert!(found.revision >= acknowledged.load(Ordering::SeqCst), "an old revision counted");
        })
        .await;
        load.decided.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_bad_candidate_changes_nothing_and_a_rollback_needs_no_compiler() {
    let engine = engine().await;
    let slot = policy_slot(&engine, policy("say")).await;
    let before = slot.revision().number;
    assert_eq!(slot.rollback().await.unwrap_err().code, "nothing-before");
    for bad in ["panic", "refuse-me", "mars"] {
        assert!(engine.stage(policy(bad)).await.is_err());
    }
    let mut elsewhere = policy("nothing");
    elsewhere.slot = "failover/other".into();
    assert_eq!(slot.swap(engine.stage(elsewhere).await.unwrap()).await.unwrap_err().code, "other-slot");
    let provider = engine.stage(probe(Grants::default())).await.unwrap();
    assert_eq!(slot.swap(provider).await.unwrap_err().code, "wrong-slot");
    assert_eq!((slot.revision().number, decide(&slot).await.revision), (before, before));
    let swapped = slot.swap(engine.stage(policy("nothing")).await.unwrap()).await.unwrap();
    assert!(swapped.from == before && swapped.to > before);
    let back = slot.rollback().await.unwrap();
    assert!(back.to > swapped.to, "numbers only grow");
    let decided = decide(&slot).await;
    assert_eq!(decided.result.unwrap().analysis, r#"{"do":"say"}"#);
}

#[tokio::test]
async fn recorded_cases_have_to_pass_before_a_policy_may_serve() {
    let engine = engine().await;
    let mut spec = policy("decline");
    assert!(engine.stage(spec.clone()).await.is_ok());
    spec.cases = vec![crate::situation::situation()];
    let refusal = engine.stage(spec).await.unwrap_err();
    assert!(refusal.why.contains("case 1 (orders)"), "{refusal}");
}

#[tokio::test]
async fn a_replaced_provider_finishes_what_it_began() {
    let engine = engine().await;
    let slot = Arc::new(probe_slot(&engine, probe(Grants::default())).await);
    let under_way = tokio::spawn({
        let slot = slot.clone();
        async move { slot.check("site", "sleep 300", 5_000).await }
    });
    while slot.health().busy == 0 {
        tokio::task::yield_now().await;
    }
    let staged = engine.stage(probe(Grants::default())).await.unwrap();
    slot.swap(staged).await.unwrap();
    assert!(under_way.is_finished() || under_way.await.unwrap().is_ok(), "the swap waited for it");
    assert_eq!(crate::support::check(&slot, "ok").await.unwrap().detail, "1", "a new instance");
}
