//! What a fault costs a client of real PostgreSQL: nothing that was promised. The figures are the bench's; here is what has to hold on
//! a slow machine too.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_tests::binary::tidegate;
use tidegate_tests::failover::faults::Fault;
use tidegate_tests::failover::round::{self, Findings, play_on};
use tidegate_tests::failover::stage::{Mode, Stage};

/// A stage is three databases with their agents: one at a time has the machine.
static MACHINE: Mutex<()> = Mutex::new(());

/// What the wake-up of a frozen machine may let slip, with room for a busy one: 0.1 s is promised.
const AWAKE_S: f64 = 0.5;

const IDLE: Duration = Duration::from_secs(15);

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().expect("a runtime")
}

/// Plays these, one after another, on one stage.
fn play(mode: Mode, faults: &[Fault]) -> Vec<Findings> {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = runtime();
    let mut stage = Stage::start(tidegate(), mode).expect("a stage");
    let play = |fault: &Fault| {
        let findings = runtime.block_on(play_on(&mut stage, *fault)).expect("a round that ends");
        eprintln!("{} {}: {findings:?}", mode.name(), fault.name());
        assert!(findings.acknowledged > 0, "nothing was written");
        findings
    };
    faults.iter().map(play).collect()
}

fn nothing_is_lost(findings: &Findings) {
    assert_eq!((findings.lost_rows, findings.split_brain_s), (0, 0.0), "{findings:?}");
}

/// The lost ones are the last before the outage, and no more of them than was said beforehand.
fn no_more_is_lost_than_was_said(findings: &Findings) {
    let bound = findings.loss_bound_s.expect("a bound was printed");
    assert!(findings.lost_s <= bound, "{findings:?}");
}

/// Nothing moves, and the client is served while it lasts.
fn stays(fault: Fault, findings: &Findings) {
    assert!(!findings.moved && findings.outage_s < fault.lasts().as_secs_f64(), "{fault:?}: {findings:?}");
    nothing_is_lost(findings);
}

#[test]
fn a_synchronous_primary_that_dies_or_hangs_is_replaced_on_its_standbys_word_and_nothing_is_lost() {
    for fault in [Fault::Kill, Fault::Hang] {
        // Each has returned as a standby, else the round would not have ended.
        let findings = &play(Mode::Synchronous, &[fault])[0];
        assert!(findings.moved, "{findings:?}");
        assert_eq!(findings.proof.as_deref(), Some("standby-quorum"), "{findings:?}");
        nothing_is_lost(findings);
    }
}

#[test]
fn an_asynchronous_primary_that_dies_is_replaced_after_its_lease_and_loses_no_more_than_was_said() {
    let findings = &play(Mode::Asynchronous, &[Fault::Kill])[0];
    assert!(findings.moved, "{findings:?}");
    assert_eq!(findings.proof.as_deref(), Some("lease"), "{findings:?}");
    assert_eq!(findings.split_brain_s, 0.0, "{findings:?}");
    no_more_is_lost_than_was_said(findings);
}

#[test]
fn a_primary_that_is_cut_off_with_its_clients_is_replaced_and_never_do_two_acknowledge() {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    for (mode, proof) in [(Mode::Synchronous, "standby-quorum"), (Mode::Asynchronous, "lease")] {
        let findings = round::play(tidegate(), Fault::Cut, mode).expect("a round that ends");
        eprintln!("{} cut: {findings:?}", mode.name());
        assert!(findings.moved, "{findings:?}");
        assert_eq!(findings.proof.as_deref(), Some(proof), "{findings:?}");
        assert_eq!(findings.split_brain_s, 0.0, "{findings:?}");
        match mode {
            Mode::Synchronous => nothing_is_lost(&findings),
            Mode::Asynchronous => no_more_is_lost_than_was_said(&findings),
        }
    }
}

#[test]
fn an_asynchronous_primary_that_wakes_up_is_ended_by_its_enforcer_at_once() {
    let findings = &play(Mode::Asynchronous, &[Fault::Hang])[0];
    assert!(findings.moved, "{findings:?}");
    assert!(findings.split_brain_s < AWAKE_S, "{findings:?}");
}

#[test]
fn what_is_not_the_loss_of_the_primary_moves_nothing_and_an_ordered_move_loses_nothing() {
    let beside = [Fault::AgentKill, Fault::HostKill, Fault::StandbyKill];
    for (mode, silent) in [(Mode::Synchronous, Fault::AgentPause), (Mode::Asynchronous, Fault::VantageCut)] {
        let faults = [&beside[..], &[silent, Fault::Switchover]].concat();
        let findings = play(mode, &faults);
        let (last, others) = findings.split_last().expect("rounds");
        faults.iter().zip(others).for_each(|(fault, findings)| stays(*fault, findings));
        assert!(last.moved, "{last:?}");
        nothing_is_lost(last);
    }
}

#[test]
fn an_idle_primary_stays_where_it_is() {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start(tidegate(), Mode::Asynchronous).expect("a stage");
    // Nobody writes but the host's heartbeat, for many times as long as it takes to find a primary dead.
    runtime().block_on(async { tokio::time::sleep(IDLE).await });
    assert_eq!(stage.primary().expect("the host answers"), 0);
    assert_eq!(stage.ask(&["run", "list", "--json"]).expect("the host answers"), serde_json::json!([]));
}
