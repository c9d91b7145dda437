//! A situation lent to a policy: strings stay where they are and are copied once, into the guest.
//!
//! These records mirror `failover-policy.situation`; loading a policy checks them against the component's own type.

use crate::bindings::policies::{
    exports::tidegate::dr::failover_policy::{Autonomy, State},
    tidegate::dr::{health, replication, types},
};
use tidegate_kernel::contract as plain;
use wasmtime::component::{ComponentType, Lower};

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Situation<'a> {
    now: u64,
    #[component(name = "time-zone")]
    time_zone: &'a str,
    epoch: u64,
    service: &'a str,
    tier: types::Tier,
    objectives: Objectives,
    strategy: types::Strategy,
    failover: Autonomy,
    failback: Autonomy,
    state: State,
    #[component(name = "state-held")]
    state_held: u64,
    #[component(name = "active-site")]
    active_site: &'a str,
    #[component(name = "preferred-site")]
    preferred_site: &'a str,
    vantages: Vec<VantageView<'a>>,
    sites: Vec<SiteView<'a>>,
    route: Option<Route<'a>>,
    cluster: Option<Cluster<'a>>,
    dependencies: Vec<Dependency<'a>>,
    moves: Vec<PastMove<'a>>,
    #[component(name = "in-maintenance")]
    in_maintenance: bool,
    #[component(name = "warming-up")]
    warming_up: bool,
    signals: Vec<SignalValue<'a>>,
    memo: &'a str,
    settings: &'a str,
    facts: Vec<Fact<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Fact<'a> {
    key: &'a str,
    value: &'a str,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Objectives {
    rto: u64,
    rpo: u64,
    mtpd: Option<u64>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Observation<'a> {
    vantage: &'a str,
    outcome: health::Outcome,
    latency: Option<u64>,
    age: u64,
    consecutive: u32,
    good: u32,
    bad: u32,
    detail: &'a str,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Consensus {
    status: health::Status,
    agreeing: u32,
    voting: u32,
    expected: u32,
    held: u64,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Sighting<'a> {
    vantage: &'a str,
    reached: bool,
    #[component(name = "attempt-age")]
    attempt_age: u64,
    #[component(name = "success-age")]
    success_age: Option<u64>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Proof<'a> {
    kind: &'a str,
    position: Option<u64>,
    #[component(name = "survives-restart")]
    survives_restart: bool,
    facts: Vec<Fact<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Node<'a> {
    id: &'a str,
    site: &'a str,
    role: replication::Role,
    #[component(name = "seen-by")]
    seen_by: Vec<Sighting<'a>>,
    writable: Option<bool>,
    fenced: Option<Proof<'a>>,
    identity: Option<&'a str>,
    timeline: Option<u64>,
    #[component(name = "forked-at")]
    forked_at: Option<u64>,
    received: Option<u64>,
    replayed: Option<u64>,
    #[component(name = "lag-bytes")]
    lag_bytes: Option<u64>,
    #[component(name = "lag-at-contact")]
    lag_at_contact: Option<u64>,
    #[component(name = "contact-age")]
    contact_age: Option<u64>,
    upstream: Option<&'a str>,
    #[component(name = "upstream-heard")]
    upstream_heard: Option<u64>,
    priority: u32,
    facts: Vec<Fact<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct SyncSet<'a> {
    nodes: &'a [String],
    #[component(name = "wait-for")]
    wait_for: u32,
    epoch: u64,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Cluster<'a> {
    name: &'a str,
    published: Option<SyncSet<'a>>,
    nodes: Vec<Node<'a>>,
    facts: Vec<Fact<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Endpoint<'a> {
    site: &'a str,
    target: &'a str,
    weight: u32,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Route<'a> {
    name: &'a str,
    #[component(name = "ttl-seconds")]
    ttl_seconds: u32,
    endpoints: Vec<Endpoint<'a>>,
    #[component(name = "written-by")]
    written_by: Option<u64>,
    age: u64,
    facts: Vec<Fact<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct VantageView<'a> {
    name: &'a str,
    #[component(name = "failure-domain")]
    failure_domain: &'a str,
    sound: bool,
    fresh: bool,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct SiteView<'a> {
    site: &'a str,
    #[component(name = "failure-domain")]
    failure_domain: &'a str,
    rank: u32,
    capacity: u32,
    share: u32,
    consensus: Consensus,
    observations: Vec<Observation<'a>>,
    #[component(name = "services-unhealthy")]
    services_unhealthy: u32,
    #[component(name = "services-total")]
    services_total: u32,
    facts: Vec<Fact<'a>>,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct Dependency<'a> {
    service: &'a str,
    status: health::Status,
    #[component(name = "active-site")]
    active_site: &'a str,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct PastMove<'a> {
    #[component(name = "finished-ago")]
    finished_ago: u64,
    #[component(name = "from-site")]
    from_site: &'a str,
    #[component(name = "to-site")]
    to_site: &'a str,
    succeeded: bool,
    automatic: bool,
}

#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct SignalValue<'a> {
    name: &'a str,
    site: Option<&'a str>,
    value: f64,
    age: u64,
}

