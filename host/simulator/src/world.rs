//! The truth: sites, links, services, databases, name servers and clients, and what each look at them finds.
//!
//! Knows no kernel and no policy. Between two changes everything stays as it is or grows evenly, so time can pass in one step.

mod clients;
mod conditions;
mod database;
mod names;
mod providers;

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_kernel::contract::{Call, Cluster, Done, Endpoint, Failure, Millis, Outcome, Reason, Route};
use tidegate_kernel::event::{Action, StepOutcome};
use tidegate_kernel::fleet::{Fleet, Service};

use crate::chance::Chance;
use crate::checkers::{Checker, Hits, Mutant};
use crate::fault::Fault;

pub(crate) use clients::{Clients, Outage};
pub(crate) use conditions::Conditions;
use conditions::{Health, place};
pub(crate) use database::ROW;
use database::{Database, LEASE, LEASE_END};
use names::{Names, RESOLVERS};
use providers::{Ask, Providers, Trouble};
pub(crate) use providers::{Caller, Quarantined};

/// A look that is answered takes about this long.
const ANSWER: Millis = 3;
/// A call of a provider's, a command at a site.
const CALL: Millis = 30;
const COMMAND: Millis = 150;
/// A write to the name servers with its read-back.
const WRITE: Millis = 40;
/// A look at a cluster of which every node answers, or one does not.
const SAMPLING: Millis = 20;
const SAMPLING_SILENT: Millis = 800;

