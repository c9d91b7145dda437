//! Leases, as the daemon's rules have them: renewed by the host, or by a majority of the agents; ended once too few could confirm one.
//!
//! Knows no log: who may lead, and until when.

use tidegate_kernel::contract::Millis;

use super::World;
use super::database::{LEASE, LEASE_END};

/// An agent gives up a renewal after so long, and the host whoever has not acknowledged an epoch.
const RENEWAL_PATIENCE: Millis = 700;
const EPOCH_PATIENCE: Millis = 1_000;
/// Another agent is asked over a connection of its own: there and back twice, within so long.
const PEER_TRIPS: Millis = 2;
const PEER_PATIENCE: Millis = 600;

impl World {
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
        let known = self.told[of].iter().filter(|told| **told >= epoch).count();
        if known * 2 <= agents {
            return Err(format!("{known} of {agents} agents know of the new epoch"));
        }
        // However often it is asked, and whatever was said since.
        let held = self.databases[of].led;
        match self.conditions.nodes[of][held].unguarded {
            true => Err(format!("no enforcer stands above {}", self.databases[of].servers[held].name)),
            // Whoever was told last may have confirmed one until then.
            false => Ok(self.now + told + LEASE + LEASE_END),
        }
    }

    /// Tells every agent that the host reaches the cluster's epoch; after how long the last of them has acknowledged it.
    fn tell(&mut self, of: usize, epoch: u64) -> Millis {
        let mut last = 0;
        for at in 0..self.fleet.vantages.len() {
            let acknowledges = self.acknowledges(at).filter(|later| *later < EPOCH_PATIENCE);
            if let Some(later) = acknowledges {
                self.told[of][at] = self.told[of][at].max(epoch);
                last = last.max(later);
            }
        }
        last
    }

    fn agents(&self) -> impl Iterator<Item = usize> {
        (0..self.fleet.vantages.len()).filter(|at| self.fleet.vantages[*at].token.is_some())
    }

    /// How much later than usual an agent's answer comes to the host; none = it never does.
    fn acknowledges(&self, vantage: usize) -> Option<Millis> {
        let declared = &self.fleet.vantages[vantage];
        let site = declared.site.at();
        let gone = declared.token.is_none() || self.conditions.agents[vantage].down || self.conditions.absent(site);
        self.conditions.streams(self.host(), site).filter(|_| !gone)
    }

    /// Whether the lease of a node's site is renewed now, and how much later than usual the answer comes: a lease counts from when
    /// it was asked for. By the host, or, where that does not answer in time, by a majority of the agents that know of no newer
    /// epoch.
    pub(super) fn renews(&self, of: usize, node: usize) -> Option<Millis> {
        let site = self.databases[of].servers[node].site;
        let here = |at: &usize| self.fleet.vantages[*at].site.at() == site && !self.conditions.agents[*at].down;
        let own = self.agents().find(here)?;
        let host = self.conditions.streams(self.host(), site).filter(|later| *later < RENEWAL_PATIENCE);
        if let Some(later) = host.filter(|_| self.host_runs()) {
            return (self.databases[of].leads == Some(node)).then_some(later);
        }
        let (known, mut confirmed, mut last) = (self.told[of][own], 0, 0);
        for at in self.agents() {
            let stands = self.fleet.vantages[at].site.at();
            let gone = self.conditions.agents[at].down || self.conditions.absent(stands) || self.told[of][at] > known;
            let way = self.conditions.streams(site, stands).map(|later| later * PEER_TRIPS);
            if let Some(later) = way.filter(|later| !gone && *later < PEER_PATIENCE) {
                (confirmed, last) = (confirmed + 1, last.max(later));
            }
        }
        (confirmed * 2 > self.agents().count()).then_some(last)
    }

    /// Asynchronous primaries go on while their lease is renewed, are stopped by their enforcer once it is over, and started again
    /// with the next one. Returns whether one was stopped or started.
    pub(super) fn enforce(&mut self, of: usize) -> bool {
        let mut others_run = false;
        for at in 0..self.databases[of].servers.len() {
            let database = &self.databases[of];
            let (runs, waits) =
                (database.is_leased(of, &self.conditions, at), database.lacks_a_lease(of, &self.conditions, at));
            if !runs && !waits {
                continue;
            }
            let renewed = self.renews(of, at).map(|later| (self.now + LEASE).saturating_sub(later));
            let server = &mut self.databases[of].servers[at];
            match renewed {
                Some(until) if runs => server.renew(until),
                Some(until) => {
                    server.go_on(until);
                    others_run = true;
                }
                None => others_run |= runs && server.end_lease(self.now),
            }
        }
        others_run
    }

    /// When the next lease ends that nobody renews: then the world has to look again.
    pub(super) fn next_lease_end(&self) -> Option<Millis> {
        let of_a_cluster = |of: usize| {
            let database = &self.databases[of];
            let waits =
                move |at: &usize| database.is_leased(of, &self.conditions, *at) && self.renews(of, *at).is_none();
            (0..database.servers.len()).filter(waits).map(|at| database.servers[at].ends()).min()
        };
        (0..self.databases.len()).filter_map(of_a_cluster).min()
    }
}
