//! Steps of runs: what comes next is begun, and what came of it is noted.
//!
//! [`crate::saga`] says what comes next; here it is done, and each status stands in the journal before its effect is
//! begun. The kernel itself waits for health, time, proofs and a person's word.

use super::data;
use crate::contract::{Call, Failure, Millis, Status};
use crate::desk::{Timer, Turn};
use crate::event::{Action, Effect, Moment, RunId, StepOutcome};
use crate::fleet::ServiceId;
use crate::kernel::Kernel;
use crate::record::{Cause, Change};
use crate::rules;
use crate::saga::{self, Heading, Next, StepEvent, StepState, StepStatus};
use crate::state::{RouteState, Run, RunEnd};

impl Kernel {
    /// Goes on with a service's run, if it has one: something that its steps wait for may have come.
    pub(crate) fn drive_service(&mut self, turn: &mut Turn, id: ServiceId) {
        if let Some(run) = self.service_state(id).and_then(|known| known.run) {
            self.drive(turn, run);
        }
    }

    /// Does what comes next, until there is something to wait for.
    pub(crate) fn drive(&mut self, turn: &mut Turn, id: RunId) {
        loop {
            self.look_at_waits(turn, id);
            let Some(run) = self.state.runs.get(&id).filter(|run| run.end.is_none()) else { return };
            let next = saga::next(&run.shapes(), &run.states(), run.heading, turn.now.mono);
            match next {
                Next::Wait => return self.wait_for_run(id, turn.now),
                Next::Start(steps) => {
                    let blind = |step: &usize| self.is_blind_for(id, *step, turn.now);
                    let steps: Vec<usize> = steps.into_iter().filter(|step| !blind(step)).collect();
                    if steps.is_empty() {
                        self.desk.at(self.sensing.warm_at(), Timer::Run(id));
                        return self.wait_for_run(id, turn.now);
                    }
                    self.start_steps(turn, id, steps);
                }
                Next::Undo(step) => self.undo_step(turn, id, step),
                Next::TurnBack => self.head(turn, id, rules::RUN_BACK, Heading::Back),
                Next::Rest(step) => return self.rest(turn, id, step),
                Next::CloseDone => return self.close_run(turn, id, RunEnd::Done),
                Next::CloseUndone => return self.close_run(turn, id, RunEnd::Undone),
            }
        }
    }

    /// Those that can be started side by side; one that is refused turns the run, and then the others are not begun.
    fn start_steps(&mut self, turn: &mut Turn, id: RunId, steps: Vec<usize>) {
        let heading = |kernel: &Kernel| kernel.state.runs.get(&id).map(|run| run.heading);
        let before = heading(self);
        for step in steps {
            if heading(self) == before {
                self.start_step(turn, id, step);
            }
        }
    }

    /// Right after a start nothing is known of the targets yet: leading the name anywhere waits for the warm-up.
    fn is_blind_for(&self, id: RunId, step: usize, now: Moment) -> bool {
        let Some(at) = self.state.runs.get(&id).map(|run| &run.steps[step]) else { return false };
        let fresh = at.state.status != StepStatus::Unknown && matches!(at.action, Action::PointRoute { .. });
        fresh && self.sensing.warming_up(now)
    }

    fn wait_for_run(&mut self, id: RunId, now: Moment) {
        let due = self.state.runs.get(&id).and_then(|run| saga::next_due(&run.states(), now.mono));
        if let Some(due) = due {
            self.desk.at(due, Timer::Run(id));
        }
    }

    pub(crate) fn head(&mut self, turn: &mut Turn, run: RunId, rule: u16, heading: Heading) {
        self.set(turn, rule, Change::RunHeading { run, heading });
    }

    /// A due time of a run has come.
    pub(crate) fn run_due(&mut self, turn: &mut Turn, id: RunId) {
        let Some(run) = self.state.runs.get(&id).filter(|run| run.end.is_none()) else { return };
        let late: Vec<usize> = (0..run.steps.len()).filter(|&at| is_late(&run.steps[at].state, turn.now)).collect();
        late.into_iter().for_each(|step| self.step_late(turn, id, step));
        self.drive(turn, id);
    }

