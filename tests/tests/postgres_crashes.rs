//! The host dies at every record that it writes of a run on real PostgreSQL, and starts again: the run ends, there are never two
//! primaries, and nothing is lost, or where commits are asynchronous no more than was said.
//!
//! A run is begun anew for each record: the switch-over by a person's order, the fail-over by the death of the
//! primary's site, the rejoin by its return; the host is killed as soon as the record is on disk, and records that come to the disk
//! together are one crash. `kernel/tests/databases.rs` does the same in virtual time, in both modes, before and after the effects.

use std::sync::{Mutex, PoisonError};

use tidegate_tests::binary::tidegate;
use tidegate_tests::failover::crashes::{Aftermath, During, crash};
use tidegate_tests::failover::stage::{Mode, Stage};

/// One stage sees many moves, one right after the other.
const RESTLESS: [(&str, &str); 3] = [
    ("mode = \"act\"\n", "mode = \"act\"\nwarm-up = \"1s\"\nbrake.incidents = 1000\nbrake.together = \"1s\"\n"),
    ("failback = \"manual\"\n", "failback = \"manual\"\ncooldown = \"1s\"\n"),
    (
        "[secret]\n",
        "[slot.\"failover/default\"]\nplugin = \"builtin:failover-quorum\"\nsettings = { flapping-moves = 1000 }\n[secret]\n",
    ),
];

/// A host that was away counts from when it was there: nobody is to be asked because this machine is slow.
const PATIENT: (&str, &str) = ("rpo = \"10s\"", "rpo = \"60s\"");

/// A stage is three databases with their agents: one at a time has the machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// One writable primary all the time, nothing lost that may not be, and nothing left over.
fn is_sound(mode: Mode, during: During, left: &Aftermath) {
    assert!(left.acknowledged > 0, "nothing was written: {left:?}");
    assert_eq!(left.split_brain_s, 0.0, "{left:?}");
    // A rejoin begins with the death of a primary as well.
    let may_lose = mode == Mode::Asynchronous && during != During::SwitchOver;
    match left.loss_bound_s.filter(|_| may_lose) {
        Some(bound) => assert!(left.lost_s <= bound, "{left:?}"),
        None => assert_eq!(left.lost_rows, 0, "{left:?}"),
    }
    for run in &left.runs {
        let end = run.end.as_ref().and_then(|end| end.as_str());
        assert!(matches!(end, Some("done" | "undone")), "{left:?}");
    }
}

/// One stage for all of them, and one primary after each.
fn crash_at_every_record(mode: Mode) {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut instead = RESTLESS.to_vec();
    if mode == Mode::Asynchronous {
        instead.push(PATIENT);
    }
    let mut stage = Stage::start_with(tidegate(), mode, &instead).expect("a stage");
    for during in [During::FailOver, During::Rejoin, During::SwitchOver] {
        let mut deaths = Vec::new();
        loop {
            let record = deaths.last().map_or(1, |died| died + 1);
            let left = runtime.block_on(crash(&mut stage, during, record)).expect("a run that ends");
            eprintln!("{} at record {}: {left:?}", during.runbook(), left.died_at.records);
            is_sound(mode, during, &left);
            deaths.push(left.died_at.records);
            if left.died_at.end.is_some() {
                break;
            }
        }
        // A rejoin that needs no command comes to the disk in two or three pieces.
        assert!(deaths.len() > 1, "the host died only after {} had ended: {deaths:?}", during.runbook());
    }
}

#[test]
fn a_crash_at_any_record_of_any_run_loses_nothing_and_leaves_one_primary() {
    crash_at_every_record(Mode::Synchronous);
}

#[test]
fn a_crash_at_any_record_of_an_asynchronous_run_loses_no_more_than_was_said_and_leaves_one_primary() {
    crash_at_every_record(Mode::Asynchronous);
}
