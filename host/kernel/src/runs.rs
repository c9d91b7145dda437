//! Runs under way: a verdict becomes steps, steps become effects, outcomes become what comes next.
//!
//! Here a run begins and ends; `steps` does what [`crate::saga`] says comes next, and `data` what is particular about databases.

pub(crate) mod data;
mod steps;

use crate::contract::{Decision, Observation, Reason, Severity, State, Verdict};
use crate::desk::Turn;
use crate::event::{Action, Moment, QuestionId, RunId};
use crate::fleet::{Service, ServiceId};
use crate::guard::{Kind, Origin, Proposal};
use crate::kernel::Kernel;
use crate::record::Change;
use crate::rules;
use crate::runbook::{Occasion, Runbook};
use crate::saga::{self, Heading, StepEvent, StepStatus};
use crate::service::{self, Trigger};
use crate::state::{About, Answer, Incident, Life, Question, Run, RunEnd, Step, largest};

use data::AboutData;

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
        let about = self.about_data(proposal);
        let occasion = self.occasion(service, proposal, about.as_ref());
        let steps = runbook.steps(&occasion).map_err(|problem| unsound(&[problem]))?;
        Ok((name, steps))
    }

    fn occasion<'a>(
        &'a self,
        service: &'a Service,
        proposal: &'a Proposal,
        about: Option<&'a AboutData<'a>>,
    ) -> Occasion<'a> {
        let known = self.service_state(proposal.service);
        Occasion {
            fleet: &self.fleet,
            service,
            before: known.map_or(&[], |known| &known.life.shares),
            after: &proposal.shares,
            shifts: &proposal.shifts,
            ttl_seconds: service.route.as_ref().map_or(0, |route| route.ttl_seconds),
            arguments: proposal.invocation.as_ref().map_or(&[], |wanted| &wanted.arguments),
            data: about.map(AboutData::occasion),
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
            promised: Some(self.fleet.services[proposal.service.at()].objectives),
            seen_well: self.seen_well(proposal.service, &life.active, turn.now),
            incident,
            opened: turn.now,
            closed: None,
            data: self.data_move(proposal, turn.now),
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

    /// When a vantage point last found the service well where it is served; none = none of them remembers it.
    fn seen_well(&self, id: ServiceId, active: &str, now: Moment) -> Option<Moment> {
        let site = self.site_id(active)?;
        let interval = self.fleet.services[id.at()].probe.interval;
        let since_well = |look: &Observation| match look.outcome.is_bad() {
            false => look.outcome.is_good().then_some(look.age),
            // So many looks in a row were bad: the one before was not.
            true => (look.good > 0).then(|| look.age + interval * u64::from(look.consecutive)),
        };
        let age = self.sensing.observations(&self.fleet, id, site, now).iter().filter_map(since_well).min()?;
        Some(Moment { mono: now.mono.saturating_sub(age), wall: now.wall.saturating_sub(age) })
    }

    /// The service is on its way, and its epoch has changed hands.
    fn set_off(&mut self, turn: &mut Turn, proposal: &Proposal, life: Life, epoch: u64) {
        let service = self.fleet.services[proposal.service.at()].name.clone();
        self.set(turn, rules::RUN_OPENED, Change::Life { service, life: Life { epoch, ..life.clone() } });
        if matches!(proposal.kind, Kind::Run | Kind::Reapply | Kind::Fence) {
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
        if proposal.origin != Origin::Policy
            || matches!(proposal.kind, Kind::FailBack | Kind::Run | Kind::Reapply | Kind::Fence)
        {
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
        self.evacuation_rests(turn, id);
        if let Some(service) =
            service.filter(|_| matches!(self.state.runs[&id].steps[step].action, Action::PointRoute { .. }))
        {
            self.read_route(turn, service);
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
        if !matches!(run.kind.as_str(), "run" | "reapply" | "fence") {
            self.arrive(turn, service, &run, arrived);
        }
        self.tell_closed(turn, service, &run, arrived);
        self.evacuate_on(turn, id, arrived);
        self.desk.leases.remove(&id);
        self.lead(turn, service);
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
