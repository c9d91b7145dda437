//! Who decides in a simulation: the compiled policies of production, or a plain function that a test brings.
//!
//! Knows no world: a situation goes in, an answer comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_engine::{PolicySlot, PolicyWorker, Question};
use tidegate_kernel::contract::{Decision, Situation};
use tidegate_kernel::event::{Answered, Revision};
use tidegate_kernel::picture::Picture;

/// Answers for every policy slot of a fleet.
pub trait Decider {
    /// What the policy in `slot` says.
    fn decide(&mut self, slot: &str, situation: Arc<Situation>, picture: Picture) -> Answered;
}

/// Compiled policies, asked on this thread.
#[derive(Clone, Debug)]
pub struct Compiled {
    worker: PolicyWorker,
    slots: BTreeMap<String, Arc<PolicySlot>>,
}

/// A function in a policy's place: naive policies are short.
#[derive(Clone, Copy, Debug)]
pub struct Plain(pub fn(&Situation) -> Result<Decision, String>);

impl Compiled {
    /// By slot; `worker` belongs to the thread that will ask.
    pub fn new(worker: PolicyWorker, slots: BTreeMap<String, Arc<PolicySlot>>) -> Self {
        Compiled { worker, slots }
    }
}

impl Decider for Compiled {
    fn decide(&mut self, slot: &str, situation: Arc<Situation>, picture: Picture) -> Answered {
        let Some(policy) = self.slots.get(slot) else {
            return answered(Err(format!("no policy was brought for slot {slot}")));
        };
        let memo_format = policy.revision().manifest.memo_format.clone();
        let question = Arc::new(Question { situation, memo_format, picture });
        let mut answer = policy.answered(policy.decide_on(&self.worker, &question));
        // What the machine took is no part of the simulated world.
        answer.took_us = 0;
        answer
    }
}

impl Decider for Plain {
    fn decide(&mut self, _: &str, situation: Arc<Situation>, _: Picture) -> Answered {
        answered((self.0)(&situation))
    }
}

/// In the place of an answer that would count for nothing.
pub(crate) fn unheard() -> Answered {
    answered(Err("something has changed since it was asked".into()))
}

fn answered(result: Result<Decision, String>) -> Answered {
    let revision = Revision {
        number: 1,
        digest: "sha256:plain".into(),
        settings: "sha256:none".into(),
        name: "plain".into(),
        version: "0.0.0".into(),
        memo_format: "1".into(),
    };
    Answered { revision, settings: String::new(), result, reads: Vec::new(), fuel: 0, took_us: 0 }
}
