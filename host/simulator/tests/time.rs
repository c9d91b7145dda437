//! Time that is passed over: whatever a policy waits for happens when it would have happened.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;

use tidegate_kernel::contract::Millis;
use tidegate_kernel::fleet::{Fleet, parse};
use tidegate_kernel::record::Change;
use tidegate_simulator::fleets::three_sites;
use tidegate_simulator::scenario::Scenario;
use tidegate_simulator::storm::disaster;
use tidegate_simulator::{Compiled, Ended, Simulation};

const HOUR: Millis = 3_600_000;

/// A move: which, where to and when.
type Moved = (String, Millis);

#[test]
fn a_policy_that_acts_by_the_time_of_day_acts_at_its_hour() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy-follow-the-sun/scenarios");
    let path = directory.join("afternoon.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let fleet = |name: &str| {
        parse(&directory.join(name), &|path| std::fs::read_to_string(path)).map_err(|found| format!("{found:#?}"))
    };
    let scenario = Scenario::parse(&path, &text, &fleet).unwrap_or_else(|found| panic!("{found:#?}"));
    let (bytes, settings) = (tidegate_plugins::examples::policy_follow_the_sun(), scenario.settings.clone().unwrap());
    let mut decider = support::compiled_from(bytes, &settings, &scenario.fleet, 1).remove(0);
    let judged = scenario.play(&mut decider);
    assert!(judged.failures.is_empty(), "{:#?}\n{}", judged.failures, judged.ended.timeline.join("\n"));

    // In a storm's hurry as well.
    let script = scenario.script.clone();
    let hurried = Simulation::new(&scenario.fleet, script, 1).hurried().run(&mut decider);
    let moved = moves(&hurried);
    assert!(moved.len() == 1 && (4 * HOUR..4 * HOUR + 5_000).contains(&moved[0].1), "{moved:?}");
    assert!(hurried.events < 20_000, "six quiet hours are not looked at second by second: {}", hurried.events);
}

/// Some dozens of disasters, in each of which something is moved.
const SEEDS: std::ops::Range<u64> = 1..37;
/// A policy that watches is asked so much later in a hurry, and the one that it waited for as well.
const LATE: Millis = 6_000;

#[test]
fn a_storm_in_a_hurry_moves_the_same_as_one_with_all_the_time_in_the_world() {
    let fleet = three_sites().unwrap();
    let deciders = support::compiled(&fleet, 2);
    let different: Vec<String> = std::thread::scope(|scope| {
        let compare = |(at, mut decider): (usize, Compiled)| {
            let fleet = &fleet;
            scope.spawn(move || {
                SEEDS.skip(at).step_by(2).filter_map(|seed| difference(fleet, seed, &mut decider)).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = deciders.into_iter().enumerate().map(compare).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn difference(fleet: &Fleet, seed: u64, decider: &mut Compiled) -> Option<String> {
    let play = |hurried: bool, decider: &mut Compiled| {
        let simulation = Simulation::new(fleet, disaster(fleet, seed), seed);
        moves(&if hurried { simulation.hurried() } else { simulation }.run(decider))
    };
    let (patient, hurried) = (play(false, decider), play(true, decider));
    let alike = |(one, other): (&Moved, &Moved)| one.0 == other.0 && one.1.abs_diff(other.1) <= LATE;
    let same = patient.len() == hurried.len() && patient.iter().zip(&hurried).all(alike);
    (!same).then(|| format!("seed {seed}: {patient:?}\n  in a hurry: {hurried:?}"))
}

/// Every move, by itself or by order, with its service and where it led.
fn moves(ended: &Ended) -> Vec<Moved> {
    let moved = |change: &Change| match change {
        Change::RunOpened { run } if run.moves() => Some(format!("{} of {} to {}", run.kind, run.service, run.to)),
        _ => None,
    };
    let of_a_record = |record: &tidegate_kernel::record::Record| {
        let moves: Vec<String> = record.transitions.iter().filter_map(|transition| moved(&transition.change)).collect();
        let at = record.at.mono;
        moves.into_iter().map(move |what| (what, at))
    };
    let mut all: Vec<Moved> = ended.journal.iter().flat_map(of_a_record).collect();
    // Two that begin within the same seconds may change places.
    all.sort();
    all
}
