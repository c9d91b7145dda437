//! A provider's slot: one method for each thing that a provider can be asked, replaced with a drain.
//!
//! Does not know instances; the pool of the active revision does.

use super::{RevisionName, Shared, Swapped, nothing_before, other_slot};
use crate::{
    provider::{
        ProviderRevision, Work,
        pool::{Call, Pool, ProviderHealth},
        supervision,
    },
    refusal::Refusal,
    stage::Staged,
};
use arc_swap::ArcSwap;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidegate_kernel::contract::{Done, Fact, Failure, Finding, Message, Millis, Route, Want};

/// The contract's call, beside the pool's.
type ContractCall = tidegate_kernel::contract::Call;

/// A place for a provider.
#[derive(Debug)]
pub struct ProviderSlot {
    name: String,
    shared: Shared,
    active: ArcSwap<Pool>,
    previous: Mutex<Option<Arc<Pool>>>,
    swapping: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("revision", &self.revision).finish_non_exhaustive()
    }
}

/// Asks one interface of the world; the wrong world is a mistake of the caller, answered as such.
macro_rules! ask {
    ($slot:ident, $call:expr, $pattern:pat => |$store:ident| $body:expr) => {{
        let pool = $slot.active.load_full();
        pool.call($call, move |live| {
            Box::pin(async move {
                let $store = &mut live.store;
                #[allow(irrefutable_let_patterns, unreachable_patterns, reason = "one macro for every world")]
                match &live.exports.work {
                    $pattern => $body,
                    _ => Ok(Err(Failure::Invalid("the slot holds a provider of another world".into()))),
                }
            })
        })
        .await
    }};
}

mod replication;

impl ProviderSlot {
    /// A new slot with its first revision.
    pub fn install(staged: Staged) -> Result<Self, Refusal> {
        let (name, revision, shared) = staged.into_provider()?;
        let pool = Pool::new(revision, shared.counters.clone());
        Ok(ProviderSlot {
            name,
            active: ArcSwap::from_pointee(pool),
            shared,
            previous: Mutex::default(),
            swapping: tokio::sync::Mutex::default(),
        })
    }

    /// The slot's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Digest, settings hash and number of the active revision.
    pub fn revision(&self) -> RevisionName {
        RevisionName::of(&self.active.load().revision)
    }

    /// What the plugin wants and was not given.
    pub fn missing_grants(&self) -> Vec<Want> {
        self.active.load().revision.gate.missing()
    }

    /// How the provider is.
    pub fn health(&self) -> ProviderHealth {
        self.active.load().health()
    }

    /// Replaces the active revision; returns when the calls that the old one had begun have ended or were cut off.
    pub async fn swap(&self, staged: Staged) -> Result<Swapped, Refusal> {
        let (name, revision, _) = staged.into_provider()?;
        other_slot(&self.name, &name)?;
        let _one = self.swapping.lock().await;
        Ok(self.replace(revision).await)
    }

    /// Puts the revision before the active one back, as a new revision.
    pub async fn rollback(&self) -> Result<Swapped, Refusal> {
        let _one = self.swapping.lock().await;
        let previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = previous.ok_or_else(|| nothing_before(&self.name))?;
        Ok(self.replace(before.revision.again(self.shared.number())).await)
    }

    async fn replace(&self, revision: ProviderRevision) -> Swapped {
        let name = RevisionName::of(&revision);
        let old = self.active.swap(Arc::new(Pool::new(revision, self.shared.counters.clone())));
        old.drain().await;
        self.shared.counters.swaps.add();
        let swapped =
            Swapped { slot: self.name.clone(), from: old.revision.number, to: name.number, digest: name.digest };
        *self.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(old);
        tracing::info!(
            slot = self.name,
            from = swapped.from,
            to = swapped.to,
            digest = swapped.digest,
            "provider replaced"
        );
        swapped
    }

    /// One look at one target; `key` (the target's site) names the bulkhead.
    pub async fn check(&self, key: &str, target: &str, timeout: Millis) -> Result<Finding, Failure> {
        let target = target.to_owned();
        ask!(self, self.call("probe.check", key, Some(timeout)), Work::Probe(probe) => |store| {
            let found = probe.call_check(store, &target, timeout).await?;
            Ok(found.map(Into::into).map_err(Into::into))
        })
    }

