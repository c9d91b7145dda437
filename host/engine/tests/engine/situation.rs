//! A lost site as a policy is told of it: three sites, thirty observations, a cluster of three that has lost its primary.
//!
//! Knows no policy.

use tidegate_kernel::contract::{
    Autonomy, Cluster, Consensus, Fact, Node, Objectives, Observation, Outcome, Role, Sighting, SiteView, Situation,
    State, Status, Strategy, Tier, VantageView,
};

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
        cluster: Some(Cluster {
            name: "db".into(),
            published: None,
            nodes: ["a", "b", "c"].map(node).into(),
            facts: vec![Fact { key: "primary".into(), value: "db-a".into() }],
        }),
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

fn node(site: &str) -> Node {
    let primary = site == "a";
    let reached = Sighting { vantage: "host".into(), reached: !primary, attempt_age: 100, success_age: Some(400) };
    Node {
        id: format!("db-{site}"),
        site: site.into(),
        role: if primary { Role::Unknown } else { Role::Replica },
        seen_by: vec![reached],
        writable: (!primary).then_some(false),
        fenced: None,
        identity: Some("7301".into()),
        timeline: Some(3),
        forked_at: None,
        received: Some(1 << 30),
        replayed: Some(1 << 30),
        lag_bytes: Some(0),
        lag_at_contact: Some(0),
        contact_age: Some(400),
        upstream: None,
        upstream_heard: Some(400),
        priority: 1,
        facts: vec![],
    }
}
