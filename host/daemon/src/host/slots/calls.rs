//! What providers of names, actions, channels and probes are asked: each call is counted, and goes to the slot that holds the provider.

use std::time::Duration;

use tidegate_kernel::contract::{Call, Done, Failure, Finding, Message, Route};

use super::{Shared, Slots};
use crate::host::metrics;
use crate::prober::{Looker, Looking};

impl Slots {
    /// Makes a name lead somewhere, and tells where it leads afterwards.
    pub async fn point_route(&self, slot: &str, route: Route, call: Call) -> Result<Route, Failure> {
        let held = self.provider(slot)?;
        let provider = held.provider()?;
        let applied = self.counted(slot, "dns-control.apply", provider.apply(&[route], &call).await)?;
        applied
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(Failure::UnknownOutcome("the provider answered nothing".to_owned())))
    }

    /// Where a name leads, by the authoritative servers.
    pub async fn read_route(&self, slot: &str, name: &str) -> Result<Route, Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "dns.resolve", held.provider()?.resolve(name).await)
    }

    /// Whether a declared thing could be changed right now.
    pub async fn ready(&self, slot: &str, name: &str) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "provider.ready", held.provider()?.ready(name).await).map(drop)
    }

    /// Does a named action.
    pub async fn perform(&self, slot: &str, name: &str, arguments: &str, call: &Call) -> Result<Done, Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "action.perform", held.provider()?.perform(name, arguments, call).await)
    }

    /// Undoes a named action.
    pub async fn undo(&self, slot: &str, name: &str, receipt: Option<&str>, call: &Call) -> Result<Done, Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "action.undo", held.provider()?.undo(name, receipt, call).await)
    }

    /// Tells people.
    pub async fn send(&self, slot: &str, channel: &str, message: &Message, call: &Call) -> Result<(), Failure> {
        let held = self.provider(slot)?;
        self.counted(slot, "notify.send", held.provider()?.send(channel, message, call).await)
    }

    pub(super) fn counted<T>(&self, slot: &str, call: &str, result: Result<T, Failure>) -> Result<T, Failure> {
        self.metrics.count(metrics::PROVIDER_CALLS, &[slot, call, result.as_ref().err().map_or("done", kind_of)]);
        result
    }
}

impl Looker for Shared {
    fn look<'a>(&'a self, slot: &'a str, bulkhead: &'a str, target: &'a str, timeout: Duration) -> Looking<'a> {
        Box::pin(async move {
            let held = self.held(slot).ok_or_else(|| Failure::NotFound(format!("slot {slot}")))?;
            let found: Finding = held.provider()?.check(bulkhead, target, timeout.as_millis() as u64).await?;
            Ok(found)
        })
    }
}

fn kind_of(failure: &Failure) -> &'static str {
    match failure {
        Failure::Denied(_) => "denied",
        Failure::NotFound(_) => "not-found",
        Failure::Invalid(_) => "invalid",
        Failure::Busy(_) => "busy",
        Failure::Rejected(_) => "rejected",
        Failure::Stale(_) => "stale",
        Failure::UnknownOutcome(_) => "unknown-outcome",
    }
}
