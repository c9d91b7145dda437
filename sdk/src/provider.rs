//! The seven kinds of provider, each a trait over a value that was built once from settings and declarations.
//!
//! A provider reaches only what it was granted, and answers every failure as a typed [`Failure`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::contract::{
    Call, Cluster, Done, Fact, Failure, Finding, Message, Object, Page, Problem, Proof, Route, StorageClass, SyncSet,
    Timestamp, Want,
};
use crate::settings::{Settings, parse};

/// What every provider has. `self` lives as long as its instance: what has to change in it is in a `Cell` or `RefCell`.
pub trait Provider: Sized + 'static {
    /// What an operator can set for all of it.
    type Settings: Settings;

    /// What it needs to be granted; the operator reads it before granting it.
    fn wants() -> Vec<Want> {
        Vec::new()
    }

    /// Once per instance, before any other call.
    fn configure(settings: Self::Settings, declared: Declared) -> Result<Self, Vec<Problem>>;

    /// Would the control calls on this declared thing work right now? Looks, and changes nothing.
    fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        Err(Failure::NotFound(format!("{name} is not declared for this provider")))
    }
}

/// One look at one target. Exported by [`probe_provider!`](crate::probe_provider).
pub trait Probe: Provider {
    /// What the fleet file says of a service at one site.
    type Target: Settings;

    /// A failure is no vote; what was found, good or bad, is a [`Finding`].
    fn check(&self, target: Self::Target, timeout: Duration) -> Result<Finding, Failure>;
}

/// Numbers that policies may weigh. Exported by [`signal_provider!`](crate::signal_provider).
pub trait Signal: Provider {
    /// What the fleet file says of one signal.
    type Query: Settings;

    /// The newest value.
    fn sample(&self, query: Self::Query, timeout: Duration) -> Result<f64, Failure>;
}

/// A database and its copies. Exported by [`replication_provider!`](crate::replication_provider).
///
/// Every call that has a [`Call`] may be repeated after a crash with the same key, and then does nothing twice.
pub trait Replication: Provider {
    /// The cluster as it can be seen from here.
    fn topology(&self, name: &str) -> Result<Cluster, Failure>;
    /// Stop a node from acknowledging writes, and prove it.
    fn fence(&self, cluster: &str, node: &str, call: &Call) -> Result<Proof, Failure>;
    /// Lift what `fence` did.
    fn unfence(&self, cluster: &str, node: &str, call: &Call) -> Result<(), Failure>;
    /// Stop a replica from receiving, so that its position is final.
    fn detach(&self, cluster: &str, node: &str, call: &Call) -> Result<(), Failure>;
    /// Done = the node has everything that `source` has.
    fn catch_up(&self, cluster: &str, node: &str, source: &str, call: &Call) -> Result<(), Failure>;
    /// Done = the node takes writes.
    fn promote(&self, cluster: &str, node: &str, call: &Call) -> Result<(), Failure>;
    /// Make a node follow `primary`, giving up what never reached it.
    fn rejoin(&self, cluster: &str, node: &str, primary: &str, call: &Call) -> Result<(), Failure>;
    /// Change whose word a commit on this node waits for, once the node is the primary.
    fn set_synchronous(&self, cluster: &str, node: &str, set: SyncSet, call: &Call) -> Result<(), Failure>;
    /// Each check's answer, in order.
    fn verify(&self, cluster: &str, node: &str, checks: &[String], call: &Call) -> Result<Vec<String>, Failure>;
}

/// Where names lead. Exported by [`dns_provider!`](crate::dns_provider).
pub trait Dns: Provider {
    /// The route as the authoritative servers answer it now.
    fn resolve(&self, name: &str) -> Result<Route, Failure>;
    /// The route as the servers could express it; changes nothing.
    fn preview(&self, route: Route) -> Result<Route, Failure>;
    /// Make the names lead there, each unless a newer epoch has written it. One answer for each, in order.
    fn apply(&self, routes: Vec<Route>, call: &Call) -> Vec<Result<Route, Failure>>;
}

/// The reading half of an object store.
pub trait StorageRead: Provider {
    /// One page of a listing.
    fn list_objects(&self, bucket: &str, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<Page, Failure>;
    /// One object's facts.
    fn stat(&self, bucket: &str, key: &str) -> Result<Object, Failure>;
}

/// Objects and backups at rest. Exported by [`storage_provider!`](crate::storage_provider).
pub trait Storage: StorageRead {
    /// An object on its way in.
    type Upload: Upload;
    /// An object on its way out.
    type Download: Download;

