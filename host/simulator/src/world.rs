//! The truth: sites, links, services, databases, name servers and clients, and what each look at them finds.
//!
//! Knows no kernel and no policy. Between two changes everything stays as it is or grows evenly, so time can pass in one step.

mod clients;
mod conditions;
mod database;
mod leases;
mod links;
mod names;
mod providers;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_kernel::contract::{Cluster, Endpoint, Failure, Millis, Outcome, Reason, Route};
use tidegate_kernel::fleet::{Fleet, Service};

use crate::chance::Chance;
use crate::checkers::{Checker, Hits, Mutant};
use crate::fault::Fault;

pub(crate) use clients::{Clients, Outage};
pub(crate) use conditions::Conditions;
use conditions::{Health, place};
use database::Database;
pub(crate) use database::ROW;
use links::Exchange;
use names::{Names, RESOLVERS};
use providers::{Ask, Providers, Trouble};
pub(crate) use providers::{Caller, Quarantined};

/// A look that is answered takes about this long.
const ANSWER: Millis = 3;
/// A call of a provider's, a command at a site.
const CALL: Millis = 30;
const COMMAND: Millis = 150;
/// An agent that hears nothing asks again for commands, and tells their outcomes again, after about this long.
const COMMAND_AGAIN: Millis = 20_000;
/// A write to the name servers with its read-back.
const WRITE: Millis = 40;
/// A look at a cluster of which every node answers, or one does not.
const SAMPLING: Millis = 20;
const SAMPLING_SILENT: Millis = 800;
/// What a provider waits for a node and for the name servers, an agent for the answer to a report and for its control targets, and a
/// client for its own.
const NODE_PATIENCE: Millis = 500;
const NAMES_PATIENCE: Millis = 2_000;
const REPORT_PATIENCE: Millis = 2_000;
const TARGET_PATIENCE: Millis = 800;
const CLIENT_PATIENCE: Millis = 2_000;

/// What an agent's reports say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    /// Its control targets answer.
    pub(crate) sound: bool,
    /// How much later than usual the way there and back takes.
    pub(crate) later: Millis,
}

/// Everything that is so, whoever knows it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    fleet: Arc<Fleet>,
    pub(crate) chance: Chance,
    pub(crate) now: Millis,
    broken: Vec<(usize, Fault)>,
    pub(crate) conditions: Conditions,
    databases: Vec<Database>,
    pub(crate) names: Names,
    pub(crate) providers: Providers,
    pub(crate) clients: Vec<Clients>,
    /// The vantage points of each failure domain.
    domains: Vec<Vec<usize>>,
    /// By cluster: the newest epoch that each agent was told, and how far the host lets the lease be renewed.
    told: Vec<Vec<u64>>,
    epochs: Vec<u64>,
    pub(crate) host_lives: bool,
    /// When something last became different.
    pub(crate) changed: Millis,
    looks: u64,
    /// When a resolver next learns something: until then who is served stays as it is.
    caches_change: Option<Millis>,
    pub(crate) hits: Hits,
    mutants: Vec<Mutant>,
}

impl World {
    pub(crate) fn new(fleet: Arc<Fleet>, mutants: Vec<Mutant>, chance: Chance) -> Self {
        let service_of = |cluster: usize| {
            let of_it = |service: &&Service| service.cluster.is_some_and(|id| id.at() == cluster);
            fleet.services.iter().find(of_it)
        };
        let database = |(at, cluster)| {
            let active = service_of(at).map_or(0, |service: &Service| service.active_at_start.at());
            let mut database = Database::new(cluster, active, 0);
            database.alone = mutants.contains(&Mutant::AcknowledgesAlone);
            database
        };
        let mut world = World {
            chance,
            now: 0,
            broken: Vec::new(),
            conditions: Conditions::of(&fleet, [].into_iter()),
            databases: fleet.clusters.iter().enumerate().map(database).collect(),
            names: Names::new(&fleet, 0),
            providers: Providers::new(&fleet),
            clients: vec![Clients::default(); fleet.services.len()],
            domains: domains(&fleet),
            told: vec![vec![0; fleet.vantages.len()]; fleet.clusters.len()],
            epochs: vec![0; fleet.clusters.len()],
            host_lives: true,
            changed: 0,
            looks: 0,
            caches_change: None,
            hits: Hits::default(),
            mutants: Vec::new(),
            fleet: fleet.clone(),
        };
        world.mutants = mutants;
        world.serve();
        world
    }

