//! What becomes of data: promoted only with a proof, lost only as far as was allowed, and given back its place.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

#[path = "support/orders.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
mod orders;

use orders::*;
use tidegate_kernel::contract::{Decision, Move, Question, Situation, State, Verdict};
use tidegate_kernel::event::{Action, Command, Event, QuestionId, RunId};
use tidegate_kernel::fleet::ClusterId;
use tidegate_kernel::saga::StepStatus;
use tidegate_kernel::state::RunEnd;
use world::*;

/// The proof that the last promotion rested on.
fn proof(world: &World) -> String {
    let runs = world.kernel.state().runs.values().rev();
    let steps = runs.flat_map(|run| &run.steps);
    let mut waited = steps.filter(|step| matches!(step.action, Action::AwaitProof { .. }));
    let done = waited.find(|step| step.state.status == StepStatus::Done);
    done.map_or_else(String::new, |step| step.state.text.split(':').next().unwrap_or_default().to_owned())
}

fn told(world: &World) -> String {
    world.timeline.join("\n")
}

#[test]
fn a_lost_synchronous_primary_is_replaced_on_the_word_of_its_standbys_and_nothing_is_lost() {
    let mut world = synchronous();
    kill(&mut world, "east");
    world.run(20_000);
    assert_eq!(database(&world).primaries().len(), 1, "{}", told(&world));
    assert_ne!(world.shop().life.active, "east");
    assert_eq!(proof(&world), "standby-quorum");
    assert_eq!((database(&world).lost, database(&world).split), (0, 0));
}

#[test]
fn a_crash_of_the_database_alone_is_proven_by_its_site() {
    let mut world = synchronous();
    world.database.as_mut().unwrap().die("east");
    world.run(20_000);
    assert_eq!(database(&world).primaries().len(), 1, "{}", told(&world));
    assert!(["stopped", "standby-quorum"].contains(&proof(&world).as_str()), "{}", proof(&world));
    assert_eq!(database(&world).lost, 0);
}

#[test]
fn a_lost_asynchronous_primary_is_replaced_only_when_its_lease_is_over() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    let died = world.mono;
    world.run(20_000);
    assert_eq!(proof(&world), "lease", "{}", told(&world));
    let run = world.kernel.state().runs.values().next().unwrap();
    let started = run.steps.iter().find(|step| step.name == "promote").unwrap().state.started.unwrap();
    assert!(started.mono >= died + world.lease.unwrap());
    assert_eq!(world.leads.as_deref(), Some(database(&world).primaries()[0]));
}

#[test]
fn a_host_that_starts_again_gives_no_lease_back_that_a_run_has_ended() {
    let mut whole = asynchronous();
    let begun = whole.journal.len();
    kill(&mut whole, "east");
    whole.run(20_000);
    let mut told_nobody = 0;
    for at in begun + 1..whole.journal.len() {
        let mut world = asynchronous();
        kill(&mut world, "east");
        world.crash_at = Some((at, Crash::AfterEffects));
        world.run(20_000);
        world.restart();
        let Some(run) = world.kernel.state().open_runs().find(|run| run.data.is_some()) else { continue };
        let step = |name: &str| &run.steps.iter().find(|step| step.name == name).unwrap().state;
        let expected = match (step("promote").attempt > 0, step("proof").status) {
            (true, _) => run.data.as_ref().unwrap().to.as_deref(),
            (_, StepStatus::Running | StepStatus::Done) => None,
            _ => Some("east"),
        };
        told_nobody += usize::from(expected.is_none());
        assert_eq!(world.leads.as_deref(), expected, "after record {at}: {}", told(&world));
    }
    assert!(told_nobody > 2, "{told_nobody}");
}

#[test]
fn nothing_is_promoted_when_too_few_of_the_set_are_reached() {
    let mut world = synchronous();
    kill(&mut world, "east");
    world.database.as_mut().unwrap().die("west");
    world.run(60_000);
    assert_eq!(database(&world).primaries().len(), 0);
    let ruling = format!("{:?}", world.shop().last.as_ref().unwrap().ruling);
    assert!(ruling.contains("standby-quorum"), "{ruling}\n{}", told(&world));
}

