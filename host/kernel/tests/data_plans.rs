//! What a dry run says of data is what would become of it: who would lead, what might be lost, by which proofs.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

#[path = "support/orders.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
mod orders;

use orders::*;
use tidegate_kernel::event::Command;
use tidegate_kernel::view::{DataPlan, PlanView};
use world::*;

fn failover(accept_loss: Option<u64>) -> Command {
    Command::Failover { service: "shop".into(), to: Some("west".into()), accept_loss }
}

fn switchover() -> Command {
    Command::Switchover { service: "shop".into(), to: Some("west".into()) }
}

fn plan(world: &World, command: &Command) -> PlanView {
    world.kernel.plan(command, world.now()).expect("a plan")
}

fn data(world: &World, command: &Command) -> DataPlan {
    plan(world, command).data.expect("it has data")
}

fn open(data: &DataPlan) -> Vec<&str> {
    data.proofs.iter().filter(|proof| proof.open).map(|proof| proof.kind.as_str()).collect()
}

#[test]
fn a_planned_move_loses_nothing_and_says_who_leads() {
    for world in [synchronous(), asynchronous()] {
        let data = data(&world, &switchover());
        assert_eq!((data.from.as_deref(), data.to.as_deref()), (Some("east"), Some("west")));
        assert!(data.loss.starts_with("no data"), "{}", data.loss);
    }
}

#[test]
fn a_fail_over_of_an_asynchronous_primary_says_from_what_its_bound_follows() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.slow_policy = Some(Vec::new());
    world.run(2_000);
    let data = data(&world, &failover(None));
    assert!(data.loss.starts_with("up to ") && data.loss.contains("east last answered"), "{}", data.loss);
    assert_eq!(open(&data), ["lease"], "no command is declared, and nobody's word is waited for");
}

#[test]
fn a_fail_over_on_the_word_of_enough_standbys_loses_nothing_acknowledged() {
    let mut world = synchronous();
    kill(&mut world, "east");
    world.slow_policy = Some(Vec::new());
    world.run(2_000);
    let whole = data(&world, &failover(None));
    assert!(whole.loss.starts_with("no acknowledged data"), "{}", whole.loss);
    assert_eq!(open(&whole), ["standby-quorum"]);
    world.database.as_mut().unwrap().die("north");
    world.run(1_000);
    let few = data(&world, &failover(None));
    assert!(few.loss.starts_with("up to "), "{}", few.loss);
}

#[test]
fn a_loss_that_nobody_can_bound_is_called_so() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.slow_policy = Some(Vec::new());
    // A host that has only just started has never seen the primary answer.
    world.restart();
    world.run(2_000);
    let data = data(&world, &failover(Some(5_000)));
    assert!(data.loss.starts_with("nobody knows"), "{}", data.loss);
    assert_eq!(open(&data), ["lease", "person"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = synchronous();
    let before = world.kernel.state().hash();
    plan(&world, &switchover());
    assert_eq!(world.kernel.state().hash(), before);
}

#[test]
fn a_declared_stop_command_is_a_proof() {
    let stop = "[command.east-stop]\nargv = [\"/bin/stop\"]\n";
    let text = format!("{stop}[cluster.orders]\n");
    let fleet = orders_with(&text, "rpo = \"10s\"", "commands = { stop = \"east-stop\" }");
    let mut world = World::new(fleet);
    world.database = Some(Database::new(0));
    world.run(10_000);
    let data = data(&world, &switchover());
    assert_eq!(open(&data), ["stopped"]);
    assert!(data.proofs[0].text.contains("east-stop"));
}
