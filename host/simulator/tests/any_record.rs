//! The host dies at any record of a fail-over, and the one after it brings that to its end, or tells people that it cannot.

#[path = "support/mod.rs"]
mod support;

use tidegate_kernel::event::Command;
use tidegate_kernel::record::{Change, Record};
use tidegate_simulator::fault::{Fault, NodeOf};
use tidegate_simulator::fleets::three_sites;
use tidegate_simulator::{Compiled, Ended, Happening, Script, Simulation, What};

const MINUTE: u64 = 60_000;

/// The database's primary dies for good; a minute later a person may order what the host has not done.
fn night(crash_at_record: Option<usize>, ordered: bool, decider: &mut Compiled) -> Ended {
    let fleet = three_sites().expect("a sound fleet");
    let dies = Fault::NodeDown(NodeOf { cluster: "orders".into(), node: "east".into() });
    let order = Command::Failover { service: "orders".into(), to: None, accept_loss: None };
    let night = [(MINUTE, What::Break(dies)), (2 * MINUTE, What::Order(order))];
    let happens = if ordered { &night[..] } else { &night[..1] };
    let happenings = happens.iter().cloned().map(|(at, what)| Happening { at, lasts: None, what }).collect();
    let script = Script { happenings, length: 4 * MINUTE, crash_at_record, ..Script::default() };
    Simulation::new(&fleet, script, 1).hurried().with_timeline().run(decider)
}

/// Whether the host's last word on the service is that it has been moved.
fn is_moved(ended: &Ended) -> bool {
    let mut lives = ended.journal.iter().flat_map(|record| &record.transitions).filter_map(|transition| {
        let Change::Life { service, life } = &transition.change else { return None };
        (service == "orders").then(|| (life.state.as_str(), life.active.as_str()))
    });
    lives.next_back() == Some(("failed-over", "west"))
}

fn begins_a_run(record: &Record) -> bool {
    record.transitions.iter().any(|transition| matches!(transition.change, Change::RunOpened { .. }))
}

#[test]
fn a_database_is_moved_to_its_end_whichever_record_the_host_dies_at() {
    let mut decider = support::compiled(&three_sites().unwrap(), 1).remove(0);
    let whole = night(None, false, &mut decider);
    assert!(is_moved(&whole) && whole.hits.is_empty(), "{}", whole.timeline.join("\n"));
    let dead = whole.journal.iter().position(|record| record.at.mono >= MINUTE).unwrap();
    let decided = whole.journal.iter().position(begins_a_run).unwrap();
    assert!(dead < decided && decided + 10 < whole.journal.len(), "{dead}, {decided}: {}", whole.journal.len());
    for at in dead + 1..=whole.journal.len() {
        let mut ended = night(Some(at), false, &mut decider);
        let told = ended.timeline.iter().any(|line| line.contains("told on-call: orders: primary never reached"));
        let by_itself = is_moved(&ended);
        if !by_itself && at <= decided && told {
            // The host that is left has never seen the primary alive, and holds until a person says so.
            ended = night(Some(at), true, &mut decider);
        }
        let story = || format!("record {at}: {:#?}\n{}", ended.hits, ended.timeline.join("\n"));
        assert!(ended.timeline.iter().any(|line| line.contains("the host starts again")), "{}", story());
        assert!(ended.hits.is_empty() && is_moved(&ended), "{}", story());
        // The primary never comes back: who goes without for no longer than until then is served in the end.
        let patience = if by_itself { MINUTE } else { MINUTE + MINUTE / 2 };
        assert!(ended.services["orders"].down < patience as f64, "{}", story());
        assert_eq!(ended.lost_writes.get("orders"), Some(&0), "{}", story());
    }
}
