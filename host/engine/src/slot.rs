//! Slots: named places that hold one immutable revision, replaced in one step while calls go on.
//!
//! The order of a swap: a staged revision (verified, compiled, tested, warm) takes the place of the active one by one
//! atomic replacement; then the swap waits until whoever was just committing a result of the old one is done; then it
//! returns. That return is the acknowledgement: no result of the old revision counts after it, because a result is
//! committed only while its revision is still the active one, and is otherwise decided again. The old revision stays
//! warm for `rollback`. Does not know how a revision is made (`stage`) or asked (`policy`, `provider`).

use crate::{
    metrics::Counters,
    policy::{PolicyRevision, PolicyWorker, workers::Workers},
    provider::{
        ProviderRevision, Work,
        pool::{Call, Pool, ProviderHealth},
    },
    question::{Decided, PolicyFault, Question},
    refusal::Refusal,
    stage::Staged,
};
use arc_swap::ArcSwap;
use serde::Serialize;
use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tidegate_kernel::contract::{Cluster, Done, Fact, Failure, Finding, Message, Millis, Route};
use tokio::sync::oneshot;

/// Beyond its own timeout a provider gets so long to say so itself, which tells more than being cut off.
const GRACE: Duration = Duration::from_millis(250);

/// What a swap replaced, acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Swapped {
    /// The slot.
    pub slot: String,
    /// The revision that no longer counts.
    pub from: u64,
    /// The revision that does.
    pub to: u64,
    /// Of its plugin.
    pub digest: String,
}

/// What every slot of one engine shares.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) workers: Arc<Workers>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) numbers: Arc<AtomicU64>,
}

impl Shared {
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A place for a failover policy.
#[derive(Debug)]
pub struct PolicySlot {
    name: String,
    shared: Shared,
    active: ArcSwap<PolicyRevision>,
    previous: Mutex<Option<Arc<PolicyRevision>>>,
    /// Held for reading while a result is committed; taken for writing, for a moment, before a swap is acknowledged.
    committing: RwLock<()>,
    /// One swap at a time.
    swapping: tokio::sync::Mutex<()>,
}

impl PolicySlot {
    /// A new slot with its first revision.
    pub fn install(staged: Staged) -> Result<Self, Refusal> {
        let (name, revision, shared) = staged.into_policy()?;
        Ok(PolicySlot {
            name,
            shared,
            active: ArcSwap::from_pointee(revision),
            previous: Mutex::default(),
            committing: RwLock::default(),
            swapping: tokio::sync::Mutex::default(),
        })
    }

    /// The slot's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The active revision.
    pub fn revision(&self) -> Arc<PolicyRevision> {
        self.active.load_full()
    }

    /// Asks the active revision, on a worker.
    pub async fn decide(&self, question: Arc<Question>) -> Decided {
        self.decide_then(question, |decided| decided).await
    }

    /// Asks the active revision, and hands the result to `commit` while no swap can be acknowledged: what `commit`
    /// has done when it returns was done by the active revision. It must be quick and must not wait.
    pub async fn decide_then<R>(&self, question: Arc<Question>, commit: impl FnOnce(Decided) -> R + Send) -> R {
        loop {
            let decided = self.ask(self.active.load_full(), question.clone()).await;
            let _held = self.committing.read().unwrap_or_else(PoisonError::into_inner);
            if self.active.load().number == decided.revision {
                return commit(decided);
            }
            self.shared.counters.decided_again.add();
        }
    }

    /// Asks the active revision on this thread, which has to own `worker`; for the simulator and the benches.
    pub fn decide_on(&self, worker: &PolicyWorker, question: &Arc<Question>) -> Decided {
        loop {
            let revision = self.active.load();
            let decided = worker.decide(&revision, question);
            let _held = self.committing.read().unwrap_or_else(PoisonError::into_inner);
            if self.active.load().number == decided.revision {
                return decided;
            }
            self.shared.counters.decided_again.add();
        }
    }

    /// Replaces the active revision and returns when no result of the old one can count any more.
    pub async fn swap(&self, staged: Staged) -> Result<Swapped, Refusal> {
        let (name, revision, _) = staged.into_policy()?;
        other_slot(&self.name, &name)?;
        let _one = self.swapping.lock().await;
        Ok(self.replace(Arc::new(revision)))
    }

    /// Puts the revision before the active one back, as a new revision; it is still warm.
    pub async fn rollback(&self) -> Result<Swapped, Refusal> {
        let _one = self.swapping.lock().await;
        let previous = self.previous.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let before = previous.ok_or_else(|| nothing_before(&self.name))?;
        let again = PolicyRevision {
            number: self.shared.number(),
            digest: before.digest.clone(),
            settings_hash: before.settings_hash.clone(),
            settings: before.settings.clone(),
            limits: before.limits,
            manifest: before.manifest.clone(),
            code: before.code.clone(),
        };
        Ok(self.replace(Arc::new(again)))
    }