#[test]
fn without_a_proof_a_person_is_asked_and_their_word_is_on_the_record() {
    let mut world = asynchronous();
    world.lease = None;
    kill(&mut world, "east");
    world.run(25_000);
    assert_eq!(database(&world).primaries().len(), 0, "{}", told(&world));
    let question = world.kernel.state().open_questions().next().expect("a question").id;
    world.order(Command::Approve { question, option: 0 }).unwrap();
    world.run(10_000);
    assert_eq!(database(&world).primaries().len(), 1, "{}", told(&world));
    let held = &world.kernel.state().clusters["orders"];
    assert_eq!(held.outside["east"].proof.as_ref().map(|proof| proof.kind.as_str()), Some("person"));
}

#[test]
fn a_loss_over_the_rpo_is_asked_with_its_estimate_and_accepted_only_by_a_person() {
    let mut world = world("", "rpo = \"100ms\"", 0);
    kill(&mut world, "east");
    world.run(20_000);
    assert_eq!(database(&world).primaries().len(), 0, "{}", told(&world));
    let question = world.kernel.state().open_questions().next().expect("a question");
    assert!(question.reasons.iter().any(|reason| reason.code == "loss-bound"), "{question:?}");
    let accept_loss = Some(60_000);
    let order = Command::Failover { service: "shop".into(), to: Some("west".into()), accept_loss };
    world.order(order).unwrap();
    world.run(10_000);
    assert_eq!(database(&world).primaries(), ["west"], "{}", told(&world));
}

#[test]
fn where_the_standbys_rule_out_a_loss_nobody_is_asked_about_one() {
    let mut world = world("synchronous = 1", "rpo = \"100ms\"", 1);
    kill(&mut world, "east");
    world.run(20_000);
    assert_eq!((database(&world).primaries().len(), database(&world).lost), (1, 0), "{}", told(&world));
}

#[test]
fn a_yes_is_to_what_was_shown_and_what_has_grown_is_shown_anew() {
    let mut world = world("", "rpo = \"100ms\"", 0);
    kill(&mut world, "east");
    world.run(60_000);
    let question = world.kernel.state().open_questions().next().expect("a question").id;
    let refused = world.order(Command::Approve { question, option: 0 }).unwrap_err();
    assert!(refused.reasons[0].text.contains("were shown"), "{refused:?}");
    assert_eq!(database(&world).primaries().len(), 0, "{}", told(&world));
    let anew = world.kernel.state().open_questions().next().expect("a question with what it will be").clone();
    let shown = format!("{:?} {:?}", anew.text, anew.about);
    assert!(anew.text.contains("at most 17m") && shown.contains("expected_loss: Some(1020000)"), "{shown}");
    // Whoever has to read it first has the time to.
    world.run(600_000);
    world.order(Command::Approve { question: anew.id, option: 0 }).unwrap();
    world.run(10_000);
    assert_eq!(database(&world).primaries().len(), 1, "{}", told(&world));
}

#[test]
fn what_is_asked_anew_is_asked_for_as_long_as_it_is_true() {
    let mut world = world("", "rpo = \"100ms\"", 0);
    kill(&mut world, "east");
    world.run(60_000);
    let question = world.kernel.state().open_questions().next().expect("a question").id;
    world.order(Command::Approve { question, option: 0 }).unwrap_err();
    let anew = world.kernel.state().open_questions().next().expect("another question").id;
    world.run(901_000);
    let open: Vec<QuestionId> = world.kernel.state().open_questions().map(|question| question.id).collect();
    assert!(!open.contains(&anew) && open.len() == 1, "{}", told(&world));
    assert_eq!(database(&world).primaries().len(), 0, "{}", told(&world));
}

