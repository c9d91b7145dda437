//! What a run is said to have kept is what the world saw: never shorter an outage, never less a loss.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

#[path = "support/orders.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
mod orders;

use orders::*;
use tidegate_kernel::event::{Command, RunId};
use tidegate_kernel::fleet::LEASE_ENDS;
use tidegate_kernel::view::{Kept, RunReport};
use world::*;

fn report(world: &World, run: u64) -> RunReport {
    world.kernel.report(RunId(run)).expect("a run")
}

/// The world's one fail-over.
fn failed_over(world: &World) -> RunReport {
    let run = world.kernel.state().runs.values().find(|run| run.kind == "fail-over").expect("a fail-over");
    report(world, run.id.0)
}

fn mark(report: &RunReport, name: &str) -> u64 {
    report.marks.iter().find(|mark| mark.name == name).unwrap_or_else(|| panic!("no {name} in {report:#?}")).at.mono
}

#[test]
fn an_outage_begins_when_the_service_was_last_seen_well() {
    let mut world = synchronous();
    let died = world.mono;
    kill(&mut world, "east");
    world.run(30_000);
    let report = failed_over(&world);
    assert!(mark(&report, "seen well") <= died && mark(&report, "primary answered") <= died, "{report:#?}");
    let closed = mark(&report, "seen well again");
    assert!(report.outage.at_most.unwrap() >= closed - died, "{report:#?}");
    assert_eq!(report.outage.verdict, Kept::Kept);
}

#[test]
fn an_outage_longer_than_promised_is_missed() {
    let mut world = world("synchronous = 1", "rpo = \"0s\"\nrto = \"100ms\"", 1);
    kill(&mut world, "east");
    world.run(30_000);
    assert_eq!(failed_over(&world).outage.verdict, Kept::Missed);
}

#[test]
fn on_the_word_of_enough_standbys_nothing_acknowledged_is_lost() {
    let mut world = synchronous();
    kill(&mut world, "east");
    world.run(30_000);
    let loss = failed_over(&world).loss;
    assert_eq!((loss.at_most, loss.verdict, loss.bytes), (Some(0), Kept::Kept, None), "{loss:?}");
}

#[test]
fn a_loss_is_bounded_by_what_the_lease_let_the_old_primary_take() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.run(30_000);
    let report = failed_over(&world);
    let waited = mark(&report, "proven") - mark(&report, "decided");
    let loss = &report.loss;
    // What was said beforehand counts the lease to its end, which this one had already begun to come to.
    assert_eq!(loss.at_most.unwrap() + LEASE_ENDS, loss.beforehand.unwrap() + waited, "{report:#?}");
    assert!(loss.at_most <= loss.beforehand, "{report:#?}");
    assert_eq!((loss.verdict, loss.bytes), (Kept::Kept, None));
}

#[test]
fn what_a_stopped_primary_had_more_is_told_to_the_byte() {
    let mut world = asynchronous();
    // It writes on, and nobody receives; then its database alone dies, and its agent says how far it had come.
    for standby in ["west", "north"] {
        world.database.as_mut().unwrap().servers.get_mut(standby).unwrap().upstream = None;
    }
    world.database.as_mut().unwrap().work();
    world.database.as_mut().unwrap().work();
    world.database.as_mut().unwrap().die("east");
    world.run(30_000);
    let report = failed_over(&world);
    assert_eq!(report.loss.bytes, Some(200), "{report:#?}");
    assert!(report.loss.text.contains("lacked the last 200 bytes"), "{}", report.loss.text);
}

#[test]
fn a_planned_move_loses_nothing_and_its_outage_is_the_stop() {
    let mut world = asynchronous();
    let order = Command::Switchover { service: "shop".into(), to: Some("west".into()) };
    let run = world.order(order).unwrap().run.unwrap();
    world.run(10_000);
    let report = report(&world, run.0);
    assert_eq!((report.loss.bytes, report.loss.verdict), (Some(0), Kept::Kept), "{report:#?}");
    assert_eq!(report.outage.verdict, Kept::Kept);
    assert!(report.outage.text.contains("began to be stopped"), "{}", report.outage.text);
}

#[test]
fn what_a_person_vouched_for_is_bounded_by_nothing() {
    let mut world = asynchronous();
    world.lease = None;
    kill(&mut world, "east");
    world.run(25_000);
    let question = world.kernel.state().open_questions().next().expect("a question").id;
    world.order(Command::Approve { question, option: 0 }).unwrap();
    world.run(10_000);
    let loss = failed_over(&world).loss;
    assert_eq!((loss.at_most, loss.verdict), (None, Kept::Unknown));
}

#[test]
fn a_run_that_is_not_over_has_kept_nothing_yet() {
    let mut world = asynchronous();
    world.lease = None;
    kill(&mut world, "east");
    world.run(10_000);
    let report = failed_over(&world);
    assert_eq!((report.end, report.outage.verdict, report.loss.verdict), (None, Kept::Unknown, Kept::Unknown));
}
