//! A journal is believed because each record follows from those before it: whatever happened replays clean, and a record
//! that says what the rules do not say is named.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use std::path::PathBuf;

use tidegate_kernel::contract::{Failure, State, Verdict};
use tidegate_kernel::event::{Command, StepOutcome};
use tidegate_kernel::record::{Cause, Change, Record};
use tidegate_kernel::replay::Replay;
use tidegate_kernel::rules;
use tidegate_kernel::saga::{Heading, StepStatus};
use tidegate_kernel::state::{Answer, Pause, RunEnd};
use world::*;

/// What does not follow, by the record's number.
fn strange(journal: &[Record]) -> Vec<(usize, String)> {
    let mut replay = Replay::default();
    let numbered = journal.iter().enumerate();
    numbered.flat_map(|(at, record)| replay.follow(record).into_iter().map(move |why| (at + 1, why))).collect()
}

fn golden() -> Vec<Record> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-v0.1.0.jsonl");
    let text = std::fs::read_to_string(path).expect("the golden journal");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// The site dies and comes back; the way home waits for a person.
fn there_and_back() -> Vec<Record> {
    let mut world = World::settled(fleet(&shop("approval = [\"fail-back\"]")));
    world.dead.insert("east");
    world.run_until(20_000, |world| world.shop().life.state == State::FailedOver);
    world.dead.clear();
    world.run_until(200_000, |world| world.kernel.state().open_questions().count() > 0);
    let question = world.kernel.state().open_questions().next().expect("it asks").id;
    world.order(Command::Approve { question, option: 0 }).expect("approved");
    world.run_until(20_000, |world| world.shop().life.state == State::Normal);
    world.run(3_600_000);
    world.journal
}

/// A command fails before the point of no return: what was done is undone.
fn undone() -> Vec<Record> {
    let more = r#"
runbooks = { fail-over = "mine" }
[runbook.mine]
[[runbook.mine.step]]
name = "grow"
command = "scale"
undo = { command = "scale" }
[[runbook.mine.step]]
name = "grow-again"
command = "scale"
[[runbook.mine.step]]
name = "traffic"
route = true
[command.scale]
argv = ["/usr/bin/scale"]
"#;
    let mut world = World::settled(fleet(&shop(more)));
    world.dead.insert("east");
    world.call_outcomes.extend([done("grown"), StepOutcome::Failed(Failure::Denied("enough".into()))]);
    world.run_until(60_000, |world| world.journal.iter().any(|record| closes(record).is_some()));
    world.journal
}

fn closes(record: &Record) -> Option<&RunEnd> {
    record.transitions.iter().find_map(|transition| match &transition.change {
        Change::RunClosed { end, .. } => Some(end),
        _ => None,
    })
}

/// Changes the first record in which `edit` finds what it looks for; tells its number.
fn edited(journal: &mut [Record], edit: impl Fn(&mut Record) -> bool) -> usize {
    journal.iter_mut().position(edit).expect("there is such a record") + 1
}

/// The same for one change.
fn edited_change(journal: &mut [Record], edit: impl Fn(&mut Change) -> bool) -> usize {
    edited(journal, |record| record.transitions.iter_mut().any(|transition| edit(&mut transition.change)))
}

/// The edit is found, at its record, in words that say what is wrong.
fn found(journal: &[Record], at: usize, words: &str) {
    let strange = strange(journal);
    let (first, why) = strange.first().unwrap_or_else(|| panic!("the edit of record {at} is not found"));
    assert_eq!(*first, at, "{strange:#?}");
    assert!(why.contains(words), "{why}");
}

#[test]
fn the_golden_journal_replays_clean() {
    let journal = golden();
    assert_eq!(strange(&journal), []);
    let mut replay = Replay::default();
    journal.iter().for_each(|record| drop(replay.follow(record)));
    assert!(replay.checkpoints > 0 && replay.transitions > 50, "{replay:?}");
    assert_eq!(replay.version(), "0.1.0");
}

#[test]
fn what_the_worlds_wrote_replays_clean() {
    assert_eq!(strange(&there_and_back()), []);
    let undone = undone();
    assert_eq!((strange(&undone), undone.iter().find_map(closes)), (Vec::new(), Some(&RunEnd::Undone)));
}

#[test]
fn finds_a_verdict_that_was_edited() {
    let mut journal = there_and_back();
    let at = edited(&mut journal, |record| match &mut record.cause {
        Cause::Decided(decided) => match &mut decided.result {
            Ok(decision) if matches!(decision.verdict, Verdict::FailOver(_)) => {
                decision.verdict = Verdict::Hold;
                true
            }
            _ => false,
        },
        _ => false,
    });
    found(&journal, at, "is not what was decided");
}

#[test]
fn finds_a_situation_that_was_edited() {
    let mut journal = there_and_back();
    let at = edited(&mut journal, |record| match &mut record.cause {
        Cause::Decided(decided) => decided.situation.body.as_mut().is_some_and(|body| {
            body.state_held += 1;
            true
        }),
        _ => false,
    });
    found(&journal, at, "its hash is another");
}

#[test]
fn finds_a_life_that_jumped_over_a_row() {
    let mut journal = there_and_back();
    let at = edited_change(&mut journal, |change| match change {
        Change::Life { life, .. } if life.state == State::FailingOver => {
            life.state = State::FailedOver;
            true
        }
        _ => false,
    });
    found(&journal, at, "it makes shop failing-over");
}

#[test]
fn finds_a_place_that_changed_on_the_way() {
    let mut journal = there_and_back();
    let at = edited_change(&mut journal, |change| match change {
        Change::Life { life, .. } if life.state == State::FailingOver => {
            life.active = "north".into();
            true
        }
        _ => false,
    });
    found(&journal, at, "nothing else of it changes");
}

