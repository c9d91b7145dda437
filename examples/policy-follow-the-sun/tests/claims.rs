//! A day in the life of the policy.

use policy_follow_the_sun::FollowTheSun;
use tidegate_sdk::{FailoverPolicy, SiteView, Situation, SituationBuilder, Status, manifest, parse};

const HOUR: u64 = 3_600_000;
const MIDNIGHT: u64 = 1_767_225_600_000;

fn policy() -> FollowTheSun {
    parse(r#"{"shifts": [[2, "singapore"], [8, "dublin"], [16, "oregon"]]}"#).expect("good settings")
}

fn at(hour: u64, active: &str) -> SituationBuilder {
    let sites = ["singapore", "dublin", "oregon"].map(SiteView::healthy);
    let fleet = sites.into_iter().fold(Situation::builder("desk"), SituationBuilder::site);
    fleet.active(active).with(|situation| situation.now = MIDNIGHT + hour * HOUR)
}

fn sick(name: &'static str, status: Status) -> impl FnOnce(&mut Situation) {
    move |situation| {
        let site = situation.sites.iter_mut().find(|site| site.site == name).expect("one of the three");
        site.consensus.status = status;
    }
}

#[test]
fn follows_the_sun_and_leaves_what_is_lost() {
    let cases = [
        ("the day's first hour still belongs to the last shift", at(1, "oregon"), "hold"),
        ("in its shift a site serves", at(7, "singapore"), "hold"),
        ("the day begins elsewhere", at(8, "singapore"), "switch-over"),
        ("the day begins where nothing works", at(8, "singapore").with(sick("dublin", Status::Unhealthy)), "hold"),
        ("nothing is known of where it serves", at(8, "singapore").with(sick("singapore", Status::Unknown)), "hold"),
        ("it dies in its own shift", at(8, "dublin").with(sick("dublin", Status::Unhealthy)), "fail-over"),
        (
            "it dies before the day begins elsewhere",
            at(8, "singapore").with(sick("singapore", Status::Unhealthy)),
            "fail-over",
        ),
    ];
    for (story, situation, verdict) in cases {
        let decision = policy().decide(&situation.build()).unwrap();
        assert_eq!(decision.verdict.name(), verdict, "{story}: {decision:?}");
    }
}

#[test]
fn asks_again_when_the_hour_ends() {
    let situation = at(7, "singapore").with(|situation| situation.now += 59 * 60_000).build();
    assert_eq!(policy().decide(&situation).unwrap().ask_again_in, Some(60_000));
}

#[test]
fn says_what_it_is() {
    let manifest = manifest::<FollowTheSun>();
    assert_eq!(manifest.name, "policy-follow-the-sun");
    assert!(manifest.settings_schema.contains("shifts"));
}

#[test]
fn is_the_page_that_the_sdk_shows() {
    let (page, policy) = (include_str!("../../../sdk/README.md"), include_str!("../src/lib.rs"));
    let (_, shown) = policy.split_once("\n\n").unwrap();
    assert!(page.contains(shown), "sdk/README.md shows an older version of src/lib.rs");
    assert!(policy.lines().count() <= 31, "thirty lines, and one that says what they are for");
}
