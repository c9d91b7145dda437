//! What the engine's tests share: an engine, a quiet question, and the hostile guests in slots.

use serde_json::json;
use std::sync::Arc;
use tidegate_engine::{
    Decided, Engine, EngineConfig, Grants, LimitSettings, PolicySlot, ProviderSlot, Question, Refusal, RevisionSpec,
};
use tidegate_kernel::contract::{
    Autonomy, Cluster, Consensus, Failure, Finding, Objectives, Observation, Outcome, SiteView, Situation, State,
    Status, Strategy, Tier, VantageView,
};
use tidegate_test_guests as guests;

pub(crate) async fn engine() -> Engine {
    // Shared by the tests, so that each guest is compiled once.
    let cache = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    Engine::start(EngineConfig { policy_workers: 2, cache: Some(cache), ..EngineConfig::default() }).await.unwrap()
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

pub(crate) fn limits(text: serde_json::Value) -> LimitSettings {
    serde_json::from_value(text).unwrap()
}

pub(crate) fn question() -> Question {
    Question::new(situation())
}

/// Three sites, ten vantage points' words on each.
pub(crate) fn situation() -> Situation {
    Situation {
        now: 1_750_000_000_123,
        time_zone: "Europe/Berlin".into(),
        epoch: 7,
        service: "orders".into(),
        tier: Tier::Tier1,
        objectives: Objectives { rto: 60_000, rpo: 5_000, mtpd: Some(3_600_000) },
        strategy: Strategy::ActivePassive,
        failover: Autonomy::Automatic,
        failback: Autonomy::Manual,
        state: State::Normal,
        state_held: 86_400_000,
        active_site: "a".into(),
        preferred_site: "a".into(),
        vantages: ["a", "b", "c"].map(vantage).into(),
        sites: ["a", "b", "c"].into_iter().zip(1..).map(|(name, rank)| site(name, rank)).collect(),
        route: None,
        cluster: Some(Cluster { name: "db".into(), published: None, nodes: vec![], facts: vec![] }),
        dependencies: vec![],
        moves: vec![],
        in_maintenance: false,
        warming_up: false,
        signals: vec![],
        memo: "remember me".into(),
        settings: "{}".into(),
        facts: vec![],
    }
}

fn vantage(name: &str) -> VantageView {
    VantageView { name: name.into(), failure_domain: name.into(), sound: true, fresh: true }
}

fn site(name: &str, rank: u32) -> SiteView {
    let dead = name == "a";
    SiteView {
        site: name.into(),
        failure_domain: name.into(),
        rank,
        capacity: 100,
        share: if dead { 100 } else { 0 },
        consensus: Consensus {
            status: if dead { Status::Unhealthy } else { Status::Healthy },
            agreeing: 3,
            voting: 3,
            expected: 3,
            held: 30_000,
        },
        observations: (0..10).map(|number| observation(number, dead)).collect(),
        services_unhealthy: u32::from(dead),
        services_total: 4,
        facts: vec![],
    }
}

fn observation(number: u32, dead: bool) -> Observation {
    Observation {
        vantage: ["a", "b", "c"][number as usize % 3].into(),
        outcome: if dead { Outcome::TimedOut } else { Outcome::Ok },
        latency: (!dead).then_some(12),
        age: 700,
        consecutive: 9,
        good: if dead { 0 } else { 60 },
        bad: if dead { 9 } else { 0 },
        detail: if dead { "no answer within 1000 ms".into() } else { String::new() },
    }
}
