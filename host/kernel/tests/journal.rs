//! What the journal holds: little while nothing happens, everything when something does, and readable for ever.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use std::path::PathBuf;

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Decision, Situation, State, Verdict};
use tidegate_kernel::event::{Answered, Effect, Event, JournalHead, Moment};
use tidegate_kernel::record::{Cause, Record};
use world::*;

const HOUR: u64 = 3_600_000;

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-v0.1.0.jsonl")
}

/// A day of everything: a fail-over with an unknown outcome, drift, a question, a pause, a fail-back.
fn eventful() -> World {
    let mut world = World::settled(fleet(&shop("approval = [\"fail-back\"]")));
    world.dead.insert("east");
    world.writes.push_back(Write::DoneUnknown);
    world.run_until(20_000, |world| world.shop().life.state == State::FailedOver);
    world.dead.clear();
    world.run_until(200_000, |world| world.kernel.state().open_questions().count() > 0);
    let question = world.kernel.state().open_questions().next().expect("it asks").id;
    world.order(tidegate_kernel::event::Command::Approve { question, option: 0 }).expect("approved");
    world.run_until(20_000, |world| world.shop().life.state == State::Normal);
    world.order(tidegate_kernel::event::Command::Pause { service: None, reason: "lunch".into() }).expect("paused");
    world.routes.get_mut("shop.example.org").expect("its name")[0].target = "intruder".into();
    world.run_until(200_000, |world| world.shop().drift.is_some());
    world.run(HOUR);
    world
}

#[test]
fn a_journal_of_this_version_is_read_by_every_later_one() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let lines: Vec<String> =
            eventful().journal.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        std::fs::write(golden(), lines.join("\n") + "\n").unwrap();
    }
    let text = std::fs::read_to_string(golden()).unwrap();
    let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kernel = Kernel::recover(fleet(&shop("")), records.clone(), records.last().unwrap().at).unwrap();
    let shop = &kernel.state().services["shop"];
    assert_eq!((shop.life.state, shop.life.epoch, shop.moves.len()), (State::Normal, 2, 2));
    assert!(shop.drift.is_some() && kernel.state().paused.is_some());
    assert!(records.iter().any(|record| matches!(record.cause, Cause::Checkpoint { .. })));
}

#[test]
fn a_journal_that_an_agent_saw_rewritten_is_an_alarm_once_and_on_record_each_time() {
    let mut world = World::settled(fleet(&shop("")));
    let head = |number, hash: &str| JournalHead { number, hash: hash.into() };
    for agent in ["west", "west", "east"] {
        world.give(Event::Rewritten { agent: agent.into(), seen: head(8, "h"), shown: head(7, "x") });
    }
    let told: Vec<&str> = world.sent.iter().map(|(_, subject)| subject.as_str()).collect();
    let said = |agent: &str| format!("agent {agent} remembers record 8 as h, and was shown record 7 as x");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains(&said("west")) && told[1].contains(&said("east")), "{told:?}");
    let recorded = world.journal.iter().filter(|record| matches!(record.cause, Cause::Rewritten { .. })).count();
    assert_eq!(recorded, 3);
}

#[test]
fn a_journal_that_does_not_add_up_is_refused() {
    let mut records = eventful().journal;
    let moved = records.iter().position(|record| format!("{record:?}").contains("RunClosed")).unwrap();
    records.remove(moved);
    let now = records.last().unwrap().at;
    let error = Kernel::recover(fleet(&shop("")), records, now).unwrap_err();
    assert!(error.to_string().contains("nothing was started"), "{error}");
}

