//! What the policy promises, each promise once.

use new_policy::Policy;
use tidegate_sdk::cost::{Advice, Asset, Offer, ProtectedService, Request, RequestBuilder};
use tidegate_sdk::{CostPolicy, Money, Strategy, parse};

const HOUR: u64 = 3_600_000;
const ONE: Money = 1_000_000;

fn advise(request: RequestBuilder) -> Advice {
    let policy: Policy = parse("").expect("good settings");
    policy.advise(&request.build()).expect("advice")
}

/// It has to be back within an hour, and is restored from backups today.
fn shop() -> ProtectedService {
    ProtectedService::of("shop", Strategy::BackupRestore)
        .offer(Offer::of(Strategy::BackupRestore, 100, 4 * HOUR))
        .offer(Offer::of(Strategy::ActiveActive, 2_000, 0))
        .offer(Offer::of(Strategy::PilotLight, 400, HOUR))
}

#[test]
fn takes_the_cheapest_offer_that_meets_the_objectives() {
    let advice = advise(Request::builder().service(shop()));
    let said = &advice.assignments[0];
    assert_eq!((said.strategy, said.meets_objectives, said.monthly), (Strategy::PilotLight, true, 400 * ONE));
    assert_eq!((advice.monthly, advice.warnings.len()), (400 * ONE, 0));
}

#[test]
fn what_is_avoided_is_what_the_shorter_outages_would_have_cost() {
    // Three hours less, at 1000 an hour, every other year.
    assert_eq!(advise(Request::builder().service(shop())).avoided_loss_yearly, 1_500 * ONE);
    let slower = shop().with(|shop| shop.current = Strategy::ActiveActive);
    assert_eq!(advise(Request::builder().service(slower)).avoided_loss_yearly, -500 * ONE);
    let unknown = shop().with(|shop| shop.current = Strategy::ActivePassive);
    assert_eq!(advise(Request::builder().service(unknown)).avoided_loss_yearly, 0);
}

#[test]
fn nothing_overflows() {
    let priceless = shop().with(|shop| (shop.impact_per_hour, shop.incidents_per_year) = (Money::MAX, f64::INFINITY));
    let priceless = priceless.with(|shop| shop.offers.iter_mut().for_each(|offer| offer.monthly = Money::MAX));
    let advice = advise(Request::builder().service(priceless.clone()).service(priceless));
    assert_eq!((advice.monthly, advice.avoided_loss_yearly), (Money::MAX, Money::MAX));
}

#[test]
fn warns_of_what_cannot_be_met_and_of_what_cannot_be_paid() {
    let hurried = shop().with(|shop| shop.objectives.rpo = 0);
    let advice =
        advise(Request::builder().service(hurried).service(ProtectedService::of("bare", Strategy::PilotLight)));
    let codes: Vec<&str> = advice.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!((advice.assignments[0].strategy, codes), (Strategy::ActiveActive, vec!["no-offer", "objectives-unmet"]));
    assert!(!advice.assignments[0].meets_objectives);
    let codes = |budget| advise(Request::builder().service(shop()).budget(budget)).warnings.len();
    assert_eq!((codes(399), codes(400)), (1, 0));
}

#[test]
fn names_what_is_idle_and_what_may_yet_stand_by() {
    let standby = Asset { site: "east".to_owned(), ..Asset::of("standby", "shop", 50, 0.0) };
    let idle =
        Request::builder().asset(Asset::of("busy", "shop", 90, 0.05)).asset(Asset::of("idle", "shop", 70, 0.049));
    let advice = advise(idle.asset(standby).service(shop()));
    let said: Vec<(&str, Money)> =
        advice.savings.iter().map(|saving| (saving.asset.as_str(), saving.monthly)).collect();
    assert_eq!(said, [("idle", 70 * ONE), ("standby", 50 * ONE)]);
    assert!(advice.savings[1].risk.contains("stands by"), "{:?}", advice.savings);
}

#[test]
fn refuses_settings_that_it_does_not_have() {
    for settings in [r#"{"idle": 5}"#, r#"{"idle-percent": "5"}"#, r#"{"idle-percent": 101}"#] {
        assert!(parse::<Policy>(settings).is_err(), "{settings}");
    }
}
