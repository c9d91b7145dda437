//! What the faults of the moment add up to: who is dead, what is cut, what is slow.
//!
//! Made anew whenever a fault begins or ends. Knows no time and keeps nothing.

use std::collections::BTreeMap;

use tidegate_kernel::contract::Millis;
use tidegate_kernel::fleet::Fleet;

use super::links::Link;
use super::providers::Trouble;
use crate::fault::{Fault, INTERNET, NodeOf};

/// How a service answers at a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Health {
    #[default]
    Works,
    Slow,
    /// So many per cent of the answers are errors.
    Flaky(u32),
    ReadOnly,
    Hangs,
    Down,
}

/// A database server, as far as faults go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NodeTrouble {
    pub(crate) down: bool,
    pub(crate) hangs: bool,
    pub(crate) full: bool,
    pub(crate) stalled: bool,
    pub(crate) unguarded: bool,
    pub(crate) behind: Millis,
}

/// A vantage point, as far as faults go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AgentTrouble {
    pub(crate) down: bool,
    pub(crate) blind: bool,
    pub(crate) slow: bool,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    sites: usize,
    pub(crate) down: Vec<bool>,
    pub(crate) frozen: Vec<bool>,
    links: Vec<Link>,
    pub(crate) agents: Vec<AgentTrouble>,
    /// By service, then by site.
    health: Vec<Health>,
    /// By cluster, then by node.
    pub(crate) nodes: Vec<Vec<NodeTrouble>>,
    pub(crate) commands_fail: Vec<bool>,
    pub(crate) names_down: bool,
    pub(crate) names_forgetful: bool,
    /// By slot; the others are well.
    providers: BTreeMap<String, Trouble>,
    pub(crate) host_down: bool,
    /// Some look may differ from the one before.
    pub(crate) unsteady: bool,
}

