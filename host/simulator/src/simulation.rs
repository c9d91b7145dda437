//! A host in virtual time: the kernel of production, its events brought in and its effects carried out by the world.
//!
//! Decides nothing. Every wait is an entry of one queue, so that the same script and the same seed give the same bytes.

mod dawn;
mod quiet;
mod score;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Failure, Millis, Outcome, Situation};
use tidegate_kernel::event::{Action, Command, Effect, Event, Look, Moment, RunId, Ticket};
use tidegate_kernel::fleet::{ClusterId, Fleet, ServiceId, SiteId, VantageId};
use tidegate_kernel::picture::Picture;
use tidegate_kernel::record::{Change, Record, Transition};
use tidegate_kernel::state::Run;

use crate::chance::Chance;
use crate::checkers::{Checker, Hit, Mutant};
use crate::decide::{self, Decider};
use crate::fault::Fault;
use crate::timeline;
use crate::world::{Caller, Quarantined, Voice, World};

pub(crate) use dawn::Dawn;
pub use score::{Ended, ServiceEnd};

/// 2026-01-05 12:00 UTC, a Monday.
const START: u64 = 1_767_614_400_000;
/// A vantage point has last heard the host so long ago when it begins to look.
const HEARTBEAT: Millis = 250;
/// A policy takes so long, a channel, and whoever is asked whether all is ready, or tells agents something.
const DECIDING: Millis = 1;
const SENDING: Millis = 5;
const ASKING: Millis = 20;
/// How often a host looks after its providers, as the daemon has it.
const FAULTS_EVERY: Millis = 1_000;
/// A host that has died is started again after this long.
const RESTART: Millis = 3_000;
/// Entries of the queue below this are what a script says: in one moment it comes first.
const HAPPENINGS_MAX: u64 = 1 << 32;

/// What is to happen, and when.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// In any order.
    pub happenings: Vec<Happening>,
    /// How long it goes on.
    pub length: Millis,
    /// The host dies once its journal has so many records.
    pub crash_at_record: Option<usize>,
    /// Lies, for showing that the checkers fire.
    pub mutants: Vec<Mutant>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Happening {
    /// Milliseconds after the beginning.
    pub at: Millis,
    /// None = for good.
    pub lasts: Option<Millis>,
    /// What it is.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug)]
pub enum What {
    /// Something breaks.
    Break(Fault),
    /// A person orders something.
    Order(Command),
    /// A person says yes to what is asked about a service, if anything is.
    Approve(String),
}

/// What a watcher is told of.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The host wrote this down.
    Record(&'a Record),
    /// The policy of this service said again what it had said last: hosts count that and write nothing down.
    Repeated(&'a str),
    /// One of the moments that the watcher had named has come.
    Moment,
}

/// Told of what a host does, with the kernel as it is then.
pub type Watcher<'a> = &'a mut dyn FnMut(Millis, &Kernel, Seen<'_>);

/// Whoever watches one simulation does not watch its copies.
#[derive(Default)]
struct Watched<'a>(Option<Watcher<'a>>);

impl Clone for Watched<'_> {
    fn clone(&self) -> Self {
        Watched(None)
    }
}

/// Something due.
#[derive(Clone, Debug)]
enum Due {
    Begin(usize),
    End(usize),
    /// Services with one interval are looked at.
    Round(usize),
    Beat(usize),
    /// For the host of that life only: what was on its way is lost with it.
    Deliver(u64, Box<Event>),
    Looks(u64, Vec<Look>),
    /// A policy of that life's host answers.
    Answer(u64, Box<Asked>),
    Restart,
    /// Somebody wants to look at the host then.
    Named,
}

/// What a policy was asked.
#[derive(Clone, Debug)]
struct Asked {
    ticket: Ticket,
    service: ServiceId,
    slot: String,
    situation: Arc<Situation>,
    picture: Picture,
}

/// What a policy said of when it wants to be asked again.
#[derive(Clone, Copy, Debug)]
struct Wish {
    due: Millis,
    pause: Millis,
}

/// Services that are looked at together.
#[derive(Clone, Debug)]
struct Group {
    interval: Millis,
    services: Vec<usize>,
    last: Vec<Outcome>,
}

/// A simulated host in its world.
#[derive(Clone)]
pub struct Simulation<'a> {
    fleet: Arc<Fleet>,
    script: Script,
    world: World,
    kernel: Kernel,
    watcher: Watched<'a>,
    queue: BTreeMap<(Millis, u64), Due>,
    entries: u64,
    life: u64,
    journal: Vec<Record>,
    effects: Vec<Effect>,
    groups: Vec<Group>,
    wall_off: i64,
    /// When what there is to see was last different from before, and how long it takes until all of that is known.
    differs: Millis,
    settles: Millis,
    /// When the kernel last noted anything.
    restless: Millis,
    events: u64,
    /// By service: what its policy wished when it was last asked.
    wishes: Vec<Option<Wish>>,
    /// What is asked every few seconds may wait while nothing happens.
    hurried: bool,
    /// Lines are kept only for those who read them.
    timeline: Option<Vec<String>>,
    codes: BTreeSet<String>,
    score: score::Score,
}