    /// Lets time pass. What is due in between (a lease, a cache) has to be the end of a step: see [`World::next_change`].
    pub(crate) fn advance(&mut self, now: Millis) {
        let length = now.saturating_sub(self.now);
        if length == 0 {
            return;
        }
        self.now = now;
        self.clients.iter_mut().for_each(|clients| clients.pass(length));
        let mut others_served = self.caches_change.is_some_and(|due| due <= now);
        for at in 0..self.databases.len() {
            self.databases[at].advance(at, &self.conditions, now);
            if self.databases[at].is_read_in_doubt() {
                self.databases[at].stale(length);
                self.check_reads(at);
            }
            if self.enforce(at) {
                self.changed = now;
                others_served = true;
            }
        }
        self.check_split();
        if others_served {
            self.serve();
        }
    }

    /// When something changes by itself, at the latest.
    pub(crate) fn next_change(&self) -> Option<Millis> {
        [self.next_lease_end(), self.caches_change].into_iter().flatten().min().map(|due| due.max(self.now + 1))
    }

    /// Something breaks.
    pub(crate) fn break_down(&mut self, number: usize, fault: &Fault) {
        if let Fault::NamesChanged(at) = fault {
            self.lead_elsewhere(&at.service, &at.site);
        }
        self.broken.push((number, fault.clone()));
        self.reconsider();
    }

    /// What broke under that number is mended.
    pub(crate) fn mend(&mut self, number: usize) {
        self.broken.retain(|(broken, _)| *broken != number);
        self.reconsider();
    }

    /// Whether nothing is broken.
    pub(crate) fn is_whole(&self) -> bool {
        self.broken.iter().all(|(_, fault)| fault.is_a_moment()) && self.names.meddled().next().is_none()
    }

    fn reconsider(&mut self) {
        // Resolvers have asked again until now, whether or not anybody looked.
        self.serve();
        let conditions = Conditions::of(&self.fleet, self.broken.iter().map(|(_, fault)| fault));
        let before = std::mem::replace(&mut self.conditions, conditions);
        for (at, database) in self.databases.iter_mut().enumerate() {
            database.changed(at, &before, &self.conditions, self.now);
        }
        for (at, vantage) in self.fleet.vantages.iter().enumerate().filter(|(_, vantage)| vantage.token.is_some()) {
            if self.conditions.agents[at].down || self.conditions.down[vantage.site.at()] {
                self.providers.start_anew(Caller::Vantage(at));
            }
        }
        self.changed = self.now;
        self.serve();
    }

    /// Whether a look may find something else than the one before, though nothing else has changed.
    pub(crate) fn is_unsteady(&self) -> bool {
        let unsettled = |caller| self.providers.is_unsettled(caller, self.now);
        let looks = |at: usize| unsettled(Caller::Vantage(at)) && self.heard(at).is_some();
        self.conditions.unsteady
            || unsettled(Caller::Host) && self.host_runs()
            || (0..self.fleet.vantages.len()).any(looks)
    }

    /// Whether the host is alive and stands where something can reach it.
    pub(crate) fn host_runs(&self) -> bool {
        self.host_lives && !self.conditions.host_down && !self.conditions.absent(self.host())
    }

    pub(crate) fn host(&self) -> usize {
        self.fleet.host.site.at()
    }

    /// What an agent says in its reports, if they reach the host: they are a stream, and one that is not answered in time is as
    /// though it had not been sent.
    pub(crate) fn heard(&self, vantage: usize) -> Option<Voice> {
        let (site, internet) = (self.fleet.vantages[vantage].site.at(), self.conditions.internet());
        let trouble = self.conditions.agents[vantage];
        if trouble.down || self.conditions.absent(site) {
            return None;
        }
        let later = self.conditions.streams(site, self.host()).filter(|later| *later < REPORT_PATIENCE)?;
        let near = self.conditions.round_trip(site, internet) < TARGET_PATIENCE;
        let sound = !trouble.blind && near && self.conditions.reach(site, internet);
        Some(Voice { sound, later })
    }