    fn step_late(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        let Some((action, service)) = self.step_of(id, step) else { return };
        if self.state.runs[&id].steps[step].state.status == StepStatus::Undoing {
            return self.end_step(turn, id, step, StepEvent::UndoFailed, "no outcome in time");
        }
        match action {
            Action::Hold { .. } => {
                self.amend(turn, id, step, |state| {
                    state.due = None;
                    state.text = "held; the policy is asked again".into();
                });
                if let Some(service) = self.service_id(&service) {
                    self.ask(turn, service);
                }
            }
            Action::AwaitHealthy { site, .. } => {
                self.end_step(turn, id, step, StepEvent::Failed, &format!("not healthy at {site} in time"));
            }
            Action::Confirm { .. } => self.end_step(turn, id, step, StepEvent::Failed, "nobody answered in time"),
            Action::AwaitProof { node, .. } => self.proof_late(turn, id, step, &service, &node),
            _ => self.end_step(turn, id, step, StepEvent::OutcomeUnknown, "no outcome in time"),
        }
    }

    fn step_of(&self, id: RunId, step: usize) -> Option<(Action, String)> {
        let run = self.state.runs.get(&id)?;
        Some((run.steps.get(step)?.action.clone(), run.service.clone()))
    }

    /// What the kernel itself waits for: health, here and now.
    fn look_at_waits(&mut self, turn: &mut Turn, id: RunId) {
        self.look_for_proof(turn, id);
        let Some(run) = self.state.runs.get(&id) else { return };
        let met: Vec<usize> = (0..run.steps.len())
            .filter(|&at| run.steps[at].state.status == StepStatus::Running)
            .filter(|&at| match &run.steps[at].action {
                Action::AwaitHealthy { service, site } => self.is_healthy(service, site, turn.now),
                _ => false,
            })
            .collect();
        for step in met {
            self.end_step(turn, id, step, StepEvent::Succeeded, "healthy by consensus");
        }
    }

    fn is_healthy(&self, service: &str, site: &str, now: Moment) -> bool {
        let (Some(service), Some(site)) = (self.service_id(service), self.site_id(site)) else { return false };
        self.sensing.consensus(service, site, now).status == Status::Healthy
    }

    fn start_step(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let reading_back = run.steps[step].state.status == StepStatus::Unknown;
        let not_yet = || self.unwell_target(run, step, turn.now).or_else(|| self.not_promotable(run, step));
        if let Some(why) = (!reading_back).then(not_yet).flatten() {
            return self.refuse_step(turn, id, step, &why);
        }
        let Some((action, service)) = self.step_of(id, step) else { return };
        let (timeout, now) = (self.state.runs[&id].steps[step].timeout, turn.now.mono);
        let waits_for = match &action {
            Action::Hold { duration } => Some(*duration),
            Action::AwaitHealthy { .. } => Some(timeout),
            Action::AwaitProof { .. } => Some(data::PROOF_PATIENCE),
            Action::Confirm { .. } => Some(if timeout > 0 { timeout } else { Millis::MAX }),
            _ => None,
        };
        let begun = self.step_changes(turn, id, step, StepEvent::Started, rules::STEP_STARTED, |state| {
            if let Some(wait) = waits_for {
                state.due = Some(now.saturating_add(wait)).filter(|due| *due < Millis::MAX);
            }
        });
        match action {
            _ if !begun => {}
            Action::Hold { .. } | Action::AwaitHealthy { .. } | Action::AwaitProof { .. } => {}
            Action::Confirm { text } => self.ask_confirm(turn, id, step, &service, text),
            Action::PointRoute { .. } if reading_back => self.read_route_now(turn, &service),
            action => {
                let action = self.prepared(turn, id, action);
                self.perform(turn, id, step, action);
            }
        }
    }

    /// Asked again right before the name is led anywhere: no traffic to a site that is no longer well.
    fn unwell_target(&self, run: &Run, step: usize, now: Moment) -> Option<String> {
        let Action::PointRoute { route, .. } = &run.steps[step].action else { return None };
        let service = self.service_id(&run.service)?;
        let before = |site: &str| run.shares_before.iter().find(|s| s.site == site).map_or(0, |s| s.per_cent);
        let unwell = route.endpoints.iter().filter(|to| to.weight > before(&to.site)).find(|to| {
            let site = self.site_id(&to.site);
            let status = site.map(|site| self.sensing.consensus(service, site, now).status);
            !matches!(status, Some(Status::Healthy | Status::Degraded))
        });
        unwell.map(|endpoint| format!("{} is no longer well", endpoint.site))
    }

