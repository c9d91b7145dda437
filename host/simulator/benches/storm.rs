//! How fast the simulator is with the compiled policy: quiet hours with a disaster a day on one core, and a storm on all of them.
//! Prints one JSON object for each figure.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use serde_json::json;
use tidegate_kernel::event::Command;
use tidegate_kernel::fleet::{Fleet, Service};
use tidegate_simulator::fleets::three_sites;
use tidegate_simulator::storm::{Storm, disaster};
use tidegate_simulator::{Happening, Script, Simulation, What};

const DAY: u64 = 86_400_000;
const DAYS: u64 = 30;
const DISASTERS: u64 = 10_000;

fn main() {
    let fleet = three_sites().unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut deciders = support::compiled(&fleet, threads);
    let (mut hours, mut events) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let script = a_disaster_a_day(round);
        let begun = Instant::now();
        let ended = Simulation::new(&fleet, script, round).hurried().run(&mut deciders[0]);
        let took = begun.elapsed().as_secs_f64();
        hours.push(ended.simulated as f64 / 3_600_000.0 / took);
        events.push(ended.events as f64 / took);
    }
    figure("simulated-hours", "1/s", &mut hours);
    figure("simulated-events", "1/s", &mut events);
    let begun = Instant::now();
    let card = Storm { fleet, seed: 1, runs: DISASTERS }.play(deciders, &|_| {});
    figure("storm-10000", "s", &mut [begun.elapsed().as_secs_f64()]);
    figure("storm-checker-hits", "1", &mut [card.checker_hits as f64]);
}

/// Each as a storm draws it, each on a day of its own; two hours later people have answered, put right and brought home.
fn a_disaster_a_day(round: u64) -> Script {
    let fleet = three_sites().unwrap();
    let of_a_day = |day: u64| {
        let mut happenings = disaster(&fleet, round * DAYS + day).happenings;
        for happening in &mut happenings {
            happening.at += day * DAY;
            // What is never mended would make every later day another one.
            happening.lasts = happening.lasts.or(Some(600_000));
        }
        happenings.extend(people(&fleet, day * DAY + DAY / 12));
        happenings
    };
    Script { happenings: (0..DAYS).flat_map(of_a_day).collect(), length: DAYS * DAY, ..Script::default() }
}

fn people(fleet: &Fleet, at: u64) -> Vec<Happening> {
    let happening = |after: u64, what: What| Happening { at: at + after, lasts: None, what };
    let each = |service: &Service| {
        let service = || service.name.clone();
        [
            happening(0, What::Approve(service())),
            happening(60_000, What::Order(Command::Reapply { service: service() })),
            happening(120_000, What::Order(Command::Failback { service: service(), to: None })),
        ]
    };
    let rearm = happening(0, What::Order(Command::Rearm { note: "looked at it".into() }));
    fleet.services.iter().flat_map(each).chain([rearm]).collect()
}

fn figure(name: &str, unit: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (min, max) = (values[0], values[values.len() - 1]);
    let median = values[values.len() / 2];
    println!("{}", json!({ "name": name, "unit": unit, "median": median, "min": min, "max": max, "n": values.len() }));
}