#[test]
fn a_late_yes_to_a_move_that_loses_nothing_says_yes_to_no_loss() {
    fn asking(told: &Situation) -> Result<Decision, String> {
        let Decision { verdict: Verdict::FailOver(to), .. } = data_policy(told)? else { return data_policy(told) };
        let options = vec![Move { expected_loss: Some(0), ..to }];
        let question = Question { text: "May west lead? Nothing is lost".into(), options, expires_in: 0 };
        Ok(decision(Verdict::Ask(question), "dead-primary"))
    }
    let mut world = synchronous();
    world.policy = asking;
    kill(&mut world, "east");
    world.run(60_000);
    let question = world.kernel.state().open_questions().next().expect("a question").id;
    world.order(Command::Approve { question, option: 0 }).unwrap();
    let run = world.kernel.state().runs.values().next_back().expect("a run");
    assert_eq!(run.data.as_ref().map(|data| data.accept_loss), Some(None));
    world.run(10_000);
    assert_eq!((database(&world).primaries().len(), database(&world).lost), (1, 0), "{}", told(&world));
}

#[test]
fn what_a_returned_node_has_alone_counts_from_where_it_was_left() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.run(30_000);
    // The one that took over dies as well, much later, and its agent says so.
    let second = database(&world).primaries()[0];
    world.database.as_mut().unwrap().die(second);
    world.run(1_000);
    world.order(Command::Failover { service: "shop".into(), to: None, accept_loss: Some(60_000) }).unwrap();
    world.run(30_000);
    assert_eq!(database(&world).primaries().len(), 1, "{}", told(&world));
    let server = world.database.as_mut().unwrap().servers.get_mut("east").unwrap();
    (server.up, server.log) = (true, server.log + 500);
    revive(&mut world, "east");
    world.run(10_000);
    let of_east = |subject: &&String| subject.contains("node east of orders has");
    let subjects: Vec<_> = world.sent.iter().map(|(_, subject)| subject).filter(of_east).collect();
    let bytes = subjects.first().and_then(|subject| subject.split(' ').find_map(|word| word.parse::<u64>().ok()));
    assert!(bytes.is_some_and(|bytes| (500..1_000).contains(&bytes)), "{:?}", world.sent);
}

#[test]
fn a_switchover_loses_nothing_and_leaves_the_old_primary_as_a_standby() {
    for mut world in [synchronous(), asynchronous()] {
        world.order(Command::Switchover { service: "shop".into(), to: Some("west".into()) }).unwrap();
        world.run(10_000);
        let database = database(&world);
        assert_eq!(database.primaries(), ["west"], "{}", told(&world));
        assert_eq!((database.lost, database.split), (0, 0));
        assert_eq!(database.servers["east"].upstream, Some("west"));
        assert!(world.kernel.state().clusters["orders"].outside.is_empty());
        assert_eq!(world.shop().life.active, "west");
    }
}

#[test]
fn a_candidate_that_lacks_the_last_bytes_is_not_promoted_and_the_old_primary_goes_on() {
    let mut world = synchronous();
    // It looked well a moment ago.
    world.database.as_mut().unwrap().servers.get_mut("west").unwrap().log -= 50;
    world.order(Command::Switchover { service: "shop".into(), to: Some("west".into()) }).unwrap();
    world.run(5_000);
    assert!(told(&world).contains("lacks the last 50 bytes"), "{}", told(&world));
    assert_eq!(database(&world).primaries(), ["east"], "{}", told(&world));
    // The primary serves again before anybody is made to follow it.
    let ends: Vec<_> = world.kernel.state().runs.values().map(|run| run.end.clone()).collect();
    assert_eq!(ends, [Some(RunEnd::Undone)], "{}", told(&world));
    assert_eq!(database(&world).servers["west"].upstream, Some("east"));
}

