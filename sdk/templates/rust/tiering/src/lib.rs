//! Moves what nobody reads to where it costs less and can still be read in time. Nothing expires.

use std::cmp::Reverse;

use tidegate_sdk::prelude::*;
use tidegate_sdk::tiering::{Choice, Item, Price, Request};
use tidegate_sdk::{Money, days_between, money};

const GIGABYTE: i128 = 1_000_000_000;

/// What an operator can set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Policy {
    /// How long an object has not been read before it may become cool.
    cool_after_days: u64,
    /// How long before it may become cold.
    cold_after_days: u64,
    /// How long before it may go to the archive.
    archive_after_days: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { cool_after_days: 30, cold_after_days: 90, archive_after_days: 365 }
    }
}

impl Settings for Policy {
    fn check(&self) -> Vec<Problem> {
        let Policy { cool_after_days, cold_after_days, archive_after_days } = *self;
        let days = [
            ("/cool-after-days", cool_after_days),
            ("/cold-after-days", cold_after_days),
            ("/archive-after-days", archive_after_days),
        ];
        days.into_iter().filter(|(_, days)| *days > 36_500).map(|(at, _)| Problem::new(at, "at most 36500")).collect()
    }
}

impl TieringPolicy for Policy {
    fn place(&self, request: &Request) -> Result<Vec<Choice>, String> {
        Ok(request.items.iter().map(|item| self.choose(item, request)).collect())
    }
}

impl Policy {
    fn choose(&self, item: &Item, request: &Request) -> Choice {
        let object = &item.object;
        if let Some((code, why)) = bound(item, request.now) {
            return Choice::stay(&object.key, code, why);
        }
        let Some(here) = request.price(object) else {
            return Choice::stay(&object.key, "no-price", "nobody has said what it costs where it is");
        };
        // It has been paid for until then, so that to leave would save nothing.
        if days_between(object.stored_since, request.now) < u64::from(here.minimum_days) {
            return Choice::stay(
                &object.key,
                "minimum-days",
                format!("its class charges for {} days", here.minimum_days),
            );
        }
        // Where nobody counts reads, the day on which it was written is all that is known.
        let unread = days_between(object.accessed_at.unwrap_or(object.created_at), request.now);
        let fits = |price: &&Price| {
            let in_time = request.rto.is_none_or(|rto| price.retrieval_time <= rto);
            price.location == object.location && in_time && unread >= self.after(price.stored_as)
        };
        let colder = request.prices.iter().filter(|price| price.stored_as > object.stored_as).filter(fits);
        let best = colder.max_by_key(|there| (year(here, there, object.size), Reverse(there.stored_as)));
        match best {
            Some(to) if year(here, to, object.size) > 0 => {
                let saves = month(here, object.size).saturating_sub(month(to, object.size));
                let why = format!("not read for {unread} days, and {} is cheaper for it", to.stored_as.name());
                Choice::move_to(&object.key, to.stored_as, saves, "unread", why)
            }
            Some(_) => Choice::stay(&object.key, "no-saving", "no class that is quick enough costs less for it"),
            None => Choice::stay(&object.key, "in-place", "it is read too often, or no colder class is quick enough"),
        }
    }

    fn after(&self, class: StorageClass) -> u64 {
        match class {
            StorageClass::Hot => 0,
            StorageClass::Cool => self.cool_after_days,
            StorageClass::Cold => self.cold_after_days,
            StorageClass::Archive => self.archive_after_days,
        }
    }
}

/// What must stay where it can be read at once, and untouched, whatever it costs.
fn bound(item: &Item, now: Timestamp) -> Option<(&'static str, &'static str)> {
    let locked = item.object.locked_until.is_some_and(|until| until > now);
    let rules = [
        (item.only_verified_copy, "only-verified-copy", "no other copy is proven to restore"),
        (item.object.legal_hold, "legal-hold", "a case holds it"),
        (locked, "locked", "its store has it locked"),
    ];
    rules.into_iter().find(|(holds, ..)| *holds).map(|(_, code, why)| (code, why))
}

/// What a month of it costs: a small object is charged as a larger one.
fn month(price: &Price, size: u64) -> Money {
    money(i128::from(price.gigabyte_month) * i128::from(size.max(price.minimum_bytes)), GIGABYTE)
}

/// What a year elsewhere saves: twelve months, less what it costs to read it once to be moved, to write it by one request, and to
/// read it back once. Simple, and on the safe side: what nobody has read for so long may never be read again.
fn year(here: &Price, there: &Price, size: u64) -> Money {
    let read = |price: &Price| money(i128::from(price.retrieval_gigabyte) * i128::from(size), GIGABYTE);
    let moving = read(here).saturating_add(read(there)).saturating_add(there.thousand_requests / 1_000);
    month(here, size).saturating_sub(month(there, size)).saturating_mul(12).saturating_sub(moving)
}

tidegate_sdk::tiering_policy!(Policy);