#[test]
fn finds_a_step_that_was_done_without_being_started() {
    let mut journal = there_and_back();
    let at = edited(&mut journal, |record| {
        let before = record.transitions.len();
        record.transitions.retain(|transition| {
            !matches!(&transition.change, Change::Step { state, .. } if state.status == StepStatus::Running)
        });
        record.transitions.len() < before
    });
    let (first, why) = strange(&journal).remove(0);
    assert!(first > at && why.contains("cannot go from Pending to Done"), "{first}: {why}");
}

#[test]
fn finds_a_step_that_was_started_out_of_turn() {
    let mut journal = there_and_back();
    let at = edited_change(&mut journal, |change| match change {
        Change::RunOpened { run } if run.steps.len() > 1 => {
            let needed = run.steps.len() - 1;
            run.steps[0].needs.push(needed);
            true
        }
        _ => false,
    });
    found(&journal, at, "it was not the turn of step 1");
}

#[test]
fn finds_a_step_that_counts_as_done_against_its_outcome() {
    let mut journal = there_and_back();
    let at = edited(&mut journal, |record| match &mut record.cause {
        Cause::Stepped { outcome, .. } if matches!(outcome, StepOutcome::Done(_)) => {
            *outcome = StepOutcome::Unknown("the connection was cut".into());
            true
        }
        _ => false,
    });
    found(&journal, at, "no outcome says Succeeded");
}

#[test]
fn finds_a_run_that_ended_before_its_steps() {
    let mut journal = undone();
    let at = edited_change(&mut journal, |change| match change {
        Change::RunClosed { end, .. } => {
            *end = RunEnd::Done;
            true
        }
        _ => false,
    });
    found(&journal, at, "its steps have not come to that");
}

#[test]
fn finds_a_run_that_turned_back_past_its_point_of_no_return() {
    let mut journal = undone();
    let at = edited(&mut journal, |record| {
        record.transitions.iter_mut().any(|transition| match &mut transition.change {
            Change::RunOpened { run } => {
                run.steps.iter_mut().for_each(|step| step.point_of_no_return = true);
                true
            }
            _ => false,
        })
    });
    let (first, why) = strange(&journal).remove(0);
    assert!(first > at && why.contains("past its point of no return"), "{first}: {why}");
}

#[test]
fn finds_a_run_that_began_by_itself_while_moves_were_paused() {
    let mut journal = there_and_back();
    let opens = |record: &Record| {
        record.transitions.iter().any(|transition| matches!(transition.change, Change::RunOpened { .. }))
    };
    let at = journal.iter().position(opens).unwrap();
    let mut paused = journal[at - 1].clone();
    let pause = Pause { by: "anna".into(), reason: "lunch".into(), since: paused.at };
    let command = Command::Pause { service: None, reason: "lunch".into() };
    paused.cause = Cause::Ordered { by: "anna".into(), command };
    paused.transitions.truncate(1);
    paused.transitions[0].rule = rules::PAUSED;
    paused.transitions[0].change = Change::Pause { service: None, pause: Some(pause) };
    journal.insert(at, paused);
    found(&journal, at + 2, "while moves were paused");
}

#[test]
fn finds_a_move_that_nobody_decided_on_or_ordered() {
    let mut journal = there_and_back();
    let at = edited_change(&mut journal, |change| match change {
        Change::RunOpened { run } if run.by.is_some() => {
            run.by = None;
            true
        }
        _ => false,
    });
    found(&journal, at, "began by itself without a decision");
}

#[test]
fn finds_an_approval_in_somebody_elses_name() {
    let mut journal = there_and_back();
    let at = edited_change(&mut journal, |change| match change {
        Change::Answered { answer: Answer::Approved { by, .. }, .. } => {
            *by = "boris".into();
            true
        }
        _ => false,
    });
    found(&journal, at, "was not answered so");
}

#[test]
fn finds_a_rule_that_does_not_exist_and_one_that_makes_no_such_change() {
    for (rule, words) in [(9_999, "there is no such rule"), (rules::TELL, "makes no such change")] {
        let mut journal = there_and_back();
        let at = edited(&mut journal, |record| {
            record.transitions.iter_mut().any(|transition| {
                let opens = matches!(transition.change, Change::RunOpened { .. });
                if opens {
                    transition.rule = rule;
                }
                opens
            })
        });
        found(&journal, at, words);
    }
}

#[test]
fn finds_records_that_stand_in_another_order() {
    let mut journal = there_and_back();
    let last = journal.len() - 1;
    let time = journal[last - 1].at;
    journal[last].at.mono = time.mono - 1;
    found(&journal, last + 1, "it happened before the record that stands before it");
    assert!(strange(&there_and_back()[1..])[0].1.contains("begins with the start of a host"));
}

#[test]
fn finds_a_state_that_the_records_do_not_add_up_to() {
    let mut journal = there_and_back();
    let checkpoint = journal.iter().rposition(|record| matches!(record.cause, Cause::Checkpoint { .. })).unwrap();
    let at = edited_change(&mut journal[..=checkpoint], |change| match change {
        Change::Incident { incident } => {
            incident.cause.push('!');
            true
        }
        _ => false,
    });
    let (first, why) = strange(&journal).remove(0);
    assert!(first >= at && why.contains("do not add up"), "{first}: {why}");
}

#[test]
fn goes_on_after_what_does_not_follow() {
    let mut journal = undone();
    let at = edited_change(&mut journal, |change| match change {
        Change::RunHeading { heading, .. } => {
            *heading = Heading::Resting;
            true
        }
        _ => false,
    });
    let strange = strange(&journal);
    assert_eq!(strange[0].0, at);
    assert!(strange.len() > 1, "what was built on it does not follow either: {strange:?}");
}
