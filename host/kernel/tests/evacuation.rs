//! Everything leaves a site in the order of its dependencies, or the evacuation stops and says so; whatever dies meanwhile.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

#[path = "support/orders.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of it")]
mod orders;

use tidegate_kernel::event::{Accepted, Command, Refused};
use tidegate_kernel::fleet::Fleet;
use tidegate_kernel::record::Change;
use tidegate_kernel::replay::Replay;
use tidegate_kernel::state::{Evacuation, EvacuationEnd, RunEnd};
use world::*;

/// Login, which shop needs, and something that is served from both sites; at home at east.
fn three() -> Fleet {
    let shop = shop("depends-on = [\"login\"]").replace("load = 40", "load = 20");
    let login = service("login", "").replace("load = 40", "load = 20");
    fleet(&format!("{login}{shop}{}", shared("media").replace("load = 40", "load = 20")))
}

fn settled(fleet: Fleet) -> World {
    let mut world = World::settled(fleet);
    // Nothing moves but what is ordered.
    let pause = Command::Pause { service: None, reason: "to see it alone".into() };
    world.order(pause).expect("paused");
    world.timeline.clear();
    world
}

fn away() -> Command {
    Command::Evacuate { site: "east".into(), to: None }
}

fn evacuation(world: &World) -> &Evacuation {
    world.kernel.state().evacuations.values().next_back().expect("an evacuation")
}

fn at_east(world: &World) -> Vec<String> {
    let services = world.kernel.state().services.iter();
    services.filter(|(_, known)| known.life.share("east") > 0).map(|(name, _)| name.clone()).collect()
}

fn told(world: &World) -> String {
    world.timeline.join("\n")
}

fn codes(refused: Result<Accepted, Refused>) -> Vec<String> {
    refused.expect_err("it is refused").reasons.into_iter().map(|reason| reason.code).collect()
}

#[test]
fn what_is_needed_has_arrived_before_what_needs_it_begins() {
    let mut world = settled(three());
    world.order(away()).unwrap();
    world.run(60_000);
    assert_eq!(evacuation(&world).end, Some(EvacuationEnd::Done), "{}", told(&world));
    assert!(at_east(&world).is_empty());
    let runs = &world.kernel.state().runs;
    let of = |service: &str| runs.values().find(|run| run.service == service).expect("a run");
    assert!(of("login").closed.unwrap() <= of("shop").opened, "{}", told(&world));
    assert_eq!(of("media").kind, "rebalance");
    assert!(runs.values().all(|run| run.by.as_deref() == Some("anna") && run.incident.is_none()));
    assert!(world.sent.iter().any(|(_, subject)| subject == "east is evacuated"), "{:?}", world.sent);
}

#[test]
fn it_is_a_planned_move_where_both_sides_are_well_and_a_fail_over_where_not() {
    for (dead, kind) in [(false, "switch-over"), (true, "fail-over")] {
        let mut world = settled(three());
        if dead {
            world.dead.insert("east");
            world.run(10_000);
        }
        world.order(away()).unwrap();
        world.run(60_000);
        let kinds: Vec<&str> = world
            .kernel
            .state()
            .runs
            .values()
            .filter(|run| run.service != "media")
            .map(|run| run.kind.as_str())
            .collect();
        assert_eq!(kinds, [kind, kind], "{}", told(&world));
    }
}

#[test]
fn a_primary_leaves_with_its_service_and_nothing_is_lost() {
    let mut world = orders::synchronous();
    world.order(away()).unwrap();
    world.run(30_000);
    let database = world.database.as_ref().unwrap();
    assert_eq!(evacuation(&world).end, Some(EvacuationEnd::Done), "{}", told(&world));
    assert!(database.primaries() != ["east"] && database.primaries().len() == 1);
    assert_eq!((database.lost, database.split), (0, 0));
}

#[test]
fn a_run_that_is_undone_stops_it_and_a_person_is_told() {
    let mut world = settled(three());
    world.writes = std::iter::repeat_n(Write::Fails, 20).collect();
    world.order(away()).unwrap();
    world.run(120_000);
    assert!(matches!(evacuation(&world).end, Some(EvacuationEnd::Stopped(_))), "{}", told(&world));
    assert!(!world.kernel.state().runs.values().any(|run| run.service == "shop"), "{}", told(&world));
    assert!(world.sent.iter().any(|(key, _)| key == "evacuation/1/stopped"), "{:?}", world.sent);
}

