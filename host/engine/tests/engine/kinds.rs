//! Policies of retention, tiering and cost: asked as failover policies are, and held to the same.

use crate::support::{decide, engine, limits, policy_slot, refused};
use serde_json::json;
use tidegate_engine::{Engine, PolicyFault, PolicySlot, Reply, Request, RevisionSpec, World, neutral};
use tidegate_test_guests as guests;

const KINDS: [World; 3] = [World::Retention, World::Tiering, World::Cost];

fn policy(kind: World, word: &str) -> RevisionSpec {
    let bytes = match kind {
        World::Retention => guests::hostile_retention(),
        World::Tiering => guests::hostile_tiering(),
        _ => guests::hostile_cost(),
    };
    RevisionSpec {
        slot: format!("{kind}/default"),
        source: "hostile.wasm".into(),
        bytes: bytes.to_vec(),
        settings: json!({ "do": word }),
        limits: limits(json!({ "fuel": 2_000_000 })),
        ..RevisionSpec::default()
    }
}

fn request(kind: World) -> Request {
    neutral::request(kind).unwrap()
}

async fn slot(engine: &Engine, kind: World, word: &str) -> PolicySlot {
    policy_slot(engine, policy(kind, word)).await
}

/// The sentence of the first reason.
fn said(reply: &Reply) -> &str {
    let reasons = match reply {
        Reply::Retention(choices) => &choices[0].reasons,
        Reply::Tiering(choices) => &choices[0].reasons,
        Reply::Cost(advice) => &advice.assignments[0].reasons,
        Reply::Failover(decision) => &decision.reasons,
    };
    &reasons[0].text
}

#[tokio::test]
async fn each_kind_is_asked_what_is_its_own_and_answers_in_its_own_words() {
    let engine = engine().await;
    for kind in KINDS {
        let slot = slot(&engine, kind, "hello").await;
        let decided = slot.ask(request(kind)).await;
        let reply = decided.result.unwrap();
        assert_eq!(said(&reply), "hello");
        let same = match &reply {
            Reply::Retention(_) => World::Retention,
            Reply::Tiering(_) => World::Tiering,
            Reply::Cost(_) => World::Cost,
            Reply::Failover(_) => World::Failover,
        };
        assert_eq!(same, kind);
        assert!(decided.fuel > 0 && decided.memory > 0);
    }
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_in_its_self_test() {
    let engine = engine().await;
    let anyone = [("loop", "work budget"), ("panic", "on purpose"), ("shout", "kebab-case")];
    for kind in KINDS {
        let own: &[(&str, &str)] = match kind {
            World::Cost => &[("twice", "two strategies")],
            _ => &[("reorder", "choice 1 is for"), ("forget", "it chooses for")],
        };
        for (word, why) in anyone.iter().chain(own) {
            let refusal = refused(&engine, policy(kind, word)).await;
            assert!(refusal.code == "self-test" && refusal.why.contains(why), "{kind}, {word}: {refusal}");
        }
    }
}

#[tokio::test]
async fn they_decline_and_look_around_as_a_failover_policy_does() {
    let engine = engine().await;
    for kind in KINDS {
        let declined = slot(&engine, kind, "decline").await.ask(request(kind)).await.result;
        assert_eq!(declined, Err(PolicyFault::Declined("I would rather not".into())));

        let looked = slot(&engine, kind, "look").await.ask(request(kind)).await;
        let capabilities: Vec<&str> = looked.answers.iter().map(|answer| answer.capability.as_str()).collect();
        assert!(capabilities.starts_with(&["storage.list-objects", "storage.stat"]), "{capabilities:?}");
        assert_eq!(looked.answers[0].arguments, ["elsewhere", "a/", "", "7"]);
        let nothing = "is not in the picture";
        match (kind, &looked.result) {
            (World::Cost, Err(PolicyFault::Declined(why))) => assert!(why.contains(nothing), "{why}"),
            (_, result) => assert!(said(result.as_ref().unwrap()).contains(nothing)),
        }
    }
}

#[tokio::test]
async fn clocks_stand_at_the_requests_moment_and_chance_repeats_itself() {
    let engine = engine().await;
    for kind in KINDS {
        let slot = slot(&engine, kind, "surroundings").await;
        let once = slot.ask(request(kind)).await;
        let again = slot.ask_on(&engine.workers()[1], &request(kind));
        assert_eq!((&once.result, once.fuel), (&again.result, again.fuel));
        let seen = once.result.unwrap();
        assert!(said(&seen).starts_with(&request(kind).now().to_string()), "{}", said(&seen));
    }
}

#[tokio::test]
async fn nobody_is_asked_what_is_anothers() {
    let engine = engine().await;
    let slot = slot(&engine, World::Retention, "hello").await;
    let asked = decide(&slot).await.result;
    assert!(matches!(&asked, Err(PolicyFault::NotForPolicies(what)) if what.contains("failover")), "{asked:?}");
    let asked = slot.ask(request(World::Cost)).await.result;
    assert!(matches!(&asked, Err(PolicyFault::NotForPolicies(what)) if what.contains("cost")), "{asked:?}");
    let mut misplaced = policy(World::Tiering, "hello");
    misplaced.slot = "cost/default".into();
    assert_eq!(refused(&engine, misplaced).await.code, "wrong-world");
}