    /// … at this moment: a control target may have been asked in vain.
    pub(crate) fn listen(&mut self, vantage: usize) -> Option<Voice> {
        let voice = self.heard(vantage)?;
        let in_vain = voice.sound && self.is_lost(self.fleet.vantages[vantage].site.at(), self.conditions.internet());
        Some(Voice { sound: voice.sound && !in_vain, ..voice })
    }

    /// What one look finds, and after how long; or how the probe failed.
    pub(crate) fn look(&mut self, vantage: usize, service: usize, site: usize) -> (Result<Outcome, Failure>, Millis) {
        let fleet = self.fleet.clone();
        let probe = &fleet.services[service].probe;
        let ask = Ask::look("probe.check", &fleet.sites[site].name, Some(probe.timeout));
        self.through(Caller::Vantage(vantage), &probe.slot, ask, |world| world.sight(vantage, service, site))
    }

    /// What there is to see.
    fn sight(&mut self, vantage: usize, service: usize, site: usize) -> (Outcome, Millis) {
        self.looks += 1;
        let timeout = self.fleet.services[service].probe.timeout;
        let from = self.fleet.vantages[vantage].site.at();
        let trouble = self.conditions.agents[vantage];
        let cut = trouble.blind || !self.conditions.reach(from, site) || self.conditions.absent(site);
        if cut || (trouble.slow && self.looks.is_multiple_of(4)) || self.is_lost(from, site) {
            return (Outcome::TimedOut, timeout);
        }
        let took = ANSWER + self.conditions.round_trip(from, site);
        if took >= timeout {
            return (Outcome::TimedOut, timeout);
        }
        match self.answer(service, site) {
            Health::Works => (Outcome::Ok, took),
            Health::Slow => (Outcome::Slow, took),
            Health::Flaky(errors) if self.chance.per_cent(errors) => (Outcome::Partial, took),
            Health::Flaky(_) => (Outcome::Ok, took),
            Health::ReadOnly => (Outcome::WriteFailed, took),
            Health::Hangs => (Outcome::TimedOut, timeout),
            Health::Down => (Outcome::Refused, took),
        }
    }

    /// How a service answers whoever reaches its site.
    fn answer(&self, service: usize, site: usize) -> Health {
        let health = self.conditions.health(service, site);
        match self.fleet.services[service].cluster {
            None => health,
            Some(id) => match self.databases[id.at()].answers_at(id.at(), &self.conditions, site) {
                Some(true) => health,
                Some(false) => Health::Down,
                None => Health::Hangs,
            },
        }
    }

    /// Whether somebody on the internet is served by a service at a site.
    pub(crate) fn serves(&self, service: usize, site: usize) -> bool {
        if self.conditions.absent(site) || !self.is_near(site) {
            return false;
        }
        if !matches!(self.answer(service, site), Health::Works | Health::Slow | Health::Flaky(_)) {
            return false;
        }
        let Some(id) = self.fleet.services[service].cluster else { return true };
        // A client waits for its answer and, where commits do, for the standbys' word.
        let waits = self.databases[id.at()].commits_at(id.at(), &self.conditions, site);
        let way = self.conditions.round_trip(self.conditions.internet(), site);
        waits.is_some_and(|waits| way + waits < CLIENT_PATIENCE)
    }

    /// Which part of those who ask there is served: of a link that loses p per cent, the others.
    fn part_served_at(&self, service: usize, site: usize) -> f64 {
        match self.serves(service, site) {
            true => f64::from(100 - self.conditions.loss(self.conditions.internet(), site)) / 100.0,
            false => 0.0,
        }
    }

    /// Whether clients hear from a site in time.
    fn is_near(&self, site: usize) -> bool {
        let internet = self.conditions.internet();
        self.conditions.reach(internet, site) && self.conditions.round_trip(internet, site) < CLIENT_PATIENCE
    }