impl<'a> Simulation<'a> {
    /// A world in which everything is well, and a host that has just started.
    pub fn new(fleet: &Fleet, script: Script, seed: u64) -> Self {
        let shared = Arc::new(fleet.clone());
        let mut simulation = Simulation {
            world: World::new(shared.clone(), script.mutants.clone(), Chance::new(seed)),
            kernel: Kernel::new(shared.clone(), Moment { mono: 0, wall: START }),
            groups: groups(fleet),
            score: score::Score::new(fleet),
            fleet: shared,
            script,
            watcher: Watched::default(),
            queue: BTreeMap::new(),
            entries: HAPPENINGS_MAX,
            life: 0,
            journal: Vec::new(),
            effects: Vec::new(),
            wall_off: 0,
            differs: 0,
            settles: quiet::settles(fleet),
            restless: 0,
            events: 0,
            wishes: vec![None; fleet.services.len()],
            hurried: false,
            timeline: None,
            codes: BTreeSet::new(),
        };
        simulation.plan();
        simulation
    }

    /// Keeps the timeline.
    pub fn with_timeline(mut self) -> Self {
        self.timeline = Some(Vec::new());
        self
    }

    /// Asks policies seldom while nothing happens: for those who play thousands.
    pub fn hurried(mut self) -> Self {
        self.hurried = true;
        self
    }

    /// Tells somebody of all that the host writes down and does not have to, and of these moments: no time is jumped over them.
    pub fn watched_by(mut self, watcher: Watcher<'a>, moments: impl IntoIterator<Item = Millis>) -> Self {
        self.watcher = Watched(Some(watcher));
        moments.into_iter().for_each(|moment| self.at(moment, Due::Named));
        self
    }

    /// Runs the script to its end, with somebody who answers for its policies.
    pub fn run(mut self, decider: &mut dyn Decider) -> Ended {
        self.start();
        self.go_on(decider)
    }

    fn go_on(mut self, decider: &mut dyn Decider) -> Ended {
        while let Some(now) = self.next_due() {
            self.step(now, decider);
            self.pass_quiet_time();
        }
        self.world.advance(self.script.length);
        self.end()
    }

    /// All that happens in this moment.
    fn step(&mut self, now: Millis, decider: &mut dyn Decider) {
        self.world.advance(now);
        self.score.look(&self.world, &self.kernel, &self.fleet);
        while let Some(due) = self.take_due(now) {
            self.happen(due, decider);
        }
        self.tick();
        self.tell_quarantines();
    }

    fn now(&self) -> Moment {
        Moment { mono: self.world.now, wall: (START + self.world.now).saturating_add_signed(self.wall_off) }
    }

    /// Puts everything that is known beforehand into the queue.
    fn plan(&mut self) {
        self.plan_script();
        for at in 0..self.groups.len() {
            // Not all services in the same moment.
            self.at(self.groups[at].interval + 7 * at as Millis, Due::Round(at));
        }
        for at in 0..self.fleet.clusters.len() {
            self.at(self.fleet.clusters[at].interval + 3 * at as Millis, Due::Beat(at));
        }
    }