#[test]
fn ordered_again_it_goes_on_with_what_is_still_there() {
    let mut world = settled(three());
    world.writes = std::iter::repeat_n(Write::Fails, 20).collect();
    world.order(away()).unwrap();
    world.run(120_000);
    world.writes.clear();
    let open: Vec<_> = world.kernel.state().open_runs().map(|run| run.id).collect();
    for run in open {
        world.order(Command::Retry { run }).unwrap();
    }
    world.run(60_000);
    world.order(away()).unwrap();
    world.run(60_000);
    assert_eq!((evacuation(&world).id, &evacuation(&world).end), (2, &Some(EvacuationEnd::Done)), "{}", told(&world));
    assert!(at_east(&world).is_empty());
}

#[test]
fn it_is_refused_as_a_whole_where_not_everything_has_room() {
    let both = format!("{}{}", service("login", ""), shop("")).replace("load = 40", "load = 60");
    let mut world = settled(fleet(&both));
    assert_eq!(codes(world.order(away())), ["capacity"]);
    world.run(10_000);
    assert!(world.kernel.state().runs.is_empty() && world.kernel.state().evacuations.is_empty());
    let plan = world.kernel.plan_evacuation("east", None, world.now()).unwrap();
    let blocked: Vec<bool> = plan.phases.iter().flatten().map(|leaving| !leaving.blockers.is_empty()).collect();
    assert_eq!(blocked, [false, true], "what goes first takes its room first: {plan:#?}");
}

#[test]
fn what_has_no_other_place_stays_and_is_named() {
    let alone = service("alone", "").lines().filter(|line| !line.starts_with("at.west")).collect::<Vec<_>>().join("\n");
    let mut world = settled(fleet(&format!("{}{alone}\n", shop(""))));
    let accepted = world.order(away()).unwrap();
    assert!(accepted.text.contains("stay alone"), "{}", accepted.text);
    world.run(60_000);
    assert_eq!((at_east(&world), &evacuation(&world).end), (vec!["alone".to_owned()], &Some(EvacuationEnd::Done)));
}

#[test]
fn an_order_that_makes_no_sense_changes_nothing() {
    let mut world = settled(three());
    let to = |site: &str, to: Option<&str>| Command::Evacuate { site: site.into(), to: to.map(Into::into) };
    for (order, code) in [
        (to("nowhere", None), "site"),
        (to("east", Some("nowhere")), "site"),
        (to("east", Some("east")), "to"),
        (to("north", None), "nothing-there"),
    ] {
        assert_eq!(codes(world.order(order)), [code]);
    }
    assert!(world.kernel.state().evacuations.is_empty() && world.kernel.state().runs.is_empty());
}

/// Shop takes its time to leave.
fn slow() -> Fleet {
    let slow = r#"
depends-on = ["login"]
runbooks = { switch-over = "slow" }
[runbook.slow]
[[runbook.slow.step]]
name = "breathe"
hold = "200s"
[[runbook.slow.step]]
name = "traffic"
route = true
"#;
    fleet(&format!("{}{}", service("login", ""), shop(slow)))
}

#[test]
fn there_is_one_at_a_time() {
    let mut world = settled(slow());
    world.order(away()).unwrap();
    world.run(5_000);
    assert_eq!(codes(world.order(away())), ["evacuation-under-way"]);
    assert_eq!(world.kernel.state().evacuations.len(), 1);
}

