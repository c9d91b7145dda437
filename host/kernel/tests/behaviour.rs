//! What the host does and does not do, each as one claim, through the kernel's door.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use tidegate_kernel::contract::{Decision, Endpoint, Failure, Reason, Situation, State, Status, Verdict};
use tidegate_kernel::event::{Command, Event, QuestionId, Refused, RunId, StepOutcome};
use tidegate_kernel::saga::Heading;
use tidegate_kernel::state::{Ruling, RunEnd};
use tidegate_kernel::view::Movable;
use world::*;

const HOUR: u64 = 3_600_000;

fn dying(services: &str) -> World {
    let mut world = World::settled(fleet(services));
    world.dead.insert("east");
    world
}

fn held_by(world: &World) -> Vec<String> {
    match world.shop().last.as_ref().map(|last| &last.ruling) {
        Some(Ruling::Hold(reasons)) => reasons.iter().map(|reason| reason.code.clone()).collect(),
        _ => Vec::new(),
    }
}

fn codes(refused: &Refused) -> Vec<&str> {
    refused.reasons.iter().map(|reason| reason.code.as_str()).collect()
}

fn failover(to: Option<&str>) -> Command {
    Command::Failover { service: "shop".into(), to: to.map(Into::into), accept_loss: None }
}

#[test]
fn a_write_that_fails_before_the_point_of_no_return_is_undone() {
    let mut world = World::settled(fleet(&shop("")));
    world.writes.extend([Write::Fails; 4]);
    world.order(failover(Some("west"))).unwrap();
    world.run(30_000);
    let run = &world.kernel.state().runs[&RunId(0)];
    assert_eq!((run.kind.as_str(), run.end.clone()), ("switch-over", Some(RunEnd::Undone)));
    assert_eq!(world.routes["shop.example.org"][0].target, "shop-east");
    assert_eq!(world.shop().life.state, State::Normal);
    assert!(world.sent.iter().any(|(_, subject)| subject.contains("was undone")));
}

#[test]
fn a_write_that_fails_at_the_point_of_no_return_rests_and_calls_a_person() {
    let mut world = dying(&shop(""));
    world.writes.extend([Write::Fails; 4]);
    world.run(60_000);
    let run = world.kernel.run(RunId(0), world.now()).unwrap();
    assert_eq!(run.heading, Heading::Resting);
    assert!(run.past_point_of_no_return);
    assert!(run.words.iter().any(|word| word == "tidegate run retry r0"), "{:?}", run.words);
    assert_eq!(world.kernel.state().open_questions().count(), 1);
    let no = world.order(Command::Undo { run: RunId(0) }).unwrap_err();
    assert_eq!((no.by_guard, codes(&no)), (true, vec!["point-of-no-return"]));
    world.order(Command::Retry { run: RunId(0) }).unwrap();
    world.run(1_000);
    assert_eq!(world.shop().life.state, State::FailedOver);
    assert_eq!(world.kernel.state().open_questions().count(), 0);
}

#[test]
fn a_move_that_rests_because_the_name_servers_are_silent_goes_on_when_they_answer() {
    for told in [StepOutcome::Unknown("no answer".into()), StepOutcome::Failed(Failure::Rejected("refused".into()))] {
        let mut world = dying(&shop(""));
        world.silence = Some(told.clone());
        world.run(400_000);
        assert_eq!(world.kernel.state().runs[&RunId(0)].heading, Heading::Resting, "{told:?}");
        assert_eq!(world.kernel.state().open_questions().count(), 1, "{told:?}: a person is asked once");
        assert!(world.written.is_empty(), "{told:?}");
        world.silence = None;
        world.run(20_000);
        assert_eq!(world.shop().life.state, State::FailedOver, "{told:?}");
        assert_eq!(world.written.len(), 1, "{told:?}");
        assert_eq!(world.kernel.state().open_questions().count(), 0, "{told:?}");
        assert!(world.replies.is_empty(), "nobody ordered anything");
    }
}

#[test]
fn an_unknown_outcome_is_read_back_before_anything_else() {
    for (write, writes) in [(Write::DoneUnknown, 1), (Write::LostUnknown, 1)] {
        let mut world = dying(&shop(""));
        world.writes.push_back(write);
        world.run(20_000);
        assert_eq!(world.shop().life.state, State::FailedOver, "{write:?}");
        assert_eq!(world.routes["shop.example.org"][0].target, "shop-west", "{write:?}");
        assert_eq!(world.written.len(), writes, "{write:?}: written once, whatever the answer was");
    }
}