    fn plan_script(&mut self) {
        let begins = self.script.happenings.iter().enumerate();
        self.queue.extend(begins.map(|(at, happening)| ((happening.at, at as u64), Due::Begin(at))));
    }

    fn at(&mut self, due: Millis, what: Due) {
        self.entries += 1;
        self.queue.insert((due, self.entries), what);
    }

    /// The next moment in which something happens; none after the end.
    fn next_due(&self) -> Option<Millis> {
        let queued = self.queue.first_key_value().map(|((due, _), _)| *due);
        let kernel = self.kernel.next_edge().filter(|_| self.world.host_runs() && !self.sleeps());
        let next = [queued, kernel, self.world.next_change()].into_iter().flatten().min()?;
        (next <= self.script.length).then_some(next.max(self.world.now))
    }

    fn take_due(&mut self, now: Millis) -> Option<Due> {
        let entry = self.queue.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    fn happen(&mut self, due: Due, decider: &mut dyn Decider) {
        match due {
            Due::Begin(at) => self.begin(at),
            Due::End(at) => {
                if let What::Break(fault) = self.script.happenings[at].what.clone() {
                    self.say(&format!("over: {fault}"));
                    let ran = self.world.host_runs();
                    self.world.mend(at);
                    self.host_changed(ran);
                }
            }
            Due::Round(group) => self.round(group),
            Due::Beat(cluster) => self.beat(cluster),
            Due::Deliver(life, event) if life == self.life && self.world.host_runs() => self.give(*event),
            Due::Looks(life, looks) if life == self.life && self.world.host_runs() => {
                looks.into_iter().for_each(|look| self.give(Event::Look(look)));
            }
            Due::Answer(life, asked) if life == self.life && self.world.host_runs() => self.answer(*asked, decider),
            Due::Deliver(..) | Due::Looks(..) | Due::Answer(..) => {}
            Due::Named => self.show(Seen::Moment),
            Due::Restart => {
                self.world.host_lives = true;
                self.restart();
            }
        }
    }

    fn begin(&mut self, at: usize) {
        let Happening { at: began, lasts, what } = self.script.happenings[at].clone();
        self.differs = self.world.now;
        match what {
            What::Break(fault) => {
                self.say(&fault.to_string());
                let ran = self.world.host_runs();
                if let Fault::ClockJumps(by) = fault {
                    self.wall_off += by;
                }
                self.world.break_down(at, &fault);
                if let Some(lasts) = lasts.filter(|_| !fault.is_a_moment()) {
                    self.at(began + lasts, Due::End(at));
                }
                self.host_changed(ran);
            }
            What::Order(command) => self.order(command),
            What::Approve(service) => {
                let open = self.kernel.state().open_questions().find(|question| question.service == service);
                if let Some(question) = open.map(|question| question.id) {
                    self.order(Command::Approve { question, option: 0 });
                }
            }
        }
    }

    fn order(&mut self, command: Command) {
        self.say(&format!("a person orders: {command:?}"));
        if self.world.host_runs() {
            self.give(Event::Ordered { order: self.entries, by: "anna".into(), command });
        }
    }

    fn host_changed(&mut self, ran: bool) {
        match (ran, self.world.host_runs()) {
            (true, false) => self.life += 1,
            (false, true) => self.restart(),
            _ => {}
        }
    }

    /// A host starts from the journal: all that the one before it knew and did not write down is lost.
    fn restart(&mut self) {
        if !self.world.host_runs() {
            return;
        }
        self.say("the host starts again");
        self.life += 1;
        // It has seen nothing yet, however long nothing has changed for the one before it.
        self.differs = self.world.now;
        match Kernel::recover(self.fleet.clone(), self.journal.iter().cloned(), self.now()) {
            Ok(kernel) => self.kernel = kernel,
            Err(error) => return self.world.hits.add(Checker::Unrecoverable, self.world.now, error.to_string()),
        }
        self.world.providers.start_anew(Caller::Host);
        self.start();
    }

    fn start(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.kernel.start(self.now(), &mut effects);
        self.carry_out(effects);
    }

    fn tick(&mut self) {
        // A tick can make another one due in the same moment.
        while self.world.host_runs()
            && !self.sleeps()
            && self.kernel.next_edge().is_some_and(|due| due <= self.world.now)
        {
            let before = self.kernel.next_edge();
            self.give(Event::Tick);
            if self.kernel.next_edge() == before {
                break;
            }
        }
    }

    fn sleeps(&self) -> bool {
        self.script.mutants.contains(&Mutant::HostAsleep) && self.kernel.state().open_runs().next().is_some()
    }

    fn give(&mut self, event: Event) {
        self.events += 1;
        let decided = if let Event::Decided { service, .. } = &event { Some(*service) } else { None };
        let mut effects = std::mem::take(&mut self.effects);
        self.kernel.handle(self.now(), event, &mut effects);
        // What is new is written down, and what is too old is asked again.
        let news = |effect: &Effect| matches!(effect, Effect::Append(_) | Effect::Decide { .. });
        if let Some(service) = decided.filter(|_| self.watcher.0.is_some() && !effects.iter().any(news)) {
            let name = self.fleet.services[service.at()].name.clone();
            self.show(Seen::Repeated(&name));
        }
        self.carry_out(effects);
    }

    fn show(&mut self, seen: Seen<'_>) {
        if let Some(watcher) = &mut self.watcher.0 {
            watcher(self.world.now, &self.kernel, seen);
        }
    }

    fn carry_out(&mut self, mut effects: Vec<Effect>) {
        let life = self.life;
        for effect in effects.drain(..) {
            // Whoever dies in the middle begins nothing more.
            if self.life == life {
                self.carry_out_one(effect);
            }
        }
        self.effects = effects;
    }

    fn carry_out_one(&mut self, effect: Effect) {
        let now = self.world.now;
        match effect {
            Effect::Append(record) => self.append(record),
            Effect::Decide { ticket, service, slot, situation, picture } => {
                let asked = Asked { ticket, service, slot, situation, picture };
                self.at(now + DECIDING, Due::Answer(self.life, Box::new(asked)));
            }
            Effect::Perform { run, step, action, call } => {
                self.check_proof(run, &action);
                let (outcome, took) = self.world.perform(&action, &call);
                self.differs = now;
                if !self.script.mutants.contains(&Mutant::HostAsleep) {
                    self.deliver(took, Event::Stepped { run, step, outcome });
                }
            }
            Effect::ReadRoute { service } => {
                let Some(route) = &self.fleet.services[service.at()].route else { return };
                let (result, took) = self.world.read_route(&route.slot, &route.name);
                self.deliver(took, Event::RouteRead { service, result });
            }
            Effect::CheckReady { service } => {
                let (blockers, _, later) = self.world.missing(service.at());
                self.deliver(ASKING + later, Event::ReadyChecked { service, blockers });
            }
            Effect::Probe { service, site } => self.probe(service, site),
            Effect::Sample { cluster } => drop(self.sample(cluster.at())),
            Effect::Lead { cluster, primary, epoch } => self.world.lead(cluster.at(), primary.as_deref(), epoch),
            Effect::EndLease { run, cluster, epoch } => {
                let ends = self.world.end_lease(cluster.at(), epoch);
                self.deliver(ASKING, Event::LeaseEnds { run, ends });
            }
            Effect::Notify { key, channel, .. } => {
                self.deliver(SENDING, Event::Sent { key, channel, result: Ok::<(), Failure>(()) });
            }
            Effect::Reply { result, .. } => match result {
                Ok(accepted) => self.say(&format!("answered: {}", accepted.text)),
                Err(refused) => {
                    let why: Vec<&str> = refused.reasons.iter().map(|reason| reason.code.as_str()).collect();
                    self.say(&format!("refused: {}", why.join(", ")));
                }
            },
        }
    }

    /// A policy's answer is due. One that would count for nothing, because something has changed in between, is not worked out.
    fn answer(&mut self, asked: Asked, decider: &mut dyn Decider) {
        let Asked { ticket, service, slot, situation, picture } = asked;
        let answer = match self.kernel.awaits(ticket, service) {
            true => decider.decide(&slot, situation, picture),
            false => decide::unheard(),
        };
        let pause = answer.result.as_ref().ok().and_then(|decision| decision.ask_again_in);
        self.wishes[service.at()] = pause.map(|pause| Wish { due: self.world.now + pause, pause });
        self.give(Event::Decided { ticket, service, answer: Box::new(answer) });
    }

    /// A person who says that a primary is off for good takes the proof's place.
    fn check_proof(&mut self, run: RunId, action: &Action) {
        if let Action::Promote { cluster, node } = action {
            let run = self.kernel.state().runs.get(&run);
            let by_word = run.is_some_and(Run::rests_on_a_word);
            let accepted = run.and_then(|run| run.data.as_ref()).is_some_and(|data| data.accept_loss.is_some());
            self.world.check_promotion(cluster, node, by_word, accepted);
        }
    }

    fn append(&mut self, record: Record) {
        let now = self.world.now;
        if !record.transitions.is_empty() {
            self.restless = now;
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.extend(timeline::lines(now, &record));
        }
        for transition in &record.transitions {
            self.score.note(&self.world, &self.fleet, transition);
            if let Change::Decision { last, .. } = &transition.change {
                self.codes.insert(last.analysis.clone());
                self.codes.extend(last.reasons.iter().map(|reason| reason.code.clone()));
                self.codes.extend(last.vetoes.iter().map(|veto| veto.reason.code.clone()));
            }
        }
        self.show(Seen::Record(&record));
        let moved = |transition: &Transition| matches!(transition.change, Change::Life { .. });
        let forgotten = self.script.mutants.contains(&Mutant::RecordsForgotten) && self.journal.len() > 1;
        if !(forgotten && record.transitions.iter().any(moved)) {
            self.journal.push(record);
        }
        if self.script.crash_at_record.is_some_and(|at| self.journal.len() >= at) {
            self.script.crash_at_record = None;
            self.say("the host dies");
            self.world.host_lives = false;
            self.life += 1;
            self.at(now + RESTART, Due::Restart);
        }
    }

    fn deliver(&mut self, after: Millis, event: Event) {
        let due = self.world.now + after;
        self.at(due, Due::Deliver(self.life, Box::new(event)));
    }

    /// Every vantage point looks at the services of a group.
    fn round(&mut self, group: usize) {
        let now = self.world.now;
        self.at(now + self.groups[group].interval, Due::Round(group));
        if !self.world.host_runs() {
            return;
        }
        let services = std::mem::take(&mut self.groups[group].services);
        let mut outcomes = Vec::with_capacity(self.groups[group].last.len());
        let mut latest = 0;
        for vantage in 0..self.fleet.vantages.len() {
            let Some(Voice { sound, later }) = self.world.listen(vantage) else {
                outcomes.push(Outcome::Error);
                continue;
            };
            latest = latest.max(later);
            let heard = Event::Heard { vantage: VantageId(vantage as u16), sound };
            if later == 0 {
                self.give(heard)
            } else {
                self.deliver(later, heard)
            }
            for service in &services {
                for place in 0..self.fleet.services[*service].places.len() {
                    outcomes.push(self.look(vantage, *service, place, later));
                }
            }
        }
        self.groups[group].services = services;
        if self.groups[group].last != outcomes {
            // The last report of it is still under way.
            (self.groups[group].last, self.differs) = (outcomes, now + latest);
        }
    }

    /// One look; one that is answered is told at once, one that is not when its time is over. `later` is how much later than usual the
    /// way to the host and back takes: a report is one way under way, the heartbeat that its agent had heard came the other, and what
    /// is to be reported waits for the answer to what was.
    fn look(&mut self, vantage: usize, service: usize, place: usize, later: Millis) -> Outcome {
        let site = self.fleet.services[service].places[place].site;
        let (found, took) = self.world.look(vantage, service, site.at());
        // A probe that fails has seen nothing, as the daemon's prober has it.
        let (outcome, latency, detail) = match found {
            Ok(Outcome::TimedOut) => (Outcome::TimedOut, None, String::new()),
            Ok(outcome) => (outcome, Some(took), String::new()),
            Err(failure) => (Outcome::Error, None, failure.to_string()),
        };
        let look = Look {
            vantage: VantageId(vantage as u16),
            service: ServiceId(service as u32),
            site,
            outcome,
            latency,
            not_before: self.world.now.saturating_sub(HEARTBEAT + later),
            detail,
        };
        match (took < HEARTBEAT, later) {
            (true, 0) => self.give(Event::Look(look)),
            (true, later) => self.tell_later(later, look),
            (false, later) => self.tell_later(took + later, look),
        }
        outcome
    }

    /// Looks that end in the same moment are told together.
    fn tell_later(&mut self, after: Millis, look: Look) {
        let due = self.world.now + after;
        let life = self.life;
        let same = self.queue.range_mut((due, 0)..=(due, u64::MAX)).next_back();
        if let Some((_, Due::Looks(of, looks))) =
            same.filter(|(_, due)| matches!(due, Due::Looks(of, _) if *of == life))
        {
            debug_assert_eq!(*of, life);
            looks.push(look);
            return;
        }
        self.at(due, Due::Looks(life, vec![look]));
    }

    fn probe(&mut self, service: ServiceId, site: SiteId) {
        let Some(place) = self.fleet.services[service.at()].places.iter().position(|place| place.site == site) else {
            return;
        };
        for vantage in 0..self.fleet.vantages.len() {
            if let Some(voice) = self.world.heard(vantage) {
                self.look(vantage, service.at(), place, voice.later);
            }
        }
    }

    fn beat(&mut self, cluster: usize) {
        let took = if self.world.host_runs() { self.sample(cluster) } else { 0 };
        let pause = self.fleet.clusters[cluster].interval.max(took);
        self.at(self.world.now + pause, Due::Beat(cluster));
    }

    /// A cluster is looked at; returns how long that takes.
    fn sample(&mut self, cluster: usize) -> Millis {
        let begun = self.world.now;
        let (result, took) = self.world.sample(cluster);
        self.deliver(took, Event::Sampled { cluster: ClusterId(cluster as u16), begun, result });
        took
    }

    /// A host finds out when one of its own providers is quarantined; of an agent's it sees only that its looks show nothing.
    fn tell_quarantines(&mut self) {
        for Quarantined { agent, slot, quarantine } in self.world.providers.take_quarantined() {
            let place = agent.map_or("the host".to_owned(), |at| format!("agent {}", self.fleet.vantages[at].name));
            let seconds = quarantine.lasts.as_secs();
            self.say(&format!("{slot} at {place} is quarantined for {seconds} s: {}", quarantine.reason));
            if agent.is_none() {
                self.deliver(FAULTS_EVERY, Event::PluginFault { slot, text: quarantine.reason });
            }
        }
    }

    fn say(&mut self, text: &str) {
        let now = self.world.now;
        if let Some(timeline) = &mut self.timeline {
            timeline.push(timeline::line(now, text));
        }
    }

    fn end(self) -> Ended {
        let Simulation { mut world, kernel, script, events, timeline, codes, score, fleet, journal, .. } = self;
        score::check_at_the_end(&mut world, &kernel, &fleet, &journal);
        let hits: Vec<Hit> = std::mem::take(&mut world.hits).into_vec();
        let over = score::Over { world: &world, fleet: &fleet, length: script.length, events };
        let ended = score.end(over, hits, codes);
        Ended { timeline: timeline.unwrap_or_default(), journal, ..ended }
    }
}

/// Services by their interval.
fn groups(fleet: &Fleet) -> Vec<Group> {
    let mut by_interval: BTreeMap<Millis, Vec<usize>> = BTreeMap::new();
    for (at, service) in fleet.services.iter().enumerate() {
        by_interval.entry(service.probe.interval.max(1)).or_default().push(at);
    }
    by_interval.into_iter().map(|(interval, services)| Group { interval, services, last: Vec::new() }).collect()
}
