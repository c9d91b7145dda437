//! Each checker is shown to fire on a mutant: a world or a host in which just that is not as it should be.

#[path = "support/mod.rs"]
mod support;

use tidegate_kernel::event::Command;
use tidegate_simulator::checkers::{Checker, Mutant};
use tidegate_simulator::fault::{At, Between, Fault, NodeOf};
use tidegate_simulator::fleets::three_sites;
use tidegate_simulator::{Ended, Happening, Script, Simulation, What};

const MINUTE: u64 = 60_000;

/// What happens, by the minute.
type Night = Vec<(u64, What)>;

fn play(mutants: &[Mutant], night: Night, length: u64) -> Ended {
    let fleet = three_sites().expect("a sound fleet");
    let mut decider = support::compiled(&fleet, 1).remove(0);
    let happenings = night.into_iter().map(|(at, what)| Happening { at: at * MINUTE, lasts: Some(3 * MINUTE), what });
    let script = Script { happenings: happenings.collect(), length, mutants: mutants.to_vec(), ..Script::default() };
    Simulation::new(&fleet, script, 1).with_timeline().run(&mut decider)
}

#[test]
fn every_checker_fires_on_its_mutant_and_not_without() {
    let switch = |service: &str| What::Order(Command::Switchover { service: service.into(), to: Some("west".into()) });
    let shop_dies = What::Break(Fault::ServiceDown(At { service: "shop".into(), site: "east".into() }));
    let others = vec!["west".to_owned(), "north".to_owned()];
    let alone = What::Break(Fault::Cut(Between { from: vec!["east".into()], to: others, one_way: false }));
    let hangs = What::Break(Fault::NodeHangs(NodeOf { cluster: "orders".into(), node: "east".into() }));
    let events = vec![(1, switch("events"))];
    let table: [(Checker, &[Mutant], Night, u64); 9] = [
        (Checker::UnprovenPromotion, &[Mutant::FenceLies], events.clone(), 10),
        (Checker::SplitBrain, &[Mutant::FenceLies], events.clone(), 10),
        (Checker::LossBeyondBound, &[Mutant::FenceLies], events.clone(), 10),
        (Checker::TwoInOneEpoch, &[Mutant::FenceLies, Mutant::TimelineKept], events, 10),
        (Checker::WriteLost, &[Mutant::AcknowledgesAlone], vec![(1, alone)], 10),
        (Checker::NameEmpty, &[Mutant::RoutesEmptied], vec![(1, shop_dies.clone())], 10),
        (Checker::TowardsFenced, &[Mutant::RoutesToTheFenced], vec![(1, hangs)], 10),
        (Checker::StuckSilently, &[Mutant::HostAsleep], vec![(1, shop_dies.clone())], 10),
        (
            Checker::Unrecoverable,
            &[Mutant::RecordsForgotten],
            vec![(1, shop_dies), (90, What::Break(Fault::HostDown))],
            100,
        ),
    ];
    for (checker, mutants, night, minutes) in table {
        let honest = play(&[], night.clone(), minutes * MINUTE);
        assert!(honest.hits.is_empty(), "{checker}: {:#?}", honest.hits);
        let mutant = play(mutants, night, minutes * MINUTE);
        let fired = mutant.hits.iter().any(|hit| hit.checker == checker);
        if checker == Checker::WriteLost {
            // Not only at the end, by counting: when the first client does not find what it was told is there.
            let missed = mutant.hits.iter().find(|hit| hit.text.contains("clients that read at "));
            assert!(missed.is_some_and(|hit| hit.at < 2 * MINUTE), "{:#?}", mutant.hits);
        }
        assert!(fired, "{checker} does not fire on {mutants:?}: {:#?}\n{}", mutant.hits, mutant.timeline.join("\n"));
    }
}