    /// Whether nothing is the matter with a service at a site.
    pub(crate) fn is_well(&self, service: usize, site: &str) -> bool {
        let site = place(&self.fleet, site);
        self.part_served_at(service, site) >= 1.0 && self.conditions.health(service, site) == Health::Works
    }

    /// Whether a service could be served at a site as soon as it is led there.
    pub(crate) fn could_serve(&self, service: usize, site: usize) -> bool {
        let reached = self.conditions.reach(self.host(), site) && self.is_near(site);
        let works = matches!(self.conditions.health(service, site), Health::Works);
        let route = self.fleet.services[service].route.as_ref();
        let led = self.names_answer() && route.is_none_or(|route| self.asks(Caller::Host, &route.slot));
        let up = !self.conditions.absent(site) && reached && works && led;
        match self.fleet.services[service].cluster {
            None => up,
            Some(id) => {
                let node = self.databases[id.at()].servers.iter().position(|server| server.site == site);
                let moved = self.asks(Caller::Host, &self.fleet.clusters[id.at()].slot);
                up && moved && node.is_some_and(|node| self.node_answers(id.at(), node))
            }
        }
    }

    /// Whether more than half of the failure domains look at a service and are sound.
    pub(crate) fn is_seen(&self, service: usize) -> bool {
        let probe = &self.fleet.services[service].probe.slot;
        let looks =
            |at: usize| self.heard(at).is_some_and(|voice| voice.sound) && self.asks(Caller::Vantage(at), probe);
        let of_domain = |domain: &&Vec<usize>| domain.iter().any(|at| looks(*at));
        self.domains.iter().filter(of_domain).count() * 2 > self.domains.len()
    }

    /// Whether the provider in a slot would answer.
    fn asks(&self, caller: Caller, slot: &str) -> bool {
        self.conditions.provider(slot) == Trouble::Nothing && self.providers.admits(caller, slot, self.now)
    }

    /// Which part of each service's clients is served from now on, and where they read.
    fn serve(&mut self) {
        let servers_answer = !self.conditions.names_down;
        self.names.ask(servers_answer, self.now);
        for service in 0..self.fleet.services.len() {
            let served = match &self.fleet.services[service].route {
                None => 1.0,
                Some(route) => {
                    let by = |resolver| self.part_served(service, self.names.held(&route.name, resolver));
                    (0..RESOLVERS).map(by).sum::<f64>() / RESOLVERS as f64
                }
            };
            self.clients[service].serve(served, self.now);
            self.lead_readers(service);
        }
        self.caches_change = self.names.next_change(servers_answer, self.now);
    }

    fn part_served(&self, service: usize, endpoints: &[Endpoint]) -> f64 {
        let whole: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
        let here = |endpoint: &Endpoint| {
            f64::from(endpoint.weight) * self.part_served_at(service, place(&self.fleet, &endpoint.site))
        };
        let served: f64 = endpoints.iter().map(here).sum();
        if whole == 0 { 0.0 } else { served / f64::from(whole) }
    }

    /// Clients read what they have written wherever a name leads them and a primary answers, in whichever of its lives. A standby tells
    /// them that it is one.
    fn lead_readers(&mut self, service: usize) {
        let declared = &self.fleet.services[service];
        let (Some(id), Some(route)) = (declared.cluster, &declared.route) else { return };
        let of = id.at();
        if !self.databases[of].has_forked() {
            // All there is stands in one log.
            return;
        }
        let leads = |site: usize| {
            let to = |endpoint: &Endpoint| endpoint.weight > 0 && place(&self.fleet, &endpoint.site) == site;
            (0..RESOLVERS).any(|resolver| self.names.held(&route.name, resolver).iter().any(to))
        };
        let reads = |at: &usize| {
            let site = self.databases[of].servers[*at].site;
            self.is_near(site) && self.databases[of].is_read_at(of, &self.conditions, *at) && leads(site)
        };
        let readers: Vec<usize> = (0..self.databases[of].servers.len()).filter(reads).collect();
        self.databases[of].readers = readers;
        self.check_reads(of);
    }

