//! What the policy promises, each promise once.

use new_policy::Policy;
use tidegate_sdk::retention::{Backup, Choice, Request, RequestBuilder};
use tidegate_sdk::{DAY, RetentionPolicy, days_ago, parse};

fn select(request: RequestBuilder) -> Vec<Choice> {
    let policy: Policy = parse(r#"{"keep-days": 30, "keep-last": 1}"#).expect("good settings");
    policy.select(&request.build()).expect("choices")
}

/// A young full backup, which is also the last one, and one more.
fn beside_the_last(backup: Backup) -> RequestBuilder {
    Request::builder("orders").backup(Backup::full("last", days_ago(1))).backup(backup)
}

#[test]
fn keeps_what_has_to_stay_and_says_why() {
    let old = || Backup::full("old", days_ago(40));
    let cases = [
        ("nothing keeps it", beside_the_last(old()), false, "expired"),
        ("a day too young", beside_the_last(Backup::full("old", days_ago(29))), true, "young"),
        ("from the future", beside_the_last(Backup::full("old", days_ago(0) + 1)), true, "young"),
        ("its data set is strict", beside_the_last(old()).minimum_age(41 * DAY), true, "minimum-age"),
        ("a restore is proven", beside_the_last(old().verified()), true, "proven"),
        ("locked", beside_the_last(old().locked_until(days_ago(0) + 1)), true, "locked"),
        ("no longer locked", beside_the_last(old().locked_until(days_ago(0))), false, "expired"),
        ("held", beside_the_last(old().held_for("case-7")), true, "held"),
    ];
    for (story, request, keep, code) in cases {
        let said = select(request).pop().expect("a choice for it");
        assert_eq!((said.keep, said.reasons[0].code.as_str()), (keep, code), "{story}");
    }
}

#[test]
fn keeps_the_last_full_backup_however_old_it_is() {
    let request = Request::builder("orders").backup(Backup::full("a", days_ago(400)));
    let said = select(request.backup(Backup::full("b", days_ago(500))));
    assert_eq!(said.iter().map(|said| said.keep).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn keeps_whatever_a_kept_backup_needs_to_be_restored() {
    let request = beside_the_last(Backup::full("base", days_ago(60)))
        .backup(Backup::incremental("one", days_ago(50), "base"))
        .backup(Backup::incremental("two", days_ago(20), "one"))
        .backup(Backup::incremental("aside", days_ago(45), "base"));
    let said = select(request);
    let kept: Vec<&str> = said.iter().filter(|said| said.keep).map(|said| said.id.as_str()).collect();
    assert_eq!(kept, ["last", "base", "one", "two"]);
    assert!(said[1].reasons[0].text.contains("one"), "{said:?}");
}

#[test]
fn a_parent_that_is_missing_and_a_circle_are_no_reason_to_crash() {
    let said = select(beside_the_last(Backup::incremental("orphan", days_ago(40), "gone")));
    assert_eq!((said[1].keep, said[1].reasons[0].code.as_str()), (true, "parent-unknown"));
    let circle = Request::builder("orders").backup(Backup::incremental("a", days_ago(1), "b"));
    let said = select(circle.backup(Backup::incremental("b", days_ago(40), "a")));
    assert!(said.iter().all(|said| said.keep), "{said:?}");
}

#[test]
fn refuses_settings_that_it_does_not_have() {
    for settings in [r#"{"keep": 10}"#, r#"{"keep-days": "10"}"#, r#"{"keep-days": 36501}"#, r#"{"keep-last": 0}"#] {
        assert!(parse::<Policy>(settings).is_err(), "{settings}");
    }
}
