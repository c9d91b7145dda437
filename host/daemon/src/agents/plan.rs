//! What each vantage point is to look at, and what each agent may run: the fleet file's part that concerns it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tidegate_engine::Limits;
use tidegate_kernel::fleet::{DeclaredCommand, Fleet, Vantage, VantageId};

use super::protocol::{CommandPlan, Peers, Plan, SlotPlan};
use crate::prober::{self, Target};

/// Every service at every one of its sites, by the address by which this vantage point sees it.
pub fn targets(fleet: &Fleet, vantage: VantageId) -> Vec<Target> {
    let vantage = &fleet.vantages[vantage.at()];
    let sites: Vec<Arc<str>> = fleet.sites.iter().map(|site| site.name.as_str().into()).collect();
    let looked_at = |service: &tidegate_kernel::fleet::Service| {
        let (name, slot): (Arc<str>, Arc<str>) = (service.name.as_str().into(), service.probe.slot.as_str().into());
        let (interval, timeout) = (service.probe.interval, service.probe.timeout);
        let target = |place: &tidegate_kernel::fleet::Place| Target {
            service: name.clone(),
            site: sites[place.site.at()].clone(),
            slot: slot.clone(),
            target: place.target_from(vantage).into(),
            interval,
            timeout,
        };
        service.places.iter().map(target).collect::<Vec<_>>()
    };
    fleet.services.iter().flat_map(looked_at).collect()
}

/// A probe slot's limits: what the fleet file does not say is made large enough for a look at every black hole that its targets
/// could become.
pub fn probe_limits(slot: &str, limits: &Value, targets: &[Target]) -> Value {
    let room = prober::room(targets.iter().filter(|target| &*target.slot == slot));
    let default = Limits::provider();
    let mut limits = limits.as_object().cloned().unwrap_or_default();
    let mut at_least = |name: &str, room: usize, default: u32| {
        limits.entry(name).or_insert_with(|| room.max(default as usize).into());
    };
    at_least("pool", room.values().sum(), default.pool);
    at_least("bulkhead", room.values().copied().max().unwrap_or(0), default.bulkhead);
    limits.into()
}

/// The plan of the agent that stands at this vantage point.
pub(super) fn of_agent(fleet: &Fleet, vantage: VantageId, slots: &BTreeMap<String, SlotPlan>) -> Plan {
    let targets = targets(fleet, vantage);
    let needed = slots.iter().filter(|(slot, _)| targets.iter().any(|target| *target.slot == ***slot));
    let sized = needed.map(|(name, slot)| {
        let limits = probe_limits(name, &slot.limits, &targets);
        (name.clone(), SlotPlan { limits, ..slot.clone() })
    });
    let mut plan = Plan {
        version: String::new(),
        slots: sized.collect(),
        commands: commands(fleet, vantage),
        control_targets: fleet.vantages[vantage.at()].control_targets.clone(),
        targets,
    };
    plan.version = version(&plan);
    plan
}

/// The other agents, if there is a cluster whose leases they are asked about.
pub(super) fn peers(fleet: &Fleet, vantage: VantageId, key: &[u8]) -> Option<Peers> {
    let agents: Vec<&Vantage> = fleet.vantages.iter().filter(|vantage| vantage.token.is_some()).collect();
    let own = &fleet.vantages[vantage.at()];
    let others = agents.iter().filter(|other| other.name != own.name);
    let answering = others.filter_map(|other| Some((other.name.clone(), other.peers_listen.clone()?)));
    fleet.clusters.iter().any(|cluster| cluster.wait_for == 0).then(|| Peers {
        key: key.to_vec(),
        listen: own.peers_listen.clone(),
        agents: agents.len(),
        others: answering.collect(),
    })
}

/// The commands that may be run at the site where this vantage point stands.
pub(super) fn commands(fleet: &Fleet, vantage: VantageId) -> BTreeMap<String, CommandPlan> {
    let site = fleet.vantages[vantage.at()].site;
    let here = |command: &DeclaredCommand| command.sites.is_empty() || command.sites.contains(&site);
    let commands = fleet.commands.iter().filter(|(_, command)| here(command));
    commands.map(|(name, command)| (name.clone(), CommandPlan::from(command))).collect()
}

impl From<&DeclaredCommand> for CommandPlan {
    fn from(declared: &DeclaredCommand) -> Self {
        CommandPlan {
            argv: declared.argv.clone(),
            arguments: declared.arguments.clone(),
            run_as: declared.run_as.clone(),
            timeout: declared.timeout,
            output_max: declared.output_max,
        }
    }
}

/// Plans with the same content have the same version, whichever host made them.
fn version(plan: &Plan) -> String {
    let content = serde_json::to_vec(plan).unwrap_or_default();
    Sha256::digest(content).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