#[test]
fn whose_word_commits_wait_for_is_not_read_from_a_look_that_began_before_we_changed_it() {
    let foreign = |world: &World| world.sent.iter().any(|(_, subject)| subject.contains("it was not Tidegate"));
    let mut world = synchronous();
    kill(&mut world, "east");
    let (begun, before) = (world.mono, database(&world).seen());
    world.run_until(20_000, |world| world.shop().life.state == State::FailedOver);
    let late = |begun, seen| Event::Sampled { cluster: ClusterId(0), begun, result: Ok(seen) };
    world.give(late(begun, before));
    assert!(!foreign(&world), "{:?}", world.sent);

    revive(&mut world, "east");
    world.run_until(20_000, |world| world.kernel.state().open_runs().any(|run| run.runbook == "rejoin"));
    let (begun, before) = (world.mono, database(&world).seen());
    world.run_until(20_000, |world| world.kernel.state().open_runs().next().is_none());
    world.give(late(begun, before));
    assert!(!foreign(&world), "{:?}", world.sent);

    let leader = database(&world).primaries()[0];
    let changed = world.database.as_mut().unwrap().servers.get_mut(leader).unwrap();
    changed.set.as_mut().unwrap().nodes.truncate(1);
    world.run(2_000);
    assert!(foreign(&world), "what somebody else changes is told: {:?}", world.sent);
}

fn is_home(world: &World) {
    let found = (world.shop().life.state, database(world).primaries());
    assert_eq!(found, (State::Normal, vec!["east"]), "{}", told(world));
}

#[test]
fn a_returned_primary_becomes_a_standby_and_the_service_goes_home() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.run(30_000);
    let server = world.database.as_mut().unwrap().servers.get_mut("east").unwrap();
    (server.up, server.log) = (true, server.log + 500);
    revive(&mut world, "east");
    world.run(10_000);
    assert!(
        world.sent.iter().any(|(_, subject)| subject.contains("bytes of log that nobody else has")),
        "{:?}",
        world.sent
    );
    assert_eq!(database(&world).primaries().len(), 1, "{}", told(&world));
    world.run(200_000);
    is_home(&world);
    assert_eq!(database(&world).lost, 0);
}

/// A primary that runs by a lease would be ended there as soon as it leads.
#[test]
fn nobody_goes_home_to_where_no_agent_would_renew_a_lease() {
    let mut world = asynchronous();
    kill(&mut world, "east");
    world.run(30_000);
    revive(&mut world, "east");
    world.run(10_000);
    world.cut_off.insert("east");
    world.run(200_000);
    assert_eq!(database(&world).primaries(), ["north"], "{}", told(&world));
    world.cut_off.remove("east");
    world.run(60_000);
    is_home(&world);
}

#[test]
fn a_failed_check_of_the_data_alarms_and_keeps_the_service_from_going_home() {
    let mut world = world("verify = [\"select true\"]", "rpo = \"10s\"", 0);
    world.database.as_mut().unwrap().sound = false;
    kill(&mut world, "east");
    world.run(60_000);
    revive(&mut world, "east");
    world.run(300_000);
    assert_eq!(world.shop().life.state, State::FailedOver, "{}", told(&world));
    assert!(world.sent.iter().any(|(_, subject)| subject.contains("a check of the data failed")));
    assert!(world.kernel.state().open_questions().any(|question| format!("{question:?}").contains("sound-data")));
}

#[test]
fn a_move_that_names_no_node_is_held() {
    let mut world = asynchronous();
    world.policy = plain_policy;
    kill(&mut world, "east");
    world.run(20_000);
    assert_eq!(database(&world).primaries().len(), 0);
    assert!(format!("{:?}", world.shop().last).contains("needs-cluster"), "{:?}", world.shop().last);
}

#[test]
fn the_agreed_primary_is_never_stopped_without_a_move() {
    let mut world = asynchronous();
    world.policy = |_| Ok(decision(Verdict::Fence(vec!["east".into()]), "mad"));
    world.run(10_000);
    world.order(Command::Pause { service: None, reason: "so that it is asked".into() }).unwrap();
    world.order(Command::Resume { service: None }).unwrap();
    assert_eq!(database(&world).primaries(), ["east"], "{}", told(&world));
}