impl<'a> Situation<'a> {
    /// `memo` and `settings` are those of the revision that decides, not of the one that was active when the
    /// situation was drawn up.
    pub(crate) fn lend(from: &'a plain::Situation, memo: &'a str, settings: &'a str) -> Self {
        Situation {
            now: from.now,
            time_zone: &from.time_zone,
            epoch: from.epoch,
            service: &from.service,
            tier: from.tier.into(),
            objectives: (&from.objectives).into(),
            strategy: from.strategy.into(),
            failover: from.failover.into(),
            failback: from.failback.into(),
            state: from.state.into(),
            state_held: from.state_held,
            active_site: &from.active_site,
            preferred_site: &from.preferred_site,
            vantages: lend(&from.vantages),
            sites: lend(&from.sites),
            route: from.route.as_ref().map(Into::into),
            cluster: from.cluster.as_ref().map(Into::into),
            dependencies: lend(&from.dependencies),
            moves: lend(&from.moves),
            in_maintenance: from.in_maintenance,
            warming_up: from.warming_up,
            signals: lend(&from.signals),
            memo,
            settings,
            facts: lend(&from.facts),
        }
    }
}

fn lend<'a, A, B: From<&'a A>>(items: &'a [A]) -> Vec<B> {
    items.iter().map(B::from).collect()
}

impl<'a> From<&'a plain::Fact> for Fact<'a> {
    fn from(from: &'a plain::Fact) -> Self {
        Fact { key: &from.key, value: &from.value }
    }
}

impl From<&plain::Objectives> for Objectives {
    fn from(from: &plain::Objectives) -> Self {
        Objectives { rto: from.rto, rpo: from.rpo, mtpd: from.mtpd }
    }
}

impl<'a> From<&'a plain::Observation> for Observation<'a> {
    fn from(from: &'a plain::Observation) -> Self {
        Observation {
            vantage: &from.vantage,
            outcome: from.outcome.into(),
            latency: from.latency,
            age: from.age,
            consecutive: from.consecutive,
            good: from.good,
            bad: from.bad,
            detail: &from.detail,
        }
    }
}

impl From<&plain::Consensus> for Consensus {
    fn from(from: &plain::Consensus) -> Self {
        Consensus {
            status: from.status.into(),
            agreeing: from.agreeing,
            voting: from.voting,
            expected: from.expected,
            held: from.held,
        }
    }
}

impl<'a> From<&'a plain::Sighting> for Sighting<'a> {
    fn from(from: &'a plain::Sighting) -> Self {
        Sighting {
            vantage: &from.vantage,
            reached: from.reached,
            attempt_age: from.attempt_age,
            success_age: from.success_age,
        }
    }
}