#[test]
fn a_run_at_rest_can_be_finished_by_hand() {
    let mut world = dying(&shop(""));
    world.writes.extend([Write::Fails; 4]);
    world.run(60_000);
    world.order(Command::FinishByHand { run: RunId(0), note: "typed it into the zone".into() }).unwrap();
    assert_eq!(world.kernel.state().open_runs().count(), 0);
    assert_eq!(world.shop().life.active, "west");
}

#[test]
fn a_policy_that_fails_holds_and_is_announced() {
    for fault in ["trap: unreachable", "out of fuel"] {
        let mut world = World::settled(fleet(&shop("")));
        world.policy =
            if fault == "out of fuel" { |_| Err("out of fuel".into()) } else { |_| Err("trap: unreachable".into()) };
        world.dead.insert("east");
        world.run(60_000);
        assert!(world.written.is_empty());
        assert_eq!(world.shop().last.as_ref().unwrap().fault.as_deref(), Some(fault));
        let alarms = world.sent.iter().filter(|(key, _)| key.starts_with("policy-fault/")).count();
        assert_eq!(alarms, 1, "one alarm, however often it failed");
        world.policy = plain_policy;
        world.run(70_000);
        assert_eq!(world.shop().life.state, State::FailedOver, "it is asked again by itself");
    }
}

#[test]
fn a_fault_empties_the_memo() {
    fn remembers(told: &Situation) -> Result<Decision, String> {
        if told.memo == "seen" && told.sites[0].services_unhealthy > 0 {
            return Err("trap".into());
        }
        Ok(Decision { memo: "seen".into(), ..plain_policy(told)? })
    }
    let mut world = World::settled(fleet(&shop("")));
    world.policy = remembers;
    world.give(Event::Swapped { slot: "failover/default".into(), revision: revision(1), probe: false });
    assert_eq!(world.shop().memo.as_ref().unwrap().text, "seen");
    world.dead.insert("east");
    world.run(10_000);
    assert_eq!(world.shop().life.state, State::FailedOver, "with an empty memo it can answer again");
}

#[test]
fn an_answer_from_before_a_change_or_by_an_old_revision_counts_for_nothing() {
    let mut world = World::settled(fleet(&shop("")));
    world.slow_policy = Some(Vec::new());
    world.dead.insert("east");
    world.run(5_000);
    let slot = world.fleet.services[0].policy.clone();
    let (_, old) = world.slow_policy.replace(Vec::new()).unwrap().remove(0);
    world.revision = revision(2);
    world.give(Event::Swapped { slot, revision: revision(2), probe: false });
    world.give(old);
    assert!(world.written.is_empty(), "the old revision's word moved something");
    let (_, fresh) = world.slow_policy.take().unwrap().remove(0);
    world.give(fresh);
    world.run(1_000);
    assert_eq!(world.shop().life.state, State::FailedOver);
    assert_eq!(world.shop().moves.len(), 1);
}

#[test]
fn an_answer_is_taken_once() {
    let mut world = World::settled(fleet(&shop("")));
    world.slow_policy = Some(Vec::new());
    world.dead.insert("east");
    world.run(5_000);
    let kept = world.slow_policy.take().unwrap();
    for (_, event) in kept.iter().cloned().chain(kept.iter().cloned()) {
        world.give(event);
    }
    world.run(5_000);
    assert_eq!(world.kernel.state().runs.len(), 1);
}

#[test]
fn drift_holds_automatic_moves_until_a_person_settles_it() {
    let elsewhere = vec![Endpoint { site: String::new(), target: "intruder".into(), weight: 100 }];
    for settle in [Command::Reapply { service: "shop".into() }, Command::Adopt { service: "shop".into() }] {
        let mut world = World::settled(fleet(&shop("")));
        let ours = world.routes.insert("shop.example.org".into(), elsewhere.clone()).unwrap();
        world.run_until(90_000, |world| world.shop().drift.is_some());
        world.dead.insert("east");
        world.run(30_000);
        assert_eq!(held_by(&world), ["drift"]);
        assert_eq!(codes(&world.order(failover(Some("west"))).unwrap_err()), ["drift"], "a person neither");
        let adopting = matches!(settle, Command::Adopt { .. });
        let answer = world.order(settle);
        if adopting {
            assert_eq!(codes(&answer.unwrap_err()), ["foreign-target"]);
            world.routes.insert("shop.example.org".into(), ours);
            world.run(90_000);
        }
        world.run(90_000);
        assert_eq!(world.shop().drift, None);
        assert_eq!(world.shop().life.state, State::FailedOver);
    }
}

