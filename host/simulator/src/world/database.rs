//! A database cluster: who leads, who streams from whom, what was acknowledged, and what of it is left.
//!
//! Log is counted in milliseconds of writing: a client writes without pause at every node that takes its writes, beside the
//! node itself, so that two nodes that acknowledge at once are seen. Knows no kernel: it does what it is told to.

use std::collections::BTreeMap;

use tidegate_kernel::contract::{Cluster, Millis, Node, Proof, Role, Sighting, SyncSet};
use tidegate_kernel::fleet::{self, Fleet};

use super::conditions::Conditions;

/// One row takes a client so long.
pub(crate) const ROW: Millis = 50;
/// How far a standby is behind when all is well.
const BEHIND: Millis = 20;
/// How long a lease lasts, as the daemon's rules have it.
pub(crate) const LEASE: Millis = 1_500;
/// From its end until the node is stopped for certain, with the margin for clocks.
pub(crate) const LEASE_END: Millis = 750;
/// What a frozen machine may still acknowledge before its enforcer has seen the time.
pub(crate) const WAKE_UP: Millis = 50;
/// Log before the first client.
const BEGINNING: u64 = 10_000;

/// One server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) site: usize,
    /// Its processes are there, be they running or standing still.
    pub(crate) up: bool,
    pub(crate) primary: bool,
    /// It comes up as a standby only.
    pub(crate) barred: bool,
    pub(crate) timeline: u64,
    pub(crate) log: u64,
    pub(crate) upstream: Option<usize>,
    pub(crate) set: Option<SyncSet>,
    /// Until when it may lead; asynchronous primaries only.
    pub(crate) lease_until: Millis,
    /// Its lease alone has ended it: it goes on with the next one.
    lease_was_over: bool,
    /// Before that its enforcer, which has just woken up, has not seen the time.
    blind_until: Millis,
    /// When it last heard from its upstream.
    heard: Millis,
    /// Acknowledges at this moment.
    pub(crate) acknowledges: bool,
    /// Stood still a moment ago.
    stood_still: bool,
}

impl Server {
    /// When its enforcer stops it, unless its lease is renewed.
    pub(super) fn ends(&self) -> Millis {
        self.lease_until.max(self.blind_until)
    }

    /// Until then it may lead.
    pub(super) fn renew(&mut self, until: Millis) {
        self.lease_until = self.lease_until.max(until);
    }

    /// Nobody has renewed its lease; whether its enforcer stops it now.
    pub(super) fn end_lease(&mut self, now: Millis) -> bool {
        let over = now >= self.ends();
        if over {
            (self.up, self.barred, self.acknowledges, self.lease_was_over) = (false, true, false, true);
        }
        over
    }

    /// It has a lease again, and its enforcer starts it.
    pub(super) fn go_on(&mut self, until: Millis) {
        (self.up, self.barred, self.lease_was_over, self.lease_until) = (true, false, false, until);
    }
}

/// Where a timeline begins, and on which.
#[derive(Clone, Copy, Debug)]
struct Fork {
    parent: u64,
    at: u64,
}

/// A cluster.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) wait_for: u32,
    pub(crate) servers: Vec<Server>,
    /// Who may hold a lease, as the host last said; none = nobody.
    pub(crate) leads: Option<usize>,
    /// Who held it last, also once nobody may.
    pub(crate) led: usize,
    /// By timeline: how far its writes were acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    forks: BTreeMap<u64, Fork>,
    /// Time in which two nodes acknowledged.
    pub(crate) split: Millis,
    /// … on the same timeline.
    pub(crate) split_within_a_timeline: Millis,
    /// … other than in the moment after a frozen machine has woken up.
    pub(crate) split_beyond_a_wake_up: Millis,
    /// Until when such a moment lasts.
    waking_until: Millis,
    /// A person has said that a primary is off, and nothing else did: if it was not, both take writes, as they were told.
    pub(crate) on_a_word: bool,
    /// A person has accepted that something may be gone.
    pub(crate) loss_accepted: bool,
    /// Primaries wait for nobody: a mutant.
    pub(crate) alone: bool,
    /// The primaries at which clients read now; kept once there is more than one history.
    pub(super) readers: Vec<usize>,
    /// By timeline: from where to where acknowledged writes were looked for in vain.
    missed: BTreeMap<u64, (u64, u64)>,
    /// … though none may be gone.
    pub(super) missed_already: bool,
    /// Time in which clients read at a node that had been replaced.
    pub(super) stale_reads: Millis,
    at: Millis,
}

