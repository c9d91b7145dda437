//! Whether runs went as [`crate::saga`] has it: opened by what may open one, stepped in turn, ended as their steps allow.
//!
//! Does not know what a step did: only whether the outcome that is recorded allows what was made of it.

use super::{Follows, Scene, must};
use crate::contract::{Failure, Strategy};
use crate::event::{Action, Command, Moment, RunId, StepOutcome};
use crate::fleet::ServiceId;
use crate::guard::Proposal;
use crate::record::Cause;
use crate::routes::is_answer;
use crate::rules::{self, RuleNumber};
use crate::saga::{self, Heading, Next, StepEvent, StepState};
use crate::state::{Run, RunEnd, ServiceState, Step, same_shares};

/// What may happen to a step by each rule.
pub(super) fn events(rule: RuleNumber) -> &'static [StepEvent] {
    use StepEvent::{
        Failed, OutcomeUnknown, Retried, Skipped, Started, Succeeded, UndoFailed, UndoStarted, UndoSucceeded,
    };
    match rule {
        rules::STEP_STARTED => &[Started, UndoStarted],
        rules::STEP_ENDED => &[Succeeded, Failed, UndoSucceeded, UndoFailed],
        rules::STEP_UNKNOWN | rules::STEP_CUT_SHORT => &[OutcomeUnknown],
        rules::TAKEN_OVER => &[Retried, Skipped],
        rules::RUN_GOES_ON => &[Retried],
        _ => &[],
    }
}