#[test]
fn adopting_what_a_person_changed_by_hand_moves_the_service_there() {
    let mut world = World::settled(fleet(&shop("")));
    let west = vec![Endpoint { site: String::new(), target: "shop-west".into(), weight: 1 }];
    world.routes.insert("shop.example.org".into(), west);
    world.run_until(90_000, |world| world.shop().drift.is_some());
    world.order(Command::Adopt { service: "shop".into() }).unwrap();
    assert_eq!(world.shop().life.active, "west");
    assert!(matches!(world.shop().life.state, State::FailedOver | State::FailingBack));
}

#[test]
fn a_name_that_was_never_ours_is_shown_and_not_overwritten() {
    let mut world = World::new(fleet(&shop("")));
    world.routes.clear();
    world.journal.clear();
    world.restart();
    world.run(20_000);
    assert!(world.shop().drift.as_ref().unwrap().expected.is_empty());
    world.order(Command::Reapply { service: "shop".into() }).unwrap();
    world.run(1_000);
    assert_eq!(world.routes["shop.example.org"][0].target, "shop-east");
    assert_eq!(world.shop().drift, None);
}

#[test]
fn more_incidents_than_allowed_trip_the_brake_until_a_person_re_arms() {
    /// Each service leaves for a cause of its own, and much later than the one before: together they would be one incident.
    fn restless(told: &Situation) -> Result<Decision, String> {
        let patience =
            ["shop", "api", "blog"].iter().position(|name| *name == told.service).unwrap_or(0) as u64 * 15_000;
        let mut decision = plain_policy(told)?;
        decision.analysis = format!("cause-of-{}", told.service);
        let waits = told.sites.iter().any(|s| s.consensus.status == Status::Unhealthy && s.consensus.held < patience);
        if waits && decision.verdict.moves() {
            decision.verdict = Verdict::Hold;
            decision.ask_again_in = Some(1_000);
        }
        Ok(decision)
    }
    let services = ["shop", "api", "blog"].map(|name| service(name, "").replace("load = 40", "load = 10")).concat();
    let host = "mode = \"act\"\nbrake = { incidents = 2, window = \"1h\", together = \"10s\" }";
    let mut world = World::settled(fleet_with(host, &services));
    world.policy = restless;
    world.dead.insert("east");
    world.run(50_000);
    let away = |world: &World| world.kernel.state().services.values().filter(|s| s.life.active == "west").count();
    assert_eq!(away(&world), 2);
    assert!(world.kernel.state().brake.is_some());
    assert!(world.sent.iter().any(|(key, _)| key.starts_with("brake/")));
    world.order(Command::Rearm { note: "looked at it".into() }).unwrap();
    world.run(10_000);
    assert_eq!(away(&world), 3);
}

#[test]
fn one_incident_moves_all_its_services_and_is_told_once() {
    let services: String = (0..10).map(|n| service(&format!("s{n}"), "").replace("load = 40", "load = 5")).collect();
    let mut world = World::settled(fleet(&services));
    world.dead.insert("east");
    world.run(20_000);
    assert!(world.kernel.state().services.values().all(|service| service.life.active == "west"));
    assert_eq!(world.kernel.state().incidents.len(), 1);
    assert_eq!(world.sent.iter().filter(|(key, _)| key == "incident/1").count(), 1);
    assert!(world.kernel.state().brake.is_none());
}

#[test]
fn what_does_not_fit_stays() {
    let services = ["shop", "api", "blog"].map(|name| service(name, "")).concat();
    let mut world = World::settled(fleet(&services));
    world.dead.insert("east");
    world.run(30_000);
    let states: Vec<&str> = world.kernel.state().services.values().map(|s| s.life.active.as_str()).collect();
    assert_eq!(states.iter().filter(|site| **site == "west").count(), 2, "3 × 40 % do not fit");
    let status = world.kernel.status(world.now());
    let stayed = status.services.iter().find(|service| service.active_site == "east").unwrap();
    assert!(matches!(&stayed.movable, Movable::No(why) if why.iter().any(|reason| reason.code == "capacity")));
}

