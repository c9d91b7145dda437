//! What the policy promises, each promise once.

use new_policy::Policy;
use tidegate_sdk::{Decision, FailoverPolicy, SiteView, Situation, SituationBuilder, Status, Verdict, parse};

fn decide(fleet: SituationBuilder) -> Decision {
    let policy: Policy = parse(r#"{"patience-seconds": 10}"#).expect("good settings");
    policy.decide(&fleet.build()).expect("a decision")
}

fn fleet(west: SiteView) -> SituationBuilder {
    Situation::builder("shop").site(west).site(SiteView::unhealthy("north")).site(SiteView::healthy("east"))
}

#[test]
fn stays_as_long_as_it_is_not_sure() {
    let cases = [
        ("it works", SiteView::healthy("west"), "in-place"),
        ("nobody knows", SiteView::seen("west", Status::Unknown, 0, 60_000), "in-place"),
        ("it has only just been lost", SiteView::seen("west", Status::Unhealthy, 3, 9_999), "not-yet-sure"),
    ];
    for (story, west, code) in cases {
        let decision = decide(fleet(west));
        assert_eq!((decision.verdict, decision.reasons[0].code.as_str()), (Verdict::Hold, code), "{story}");
    }
}

#[test]
fn leaves_a_lost_site_for_the_best_one_that_works_and_says_why_not_for_another() {
    let decision = decide(fleet(SiteView::seen("west", Status::Unhealthy, 3, 10_000)));
    assert!(matches!(&decision.verdict, Verdict::FailOver(to) if to.to_site == "east"), "{decision:?}");
    assert_eq!(decision.vetoes.len(), 1, "{decision:?}");
}

#[test]
fn goes_nowhere_if_nothing_works() {
    let fleet = Situation::builder("shop").site(SiteView::unhealthy("west")).site(SiteView::unhealthy("east"));
    assert_eq!(decide(fleet).reasons[0].code, "nowhere-to-go");
}

#[test]
fn refuses_settings_that_it_does_not_have() {
    for settings in [r#"{"patience": 10}"#, r#"{"patience-seconds": "10"}"#, r#"{"patience-seconds": 3601}"#] {
        assert!(parse::<Policy>(settings).is_err(), "{settings}");
    }
}
