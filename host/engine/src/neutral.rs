//! The quietest situation there is: one service, two healthy sites, nothing to do; and for each other kind of policy something
//! as plain. Every policy answers its own once in each worker before it is asked in earnest, which finds what crashes at once and
//! makes the first real answer quick.
//!
//! Knows no fleet.

use crate::{question::Question, request::Request, world::World};
use std::sync::Arc;
use tidegate_kernel::contract::{
    Autonomy, Consensus, Money, Objectives, Observation, Outcome, SiteView, Situation, State, Status, Strategy, Tier,
    Timestamp, VantageView, cost, retention,
    storage::{Object, StorageClass},
    tiering,
};

/// When all of this is.
const NOW: Timestamp = 1_700_000_000_000;
const DAY: u64 = 86_400_000;
/// Of whatever currency.
const UNIT: Money = 1_000_000;

/// What a policy of that world is asked; none = the world decides nothing.
pub fn request(world: World) -> Option<Request> {
    match world {
        World::Failover => Some(Request::Failover(Arc::new(Question::new(situation())))),
        World::Retention => Some(Request::Retention(Arc::new(backups()))),
        World::Tiering => Some(Request::Tiering(Arc::new(objects()))),
        World::Cost => Some(Request::Cost(Arc::new(spending()))),
        _ => None,
    }
}

/// A service at site `a`, seen well from both of its sites.
pub fn situation() -> Situation {
    Situation {
        now: NOW,
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

/// A full backup of last week and what has changed since, and a full one of three months ago that nobody needs.
fn backups() -> retention::Request {
    retention::Request {
        now: NOW,
        dataset: retention::Dataset {
            name: "self-test".into(),
            classification: "internal".into(),
            regulations: Vec::new(),
            minimum_age: Some(7 * DAY),
            time_zone: "UTC".into(),
            facts: Vec::new(),
        },
        backups: vec![
            backup("full-1", retention::Kind::Full, None, 90),
            backup("full-2", retention::Kind::Full, None, 8),
            backup("change-1", retention::Kind::Incremental, Some("full-2"), 1),
        ],
        facts: Vec::new(),
    }
}

fn backup(id: &str, kind: retention::Kind, parent: Option<&str>, days_ago: u64) -> retention::Backup {
    retention::Backup {
        id: id.into(),
        kind,
        parent: parent.map(Into::into),
        taken_at: NOW - days_ago * DAY,
        size: 10 << 30,
        verified_at: None,
        locations: vec!["a".into()],
        locked_until: None,
        holds: Vec::new(),
        tags: Vec::new(),
        facts: Vec::new(),
    }
}

/// An object that was read today, and one that nobody has read for a year; three classes at one location.
fn objects() -> tiering::Request {
    let class = |stored_as, month, retrieval, minimum_days, retrieval_time| tiering::Price {
        stored_as,
        location: "a".into(),
        gigabyte_month: month,
        retrieval_gigabyte: retrieval,
        thousand_requests: 5_000,
        minimum_days,
        minimum_bytes: 128 << 10,
        retrieval_time,
    };
    tiering::Request {
        now: NOW,
        bucket: "self-test".into(),
        rto: Some(3_600_000),
        items: vec![item("read-today", 0), item("not-read-for-a-year", 365)],
        prices: vec![
            class(StorageClass::Hot, 23_000, 0, 0, 0),
            class(StorageClass::Cool, 10_000, 10_000, 30, 0),
            class(StorageClass::Archive, 1_000, 20_000, 180, 12 * 3_600_000),
        ],
        facts: Vec::new(),
    }
}

fn item(key: &str, days_ago: u64) -> tiering::Item {
    let object = Object {
        key: key.into(),
        version: None,
        size: 100 << 30,
        stored_as: StorageClass::Hot,
        stored_since: NOW - 400 * DAY,
        location: "a".into(),
        created_at: NOW - 400 * DAY,
        accessed_at: Some(NOW - days_ago * DAY),
        checksum: None,
        locked_until: None,
        legal_hold: false,
        tags: Vec::new(),
        facts: Vec::new(),
    };
    tiering::Item { object, only_verified_copy: false }
}

/// A service with three ways to protect it, of which it has the dearest; and a machine that idles.
fn spending() -> cost::Request {
    let offer = |strategy, monthly: Money, rto, rpo| cost::Offer {
        strategy,
        monthly: monthly * UNIT,
        monthly_failed_over: monthly * UNIT,
        rto,
        rpo,
        sites: vec!["a".into(), "b".into()],
    };
    cost::Request {
        now: NOW,
        currency: "EUR".into(),
        monthly_budget: Some(2_000 * UNIT),
        services: vec![cost::ProtectedService {
            service: "self-test".into(),
            tier: Tier::Tier3,
            objectives: Objectives { rto: 3_600_000, rpo: 300_000, mtpd: None },
            impact_per_hour: 500 * UNIT,
            incidents_per_year: 2.0,
            current: Strategy::ActivePassive,
            offers: vec![
                offer(Strategy::ActivePassive, 900, 60_000, 0),
                offer(Strategy::PilotLight, 300, 1_800_000, 60_000),
                offer(Strategy::BackupRestore, 50, 14_400_000, 3_600_000),
            ],
            dependencies: Vec::new(),
            processing: Vec::new(),
            backups: Vec::new(),
            facts: Vec::new(),
        }],
        assets: vec![cost::Asset {
            id: "standby-1".into(),
            kind: "machine".into(),
            service: "self-test".into(),
            site: "b".into(),
            monthly: 400 * UNIT,
            utilisation: 0.04,
            facts: Vec::new(),
        }],
        facts: Vec::new(),
    }
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