    /// A row that a client was told is acknowledged is there when it is looked for, where nothing may be lost.
    fn check_reads(&mut self, of: usize) {
        let database = &mut self.databases[of];
        let Some((rows, node)) = database.look_for_rows() else { return };
        let may_be = database.wait_for == 0 || database.on_a_word || database.loss_accepted;
        if may_be || std::mem::replace(&mut database.missed_already, true) {
            return;
        }
        let node = &database.servers[node].name;
        let text = format!("clients that read at {node} miss {rows} acknowledged rows of {}", database.name);
        self.hits.add(Checker::WriteLost, self.now, text);
    }

    /// Whether the name servers answer the host, but for chance.
    fn names_answer(&self) -> bool {
        let (host, internet) = (self.host(), self.conditions.internet());
        !self.conditions.names_down
            && self.conditions.reach(host, internet)
            && WRITE + self.conditions.round_trip(host, internet) < NAMES_PATIENCE
    }

    /// The host asks the name servers: what becomes of that, and after how long it knows.
    fn ask_names(&mut self) -> (Exchange, Millis) {
        let (host, internet) = (self.host(), self.conditions.internet());
        if self.conditions.names_down {
            return (Exchange::NoWay, NAMES_PATIENCE);
        }
        let took = WRITE + self.conditions.round_trip(host, internet);
        match self.exchange(host, internet) {
            Exchange::Answered if took < NAMES_PATIENCE => (Exchange::Answered, took),
            Exchange::Answered => (Exchange::Unanswered, NAMES_PATIENCE),
            silent => (silent, NAMES_PATIENCE),
        }
    }

    /// Where a name leads, as the servers say, and after how long.
    pub(crate) fn read_route(&mut self, slot: &str, name: &str) -> (Result<Route, Failure>, Millis) {
        let ask = Ask::look("dns.resolve", "", None);
        let (read, took) = self.through(Caller::Host, slot, ask, |world| match world.ask_names() {
            (Exchange::Answered, took) => {
                (world.names.read(name, world.now).ok_or_else(|| Failure::NotFound(name.to_owned())), took)
            }
            (_, took) => (Err(Failure::Rejected(steps::SILENT.to_owned())), took),
        });
        (read.and_then(|read| read), took)
    }

    /// What a move of a service would need and does not find, after how long the name servers' answer is known, and how much later
    /// all the others'.
    pub(crate) fn missing(&mut self, service: usize) -> (Vec<Reason>, Millis, Millis) {
        let fleet = self.fleet.clone();
        let service = &fleet.services[service];
        let (asked, answered) = self.ask_names();
        let names = (asked != Exchange::Answered).then(|| Reason::new("route-not-ready", steps::SILENT));
        let fault = self.providers.fault(&service.probe.slot);
        let fault = fault.map(|why| Reason::new("plugin-fault", format!("{}: {why}", service.probe.slot)));
        let mut missing: Vec<Reason> = names.into_iter().chain(fault).collect();
        let mut later = 0;
        let route = service.route.as_ref().map(|route| ("route-not-ready", &route.slot, &route.name));
        let cluster = service.cluster.map(|id| &fleet.clusters[id.at()]);
        let cluster = cluster.map(|cluster| ("cluster-not-ready", &cluster.slot, &cluster.name));
        for (code, slot, name) in route.into_iter().chain(cluster) {
            let (ready, took) = self.through(Caller::Host, slot, Ask::look("provider.ready", "", None), |_| ((), 0));
            later += took;
            missing.extend(ready.err().map(|why| Reason::new(code, format!("{name} through {slot}: {why}"))));
        }
        (missing, answered, later)
    }

    /// A look at a cluster: what its provider says, or how that failed, and after how long.
    pub(crate) fn sample(&mut self, of: usize) -> (Result<Cluster, Failure>, Millis) {
        let fleet = self.fleet.clone();
        let cluster = &fleet.clusters[of];
        self.through(Caller::Host, &cluster.slot, Ask::look("replication.topology", &cluster.name, None), |world| {
            let seen = world.sampled(of);
            let all = seen.nodes.iter().all(|node| node.writable.is_some());
            (seen, if all { SAMPLING } else { SAMPLING_SILENT } + world.farthest(of))
        })
    }

