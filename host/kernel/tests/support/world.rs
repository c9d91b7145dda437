//! A world around a kernel: virtual time, sites that live and die, name servers, a scripted policy, and a journal that is
//! all that survives a crash.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{
    Call, Decision, Done, Endpoint, Failure, Millis, Move, Outcome, Reason, Route, Share, Situation, State, Status,
    Strategy, Verdict,
};
use tidegate_kernel::event::{
    Accepted, Action, Answered, Command, Effect, Event, Look, Moment, Read, Refused, Revision, RunId, StepOutcome,
};
use tidegate_kernel::fleet::{ClusterId, Fleet, ServiceId, SiteId, VantageId, parse};
use tidegate_kernel::picture::Picture;
use tidegate_kernel::record::Record;
use tidegate_kernel::replay::Replay;
use tidegate_kernel::runbook::endpoints;
use tidegate_kernel::state::ServiceState;
use tidegate_kernel::view::timeline;

#[path = "database.rs"]
pub mod database;
pub use database::Database;

/// The database works, and is looked at, so often.
const BEAT: Millis = 250;

/// 2026-11-20 12:00 UTC, a Friday.
const START: u64 = 1_795_176_000_000;

pub type Policy = fn(&Situation) -> Result<Decision, String>;

/// A policy that looks further than its situation, and what it read there.
pub type Looker = fn(&Situation, &Picture) -> (Result<Decision, String>, Vec<Read>);

/// How the name servers answer the next write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Write {
    Works,
    Fails,
    /// Done, but the answer is lost.
    DoneUnknown,
    /// Not done, and the answer is lost.
    LostUnknown,
}

/// After so many calls one is answered like this, whether it was done or not.
pub struct Spoil {
    pub spared: usize,
    pub does: bool,
    pub answer: StepOutcome,
}

pub struct World {
    /// Of the fleet's one cluster.
    pub database: Option<Database>,
    /// Who may hold a lease, as last told.
    pub leads: Option<String>,
    /// How long a lease lasts that was renewed a moment ago; none = nobody can tell.
    pub lease: Option<Millis>,
    pub fleet: Fleet,
    pub kernel: Kernel,
    pub mono: Millis,
    /// The wall clock's error.
    pub wall_off: i64,
    pub journal: Vec<Record>,
    pub policy: Policy,
    /// Asked in its stead.
    pub looker: Option<Looker>,
    /// What each asking was shown beside its situation.
    pub shown: Vec<(ServiceId, Picture)>,
    pub revision: Revision,
    pub dead: BTreeSet<&'static str>,
    /// Sites whose services are ill, while the site and its agent live.
    pub ill: BTreeSet<&'static str>,
    /// Vantage points that do not report.
    pub cut_off: BTreeSet<&'static str>,
    /// Vantage points that report, but do not reach their control targets.
    pub unsound: BTreeSet<&'static str>,
    /// Of the looks at services and of those at databases, one in so many takes too long.
    pub slow_every: Option<u64>,
    looks: u64,
    samples: u64,
    pub routes: BTreeMap<String, Vec<Endpoint>>,
    pub writes: VecDeque<Write>,
    /// The name servers do not answer: what is told of a write then.
    pub silence: Option<StepOutcome>,
    /// Every write that the servers took: key and targets.
    pub written: Vec<(String, Vec<String>)>,
    /// Calls of actions and commands, by key.
    pub called: Vec<(String, Action)>,
    pub call_outcomes: VecDeque<StepOutcome>,
    /// What becomes of one call of a database.
    pub spoil: Option<Spoil>,
    pub replies: Vec<Result<Accepted, Refused>>,
    pub sent: Vec<(String, String)>,
    pub blockers: Vec<Reason>,
    /// Answers of the policy are kept back here instead of being given.
    pub slow_policy: Option<Vec<(ServiceId, Event)>>,
    /// Stop everything once the journal has so many records: before or after the effects that follow.
    pub crash_at: Option<(usize, Crash)>,
    pub timeline: Vec<String>,
    /// Every record of every world has to follow from those before it.
    replay: Replay,
    orders: u64,
    events: VecDeque<Event>,
    crashed: bool,
}

/// What is lost in a crash beside the kernel's memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crash {
    /// The effects after the record were not begun.
    BeforeEffects,
    /// They were done, and their outcomes were never heard.
    AfterEffects,
}

