//! Whether everything that a move of a service would need works right now: asked of those who would do it, changing nothing.
//!
//! Capacity, health and the guard's other rules are the kernel's; this is what only a look outside can tell.

use std::collections::BTreeSet;

use tidegate_kernel::contract::Reason;
use tidegate_kernel::fleet::{Cluster, Service};

use super::Host;
use super::live::Live;
use crate::agents::AgentView;

/// What stands in the way; empty = nothing.
pub(super) async fn blockers(host: &Host, live: &Live, service: &Service) -> Vec<Reason> {
    let mut blockers = Vec::new();
    for slot in [&service.policy, &service.probe.slot] {
        if let Some(fault) = host.slots().fault(slot) {
            blockers.push(Reason::new("plugin-fault", format!("{slot}: {fault}")));
        }
    }
    if let Some(route) = &service.route {
        blockers.extend(ask(host, &route.slot, &route.name, "route-not-ready").await);
    }
    if let Some(cluster) = service.cluster.and_then(|id| live.fleet.clusters.get(id.at())) {
        blockers.extend(ask(host, &cluster.slot, &cluster.name, "cluster-not-ready").await);
        blockers.extend(commands_missing(host, live, cluster));
    }
    for action in actions(live, service) {
        if let Some(declared) = live.fleet.actions.get(&action) {
            blockers.extend(ask(host, &declared.slot, &action, "action-not-ready").await);
        }
    }
    blockers
}

/// What stands in no way of a planned move, and would be missed at the loss of a site.
pub(super) fn notes(host: &Host, live: &Live, service: &Service) -> Vec<Reason> {
    let cluster = service.cluster.and_then(|id| live.fleet.clusters.get(id.at()));
    let Some(cluster) = cluster.filter(|cluster| cluster.wait_for == 0) else { return Vec::new() };
    match host.agents().lease_proves(&cluster.name) {
        Ok(agent) => {
            vec![Reason::new("lease", format!("agent {agent} ends the primary of {} with its lease", cluster.name))]
        }
        Err(why) => {
            let text = format!("if the site of its primary is lost, a person is asked: {why}");
            vec![Reason::new("no-lease", text)]
        }
    }
}

/// Commands of its nodes that no agent could run where the node stands. An agent that is silent may be lost with its site: that
/// is no news of its commands.
fn commands_missing(host: &Host, live: &Live, cluster: &Cluster) -> Vec<Reason> {
    let agents = host.agents().views();
    let mut missing = Vec::new();
    for node in &cluster.nodes {
        let site = &live.fleet.sites[node.site.at()].name;
        let here: Vec<&AgentView> = agents.iter().filter(|agent| agent.site == *site).collect();
        if here.is_empty() && !node.commands.is_empty() {
            let text = format!("no agent stands at {site} to run the commands of node {}", node.name);
            missing.push(Reason::new("no-agent", text));
        }
        for command in node.commands.values() {
            let why = here.iter().find_map(|agent| Some((&agent.name, agent.missing.get(command)?)));
            missing.extend(why.map(|(agent, why)| {
                Reason::new(
                    "command-missing",
                    format!("command {command} of node {}, at agent {agent}: {why}", node.name),
                )
            }));
        }
    }
    missing
}

async fn ask(host: &Host, slot: &str, name: &str, code: &str) -> Option<Reason> {
    let failure = host.slots().ready(slot, name).await.err()?;
    Some(Reason::new(code, format!("{name} through {slot}: {failure}")))
}

/// The named actions of the service's own runbooks; the built-in ones have none.
fn actions(live: &Live, service: &Service) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let tables = service.runbooks.values().filter_map(|name| live.fleet.runbooks.get(name));
    tables.for_each(|table| collect(table, &mut names));
    names
}

fn collect(table: &toml::Table, names: &mut BTreeSet<String>) {
    for (key, value) in table {
        match value {
            toml::Value::String(name) if key == "action" => drop(names.insert(name.clone())),
            toml::Value::Table(table) => collect(table, names),
            toml::Value::Array(steps) => {
                steps.iter().filter_map(|step| step.as_table()).for_each(|step| collect(step, names))
            }
            _ => {}
        }
    }
}
