//! The quietest situation there is: one service, two healthy sites, nothing to do. Every policy answers it once in
//! each worker before it is asked in earnest, which finds what crashes at once and makes the first real answer quick.
//!
//! Knows no fleet.

use crate::question::Question;
use tidegate_kernel::contract::{
    Autonomy, Consensus, Objectives, Observation, Outcome, SiteView, Situation, State, Status, Strategy, Tier,
    VantageView,
};

/// A service at site `a`, seen well from both of its sites.
pub fn situation() -> Situation {
    Situation {
        now: 1_700_000_000_000,
        time_zone: "UTC".into(),
        epoch: 1,
        service: "self-test".into(),
        tier: Tier::Tier3,
        objectives: Objectives { rto: 300_000, rpo: 60_000, mtpd: None },
        strategy: Strategy::ActivePassive,
        failover: Autonomy::Automatic,
        failback: Autonomy::Manual,
        state: State::Normal,
        state_held: 3_600_000,
        active_site: "a".into(),
        preferred_site: "a".into(),
        vantages: ["a", "b"].map(vantage).into(),
        sites: vec![site("a", 1, 100), site("b", 2, 0)],
        route: None,
        cluster: None,
        dependencies: Vec::new(),
        moves: Vec::new(),
        in_maintenance: false,
        warming_up: false,
        signals: Vec::new(),
        memo: String::new(),
        settings: "{}".into(),
        facts: Vec::new(),
    }
}

/// The same as a question.
pub(crate) fn question() -> Question {
    Question::new(situation())
}

fn vantage(name: &str) -> VantageView {
    VantageView { name: name.into(), failure_domain: name.into(), sound: true, fresh: true }
}

fn site(name: &str, rank: u32, share: u32) -> SiteView {
    SiteView {
        site: name.into(),
        failure_domain: name.into(),
        rank,
        capacity: 100,
        share,
        consensus: Consensus { status: Status::Healthy, agreeing: 2, voting: 2, expected: 2, held: 3_600_000 },
        observations: ["a", "b"].map(observation).into(),
        services_unhealthy: 0,
        services_total: 1,
        facts: Vec::new(),
    }
}

fn observation(vantage: &str) -> Observation {
    Observation {
        vantage: vantage.into(),
        outcome: Outcome::Ok,
        latency: Some(3),
        age: 500,
        consecutive: 60,
        good: 60,
        bad: 0,
        detail: String::new(),
    }
}
