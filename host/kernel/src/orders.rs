//! What people order: each order is taken or refused as a whole, and answered with what happened or why not.
//!
//! A person's word passes what protects from automation (see [`crate::guard`]), never a lock, an epoch, drift, or what the
//! target cannot bear. Who may order what is the shell's to know.

use crate::contract::{Reason, Share, State, Status, Strategy};
use crate::desk::Turn;
use crate::event::{Accepted, Command, Effect, Moment, Refused, RunId};
use crate::fleet::ServiceId;
use crate::guard::{Judged, Kind, Origin, Proposal};
use crate::kernel::Kernel;
use crate::questions::{accepted, usage};
use crate::record::{Cause, Change};
use crate::rules::{self, RuleNumber};
use crate::saga::{self, Heading, StepEvent, StepStatus};
use crate::state::{Life, Pause, RouteState, Run, RunEnd, largest, same_shares, whole_move};

impl Kernel {
    /// A person wants something.
    pub(crate) fn ordered(&mut self, order: u64, by: String, command: Command, now: Moment, effects: &mut Vec<Effect>) {
        let mut turn = Turn::new(now);
        let result = self.obey(&mut turn, &by, &command);
        turn.effect(Effect::Reply { order, result });
        turn.finish(|| Cause::Ordered { by, command }, effects);
    }

    fn obey(&mut self, turn: &mut Turn, by: &str, command: &Command) -> Result<Accepted, Refused> {
        match command {
            Command::Failover { .. }
            | Command::Switchover { .. }
            | Command::Failback { .. }
            | Command::Reapply { .. } => {
                let proposal = self.proposal_of(command, by, turn.now)?;
                self.begin(turn, &proposal)
            }
            Command::Evacuate { site, to } => self.evacuate(turn, by, site, to.as_deref()),
            Command::Pause { service, reason } => self.pause(turn, by, service.as_deref(), reason),
            Command::Resume { service } => self.resume(turn, service.as_deref()),
            Command::Approve { question, option } => self.approve(turn, by, *question, *option),
            Command::Reject { question, reason } => self.reject(turn, by, *question, reason),
            Command::Adopt { service } => self.adopt(turn, service),
            Command::Retry { run } => self.retry(turn, by, *run),
            Command::Skip { run, step } => self.skip(turn, by, *run, step),
            Command::Undo { run } => self.turn_back(turn, by, *run, true),
            Command::Abort { run } => self.turn_back(turn, by, *run, false),
            Command::FinishByHand { run, note } => self.finish_by_hand(turn, by, *run, note),
            Command::Rearm { note } => self.rearm(turn, by, note),
        }
    }

    /// What an order about a move would change.
    pub(crate) fn proposal_of(&self, command: &Command, by: &str, now: Moment) -> Result<Proposal, Refused> {
        let name = match command {
            Command::Failover { service, .. }
            | Command::Switchover { service, .. }
            | Command::Failback { service, .. }
            | Command::Reapply { service } => service,
            _ => return Err(usage("command", "only failover, switchover, failback and reapply have a plan")),
        };
        let id = self.known_service(name)?;
        let Some(known) = self.service_state(id) else { return Err(usage("service", "it is not known yet")) };
        let blank =
            Proposal { origin: Origin::Person(by.into()), cause: "ordered".into(), ..Proposal::blank(id, known) };
        match command {
            Command::Failover { to: None, .. } if self.fleet.services[id.at()].strategy == Strategy::ActiveActive => {
                let shares = self.shares_without_the_bad(id, now).ok_or_else(|| nowhere(name))?;
                Ok(blank.sharing(&shares, &known.life.home))
            }
            Command::Failover { to, .. } | Command::Switchover { to, .. } => {
                let lost = matches!(command, Command::Failover { .. }) && self.is_lost(id, now);
                let kind = if lost { Kind::FailOver } else { Kind::SwitchOver };
                let accept_loss = if let Command::Failover { accept_loss, .. } = command { *accept_loss } else { None };
                let blank = Proposal { accept_loss, ..blank };
                let best = || self.best_target(id, kind, &blank, now).ok_or_else(|| nowhere(name));
                let to = to.clone().map_or_else(best, Ok)?;
                Ok(self.with_data(blank.moving(kind, &whole_move(&to)), now))
            }
            Command::Failback { to: Some(to), .. } => {
                Ok(self.with_data(blank.moving(Kind::FailBack, &whole_move(to)), now))
            }
            Command::Failback { .. } => {
                let (shares, to) = (known.life.home.clone(), known.life.home_site().to_owned());
                Ok(self.with_data(Proposal { kind: Kind::FailBack, shares, to, ..blank }, now))
            }
            _ => Ok(Proposal { kind: Kind::Reapply, ..blank }),
        }
    }

