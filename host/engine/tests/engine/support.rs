//! What the engine's tests share: an engine, a quiet question, and the hostile guests in slots.

use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_engine::{
    Decided, Engine, EngineConfig, Grants, LimitSettings, PolicySlot, ProviderSlot, Question, Refusal, RevisionSpec,
};
use tidegate_kernel::contract::{Failure, Finding};
use tidegate_test_guests as guests;

pub(crate) async fn engine() -> Engine {
    engine_with(EngineConfig::default()).await
}

pub(crate) async fn engine_with(config: EngineConfig) -> Engine {
    // Shared by the tests, so that each guest is compiled once.
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    Engine::start(EngineConfig { policy_workers: 2, cache: Some(cache), ..config }).await.unwrap()
}

/// A revision of the hostile policy that breaks the rule named `word`.
pub(crate) fn policy(word: &str) -> RevisionSpec {
    RevisionSpec {
        slot: "failover/default".into(),
        source: "hostile.wasm".into(),
        bytes: guests::hostile_policy().to_vec(),
        settings: json!({ "do": word }),
        ..RevisionSpec::default()
    }
}

pub(crate) fn probe(grants: Grants) -> RevisionSpec {
    RevisionSpec {
        slot: "probe/default".into(),
        source: "hostile.wasm".into(),
        bytes: guests::hostile_provider().to_vec(),
        settings: json!({}),
        grants,
        ..RevisionSpec::default()
    }
}

/// Grants by connect pattern.
pub(crate) fn connect(patterns: &[&str]) -> Grants {
    Grants { connect: patterns.iter().map(|text| text.parse().unwrap()).collect(), ..Grants::default() }
}

pub(crate) async fn policy_slot(engine: &Engine, spec: RevisionSpec) -> PolicySlot {
    PolicySlot::install(engine.stage(spec).await.unwrap()).unwrap()
}

pub(crate) async fn probe_slot(engine: &Engine, spec: RevisionSpec) -> ProviderSlot {
    ProviderSlot::install(engine.stage(spec).await.unwrap()).unwrap()
}

pub(crate) async fn refused(engine: &Engine, spec: RevisionSpec) -> Refusal {
    engine.stage(spec).await.unwrap_err()
}

pub(crate) async fn decide(slot: &PolicySlot) -> Decided {
    slot.decide(Arc::new(question())).await
}

pub(crate) async fn check(slot: &ProviderSlot, target: &str) -> Result<Finding, Failure> {
    slot.check("site", target, 5_000).await
}

pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn limits(text: serde_json::Value) -> LimitSettings {
    serde_json::from_value(text).unwrap()
}

pub(crate) fn question() -> Question {
    Question::new(crate::situation::situation())
}