    /// What the provider says of a cluster when it asks each node now.
    fn sampled(&mut self, of: usize) -> Cluster {
        let mut reached = Vec::with_capacity(self.databases[of].servers.len());
        for node in 0..self.databases[of].servers.len() {
            let lost = self.is_lost(self.host(), self.databases[of].servers[node].site);
            reached.push(!lost && self.node_answers(of, node));
        }
        self.databases[of].seen(&self.fleet, of, &reached, self.now)
    }

    /// What the provider says of a cluster while chance has no part in it.
    pub(crate) fn seen(&self, of: usize) -> Cluster {
        let reached: Vec<bool> =
            (0..self.databases[of].servers.len()).map(|node| self.node_answers(of, node)).collect();
        self.databases[of].seen(&self.fleet, of, &reached, self.now)
    }

    /// How much later than usual the last node answers: all are asked at once.
    fn farthest(&self, of: usize) -> Millis {
        let answers = |node: &usize| self.node_answers(of, *node);
        let further = |node: usize| self.conditions.further(self.host(), self.databases[of].servers[node].site);
        (0..self.databases[of].servers.len()).filter(answers).map(further).max().unwrap_or(0)
    }

    fn lead_elsewhere(&mut self, service: &str, site: &str) {
        let Some(declared) = self.fleet.services.iter().find(|declared| declared.name == service) else { return };
        let at = place(&self.fleet, site);
        let here = declared.places.iter().find(|place| place.site.at() == at);
        let target = here.map_or_else(|| format!("{service}.elsewhere"), |place| place.endpoint.clone());
        let Some(route) = &declared.route else { return };
        let endpoint = Endpoint { site: site.to_owned(), target, weight: 100 };
        self.names.meddle(&route.name, vec![endpoint], self.now);
    }

    fn check_split(&mut self) {
        for database in &self.databases {
            if database.split_within_a_timeline > 0 {
                let text = format!("two nodes of {} acknowledge on one timeline", database.name);
                self.hits.add(Checker::TwoInOneEpoch, self.now, text);
            }
            if database.split_beyond_a_wake_up > 0 && !database.on_a_word {
                let text = format!("two nodes of {} acknowledge at once", database.name);
                self.hits.add(Checker::SplitBrain, self.now, text);
            }
        }
    }

    /// At the end: what was acknowledged and is gone, in rows, by cluster with its name and whether anything may be lost.
    pub(crate) fn lost(&self) -> Vec<(String, u64, bool)> {
        let lost = |database: &Database| (database.name.clone(), database.lost().div_ceil(ROW), database.wait_for > 0);
        self.databases.iter().map(lost).collect()
    }

    /// A person said that a primary of this cluster is off for good.
    pub(crate) fn on_a_word(&self, cluster: &str) -> bool {
        self.databases.iter().any(|database| database.name == cluster && database.on_a_word)
    }

    /// By cluster: rows that clients were told are acknowledged, and looked for in vain where a primary answers.
    pub(crate) fn missed(&self) -> impl Iterator<Item = (&str, u64)> {
        self.databases.iter().map(|database| (database.name.as_str(), database.missed().div_ceil(ROW)))
    }

    /// Whether clients of this cluster have missed what may not be lost.
    pub(crate) fn is_missed(&self, cluster: &str) -> bool {
        self.databases.iter().any(|database| database.name == cluster && database.missed_already)
    }

    /// Time in which clients read at a node that had been replaced, and that lacks what was acknowledged since.
    pub(crate) fn stale_reads(&self) -> Millis {
        self.databases.iter().map(|database| database.stale_reads).sum()
    }

    /// Time in which two nodes of a cluster acknowledged.
    pub(crate) fn split(&self) -> Millis {
        self.databases.iter().map(|database| database.split).sum()
    }
}

fn domains(fleet: &Fleet) -> Vec<Vec<usize>> {
    let mut domains: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, vantage) in fleet.vantages.iter().enumerate() {
        domains.entry(&vantage.failure_domain).or_default().push(at);
    }
    domains.into_values().collect()
}