impl Conditions {
    /// Of a fleet, with so much broken.
    pub(crate) fn of<'a>(fleet: &Fleet, broken: impl Iterator<Item = &'a Fault>) -> Self {
        let sites = fleet.sites.len();
        let nodes = fleet.clusters.iter().map(|cluster| vec![NodeTrouble::default(); cluster.nodes.len()]);
        let mut conditions = Conditions {
            sites,
            down: vec![false; sites],
            frozen: vec![false; sites],
            links: vec![Link::default(); (sites + 1) * (sites + 1)],
            agents: vec![AgentTrouble::default(); fleet.vantages.len()],
            health: vec![Health::default(); fleet.services.len() * sites],
            nodes: nodes.collect(),
            commands_fail: vec![false; sites],
            names_down: false,
            names_forgetful: false,
            providers: BTreeMap::new(),
            host_down: false,
            unsteady: false,
        };
        broken.for_each(|fault| conditions.add(fleet, fault));
        conditions
    }

    /// The internet's place.
    pub(crate) fn internet(&self) -> usize {
        self.sites
    }

    /// Within a place nothing is ever cut, lost or late.
    pub(super) fn link(&self, from: usize, to: usize) -> Link {
        if from == to { Link::default() } else { self.links[from * (self.sites + 1) + to] }
    }

    /// Dead or standing still.
    pub(crate) fn absent(&self, site: usize) -> bool {
        self.down[site] || self.frozen[site]
    }

    pub(crate) fn health(&self, service: usize, site: usize) -> Health {
        self.health[service * self.sites + site]
    }

    /// What is the matter with the plugin in a slot.
    pub(crate) fn provider(&self, slot: &str) -> Trouble {
        self.providers.get(slot).copied().unwrap_or_default()
    }

    fn add(&mut self, fleet: &Fleet, fault: &Fault) {
        self.unsteady |= fault.is_unsteady();
        match fault {
            Fault::SiteDown(site) => self.down[place(fleet, site)] = true,
            Fault::SiteFrozen(site) => self.frozen[place(fleet, site)] = true,
            Fault::Cut(cut) => {
                self.each(fleet, &cut.from, &cut.to, !cut.one_way, |link| link.cut = true);
            }
            Fault::Loss(lossy) => {
                self.each(fleet, &lossy.from, &lossy.to, !lossy.one_way, |link| link.lose(lossy.per_cent));
            }
            Fault::Delay(late) => {
                self.each(fleet, &late.from, &late.to, !late.one_way, |link| link.later += late.by);
            }
            Fault::ServiceDown(at) => self.worse(fleet, &at.service, &at.site, Health::Down),
            Fault::ServiceHangs(at) => self.worse(fleet, &at.service, &at.site, Health::Hangs),
            Fault::ServiceSlow(at) => self.worse(fleet, &at.service, &at.site, Health::Slow),
            Fault::ServiceReadOnly(at) => self.worse(fleet, &at.service, &at.site, Health::ReadOnly),
            Fault::ServiceFlaky(at) => self.worse(fleet, &at.service, &at.site, Health::Flaky(at.per_cent)),
            Fault::AgentDown(agent) => self.agents[vantage(fleet, agent)].down = true,
            Fault::AgentBlind(agent) => self.agents[vantage(fleet, agent)].blind = true,
            Fault::AgentSlow(agent) => self.agents[vantage(fleet, agent)].slow = true,
            Fault::NodeDown(of) => self.node(fleet, of).down = true,
            Fault::NodeHangs(of) => self.node(fleet, of).hangs = true,
            Fault::NodeFull(of) => self.node(fleet, of).full = true,
            Fault::NodeStalled(of) => self.node(fleet, of).stalled = true,
            Fault::NodeUnguarded(of) => self.node(fleet, of).unguarded = true,
            Fault::NodeLags(lagging) => {
                let of = NodeOf { cluster: lagging.cluster.clone(), node: lagging.node.clone() };
                let node = self.node(fleet, &of);
                node.behind = node.behind.max(lagging.by);
            }
            Fault::CommandsFail(site) => self.commands_fail[place(fleet, site)] = true,
            Fault::NamesDown => self.names_down = true,
            Fault::NamesForgetful => self.names_forgetful = true,
            Fault::ProviderCrashes(slot) => self.misbehaves(slot, Trouble::Crashes),
            Fault::ProviderCrashesMidway(slot) => self.misbehaves(slot, Trouble::CrashesMidway),
            Fault::ProviderSlow(slot) => self.misbehaves(slot, Trouble::Slow),
            Fault::HostDown => self.host_down = true,
            Fault::NamesChanged(_) | Fault::ClockJumps(_) => {}
        }
    }

    /// What crashes at every call answers none of them late, and does nothing if it crashes at once.
    fn misbehaves(&mut self, slot: &str, trouble: Trouble) {
        let known = self.providers.entry(slot.to_owned()).or_default();
        *known = (*known).max(trouble);
    }

    fn each(&mut self, fleet: &Fleet, from: &[String], to: &[String], both: bool, change: impl Fn(&mut Link)) {
        for from in from.iter().map(|name| place(fleet, name)) {
            for to in to.iter().map(|name| place(fleet, name)) {
                change(&mut self.links[from * (self.sites + 1) + to]);
                if both {
                    change(&mut self.links[to * (self.sites + 1) + from]);
                }
            }
        }
    }

    fn worse(&mut self, fleet: &Fleet, service: &str, site: &str, health: Health) {
        let service = position(fleet.services.iter().map(|service| &service.name), service);
        let known = &mut self.health[service * self.sites + place(fleet, site)];
        *known = (*known).max(health);
    }

    fn node(&mut self, fleet: &Fleet, of: &NodeOf) -> &mut NodeTrouble {
        let cluster = position(fleet.clusters.iter().map(|cluster| &cluster.name), &of.cluster);
        let node = position(fleet.clusters[cluster].nodes.iter().map(|node| &node.name), &of.node);
        &mut self.nodes[cluster][node]
    }
}

/// A site's position, or the internet's. Names have been checked against the fleet before they come here.
pub(crate) fn place(fleet: &Fleet, name: &str) -> usize {
    if name == INTERNET {
        return fleet.sites.len();
    }
    position(fleet.sites.iter().map(|site| &site.name), name)
}

fn vantage(fleet: &Fleet, name: &str) -> usize {
    position(fleet.vantages.iter().map(|vantage| &vantage.name), name)
}

fn position<'a>(mut names: impl Iterator<Item = &'a String>, name: &str) -> usize {
    names.position(|known| known == name).unwrap_or_else(|| panic!("{name} was not checked against the fleet"))
}