/// What happens to a world, and when it is over.
type Story = (&'static str, fn() -> World, fn(&mut World), fn(&World) -> bool);

const STORIES: [Story; 8] = [
    ("synchronous fail-over", synchronous, |world| kill(world, "east"), |world| world.shop().life.active != "east"),
    ("asynchronous fail-over", asynchronous, |world| kill(world, "east"), |world| world.shop().life.active != "east"),
    (
        "switch-over",
        synchronous,
        |world| {
            let order = Command::Switchover { service: "shop".into(), to: Some("west".into()) };
            world.order_unheard(order);
        },
        |world| {
            let ended =
                |kind: &str| world.kernel.state().runs.values().any(|run| run.kind == kind && run.end.is_some());
            ended("switch-over")
        },
    ),
    (
        "asynchronous switch-over",
        asynchronous,
        |world| world.order_unheard(Command::Switchover { service: "shop".into(), to: Some("west".into()) }),
        |world| world.kernel.state().runs.values().any(|run| run.kind == "switch-over" && run.end.is_some()),
    ),
    (
        "switch-over that stops half way",
        asynchronous,
        |world| {
            world.database.as_mut().expect("a database").servers.get_mut("west").expect("a node").log -= 50;
            world.order_unheard(Command::Switchover { service: "shop".into(), to: Some("west".into()) });
        },
        |world| world.kernel.state().runs.values().any(|run| run.kind == "switch-over" && run.end.is_some()),
    ),
    ("rejoin", || lost(asynchronous()), |world| revive(world, "east"), is_whole),
    ("synchronous rejoin", || lost(synchronous()), |world| revive(world, "east"), is_whole),
    (
        "fail-back",
        || {
            let mut world = lost(synchronous());
            revive(&mut world, "east");
            world.run(10_000);
            world
        },
        |world| world.order_unheard(Command::Failback { service: "shop".into(), to: None }),
        |world| world.shop().life.active == "east",
    ),
];

/// East is gone, and another one leads.
fn lost(mut world: World) -> World {
    kill(&mut world, "east");
    world.run(30_000);
    world
}

fn is_whole(world: &World) -> bool {
    world.kernel.state().clusters["orders"].outside.is_empty()
}

/// One writable primary at the end, nothing stuck without a word, and in synchronous mode nothing lost.
fn is_sound(world: &World, told: &str) {
    let database = database(world);
    let asked = world.kernel.state().open_questions().next().is_some();
    assert!(database.primaries().len() == 1 || asked, "{told}");
    assert!(database.primaries().len() <= 1 && database.split == 0, "{told}");
    for run in world.kernel.state().open_runs() {
        let asked = world.kernel.state().open_questions().any(|question| question.service == run.service);
        assert!(asked, "run r{} is left over and nobody was told; {told}", run.id.0);
    }
    if world.fleet.clusters[0].wait_for > 0 {
        assert_eq!(database.lost, 0, "{told}");
    }
    let ends: Vec<_> = world.kernel.state().runs.values().filter_map(|run| run.end.clone()).collect();
    assert!(ends.iter().all(|end| matches!(end, RunEnd::Done | RunEnd::Undone)), "{told}");
    blames_nobody(world, told);
}

/// Nobody but the host changes anything in these stories.
fn blames_nobody(world: &World, told: &str) {
    let blamed: Vec<_> = world.sent.iter().filter(|(_, subject)| subject.contains("it was not Tidegate")).collect();
    assert!(blamed.is_empty(), "{blamed:?}; {told}");
}

#[test]
fn a_crash_after_any_record_of_any_runbook_ends_with_one_primary() {
    for (name, begin, happens, over) in STORIES {
        let mut whole = begin();
        let before = whole.journal.len();
        happens(&mut whole);
        whole.run(60_000);
        assert!(over(&whole), "{name}:\n{}", told(&whole));
        let after = whole.journal.len();
        assert!(after > before + 4, "{name} has too few records to prove anything");
        for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
            for at in before + 1..=after {
                let mut world = begin();
                world.crash_at = Some((at, crash));
                happens(&mut world);
                world.run(30_000);
                world.say("the host dies");
                world.restart();
                world.run(120_000);
                is_sound(&world, &format!("{name}, crash {crash:?} after record {at}:\n{}", told(&world)));
                let asked = world.kernel.state().open_questions().next().is_some();
                assert!(over(&world) || asked, "{name}, crash {crash:?} after record {at}:\n{}", told(&world));
            }
        }
    }
}

