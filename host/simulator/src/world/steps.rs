//! What the steps of a runbook come to: carried out as providers and agents would, over whatever lies in between.
//!
//! Knows the order of no runbook: one step is given, and one outcome comes back, with the time after which it is known.

use tidegate_kernel::contract::{Call, Done, Failure, Millis, Route};
use tidegate_kernel::event::{Action, StepOutcome};
use tidegate_kernel::fleet::{Service, Vantage};

use super::conditions::place;
use super::links::Exchange;
use super::providers::{Ask, Caller};
use super::{CALL, COMMAND, COMMAND_AGAIN, NODE_PATIENCE, World};
use crate::checkers::{Checker, Mutant};

/// What was done, and how much longer than usual that took; or why it was not.
type Effect = Result<(StepOutcome, Millis), String>;

impl World {
    /// Carries out a step, as a provider would; its outcome, and when that is known.
    pub(crate) fn perform(&mut self, action: &Action, call: &Call) -> (StepOutcome, Millis) {
        let (outcome, took) = match action {
            Action::PointRoute { slot, route } => {
                let ask = Ask::change("dns-control.apply", "", call.timeout);
                let (outcome, took) = self.through(Caller::Host, slot, ask, |world| world.point(route, call));
                (outcome.unwrap_or_else(failed), took)
            }
            Action::CheckReady { service, .. } => self.check_ready(service),
            Action::RunCommand { site, .. } => {
                let site = place(&self.fleet, site);
                let took = if self.agent_hears(site).is_ok() { COMMAND } else { CALL };
                let (outcome, took) = self.done_at(site, call.timeout, COMMAND_AGAIN, took, |world| {
                    world.agent_hears(site)?;
                    Ok((done(String::new()), 0))
                });
                in_time(outcome, took, call)
            }
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
        let (missing, names, later) = self.missing(at);
        if missing.is_empty() {
            return (done(String::new()), names + later);
        }
        let missing: Vec<String> = missing.into_iter().map(|reason| reason.text).collect();
        (rejected(missing.join("; ")), names + later)
    }

    fn point(&mut self, route: &Route, call: &Call) -> (StepOutcome, Millis) {
        let route = &self.mutated(route);
        if route.endpoints.is_empty() {
            self.hits.add(Checker::NameEmpty, self.now, format!("{} is left without an answer", route.name));
        }
        self.check_fenced(route);
        let (asked, took) = self.ask_names();
        if matches!(asked, Exchange::Lost | Exchange::NoWay) {
            return (StepOutcome::Unknown(SILENT.to_owned()), took);
        }
        let forgotten = self.conditions.names_forgetful || asked == Exchange::Unanswered;
        let outcome = match self.names.write(route, call.epoch, self.now) {
            Err(newer) if asked == Exchange::Answered => StepOutcome::Failed(Failure::Stale(newer.0)),
            Ok(()) if !forgotten => done(String::new()),
            Ok(()) | Err(_) => StepOutcome::Unknown("the answer was lost".to_owned()),
        };
        (outcome, took)
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

    /// The host has something done at a site, by whoever hears it there. What it is not answered stays unknown, after so much
    /// patience: what was lost has not been done, what only its answer was lost of has. Over a link that is cut one way a command
    /// still comes with the answer to a question that the agent had asked before, and a call over a session that stood before; in
    /// reality for some seconds, here as long as it lasts, which is harder. Commands and their outcomes are sent `again`, so that one
    /// with more time than that is late where another one is lost.
    fn done_at(
        &mut self,
        site: usize,
        patience: Millis,
        again: Millis,
        took: Millis,
        work: impl FnOnce(&mut World) -> Effect,
    ) -> (StepOutcome, Millis) {
        let (asked, took) = match self.exchange(self.host(), site) {
            Exchange::Lost | Exchange::Unanswered if again < patience && self.conditions.reach(self.host(), site) => {
                (Exchange::Answered, took + again)
            }
            asked => (asked, took),
        };
        // Where there is no way the work itself finds that nobody hears of it.
        let done = if asked == Exchange::Lost { None } else { Some(work(self)) };
        match done {
            Some(Ok((outcome, longer))) if asked == Exchange::Answered => {
                (outcome, took + longer + self.conditions.further(self.host(), site))
            }
            Some(Err(why)) if asked != Exchange::Unanswered => (rejected(why), took),
            _ => {
                let place = &self.fleet.sites[site].name;
                (StepOutcome::Unknown(format!("no answer from {place}")), patience)
            }
        }
    }

    /// An agent stands at the site, what the host sends it arrives, and its commands work.
    fn agent_hears(&self, site: usize) -> Result<(), String> {
        let name = &self.fleet.sites[site].name;
        let stands = |(at, vantage): (usize, &Vantage)| vantage.site.at() == site && !self.conditions.agents[at].down;
        if !self.fleet.vantages.iter().enumerate().any(stands) || self.conditions.absent(site) {
            return Err(format!("no agent answers at {name}"));
        }
        if self.conditions.link(self.host(), site).cut {
            return Err(format!("the agent at {name} is not heard"));
        }
        if self.conditions.commands_fail[site] {
            return Err(format!("the command failed at {name}"));
        }
        Ok(())
    }

    /// A node's server runs, and what the host sends it arrives; one that is too far away for a connection is sent nothing.
    fn node_hears(&self, cluster: usize, node: usize) -> Result<(), String> {
        let server = &self.databases[cluster].servers[node];
        let runs = server.up && !self.conditions.absent(server.site) && !self.conditions.nodes[cluster][node].hangs;
        let (host, site) = (self.host(), server.site);
        if runs && !self.conditions.link(host, site).cut && self.conditions.round_trip(host, site) < NODE_PATIENCE {
            return Ok(());
        }
        Err(format!("node {} is not reached", server.name))
    }

    /// … and its answer arrives as well, unless chance has it otherwise.
    pub(super) fn node_answers(&self, cluster: usize, node: usize) -> bool {
        let site = self.databases[cluster].servers[node].site;
        self.node_hears(cluster, node).is_ok() && self.conditions.reach(self.host(), site)
    }

    /// A server can get another one's log.
    fn fetches(&self, of: usize, at: usize, from: usize) -> Result<Millis, String> {
        let servers = &self.databases[of].servers;
        let way = self.conditions.streams(servers[from].site, servers[at].site);
        way.ok_or_else(|| format!("node {} does not reach {}", servers[at].name, servers[from].name))
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
        let at = node_of(action).and_then(|name| self.databases[of].position(name));
        let by_an_agent = matches!(action, Action::Fence { .. } | Action::Unfence { .. } | Action::Rejoin { .. });
        let took = if matches!(action, Action::Fence { .. } | Action::Rejoin { .. }) { COMMAND } else { CALL };
        let (patience, again) =
            if by_an_agent { (call.timeout, COMMAND_AGAIN) } else { (NODE_PATIENCE, NODE_PATIENCE) };
        let (outcome, took) = self.through(Caller::Host, &fleet.clusters[of].slot, ask, |world| match at {
            Some(at) => {
                let site = world.databases[of].servers[at].site;
                world.done_at(site, patience, again, took, |world| world.on_node(of, at, action))
            }
            None => world.on_cluster(of, action, took),
        });
        (outcome.unwrap_or_else(failed), took)
    }

    fn on_cluster(&mut self, of: usize, action: &Action, took: Millis) -> (StepOutcome, Millis) {
        match action {
            Action::ReadPositions { .. } => (done(as_json(&self.sampled(of))), took + self.farthest(of)),
            _ => (rejected("no step on a database, or no such node".to_owned()), took),
        }
    }

    fn on_node(&mut self, of: usize, at: usize, action: &Action) -> Effect {
        let database = &self.databases[of];
        let (site, now) = (database.servers[at].site, self.now);
        let node = |name: &str| database.position(name).ok_or_else(|| format!("no node {name}"));
        let mut longer = 0;
        match action {
            Action::Fence { .. } => {
                self.agent_hears(site)?;
                longer = self.databases[of].flush(of, &self.conditions, at);
                let proof = match self.mutants.contains(&Mutant::FenceLies) {
                    true => self.databases[of].clone().fence(at),
                    false => self.databases[of].fence(at),
                };
                return Ok((done(as_json(&proof)), longer));
            }
            Action::Unfence { .. } => {
                self.agent_hears(site)?;
                self.databases[of].unfence(at, now);
            }
            Action::Detach { .. } => {
                self.node_hears(of, at)?;
                self.databases[of].servers[at].upstream = None;
            }
            Action::CatchUp { source, .. } => {
                let from = node(source)?;
                self.node_hears(of, at)?;
                longer = self.fetches(of, at, from)?;
                // A server that was stopped has its log all the same, if its machine can be reached.
                let (log, timeline) = (database.servers[from].log, database.servers[from].timeline);
                let server = &mut self.databases[of].servers[at];
                if timeline == server.timeline {
                    server.log = server.log.max(log);
                }
            }
            Action::Promote { .. } => self.promote(of, at)?,
            Action::Rejoin { primary, .. } => {
                let from = node(primary)?;
                self.agent_hears(site)?;
                self.node_hears(of, from)?;
                longer = self.fetches(of, at, from)?;
                self.databases[of].rejoin(at, from, now);
            }
            Action::SetSynchronous { set, .. } => {
                self.node_hears(of, at)?;
                self.databases[of].servers[at].set = Some(set.clone());
            }
            Action::VerifyData { .. } => self.node_hears(of, at)?,
            _ => return Err("no step on a database".to_owned()),
        }
        Ok((done(String::new()), longer))
    }

    fn promote(&mut self, of: usize, at: usize) -> Result<(), String> {
        self.node_hears(of, at)?;
        if !self.databases[of].servers[at].primary {
            self.databases[of].promote(at, !self.mutants.contains(&Mutant::TimelineKept), self.now);
        }
        Ok(())
    }

    /// Nobody is promoted while somebody else could still acknowledge, unless a person has given their word.
    pub(crate) fn check_promotion(&mut self, cluster: &str, node: &str, by_word: bool, loss_accepted: bool) {
        let of = self.databases.iter().position(|database| database.name == cluster);
        let Some((of, at)) = of.and_then(|of| Some((of, self.databases[of].position(node)?))) else { return };
        self.databases[of].loss_accepted |= loss_accepted;
        if by_word {
            self.databases[of].on_a_word = true;
            return;
        }
        let database = &self.databases[of];
        if database.servers[at].primary || self.node_hears(of, at).is_err() {
            return;
        }
        let others = database.could_acknowledge(of, &self.conditions, at, self.now);
        if !others.is_empty() {
            let text = format!("{node} of {cluster} is promoted, and {} could still acknowledge", others.join(", "));
            self.hits.add(Checker::UnprovenPromotion, self.now, text);
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
}

/// What is said of name servers that do not answer.
pub(super) const SILENT: &str = "the name servers do not answer";

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

/// Where a step on a database is done.
fn node_of(action: &Action) -> Option<&str> {
    match action {
        Action::Fence { node, .. }
        | Action::Unfence { node, .. }
        | Action::Detach { node, .. }
        | Action::CatchUp { node, .. }
        | Action::Promote { node, .. }
        | Action::Rejoin { node, .. }
        | Action::SetSynchronous { node, .. }
        | Action::VerifyData { node, .. } => Some(node),
        _ => None,
    }
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
