//! What the policy promises, each promise once.

use new_policy::Policy;
use tidegate_sdk::tiering::{Choice, Item, Placement, Request, RequestBuilder};
use tidegate_sdk::{StorageClass, TieringPolicy, days_ago, parse};

const HOUR: u64 = 3_600_000;

fn place(request: RequestBuilder) -> Choice {
    let policy: Policy = parse("").expect("good settings");
    policy.place(&request.build()).expect("choices").remove(0)
}

/// A bucket with a price for each class, and a gigabyte in it that was last read so many days ago.
fn unread_for(days: u64) -> RequestBuilder {
    Request::builder("invoices").item(Item::read("2019.pdf", days_ago(days)))
}

fn with(change: impl FnOnce(&mut Item)) -> RequestBuilder {
    unread_for(400).with(|request| change(&mut request.items[0]))
}

#[test]
fn moves_what_nobody_reads_to_where_it_costs_least() {
    let cases = [
        ("read of late", unread_for(29), None, 0),
        ("unread for a month", unread_for(30), Some(StorageClass::Cool), 10_500),
        ("unread for a season", unread_for(90), Some(StorageClass::Cold), 19_400),
        ("unread for a year", unread_for(365), Some(StorageClass::Archive), 22_000),
        ("needed within an hour", unread_for(365).rto(HOUR), Some(StorageClass::Cold), 19_400),
        ("needed at once", unread_for(365).rto(0), Some(StorageClass::Cool), 10_500),
        ("never read", with(|item| item.object.accessed_at = None), Some(StorageClass::Archive), 22_000),
    ];
    for (story, request, class, saves) in cases {
        let said = place(request);
        assert_eq!((said.placement, said.saves), (class.map_or(Placement::Stay, Placement::MoveTo), saves), "{story}");
    }
}

#[test]
fn leaves_alone_what_is_bound_and_says_by_what() {
    let cases = [
        ("only-verified-copy", with(|item| item.only_verified_copy = true)),
        ("legal-hold", with(|item| item.object.legal_hold = true)),
        ("locked", with(|item| item.object.locked_until = Some(days_ago(0) + 1))),
    ];
    for (code, request) in cases {
        let said = place(request);
        assert_eq!((said.placement, said.reasons[0].code.as_str()), (Placement::Stay, code));
    }
}

#[test]
fn moves_only_what_saves_money_by_prices_that_are_known() {
    let costly =
        |request: &mut Request| request.prices.iter_mut().for_each(|price| price.retrieval_gigabyte = 1_000_000);
    let new = |request: &mut Request| {
        request.items[0].object.stored_since = days_ago(29);
        request.items[0].object.stored_as = StorageClass::Cool;
    };
    let cases = [
        ("dear to read back", "no-saving", unread_for(400).with(costly)),
        ("charged as a larger one", "no-saving", with(|item| item.object.size = 1).rto(0)),
        ("charged for the month in any case", "minimum-days", unread_for(400).with(new)),
        ("without a price", "no-price", with(|item| item.object.location = "mars".to_owned())),
    ];
    for (story, code, request) in cases {
        let said = place(request);
        assert_eq!((said.placement, said.reasons[0].code.as_str()), (Placement::Stay, code), "{story}");
    }
}

#[test]
fn refuses_settings_that_it_does_not_have() {
    for settings in [r#"{"cool": 1}"#, r#"{"cool-after-days": "1"}"#, r#"{"cool-after-days": 36501}"#] {
        assert!(parse::<Policy>(settings).is_err(), "{settings}");
    }
}