impl Database {
    /// As declared: the primary where its service is served at the start, the others streaming from it.
    pub(crate) fn new(cluster: &fleet::Cluster, active: usize, now: Millis) -> Self {
        let leader = cluster.nodes.iter().position(|node| node.site.at() == active).unwrap_or(0);
        let others = || cluster.nodes.iter().enumerate().filter(|(at, _)| *at != leader).map(|(_, node)| node);
        let set = (cluster.wait_for > 0).then(|| SyncSet {
            nodes: others().map(|node| node.name.clone()).collect(),
            wait_for: cluster.wait_for,
            epoch: 0,
        });
        let server = |(at, node): (usize, &fleet::ClusterNode)| Server {
            name: node.name.clone(),
            site: node.site.at(),
            up: true,
            primary: at == leader,
            barred: at != leader,
            timeline: 1,
            log: BEGINNING - if at == leader { 0 } else { BEHIND },
            upstream: (at != leader).then_some(leader),
            set: set.clone().filter(|_| at == leader),
            lease_until: now + LEASE,
            lease_was_over: false,
            blind_until: 0,
            heard: now,
            acknowledges: false,
            stood_still: false,
        };
        Database {
            name: cluster.name.clone(),
            wait_for: cluster.wait_for,
            servers: cluster.nodes.iter().enumerate().map(server).collect(),
            leads: Some(leader),
            led: leader,
            acknowledged: BTreeMap::from([(1, BEGINNING)]),
            forks: BTreeMap::new(),
            split: 0,
            split_within_a_timeline: 0,
            split_beyond_a_wake_up: 0,
            waking_until: 0,
            on_a_word: false,
            loss_accepted: false,
            alone: false,
            readers: Vec::new(),
            missed: BTreeMap::new(),
            missed_already: false,
            stale_reads: 0,
            at: now,
        }
    }

    /// Lets time pass; nothing else has changed since the last time.
    pub(crate) fn advance(&mut self, of: usize, conditions: &Conditions, now: Millis) {
        let length = now.saturating_sub(self.at);
        self.at = now;
        if length > 0 {
            self.write(of, conditions, length);
        }
    }

    /// Faults have begun or ended: processes that died are gone, machines that came back start what they may start.
    pub(crate) fn changed(&mut self, of: usize, before: &Conditions, conditions: &Conditions, now: Millis) {
        for at in 0..self.servers.len() {
            let site = self.servers[at].site;
            let dead = |conditions: &Conditions| conditions.down[site] || conditions.nodes[of][at].down;
            if dead(conditions) {
                self.servers[at].up = false;
            } else if dead(before) {
                self.start(at, now);
            }
            let still = conditions.frozen[site] || conditions.nodes[of][at].hangs;
            if self.servers[at].stood_still && !still {
                self.waking_until = now + WAKE_UP;
                self.servers[at].blind_until = now + WAKE_UP;
            }
            self.servers[at].stood_still = still;
        }
    }

    /// Its machine is back: it leads only if it is still the one that should, else it is a standby of whom it followed.
    fn start(&mut self, at: usize, now: Millis) {
        let leads = self.leads == Some(at);
        let server = &mut self.servers[at];
        if server.primary && !leads {
            server.barred = true;
            return;
        }
        server.up = true;
        server.lease_until = now + LEASE;
    }