    fn replace(&self, revision: Arc<PolicyRevision>) -> Swapped {
        let old = self.active.swap(revision.clone());
        // Whoever read the old number under the lock is through when this has been had.
        drop(self.committing.write().unwrap_or_else(PoisonError::into_inner));
        self.shared.counters.swaps.add();
        let swapped =
            Swapped { slot: self.name.clone(), from: old.number, to: revision.number, digest: revision.digest.clone() };
        *self.previous.lock().unwrap_or_else(PoisonError::into_inner) = Some(old);
        tracing::info!(
            slot = self.name,
            from = swapped.from,
            to = swapped.to,
            digest = swapped.digest,
            "policy replaced"
        );
        swapped
    }

    async fn ask(&self, revision: Arc<PolicyRevision>, question: Arc<Question>) -> Decided {
        let (answer, answered) = oneshot::channel();
        let asked = revision.clone();
        let submitted = self.shared.workers.submit(Box::new(move |worker| {
            // Nobody may be waiting any more.
            let _ = answer.send(worker.decide(&asked, &question));
        }));
        if !submitted {
            return unavailable(&revision, "every worker is busy and the queue is full", &self.shared.counters);
        }
        match answered.await {
            Ok(decided) => decided,
            Err(_) => unavailable(&revision, "the engine is shutting down", &self.shared.counters),
        }
    }
}

fn unavailable(revision: &PolicyRevision, why: &str, counters: &Counters) -> Decided {
    let result = Err(PolicyFault::Unavailable(why.to_owned()));
    counters.decided(&result);
    Decided {
        revision: revision.number,
        digest: revision.digest.clone(),
        settings_hash: revision.settings_hash.clone(),
        result,
        answers: Vec::new(),
        fuel: 0,
        took: 0,
        log: Vec::new(),
    }
}

fn other_slot(own: &str, staged: &str) -> Result<(), Refusal> {
    if own == staged {
        return Ok(());
    }
    let why = format!("the revision was staged for slot {staged}, and this is slot {own}");
    Err(Refusal::new("other-slot", why, format!("stage it for {own}")).for_slot(own, "the revision"))
}

fn nothing_before(slot: &str) -> Refusal {
    let why = format!("slot {slot} has had no other revision since the host started");
    Refusal::new("nothing-before", why, "load the wanted plugin with `tidegate plugin swap`")
        .for_slot(slot, "the revision before")
}

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
    pub fn missing_grants(&self) -> Vec<tidegate_kernel::contract::Want> {
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
        let patience = revision.limits.wall_clock.0;
        let old = self.active.swap(Arc::new(Pool::new(revision, self.shared.counters.clone())));
        old.drain(patience).await;
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

    /// A database cluster, as the provider sees it now.
    pub async fn topology(&self, name: &str) -> Result<Cluster, Failure> {
        let name = name.to_owned();
        ask!(self, self.call("replication.topology", "", None), Work::Replication(replication) => |store| {
            Ok(replication.call_topology(store, &name).await?.map(Into::into).map_err(Into::into))
        })
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
        let results = ask!(self, self.call("dns-control.apply", "", Some(call.timeout)), Work::Dns(_, dns) => |store| {
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
        ask!(self, self.call("action.perform", "", Some(call.timeout)), Work::Action(action) => |store| {
            let done = action.call_perform(store, &name, &arguments, &control.into()).await?;
            Ok(done.map(Into::into).map_err(Into::into))
        })
    }

    /// Puts back what `perform` changed.
    pub async fn undo(&self, name: &str, receipt: Option<&str>, call: &ContractCall) -> Result<Done, Failure> {
        let (name, receipt, control) = (name.to_owned(), receipt.map(str::to_owned), call.clone());
        ask!(self, self.call("action.undo", "", Some(call.timeout)), Work::Action(action) => |store| {
            let done = action.call_undo(store, &name, receipt.as_deref(), &control.into()).await?;
            Ok(done.map(Into::into).map_err(Into::into))
        })
    }

    /// Tells people.
    pub async fn send(&self, channel: &str, message: &Message, call: &ContractCall) -> Result<(), Failure> {
        let (channel, message, control) = (channel.to_owned(), message.clone().into(), call.clone());
        ask!(self, self.call("notify.send", "", Some(call.timeout)), Work::Notify(notify) => |store| {
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
        let most = self.active.load().revision.limits.wall_clock.0;
        let deadline = timeout.map_or(most, |timeout| (Duration::from_millis(timeout) + GRACE).min(most));
        Call { name, key, deadline }
    }
}

type ContractCall = tidegate_kernel::contract::Call;

/// Which revision a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RevisionName {
    /// Grows with every installation, swap and rollback.
    pub number: u64,
    /// Of the plugin's file.
    pub digest: String,
    /// Of its settings.
    pub settings_hash: String,
    /// The plugin's own name and version.
    pub plugin: String,
}

impl RevisionName {
    fn of(revision: &ProviderRevision) -> Self {
        RevisionName {
            number: revision.number,
            digest: revision.digest.clone(),
            settings_hash: revision.settings_hash.clone(),
            plugin: format!("{} {}", revision.manifest.name, revision.manifest.version),
        }
    }
}
