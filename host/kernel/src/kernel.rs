//! The door: events in, effects out, and the state in between.
//!
//! Knows no rule: each event goes to the room that has it. Live, a transition is noted for the journal and applied in one
//! breath; recovery only applies.

use std::collections::HashMap;
use std::sync::Arc;

use crate::capacity::Capacity;
use crate::clusters::Clusters;
use crate::contract::{Millis, Severity};
use crate::desk::{Desk, Timer, Turn};
use crate::event::{Effect, Event, Moment};
use crate::fleet::{Fleet, Service, ServiceId, SiteId, in_maintenance, local_time};
use crate::record::{Cause, Change, Record};
use crate::rules::{self, RuleNumber};
use crate::sensing::{Edge, Sensing};
use crate::service::Trigger;
use crate::state::{self, Life, ServiceState, State, same_shares};

/// How often equal decisions are counted in the journal, and the state's hash is noted.
const CHECKPOINT_EVERY: Millis = 3_600_000;

/// Decides for a fleet.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) sensing: Sensing,
    pub(crate) state: State,
    pub(crate) desk: Desk,
    pub(crate) capacity: Capacity,
    pub(crate) clusters: Clusters,
    pub(crate) recovered: bool,
    services: HashMap<String, ServiceId>,
    /// By the name that leads to it.
    names: HashMap<String, ServiceId>,
    edges: Vec<Edge>,
}

/// The journal does not add up to the state that it says it had.
#[derive(Debug, thiserror::Error)]
#[error("the journal's checkpoint of {at} says state {recorded}, but its records give {rebuilt}; nothing was started")]
pub struct RecoverError {
    /// The checkpoint's time, milliseconds since 1970.
    pub at: u64,
    /// What the checkpoint says.
    pub recorded: String,
    /// What the records before it give.
    pub rebuilt: String,
}

impl Kernel {
    /// A kernel that has seen nothing yet.
    pub fn new(fleet: impl Into<Arc<Fleet>>, now: Moment) -> Self {
        let fleet = fleet.into();
        Kernel {
            sensing: Sensing::new(&fleet, now),
            desk: Desk::new(&fleet),
            capacity: Capacity::count(&fleet, &State::default()),
            clusters: Clusters::new(&fleet),
            services: index(&fleet),
            names: index_of_names(&fleet),
            state: State::default(),
            recovered: false,
            edges: Vec::new(),
            fleet,
        }
    }

    /// The kernel that had written these records. Runs no rule.
    pub fn recover(
        fleet: impl Into<Arc<Fleet>>,
        records: impl IntoIterator<Item = Record>,
        now: Moment,
    ) -> Result<Self, RecoverError> {
        let mut kernel = Kernel::new(fleet, now);
        for record in records {
            kernel.recovered = true;
            record.transitions.iter().for_each(|transition| kernel.state.apply(transition));
            if let Cause::Checkpoint { format: state::FORMAT, state } = record.cause {
                compare(&kernel.state, state, record.at)?;
            }
        }
        Ok(kernel)
    }

    /// To be called once, first: goes on with what was under way and asks what has to be known.
    pub fn start(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.capacity = Capacity::count(&self.fleet, &self.state);
        let mut turn = Turn::new(now);
        self.declare(&mut turn);
        self.resume_runs(&mut turn);
        self.resend_all(&mut turn);
        self.watch(&mut turn);
        self.watch_clusters(&mut turn);
        for question in self.state.open_questions() {
            if let Some(due) = question.expires {
                self.desk.timers.insert((due, Timer::Expire(question.id)));
            }
        }
        self.desk.at(now.mono + CHECKPOINT_EVERY, Timer::Checkpoint);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        turn.finish_recorded(Cause::Started { version, recovered: self.recovered }, effects);
    }

