//! The guard can only make it safer: whatever a policy says, in whatever weather.

#[path = "support/world.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the world")]
mod world;

use std::cell::Cell;

use proptest::prelude::*;
use tidegate_kernel::contract::{Decision, Look, Question, Share, Situation, Verdict};
use tidegate_kernel::guard::GUARDS;
use world::*;

thread_local! {
    static VERDICT: Cell<Option<Verdict>> = const { Cell::new(None) };
}

fn says(_: &Situation) -> Result<Decision, String> {
    let verdict = VERDICT.take().unwrap_or(Verdict::Hold);
    VERDICT.set(Some(verdict.clone()));
    Ok(Decision { ask_again_in: Some(1_000), ..decision(verdict, "told") })
}

fn weather() -> impl Strategy<Value = Vec<(u8, u8)>> {
    prop::collection::vec((0u8..3, 0u8..4), 1..6)
}

fn quiet_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Hold),
        Just(Verdict::ProbeMore(vec![Look { site: "east".into(), node: None }])),
        Just(Verdict::Ask(Question { text: "?".into(), options: vec![to("west")], expires_in: 5_000 })),
        Just(Verdict::Fence(vec!["node".into()])),
    ]
}

fn moving_verdict() -> impl Strategy<Value = Verdict> {
    let site = prop_oneof![Just("east"), Just("west"), Just("north"), Just("nowhere")];
    let shares = prop::collection::vec((site.clone(), 0u32..120), 0..3);
    prop_oneof![
        site.clone().prop_map(|site| Verdict::FailOver(to(site))),
        site.clone().prop_map(|site| Verdict::SwitchOver(to(site))),
        site.prop_map(|site| Verdict::FailBack(to(site))),
        shares.prop_map(|shares| Verdict::Rebalance(
            shares.into_iter().map(|(site, per_cent)| Share { site: site.into(), per_cent }).collect()
        )),
    ]
}

fn play(verdict: Verdict, weather: &[(u8, u8)]) -> World {
    let mut world = World::settled(fleet(&shop("")));
    VERDICT.set(Some(verdict));
    world.policy = says;
    for (site, what) in weather {
        let site = ["east", "west", "north"][usize::from(*site)];
        match what {
            0 => drop(world.dead.insert(site)),
            1 => drop(world.ill.insert(site)),
            2 => drop(world.cut_off.insert(site)),
            _ => {
                world.dead.clear();
                world.ill.clear();
                world.cut_off.clear();
            }
        }
        world.run(7_000);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_guard_turns_a_hold_into_a_move(verdict in quiet_verdict(), weather in weather()) {
        let world = play(verdict, &weather);
        prop_assert!(world.written.is_empty());
        prop_assert!(world.kernel.state().runs.is_empty());
    }

    /// The world itself panics if a name is ever left without an answer.
    #[test]
    fn a_name_leads_only_to_declared_places_whatever_a_policy_says(verdict in moving_verdict(), weather in weather()) {
        let world = play(verdict, &weather);
        for (key, targets) in &world.written {
            prop_assert!(targets.iter().all(|target| target == "shop-east" || target == "shop-west"), "{} {:?}", key, targets);
        }
        prop_assert!(world.kernel.state().open_runs().count() <= 1);
        let whole: u32 = world.shop().life.shares.iter().map(|share| share.per_cent).sum();
        prop_assert_eq!(whole, 100);
    }
}

#[test]
fn a_person_passes_what_protects_from_automation_and_nothing_else() {
    let passed: Vec<&str> = GUARDS.iter().filter(|guard| guard.person_passes).map(|guard| guard.name).collect();
    let automation = [
        "sound-data",
        "site-heard",
        "evacuated",
        "warming-up",
        "paused",
        "frozen",
        "brake",
        "maintenance",
        "cooldown",
        "hold-down",
        "dependency-order",
        "declined",
        "evidence",
        "loss",
        "autonomy",
        "approval",
    ];
    assert_eq!(passed, automation);
}
