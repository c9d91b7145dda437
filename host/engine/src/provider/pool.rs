//! The instances of one provider revision: supervised, bounded, and kept apart by target site.
//!
//! * Each call has a deadline. The future is dropped when it passes, which stops a guest that waits; the epoch makes
//!   a guest that computes yield, so that the deadline can be noticed, and traps it when it only computes.
//! * A bulkhead bounds the calls for one key, so that one black hole leaves instances for everybody else.
//! * After a trap or a call cut short the instance is given up. Too many traps within a minute put the whole revision
//!   in quarantine ([`Supervision`] has the rule), with the reason; timeouts do not: a target that is silent is not a
//!   plugin that is broken.
//!
//! Does not know which call it is.

use super::{
    Answered, Live, ProviderRevision, stopped,
    supervision::{self, Supervision},
};
use crate::{metrics::Counters, policy::panic_text, provider::settings_refused};
use serde::Serialize;
use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};
use tidegate_kernel::contract::Failure;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

/// An instance that nobody has needed for so long is let go.
const IDLE: Duration = Duration::from_secs(60);
/// A call that ends at its deadline needs a moment to let go.
const DRAIN_GRACE: Duration = Duration::from_secs(1);
/// A deadline beyond what the clock can count.
const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// What a call does to the world decides what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    /// For people: "probe.check".
    pub(crate) name: &'static str,
    /// The bulkhead.
    pub(crate) key: &'a str,
    pub(crate) deadline: Duration,
}

/// A provider slot's state, for `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProviderHealth {
    /// Of the revision that this is about.
    pub revision: u64,
    /// Alive, at work or idle.
    pub instances: u64,
    /// At work.
    pub busy: u64,
    /// Crashes and limits within the last minute.
    pub recent_traps: u64,
    /// Calls cut off at their deadline, since the revision was installed.
    pub timeouts: u64,
    /// What the gate refused, since the revision was installed.
    pub refused: u64,
    /// Why nothing is asked of it now.
    pub quarantined: Option<String>,
}

pub(crate) struct Pool {
    pub(crate) revision: ProviderRevision,
    counters: Arc<Counters>,
    permits: Arc<Semaphore>,
    bulkheads: Mutex<HashMap<String, Arc<Semaphore>>>,
    idle: Mutex<VecDeque<Idle>>,
    supervision: Mutex<Supervision>,
    /// What supervision counts from.
    started: Instant,
    timeouts: AtomicU64,
    /// By then every call that was begun has ended.
    last_deadline: Mutex<Option<Instant>>,
    closed: watch::Sender<bool>,
}

struct Idle {
    live: Counted,
    since: Instant,
}

/// An instance that is counted for as long as it lives.
struct Counted {
    live: Live,
    counters: Arc<Counters>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.provider_instances.sub();
    }
}

struct Busy(Arc<Counters>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.provider_busy.sub();
    }
}

impl Pool {
    pub(crate) fn new(revision: ProviderRevision, counters: Arc<Counters>) -> Self {
        Pool {
            permits: Arc::new(Semaphore::new(revision.limits.pool as usize)),
            supervision: Mutex::new(Supervision::new(&revision.limits)),
            revision,
            counters,
            bulkheads: Mutex::default(),
            idle: Mutex::default(),
            started: Instant::now(),
            timeouts: AtomicU64::new(0),
            last_deadline: Mutex::default(),
            closed: watch::Sender::new(false),
        }
    }

