//! One thread's part of a backtest: the services that are its own, decided again in the order of the record.
//!
//! Knows no file. The candidate has its own memory of each service, as a shadow has: it begins with none, and what the policy
//! remembered that decided then is never shown to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use serde_json::value::RawValue;
use tidegate_engine::{PolicySlot, PolicyWorker, Question};
use tidegate_kernel::contract::Situation;
use tidegate_kernel::event::Moment;
use tidegate_kernel::record::{Cause, Change, Decided, Record};

use super::compare::{self, Compared, Costs, Outcome, Told, compare, moved};
use super::unknown_form;
use crate::cli::failed::Failed;
use crate::said;

/// Records by their numbers.
pub(super) type Batch = Vec<(u64, Box<RawValue>)>;

/// A record that cannot be read, by its number.
pub(super) type Unreadable = (u64, Failed);

/// Situations by their hash, each with the number of the first record that holds it.
pub(super) type Held = BTreeMap<String, (u64, Situation)>;

/// A thread that decides.
pub(super) struct Thread<'a> {
    slot: &'a PolicySlot,
    worker: &'a PolicyWorker,
    held: &'a Held,
    memo_format: String,
    memories: HashMap<String, Memory>,
}

/// What the candidate remembers of a service.
#[derive(Default)]
struct Memory {
    memo: String,
    /// It may not be what the candidate would remember, had it been asked all along.
    unsure: bool,
}

impl<'a> Thread<'a> {
    pub(super) fn new(slot: &'a PolicySlot, worker: &'a PolicyWorker, held: &'a Held) -> Self {
        let memo_format = slot.revision().manifest.memo_format.clone();
        Thread { slot, worker, held, memo_format, memories: HashMap::new() }
    }

    /// Decides what it is handed. Stops at the first record that it cannot read.
    pub(super) fn run(mut self, waiting: &Receiver<Batch>) -> Result<Vec<Compared>, Unreadable> {
        let mut compared = Vec::new();
        for (n, body) in waiting.iter().flatten() {
            let record = serde_json::from_str(body.get()).map_err(|error| (n, unknown_form(n, &error)))?;
            compared.extend(self.decide(n, record));
        }
        Ok(compared)
    }

    /// None for a record that neither holds a decision nor counts any.
    fn decide(&mut self, n: u64, record: Record) -> Option<Compared> {
        let counted = record.transitions.iter().map(|transition| match &transition.change {
            Change::Holds { counts } => counts.iter().map(|(_, count)| count).sum(),
            _ => 0,
        });
        let counted: u64 = counted.sum();
        let Moment { mono, wall } = record.at;
        match record.cause {
            Cause::Decided(mut then) => {
                let outcome = match self.situation(n, &mut then) {
                    Some(situation) => self.again(n, wall, &then, situation),
                    None => self.untold(&then),
                };
                Some(Compared { n, of: Some((then.service, mono)), counted, outcome })
            }
            _ => (counted > 0).then_some(Compared { n, of: None, counted, outcome: Outcome::NoDecision }),
        }
    }

    /// The one of that record, or of an earlier one: what comes later does not tell what was known before.
    fn situation(&self, n: u64, then: &mut Decided) -> Option<Situation> {
        let own = then.situation.body.take().map(|situation| *situation);
        own.or_else(|| {
            let (first, situation) = self.held.get(&then.situation.hash)?;
            (*first < n).then(|| situation.clone())
        })
    }

    fn untold(&mut self, then: &Decided) -> Outcome {
        self.memories.entry(then.service.clone()).or_default().lose(None);
        Outcome::Elsewhere(then.situation.hash.clone())
    }

    fn again(&mut self, n: u64, at: u64, then: &Decided, mut situation: Situation) -> Outcome {
        let begun = Memory { unsure: !situation.memo.is_empty(), ..Memory::default() };
        let memory = self.memories.entry(then.service.clone()).or_insert(begun);
        situation.memo.clone_from(&memory.memo);
        let Ok(question) = Question::recorded(situation, self.memo_format.clone(), &then.reads) else {
            memory.lose(None);
            return Outcome::CannotTell("what was read then cannot be read now".to_owned());
        };
        let question = Arc::new(question);
        let decided = self.slot.decide_on(self.worker, &question);
        let memo = said::remembered(&decided.result);
        if let Some(unknown) = compare::unknown(&question.situation, &then.reads, &decided.answers) {
            memory.lose(Some(memo));
            return Outcome::CannotTell(format!("it asks for {unknown}, which the record does not hold"));
        }
        memory.memo = memo.to_owned();
        let costs = Costs { then: (then.took_us, then.fuel), now: (decided.took / 1_000, decided.fuel) };
        let moves = (moved(&then.result), moved(&decided.result));
        let difference = compare(n, at, then, decided.result.map_err(|fault| fault.to_string()));
        Outcome::Told(Told { costs, moves, unsure: memory.unsure, difference: difference.map(Box::new) })
    }
}

impl Memory {
    /// Nobody can tell what it would remember now: it goes on with nothing, as after a fault. `said` is the memo of an answer that
    /// cannot count; who remembers nothing before and after has lost nothing.
    fn lose(&mut self, said: Option<&str>) {
        self.unsure |= !self.memo.is_empty() || said.is_none_or(|said| !said.is_empty());
        self.memo.clear();
    }
}
