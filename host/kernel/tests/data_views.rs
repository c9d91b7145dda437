//! What people are shown and told of data: who leads, who is behind, who does not count, and what a policy calls them for.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

#[path = "support/orders.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
mod orders;

use orders::*;
use tidegate_kernel::contract::{Decision, Fact, Severity, Situation, Verdict};
use tidegate_kernel::view::{DatabaseStatus, Movable, NodeStatus};
use world::*;

fn shown(world: &World) -> DatabaseStatus {
    world.kernel.service_status("shop", world.now()).expect("a service").database.expect("it has data")
}

fn node<'a>(database: &'a DatabaseStatus, name: &str) -> &'a NodeStatus {
    database.nodes.iter().find(|node| node.name == name).expect("a node")
}

#[test]
fn status_says_who_leads_and_whose_word_counts() {
    let world = synchronous();
    let database = shown(&world);
    assert_eq!(database.primary.as_deref(), Some("east"));
    assert_eq!(database.published.as_ref().map(|set| set.wait_for), Some(1));
    assert!(node(&database, "east").leads && node(&database, "east").lag.is_none());
    assert_eq!(node(&database, "west").upstream.as_deref(), Some("east"));
    assert_eq!(shown(&asynchronous()).published, None);
}

#[test]
fn status_says_which_node_does_not_count_and_why() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.run(30_000);
    let database = shown(&world);
    let old = node(&database, "east");
    assert!(old.outside.as_ref().is_some_and(|why| why.contains("was the primary before")), "{old:?}");
    assert_eq!((old.proof.as_deref(), old.answers), (Some("lease"), false));
    assert!(node(&database, database.primary.as_deref().unwrap()).leads);
}

#[test]
fn a_service_with_data_is_movable_where_a_standby_could_lead() {
    let movable = |world: &World| world.kernel.service_status("shop", world.now()).expect("a service").movable;
    for world in [synchronous(), asynchronous()] {
        assert_eq!(movable(&world), Movable::Yes("west".into()));
    }
    let mut world = synchronous();
    for node in ["west", "north"] {
        world.database.as_mut().unwrap().die(node);
    }
    world.run(1_000);
    assert!(matches!(movable(&world), Movable::No(_)), "no standby answers");
}

fn alarmed(told: &Situation) -> Result<Decision, String> {
    let silent =
        told.cluster.as_ref().is_some_and(|c| c.nodes.iter().any(|node| node.upstream.is_none() && node.id == "north"));
    let mut said = decision(Verdict::Hold, if silent { "standby-lost" } else { "well" });
    if silent {
        said.facts.push(Fact { key: "alarm".into(), value: "warning".into() });
    }
    Ok(said)
}

#[test]
fn an_alarm_is_told_once_each_time_that_the_analysis_changes_to_it() {
    let mut world = synchronous();
    world.policy = alarmed;
    world.run(5_000);
    let told = |world: &World| world.sent.iter().filter(|(key, _)| key.starts_with("alarm/shop/standby-lost")).count();
    let north = |world: &mut World, up: bool| {
        world.database.as_mut().unwrap().servers.get_mut("north").unwrap().upstream = up.then_some("east");
        world.run(60_000);
    };
    assert_eq!(told(&world), 0);
    north(&mut world, false);
    assert_eq!(told(&world), 1, "{:?}", world.sent);
    assert_eq!(world.shop().last.as_ref().unwrap().alarm, Some(Severity::Warning));
    north(&mut world, true);
    north(&mut world, false);
    assert_eq!(told(&world), 2, "{:?}", world.sent);
}
