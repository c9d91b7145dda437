//! Runs under way: a verdict becomes steps, steps become effects, outcomes become what comes next.
//!
//! [`crate::saga`] says what comes next; here it is done, and each status stands in the journal before its effect is
//! begun. The kernel itself waits for health, time and a person's word.

use crate::contract::{Call, Failure, Reason, Severity, State, Status, Verdict};
use crate::contract::{Decision, Millis};
use crate::desk::{Timer, Turn};
use crate::event::{Action, Effect, Moment, QuestionId, RunId, StepOutcome};
use crate::fleet::{Service, ServiceId};
use crate::guard::{Kind, Origin, Proposal};
use crate::kernel::Kernel;
use crate::record::{Cause, Change};
use crate::rules;
use crate::runbook::{Occasion, Runbook};
use crate::saga::{self, Heading, Next, StepEvent, StepState, StepStatus};
use crate::service::{self, Trigger};
use crate::state::{About, Answer, Incident, Life, Question, RouteState, Run, RunEnd, Step, largest};

impl Kernel {
    /// The steps that a proposal would take.
    pub(crate) fn plan_steps(&self, proposal: &Proposal) -> Result<(String, Vec<Step>), Reason> {
        let service = &self.fleet.services[proposal.service.at()];
        let runbook = match &proposal.invocation {
            Some(wanted) => Runbook::named(&self.fleet, &wanted.runbook).map(|book| (wanted.runbook.clone(), book)),
            None => Runbook::for_service(&self.fleet, service, proposal.kind),
        };
        let (name, runbook) = runbook.map_err(|problems| unsound(&problems))?;
        if proposal.kind == Kind::Run && runbook.routes() {
            return Err(Reason::new("runbook", format!("the runbook {name} leads traffic: only a move can start it")));
        }
        if !runbook.acts(service) {
            let text = format!("{} has no route, and the runbook {name} does nothing else", service.name);
            return Err(Reason::new("no-route", text));
        }
        let steps = runbook.steps(&self.occasion(service, proposal)).map_err(|problem| unsound(&[problem]))?;
        Ok((name, steps))
    }

