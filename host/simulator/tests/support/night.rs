//! A night of the built-in fleet under the built-in policy, in which no invariant may be broken.

use tidegate_simulator::fault::Fault;
use tidegate_simulator::fleets::three_sites;
use tidegate_simulator::{Ended, Happening, Script, Simulation, What};

use crate::support;

/// What breaks, from when to when.
pub(crate) type Night = Vec<(u64, u64, Fault)>;

#[track_caller]
pub(crate) fn play(night: Night, length: u64) -> Ended {
    let fleet = three_sites().expect("a sound fleet");
    let mut decider = support::compiled(&fleet, 1).remove(0);
    let happening = |(from, to, fault)| Happening { at: from, lasts: Some(to - from), what: What::Break(fault) };
    let script = Script { happenings: night.into_iter().map(happening).collect(), length, ..Script::default() };
    let ended = Simulation::new(&fleet, script, 1).with_timeline().run(&mut decider);
    assert!(ended.hits.is_empty(), "{:#?}\n{}", ended.hits, ended.timeline.join("\n"));
    ended
}