pub fn fleet(services: &str) -> Fleet {
    fleet_with("mode = \"act\"", services)
}

pub fn fleet_with(host: &str, services: &str) -> Fleet {
    let text = format!(
        r#"
[host]
site = "north"
agents-listen = "127.0.0.1:1"
warm-up = "3s"
{host}
[site.east]
[site.west]
[site.north]
[agent.east]
site = "east"
token = "t"
[agent.west]
site = "west"
token = "t"
[agent.north]
site = "north"
token = "t"
[secret]
t = {{ env = "T" }}
[slot."probe/tcp"]
plugin = "builtin:probe-tcp"
[slot."dns/primary"]
plugin = "builtin:dns-rfc2136"
[slot."notify/webhook"]
plugin = "builtin:notify-webhook"
[channel.people]
slot = "notify/webhook"
severity = "info"
{services}
"#
    );
    parse(Path::new("fleet.toml"), &|_| Ok(text.clone())).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// A service at east, then west, by itself, with short waits.
pub fn shop(more: &str) -> String {
    service("shop", more)
}

pub fn service(name: &str, more: &str) -> String {
    format!(
        r#"
[service.{name}]
failover = "automatic"
failback = "automatic"
cooldown = "30s"
hold-down = "60s"
probe = {{ slot = "probe/tcp", interval = "1s" }}
route = {{ slot = "dns/primary", name = "{name}.example.org" }}
at.east = {{ endpoint = "{name}-east", target = {{ address = "e:1" }}, load = 40 }}
at.west = {{ endpoint = "{name}-west", target = {{ address = "w:1" }}, load = 40 }}
{more}
"#
    )
}

/// An active-active service, 60 to 40.
pub fn shared(name: &str) -> String {
    let passive = service(name, "strategy = \"active-active\"");
    passive.replace("\"e:1\" },", "\"e:1\" }, share = 60,").replace("\"w:1\" },", "\"w:1\" }, share = 40,")
}

pub fn revision(number: u64) -> Revision {
    Revision {
        number,
        digest: format!("sha256:{number}"),
        settings: "sha256:0".into(),
        name: "scripted".into(),
        version: "1.0.0".into(),
        memo_format: "1".into(),
    }
}

pub fn decision(verdict: Verdict, code: &str) -> Decision {
    Decision {
        verdict,
        analysis: code.into(),
        reasons: vec![Reason::new(code, code)],
        vetoes: Vec::new(),
        would_change_if: Vec::new(),
        ask_again_in: None,
        memo: String::new(),
        facts: Vec::new(),
    }
}

pub fn to(site: &str) -> Move {
    Move { to_site: site.into(), promote: Vec::new(), shifts: Vec::new(), expected_loss: None }
}

/// Fails over from what is unhealthy to the best healthy site, and home when home is well.
pub fn plain_policy(told: &Situation) -> Result<Decision, String> {
    let well = |site: &str| told.sites.iter().any(|s| s.site == site && s.consensus.status == Status::Healthy);
    let active = told.sites.iter().find(|s| s.site == told.active_site);
    let lost = active.is_some_and(|site| site.consensus.status == Status::Unhealthy);
    if told.strategy == Strategy::ActiveActive {
        return Ok(share_out(told));
    }
    Ok(match told.state {
        State::FailingOver | State::FailingBack => decision(Verdict::Hold, "on-the-way"),
        _ if lost => match told.sites.iter().find(|s| s.site != told.active_site && well(&s.site)) {
            Some(best) => decision(Verdict::FailOver(to(&best.site)), "active-dead"),
            None => decision(Verdict::Hold, "no-candidate"),
        },
        State::FailedOver if well(&told.preferred_site) => {
            decision(Verdict::FailBack(to(&told.preferred_site)), "home-well")
        }
        _ => decision(Verdict::Hold, "well"),
    })
}

fn share_out(told: &Situation) -> Decision {
    let home = |site: &tidegate_kernel::contract::SiteView| {
        site.facts.iter().find(|f| f.key == "home-share").map_or(0, |f| f.value.parse().expect("a number"))
    };
    let staying: Vec<_> = told.sites.iter().filter(|s| s.consensus.status == Status::Healthy).collect();
    let whole: u32 = staying.iter().map(|site| home(site)).sum();
    if whole == 0 || told.state == State::FailingOver || told.state == State::FailingBack {
        return decision(Verdict::Hold, "on-the-way");
    }
    let share = |site: &&tidegate_kernel::contract::SiteView| Share {
        site: site.site.clone(),
        per_cent: if staying.iter().any(|s| s.site == site.site) { home(site) * 100 / whole } else { 0 },
    };
    let shares: Vec<Share> = told.sites.iter().collect::<Vec<_>>().iter().map(share).collect();
    if told.sites.iter().zip(&shares).all(|(site, share)| site.share == share.per_cent) {
        return decision(Verdict::Hold, "well");
    }
    decision(Verdict::Rebalance(shares), "share-lost")
}

impl World {
    pub fn new(fleet: Fleet) -> World {
        let mut world = World {
            database: None,
            leads: None,
            lease: Some(2_250),
            kernel: Kernel::new(fleet.clone(), moment(0, 0)),
            routes: first_routes(&fleet),
            fleet,
            mono: 0,
            wall_off: 0,
            journal: Vec::new(),
            policy: plain_policy,
            looker: None,
            shown: Vec::new(),
            revision: revision(1),
            dead: BTreeSet::new(),
            ill: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            unsound: BTreeSet::new(),
            slow_every: None,
            looks: 0,
            samples: 0,
            writes: VecDeque::new(),
            silence: None,
            written: Vec::new(),
            called: Vec::new(),
            call_outcomes: VecDeque::new(),
            spoil: None,
            replies: Vec::new(),
            sent: Vec::new(),
            blockers: Vec::new(),
            slow_policy: None,
            crash_at: None,
            timeline: Vec::new(),
            replay: Replay::default(),
            orders: 0,
            events: VecDeque::new(),
            crashed: false,
        };
        world.start();
        world
    }

    /// A world past its warm-up, in which everything is well.
    pub fn settled(fleet: Fleet) -> World {
        let mut world = World::new(fleet);
        world.run(10_000);
        world.timeline.clear();
        world
    }

    pub fn now(&self) -> Moment {
        moment(self.mono, self.wall_off)
    }

    pub fn shop(&self) -> &ServiceState {
        &self.kernel.state().services["shop"]
    }

    pub fn say(&mut self, what: &str) {
        let line = format!("{} -- {what}", clock(self.mono));
        self.timeline.push(line);
    }

    /// The host dies, and another one starts from the journal.
    pub fn restart(&mut self) {
        self.events.clear();
        self.crashed = false;
        self.crash_at = None;
        let now = self.now();
        self.kernel = Kernel::recover(self.fleet.clone(), self.journal.iter().cloned(), now).expect("a sound journal");
        self.start();
    }

    fn start(&mut self) {
        let mut effects = Vec::new();
        self.kernel.start(self.now(), &mut effects);
        self.carry_out(effects);
        self.drain();
    }

    pub fn order(&mut self, command: Command) -> Result<Accepted, Refused> {
        self.order_unheard(command);
        self.replies.pop().expect("each order is answered")
    }

    /// An order whose answer may be lost in a crash.
    pub fn order_unheard(&mut self, command: Command) {
        self.orders += 1;
        self.give(Event::Ordered { order: self.orders, by: "anna".into(), command });
    }

    pub fn give(&mut self, event: Event) {
        self.events.push_back(event);
        self.drain();
    }

    /// Lets time pass: looks every second, ticks when the kernel wants them.
    pub fn run(&mut self, length: Millis) {
        let end = self.mono + length;
        while self.mono < end && !self.crashed {
            let second = self.mono / 1_000 * 1_000 + 1_000;
            let due = self.kernel.next_edge().unwrap_or(u64::MAX).max(self.mono + 1);
            let beat = if self.database.is_some() { self.mono / BEAT * BEAT + BEAT } else { u64::MAX };
            self.mono = second.min(due).min(beat).min(end);
            if self.mono == second {
                self.look_round();
            }
            if self.mono == beat {
                self.beat();
            }
            if self.kernel.next_edge().is_some_and(|due| due <= self.mono) {
                self.give(Event::Tick);
            }
        }
    }

    /// As [`World::run`], until something is so; panics if it never is.
    pub fn run_until(&mut self, most: Millis, so: impl Fn(&World) -> bool) {
        let end = self.mono + most;
        while !so(self) {
            assert!(self.mono < end, "it never came to it:\n{}", self.timeline.join("\n"));
            self.run(100);
        }
    }

    fn look_round(&mut self) {
        for (at, vantage) in self.fleet.vantages.clone().iter().enumerate() {
            let site = self.fleet.sites[vantage.site.at()].name.clone();
            if self.cut_off.contains(vantage.name.as_str()) || self.dead.contains(site.as_str()) {
                continue;
            }
            let id = VantageId(at as u16);
            self.give(Event::Heard { vantage: id, sound: !self.unsound.contains(vantage.name.as_str()) });
            for (service, declared) in self.fleet.services.clone().iter().enumerate() {
                for place in &declared.places {
                    self.look(id, ServiceId(service as u32), place.site);
                }
            }
        }
    }

    /// The database goes on for a moment, and is looked at.
    fn beat(&mut self) {
        let Some(database) = &mut self.database else { return };
        database.work();
        self.sample(ClusterId(0));
        self.drain();
    }

    fn sample(&mut self, cluster: ClusterId) {
        let Some(database) = &self.database else { return };
        let seen = database.seen();
        self.samples += 1;
        let late = || Failure::UnknownOutcome("it took too long".into());
        let (begun, result) = (self.mono, if self.slow(self.samples) { Err(late()) } else { Ok(seen) });
        self.events.push_back(Event::Sampled { cluster, begun, result });
    }

    fn look_at(&mut self, service: ServiceId, site: SiteId) {
        if self.database.is_none() {
            return;
        }
        for (at, vantage) in self.fleet.vantages.clone().iter().enumerate() {
            let own = self.fleet.sites[vantage.site.at()].name.clone();
            if !self.dead.contains(own.as_str()) {
                self.look(VantageId(at as u16), service, site);
            }
        }
    }

    fn look(&mut self, vantage: VantageId, service: ServiceId, site: SiteId) {
        let name = self.fleet.sites[site.at()].name.as_str();
        let silent = self.database.as_ref().is_some_and(|database| database.silent_at(name));
        self.looks += 1;
        let dead = self.dead.contains(name) || self.ill.contains(name) || silent || self.slow(self.looks);
        let outcome = if dead { Outcome::TimedOut } else { Outcome::Ok };
        let not_before = self.mono;
        let detail = String::new();
        self.give(Event::Look(Look { vantage, service, site, outcome, latency: Some(3), not_before, detail }));
    }

    /// Whether the look with this number is one that takes too long.
    fn slow(&self, number: u64) -> bool {
        self.slow_every.is_some_and(|every| number.is_multiple_of(every))
    }

    fn drain(&mut self) {
        while let Some(event) = self.events.pop_front() {
            if self.crashed {
                return;
            }
            let mut effects = Vec::new();
            self.kernel.handle(self.now(), event, &mut effects);
            self.carry_out(effects);
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Append(record) => self.append(record),
                _ if self.crashed && !matches!(self.crash_at, Some((_, Crash::AfterEffects))) => return,
                Effect::Decide { ticket, service, situation, picture, .. } => {
                    let (result, reads) = match self.looker {
                        Some(looker) => looker(&situation, &picture),
                        None => ((self.policy)(&situation), Vec::new()),
                    };
                    self.shown.push((service, picture));
                    let (revision, settings) = (self.revision.clone(), "{}".to_owned());
                    let answer = Answered { revision, settings, result, reads, fuel: 1, took_us: 1 };
                    let event = Event::Decided { ticket, service, answer: Box::new(answer) };
                    match &mut self.slow_policy {
                        Some(kept) => kept.push((service, event)),
                        None => self.events.push_back(event),
                    }
                }
                Effect::Perform { run, step, action, call } => self.perform(run, step, action, call),
                Effect::ReadRoute { service } => self.read_route(service),
                Effect::CheckReady { service } => {
                    let blockers = self.blockers.clone();
                    self.events.push_back(Event::ReadyChecked { service, blockers });
                }
                Effect::Probe { service, site } => self.look_at(service, site),
                Effect::Sample { cluster } => self.sample(cluster),
                Effect::Lead { primary, .. } => self.leads = primary,
                Effect::EndLease { run, .. } => {
                    self.leads = None;
                    let ends = self.lease.map(|lease| self.mono + lease).ok_or_else(|| "no enforcer".to_owned());
                    self.events.push_back(Event::LeaseEnds { run, ends });
                }
                Effect::Notify { key, channel, message } => {
                    self.sent.push((key.clone(), message.subject));
                    self.events.push_back(Event::Sent { key, channel, result: Ok(()) });
                }
                Effect::Reply { result, .. } => self.replies.push(result),
            }
        }
        if self.crashed {
            self.events.clear();
        }
    }

    fn append(&mut self, record: Record) {
        // What a store would write is what a store would read.
        let line = serde_json::to_string(&record).expect("a record can be written");
        let record: Record = serde_json::from_str(&line).expect("a record can be read");
        self.timeline.extend(timeline::lines(&record).map(|line| format!("{} {line}", clock(self.mono))));
        if self.journal.is_empty() {
            self.replay = Replay::default();
        }
        let strange = self.replay.follow(&record);
        assert!(strange.is_empty(), "{strange:?} does not follow in {record:#?}");
        self.journal.push(record);
        self.crashed |= self.crash_at.is_some_and(|(at, _)| self.journal.len() >= at);
    }

    fn perform(&mut self, run: RunId, step: usize, action: Action, call: Call) {
        let outcome = match &action {
            Action::PointRoute { route, .. } => self.write(&call.key, route),
            Action::CheckReady { .. } => done("ready"),
            _ if self.database.is_some() => {
                self.called.push((call.key.clone(), action.clone()));
                let spoil = self.spoiled();
                match spoil {
                    Some(Spoil { does: false, answer, .. }) => answer,
                    spoil => {
                        let outcome = self.database.as_mut().expect("it is there").perform(&action);
                        spoil.map_or(outcome, |spoil| spoil.answer)
                    }
                }
            }
            _ => {
                self.called.push((call.key.clone(), action.clone()));
                self.call_outcomes.pop_front().unwrap_or_else(|| done("called"))
            }
        };
        self.events.push_back(Event::Stepped { run, step, outcome });
    }

    fn spoiled(&mut self) -> Option<Spoil> {
        let spoil = self.spoil.take()?;
        if spoil.spared == 0 {
            return Some(spoil);
        }
        self.spoil = Some(Spoil { spared: spoil.spared - 1, ..spoil });
        None
    }

    fn write(&mut self, key: &str, route: &Route) -> StepOutcome {
        assert!(!route.endpoints.is_empty(), "a name must never be without an answer");
        if let Some(told) = &self.silence {
            return told.clone();
        }
        let how = self.writes.pop_front().unwrap_or(Write::Works);
        if matches!(how, Write::Works | Write::DoneUnknown) {
            let targets = route.endpoints.iter().map(|endpoint| endpoint.target.clone()).collect();
            self.written.push((key.into(), targets));
            self.routes.insert(route.name.clone(), route.endpoints.clone());
        }
        match how {
            Write::Works => done("written"),
            Write::Fails => StepOutcome::Failed(Failure::Rejected("SERVFAIL".into())),
            Write::DoneUnknown | Write::LostUnknown => StepOutcome::Unknown("the connection was cut".into()),
        }
    }

    fn read_route(&mut self, service: ServiceId) {
        let Some(spec) = &self.fleet.services[service.at()].route else { return };
        let result = match self.routes.get(&spec.name) {
            _ if self.silence.is_some() => Err(Failure::Rejected("no answer".into())),
            Some(endpoints) => Ok(Route {
                name: spec.name.clone(),
                ttl_seconds: spec.ttl_seconds,
                endpoints: endpoints.clone(),
                written_by: None,
                age: 0,
                facts: Vec::new(),
            }),
            None => Err(Failure::NotFound(spec.name.clone())),
        };
        self.events.push_back(Event::RouteRead { service, result });
    }
}

pub fn done(text: &str) -> StepOutcome {
    StepOutcome::Done(Done { text: text.into(), receipt: String::new() })
}

fn moment(mono: Millis, wall_off: i64) -> Moment {
    Moment { mono, wall: (START + mono).saturating_add_signed(wall_off) }
}

/// The servers hold what the fleet file says at the start.
fn first_routes(fleet: &Fleet) -> BTreeMap<String, Vec<Endpoint>> {
    let with_route = fleet.services.iter().filter_map(|service| Some((service, service.route.as_ref()?)));
    with_route.map(|(service, route)| (route.name.clone(), endpoints(fleet, service, &fleet.home(service)))).collect()
}

fn clock(mono: Millis) -> String {
    format!("{:02}:{:02}.{:03}", mono / 60_000, mono / 1_000 % 60, mono % 1_000)
}