    fn runs(&self, of: usize, conditions: &Conditions, at: usize) -> bool {
        let server = &self.servers[at];
        server.up && !conditions.absent(server.site) && !conditions.nodes[of][at].hangs
    }

    fn write(&mut self, of: usize, conditions: &Conditions, length: Millis) {
        for primary in 0..self.servers.len() {
            self.servers[primary].acknowledges = false;
            if !self.servers[primary].primary || !self.runs(of, conditions, primary) {
                continue;
            }
            let safe = self.commit_waits(of, conditions, primary).is_some();
            if safe && !conditions.nodes[of][primary].full {
                self.grow(of, conditions, primary, length);
            }
            for at in 0..self.servers.len() {
                if self.streams(of, conditions, primary, at) {
                    self.servers[at].heard = self.at;
                }
            }
        }
        self.count(length);
    }

    /// A standby receives from a primary.
    fn streams(&self, of: usize, conditions: &Conditions, primary: usize, at: usize) -> bool {
        let (server, leader) = (&self.servers[at], &self.servers[primary]);
        server.upstream == Some(primary)
            && !server.primary
            && self.runs(of, conditions, at)
            && !conditions.nodes[of][at].stalled
            && server.timeline <= leader.timeline
            && conditions.reach(server.site, leader.site)
    }

    /// How much longer than usual a commit waits until enough of the published set have it and have said so, there and back; none =
    /// too few are left, and it waits for ever.
    fn commit_waits(&self, of: usize, conditions: &Conditions, primary: usize) -> Option<Millis> {
        let leader = &self.servers[primary];
        let Some(set) = leader.set.as_ref().filter(|set| set.wait_for > 0 && !self.alone) else { return Some(0) };
        let waits = |at: usize| {
            let member = self.streams(of, conditions, primary, at) && set.nodes.contains(&self.servers[at].name);
            conditions.streams(leader.site, self.servers[at].site).filter(|_| member)
        };
        let each = || (0..self.servers.len()).filter_map(waits);
        let enough = |wait: &Millis| each().filter(|other| other <= wait).count() >= set.wait_for as usize;
        each().filter(enough).min()
    }

    fn grow(&mut self, of: usize, conditions: &Conditions, primary: usize, length: Millis) {
        let leader = &mut self.servers[primary];
        leader.log += length;
        leader.acknowledges = true;
        let (log, timeline, site) = (leader.log, leader.timeline, leader.site);
        for at in 0..self.servers.len() {
            if self.streams(of, conditions, primary, at) {
                let server = &mut self.servers[at];
                let way = conditions.link(site, server.site).behind();
                let behind = BEHIND + conditions.nodes[of][at].behind + way;
                server.log = server.log.max(log.saturating_sub(behind));
                server.timeline = timeline;
            }
        }
        let acknowledged = self.confirmed(of, conditions, primary);
        let known = self.acknowledged.entry(timeline).or_default();
        *known = (*known).max(acknowledged);
    }

    /// How far a primary acknowledges: what enough of its published set have, and have told it.
    fn confirmed(&self, of: usize, conditions: &Conditions, primary: usize) -> u64 {
        let leader = &self.servers[primary];
        let Some(set) = leader.set.as_ref().filter(|set| set.wait_for > 0 && !self.alone) else { return leader.log };
        let tells = |at: usize| {
            let server = &self.servers[at];
            let member = self.streams(of, conditions, primary, at) && set.nodes.contains(&server.name);
            member.then(|| server.log.saturating_sub(conditions.link(server.site, leader.site).behind()))
        };
        let each = || (0..self.servers.len()).filter_map(tells);
        let enough = |log: &u64| each().filter(|other| other >= log).count() >= set.wait_for as usize;
        each().filter(enough).max().unwrap_or(0)
    }