/// The quiet fleet: 1,000 services at two sites seen from three, everything well; each policy asks to be asked again every
/// 30 s and says the same in other words; routes are read every minute, readiness every five. Looks are not journaled, so
/// those of the start stand for all. The host starts once; one hour with its checkpoint stands for each of the day's 24.
#[test]
fn a_quiet_fleet_of_1000_services_adds_less_than_10_mb_a_day() {
    fn patient(told: &Situation) -> Result<Decision, String> {
        let mut decision = decision(Verdict::Hold, "well");
        decision.reasons[0].text = format!("well for {} ms", told.state_held);
        decision.ask_again_in = Some(30_000);
        Ok(decision)
    }
    let services: String =
        (0..1_000).map(|n| service(&format!("service-{n:04}"), "").replace("load = 40", "load = 0")).collect();
    let mut world = World::new(fleet_with("mode = \"act\"\nfreshness = \"2h\"", &services));
    world.policy = patient;
    world.run(20_000);
    let start: usize = world.journal.iter().map(|record| serde_json::to_string(record).unwrap().len() + 1).sum();
    let mut quiet = Quiet { world, bytes: 0, records: 0, decisions: 0 };
    quiet.run(HOUR);
    let (bytes, decisions) = (start + 24 * quiet.bytes, quiet.decisions);
    assert!(decisions > 100_000, "the workload was not what it says: {decisions} decisions");
    assert!(quiet.records > 0, "an hour has a checkpoint");
    assert!(bytes < 10_000_000, "{bytes} bytes, of which {start} at the start");
    println!("{bytes} bytes, of which {start} at the start; {decisions} decisions an hour");
}

struct Quiet {
    world: World,
    bytes: usize,
    records: usize,
    decisions: u64,
}

impl Quiet {
    fn run(&mut self, length: u64) {
        let end = self.world.mono + length;
        let mut effects = Vec::new();
        while let Some(due) = self.world.kernel.next_edge().filter(|due| *due < end) {
            self.world.mono = due.max(self.world.mono);
            let now = self.world.now();
            self.world.kernel.handle(now, Event::Tick, &mut effects);
            let mut at = 0;
            while at < effects.len() {
                let effect = effects[at].clone();
                self.answer(effect, now, &mut effects);
                at += 1;
            }
            effects.clear();
        }
    }

    fn answer(&mut self, effect: Effect, now: Moment, effects: &mut Vec<Effect>) {
        let event = match effect {
            Effect::Append(record) => {
                self.bytes += serde_json::to_string(&record).expect("a record can be written").len() + 1;
                self.records += 1;
                return;
            }
            Effect::Decide { ticket, service, situation, .. } => {
                self.decisions += 1;
                let (revision, result) = (self.world.revision.clone(), (self.world.policy)(&situation));
                let answer = Box::new(Answered {
                    revision,
                    settings: "{}".into(),
                    result,
                    reads: Vec::new(),
                    fuel: 1,
                    took_us: 1,
                });
                Event::Decided { ticket, service, answer }
            }
            Effect::CheckReady { service } => Event::ReadyChecked { service, blockers: Vec::new() },
            _ => return,
        };
        self.world.kernel.handle(now, event, effects);
    }
}

#[test]
fn equal_holds_are_counted_and_different_ones_recorded() {
    let mut world = World::settled(fleet(&shop("")));
    let before = world.journal.len();
    world.policy = |told| Ok(Decision { ask_again_in: Some(1_000), ..plain_policy(told)? });
    world.give(Event::Swapped { slot: world.fleet.services[0].policy.clone(), revision: revision(1), probe: false });
    world.run(100_000);
    assert_eq!(world.journal.len(), before + 1, "the swap alone is news");
    let status = world.kernel.service_status("shop", world.now()).unwrap();
    assert!(status.repeated >= 99, "{}", status.repeated);
    world.run(HOUR);
    assert!(world.shop().last.as_ref().unwrap().repeated >= 1_000, "the checkpoint counts them");
}

#[test]
fn settings_are_kept_once_however_often_they_decide() {
    let world = eventful();
    let kept = world.journal.iter().filter_map(|record| match &record.cause {
        Cause::Decided(decided) => Some(decided.settings.as_deref()),
        _ => None,
    });
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept[0], Some("{}"));
    assert!(kept.len() >= 4 && kept[1..].iter().all(Option::is_none), "{kept:?}");
}

#[test]
fn every_decision_of_the_journal_can_be_repeated() {
    let world = eventful();
    let mut repeated = 0;
    for record in &world.journal {
        let Cause::Decided(decided) = &record.cause else { continue };
        let told = decided.situation.body.as_ref().expect("stored with its first record");
        assert_eq!(tidegate_kernel::state::content_hash(told), decided.situation.hash);
        assert_eq!(plain_policy(told), decided.result);
        repeated += 1;
    }
    assert!(repeated >= 4, "{repeated}");
}
