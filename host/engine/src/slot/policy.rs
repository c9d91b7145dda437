//! A policy's slot: asked on the workers, replaced in one step, committed under a lock.
//!
//! Does not know what a decision leads to.

use super::{Shared, Swapped, nothing_before, other_slot};
use crate::{
    metrics::Counters,
    policy::{PolicyRevision, PolicyWorker},
    question::{Decided, PolicyFault, Question},
    refusal::Refusal,
    request::{Reply, Request},
    stage::Staged,
};
use arc_swap::ArcSwap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tidegate_kernel::event::{Answered, Read, Revision};
use tokio::sync::oneshot;

/// A place for a policy.
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

    /// Asks the active revision, a policy of any kind, on a worker.
    pub async fn ask(&self, request: Request) -> Decided<Reply> {
        self.on_a_worker(self.active.load_full(), move |worker, revision| worker.ask(revision, &request)).await
    }

    /// Asks the active revision, on a worker.
    pub async fn decide(&self, question: Arc<Question>) -> Decided {
        self.decide_then(question, |decided| decided).await
    }

    /// Asks the active revision, and hands the result to `commit` while no swap can be acknowledged: what `commit`
    /// has done when it returns was done by the active revision. It must be quick and must not wait.
    pub async fn decide_then<R>(&self, question: Arc<Question>, commit: impl FnOnce(Decided) -> R + Send) -> R {
        loop {
            let asked = question.clone();
            let decide = move |worker: &PolicyWorker, revision: &PolicyRevision| worker.decide(revision, &asked);
            let decided = self.on_a_worker(self.active.load_full(), decide).await;
            let _held = self.committing.read().unwrap_or_else(PoisonError::into_inner);
            if self.active.load().number == decided.revision {
                return commit(decided);
            }
            self.shared.counters.decided_again.add();
        }
    }

    /// Asks the active revision on this thread, which has to own `worker`; for the simulator and the benches.
    pub fn decide_on(&self, worker: &PolicyWorker, question: &Arc<Question>) -> Decided {
        self.here(|revision| worker.decide(revision, question))
    }

    /// The same for a policy of any kind.
    pub fn ask_on(&self, worker: &PolicyWorker, request: &Request) -> Decided<Reply> {
        self.here(|revision| worker.ask(revision, request))
    }

    fn here<R>(&self, ask: impl Fn(&PolicyRevision) -> Decided<R>) -> Decided<R> {
        loop {
            let decided = ask(&self.active.load());
            let _held = self.committing.read().unwrap_or_else(PoisonError::into_inner);
            if self.active.load().number == decided.revision {
                return decided;
            }
            self.shared.counters.decided_again.add();
        }
    }

    /// A decision in the kernel's words. A result of a revision that has just been replaced carries the old number, so that the
    /// kernel asks again.
    pub fn answered(&self, decided: Decided) -> Answered {
        let active = self.revision();
        let read = |answer: crate::Answer| Read {
            capability: answer.capability,
            arguments: serde_json::Value::from(answer.arguments).to_string(),
            answer: answer.result.to_string(),
        };
        // A swap may have come between: what is not the revision's own is worse than nothing.
        let settings = if active.number == decided.revision { active.settings.clone() } else { String::new() };
        Answered {
            settings,
            revision: Revision {
                number: decided.revision,
                digest: decided.digest,
                settings: decided.settings_hash,
                name: active.manifest.name.clone(),
                version: active.manifest.version.clone(),
                memo_format: active.manifest.memo_format.clone(),
            },
            result: decided.result.map_err(|fault| fault.to_string()),
            reads: decided.answers.into_iter().map(read).collect(),
            fuel: decided.fuel,
            took_us: decided.took / 1_000,
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
        // What was kept for a rollback until now is let go before the swap and not after it: it unmaps memory, for which
        // the first decision of the new revision would wait.
        drop(self.previous.lock().unwrap_or_else(PoisonError::into_inner).take());
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

    async fn on_a_worker<R: Send + 'static>(
        &self,
        revision: Arc<PolicyRevision>,
        ask: impl FnOnce(&PolicyWorker, &PolicyRevision) -> Decided<R> + Send + 'static,
    ) -> Decided<R> {
        let (answer, answered) = oneshot::channel();
        let asked = revision.clone();
        let submitted = self.shared.workers.submit(Box::new(move |worker| {
            // Nobody may be waiting any more.
            let _ = answer.send(ask(worker, &asked));
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

fn unavailable<R>(revision: &PolicyRevision, why: &str, counters: &Counters) -> Decided<R> {
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
        memory: 0,
        log: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Engine, EngineConfig, PolicySlot, Question, RevisionSpec, neutral};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_new_revision_is_warm_for_whichever_thread_decides_first() {
        let engine = Engine::start(EngineConfig { policy_workers: 1, ..EngineConfig::default() }).await.unwrap();
        let spec = RevisionSpec {
            slot: "failover/default".into(),
            bytes: tidegate_test_guests::failover_quorum().to_vec(),
            settings: serde_json::json!({}),
            ..RevisionSpec::default()
        };
        let slot = Arc::new(PolicySlot::install(engine.stage(spec).await.unwrap()).unwrap());
        let worker = engine.workers().remove(0);
        let warm = || {
            let metrics = worker.engine.pooling_allocator_metrics().unwrap();
            (metrics.unused_warm_memories(), metrics.unused_warm_tables())
        };
        let staged = warm();
        for _ in 0..4 {
            let (slot, worker) = (slot.clone(), worker.clone());
            let question = Question::new(neutral::situation());
            let decide = move || drop(slot.decide_on(&worker, &Arc::new(question)));
            std::thread::spawn(decide).join().unwrap();
        }
        assert_eq!(warm(), staged, "a decision took a place that nobody had warmed");
    }
}