    fn count(&mut self, length: Millis) {
        let acknowledging = || self.servers.iter().filter(|server| server.acknowledges);
        if acknowledging().nth(1).is_none() {
            return;
        }
        let alike = |server: &Server| acknowledging().filter(|other| other.timeline == server.timeline).count() > 1;
        let within_a_timeline = acknowledging().any(alike);
        self.split += length;
        if self.at > self.waking_until + length {
            self.split_beyond_a_wake_up += length;
        }
        if within_a_timeline {
            self.split_within_a_timeline += length;
        }
    }

    /// An asynchronous primary goes by a lease where its enforcer can see the time.
    pub(super) fn is_leased(&self, of: usize, conditions: &Conditions, at: usize) -> bool {
        self.servers[at].up && self.goes_by_a_lease(of, conditions, at)
    }

    /// One that its lease alone has ended would go on with the next, if nobody was told that another leads.
    pub(super) fn lacks_a_lease(&self, of: usize, conditions: &Conditions, at: usize) -> bool {
        let waits = self.servers[at].lease_was_over && self.led == at && !conditions.nodes[of][at].down;
        waits && self.goes_by_a_lease(of, conditions, at)
    }

    fn goes_by_a_lease(&self, of: usize, conditions: &Conditions, at: usize) -> bool {
        let server = &self.servers[at];
        server.primary
            && server.set.as_ref().is_none_or(|set| set.wait_for == 0)
            && !conditions.absent(server.site)
            && !conditions.nodes[of][at].unguarded
    }

    /// Acknowledged writes, in milliseconds of writing, that the history of the present leader does not have.
    pub(crate) fn lost(&self) -> u64 {
        self.leader().map_or(0, |leader| self.missing(leader).map(|(_, from, to)| to - from).sum())
    }

    /// The newest of all that lead, or did when they were last seen.
    fn leader(&self) -> Option<usize> {
        let leads = |at: &usize| self.servers[*at].primary;
        (0..self.servers.len()).filter(leads).max_by_key(|at| self.servers[*at].timeline)
    }

    /// By timeline: from where to where a node's history lacks what was acknowledged.
    fn missing(&self, at: usize) -> impl Iterator<Item = (u64, u64, u64)> {
        let server = &self.servers[at];
        let mut kept: BTreeMap<u64, u64> = BTreeMap::from([(server.timeline, server.log)]);
        let mut line = server.timeline;
        while let Some(fork) = self.forks.get(&line) {
            kept.insert(fork.parent, fork.at);
            line = fork.parent;
        }
        self.acknowledged.iter().filter_map(move |(timeline, acknowledged)| {
            let began = self.forks.get(timeline).map_or(0, |fork| fork.at);
            let from = kept.get(timeline).copied().unwrap_or(began);
            (from < *acknowledged).then_some((*timeline, from, *acknowledged))
        })
    }

    /// There is more than one history.
    pub(super) fn has_forked(&self) -> bool {
        !self.forks.is_empty()
    }

    /// Whoever is led there reads from a primary.
    pub(super) fn is_read_at(&self, of: usize, conditions: &Conditions, at: usize) -> bool {
        self.servers[at].primary && self.runs(of, conditions, at)
    }

    /// Somebody reads at a node that was replaced, or two of them write: what readers miss may grow.
    pub(super) fn is_read_in_doubt(&self) -> bool {
        let leader = self.leader();
        let writes = || self.servers.iter().filter(|server| server.acknowledges);
        self.readers.iter().any(|at| Some(*at) != leader) || (!self.readers.is_empty() && writes().nth(1).is_some())
    }

    /// Somebody has read for so long.
    pub(super) fn stale(&mut self, length: Millis) {
        let leader = self.leader();
        let is_stale = |at: &usize| Some(*at) != leader && self.missing(*at).next().is_some();
        if self.readers.iter().any(is_stale) {
            self.stale_reads += length;
        }
    }