    fn known_service(&self, name: &str) -> Result<ServiceId, Refused> {
        self.service_id(name).ok_or_else(|| usage("service", &format!("no service {name} is declared")))
    }

    /// Its site does not answer, or its primary does not.
    fn is_lost(&self, id: ServiceId, now: Moment) -> bool {
        let active = self.service_state(id).and_then(|known| self.site_id(&known.life.active));
        let site_lost = active.is_none_or(|site| self.sensing.consensus(id, site, now).status == Status::Unhealthy);
        site_lost || self.primary_is_silent(id, now)
    }

    /// The best other place that the guard would let a person choose: by rank.
    fn best_target(&self, id: ServiceId, kind: Kind, blank: &Proposal, now: Moment) -> Option<String> {
        let known = self.service_state(id)?;
        let mut places: Vec<_> = self.fleet.services[id.at()].places.iter().map(|place| place.site).collect();
        places.sort_by_key(|site| self.fleet.sites[site.at()].rank);
        let names = places.into_iter().map(|site| self.fleet.sites[site.at()].name.clone());
        let mut others = names.filter(|name| known.life.share(name) < 100);
        others.find(|name| {
            let proposal = self.with_data(blank.clone().moving(kind, &whole_move(name)), now);
            self.guard(&proposal, now) == Judged::Go
        })
    }

    /// Active-active: the shares of the sites that are not well, shared out among those that are, by their own shares.
    pub(crate) fn shares_without_the_bad(&self, id: ServiceId, now: Moment) -> Option<Vec<Share>> {
        let known = self.service_state(id)?;
        let well = |share: &&Share| {
            let site = self.site_id(&share.site);
            site.is_some_and(|site| self.sensing.consensus(id, site, now).status != Status::Unhealthy)
        };
        let staying: Vec<Share> = known.life.home.iter().filter(well).cloned().collect();
        scaled(&staying)
    }

    /// The guard's no, as the answer to an order.
    pub(crate) fn admit(&self, proposal: &Proposal, turn: &Turn) -> Result<(), Refused> {
        match self.guard(proposal, turn.now) {
            Judged::Go => Ok(()),
            judged => Err(Refused { by_guard: true, reasons: judged.reasons() }),
        }
    }

    pub(crate) fn begin(&mut self, turn: &mut Turn, proposal: &Proposal) -> Result<Accepted, Refused> {
        self.admit(proposal, turn)?;
        let run = self.open_run(turn, proposal).map_err(|reason| Refused { by_guard: true, reasons: vec![reason] })?;
        let text = format!("run r{} has begun: {} to {}", run.0, proposal.kind.name(), proposal.to);
        Ok(Accepted { text, run: Some(run), question: None })
    }

    fn pause(&mut self, turn: &mut Turn, by: &str, service: Option<&str>, reason: &str) -> Result<Accepted, Refused> {
        if let Some(name) = service {
            self.known_service(name)?;
        }
        let pause = Pause { by: by.into(), reason: reason.into(), since: turn.now };
        self.set(turn, rules::PAUSED, Change::Pause { service: service.map(Into::into), pause: Some(pause) });
        let what = service.unwrap_or("the whole fleet");
        Ok(accepted(format!("automatic moves of {what} are paused; runs under way go on"), None))
    }