#[test]
fn whatever_call_fails_or_is_cut_off_there_is_one_primary_or_a_person_is_asked() {
    use tidegate_kernel::contract::Failure;
    use tidegate_kernel::event::StepOutcome;
    let refused = || StepOutcome::Failed(Failure::Rejected("no".into()));
    let cut_off = || StepOutcome::Unknown("cut off".into());
    // Done and said otherwise, or trapped, hung or cut off before anything was done.
    let ways = [(true, refused()), (false, refused()), (true, cut_off()), (false, cut_off())];
    for (name, begin, happens, _) in STORIES {
        for (does, answer) in &ways {
            for spared in 0.. {
                let mut world = begin();
                world.spoil = Some(Spoil { spared, does: *does, answer: answer.clone() });
                happens(&mut world);
                world.run(180_000);
                let told = format!("{name}, call {spared} ({does}) answered {answer:?}:\n{}", told(&world));
                let database = database(&world);
                assert!(database.primaries().len() <= 1 && database.split == 0, "{told}");
                let asked = world.kernel.state().open_questions().next().is_some();
                assert!(database.primaries().len() == 1 || asked, "{told}");
                blames_nobody(&world, &told);
                if world.spoil.is_some() {
                    assert!(spared > 0, "no call was spoiled; {told}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_position_that_one_look_missed_is_read_again() {
    for begin in [synchronous, asynchronous] {
        let mut world = begin();
        world.database.as_mut().expect("a database").missed = 1;
        kill(&mut world, "east");
        world.run(60_000);
        is_sound(&world, &told(&world));
        let run = &world.kernel.state().runs[&RunId(0)];
        let tries = run.steps.iter().find(|step| step.name == "positions").map(|step| step.state.attempt);
        assert_eq!((run.end.clone(), tries), (Some(RunEnd::Done), Some(2)), "{}", told(&world));
        assert_eq!(world.kernel.state().open_questions().count(), 0);
    }
}

#[test]
fn a_question_is_named_once() {
    let mut world = asynchronous();
    world.lease = None;
    kill(&mut world, "east");
    world.run(120_000);
    let asked: Vec<QuestionId> = world.kernel.state().open_questions().map(|question| question.id).collect();
    assert_eq!(asked.len(), 1, "{}", told(&world));
}

/// What happens to a world without its primary being lost.
type Quiet = (&'static str, fn(&mut World));

const QUIET: [Quiet; 6] = [
    ("a standby stops", |world| world.database.as_mut().expect("a database").die("west")),
    ("a vantage point is cut off", cut_off),
    ("a vantage point hangs for three seconds", |world| {
        cut_off(world);
        world.run(3_000);
        world.cut_off.clear();
    }),
    ("the host is started anew", World::restart),
    ("the clock is set a day forward, and back", |world| {
        world.wall_off = 86_400_000;
        world.run(60_000);
        world.wall_off = -86_400_000;
    }),
    ("every fourth look takes too long", |world| world.slow_every = Some(4)),
];

fn cut_off(world: &mut World) {
    world.cut_off.insert("west");
}

#[test]
fn what_is_not_the_loss_of_the_primary_moves_nothing() {
    for (what, happens) in QUIET {
        for mut world in [synchronous(), asynchronous()] {
            happens(&mut world);
            world.run(120_000);
            let moved = world.kernel.state().runs.values().any(|run| run.kind != "rejoin");
            assert!(!moved && world.shop().life.active == "east", "{what}:\n{}", told(&world));
            assert_eq!(database(&world).primaries(), ["east"], "{what}:\n{}", told(&world));
            assert!(world.kernel.state().open_questions().next().is_none(), "{what}:\n{}", told(&world));
        }
    }
}

#[test]
fn the_loss_of_the_primary_is_not_overlooked_among_looks_that_take_too_long() {
    let mut world = synchronous();
    world.slow_every = Some(4);
    world.run(30_000);
    kill(&mut world, "east");
    world.run(20_000);
    assert_ne!(world.shop().life.active, "east", "{}", told(&world));
    assert_eq!((database(&world).lost, database(&world).split), (0, 0));
}