impl Scene<'_> {
    fn open_run(&self, id: RunId) -> Result<&Run, String> {
        let run = self.before.runs.get(&id).filter(|run| run.end.is_none());
        run.ok_or_else(|| format!("no run r{} is under way", id.0))
    }

    fn next_of(&self, run: &Run) -> Next {
        saga::next(&run.shapes(), &run.states(), run.heading, self.record.at.mono)
    }

    pub(super) fn run_opened(&self, run: &Run) -> Follows {
        let (known, id) = (self.service(&run.service)?, run.id.0);
        must(known.run.is_none(), || format!("run r{id} begins while another one of {} is under way", run.service))?;
        must(id == self.before.next_run, || format!("run r{id} is not the next one"))?;
        let life = &known.life;
        let here = run.epoch == life.epoch + 1 && run.from == life.active && run.shares_before == life.shares;
        must(here, || format!("run r{id} does not begin where {} is", run.service))?;
        let untouched = run.steps.iter().all(|step| step.state == StepState::default());
        let fresh = untouched && run.heading == Heading::Forward && run.end.is_none() && run.opened == self.record.at;
        must(fresh, || format!("run r{id} begins with steps already taken"))?;
        if run.by.is_none() { self.by_itself(run, known) } else { Ok(()) }
    }

    /// What nobody ordered was decided, for the service as it was, and nothing stood against it that the journal shows.
    fn by_itself(&self, run: &Run, known: &ServiceState) -> Follows {
        let say = |why: &str| format!("run r{} began by itself {why}", run.id.0);
        let Cause::Decided(decided) = &self.record.cause else { return Err(say("without a decision")) };
        let decision = decided.result.as_ref().map_err(|_| say("without a decision"))?;
        let body = decided.situation.body.as_ref();
        must(body.is_none_or(|told| told.epoch == known.life.epoch), || say("on a decision for another epoch"))?;
        let meant = [Strategy::ActivePassive, Strategy::ActiveActive].into_iter().any(|strategy| {
            let wanted = Proposal::of(&decision.verdict, ServiceId(0), known, strategy);
            wanted.is_some_and(|wanted| {
                wanted.kind.name() == run.kind && wanted.to == run.to && same_shares(&wanted.shares, &run.shares)
            })
        });
        must(meant && decided.service == run.service, || say("and is not what was decided"))?;
        let against = [
            (known.pause.is_some() || self.before.paused.is_some(), "while moves were paused"),
            (self.before.freeze.is_some(), "while moves were frozen"),
            (self.before.brake.is_some(), "while the brake had tripped"),
            (known.drift.is_some(), "while its name led elsewhere"),
        ];
        against.into_iter().try_for_each(|(stood, why)| must(!stood, || say(why)))
    }

    pub(super) fn step(&self, id: RunId, at: usize, after: &StepState) -> Follows {
        let run = self.open_run(id)?;
        let step = run.steps.get(at).ok_or_else(|| format!("run r{} has no step {}", id.0, at + 1))?;
        let name = || format!("step {} ({}) of run r{}", at + 1, step.name, id.0);
        let Some(event) = happened(self.rule, run, step, after, self.record.at) else {
            let amended = self.rule == rules::STEP_STARTED && only_words_differ(&step.state, after);
            return must(amended, || {
                format!("{} cannot go from {:?} to {:?} so", name(), step.state.status, after.status)
            });
        };
        must(self.in_turn(run, at, event), || format!("it was not the turn of {} for {event:?}", name()))?;
        must(self.is_outcome(run, at, event), || format!("no outcome says {event:?} of {}", name()))
    }

    fn in_turn(&self, run: &Run, at: usize, event: StepEvent) -> bool {
        match event {
            StepEvent::Started => matches!(self.next_of(run), Next::Start(steps) if steps.contains(&at)),
            StepEvent::UndoStarted => self.next_of(run) == Next::Undo(at),
            StepEvent::Retried if self.rule == rules::RUN_GOES_ON => {
                let rests_there =
                    run.heading == Heading::Resting && matches!(run.steps[at].action, Action::PointRoute { .. });
                rests_there && self.servers_answered(&run.service)
            }
            StepEvent::Retried | StepEvent::Skipped => self.orders(|_| true),
            _ => true,
        }
    }

    /// Nothing counts as done that nobody said was done, and what is unknown does not count as failed.
    fn is_outcome(&self, run: &Run, at: usize, event: StepEvent) -> bool {
        let outcome = match &self.record.cause {
            Cause::Stepped { run: of, step, outcome } if (*of, *step) == (run.id, at) => Some(outcome),
            _ => None,
        };
        match event {
            StepEvent::Succeeded => match outcome {
                Some(outcome) => matches!(outcome, StepOutcome::Done(_)),
                None => self.found_out(run, &run.steps[at].action),
            },
            StepEvent::UndoSucceeded => matches!(outcome, Some(StepOutcome::Done(_))),
            StepEvent::Failed => {
                !matches!(outcome, Some(StepOutcome::Unknown(_) | StepOutcome::Failed(Failure::UnknownOutcome(_))))
            }
            _ => true,
        }
    }

    /// What the kernel itself waits for it sees itself; a route is also read back.
    fn found_out(&self, run: &Run, action: &Action) -> bool {
        match action {
            Action::Hold { .. } | Action::AwaitHealthy { .. } | Action::Confirm { .. } | Action::AwaitProof { .. } => {
                true
            }
            Action::PointRoute { .. } => {
                matches!(&self.record.cause, Cause::RouteRead { service, result: Ok(_) } if *service == run.service)
            }
            _ => false,
        }
    }

    pub(super) fn run_heading(&self, id: RunId, heading: Heading) -> Follows {
        let run = self.open_run(id)?;
        let passed = saga::passed(&run.shapes(), &run.states());
        must(heading != Heading::Back || !passed, || format!("run r{} turns back past its point of no return", id.0))?;
        let so = match self.rule {
            rules::RUN_BACK => heading == Heading::Back,
            rules::RUN_RESTS => heading == Heading::Resting,
            rules::RUN_GOES_ON => passed && heading == Heading::Forward && self.servers_answered(&run.service),
            _ => self.orders(|_| true) && heading != Heading::Resting,
        };
        must(so, || format!("run r{} does not head {heading:?} by it", id.0))
    }

    fn servers_answered(&self, service: &str) -> bool {
        matches!(&self.record.cause, Cause::RouteRead { service: of, result } if of == service && is_answer(result))
    }

    pub(super) fn run_closed(&self, id: RunId, end: &RunEnd, at: Moment) -> Follows {
        let run = self.open_run(id)?;
        let so = match end {
            RunEnd::Done => self.next_of(run) == Next::CloseDone,
            RunEnd::Undone => self.next_of(run) == Next::CloseUndone,
            RunEnd::ByHand(_) => {
                let ordered = |order: &Command| matches!(order, Command::FinishByHand { run, .. } if *run == id);
                run.heading == Heading::Resting && self.orders(ordered)
            }
        };
        must(so && at == self.record.at, || format!("run r{} cannot end so: its steps have not come to that", id.0))
    }
}

fn happened(rule: RuleNumber, run: &Run, step: &Step, after: &StepState, at: Moment) -> Option<StepEvent> {
    let done = run.steps.iter().filter(|step| step.state.done_as > 0).count() as u32;
    let leads_there = |event: &StepEvent| {
        let next = step.state.after(*event, &step.shape(), at, done);
        next.is_ok_and(|next| only_words_differ(&next, after))
    };
    events(rule).iter().copied().find(leads_there)
}

/// The words and what its undo may need are the outcome's; when it is due may be known better than the table knows it.
fn only_words_differ(a: &StepState, b: &StepState) -> bool {
    let of = |state: &StepState| StepState { due: None, text: String::new(), receipt: None, ..state.clone() };
    of(a) == of(b)
}