    fn resume(&mut self, turn: &mut Turn, service: Option<&str>) -> Result<Accepted, Refused> {
        let asked: Vec<ServiceId> = match service {
            Some(name) => vec![self.known_service(name)?],
            None => self.service_ids().collect(),
        };
        self.set(turn, rules::PAUSED, Change::Pause { service: service.map(Into::into), pause: None });
        asked.into_iter().for_each(|id| self.ask(turn, id));
        Ok(accepted(format!("automatic moves of {} are resumed", service.unwrap_or("the whole fleet")), None))
    }

    fn rearm(&mut self, turn: &mut Turn, by: &str, note: &str) -> Result<Accepted, Refused> {
        if self.state.brake.is_none() && self.state.freeze.is_none() {
            return Err(usage("armed", "neither the brake nor a freeze is in force"));
        }
        self.set(turn, rules::REARMED, Change::Brake { tripped: None });
        self.set(turn, rules::REARMED, Change::Freeze { freeze: None });
        self.desk.turned_bad.clear();
        self.forget_incidents(turn);
        self.service_ids().for_each(|id| self.ask(turn, id));
        Ok(accepted(format!("re-armed by {by}: {note}"), None))
    }

    /// What a person has looked at no longer counts for the brake.
    fn forget_incidents(&mut self, turn: &mut Turn) {
        self.set(turn, rules::REARMED, Change::IncidentsSeen);
    }

    /// What the servers say is right: the service is where its name leads.
    fn adopt(&mut self, turn: &mut Turn, name: &str) -> Result<Accepted, Refused> {
        let id = self.known_service(name)?;
        let known = self.service_state(id).ok_or_else(|| usage("service", "it is not known yet"))?;
        let drift = known.drift.clone().ok_or_else(|| usage("drift", "there is nothing to adopt"))?;
        if known.run.is_some() {
            return Err(guard_says("move-under-way", "a run of this service is under way"));
        }
        let shares = self.shares_of(id, &drift.found).ok_or_else(|| {
            guard_says(
                "foreign-target",
                "the name leads where no place of the service is declared; declare it, or reapply",
            )
        })?;
        let life = self.life_with(id, shares, turn.now);
        let route = RouteState {
            endpoints: drift.found,
            ttl_seconds: drift.ttl_seconds,
            changed: Some(drift.since),
            old_ttl_seconds: drift.ttl_seconds,
        };
        let service = name.to_owned();
        self.set(turn, rules::SETTLED, Change::Route { service: service.clone(), route });
        self.set(turn, rules::SETTLED, Change::Drift { service: service.clone(), drift: None });
        if let Some(life) = life {
            self.set(turn, rules::SETTLED, Change::Life { service, life });
        }
        self.judge_health(turn, id);
        self.ask(turn, id);
        Ok(accepted(format!("adopted: {name} is where its name leads"), None))
    }

    fn life_with(&self, id: ServiceId, shares: Vec<Share>, now: Moment) -> Option<Life> {
        let life = self.service_state(id)?.life.clone();
        if same_shares(&shares, &life.shares) {
            return None;
        }
        let home = same_shares(&shares, &life.home);
        let state = if home { State::Normal } else { State::FailedOver };
        Some(Life { active: largest(&shares).to_owned(), shares, state, since: now, epoch: life.epoch + 1, ..life })
    }

    fn retry(&mut self, turn: &mut Turn, by: &str, id: RunId) -> Result<Accepted, Refused> {
        let run = self.resting(id)?;
        let stuck = run.steps.iter().any(|step| step.state.status == StepStatus::Stuck);
        for step in 0..run.steps.len() {
            self.step_event(turn, id, step, StepEvent::Retried, &format!("{by} wants another try"), rules::TAKEN_OVER);
        }
        self.go_on(turn, id, rules::TAKEN_OVER, if stuck { Heading::Back } else { Heading::Forward });
        Ok(taken(id, "tried again"))
    }