    /// Something happened. Effects are to be begun in their order, and none before every record ahead of it is durable.
    pub fn handle(&mut self, now: Moment, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Look(look) => {
                self.sensing.look(&self.fleet, now, &look, &mut self.edges);
                self.take_edges(now, effects);
            }
            Event::Heard { vantage, sound } => {
                self.sensing.heard(&self.fleet, now, vantage, sound, &mut self.edges);
                self.take_edges(now, effects);
            }
            Event::Tick => self.tick(now, effects),
            Event::Sampled { cluster, begun, result } => self.sampled(cluster, begun, result, now, effects),
            Event::LeaseEnds { run, ends } => self.lease_ends(run, ends, now, effects),
            Event::Decided { ticket, service, answer } => self.decided(ticket, service, answer, now, effects),
            Event::Stepped { run, step, outcome } => self.stepped(run, step, outcome, now, effects),
            Event::RouteRead { service, result } => self.route_read(service, result, now, effects),
            Event::ReadyChecked { service, blockers } => self.ready_checked(service, blockers, now, effects),
            Event::Swapped { slot, revision, probe } => self.swapped(slot, revision, probe, now, effects),
            Event::PluginFault { slot, text } => self.plugin_fault(slot, text, now, effects),
            Event::Rewritten { agent, seen, shown } => self.rewritten(agent, seen, shown, now, effects),
            Event::Sent { key, channel, result } => self.sent(key, channel, result, now, effects),
            Event::Ordered { order, by, command } => self.ordered(order, by, command, now, effects),
            Event::FleetChanged(fleet) => self.fleet_changed(fleet, now, effects),
        }
    }

    /// As though everything had gone on being seen as it was seen last, from then until now: a simulator's way over time in
    /// which nothing happens. Samples of clusters are to be brought anew before the next [`Event::Tick`].
    pub fn pass_quietly(&mut self, now: Moment) {
        self.sensing.pass_quietly(&self.fleet, now);
    }

    /// When something other than the freshness of what was seen is next due.
    pub fn next_timer(&self) -> Option<Millis> {
        self.desk.timers.first().map(|(due, _)| *due)
    }

    /// What was declared.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What is known.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// When [`Event::Tick`] is due on the steady clock.
    pub fn next_edge(&self) -> Option<Millis> {
        [self.sensing.next_edge(), self.next_timer()].into_iter().flatten().min()
    }

    /// A service's position.
    pub fn service_id(&self, name: &str) -> Option<ServiceId> {
        self.services.get(name).copied()
    }

    /// The service that a name leads to.
    pub(crate) fn leads_to(&self, name: &str) -> Option<ServiceId> {
        self.names.get(name).copied()
    }

    /// A site's position.
    pub fn site_id(&self, name: &str) -> Option<SiteId> {
        self.fleet.sites.iter().position(|site| site.name == name).map(|at| SiteId(at as u16))
    }

    /// The one way to change the state: noted for the journal and applied.
    pub(crate) fn set(&mut self, turn: &mut Turn, rule: RuleNumber, change: Change) {
        let transition = turn.note(rule, change);
        self.state.apply(&transition);
        let concerned = match &transition.change {
            Change::Life { service, .. } => self.service_id(service),
            Change::RunOpened { run } => self.service_id(&run.service),
            Change::RunClosed { run, .. } => {
                self.state.runs.get(run).and_then(|run| self.services.get(&run.service)).copied()
            }
            _ => None,
        };
        if let Some(id) = concerned {
            self.capacity.recount(id.at(), &self.fleet.services[id.at()], &self.fleet, &self.state);
        }
    }

    pub(crate) fn service_state(&self, service: ServiceId) -> Option<&ServiceState> {
        self.state.services.get(&self.fleet.services[service.at()].name)
    }

    /// Whether automatic moves of a service rest now, because the operator said so in the fleet file.
    pub fn in_maintenance(&self, id: ServiceId, now: Moment) -> bool {
        let windows = &self.fleet.services[id.at()].maintenance;
        if windows.is_empty() {
            return false;
        }
        let (weekday, time) = local_time(&self.fleet.host.time_zone, now.wall);
        in_maintenance(windows, weekday, time)
    }

    fn take_edges(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.edges.is_empty() {
            return;
        }
        let mut edges = std::mem::take(&mut self.edges);
        edges.drain(..).for_each(|edge| self.sensed(edge, now, effects));
        self.edges = edges;
    }

    fn tick(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.sensing.tick(&self.fleet, now, &mut self.edges);
        self.take_edges(now, effects);
        while let Some(timer) = self.desk.due(now) {
            self.timer_due(timer, now, effects);
        }
    }

    fn timer_due(&mut self, timer: Timer, now: Moment, effects: &mut Vec<Effect>) {
        let mut turn = Turn::new(now);
        let cause = match &timer {
            Timer::Checkpoint => return self.checkpoint(now, effects),
            Timer::Ask(id) => {
                self.desk.service(*id).ask_at = None;
                self.ask(&mut turn, *id);
                "the policy is asked again".to_owned()
            }
            Timer::Run(run) => {
                self.run_due(&mut turn, *run);
                format!("run r{}", run.0)
            }
            Timer::Expire(question) => {
                self.expire(&mut turn, *question);
                format!("question q{}", question.0)
            }
            Timer::ReadRoute(id) => {
                self.read_route(&mut turn, *id);
                "the route is read".to_owned()
            }
            Timer::CheckReady(id) => {
                self.check_ready(&mut turn, *id);
                "readiness is checked".to_owned()
            }
            Timer::Resend(key, channel) => {
                self.resend(&mut turn, key, channel);
                "a message is sent again".to_owned()
            }
        };
        turn.finish(|| Cause::Due(cause), effects);
    }

    /// Counts what was equal, and notes the state's hash.
    fn checkpoint(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let mut turn = Turn::new(now);
        self.count_all(&mut turn);
        self.desk.at(now.mono + CHECKPOINT_EVERY, Timer::Checkpoint);
        let state = self.state.hash();
        turn.finish_recorded(Cause::Checkpoint { format: state::FORMAT, state }, effects);
    }

    fn count_all(&mut self, turn: &mut Turn) {
        let services = self.fleet.services.iter().zip(&mut self.desk.services);
        let counted = services.map(|(service, desk)| (service.name.clone(), std::mem::take(&mut desk.uncounted)));
        let counts: Vec<(String, u64)> = counted.filter(|(_, count)| *count > 0).collect();
        if !counts.is_empty() {
            self.set(turn, rules::HOLDS_COUNTED, Change::Holds { counts });
        }
    }

    /// Services that the state does not know become known; those whose home has changed learn it.
    fn declare(&mut self, turn: &mut Turn) {
        for id in self.service_ids() {
            let service = &self.fleet.services[id.at()];
            let (name, home) = (service.name.clone(), self.fleet.home(service));
            match self.state.services.get(&name).map(|known| known.life.clone()) {
                None => {
                    let life = Life::at_home(home, turn.now);
                    self.set(turn, rules::DECLARED, Change::Life { service: name, life });
                }
                Some(life) if !same_shares(&life.home, &home) => self.rehome(turn, id, name, Life { home, ..life }),
                Some(_) => {}
            }
        }
    }

    fn rehome(&mut self, turn: &mut Turn, id: ServiceId, service: String, life: Life) {
        let trigger = if life.is_home() { Trigger::RehomedHere } else { Trigger::RehomedAway };
        self.set(turn, rules::DECLARED, Change::Life { service, life });
        self.live_on(turn, id, trigger);
    }

    /// Everything that is asked again and again, from now on.
    fn watch(&mut self, turn: &mut Turn) {
        let warm = self.sensing.warm_at().saturating_sub(turn.now.mono);
        for id in self.service_ids() {
            self.read_route(turn, id);
            self.check_ready(turn, id);
            self.ask_in(id, turn.now, warm + u64::from(id.0) % 1_000);
        }
    }

    fn plugin_fault(&mut self, slot: String, text: String, now: Moment, effects: &mut Vec<Effect>) {
        let mut turn = Turn::new(now);
        let subject = format!("The plugin in {slot} misbehaved: {text}");
        self.tell_fleet(&mut turn, &format!("plugin-fault/{slot}/{text}"), Severity::Critical, &subject);
        turn.finish_recorded(Cause::PluginFault { slot, text }, effects);
    }

    fn fleet_changed(&mut self, fleet: Arc<Fleet>, now: Moment, effects: &mut Vec<Effect>) {
        let mut turn = Turn::new(now);
        self.count_all(&mut turn);
        let fresh = Sensing::new(&fleet, now);
        self.sensing = std::mem::replace(&mut self.sensing, fresh).carry_over(&self.fleet, &fleet, now);
        self.clusters = std::mem::take(&mut self.clusters).carry_over(&self.fleet, &fleet);
        self.services = index(&fleet);
        self.names = index_of_names(&fleet);
        self.desk.renew(&fleet);
        self.fleet = fleet;
        self.capacity = Capacity::count(&self.fleet, &self.state);
        self.declare(&mut turn);
        self.watch(&mut turn);
        self.watch_clusters(&mut turn);
        self.service_ids().for_each(|id| self.ask(&mut turn, id));
        turn.finish_recorded(Cause::FleetChanged, effects);
    }
}

fn index(fleet: &Fleet) -> HashMap<String, ServiceId> {
    fleet.services.iter().enumerate().map(|(at, service)| (service.name.clone(), ServiceId(at as u32))).collect()
}

fn index_of_names(fleet: &Fleet) -> HashMap<String, ServiceId> {
    let named = |(at, service): (usize, &Service)| Some((service.route.as_ref()?.name.clone(), ServiceId(at as u32)));
    fleet.services.iter().enumerate().filter_map(named).collect()
}

fn compare(state: &State, recorded: String, at: Moment) -> Result<(), RecoverError> {
    let rebuilt = state.hash();
    if rebuilt == recorded { Ok(()) } else { Err(RecoverError { at: at.wall, recorded, rebuilt }) }
}