#[test]
fn nothing_goes_back_by_itself_while_others_are_on_their_way() {
    let mut world = World::settled(slow());
    world.order(away()).unwrap();
    world.run(150_000);
    let login = &world.kernel.state().services["login"];
    let ruling = format!("{:?}", login.last.as_ref().unwrap().ruling);
    assert!(login.life.active == "west" && ruling.contains("evacuated"), "{ruling}\n{}", told(&world));
    world.run_until(300_000, |world| world.kernel.state().open_evacuation().is_none());
    world.run_until(60_000, |world| world.kernel.state().services["login"].life.active == "east");
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_goes_when() {
    let world = settled(three());
    let before = world.kernel.state().hash();
    let plan = world.kernel.plan_evacuation("east", None, world.now()).unwrap();
    let phases: Vec<Vec<&str>> =
        plan.phases.iter().map(|phase| phase.iter().map(|leaving| leaving.service.as_str()).collect()).collect();
    assert_eq!(phases, [vec!["login", "media"], vec!["shop"]]);
    assert!(plan.phases.iter().flatten().all(|leaving| leaving.plan.is_some() && leaving.blockers.is_empty()));
    assert_eq!(world.kernel.state().hash(), before);
}

/// The journal with the first change of an evacuation that `edit` wants edited.
fn edited(edit: impl Fn(&mut Evacuation) -> bool) -> Vec<String> {
    let mut world = settled(three());
    world.order(away()).expect("taken");
    world.run(60_000);
    let mut journal = world.journal.clone();
    let changes =
        journal.iter_mut().flat_map(|record| &mut record.transitions).map(|transition| &mut transition.change);
    let evacuations = changes.filter_map(|change| match change {
        Change::Evacuation { evacuation } => Some(evacuation),
        _ => None,
    });
    assert!(evacuations.into_iter().any(|evacuation| edit(evacuation)), "there was nothing to edit");
    let mut replay = Replay::default();
    journal.iter().flat_map(|record| replay.follow(record)).collect()
}

#[test]
fn a_journal_in_which_an_evacuation_went_otherwise_is_found_out() {
    assert_eq!(edited(|_| true), [""; 0]);
    let skips = edited(|evacuation| {
        evacuation.phase = 1;
        true
    });
    assert!(skips.iter().any(|why| why.contains("begins with services gone already")), "{skips:?}");
    let early = edited(|evacuation| {
        let under_way = evacuation.phases[0][0].run.is_some() && !evacuation.phases[0][0].gone;
        evacuation.phases[0][0].gone |= under_way;
        under_way
    });
    assert!(early.iter().any(|why| why.contains("login of evacuation e1 has not left")), "{early:?}");
    let sooner = edited(|evacuation| {
        let sooner = evacuation.phase == 0 && evacuation.phases[0][0].run.is_some();
        evacuation.phase += usize::from(sooner);
        sooner
    });
    assert!(sooner.iter().any(|why| why.contains("before its phase is over")), "{sooner:?}");
}

fn begun() -> (World, usize) {
    let world = settled(three());
    let before = world.journal.len();
    (world, before)
}

#[test]
fn a_crash_after_any_record_leaves_it_done_or_stopped_and_told() {
    let (mut whole, before) = begun();
    whole.order_unheard(away());
    whole.run(60_000);
    let after = whole.journal.len();
    assert!(after > before + 10, "too few records to prove anything");
    for crash in [Crash::BeforeEffects, Crash::AfterEffects] {
        for at in before + 1..=after {
            let (mut world, _) = begun();
            world.crash_at = Some((at, crash));
            world.order_unheard(away());
            world.run(30_000);
            world.say("the host dies");
            world.restart();
            world.run(180_000);
            let text = format!("crash {crash:?} after record {at}:\n{}", told(&world));
            let ends = &evacuation(&world).end;
            let stopped = matches!(ends, Some(EvacuationEnd::Stopped(_)));
            assert!(stopped || *ends == Some(EvacuationEnd::Done) && at_east(&world).is_empty(), "{ends:?} {text}");
            assert!(!stopped || world.sent.iter().any(|(key, _)| key == "evacuation/1/stopped"), "{text}");
            assert_eq!(world.kernel.state().open_runs().count(), 0, "{text}");
            let arrived = |run: &tidegate_kernel::state::Run| run.end == Some(RunEnd::Done);
            assert!(stopped || world.kernel.state().runs.values().all(arrived), "{text}");
            let now = world.now();
            let journal = world.journal.iter().cloned();
            let rebuilt = tidegate_kernel::Kernel::recover(world.fleet.clone(), journal, now).unwrap();
            assert_eq!(rebuilt.state().hash(), world.kernel.state().hash(), "{text}");
        }
    }
}
