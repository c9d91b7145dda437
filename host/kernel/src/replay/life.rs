//! Whether a service's life, and where its name leads, changed as the rules have it.
//!
//! Does not know why somebody was well or ill: that was seen, and is not journaled.

use super::{Follows, Scene, must};
use crate::contract::State;
use crate::event::{Action, Command};
use crate::record::{Cause, Change};
use crate::rules;
use crate::saga::StepStatus;
use crate::service::{self, Rule, Trigger};
use crate::state::{Life, RouteState, Run, RunEnd, ServiceState, largest, same_shares};

impl Scene<'_> {
    pub(super) fn life(&self, service: &str, life: &Life) -> Follows {
        let Some(known) = self.before.services.get(service) else { return self.declared(service, life) };
        match self.rule {
            rules::DECLARED => {
                let before = Life { home: life.home.clone(), ..known.life.clone() };
                must(before == *life, || format!("the fleet file changes no more of {service} than its home"))
            }
            rules::RUN_OPENED => self.set_off(service, known, life),
            rules::RUN_CLOSED => self.arrived(service, known, life),
            rules::SETTLED => self.adopted(service, known, life),
            _ => self.lived_on(service, known, life),
        }
    }

    fn declared(&self, service: &str, life: &Life) -> Follows {
        let fresh = Life::at_home(life.home.clone(), self.record.at);
        let so = self.rule == rules::DECLARED && fresh == *life;
        must(so, || format!("{service} is not known, and this is not how a service begins"))
    }

    /// The epoch changes hands with a run, and nothing else does.
    fn set_off(&self, service: &str, known: &ServiceState, life: &Life) -> Follows {
        let next = Life { epoch: known.life.epoch + 1, ..known.life.clone() };
        let run = known.run.and_then(|run| self.before.runs.get(&run));
        let so = next == *life && run.is_some_and(|run| run.epoch == life.epoch);
        must(so, || format!("the epoch of {service} goes from {} to {} without its run", known.life.epoch, life.epoch))
    }

    /// A run that has ended has led the traffic where it was to lead it, or nowhere.
    fn arrived(&self, service: &str, known: &ServiceState, life: &Life) -> Follows {
        let (run, end) = self.closed(service).ok_or_else(|| format!("no run of {service} has ended"))?;
        let shares = if *end == RunEnd::Undone { &known.life.shares } else { &run.shares };
        let active = if *end == RunEnd::Undone { known.life.active.clone() } else { largest(shares).to_owned() };
        let next = Life { shares: shares.clone(), active, ..known.life.clone() };
        must(next == *life, || format!("{service} is not where run r{} has left it", run.id.0))
    }

    /// A person said that the servers are right.
    fn adopted(&self, service: &str, known: &ServiceState, life: &Life) -> Follows {
        let state = if same_shares(&life.shares, &life.home) { State::Normal } else { State::FailedOver };
        let next = Life {
            state,
            since: self.record.at,
            active: largest(&life.shares).to_owned(),
            shares: life.shares.clone(),
            epoch: known.life.epoch + 1,
            ..known.life.clone()
        };
        let ordered = self.orders(|order| matches!(order, Command::Adopt { service: of } if of == service));
        must(ordered && next == *life, || format!("{service} was not adopted so"))
    }

    /// One row of the table of lives.
    fn lived_on(&self, service: &str, known: &ServiceState, life: &Life) -> Follows {
        let row = service::RULES.iter().find(|row| row.number == self.rule && row.from == known.life.state);
        let row = row.ok_or_else(|| format!("it does not fire for {service}, which is {}", known.life.state))?;
        let next = Life { state: row.to, since: self.record.at, ..known.life.clone() };
        must(next == *life, || format!("it makes {service} {}, and nothing else of it changes", row.to))?;
        must(self.triggered(row, service, &next), || {
            format!("nothing has happened to {service} that would be its cause")
        })
    }

    fn triggered(&self, row: &Rule, service: &str, life: &Life) -> bool {
        let ended = |undone: bool| self.closed(service).is_some_and(|(_, end)| (*end == RunEnd::Undone) == undone);
        match row.on {
            // Seen, and not journaled.
            Trigger::Worse | Trigger::Better => true,
            Trigger::Leaving | Trigger::Returning => self.opened(service),
            Trigger::ArrivedHome => life.is_home() && ended(false),
            Trigger::ArrivedAway => !life.is_home() && ended(false),
            Trigger::UndoneHome => life.is_home() && ended(true),
            Trigger::UndoneAway => !life.is_home() && ended(true),
            Trigger::RehomedHere => life.is_home() && self.rehomed(),
            Trigger::RehomedAway => !life.is_home() && self.rehomed(),
        }
    }

    fn rehomed(&self) -> bool {
        matches!(self.record.cause, Cause::FleetChanged | Cause::Started { .. })
    }

    fn opened(&self, service: &str) -> bool {
        let of = |change: &Change| matches!(change, Change::RunOpened { run } if run.service == service);
        self.earlier.iter().any(|transition| of(&transition.change))
    }

    /// The run of the service that this record has ended.
    fn closed(&self, service: &str) -> Option<(&Run, &RunEnd)> {
        self.earlier.iter().rev().find_map(|transition| match &transition.change {
            Change::RunClosed { run, end, .. } => {
                let run = self.before.runs.get(run).filter(|run| run.service == service)?;
                Some((run, end))
            }
            _ => None,
        })
    }

    /// What a run is said to have written is what one of its steps has led the name to.
    pub(super) fn route(&self, service: &str, route: &RouteState) -> Follows {
        let known = self.service(service)?;
        let so = match self.rule {
            rules::ROUTE_SEEN => {
                matches!(&self.record.cause, Cause::RouteRead { service: of, .. } if of == service)
                    && route.changed.is_none()
            }
            rules::ROUTE_WRITTEN => known.run.and_then(|run| self.before.runs.get(&run)).is_some_and(|run| {
                run.steps.iter().any(|step| match step.state.status {
                    StepStatus::Done => leads(&step.action, route),
                    StepStatus::Undone => step.undo.as_ref().is_some_and(|undo| leads(undo, route)),
                    _ => false,
                })
            }),
            _ => self.orders(|order| matches!(order, Command::Adopt { service: of } if of == service)),
        };
        must(so, || format!("nothing has led the name of {service} there"))
    }
}

fn leads(action: &Action, route: &RouteState) -> bool {
    matches!(action, Action::PointRoute { route: wanted, .. } if wanted.endpoints == route.endpoints)
}