    /// Clients look for all that they were told is acknowledged. What they miss at a node that was replaced is old; what they miss
    /// at the leader is gone: how many rows of that, and where.
    pub(super) fn look_for_rows(&mut self) -> Option<(u64, usize)> {
        for at in 0..self.readers.len() {
            let missing: Vec<(u64, u64, u64)> = self.missing(self.readers[at]).collect();
            for (timeline, from, to) in missing {
                let missed = self.missed.entry(timeline).or_insert((from, to));
                *missed = (missed.0.min(from), missed.1.max(to));
            }
        }
        let leader = self.leader().filter(|leader| self.readers.contains(leader))?;
        let rows = self.lost().div_ceil(ROW);
        (rows > 0).then_some((rows, leader))
    }

    /// Acknowledged writes, in milliseconds of writing, that somebody has looked for in vain.
    pub(super) fn missed(&self) -> u64 {
        self.missed.values().map(|(from, to)| to - from).sum()
    }

    /// The one that takes writes and acknowledges them at this moment, at that site: how much longer than usual a commit waits.
    pub(crate) fn commits_at(&self, of: usize, conditions: &Conditions, site: usize) -> Option<Millis> {
        let at = (0..self.servers.len()).find(|at| self.servers[*at].site == site && self.servers[*at].primary)?;
        let takes = self.runs(of, conditions, at) && !conditions.nodes[of][at].full;
        self.commit_waits(of, conditions, at).filter(|_| takes)
    }

    /// Whether a probe of the node at that site is answered.
    pub(crate) fn answers_at(&self, of: usize, conditions: &Conditions, site: usize) -> Option<bool> {
        let at = self.servers.iter().position(|server| server.site == site)?;
        let stands_still = self.servers[at].up && !self.runs(of, conditions, at);
        if stands_still { None } else { Some(self.servers[at].up) }
    }

    /// Who could still acknowledge a write, other than `but`: now, or when it wakes up, except in the moment before its enforcer
    /// sees that its lease is over. Empty = that is proven.
    pub(crate) fn could_acknowledge(&self, of: usize, conditions: &Conditions, but: usize, now: Millis) -> Vec<&str> {
        let could = |at: &usize| {
            let server = &self.servers[*at];
            let trouble = &conditions.nodes[of][*at];
            if *at == but || !server.primary || server.barred {
                return false;
            }
            match server.set.as_ref().filter(|set| set.wait_for > 0) {
                // Too few of the set are left to it once `but` and who follows it have gone.
                Some(set) => {
                    let left = |member: &usize| {
                        let member = &self.servers[*member];
                        set.nodes.contains(&member.name) && member.upstream == Some(*at) && !member.primary
                    };
                    (0..self.servers.len()).filter(|member| *member != but).filter(left).count()
                        >= set.wait_for as usize
                }
                None => server.up && (trouble.unguarded || now < server.lease_until),
            }
        };
        (0..self.servers.len()).filter(could).map(|at| self.servers[at].name.as_str()).collect()
    }

    pub(crate) fn position(&self, node: &str) -> Option<usize> {
        self.servers.iter().position(|server| server.name == node)
    }

    /// Made the primary: a new timeline begins where its log ends.
    pub(crate) fn promote(&mut self, at: usize, new_timeline: bool, now: Millis) {
        let newest = self.servers.iter().map(|server| server.timeline).max().unwrap_or(0);
        if !new_timeline {
            let server = &mut self.servers[at];
            (server.primary, server.barred, server.upstream, server.lease_until) = (true, false, None, now + LEASE);
            return;
        }
        let server = &mut self.servers[at];
        self.forks.insert(newest + 1, Fork { parent: server.timeline, at: server.log });
        (server.primary, server.barred, server.upstream) = (true, false, None);
        (server.timeline, server.lease_until) = (newest + 1, now + LEASE);
        let log = server.log;
        self.acknowledged.insert(newest + 1, log);
    }