    /// A number; what is none (NaN, infinite) is refused.
    pub async fn sample(&self, key: &str, query: &str, timeout: Millis) -> Result<f64, Failure> {
        let query = query.to_owned();
        let value = ask!(self, self.call("signal.sample", key, Some(timeout)), Work::Signal(signal) => |store| {
            Ok(signal.call_sample(store, &query, timeout).await?.map_err(Failure::from))
        })?;
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Failure::Rejected(format!("the provider answered {value}, which is no number")))
        }
    }

    /// Where a name leads, read from the servers.
    pub async fn resolve(&self, name: &str) -> Result<Route, Failure> {
        let name = name.to_owned();
        ask!(self, self.call("dns.resolve", "", None), Work::Dns(dns, _) => |store| {
            Ok(dns.call_resolve(store, &name).await?.map(Into::into).map_err(Into::into))
        })
    }

    /// The route as the servers could express it; changes nothing.
    pub async fn preview(&self, route: &Route) -> Result<Route, Failure> {
        let route = route.clone().into();
        ask!(self, self.call("dns-control.preview", "", None), Work::Dns(_, control) => |store| {
            Ok(control.call_preview(store, &route).await?.map(Into::into).map_err(Into::into))
        })
    }

    /// Makes the names lead there; one answer for each route, in order.
    pub async fn apply(&self, routes: &[Route], call: &ContractCall) -> Result<Vec<Result<Route, Failure>>, Failure> {
        let generated: Vec<_> = routes.iter().cloned().map(Into::into).collect();
        let (asked, control) = (routes.len(), call.clone());
        let results = ask!(self, self.control("dns-control.apply", "", call), Work::Dns(_, dns) => |store| {
            let done = dns.call_apply(store, &generated, &control.into()).await?;
            Ok(Ok(done.into_iter().map(|one| one.map(Route::from).map_err(Failure::from)).collect::<Vec<_>>()))
        })?;
        if results.len() == asked {
            return Ok(results);
        }
        Err(Failure::UnknownOutcome(format!("the provider answered for {} of {asked} routes", results.len())))
    }

    /// Does one prepared thing.
    pub async fn perform(&self, name: &str, arguments: &str, call: &ContractCall) -> Result<Done, Failure> {
        let (name, arguments, control) = (name.to_owned(), arguments.to_owned(), call.clone());
        ask!(self, self.control("action.perform", "", call), Work::Action(action) => |store| {
            let done = action.call_perform(store, &name, &arguments, &control.into()).await?;
            Ok(done.map(Into::into).map_err(Into::into))
        })
    }

    /// Puts back what `perform` changed.
    pub async fn undo(&self, name: &str, receipt: Option<&str>, call: &ContractCall) -> Result<Done, Failure> {
        let (name, receipt, control) = (name.to_owned(), receipt.map(str::to_owned), call.clone());
        ask!(self, self.control("action.undo", "", call), Work::Action(action) => |store| {
            let done = action.call_undo(store, &name, receipt.as_deref(), &control.into()).await?;
            Ok(done.map(Into::into).map_err(Into::into))
        })
    }

    /// Tells people.
    pub async fn send(&self, channel: &str, message: &Message, call: &ContractCall) -> Result<(), Failure> {
        let (channel, message, control) = (channel.to_owned(), message.clone().into(), call.clone());
        ask!(self, self.control("notify.send", "", call), Work::Notify(notify) => |store| {
            Ok(notify.call_send(store, &channel, &message, &control.into()).await?.map_err(Failure::from))
        })
    }

    /// Would the control calls on this declared thing work right now? Changes nothing.
    pub async fn ready(&self, name: &str) -> Result<Vec<Fact>, Failure> {
        let name = name.to_owned();
        let pool = self.active.load_full();
        let call = self.call("provider.ready", "", None);
        pool.call(call, move |live| {
            Box::pin(async move {
                let found = live.exports.provider.call_ready(&mut live.store, &name).await?;
                Ok(found.map(crate::translate::list).map_err(Into::into))
            })
        })
        .await
    }

    fn call<'a>(&self, name: &'static str, key: &'a str, timeout: Option<Millis>) -> Call<'a> {
        let limits = self.active.load().revision.limits;
        Call { name, key, deadline: supervision::deadline_of_look(&limits, timeout.map(Duration::from_millis)) }
    }

    fn control<'a>(&self, name: &'static str, key: &'a str, call: &ContractCall) -> Call<'a> {
        Call { name, key, deadline: supervision::deadline_of_change(Duration::from_millis(call.timeout)) }
    }
}