    /// One call of the provider, on an instance of its own for as long as it lasts.
    pub(crate) async fn call<R>(
        &self,
        call: Call<'_>,
        ask: impl for<'a> FnOnce(&'a mut Live) -> Answered<'a, R> + Send,
    ) -> Result<R, Failure> {
        lock(&self.supervision).admit(&self.revision.slot, self.started.elapsed())?;
        self.counters.provider_calls.add();
        let until = self.until(call);
        let _held = self.permits(call, until).await?;
        let mut live = self.take(call, until).await?;
        self.counters.provider_busy.add();
        let _busy = Busy(self.counters.clone());
        live.live.store.data_mut().restart(until);
        let asked = self.bounded(call, until, ask(&mut live.live)).await?;
        match asked {
            Ok(Ok(answer)) => {
                live.live.store.data_mut().flush_log();
                self.put(live);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let why = stopped(&error, Some(live.live.store.data_mut()));
                self.trapped(call, &why);
                Err(supervision::cut_short(call.name, &why))
            }
            Err(panic) => {
                self.counters.host_panics.add();
                self.trapped(call, &panic);
                Err(supervision::cut_short(call.name, &panic))
            }
        }
        .and_then(|answered| answered)
    }

    /// Waits until no call is under way, which each call's own deadline bounds; what is left then is cut off.
    pub(crate) async fn drain(&self) {
        let last = *lock(&self.last_deadline);
        let patience = last.map_or(Duration::ZERO, |last| last.saturating_duration_since(Instant::now())) + DRAIN_GRACE;
        let all = self.permits.acquire_many(self.revision.limits.pool);
        if timeout(patience, all).await.is_err() {
            tracing::warn!(slot = %self.revision.slot, "calls of the replaced revision did not end in time and were cut off");
            self.closed.send_replace(true);
            let _ = self.permits.acquire_many(self.revision.limits.pool).await;
            self.closed.send_replace(false);
        }
    }

    pub(crate) fn health(&self) -> ProviderHealth {
        let idle = lock(&self.idle).len() as u64;
        let busy = u64::from(self.revision.limits.pool) - self.permits.available_permits() as u64;
        let mut supervision = lock(&self.supervision);
        ProviderHealth {
            revision: self.revision.number,
            instances: idle + busy,
            busy,
            recent_traps: supervision.recent_crashes(self.started.elapsed()) as u64,
            timeouts: self.timeouts.load(Ordering::Relaxed),
            refused: self.revision.gate.refused(),
            quarantined: supervision.quarantine().map(|quarantine| quarantine.reason.clone()),
        }
    }

    fn until(&self, call: Call<'_>) -> Instant {
        let now = Instant::now();
        let until = now.checked_add(call.deadline).unwrap_or(now + FOREVER);
        let mut last = lock(&self.last_deadline);
        *last = (*last).max(Some(until));
        until
    }

    /// A place in the key's bulkhead, then one in the pool: whoever waits for a place holds none of another key.
    async fn permits(&self, call: Call<'_>, until: Instant) -> Result<[OwnedSemaphorePermit; 2], Failure> {
        let bulkhead = self.bulkhead(call.key);
        let both = async {
            let own = bulkhead.acquire_owned().await;
            let any = self.permits.clone().acquire_owned().await;
            own.and_then(|own| any.map(|any| [own, any]))
        };
        match timeout(until.saturating_duration_since(Instant::now()), both).await {
            Ok(Ok(held)) => Ok(held),
            _ => Err(supervision::busy(call.deadline)),
        }
    }

    fn bulkhead(&self, key: &str) -> Arc<Semaphore> {
        let mut bulkheads = lock(&self.bulkheads);
        if let Some(bulkhead) = bulkheads.get(key) {
            return bulkhead.clone();
        }
        let size = self.revision.limits.bulkhead as usize;
        // Keys come from the fleet, which may change; those at rest need not be remembered.
        bulkheads.retain(|_, bulkhead| bulkhead.available_permits() < size);
        let bulkhead = Arc::new(Semaphore::new(size));
        bulkheads.insert(key.to_owned(), bulkhead.clone());
        bulkhead
    }

    /// An idle instance, the most recently used first, or a new one.
    async fn take(&self, call: Call<'_>, until: Instant) -> Result<Counted, Failure> {
        if let Some(idle) = lock(&self.idle).pop_back() {
            return Ok(idle.live);
        }
        let start = self.bounded(call, until, self.revision.start()).await?;
        let failed = match start {
            Ok(Ok(Ok(live))) => {
                self.counters.provider_instances.add();
                return Ok(Counted { live, counters: self.counters.clone() });
            }
            Ok(Ok(Err(problems))) => settings_refused(&problems).why,
            Ok(Err(error)) => stopped(&error, None),
            Err(panic) => panic,
        };
        self.trapped(call, &failed);
        Err(Failure::Rejected(format!("no instance of the provider could be started: {failed}; nothing was done")))
    }

    fn put(&self, live: Counted) {
        let now = Instant::now();
        let mut idle = lock(&self.idle);
        idle.push_back(Idle { live, since: now });
        let unneeded = idle.front().is_some_and(|oldest| now - oldest.since > IDLE).then(|| idle.pop_front());
        drop(idle);
        drop(unneeded);
    }

    /// Runs a guest until its deadline, or until the pool is closed; a panic of the host is contained.
    async fn bounded<T>(
        &self,
        call: Call<'_>,
        until: Instant,
        work: impl Future<Output = T> + Send,
    ) -> Result<Result<T, String>, Failure> {
        let mut closed = self.closed.subscribe();
        let cut = async {
            if closed.wait_for(|closed| *closed).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let work = timeout(until.saturating_duration_since(Instant::now()), unpanicking(work));
        tokio::select! {
            biased;
            done = work => done.map_err(|_| self.late(call)),
            () = cut => Err(Failure::UnknownOutcome(format!("{} was cut off: the provider was replaced", call.name))),
        }
    }

    fn late(&self, call: Call<'_>) -> Failure {
        self.counters.provider_timeouts.add();
        self.timeouts.fetch_add(1, Ordering::Relaxed);
        supervision::late(call.name, call.deadline)
    }

    fn trapped(&self, call: Call<'_>, why: &str) {
        self.counters.provider_traps.add();
        tracing::warn!(slot = %self.revision.slot, digest = self.revision.digest, call = call.name, "provider instance given up: {why}");
        let mut supervision = lock(&self.supervision);
        if let Some(quarantine) = supervision.crashed(why, self.started.elapsed()) {
            let (lasts, reason) = (quarantine.lasts.as_secs(), &quarantine.reason);
            tracing::error!(slot = %self.revision.slot, "provider quarantined for {lasts} s: {reason}");
        }
    }
}

/// A panic of the host ends the work, not the host.
pub(crate) async fn unpanicking<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panic) => {
            Poll::Ready(Err(format!("the host failed while it served the provider: {}", panic_text(&*panic))))
        }
    })
    .await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_of_the_host_ends_the_call_and_not_the_host() {
        let found = unpanicking(async {
            tokio::task::yield_now().await;
            if true {
                panic!("in an import");
            }
        })
        .await;
        assert!(found.unwrap_err().contains("in an import"));
        assert_eq!(unpanicking(async { 7 }).await, Ok(7));
    }
}
