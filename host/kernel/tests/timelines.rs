//! Whole incidents through the kernel's door, each as a timeline that a person can read and check.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes the files anew; read the difference before believing it.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use std::path::PathBuf;

use tidegate_kernel::contract::State;
use world::*;

#[track_caller]
fn check(name: &str, world: &World) {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.timeline"));
    let seen = world.timeline.join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &seen).expect("a writable checkout");
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(seen, golden, "{} differs; this was seen:\n{seen}", file.display());
}

#[test]
fn one_vantage_point_cut_off_moves_nothing() {
    let mut world = World::settled(fleet(&shop("")));
    world.say("west's agent is cut off");
    world.cut_off.insert("west");
    world.run(60_000);
    world.say("and back");
    world.cut_off.clear();
    world.run(30_000);
    assert!(world.written.is_empty());
    assert_eq!(world.shop().life.state, State::Normal);
    check("vantage-cut-off", &world);
}

#[test]
fn a_dead_site_is_left_and_come_back_to() {
    let mut world = World::settled(fleet(&shop("")));
    world.say("east dies");
    world.dead.insert("east");
    world.run_until(10_000, |world| world.shop().life.state == State::FailedOver);
    world.run(60_000);
    world.say("east is back");
    world.dead.clear();
    world.run_until(120_000, |world| world.shop().life.state == State::Normal);
    assert_eq!(world.routes["shop.example.org"][0].target, "shop-east");
    check("site-dies-and-returns", &world);
}

#[test]
fn an_active_active_service_shares_out_what_a_site_had() {
    let mut world = World::settled(fleet(&shared("shop")));
    world.say("east dies");
    world.dead.insert("east");
    world.run_until(10_000, |world| world.shop().life.state == State::FailedOver);
    world.say("east is back");
    world.dead.clear();
    world.run_until(120_000, |world| world.shop().life.state == State::Normal);
    check("active-active", &world);
}