    /// Not begun at all, so the point of no return is not passed by it.
    fn refuse_step(&mut self, turn: &mut Turn, id: RunId, step: usize, why: &str) {
        let text = format!("not begun: {why}");
        self.amend(turn, id, step, |state| {
            state.text = text;
            state.due = None;
        });
        let run = &self.state.runs[&id];
        if saga::passed(&run.shapes(), &run.states()) {
            self.rest(turn, id, step);
        } else {
            self.head(turn, id, rules::RUN_BACK, Heading::Back);
        }
    }

    fn undo_step(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        if !self.step_event(turn, id, step, StepEvent::UndoStarted, "", rules::STEP_STARTED) {
            return;
        }
        let Some(undo) = self.state.runs.get(&id).and_then(|run| run.steps[step].undo.clone()) else { return };
        let receipt = self.state.runs[&id].steps[step].state.receipt.clone();
        let action = match undo {
            Action::UndoAction { slot, name, .. } => Action::UndoAction { slot, name, receipt },
            other => other,
        };
        self.perform(turn, id, step, action);
    }

    fn perform(&self, turn: &mut Turn, id: RunId, step: usize, action: Action) {
        let run = &self.state.runs[&id];
        let at = &run.steps[step];
        let undoing = at.state.status == StepStatus::Undoing && !matches!(action, Action::UndoAction { .. });
        // An action's undo goes by the key of what it undoes; another call has a key of its own.
        let suffix = if undoing { "/undo" } else { "" };
        let key = format!("r{}/{}/{}{suffix}", id.0, at.name, at.state.attempt);
        let call = Call { epoch: run.epoch, key, timeout: at.timeout };
        turn.effect(Effect::Perform { run: id, step, action, call });
    }

    fn set_due(&mut self, turn: &mut Turn, id: RunId, step: usize, due: Option<Millis>) {
        self.amend(turn, id, step, |state| state.due = due);
    }

    pub(super) fn amend(&mut self, turn: &mut Turn, id: RunId, step: usize, change: impl FnOnce(&mut StepState)) {
        let Some(at) = self.state.runs.get(&id).and_then(|run| run.steps.get(step)) else { return };
        let mut state = at.state.clone();
        change(&mut state);
        self.set(turn, rules::STEP_STARTED, Change::Step { run: id, step, state });
    }

    /// Applies an event to a step; one that it cannot have counts for nothing.
    pub(crate) fn step_event(
        &mut self,
        turn: &mut Turn,
        id: RunId,
        step: usize,
        event: StepEvent,
        text: &str,
        rule: u16,
    ) -> bool {
        self.step_changes(turn, id, step, event, rule, |state| {
            if !text.is_empty() {
                text.clone_into(&mut state.text);
            }
        })
    }

    /// As [`Kernel::step_event`], with what else is to be noted of the step.
    pub(super) fn step_changes(
        &mut self,
        turn: &mut Turn,
        id: RunId,
        step: usize,
        event: StepEvent,
        rule: u16,
        also: impl FnOnce(&mut StepState),
    ) -> bool {
        let Some(run) = self.state.runs.get(&id) else { return false };
        let Some(at) = run.steps.get(step) else { return false };
        let done = run.steps.iter().filter(|step| step.state.done_as > 0).count() as u32;
        let Ok(mut state) = at.state.after(event, &at.shape(), turn.now, done) else { return false };
        also(&mut state);
        self.set(turn, rule, Change::Step { run: id, step, state });
        true
    }

    pub(crate) fn end_step(&mut self, turn: &mut Turn, id: RunId, step: usize, event: StepEvent, text: &str) {
        let rule = if event == StepEvent::OutcomeUnknown { rules::STEP_UNKNOWN } else { rules::STEP_ENDED };
        self.step_event(turn, id, step, event, text, rule);
    }

    /// A step's call came back, or is known to have been cut short.
    pub(crate) fn stepped(
        &mut self,
        id: RunId,
        step: usize,
        outcome: StepOutcome,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        let Some(status) = self.state.runs.get(&id).and_then(|run| run.steps.get(step)).map(|at| at.state.status)
        else {
            return;
        };
        match status {
            StepStatus::Running => self.did(&mut turn, id, step, &outcome),
            StepStatus::Undoing => self.undid(&mut turn, id, step, &outcome),
            _ => return,
        }
        self.drive(&mut turn, id);
        turn.finish(|| Cause::Stepped { run: id, step, outcome }, effects);
    }