    /// What a provider that reaches the nodes of `reached` says of all of them.
    pub(crate) fn seen(&self, fleet: &Fleet, of: usize, reached: &[bool], now: Millis) -> Cluster {
        let seen = |at: &usize| reached[*at] && self.servers[*at].up;
        let leads = |at: &usize| seen(at) && self.servers[*at].primary;
        let primary = (0..self.servers.len()).filter(leads).max_by_key(|at| self.servers[*at].timeline);
        let published = primary.and_then(|at| self.servers[at].set.clone());
        let node = |at| self.node(fleet, of, at, seen(&at), primary, now);
        let nodes = (0..self.servers.len()).map(node).collect();
        Cluster { name: self.name.clone(), published, nodes, facts: Vec::new() }
    }

    fn node(&self, fleet: &Fleet, of: usize, at: usize, seen: bool, primary: Option<usize>, now: Millis) -> Node {
        let (server, declared) = (&self.servers[at], &fleet.clusters[of].nodes[at]);
        let follows = server.upstream.filter(|_| seen && !server.primary);
        let lag = primary.map(|primary| self.servers[primary].log.saturating_sub(server.log));
        let heard = now.saturating_sub(server.heard);
        let streams = follows.is_some() && heard < 5_000;
        let lag = lag.filter(|_| seen && (server.primary || streams));
        let role = if server.primary { Role::Primary } else { Role::Replica };
        Node {
            id: server.name.clone(),
            site: fleet.sites[server.site].name.clone(),
            role: if seen { role } else { Role::Unknown },
            seen_by: vec![Sighting { vantage: "provider".into(), reached: seen, attempt_age: 0, success_age: None }],
            writable: seen.then_some(server.primary),
            fenced: None,
            identity: seen.then(|| self.name.clone()),
            timeline: seen.then_some(server.timeline),
            forked_at: self.forks.get(&server.timeline).filter(|_| seen && server.primary).map(|fork| fork.at),
            received: seen.then_some(server.log),
            replayed: seen.then_some(server.log),
            lag_bytes: lag,
            lag_at_contact: lag,
            contact_age: lag.map(|_| 0),
            upstream: follows.filter(|_| streams).map(|upstream| self.servers[upstream].name.clone()),
            upstream_heard: follows.map(|_| heard),
            priority: declared.priority,
            facts: Vec::new(),
        }
    }

    /// A server that is stopped in order waits until its standbys have all of its log, and say so; how much longer than usual.
    pub(crate) fn flush(&mut self, of: usize, conditions: &Conditions, at: usize) -> Millis {
        let mut longer = 0;
        if !self.servers[at].primary || !self.runs(of, conditions, at) {
            return longer;
        }
        let (log, site) = (self.servers[at].log, self.servers[at].site);
        for standby in 0..self.servers.len() {
            if self.streams(of, conditions, at, standby) {
                let way = conditions.streams(site, self.servers[standby].site);
                longer = longer.max(way.unwrap_or(0));
                self.servers[standby].log = self.servers[standby].log.max(log);
            }
        }
        longer
    }

    /// Stopped and barred; the proof.
    pub(crate) fn fence(&mut self, at: usize) -> Proof {
        let server = &mut self.servers[at];
        (server.up, server.barred, server.acknowledges, server.lease_was_over) = (false, true, false, false);
        Proof { kind: "stopped".into(), position: Some(server.log), survives_restart: true, facts: Vec::new() }
    }

    /// Back as what it was.
    pub(crate) fn unfence(&mut self, at: usize, now: Millis) {
        let server = &mut self.servers[at];
        (server.up, server.barred, server.lease_until) = (true, false, now + LEASE);
        (server.primary, server.lease_was_over) = (true, false);
    }

    /// A standby of `primary`, with what that has and no more.
    pub(crate) fn rejoin(&mut self, at: usize, primary: usize, now: Millis) {
        let (log, timeline) = (self.servers[primary].log, self.servers[primary].timeline);
        let server = &mut self.servers[at];
        (server.up, server.primary, server.barred, server.upstream) = (true, false, true, Some(primary));
        server.lease_was_over = false;
        (server.log, server.timeline, server.heard, server.set) = (log, timeline, now, None);
    }
}
