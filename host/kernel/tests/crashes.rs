//! The host dies after every single record of a move, with the effects that follow it done or not: the next one finishes
//! the move or has undone it, and the servers hold what the state says.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use tidegate_kernel::contract::State;
use tidegate_kernel::state::RunEnd;
use world::*;

/// A fail-over with a step that undoes, two shifts' worth of waiting and a command: everything that can be under way.
fn incident() -> World {
    let more = r#"
runbooks = { fail-over = "careful" }
[runbook.careful]
[[runbook.careful.step]]
name = "ready"
check-ready = true
[[runbook.careful.step]]
name = "grow"
command = "scale"
arguments = { to = "10" }
undo = { command = "scale", arguments = { to = "1" } }
[[runbook.careful.step]]
name = "breathe"
hold = "2s"
[[runbook.careful.step]]
name = "traffic"
route = true
retries = 3
point-of-no-return = true
[[runbook.careful.step]]
name = "well"
await-healthy = true
timeout = "20s"
[command.scale]
argv = ["/usr/bin/scale", "{to}"]
arguments = { to = "[0-9]+" }
"#;
    let mut world = World::settled(fleet(&shop(more)));
    world.dead.insert("east");
    world
}

/// Records of the whole incident.
fn length() -> (usize, usize) {
    let mut world = incident();
    let before = world.journal.len();
    world.run(30_000);
    assert_eq!(world.shop().life.state, State::FailedOver, "{}", world.timeline.join("\n"));
    (before, world.journal.len())
}

#[test]
fn a_crash_after_any_record_is_recovered_from() {
    let (before, after) = length();
    assert!(after - before > 8, "the incident has too few records to prove anything");
    for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
        for at in before + 1..=after {
            let mut world = incident();
            world.crash_at = Some((at, crash));
            world.run(30_000);
            world.say("the host dies");
            world.restart();
            world.run(120_000);
            let told = format!("crash {crash:?} after record {at}:\n{}", world.timeline.join("\n"));
            assert_eq!(world.kernel.state().open_runs().count(), 0, "a run is left over; {told}");
            assert_eq!(world.shop().life.state, State::FailedOver, "{told}");
            assert_eq!(world.routes["shop.example.org"][0].target, "shop-west", "{told}");
            let ends: Vec<_> = world.kernel.state().runs.values().filter_map(|run| run.end.clone()).collect();
            assert!(ends.contains(&RunEnd::Done), "{told}");
            assert!(ends.iter().all(|end| *end != RunEnd::ByHand(String::new())), "{told}");
        }
    }
}

#[test]
fn recovery_gives_the_same_state_after_every_record() {
    let mut world = incident();
    world.run(30_000);
    world.dead.clear();
    world.run(120_000);
    let now = world.now();
    let rebuilt = tidegate_kernel::Kernel::recover(world.fleet.clone(), world.journal.iter().cloned(), now).unwrap();
    assert_eq!(rebuilt.state(), world.kernel.state());
    assert_eq!(rebuilt.state().hash(), world.kernel.state().hash());
}

#[test]
fn no_call_is_made_twice_under_two_keys() {
    let (before, after) = length();
    for at in before + 1..=after {
        let mut world = incident();
        world.crash_at = Some((at, Crash::AfterEffects));
        world.run(30_000);
        world.restart();
        world.run(60_000);
        let mut grown: Vec<&String> =
            world.called.iter().map(|(key, _)| key).filter(|key| key.contains("/grow/")).collect();
        grown.dedup();
        assert!(grown.len() <= 1, "crash after record {at}: {grown:?}");
    }
}

#[test]
fn a_message_not_known_to_be_sent_is_sent_again() {
    let mut world = incident();
    world.run_until(20_000, |world| world.sent.iter().any(|(key, _)| key.starts_with("incident/")));
    let told = world.journal.iter().position(|record| format!("{record:?}").contains("Tell {")).unwrap();
    let mut again = incident();
    again.crash_at = Some((told + 1, Crash::BeforeEffects));
    again.run(30_000);
    assert!(again.sent.is_empty());
    again.restart();
    assert!(again.sent.iter().any(|(key, _)| key == "incident/1"), "{:?}", again.sent);
}