#[test]
fn two_failure_domains_bad_together_freeze_and_one_alone_does_not() {
    let services = service("shop", "") + &service("other", "").replace("at.west", "at.north");
    let mut world = World::settled(fleet(&services));
    world.dead.extend(["east"]);
    world.run(5_000);
    assert!(world.kernel.state().freeze.is_none(), "one domain is a disaster, not a doubt");
    let mut world = World::settled(fleet(&services));
    world.unsound.extend(["east", "west"]);
    world.run(5_000);
    assert!(world.kernel.state().freeze.is_some(), "control targets fail in two domains");
    world.unsound.clear();
    world.dead.insert("east");
    world.run(20_000);
    assert_eq!(held_by(&world), ["frozen"]);
    world.order(Command::Rearm { note: "it was the uplink".into() }).unwrap();
    world.run(5_000);
    assert_eq!(world.shop().life.state, State::FailedOver);
}

#[test]
fn a_pause_holds_automatic_moves_and_no_persons() {
    let mut world = World::settled(fleet(&shop("")));
    world.order(Command::Pause { service: None, reason: "network work".into() }).unwrap();
    world.dead.insert("east");
    world.run(20_000);
    assert_eq!(held_by(&world), ["paused"]);
    world.order(failover(None)).unwrap();
    world.run(1_000);
    assert_eq!(world.shop().life.active, "west");
}

#[test]
fn observing_decides_and_does_nothing() {
    let mut world = World::settled(fleet_with("mode = \"observe\"", &shop("")));
    world.dead.insert("east");
    world.run(30_000);
    assert_eq!(held_by(&world), ["observe-only"]);
    assert!(world.written.is_empty());
    assert_eq!(codes(&world.order(failover(Some("west"))).unwrap_err()), ["observe-only"]);
}

#[test]
fn what_needs_a_person_is_asked_and_done_when_approved() {
    for more in ["approval = [\"fail-over\"]", "failover = \"manual\""] {
        let text = shop(more);
        let text = if more.starts_with("failover") { text.replacen("failover = \"automatic\"\n", "", 1) } else { text };
        let mut world = World::settled(fleet(&text));
        world.dead.insert("east");
        world.run(20_000);
        assert!(world.written.is_empty(), "{more}");
        let question = world.kernel.state().open_questions().next().expect("it asks").id;
        world.order(Command::Approve { question, option: 0 }).unwrap();
        world.run(1_000);
        assert_eq!(world.shop().life.active, "west", "{more}");
        assert_eq!(world.kernel.state().open_questions().count(), 0);
    }
}

#[test]
fn a_refusal_is_not_asked_again_at_once_and_a_recovery_withdraws_the_question() {
    let text = shop("approval = [\"fail-over\"]");
    let mut world = World::settled(fleet(&text));
    world.dead.insert("east");
    world.run(10_000);
    world.order(Command::Reject { question: QuestionId(0), reason: "we wait".into() }).unwrap();
    world.run(60_000);
    assert_eq!(world.kernel.state().next_question, 1, "asked once");
    let mut world = World::settled(fleet(&text));
    world.dead.insert("east");
    world.run(10_000);
    world.dead.clear();
    world.run(10_000);
    assert_eq!(world.kernel.state().open_questions().count(), 0);
    let late = world.order(Command::Approve { question: QuestionId(0), option: 0 }).unwrap_err();
    assert!(!late.by_guard);
    assert!(world.written.is_empty());
}

#[test]
fn a_question_expires() {
    let mut world = dying(&shop("approval = [\"fail-over\"]"));
    world.run(10_000);
    world.run(HOUR + 1_000);
    assert_eq!(world.kernel.state().next_question, 2, "asked anew, for it is still worth an answer");
}

#[test]
fn a_clock_set_a_day_forward_or_back_moves_nothing() {
    for day in [24 * HOUR as i64, -24 * HOUR as i64] {
        let mut world = World::settled(fleet(&shop("")));
        world.wall_off = day;
        world.run(60_000);
        world.wall_off = 0;
        world.run(60_000);
        assert!(world.written.is_empty());
        assert!(world.timeline.is_empty(), "{:?}", world.timeline);
    }
}

