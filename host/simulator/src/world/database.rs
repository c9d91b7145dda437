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
    fn ends(&self) -> Millis {
        self.lease_until.max(self.blind_until)
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
    /// Primaries wait for nobody: a mutant.
    pub(crate) alone: bool,
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
            alone: false,
            at: now,
        }
    }

    /// Lets time pass; nothing else has changed since the last time. `renewed` says by node whether its site's lease is renewed
    /// now. Returns whether somebody was stopped or started.
    pub(crate) fn advance(&mut self, of: usize, conditions: &Conditions, now: Millis, renewed: &[bool]) -> bool {
        let length = now.saturating_sub(self.at);
        self.at = now;
        if length > 0 {
            self.write(of, conditions, length);
        }
        self.enforce(of, conditions, now, renewed)
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
        let mut acknowledging: Vec<u64> = Vec::new();
        for primary in 0..self.servers.len() {
            self.servers[primary].acknowledges = false;
            if !self.servers[primary].primary || !self.runs(of, conditions, primary) {
                continue;
            }
            let streaming = self.streaming(of, conditions, primary);
            let safe = self.safe(primary, &streaming);
            if safe && !conditions.nodes[of][primary].full {
                self.grow(of, conditions, primary, &streaming, length);
                acknowledging.push(self.servers[primary].timeline);
            }
            for at in streaming {
                self.servers[at].heard = self.at;
            }
        }
        self.count(&mut acknowledging, length);
    }

    /// Standbys that receive from it.
    fn streaming(&self, of: usize, conditions: &Conditions, primary: usize) -> Vec<usize> {
        let leader = &self.servers[primary];
        let receives = |at: &usize| {
            let server = &self.servers[*at];
            server.upstream == Some(primary)
                && !server.primary
                && self.runs(of, conditions, *at)
                && !conditions.nodes[of][*at].stalled
                && server.timeline <= leader.timeline
                && conditions.reach(server.site, leader.site)
        };
        (0..self.servers.len()).filter(receives).collect()
    }

    /// Enough of its published set have what it writes.
    fn safe(&self, primary: usize, streaming: &[usize]) -> bool {
        let Some(set) = self.servers[primary].set.as_ref().filter(|set| set.wait_for > 0 && !self.alone) else {
            return true;
        };
        streaming.iter().filter(|at| set.nodes.contains(&self.servers[**at].name)).count() >= set.wait_for as usize
    }

    fn grow(&mut self, of: usize, conditions: &Conditions, primary: usize, streaming: &[usize], length: Millis) {
        let leader = &mut self.servers[primary];
        leader.log += length;
        leader.acknowledges = true;
        let (log, timeline, set) = (leader.log, leader.timeline, leader.set.clone());
        for at in streaming {
            let behind = BEHIND + conditions.nodes[of][*at].behind;
            let server = &mut self.servers[*at];
            server.log = server.log.max(log.saturating_sub(behind));
            server.timeline = timeline;
        }
        let safe = match set.filter(|set| set.wait_for > 0 && !self.alone) {
            None => log,
            Some(set) => {
                let members = streaming.iter().filter(|at| set.nodes.contains(&self.servers[**at].name));
                let mut positions: Vec<u64> = members.map(|at| self.servers[*at].log).collect();
                positions.sort_unstable_by(|a, b| b.cmp(a));
                positions.get(set.wait_for as usize - 1).copied().unwrap_or(0)
            }
        };
        let known = self.acknowledged.entry(timeline).or_default();
        *known = (*known).max(safe);
    }

    fn count(&mut self, acknowledging: &mut Vec<u64>, length: Millis) {
        if acknowledging.len() < 2 {
            return;
        }
        self.split += length;
        if self.at > self.waking_until + length {
            self.split_beyond_a_wake_up += length;
        }
        let many = acknowledging.len();
        acknowledging.sort_unstable();
        acknowledging.dedup();
        if acknowledging.len() < many {
            self.split_within_a_timeline += length;
        }
    }

    /// An asynchronous primary whose lease nobody renewed is stopped by its enforcer, and started again with the next lease.
    fn enforce(&mut self, of: usize, conditions: &Conditions, now: Millis, renewed: &[bool]) -> bool {
        let mut others_run = false;
        for (at, renewed) in renewed.iter().enumerate() {
            let server = &mut self.servers[at];
            let again = server.lease_was_over && !conditions.nodes[of][at].down;
            let leased = server.primary && server.set.as_ref().is_none_or(|set| set.wait_for == 0);
            if !leased || conditions.absent(server.site) || conditions.nodes[of][at].unguarded {
                continue;
            }
            match (server.up, *renewed) {
                (true, true) => server.lease_until = now + LEASE,
                (true, false) if now >= server.ends() => {
                    (server.up, server.barred, server.acknowledges) = (false, true, false);
                    (server.lease_was_over, others_run) = (true, true);
                }
                (false, true) if again => {
                    (server.up, server.barred, server.lease_until) = (true, false, now + LEASE);
                    (server.lease_was_over, others_run) = (false, true);
                }
                _ => {}
            }
        }
        others_run
    }

    /// When the next lease ends that nobody renews: then the world has to look again.
    pub(crate) fn next_lease_end(&self, of: usize, conditions: &Conditions, renewed: &[bool]) -> Option<Millis> {
        let waits = |at: &usize| {
            let server = &self.servers[*at];
            server.primary
                && server.up
                && server.set.as_ref().is_none_or(|set| set.wait_for == 0)
                && !conditions.absent(server.site)
                && !conditions.nodes[of][*at].unguarded
                && !renewed[*at]
        };
        (0..self.servers.len()).filter(waits).map(|at| self.servers[at].ends()).min()
    }

    /// Acknowledged writes, in milliseconds of writing, that the history of the present leader does not have.
    pub(crate) fn lost(&self) -> u64 {
        let leader = self.servers.iter().filter(|server| server.primary).max_by_key(|server| server.timeline);
        let Some(leader) = leader else { return 0 };
        let mut kept: BTreeMap<u64, u64> = BTreeMap::from([(leader.timeline, u64::MAX)]);
        let mut line = leader.timeline;
        while let Some(fork) = self.forks.get(&line) {
            kept.insert(fork.parent, fork.at);
            line = fork.parent;
        }
        let lost = |(timeline, acknowledged): (&u64, &u64)| {
            let began = self.forks.get(timeline).map_or(0, |fork| fork.at);
            acknowledged.saturating_sub(kept.get(timeline).copied().unwrap_or(began))
        };
        self.acknowledged.iter().map(lost).sum()
    }

    /// The one that takes writes and acknowledges them at this moment, at that site.
    pub(crate) fn serves_at(&self, of: usize, conditions: &Conditions, site: usize) -> bool {
        (0..self.servers.len()).any(|at| {
            let server = &self.servers[at];
            server.site == site
                && server.primary
                && self.runs(of, conditions, at)
                && !conditions.nodes[of][at].full
                && self.safe(at, &self.streaming(of, conditions, at))
        })
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

    /// A server that is stopped in order waits until its standbys have all of its log.
    pub(crate) fn flush(&mut self, of: usize, conditions: &Conditions, at: usize) {
        if !self.servers[at].primary || !self.runs(of, conditions, at) {
            return;
        }
        let log = self.servers[at].log;
        for standby in self.streaming(of, conditions, at) {
            self.servers[standby].log = self.servers[standby].log.max(log);
        }
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