    fn did(&mut self, turn: &mut Turn, id: RunId, step: usize, outcome: &StepOutcome) {
        match outcome {
            StepOutcome::Done(done) => {
                if let Some(node) = self.unread_position(id, step, &done.receipt) {
                    let text = format!("node {node} did not say how far it has come");
                    return self.end_step(turn, id, step, StepEvent::Failed, &text);
                }
                self.step_changes(turn, id, step, StepEvent::Succeeded, rules::STEP_ENDED, |state| {
                    done.text.clone_into(&mut state.text);
                    state.receipt = (!done.receipt.is_empty()).then(|| done.receipt.clone());
                });
                self.route_written(turn, id, step, false);
                self.data_changed(turn, id, step);
            }
            StepOutcome::Unknown(text) | StepOutcome::Failed(Failure::UnknownOutcome(text)) => {
                self.end_step(turn, id, step, StepEvent::OutcomeUnknown, text);
            }
            StepOutcome::Failed(failure) => self.step_failed(turn, id, step, failure),
        }
    }

    /// What no repetition can mend is not tried again.
    fn step_failed(&mut self, turn: &mut Turn, id: RunId, step: usize, failure: &Failure) {
        let hopeless = matches!(failure, Failure::Denied(_) | Failure::Invalid(_) | Failure::Stale(_));
        self.step_changes(turn, id, step, StepEvent::Failed, rules::STEP_ENDED, |state| {
            state.text = failure.to_string();
            state.due = state.due.filter(|_| !hopeless);
        });
        self.data_failed(turn, id, step);
    }

    fn undid(&mut self, turn: &mut Turn, id: RunId, step: usize, outcome: &StepOutcome) {
        match outcome {
            StepOutcome::Done(done) => {
                self.end_step(turn, id, step, StepEvent::UndoSucceeded, &done.text);
                self.route_written(turn, id, step, true);
            }
            StepOutcome::Unknown(text) => self.end_step(turn, id, step, StepEvent::UndoFailed, text),
            StepOutcome::Failed(failure) => {
                self.end_step(turn, id, step, StepEvent::UndoFailed, &failure.to_string());
            }
        }
    }

    /// A route step has ended well: that is where the name leads now.
    pub(crate) fn route_written(&mut self, turn: &mut Turn, id: RunId, step: usize, undone: bool) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let at = &run.steps[step];
        let action = if undone { at.undo.as_ref() } else { Some(&at.action) };
        let (Some(Action::PointRoute { route, .. }), Some(service)) = (action, self.service_id(&run.service)) else {
            return;
        };
        let old = self.service_state(service).and_then(|known| known.route.as_ref());
        let written = RouteState {
            endpoints: route.endpoints.clone(),
            ttl_seconds: route.ttl_seconds,
            changed: Some(turn.now),
            old_ttl_seconds: old.map_or(route.ttl_seconds, |old| old.ttl_seconds),
        };
        let service = run.service.clone();
        self.set(turn, rules::ROUTE_WRITTEN, Change::Route { service, route: written });
    }

    pub(super) fn resume_step(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        let at = &self.state.runs[&id].steps[step];
        let waits = at.action.waits();
        match at.state.status {
            StepStatus::Running if !waits => {
                let text = "the host stopped while it was under way";
                self.step_event(turn, id, step, StepEvent::OutcomeUnknown, text, rules::STEP_CUT_SHORT);
            }
            StepStatus::Undoing => self.set_due(turn, id, step, Some(turn.now.mono)),
            StepStatus::Running if matches!(at.action, Action::Hold { .. }) && at.state.due.is_none() => {
                let service = self.state.runs[&id].service.clone();
                if let Some(service) = self.service_id(&service) {
                    self.ask(turn, service);
                }
            }
            _ => {}
        }
    }
}

/// Running past its time, or an undo whose last try has not come back.
fn is_late(state: &StepState, now: Moment) -> bool {
    let last_undo = state.status == StepStatus::Undoing && state.undos >= saga::UNDOS_MAX;
    (state.status == StepStatus::Running || last_undo) && state.due.is_some_and(|due| due <= now.mono)
}