    /// Begin an object that is visible only once it is finished.
    fn put(
        &self,
        bucket: &str,
        key: &str,
        into: StorageClass,
        if_absent: bool,
        tags: Vec<Fact>,
        call: &Call,
    ) -> Result<Self::Upload, Failure>;
    /// Begin to read an object, or a part of it.
    fn get(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        offset: u64,
        length: Option<u64>,
    ) -> Result<Self::Download, Failure>;
    /// Copy an object between buckets.
    fn copy(&self, bucket: &str, key: &str, to_bucket: &str, to_key: &str, call: &Call) -> Result<Object, Failure>;
    /// Move an object to another class.
    fn store_as(&self, bucket: &str, key: &str, into: StorageClass, call: &Call) -> Result<Object, Failure>;
    /// Make an archived object readable for that long.
    fn thaw(&self, bucket: &str, key: &str, days: u32, call: &Call) -> Result<Object, Failure>;
    /// Lock an object against deletion.
    fn set_lock(
        &self,
        bucket: &str,
        key: &str,
        until: Option<Timestamp>,
        legal_hold: bool,
        call: &Call,
    ) -> Result<Object, Failure>;
    /// Remove objects; one answer for each, in order.
    fn remove(&self, bucket: &str, keys: &[String], call: &Call) -> Vec<Result<(), Failure>>;
}

/// An object on its way into a store. Dropped unfinished, it leaves nothing behind.
pub trait Upload: 'static {
    /// The next bytes.
    fn write(&self, bytes: Vec<u8>) -> Result<(), Failure>;
    /// Make it visible, whole.
    fn finish(self) -> Result<Object, Failure>;
}

/// An object on its way out of a store.
pub trait Download: 'static {
    /// The next bytes, at most `limit`; empty = the end.
    fn read(&self, limit: u32) -> Result<Vec<u8>, Failure>;
}

/// Anything else that a runbook does. Exported by [`action_provider!`](crate::action_provider).
pub trait Action: Provider {
    /// The same `call.key` never acts twice.
    fn perform(&self, name: &str, arguments: &str, call: &Call) -> Result<Done, Failure>;
    /// Put back what `perform` changed under the same key; no receipt = it was lost in a crash.
    fn undo(&self, name: &str, receipt: Option<&str>, call: &Call) -> Result<Done, Failure>;
}

/// Tells people. Exported by [`notify_provider!`](crate::notify_provider).
pub trait Notify: Provider {
    /// At least once; the receiver can tell a repetition by `call.key`.
    fn send(&self, channel: &str, message: Message, call: &Call) -> Result<(), Failure>;
}

/// What the fleet file declares for this provider: a name and its JSON each.
#[derive(Clone, Debug, Default)]
pub struct Declared(Vec<Fact>);

impl Declared {
    /// From names and their JSON, as the host hands them over.
    pub fn new(facts: Vec<Fact>) -> Self {
        Declared(facts)
    }

    /// The names, in the fleet file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|fact| fact.key.as_str())
    }

    /// Everything declared, typed, or every problem with it, at `/declared/NAME/…`.
    pub fn parse<T: Settings>(&self) -> Result<BTreeMap<String, T>, Vec<Problem>> {
        let (mut values, mut problems) = (BTreeMap::new(), Vec::new());
        for Fact { key, value } in &self.0 {
            match parse::<T>(value) {
                Ok(value) => drop(values.insert(key.clone(), value)),
                Err(found) => problems.extend(found.into_iter().map(|problem| below(key, problem))),
            }
        }
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }
}

fn below(name: &str, problem: Problem) -> Problem {
    Problem { at: format!("/declared/{name}{}", problem.at), text: problem.text }
}

/// What came in as JSON with a call, typed; `what` names it in the failure.
pub(crate) fn argument<T: Settings>(what: &str, json: &str) -> Result<T, Failure> {
    parse(json).map_err(|problems| {
        let texts: Vec<String> =
            problems.into_iter().map(|Problem { at, text }| format!("{what}{at}: {text}")).collect();
        Failure::Invalid(texts.join("; "))
    })
}

/// The contract's unit. A timeout that does not fit in it is none.
pub(crate) fn milliseconds(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}