impl<'a> From<&'a plain::Proof> for Proof<'a> {
    fn from(from: &'a plain::Proof) -> Self {
        Proof {
            kind: &from.kind,
            position: from.position,
            survives_restart: from.survives_restart,
            facts: lend(&from.facts),
        }
    }
}

impl<'a> From<&'a plain::Node> for Node<'a> {
    fn from(from: &'a plain::Node) -> Self {
        Node {
            id: &from.id,
            site: &from.site,
            role: from.role.into(),
            seen_by: lend(&from.seen_by),
            writable: from.writable,
            fenced: from.fenced.as_ref().map(Into::into),
            identity: from.identity.as_deref(),
            timeline: from.timeline,
            forked_at: from.forked_at,
            received: from.received,
            replayed: from.replayed,
            lag_bytes: from.lag_bytes,
            lag_at_contact: from.lag_at_contact,
            contact_age: from.contact_age,
            upstream: from.upstream.as_deref(),
            upstream_heard: from.upstream_heard,
            priority: from.priority,
            facts: lend(&from.facts),
        }
    }
}

impl<'a> From<&'a plain::SyncSet> for SyncSet<'a> {
    fn from(from: &'a plain::SyncSet) -> Self {
        SyncSet { nodes: &from.nodes, wait_for: from.wait_for, epoch: from.epoch }
    }
}

impl<'a> From<&'a plain::Cluster> for Cluster<'a> {
    fn from(from: &'a plain::Cluster) -> Self {
        Cluster {
            name: &from.name,
            published: from.published.as_ref().map(Into::into),
            nodes: lend(&from.nodes),
            facts: lend(&from.facts),
        }
    }
}

impl<'a> From<&'a plain::Endpoint> for Endpoint<'a> {
    fn from(from: &'a plain::Endpoint) -> Self {
        Endpoint { site: &from.site, target: &from.target, weight: from.weight }
    }
}

impl<'a> From<&'a plain::Route> for Route<'a> {
    fn from(from: &'a plain::Route) -> Self {
        Route {
            name: &from.name,
            ttl_seconds: from.ttl_seconds,
            endpoints: lend(&from.endpoints),
            written_by: from.written_by,
            age: from.age,
            facts: lend(&from.facts),
        }
    }
}

impl<'a> From<&'a plain::VantageView> for VantageView<'a> {
    fn from(from: &'a plain::VantageView) -> Self {
        VantageView { name: &from.name, failure_domain: &from.failure_domain, sound: from.sound, fresh: from.fresh }
    }
}

impl<'a> From<&'a plain::SiteView> for SiteView<'a> {
    fn from(from: &'a plain::SiteView) -> Self {
        SiteView {
            site: &from.site,
            failure_domain: &from.failure_domain,
            rank: from.rank,
            capacity: from.capacity,
            share: from.share,
            consensus: (&from.consensus).into(),
            observations: lend(&from.observations),
            services_unhealthy: from.services_unhealthy,
            services_total: from.services_total,
            facts: lend(&from.facts),
        }
    }
}

impl<'a> From<&'a plain::Dependency> for Dependency<'a> {
    fn from(from: &'a plain::Dependency) -> Self {
        Dependency { service: &from.service, status: from.status.into(), active_site: &from.active_site }
    }
}

impl<'a> From<&'a plain::PastMove> for PastMove<'a> {
    fn from(from: &'a plain::PastMove) -> Self {
        PastMove {
            finished_ago: from.finished_ago,
            from_site: &from.from_site,
            to_site: &from.to_site,
            succeeded: from.succeeded,
            automatic: from.automatic,
        }
    }
}

impl<'a> From<&'a plain::SignalValue> for SignalValue<'a> {
    fn from(from: &'a plain::SignalValue) -> Self {
        SignalValue { name: &from.name, site: from.site.as_deref(), value: from.value, age: from.age }
    }
}
