//! What providers are asked and what they answer.
//!
//! Knows no rule but one: a failure that a provider reports is passed on as it is.

use super::{list, same_enum, same_record};
use crate::bindings::providers::{
    exports::tidegate::dr::{action, dns, notify, plugin, probe, replication},
    tidegate::dr::{command, control, health, log, types},
};
use tidegate_kernel::contract as plain;

same_enum!(plain::Outcome, health::Outcome, { Ok, Slow, Refused, TimedOut, Partial, Unauthorized, WriteFailed, Corrupt, Error });
same_enum!(plain::Severity, notify::Severity, { Info, Warning, Critical });
same_enum!(crate::log::Level, log::Level, { Debug, Info, Warn, Error });
same_enum!(plain::Role, replication::Role, { Primary, Replica, Unknown });

same_record!(plain::Fact => types::Fact, { key, value });
same_record!(types::Fact => plain::Fact, { key, value });
same_record!(plain::Call => control::Call, { epoch, key, timeout });
same_record!(plain::Endpoint => dns::Endpoint, { site, target, weight });
same_record!(dns::Endpoint => plain::Endpoint, { site, target, weight });
same_record!(probe::Finding => plain::Finding, { outcome, latency, detail });
same_record!(action::Done => plain::Done, { text, receipt });
same_record!(plugin::Problem => plain::Problem, { at, text });
same_record!(plain::Output => command::Output, { status, stdout, stderr });
same_record!(replication::Sighting => plain::Sighting, { vantage, reached, attempt_age, success_age });
same_record!(replication::SyncSet => plain::SyncSet, { nodes, wait_for, epoch });
same_record!(plain::SyncSet => replication::SyncSet, { nodes, wait_for, epoch });

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

impl From<dns::Route> for plain::Route {
    fn from(from: dns::Route) -> Self {
        plain::Route {
            name: from.name,
            ttl_seconds: from.ttl_seconds,
            endpoints: list(from.endpoints),
            written_by: from.written_by,
            age: from.age,
            facts: list(from.facts),
        }
    }
}

impl From<plain::Message> for notify::Message {
    fn from(from: plain::Message) -> Self {
        notify::Message {
            severity: from.severity.into(),
            subject: from.subject,
            body: from.body,
            at: from.at,
            facts: list(from.facts),
        }
    }
}

impl From<replication::Proof> for plain::Proof {
    fn from(from: replication::Proof) -> Self {
        plain::Proof {
            kind: from.kind,
            position: from.position,
            survives_restart: from.survives_restart,
            facts: list(from.facts),
        }
    }
}

impl From<replication::Node> for plain::Node {
    fn from(from: replication::Node) -> Self {
        plain::Node {
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

impl From<replication::Cluster> for plain::Cluster {
    fn from(from: replication::Cluster) -> Self {
        plain::Cluster {
            name: from.name,
            published: from.published.map(Into::into),
            nodes: list(from.nodes),
            facts: list(from.facts),
        }
    }
}

impl From<types::Failure> for plain::Failure {
    fn from(from: types::Failure) -> Self {
        match from {
            types::Failure::Denied(text) => plain::Failure::Denied(text),
            types::Failure::NotFound(text) => plain::Failure::NotFound(text),
            types::Failure::Invalid(text) => plain::Failure::Invalid(text),
            types::Failure::Busy(wait) => plain::Failure::Busy(wait),
            types::Failure::Rejected(text) => plain::Failure::Rejected(text),
            types::Failure::Stale(epoch) => plain::Failure::Stale(epoch),
            types::Failure::UnknownOutcome(text) => plain::Failure::UnknownOutcome(text),
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

impl From<plugin::Want> for plain::Want {
    fn from(from: plugin::Want) -> Self {
        match from {
            plugin::Want::Connect(what) => plain::Want::Connect(what),
            plugin::Want::Secret(what) => plain::Want::Secret(what),
            plugin::Want::Directory(what) => plain::Want::Directory(what),
            plugin::Want::Command(what) => plain::Want::Command(what),
        }
    }
}

impl From<plugin::Manifest> for plain::Manifest {
    fn from(from: plugin::Manifest) -> Self {
        plain::Manifest {
            name: from.name,
            version: from.version,
            summary: from.summary,
            settings_schema: from.settings_schema,
            wants: list(from.wants),
            memo_format: from.memo_format,
        }
    }
}
