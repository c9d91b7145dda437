//! What the kernel has in hand and may forget: tickets, timers, counts, who runs which revision.
//!
//! Never journaled; after a crash all of it is made anew from the state and the fleet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::contract::{Millis, Situation};
use crate::event::{Effect, Moment, QuestionId, Revision, RunId, Ticket};
use crate::fleet::{Fleet, ServiceId, VantageId};
use crate::record::{Cause, Change, Record, Transition};
use crate::rules::RuleNumber;

/// Something to do at a time of the steady clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Ask(ServiceId),
    Run(RunId),
    Expire(QuestionId),
    ReadRoute(ServiceId),
    CheckReady(ServiceId),
    /// A message, by its key and channel, is sent again.
    Resend(String, String),
    Checkpoint,
}

/// What is in hand for one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceDesk {
    /// Grows with all that a decision depends on: an answer to an older version counts for nothing.
    pub(crate) version: u64,
    pub(crate) asked: Option<Asked>,
    pub(crate) ask_at: Option<Millis>,
    /// Decisions that failed in a row.
    pub(crate) faults: u32,
    /// Decisions equal to the last recorded one that no record counts yet.
    pub(crate) uncounted: u64,
    /// The version at which the policy last said what its open question asks.
    pub(crate) question_version: Option<u64>,
    /// The service's epoch when the servers were last asked where its name leads.
    pub(crate) route_asked: Option<u64>,
    /// The servers' last answer was not what was expected.
    pub(crate) route_doubted: bool,
    /// Whether the servers answered when they were last asked; none = not asked yet.
    pub(crate) route_answered: Option<bool>,
    /// The other services that its policy looked up when it last decided.
    pub(crate) looked_up: BTreeSet<ServiceId>,
    /// Due times of what goes on for ever: route and readiness.
    repeated: [Option<Millis>; 2],
}

/// A policy was asked and has not answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) version: u64,
    pub(crate) situation: Arc<Situation>,
}

/// A target turned bad.
#[derive(Clone, Debug)]
pub(crate) struct TurnedBad {
    pub(crate) at: Millis,
    pub(crate) failure_domain: String,
}

/// What is known of the last lease that a run waits out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    /// When it was last asked for.
    pub(crate) asked: Option<Millis>,
    /// When it has ended for certain.
    pub(crate) ends: Option<Millis>,
    /// Why nobody can tell.
    pub(crate) why: String,
}

/// Everything in hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk {
    pub(crate) services: Vec<ServiceDesk>,
    pub(crate) timers: BTreeSet<(Millis, Timer)>,
    /// The revision of each slot that alone counts.
    pub(crate) revisions: BTreeMap<String, Revision>,
    pub(crate) turned_bad: VecDeque<TurnedBad>,
    /// Vantage points that have reached their control targets since they were first heard: only these can lose them.
    pub(crate) seen_sound: BTreeSet<VantageId>,
    /// Hashes of the settings that a record of this host's already holds.
    pub(crate) settings_kept: BTreeSet<String>,
    /// By service: whose policies look it up.
    pub(crate) lookers: BTreeMap<ServiceId, BTreeSet<ServiceId>>,
    pub(crate) probe_swapped: Option<Millis>,
    /// By the run that waits for them.
    pub(crate) leases: BTreeMap<RunId, Lease>,
    /// Failed tries to send a message, by key and channel.
    pub(crate) resends: BTreeMap<(String, String), u32>,
    tickets: u64,
}

impl Desk {
    pub(crate) fn new(fleet: &Fleet) -> Self {
        Desk { services: vec![ServiceDesk::default(); fleet.services.len()], ..Desk::default() }
    }

    /// For another fleet file: positions have changed, so what is in hand for single services is dropped.
    pub(crate) fn renew(&mut self, fleet: &Fleet) {
        self.services = vec![ServiceDesk::default(); fleet.services.len()];
        self.lookers.clear();
        self.seen_sound.clear();
        self.timers.retain(|(_, timer)| !matches!(timer, Timer::Ask(_) | Timer::ReadRoute(_) | Timer::CheckReady(_)));
    }

    pub(crate) fn service(&mut self, service: ServiceId) -> &mut ServiceDesk {
        &mut self.services[service.at()]
    }

    /// From now on the policy of `id` is shown these.
    pub(crate) fn look_up(&mut self, id: ServiceId, others: BTreeSet<ServiceId>) {
        for other in &self.services[id.at()].looked_up {
            if let Some(lookers) = self.lookers.get_mut(other) {
                lookers.remove(&id);
            }
        }
        for other in &others {
            self.lookers.entry(*other).or_default().insert(id);
        }
        self.services[id.at()].looked_up = others;
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn at(&mut self, due: Millis, timer: Timer) {
        self.timers.insert((due, timer));
    }

    /// A timer of which a service has one only: the earlier one goes.
    pub(crate) fn service_timer(&mut self, id: ServiceId, timer: Timer, due: Millis) {
        let which = usize::from(matches!(timer, Timer::CheckReady(_)));
        if let Some(old) = self.services[id.at()].repeated[which].replace(due) {
            self.timers.remove(&(old, timer.clone()));
        }
        self.timers.insert((due, timer));
    }

    /// Takes the next timer that is due.
    pub(crate) fn due(&mut self, now: Moment) -> Option<Timer> {
        if self.timers.first()?.0 > now.mono {
            return None;
        }
        self.timers.pop_first().map(|(_, timer)| timer)
    }
}

/// One event's consequences while they are being found: the transitions for its record, and what is to be done after.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Moment,
    transitions: Vec<Transition>,
    effects: Vec<Effect>,
}

impl Turn {
    pub(crate) fn new(now: Moment) -> Self {
        Turn { now, transitions: Vec::new(), effects: Vec::new() }
    }

    /// Done only once the turn's record is durable.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn note(&mut self, rule: RuleNumber, change: Change) -> Transition {
        let transition = Transition { rule, change };
        self.transitions.push(transition.clone());
        transition
    }

    pub(crate) fn changed(&self) -> bool {
        !self.transitions.is_empty()
    }

    /// The record first, if anything changed, then the effects.
    pub(crate) fn finish(self, cause: impl FnOnce() -> Cause, effects: &mut Vec<Effect>) {
        if self.changed() {
            effects.push(Effect::Append(Record { at: self.now, cause: cause(), transitions: self.transitions }));
        }
        effects.extend(self.effects);
    }

    /// As [`Turn::finish`], but recorded even if nothing changed.
    pub(crate) fn finish_recorded(self, cause: Cause, effects: &mut Vec<Effect>) {
        effects.push(Effect::Append(Record { at: self.now, cause, transitions: self.transitions }));
        effects.extend(self.effects);
    }
}
