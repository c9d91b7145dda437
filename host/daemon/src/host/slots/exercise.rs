//! Puts a policy's slot under load with the situations of the moment: what it decides is counted, and nothing comes of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use serde::Serialize;
use tidegate_engine::{Decided, PolicySlot, Question};
use tidegate_kernel::contract::Situation;

use super::{Held, Kind, Slots};

/// Questions under way at once: enough that no worker waits for the next.
const AT_ONCE: usize = 8;

/// More would keep a host busy for minutes.
const DECISIONS_MAX: u64 = 1_000_000;

/// What the load showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exercised {
    /// Answered with a decision.
    pub decisions: u64,
    /// Asked, and not answered with a decision.
    pub dropped: u64,
    /// Asked after a swap was acknowledged, and answered by an older revision all the same.
    pub stale: u64,
    /// The longest time between two answers.
    pub longest_gap_us: u64,
    /// Answers by the number of the revision that gave them.
    pub by_revision: BTreeMap<u64, u64>,
}

/// What the tasks of one exercise share.
struct Load {
    held: Arc<Held>,
    questions: Vec<Arc<Question>>,
    asked: AtomicU64,
    wanted: u64,
    tally: Mutex<(Exercised, Option<Instant>)>,
}

impl Slots {
    /// Has a policy decide the situations over and over, `decisions` times in all.
    pub async fn exercise(&self, slot: &str, situations: Vec<Situation>, decisions: u64) -> anyhow::Result<Exercised> {
        let held = self.known(slot)?;
        ensure!(matches!(held.kind, Kind::Policy(_)), "slot {slot} holds no policy");
        ensure!(!situations.is_empty(), "no service asks slot {slot}: there is no situation to decide");
        ensure!((1..=DECISIONS_MAX).contains(&decisions), "ask for 1 to {DECISIONS_MAX} decisions");
        let questions = situations.into_iter().map(|situation| Arc::new(Question::new(situation))).collect();
        let load =
            Arc::new(Load { held, questions, asked: AtomicU64::new(0), wanted: decisions, tally: Mutex::default() });
        let tasks: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(load.clone().work())).collect();
        for task in tasks {
            task.await.context("a task of the exercise ended early")?;
        }
        let tally = load.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if tally.0.decisions + tally.0.dropped != decisions {
            bail!("{decisions} decisions were asked for, and {} answers came", tally.0.decisions + tally.0.dropped);
        }
        Ok(tally.0.clone())
    }
}

impl Load {
    async fn work(self: Arc<Self>) {
        let Kind::Policy(slot) = &self.held.kind else { return };
        loop {
            let turn = self.asked.fetch_add(1, Ordering::Relaxed);
            if turn >= self.wanted {
                return;
            }
            self.ask(slot, &self.questions[turn as usize % self.questions.len()]).await;
        }
    }

    async fn ask(&self, slot: &PolicySlot, question: &Arc<Question>) {
        let acknowledged = self.held.acknowledged.load(Ordering::Acquire);
        slot.decide_then(question.clone(), |decided| self.count(&decided, acknowledged)).await;
    }

    fn count(&self, decided: &Decided, acknowledged: u64) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (exercised, last) = &mut *tally;
        if let Some(last) = last.replace(now) {
            exercised.longest_gap_us = exercised.longest_gap_us.max(now.duration_since(last).as_micros() as u64);
        }
        exercised.decisions += u64::from(decided.result.is_ok());
        exercised.dropped += u64::from(decided.result.is_err());
        exercised.stale += u64::from(decided.revision < acknowledged);
        *exercised.by_revision.entry(decided.revision).or_default() += 1;
    }
}