#[test]
fn a_cooldown_counts_from_the_end_of_the_last_move() {
    let mut world = dying(&shop("hold-down = \"1s\"").replacen("hold-down = \"60s\"\n", "", 1));
    world.run_until(10_000, |world| world.shop().life.state == State::FailedOver);
    let ended = world.shop().moves[0].finished.mono;
    world.dead.clear();
    world.run_until(60_000, |world| world.shop().life.state == State::Normal);
    assert!(world.shop().moves[0].finished.mono >= ended + 30_000);
}

#[test]
fn a_dependency_goes_first() {
    let services = service("shop", "depends-on = [\"db\"]") + &service("db", "");
    let mut world = dying(&services);
    world.run(20_000);
    let order: Vec<&str> = world.kernel.state().runs.values().map(|run| run.service.as_str()).collect();
    assert_eq!(order, ["db", "shop"]);
}

#[test]
fn traffic_shifts_step_by_step_and_the_policy_is_asked_between() {
    fn gently(told: &Situation) -> Result<Decision, String> {
        let shifts = [(20, 3_000), (50, 3_000), (100, 0)];
        let shifts = shifts.map(|(share, hold)| tidegate_kernel::contract::Shift { share, hold }).to_vec();
        let mut decision = plain_policy(told)?;
        if let Verdict::FailOver(to) = &mut decision.verdict {
            to.shifts = shifts;
        }
        Ok(decision)
    }
    let mut world = World::settled(fleet(&shop("")));
    world.policy = gently;
    world.dead.insert("east");
    world.run(20_000);
    let weights: Vec<usize> = world.written.iter().map(|(_, targets)| targets.len()).collect();
    assert_eq!(weights, [2, 2, 1]);
    assert_eq!(world.shop().life.active, "west");
    let asked = world.timeline.iter().filter(|line| line.contains("the policy still wants it")).count();
    assert_eq!(asked, 2);
}

#[test]
fn a_target_that_dies_between_two_shifts_gets_no_more_traffic() {
    fn gently(told: &Situation) -> Result<Decision, String> {
        let mut decision = plain_policy(told)?;
        if let Verdict::FailOver(to) = &mut decision.verdict {
            to.shifts =
                [(20, 10_000), (100, 0)].map(|(share, hold)| tidegate_kernel::contract::Shift { share, hold }).to_vec();
        }
        Ok(decision)
    }
    let mut world = World::settled(fleet(&shop("")));
    world.policy = gently;
    world.ill.insert("east");
    world.run_until(10_000, |world| world.written.len() == 1);
    world.ill.insert("west");
    world.run(30_000);
    assert_eq!(world.kernel.state().runs[&RunId(0)].end, Some(RunEnd::Undone));
    assert_eq!(world.shop().life.active, "east");
    assert!(!world.routes["shop.example.org"].is_empty());
}

#[test]
fn a_move_in_steps_goes_back_when_the_policy_says_the_old_site() {
    fn gently(told: &Situation) -> Result<Decision, String> {
        let shifts = [(20, 3_000), (100, 0)];
        let shifts = shifts.map(|(share, hold)| tidegate_kernel::contract::Shift { share, hold }).to_vec();
        let verdict = match told.state {
            State::FailingOver => Verdict::SwitchOver(to("east")),
            _ => Verdict::SwitchOver(tidegate_kernel::contract::Move { shifts, ..to("west") }),
        };
        Ok(decision(verdict, "slow"))
    }
    let mut world = World::settled(fleet(&shop("")));
    world.policy = gently;
    world.ill.insert("east");
    world.run_until(10_000, |world| world.kernel.state().runs.values().any(|run| run.end.is_some()));
    assert_eq!(world.kernel.state().runs[&RunId(0)].end, Some(RunEnd::Undone), "{}", world.timeline.join("\n"));
    let led: Vec<usize> = world.written.iter().map(|(_, targets)| targets.len()).collect();
    assert_eq!(led, [2, 1], "to both, and back to the old one alone");
    assert_eq!(world.routes["shop.example.org"][0].target, "shop-east");
    assert_eq!((world.shop().life.active.as_str(), world.shop().life.state), ("east", State::Degraded));
}