/// Everything that is so, whoever knows it.
#[derive(Debug)]
pub(crate) struct World {
    fleet: Arc<Fleet>,
    pub(crate) now: Millis,
    broken: Vec<(usize, Fault)>,
    pub(crate) conditions: Conditions,
    databases: Vec<Database>,
    pub(crate) names: Names,
    pub(crate) providers: Providers,
    pub(crate) clients: Vec<Clients>,
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
    pub(crate) fn new(fleet: &Fleet, mutants: Vec<Mutant>) -> Self {
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
            now: 0,
            broken: Vec::new(),
            conditions: Conditions::of(fleet, [].into_iter()),
            databases: fleet.clusters.iter().enumerate().map(database).collect(),
            names: Names::new(fleet, 0),
            providers: Providers::new(fleet),
            clients: vec![Clients::default(); fleet.services.len()],
            told: vec![vec![0; fleet.vantages.len()]; fleet.clusters.len()],
            epochs: vec![0; fleet.clusters.len()],
            host_lives: true,
            changed: 0,
            looks: 0,
            caches_change: None,
            hits: Hits::default(),
            mutants: Vec::new(),
            fleet: Arc::new(fleet.clone()),
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
            let renewed = self.renewed(at);
            if self.databases[at].advance(at, &self.conditions, now, &renewed) {
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
        let lease =
            |(at, database): (usize, &Database)| database.next_lease_end(at, &self.conditions, &self.renewed(at));
        let leases = self.databases.iter().enumerate().filter_map(lease).min();
        [leases, self.caches_change].into_iter().flatten().min().map(|due| due.max(self.now + 1))
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

    /// Whether what an agent says reaches the host, and what its control targets tell it. None = it says nothing.
    pub(crate) fn heard(&self, vantage: usize) -> Option<bool> {
        let site = self.fleet.vantages[vantage].site.at();
        let trouble = self.conditions.agents[vantage];
        if trouble.down || self.conditions.absent(site) || !self.conditions.reach(site, self.host()) {
            return None;
        }
        Some(!trouble.blind && self.conditions.reach(site, self.conditions.internet()))
    }

    /// What one look finds, and after how long; or how the probe failed.
    pub(crate) fn look(
        &mut self,
        vantage: usize,
        service: usize,
        site: usize,
        chance: &mut Chance,
    ) -> (Result<Outcome, Failure>, Millis) {
        let fleet = self.fleet.clone();
        let probe = &fleet.services[service].probe;
        let ask = Ask::look("probe.check", &fleet.sites[site].name, Some(probe.timeout));
        self.through(Caller::Vantage(vantage), &probe.slot, ask, |world| world.sight(vantage, service, site, chance))
    }

    /// What there is to see.
    fn sight(&mut self, vantage: usize, service: usize, site: usize, chance: &mut Chance) -> (Outcome, Millis) {
        self.looks += 1;
        let declared = &self.fleet.services[service];
        let timeout = declared.probe.timeout;
        let from = self.fleet.vantages[vantage].site.at();
        let trouble = self.conditions.agents[vantage];
        let lost = self.conditions.link(from, site).loss.max(self.conditions.link(site, from).loss);
        let cut = trouble.blind || !self.conditions.reach(from, site) || self.conditions.absent(site);
        if cut || (trouble.slow && self.looks.is_multiple_of(4)) || (lost > 0 && chance.per_cent(lost)) {
            return (Outcome::TimedOut, timeout);
        }
        let took = ANSWER + self.conditions.round_trip(from, site);
        if took >= timeout {
            return (Outcome::TimedOut, timeout);
        }
        match self.answer(service, site) {
            Health::Works => (Outcome::Ok, took),
            Health::Slow => (Outcome::Slow, took),
            Health::Flaky(errors) if chance.per_cent(errors) => (Outcome::Partial, took),
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
        if self.conditions.absent(site) || !self.conditions.reach(self.conditions.internet(), site) {
            return false;
        }
        if !matches!(self.answer(service, site), Health::Works | Health::Slow | Health::Flaky(_)) {
            return false;
        }
        match self.fleet.services[service].cluster {
            None => true,
            Some(id) => self.databases[id.at()].serves_at(id.at(), &self.conditions, site),
        }
    }

    /// Whether nothing is the matter with a service at a site.
    pub(crate) fn is_well(&self, service: usize, site: &str) -> bool {
        let site = place(&self.fleet, site);
        self.serves(service, site) && self.conditions.health(service, site) == Health::Works
    }

    /// Whether a service could be served at a site as soon as it is led there.
    pub(crate) fn could_serve(&self, service: usize, site: usize) -> bool {
        let reached =
            self.conditions.reach(self.host(), site) && self.conditions.reach(self.conditions.internet(), site);
        let works = matches!(self.conditions.health(service, site), Health::Works);
        let route = self.fleet.services[service].route.as_ref();
        let led = self.names_answer().is_ok() && route.is_none_or(|route| self.asks(Caller::Host, &route.slot));
        let up = !self.conditions.absent(site) && reached && works && led;
        match self.fleet.services[service].cluster {
            None => up,
            Some(id) => {
                let node = self.databases[id.at()].servers.iter().position(|server| server.site == site);
                let moved = self.asks(Caller::Host, &self.fleet.clusters[id.at()].slot);
                up && moved && node.is_some_and(|node| self.node_answers(id.at(), node).is_ok())
            }
        }
    }

    /// Whether more than half of the failure domains look at a service and are sound.
    pub(crate) fn is_seen(&self, service: usize) -> bool {
        let fleet = &self.fleet;
        let probe = &fleet.services[service].probe.slot;
        let domain = |at: usize| fleet.vantages[at].failure_domain.as_str();
        let all: BTreeSet<&str> = (0..fleet.vantages.len()).map(domain).collect();
        let looks = |at: &usize| self.heard(*at) == Some(true) && self.asks(Caller::Vantage(*at), probe);
        let sound = (0..fleet.vantages.len()).filter(looks).map(domain);
        sound.collect::<BTreeSet<&str>>().len() * 2 > all.len()
    }

    /// Whether the provider in a slot would answer.
    fn asks(&self, caller: Caller, slot: &str) -> bool {
        self.conditions.provider(slot) == Trouble::Nothing && self.providers.admits(caller, slot, self.now)
    }

    /// Which part of each service's clients is served from now on.
    fn serve(&mut self) {
        let servers_answer = !self.conditions.names_down;
        for service in 0..self.fleet.services.len() {
            let Some(name) = self.fleet.services[service].route.as_ref().map(|route| route.name.clone()) else {
                self.clients[service].serve(1.0, self.now);
                continue;
            };
            let served = (0..RESOLVERS).map(|resolver| {
                let endpoints = self.names.resolve(&name, resolver, servers_answer, self.now).to_vec();
                self.part_served(service, &endpoints)
            });
            let served = served.sum::<f64>() / RESOLVERS as f64;
            self.clients[service].serve(served, self.now);
        }
        self.caches_change = self.names.next_change(servers_answer, self.now);
    }

    fn part_served(&self, service: usize, endpoints: &[Endpoint]) -> f64 {
        let whole: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
        let here = |endpoint: &&Endpoint| self.serves(service, place(&self.fleet, &endpoint.site));
        let served: u32 = endpoints.iter().filter(here).map(|endpoint| endpoint.weight).sum();
        if whole == 0 { 0.0 } else { f64::from(served) / f64::from(whole) }
    }

    /// Whether the name servers answer the host, and after how long they do or do not.
    fn names_answer(&self) -> Result<Millis, (String, Millis)> {
        let internet = self.conditions.internet();
        if self.conditions.names_down || !self.conditions.reach(self.host(), internet) {
            return Err(("the name servers do not answer".to_owned(), 2_000));
        }
        Ok(WRITE + self.conditions.round_trip(self.host(), internet))
    }

    /// Where a name leads, as the servers say, and after how long.
    pub(crate) fn read_route(&mut self, slot: &str, name: &str) -> (Result<Route, Failure>, Millis) {
        let ask = Ask::look("dns.resolve", "", None);
        let (read, took) = self.through(Caller::Host, slot, ask, |world| match world.names_answer() {
            Ok(took) => (world.names.read(name, world.now).ok_or_else(|| Failure::NotFound(name.to_owned())), took),
            Err((why, took)) => (Err(Failure::Rejected(why)), took),
        });
        (read.and_then(|read| read), took)
    }

    /// What a move of a service would need and does not find, and how much later than usual that is known.
    pub(crate) fn missing(&mut self, service: usize) -> (Vec<Reason>, Millis) {
        let fleet = self.fleet.clone();
        let service = &fleet.services[service];
        let names = self.names_answer().err().map(|(why, _)| Reason::new("route-not-ready", why));
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
        (missing, later)
    }

    /// Carries out a step, as a provider would; its outcome, and when that is known.
    pub(crate) fn perform(&mut self, action: &Action, call: &Call) -> (StepOutcome, Millis) {
        let (outcome, took) = match action {
            Action::PointRoute { slot, route } => {
                let ask = Ask::change("dns-control.apply", "", call.timeout);
                let (outcome, took) = self.through(Caller::Host, slot, ask, |world| world.point(route, call));
                (outcome.unwrap_or_else(failed), took)
            }
            Action::CheckReady { service, .. } => self.check_ready(service),
            Action::RunCommand { site, .. } => match self.agent_answers(place(&self.fleet, site)) {
                Ok(()) => in_time(done(String::new()), COMMAND, call),
                Err(why) => in_time(rejected(why), CALL, call),
            },
            Action::PerformAction { .. } | Action::UndoAction { .. } => in_time(done(String::new()), CALL, call),
            data => self.perform_on_data(data, call),
        };
        self.changed = self.now;
        self.serve();
        (outcome, took)
    }

    fn check_ready(&mut self, service: &str) -> (StepOutcome, Millis) {
        let Some(at) = self.fleet.services.iter().position(|declared| declared.name == service) else {
            return (StepOutcome::Failed(Failure::NotFound(format!("service {service}"))), CALL);
        };
        let (missing, later) = self.missing(at);
        let (Ok(took) | Err((_, took))) = self.names_answer();
        if missing.is_empty() {
            return (done(String::new()), took + later);
        }
        let missing: Vec<String> = missing.into_iter().map(|reason| reason.text).collect();
        (rejected(missing.join("; ")), took + later)
    }

    fn point(&mut self, route: &Route, call: &Call) -> (StepOutcome, Millis) {
        let route = &self.mutated(route);
        if route.endpoints.is_empty() {
            self.hits.add(Checker::NameEmpty, self.now, format!("{} is left without an answer", route.name));
        }
        self.check_fenced(route);
        match self.names_answer() {
            Err((why, took)) => (StepOutcome::Unknown(why), took),
            Ok(took) => match self.names.write(route, call.epoch, self.now) {
                Err(newer) => (StepOutcome::Failed(Failure::Stale(newer.0)), took),
                Ok(()) if self.conditions.names_forgetful => {
                    (StepOutcome::Unknown("the answer was lost".to_owned()), took)
                }
                Ok(()) => (done(String::new()), took),
            },
        }
    }

    /// What a lie makes of it.
    fn mutated(&self, route: &Route) -> Route {
        let mut route = route.clone();
        if self.mutants.contains(&Mutant::RoutesEmptied) {
            route.endpoints.clear();
        }
        let fenced = self.databases.iter().flat_map(|database| &database.servers);
        let fenced = fenced.filter(|server| server.barred && !server.up).map(|server| server.site).next();
        if let Some(site) = fenced.filter(|_| self.mutants.contains(&Mutant::RoutesToTheFenced)) {
            route.endpoints.iter_mut().for_each(|endpoint| endpoint.site.clone_from(&self.fleet.sites[site].name));
        }
        route
    }

    /// An agent stands at the site, hears the host, and its commands work.
    fn agent_answers(&self, site: usize) -> Result<(), String> {
        let name = &self.fleet.sites[site].name;
        let stands = |(at, vantage): (usize, &tidegate_kernel::fleet::Vantage)| {
            vantage.site.at() == site && !self.conditions.agents[at].down
        };
        if !self.fleet.vantages.iter().enumerate().any(stands) || self.conditions.absent(site) {
            return Err(format!("no agent answers at {name}"));
        }
        if !self.conditions.reach(self.host(), site) {
            return Err(format!("the agent at {name} is not heard"));
        }
        if self.conditions.commands_fail[site] {
            return Err(format!("the command failed at {name}"));
        }
        Ok(())
    }

    /// A node's server answers the host.
    fn node_answers(&self, cluster: usize, node: usize) -> Result<(), String> {
        let server = &self.databases[cluster].servers[node];
        let runs = server.up && !self.conditions.absent(server.site) && !self.conditions.nodes[cluster][node].hangs;
        if runs && self.conditions.reach(self.host(), server.site) {
            return Ok(());
        }
        Err(format!("node {} is not reached", server.name))
    }

    fn perform_on_data(&mut self, action: &Action, call: &Call) -> (StepOutcome, Millis) {
        let fleet = self.fleet.clone();
        let known = action.cluster().and_then(|name| fleet.clusters.iter().position(|cluster| cluster.name == name));
        let Some(of) = known else {
            return (StepOutcome::Failed(Failure::NotFound("no such cluster".to_owned())), CALL);
        };
        if matches!(action, Action::CatchUp { node, source, .. } if node == source) {
            // It is the most advanced: nobody is asked.
            return (done(String::new()), CALL);
        }
        let key = format!("{}/control", fleet.clusters[of].name);
        let ask = match action {
            Action::ReadPositions { cluster } => Ask::look(asked(action), cluster, None),
            _ => Ask::change(asked(action), &key, call.timeout),
        };
        let took = if matches!(action, Action::Fence { .. } | Action::Rejoin { .. }) { COMMAND } else { CALL };
        let (outcome, took) = self.through(Caller::Host, &fleet.clusters[of].slot, ask, |world| {
            (world.on_data(of, action).unwrap_or_else(rejected), took)
        });
        (outcome.unwrap_or_else(failed), took)
    }

    fn on_data(&mut self, of: usize, action: &Action) -> Result<StepOutcome, String> {
        let database = &self.databases[of];
        let node = |name: &str| database.position(name).ok_or_else(|| format!("no node {name}"));
        match action {
            Action::Fence { node: name, .. } => {
                let at = node(name)?;
                self.agent_answers(database.servers[at].site)?;
                self.databases[of].flush(of, &self.conditions, at);
                let proof = match self.mutants.contains(&Mutant::FenceLies) {
                    true => self.databases[of].clone().fence(at),
                    false => self.databases[of].fence(at),
                };
                Ok(done(as_json(&proof)))
            }
            Action::Unfence { node: name, .. } => {
                let at = node(name)?;
                self.agent_answers(database.servers[at].site)?;
                self.databases[of].unfence(at, self.now);
                Ok(done(String::new()))
            }
            Action::Detach { node: name, .. } => {
                let at = node(name)?;
                self.node_answers(of, at)?;
                self.databases[of].servers[at].upstream = None;
                Ok(done(String::new()))
            }
            Action::ReadPositions { .. } => Ok(done(as_json(&self.seen(of)))),
            Action::CatchUp { node: name, source, .. } => {
                let (at, from) = (node(name)?, node(source)?);
                self.node_answers(of, at)?;
                // A server that was stopped has its log all the same, if its machine can be reached.
                let (log, timeline) = (database.servers[from].log, database.servers[from].timeline);
                let server = &mut self.databases[of].servers[at];
                if timeline == server.timeline {
                    server.log = server.log.max(log);
                }
                Ok(done(String::new()))
            }
            Action::Promote { node: name, .. } => self.promote(of, node(name)?),
            Action::Rejoin { node: name, primary, .. } => {
                let (at, from) = (node(name)?, node(primary)?);
                self.agent_answers(database.servers[at].site)?;
                self.node_answers(of, from)?;
                self.databases[of].rejoin(at, from, self.now);
                Ok(done(String::new()))
            }
            Action::SetSynchronous { node: name, set, .. } => {
                let at = node(name)?;
                self.node_answers(of, at)?;
                self.databases[of].servers[at].set = Some(set.clone());
                Ok(done(String::new()))
            }
            Action::VerifyData { node: name, .. } => {
                self.node_answers(of, node(name)?)?;
                Ok(done(String::new()))
            }
            _ => Err("no step on a database".to_owned()),
        }
    }

    fn promote(&mut self, of: usize, at: usize) -> Result<StepOutcome, String> {
        self.node_answers(of, at)?;
        if self.databases[of].servers[at].primary {
            return Ok(done(String::new()));
        }
        self.databases[of].promote(at, !self.mutants.contains(&Mutant::TimelineKept), self.now);
        Ok(done(String::new()))
    }

    /// Nobody is promoted while somebody else could still acknowledge, unless a person has given their word.
    pub(crate) fn check_promotion(&mut self, cluster: &str, node: &str, by_word: bool) {
        let of = self.databases.iter().position(|database| database.name == cluster);
        let Some((of, at)) = of.and_then(|of| Some((of, self.databases[of].position(node)?))) else { return };
        if by_word {
            self.databases[of].on_a_word = true;
            return;
        }
        let database = &self.databases[of];
        if database.servers[at].primary || self.node_answers(of, at).is_err() {
            return;
        }
        let others = database.could_acknowledge(of, &self.conditions, at, self.now);
        if !others.is_empty() {
            let text = format!("{node} of {cluster} is promoted, and {} could still acknowledge", others.join(", "));
            self.hits.add(Checker::UnprovenPromotion, self.now, text);
        }
    }

    /// A look at a cluster: what its provider says, or how that failed, and after how long.
    pub(crate) fn sample(&mut self, of: usize) -> (Result<Cluster, Failure>, Millis) {
        let fleet = self.fleet.clone();
        let cluster = &fleet.clusters[of];
        self.through(Caller::Host, &cluster.slot, Ask::look("replication.topology", &cluster.name, None), |world| {
            let seen = world.seen(of);
            let all = seen.nodes.iter().all(|node| node.writable.is_some());
            (seen, if all { SAMPLING } else { SAMPLING_SILENT })
        })
    }

    /// What the provider says of a cluster now.
    pub(crate) fn seen(&self, of: usize) -> Cluster {
        let reached: Vec<bool> =
            (0..self.databases[of].servers.len()).map(|node| self.node_answers(of, node).is_ok()).collect();
        self.databases[of].seen(&self.fleet, of, &reached, self.now)
    }

    /// The host says who may hold a lease.
    pub(crate) fn lead(&mut self, of: usize, primary: Option<&str>, epoch: u64) {
        let database = &mut self.databases[of];
        database.leads = primary.and_then(|name| database.position(name));
        database.led = database.leads.unwrap_or(database.led);
        self.epochs[of] = self.epochs[of].max(epoch);
        self.tell(of, epoch);
    }

    /// No lease is renewed any more; when the last one ends, or why nobody can tell.
    pub(crate) fn end_lease(&mut self, of: usize, epoch: u64) -> Result<Millis, String> {
        self.databases[of].leads = None;
        self.changed = self.now;
        self.epochs[of] = self.epochs[of].max(epoch);
        let (told, agents) = (self.tell(of, epoch), self.agents().count());
        if told * 2 <= agents {
            return Err(format!("{told} of {agents} agents know of the new epoch"));
        }
        // However often it is asked, and whatever was said since.
        let held = self.databases[of].led;
        match self.conditions.nodes[of][held].unguarded {
            true => Err(format!("no enforcer stands above {}", self.databases[of].servers[held].name)),
            false => Ok(self.now + LEASE + LEASE_END),
        }
    }

    /// Tells every agent that the host reaches the cluster's epoch; how many know it.
    fn tell(&mut self, of: usize, epoch: u64) -> usize {
        let reached: Vec<usize> = self.agents().filter(|at| self.heard_by_host(*at)).collect();
        for at in reached {
            self.told[of][at] = self.told[of][at].max(epoch);
        }
        self.told[of].iter().filter(|told| **told >= epoch).count()
    }

    fn agents(&self) -> impl Iterator<Item = usize> {
        (0..self.fleet.vantages.len()).filter(|at| self.fleet.vantages[*at].token.is_some())
    }

    fn heard_by_host(&self, vantage: usize) -> bool {
        let site = self.fleet.vantages[vantage].site.at();
        !self.conditions.agents[vantage].down
            && !self.conditions.absent(site)
            && self.conditions.reach(site, self.host())
    }

    /// By node of a cluster: whether its site's lease is renewed now.
    fn renewed(&self, of: usize) -> Vec<bool> {
        (0..self.databases[of].servers.len()).map(|node| self.renews(of, node)).collect()
    }

    /// By the host, or, where that does not answer, by a majority of the agents that know of no newer epoch.
    fn renews(&self, of: usize, node: usize) -> bool {
        let site = self.databases[of].servers[node].site;
        let here = |at: &usize| self.fleet.vantages[*at].site.at() == site && !self.conditions.agents[*at].down;
        let Some(own) = self.agents().find(here) else { return false };
        if self.host_runs() && self.conditions.reach(self.host(), site) {
            return self.databases[of].leads == Some(node);
        }
        let known = self.told[of][own];
        let confirms = |at: &usize| {
            let stands = self.fleet.vantages[*at].site.at();
            !self.conditions.agents[*at].down
                && !self.conditions.absent(stands)
                && self.conditions.reach(site, stands)
                && self.told[of][*at] <= known
        };
        self.agents().filter(confirms).count() * 2 > self.agents().count()
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

    /// DNS never leads to a node that was fenced.
    fn check_fenced(&mut self, route: &Route) {
        let leads_by = |service: &&Service| service.route.as_ref().is_some_and(|known| known.name == route.name);
        let Some(service) = self.fleet.services.iter().find(leads_by) else { return };
        let Some(id) = service.cluster else { return };
        for endpoint in route.endpoints.iter().filter(|endpoint| endpoint.weight > 0) {
            let site = place(&self.fleet, &endpoint.site);
            let fenced = self.databases[id.at()]
                .servers
                .iter()
                .find(|server| server.site == site && server.barred && !server.up);
            if let Some(server) = fenced {
                let text = format!("{} is led to {}, where {} is fenced", route.name, endpoint.site, server.name);
                self.hits.add(Checker::TowardsFenced, self.now, text);
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

    /// Time in which two nodes of a cluster acknowledged.
    pub(crate) fn split(&self) -> Millis {
        self.databases.iter().map(|database| database.split).sum()
    }
}

fn done(receipt: String) -> StepOutcome {
    StepOutcome::Done(Done { text: "done".to_owned(), receipt })
}

fn rejected(why: String) -> StepOutcome {
    StepOutcome::Failed(Failure::Rejected(why))
}

/// Only one kind of failure leaves open what happened.
fn failed(failure: Failure) -> StepOutcome {
    match failure {
        Failure::UnknownOutcome(why) => StepOutcome::Unknown(why),
        failure => StepOutcome::Failed(failure),
    }
}

/// What is not asked of a provider under supervision ends at its timeout all the same.
fn in_time(outcome: StepOutcome, took: Millis, call: &Call) -> (StepOutcome, Millis) {
    if took >= call.timeout {
        return (StepOutcome::Unknown("no answer in time".to_owned()), call.timeout);
    }
    (outcome, took)
}

/// What a database's provider is asked, by the engine's names.
fn asked(action: &Action) -> &'static str {
    match action {
        Action::Fence { .. } => "replication-control.fence",
        Action::Unfence { .. } => "replication-control.unfence",
        Action::Detach { .. } => "replication-control.detach",
        Action::CatchUp { .. } => "replication-control.catch-up",
        Action::Promote { .. } => "replication-control.promote",
        Action::Rejoin { .. } => "replication-control.rejoin",
        Action::SetSynchronous { .. } => "replication-control.set-synchronous",
        Action::VerifyData { .. } => "replication-control.verify",
        _ => "replication.topology",
    }
}

fn as_json(value: &impl serde::Serialize) -> String {
    // The contract's values have no map with keys that JSON could not have.
    serde_json::to_string(value).unwrap_or_default()
}
