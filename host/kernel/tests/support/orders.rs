//! A world with a service whose data is a cluster of three nodes, and a policy for it.

use tidegate_kernel::contract::{Decision, Fact, Invocation, Move, Role, Situation, State, Status, Verdict};

use super::world::*;

pub fn orders(cluster: &str, service: &str) -> tidegate_kernel::fleet::Fleet {
    orders_with(&format!("[cluster.orders]\n{cluster}\n"), service, "")
}

/// With more about the node at east.
pub fn orders_with(cluster: &str, service: &str, east: &str) -> tidegate_kernel::fleet::Fleet {
    let more = |site: &str| if site == "east" { east.to_owned() } else { String::new() };
    let nodes: String = ["east", "west", "north"]
        .iter()
        .map(|site| format!("[cluster.orders.node.{site}]\nsite = \"{site}\"\n{}\n", more(site)))
        .collect();
    let service = shop(&format!("cluster = \"orders\"\n{service}"));
    let service = service.replace(
        "at.west =",
        "at.north = { endpoint = \"shop-north\", target = { address = \"n:1\" }, load = 40 }\nat.west =",
    );
    fleet(&format!("{cluster}{nodes}\n{service}"))
}

pub fn world(cluster: &str, service: &str, wait_for: u32) -> World {
    let mut world = World::new(orders(cluster, service));
    world.database = Some(Database::new(wait_for));
    world.policy = data_policy;
    world.run(10_000);
    world.timeline.clear();
    world
}

pub fn synchronous() -> World {
    world("synchronous = 1", "rpo = \"0s\"", 1)
}

pub fn asynchronous() -> World {
    world("", "rpo = \"10s\"", 0)
}

pub fn database(world: &World) -> &Database {
    world.database.as_ref().expect("a database")
}

/// Site, server and agent die.
pub fn kill(world: &mut World, site: &'static str) {
    world.dead.insert(site);
    let database = world.database.as_mut().expect("a database");
    database.die(site);
    database.agentless.insert(site);
}

pub fn revive(world: &mut World, site: &'static str) {
    world.dead.remove(site);
    world.database.as_mut().expect("a database").agentless.remove(site);
}

/// Promotes the most advanced standby when the primary is silent, makes standbys of what is outside, goes home when home is a
/// standby.
pub fn data_policy(told: &Situation) -> Result<Decision, String> {
    let cluster = told.cluster.as_ref().ok_or("no cluster")?;
    let primary = cluster.facts.iter().find(|fact| fact.key == "primary").map(|fact| fact.value.clone());
    let node = |id: &str| cluster.nodes.iter().find(|node| node.id == id);
    let silent = primary.as_deref().and_then(node).is_some_and(|node| node.role == Role::Unknown);
    let outside = cluster.nodes.iter().find(|node| node.facts.iter().any(|fact| fact.key == "outside"));
    let active = told.sites.iter().find(|site| site.site == told.active_site).ok_or("no active site")?;
    if matches!(told.state, State::FailingOver | State::FailingBack) {
        return Ok(decision(Verdict::Hold, "on-the-way"));
    }
    if silent && active.consensus.status != Status::Unhealthy {
        let again = vec![tidegate_kernel::contract::Look { site: told.active_site.clone(), node: None }];
        return Ok(decision(Verdict::ProbeMore(again), "suspected"));
    }
    if silent {
        let standbys = cluster.nodes.iter().filter(|node| node.role == Role::Replica && node.facts.is_empty());
        let Some(best) = standbys.max_by_key(|node| node.received) else {
            return Ok(decision(Verdict::Hold, "no-candidate"));
        };
        let loss = best.lag_at_contact.zip(best.contact_age).map(|(lag, age)| lag + age);
        let to = Move { promote: vec![best.id.clone()], expected_loss: loss, ..to(&best.site) };
        return Ok(decision(Verdict::FailOver(to), "dead-primary"));
    }
    if let Some(node) = outside.filter(|node| told.sites.iter().any(|s| s.site == node.site)) {
        let arguments = vec![Fact { key: "node".into(), value: node.id.clone() }];
        return Ok(decision(Verdict::Run(Invocation { runbook: "rejoin".into(), arguments }), "returned"));
    }
    let home = node(&told.preferred_site).filter(|node| node.upstream.is_some());
    match home {
        Some(home) if told.state == State::FailedOver => {
            let to = Move { promote: vec![home.id.clone()], expected_loss: Some(0), ..to(&home.site) };
            Ok(decision(Verdict::FailBack(to), "home-well"))
        }
        _ => Ok(decision(Verdict::Hold, "well")),
    }
}