    fn skip(&mut self, turn: &mut Turn, by: &str, id: RunId, name: &str) -> Result<Accepted, Refused> {
        let run = self.resting(id)?;
        let step = run.steps.iter().position(|step| step.name == name);
        let step = step.ok_or_else(|| usage("step", &format!("run r{} has no step {name}", id.0)))?;
        let back = run.steps[step].state.status == StepStatus::Stuck;
        let text = format!("{by} does without it");
        if !self.step_event(turn, id, step, StepEvent::Skipped, &text, rules::TAKEN_OVER) {
            return Err(usage("step", &format!("{name} has not failed: there is nothing to skip")));
        }
        self.go_on(turn, id, rules::TAKEN_OVER, if back { Heading::Back } else { Heading::Forward });
        Ok(taken(id, "goes on without it"))
    }

    /// Undo is for a run that rests, abort for one that is under way: both stop at the point of no return.
    fn turn_back(&mut self, turn: &mut Turn, by: &str, id: RunId, resting: bool) -> Result<Accepted, Refused> {
        let run = if resting { self.resting(id)? } else { self.open_run_of(id)? };
        if saga::passed(&run.shapes(), &run.states()) {
            let text = "the run is past its point of no return: it can be retried, a step skipped, or finished by hand";
            return Err(guard_says("point-of-no-return", text));
        }
        for step in 0..run.steps.len() {
            if run.steps[step].action.waits() && run.steps[step].state.status == StepStatus::Running {
                self.end_step(turn, id, step, StepEvent::Failed, &format!("{by} turned the run back"));
            }
            if run.steps[step].state.status == StepStatus::Unknown {
                self.step_event(turn, id, step, StepEvent::Retried, "", rules::TAKEN_OVER);
            }
        }
        self.go_on(turn, id, rules::TAKEN_OVER, Heading::Back);
        Ok(taken(id, "turns back"))
    }

    fn finish_by_hand(&mut self, turn: &mut Turn, by: &str, id: RunId, note: &str) -> Result<Accepted, Refused> {
        let run = self.resting(id)?;
        let open = |step: &usize| !matches!(run.steps[*step].state.status, StepStatus::Done | StepStatus::Undone);
        for step in (0..run.steps.len()).filter(open) {
            self.step_event(turn, id, step, StepEvent::Skipped, &format!("{by} did it by hand"), rules::TAKEN_OVER);
        }
        self.close_run(turn, id, RunEnd::ByHand(format!("{by}: {note}")));
        Ok(taken(id, "is finished by hand"))
    }

    /// A run that rests, or is under way, goes that way from now on.
    pub(crate) fn go_on(&mut self, turn: &mut Turn, id: RunId, rule: RuleNumber, heading: Heading) {
        self.withdraw_of_run(turn, id, "the run goes on");
        self.head(turn, id, rule, heading);
        self.drive(turn, id);
    }

    fn resting(&self, id: RunId) -> Result<Run, Refused> {
        let run = self.open_run_of(id)?;
        if run.heading == Heading::Resting {
            return Ok(run);
        }
        Err(usage("not-resting", &format!("run r{} is under way; `tidegate run abort r{}` turns it back", id.0, id.0)))
    }

    fn open_run_of(&self, id: RunId) -> Result<Run, Refused> {
        let run = self.state.runs.get(&id).filter(|run| run.end.is_none());
        run.cloned().ok_or_else(|| usage("run", &format!("no run r{} is under way", id.0)))
    }
}

/// The same proportions, adding up to 100; none if nothing is left.
pub(crate) fn scaled(shares: &[Share]) -> Option<Vec<Share>> {
    let whole: u32 = shares.iter().map(|share| share.per_cent).sum();
    if whole == 0 {
        return None;
    }
    let mut scaled: Vec<Share> =
        shares.iter().map(|s| Share { site: s.site.clone(), per_cent: s.per_cent * 100 / whole }).collect();
    let missing = 100 - scaled.iter().map(|share| share.per_cent).sum::<u32>();
    scaled[0].per_cent += missing;
    Some(scaled)
}

fn taken(id: RunId, text: &str) -> Accepted {
    Accepted { text: format!("run r{} {text}", id.0), run: Some(id), question: None }
}

fn guard_says(code: &str, text: &str) -> Refused {
    Refused { by_guard: true, reasons: vec![Reason::new(code, text)] }
}

fn nowhere(service: &str) -> Refused {
    guard_says("no-target", &format!("{service} has no other place that is well and has room; nothing was changed"))
}