    fn occasion<'a>(&'a self, service: &'a Service, proposal: &'a Proposal) -> Occasion<'a> {
        let known = self.service_state(proposal.service);
        Occasion {
            fleet: &self.fleet,
            service,
            before: known.map_or(&[], |known| &known.life.shares),
            after: &proposal.shares,
            shifts: &proposal.shifts,
            ttl_seconds: service.route.as_ref().map_or(0, |route| route.ttl_seconds),
            arguments: proposal.invocation.as_ref().map_or(&[], |wanted| &wanted.arguments),
        }
    }

    /// Opens a run and starts what can be started. The guard has agreed.
    pub(crate) fn open_run(&mut self, turn: &mut Turn, proposal: &Proposal) -> Result<RunId, Reason> {
        let (runbook, steps) = self.plan_steps(proposal)?;
        let Some(known) = self.service_state(proposal.service) else {
            return Err(Reason::new("unknown-service", "the service is not known yet"));
        };
        let life = known.life.clone();
        let by = match &proposal.origin {
            Origin::Policy => None,
            Origin::Person(name) => Some(name.clone()),
        };
        let id = RunId(self.state.next_run);
        let incident = self.note_incident(turn, proposal);
        let run = Run {
            id,
            service: self.fleet.services[proposal.service.at()].name.clone(),
            kind: proposal.kind.name().to_owned(),
            runbook,
            from: life.active.clone(),
            to: proposal.to.clone(),
            shares: proposal.shares.clone(),
            shares_before: life.shares.clone(),
            epoch: life.epoch + 1,
            by,
            incident,
            opened: turn.now,
            closed: None,
            heading: Heading::Forward,
            end: None,
            steps,
        };
        self.withdraw_moves(turn, proposal.service, "a run has begun");
        self.set(turn, rules::RUN_OPENED, Change::RunOpened { run: Box::new(run.clone()) });
        self.set_off(turn, proposal, life, run.epoch);
        self.tell_opened(turn, proposal.service, &run);
        self.drive(turn, id);
        Ok(id)
    }

    /// The service is on its way, and its epoch has changed hands.
    fn set_off(&mut self, turn: &mut Turn, proposal: &Proposal, life: Life, epoch: u64) {
        let service = self.fleet.services[proposal.service.at()].name.clone();
        self.set(turn, rules::RUN_OPENED, Change::Life { service, life: Life { epoch, ..life.clone() } });
        if matches!(proposal.kind, Kind::Run | Kind::Reapply) {
            return;
        }
        let home = crate::state::same_shares(&proposal.shares, &life.home);
        let trigger = if home && life.state == State::FailedOver { Trigger::Returning } else { Trigger::Leaving };
        self.live_on(turn, proposal.service, trigger);
    }

    /// The service's life goes on by its table; what the table does not have changes nothing.
    pub(crate) fn live_on(&mut self, turn: &mut Turn, id: ServiceId, trigger: Trigger) {
        let Some(life) = self.service_state(id).map(|known| known.life.clone()) else { return };
        let Some(rule) = service::fires(life.state, trigger) else { return };
        let service = self.fleet.services[id.at()].name.clone();
        let life = Life { state: rule.to, since: turn.now, ..life };
        self.set(turn, rule.number, Change::Life { service, life });
    }

    /// An automatic move away belongs to an incident, the same for all services that leave the domain for that cause.
    fn note_incident(&mut self, turn: &mut Turn, proposal: &Proposal) -> Option<u64> {
        if proposal.origin != Origin::Policy || matches!(proposal.kind, Kind::FailBack | Kind::Run | Kind::Reapply) {
            return None;
        }
        let service = self.fleet.services[proposal.service.at()].name.clone();
        let fresh = Incident {
            number: self.state.incidents.last().map_or(1, |last| last.number + 1),
            cause: proposal.cause.clone(),
            failure_domain: self.domain_left(proposal)?,
            opened: turn.now,
            last: turn.now,
            services: [service.clone()].into(),
            seen: false,
        };
        let mut incident = self.incident_of(proposal, turn.now).cloned().unwrap_or(fresh);
        incident.last = turn.now;
        incident.services.insert(service);
        let number = incident.number;
        self.set(turn, rules::INCIDENT, Change::Incident { incident });
        Some(number)
    }

    fn tell_opened(&mut self, turn: &mut Turn, id: ServiceId, run: &Run) {
        let key = match run.incident {
            Some(incident) => format!("incident/{incident}"),
            None => format!("run/{}", run.id.0),
        };
        let who = run.by.as_ref().map_or("by itself".to_owned(), |by| format!("on the word of {by}"));
        let subject = format!("{}: {} from {} to {} has begun, {who}", run.service, run.kind, run.from, run.to);
        let body = format!("Run r{} of the runbook {}. See `tidegate run show r{}`.", run.id.0, run.runbook, run.id.0);
        self.tell(turn, id, &key, Severity::Warning, &subject, &body);
    }

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
                    steps.into_iter().for_each(|step| self.start_step(turn, id, step));
                }
                Next::Undo(step) => self.undo_step(turn, id, step),
                Next::TurnBack => self.head(turn, id, rules::RUN_BACK, Heading::Back),
                Next::Rest(step) => return self.rest(turn, id, step),
                Next::CloseDone => return self.close_run(turn, id, RunEnd::Done),
                Next::CloseUndone => return self.close_run(turn, id, RunEnd::Undone),
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
            _ => self.end_step(turn, id, step, StepEvent::OutcomeUnknown, "no outcome in time"),
        }
    }

    fn step_of(&self, id: RunId, step: usize) -> Option<(Action, String)> {
        let run = self.state.runs.get(&id)?;
        Some((run.steps.get(step)?.action.clone(), run.service.clone()))
    }

    /// What the kernel itself waits for: health, here and now.
    fn look_at_waits(&mut self, turn: &mut Turn, id: RunId) {
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
        if !reading_back && let Some(site) = self.unwell_target(run, step, turn.now) {
            return self.refuse_step(turn, id, step, &site);
        }
        let Some((action, service)) = self.step_of(id, step) else { return };
        let (timeout, now) = (self.state.runs[&id].steps[step].timeout, turn.now.mono);
        let waits_for = match &action {
            Action::Hold { duration } => Some(*duration),
            Action::AwaitHealthy { .. } => Some(timeout),
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
            Action::Hold { .. } | Action::AwaitHealthy { .. } => {}
            Action::Confirm { text } => self.ask_confirm(turn, id, step, &service, text),
            Action::PointRoute { .. } if reading_back => self.read_route_now(turn, &service),
            action => self.perform(turn, id, step, action),
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
        unwell.map(|endpoint| endpoint.site.clone())
    }

    /// Not begun at all, so the point of no return is not passed by it.
    fn refuse_step(&mut self, turn: &mut Turn, id: RunId, step: usize, site: &str) {
        let text = format!("not begun: {site} is no longer well");
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

    fn amend(&mut self, turn: &mut Turn, id: RunId, step: usize, change: impl FnOnce(&mut StepState)) {
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
    fn step_changes(
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
                self.step_changes(turn, id, step, StepEvent::Succeeded, rules::STEP_ENDED, |state| {
                    done.text.clone_into(&mut state.text);
                    state.receipt = (!done.receipt.is_empty()).then(|| done.receipt.clone());
                });
                self.route_written(turn, id, step, false);
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

    /// Between two shifts the policy was asked again: hold, or the same direction, goes on; anything else goes back.
    pub(crate) fn hold_over(&mut self, turn: &mut Turn, id: ServiceId, decision: &Decision, fault: bool) {
        let Some(run) = self.service_state(id).and_then(|known| known.run).and_then(|run| self.state.runs.get(&run))
        else {
            return;
        };
        let waiting = run.steps.iter().position(|step| {
            matches!(step.action, Action::Hold { .. })
                && step.state.status == StepStatus::Running
                && step.state.due.is_none()
        });
        let (Some(step), false) = (waiting, fault) else { return };
        let (run_id, agrees) = (run.id, agrees(&decision.verdict, run));
        let (event, text) = if agrees {
            (StepEvent::Succeeded, "the policy still wants it".to_owned())
        } else {
            (StepEvent::Failed, format!("the policy now says {}", decision.verdict.name()))
        };
        self.end_step(turn, run_id, step, event, &text);
        self.drive(turn, run_id);
    }

    /// Neither on nor back: a person is called, with the words to type.
    fn rest(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        self.head(turn, id, rules::RUN_RESTS, Heading::Resting);
        let run = &self.state.runs[&id];
        let (name, words) = (run.steps[step].name.clone(), words(run).join(", "));
        let text = format!("Run r{} of {} rests at step {name}: {}", id.0, run.service, run.steps[step].state.text);
        let question = Question {
            id: QuestionId(self.state.next_question),
            service: run.service.clone(),
            about: About::Rest { run: id, step },
            text: text.clone(),
            reasons: vec![Reason::new("words", words.clone())],
            asked: turn.now,
            expires: None,
            answer: None,
        };
        let key = format!("rest/{}/{}", id.0, question.id.0);
        let service = self.service_id(&run.service);
        self.set(turn, rules::ASKED, Change::Asked { question: Box::new(question) });
        if let Some(service) = service {
            self.tell(turn, service, &key, Severity::Critical, &text, &format!("Type one of: {words}."));
        }
    }

    /// The run has ended: the lock is free, and the service is where it is.
    pub(crate) fn close_run(&mut self, turn: &mut Turn, id: RunId, end: RunEnd) {
        let Some(run) = self.state.runs.get(&id).cloned() else { return };
        self.withdraw_of_run(turn, id, "the run has ended");
        let arrived = end != RunEnd::Undone;
        self.set(turn, rules::RUN_CLOSED, Change::RunClosed { run: id, end, at: turn.now });
        let Some(service) = self.service_id(&run.service) else { return };
        if run.kind == Kind::Reapply.name() && arrived {
            self.set(turn, rules::SETTLED, Change::Drift { service: run.service.clone(), drift: None });
        }
        if !matches!(run.kind.as_str(), "run" | "reapply") {
            self.arrive(turn, service, &run, arrived);
        }
        self.tell_closed(turn, service, &run, arrived);
        self.judge_health(turn, service);
        self.ask(turn, service);
        self.read_route(turn, service);
    }

    fn arrive(&mut self, turn: &mut Turn, service: ServiceId, run: &Run, arrived: bool) {
        let Some(life) = self.service_state(service).map(|known| known.life.clone()) else { return };
        let shares = if arrived { run.shares.clone() } else { life.shares.clone() };
        let active = if arrived { largest(&shares).to_owned() } else { life.active.clone() };
        let life = Life { shares, active, ..life };
        let trigger = match (arrived, life.is_home()) {
            (true, true) => Trigger::ArrivedHome,
            (true, false) => Trigger::ArrivedAway,
            (false, true) => Trigger::UndoneHome,
            (false, false) => Trigger::UndoneAway,
        };
        self.set(turn, rules::RUN_CLOSED, Change::Life { service: run.service.clone(), life });
        self.live_on(turn, service, trigger);
    }

    fn tell_closed(&mut self, turn: &mut Turn, service: ServiceId, run: &Run, arrived: bool) {
        let (key, others) = match run.incident {
            Some(incident) => (
                format!("incident/{incident}/over"),
                self.state.open_runs().any(|other| other.incident == Some(incident)),
            ),
            None => (format!("run/{}/over", run.id.0), false),
        };
        if !arrived {
            let subject =
                format!("{}: {} to {} was undone; it is served from {}", run.service, run.kind, run.to, run.from);
            return self.tell(turn, service, &format!("undone/{}", run.id.0), Severity::Critical, &subject, "");
        }
        if !others {
            let subject = format!("{}: {} to {} is done", run.service, run.kind, run.to);
            self.tell(turn, service, &key, Severity::Info, &subject, "");
        }
    }

    /// After a start: what was under way is in doubt, and what the kernel itself waits for is waited for again.
    pub(crate) fn resume_runs(&mut self, turn: &mut Turn) {
        let open: Vec<RunId> = self.state.open_runs().map(|run| run.id).collect();
        for id in open {
            for step in 0..self.state.runs[&id].steps.len() {
                self.resume_step(turn, id, step);
            }
            self.drive(turn, id);
        }
    }

    fn resume_step(&mut self, turn: &mut Turn, id: RunId, step: usize) {
        let at = &self.state.runs[&id].steps[step];
        let waits = matches!(at.action, Action::Hold { .. } | Action::AwaitHealthy { .. } | Action::Confirm { .. });
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

    fn ask_confirm(&mut self, turn: &mut Turn, id: RunId, step: usize, service: &str, text: String) {
        let question = Question {
            id: QuestionId(self.state.next_question),
            service: service.to_owned(),
            about: About::Confirm { run: id, step },
            text: text.clone(),
            reasons: Vec::new(),
            asked: turn.now,
            expires: None,
            answer: None,
        };
        let key = format!("question/{}", question.id.0);
        self.set(turn, rules::ASKED, Change::Asked { question: Box::new(question) });
        if let Some(service) = self.service_id(service) {
            self.tell(turn, service, &key, Severity::Critical, &text, "");
        }
    }

    /// Questions of a run that is over, or goes on, need no answer.
    pub(crate) fn withdraw_of_run(&mut self, turn: &mut Turn, id: RunId, why: &str) {
        let of_run = |question: &&Question| match question.about {
            About::Confirm { run, .. } | About::Rest { run, .. } => run == id,
            About::Move { .. } => false,
        };
        let over: Vec<QuestionId> = self.state.open_questions().filter(of_run).map(|question| question.id).collect();
        for question in over {
            self.set(turn, rules::ANSWERED, Change::Answered { question, answer: Answer::Withdrawn(why.into()) });
        }
    }
}

/// What a person can type about a run now.
pub(crate) fn words(run: &Run) -> Vec<String> {
    let resting = run.heading == Heading::Resting;
    let passed = saga::passed(&run.shapes(), &run.states());
    let id = run.id.0;
    let mut words = Vec::new();
    if run.end.is_some() {
        return words;
    }
    if resting {
        words.push(format!("tidegate run retry r{id}"));
        if let Some(step) = run.steps.iter().find(|step| skippable(step.state.status)) {
            words.push(format!("tidegate run skip r{id} {}", step.name));
        }
        words.push(format!("tidegate run finish-by-hand r{id}"));
    }
    if !passed && run.heading != Heading::Back {
        words.push(format!("tidegate run {} r{id}", if resting { "undo" } else { "abort" }));
    }
    words
}

/// Running past its time, or an undo whose last try has not come back.
fn is_late(state: &StepState, now: Moment) -> bool {
    let last_undo = state.status == StepStatus::Undoing && state.undos >= saga::UNDOS_MAX;
    (state.status == StepStatus::Running || last_undo) && state.due.is_some_and(|due| due <= now.mono)
}

fn skippable(status: StepStatus) -> bool {
    matches!(status, StepStatus::Failed | StepStatus::Unknown | StepStatus::Stuck)
}

fn agrees(verdict: &Verdict, run: &Run) -> bool {
    match verdict {
        Verdict::Hold | Verdict::ProbeMore(_) => true,
        Verdict::FailOver(to) | Verdict::SwitchOver(to) | Verdict::FailBack(to) => to.to_site == run.to,
        Verdict::Rebalance(shares) => crate::state::same_shares(shares, &run.shares),
        Verdict::Fence(_) | Verdict::Run(_) | Verdict::Ask(_) => false,
    }
}

fn unsound(problems: &[crate::contract::Problem]) -> Reason {
    let text: Vec<String> = problems.iter().map(|problem| format!("{}: {}", problem.at, problem.text)).collect();
    Reason::new("runbook", text.join("; "))
}
