//! Answers from the frozen picture, as a policy's imports return them; and the enums that both directions share.
//!
//! Knows nothing of how a picture is searched.

use super::{list, same_enum, same_record};
use crate::bindings::policies::{
    exports::tidegate::dr::failover_policy as policy,
    tidegate::dr::{dns, health, log, replication, types},
};
use tidegate_kernel::contract as plain;

same_enum!(plain::Tier, types::Tier, { Tier1, Tier2, Tier3, Tier4 });
same_enum!(plain::Strategy, types::Strategy, { ActiveActive, ActivePassive, PilotLight, BackupRestore });
same_enum!(plain::Outcome, health::Outcome, { Ok, Slow, Refused, TimedOut, Partial, Unauthorized, WriteFailed, Corrupt, Error });
same_enum!(plain::Status, health::Status, { Healthy, Degraded, Unhealthy, Unknown });
same_enum!(plain::Role, replication::Role, { Primary, Replica, Unknown });
same_enum!(plain::State, policy::State, { Normal, Degraded, FailingOver, FailedOver, FailingBack });
same_enum!(plain::Autonomy, policy::Autonomy, { Automatic, SemiAutomatic, Manual });
same_enum!(crate::log::Level, log::Level, { Debug, Info, Warn, Error });

same_record!(plain::Fact => types::Fact, { key, value });
same_record!(plain::Observation => health::Observation, { vantage, outcome, latency, age, consecutive, good, bad, detail });
same_record!(plain::Consensus => health::Consensus, { status, agreeing, voting, expected, held });
same_record!(plain::Sighting => replication::Sighting, { vantage, reached, attempt_age, success_age });
same_record!(plain::SyncSet => replication::SyncSet, { nodes, wait_for, epoch });
same_record!(plain::Endpoint => dns::Endpoint, { site, target, weight });

impl From<plain::Proof> for replication::Proof {
    fn from(from: plain::Proof) -> Self {
        replication::Proof {
            kind: from.kind,
            position: from.position,
            survives_restart: from.survives_restart,
            facts: list(from.facts),
        }
    }
}

impl From<plain::Node> for replication::Node {
    fn from(from: plain::Node) -> Self {
        replication::Node {
            id: from.id,
            site: from.site,
            role: from.role.into(),
            seen_by: list(from.seen_by),
            writable: from.writable,
            fenced: from.fenced.map(Into::into),
            identity: from.identity,
            timeline: from.timeline,
            forked_at: from.forked_at,
            received: from.received,
            replayed: from.replayed,
            lag_bytes: from.lag_bytes,
            lag_at_contact: from.lag_at_contact,
            contact_age: from.contact_age,
            upstream: from.upstream,
            upstream_heard: from.upstream_heard,
            priority: from.priority,
            facts: list(from.facts),
        }
    }
}

impl From<plain::Cluster> for replication::Cluster {
    fn from(from: plain::Cluster) -> Self {
        replication::Cluster {
            name: from.name,
            published: from.published.map(Into::into),
            nodes: list(from.nodes),
            facts: list(from.facts),
        }
    }
}

impl From<plain::Route> for dns::Route {
    fn from(from: plain::Route) -> Self {
        dns::Route {
            name: from.name,
            ttl_seconds: from.ttl_seconds,
            endpoints: list(from.endpoints),
            written_by: from.written_by,
            age: from.age,
            facts: list(from.facts),
        }
    }
}

impl From<plain::Failure> for types::Failure {
    fn from(from: plain::Failure) -> Self {
        match from {
            plain::Failure::Denied(text) => types::Failure::Denied(text),
            plain::Failure::NotFound(text) => types::Failure::NotFound(text),
            plain::Failure::Invalid(text) => types::Failure::Invalid(text),
            plain::Failure::Busy(wait) => types::Failure::Busy(wait),
            plain::Failure::Rejected(text) => types::Failure::Rejected(text),
            plain::Failure::Stale(epoch) => types::Failure::Stale(epoch),
            plain::Failure::UnknownOutcome(text) => types::Failure::UnknownOutcome(text),
        }
    }
}