#[test]
fn an_undo_that_fails_stops_everything_and_pages() {
    let more = r#"
runbooks = { switch-over = "mine" }
[runbook.mine]
[[runbook.mine.step]]
name = "grow"
command = "scale"
undo = { command = "scale" }
[[runbook.mine.step]]
name = "traffic"
route = true
[command.scale]
argv = ["/usr/bin/scale"]
"#;
    let mut world = World::settled(fleet(&shop(more)));
    let broken = || StepOutcome::Failed(Failure::Rejected("exit 1".into()));
    world.call_outcomes.push_back(done("grown"));
    world.call_outcomes.extend((0..4).map(|_| broken()));
    world.writes.push_back(Write::Fails);
    world.order(failover(Some("west"))).unwrap();
    world.run(60_000);
    let run = world.kernel.run(RunId(0), world.now()).unwrap();
    assert_eq!(run.heading, Heading::Resting);
    assert!(run.words.iter().any(|word| word == "tidegate run skip r0 grow"), "{:?}", run.words);
    assert!(world.sent.iter().any(|(key, _)| key.starts_with("rest/0/")));
    world.order(Command::Skip { run: RunId(0), step: "grow".into() }).unwrap();
    assert_eq!(world.kernel.state().runs[&RunId(0)].end, Some(RunEnd::Undone));
}

#[test]
fn a_confirm_waits_for_a_person() {
    let more = r#"
runbooks = { switch-over = "mine" }
[runbook.mine]
[[runbook.mine.step]]
name = "sure"
confirm = "Is {from} drained?"
[[runbook.mine.step]]
name = "traffic"
route = true
"#;
    let mut world = World::settled(fleet(&shop(more)));
    world.order(failover(Some("west"))).unwrap();
    world.run(HOUR);
    assert!(world.written.is_empty());
    let question = world.kernel.state().open_questions().next().unwrap().clone();
    assert_eq!(question.text, "Is east drained?");
    world.order(Command::Approve { question: question.id, option: 0 }).unwrap();
    world.run(1_000);
    assert_eq!(world.shop().life.active, "west");
}

#[test]
fn readiness_that_is_lost_is_announced_and_makes_it_unmovable() {
    let mut world = World::settled(fleet(&shop("")));
    assert!(
        matches!(world.kernel.service_status("shop", world.now()).unwrap().movable, Movable::Yes(to) if to == "west")
    );
    world.blockers = vec![Reason::new("dns-key", "the zone's key is refused")];
    world.run(400_000);
    assert!(world.sent.iter().any(|(key, _)| key.starts_with("ready/shop/")));
    assert!(matches!(world.kernel.service_status("shop", world.now()).unwrap().movable, Movable::No(_)));
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let world = World::settled(fleet(&shop("")));
    let before = world.kernel.state().hash();
    let plan = world.kernel.plan(&failover(None), world.now()).unwrap();
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!((plan.to.as_str(), steps), ("west", vec!["ready", "traffic", "well"]));
    assert!(plan.guards.iter().all(|guard| guard.objections.is_empty()));
    assert!(plan.markdown.contains("By hand"));
    assert_eq!(world.kernel.state().hash(), before);
}

#[test]
fn what_if_names_order_and_room() {
    let services =
        service("shop", "depends-on = [\"db\"]") + &service("db", "") + &service("blog", "depends-on = [\"shop\"]");
    let world = World::settled(fleet(&services));
    let east = world.kernel.site_id("east").unwrap();
    let said = world.kernel.hypothetical(east, world.now());
    let decisions: Vec<_> = said.iter().map(|(id, told, _)| (*id, plain_policy(told).unwrap())).collect();
    let judged = world.kernel.judge(east, &decisions, world.now());
    let of = |name: &str| judged.iter().find(|judged| judged.service == name).unwrap();
    assert_eq!((of("db").order, of("shop").order), (Some(1), Some(2)));
    let full: Vec<&str> =
        judged.iter().flat_map(|judged| &judged.blockers).map(|reason| reason.code.as_str()).collect();
    assert_eq!(full, ["capacity"], "two of the three fit: {judged:#?}");
}

#[test]
fn a_new_fleet_file_is_taken_up_without_losing_anything() {
    let mut world = dying(&shop(""));
    world.run_until(10_000, |world| world.shop().life.state == State::FailedOver);
    let changed = fleet(&(shop("") + &service("new", "")));
    world.fleet = changed.clone();
    world.give(Event::FleetChanged(changed.into()));
    assert_eq!(world.shop().life.active, "west");
    assert_eq!(world.kernel.state().services["new"].life.active, "east");
    world.dead.clear();
    world.run(120_000);
    assert_eq!(world.shop().life.state, State::Normal);
}
