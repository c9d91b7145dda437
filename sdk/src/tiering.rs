//! What a tiering policy is asked, and answers; and, for tests, requests to start from.
//!
//! ```
//! use tidegate_sdk::days_ago;
//! use tidegate_sdk::tiering::{Item, Placement, Request};
//!
//! let request = Request::builder("invoices").item(Item::read("2019.pdf", days_ago(2_000))).rto(3_600_000).build();
//! assert_eq!(request.price(&request.items[0].object).map(|price| price.minimum_days), Some(0));
//! ```

use crate::contract::{Money, Object, Reason, StorageClass, Timestamp};
use crate::time::{DAY, NOW};

pub use crate::bindings::exports::tidegate::dr::tiering_policy::{Choice, Item, Placement, Price, Request};

impl Request {
    /// A bucket in the west without objects yet, with a price for each class there as large clouds have them.
    pub fn builder(bucket: &str) -> RequestBuilder {
        RequestBuilder(Request {
            now: NOW,
            bucket: bucket.to_owned(),
            rto: None,
            items: Vec::new(),
            prices: vec![
                Price::of(StorageClass::Hot, 23_000),
                Price { minimum_days: 30, minimum_bytes: 128_000, ..Price::of(StorageClass::Cool, 12_500) },
                Price { minimum_days: 90, retrieval_time: 300_000, ..Price::of(StorageClass::Cold, 3_600) },
                Price { minimum_days: 180, retrieval_time: DAY / 2, ..Price::of(StorageClass::Archive, 1_000) },
            ],
            settings: String::new(),
            facts: Vec::new(),
        })
    }

    /// What an object costs where it is.
    pub fn price(&self, object: &Object) -> Option<&Price> {
        let its_own = |price: &&Price| price.stored_as == object.stored_as && price.location == object.location;
        self.prices.iter().find(its_own)
    }
}

/// Builds a [`Request`].
pub struct RequestBuilder(Request);

impl RequestBuilder {
    /// One more object.
    pub fn item(mut self, item: Item) -> Self {
        self.0.items.push(item);
        self
    }

    /// How fast (ms) the data must be readable again.
    pub fn rto(mut self, rto: u64) -> Self {
        self.0.rto = Some(rto);
        self
    }

    /// Anything else, by changing the record itself.
    pub fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.0);
        self
    }

    /// The request.
    pub fn build(self) -> Request {
        self.0
    }
}

impl Item {
    /// A hot object of a gigabyte in the west that was written ten years ago and last read then.
    pub fn read(key: &str, accessed_at: Timestamp) -> Self {
        let object = Object {
            key: key.to_owned(),
            version: None,
            size: 1_000_000_000,
            stored_as: StorageClass::Hot,
            stored_since: NOW - 3_650 * DAY,
            location: "west".to_owned(),
            created_at: NOW - 3_650 * DAY,
            accessed_at: Some(accessed_at),
            checksum: None,
            locked_until: None,
            legal_hold: false,
            tags: Vec::new(),
            facts: Vec::new(),
        };
        Item { object, only_verified_copy: false }
    }

    /// Anything else, by changing the record itself.
    pub fn with(mut self, change: impl FnOnce(&mut Item)) -> Self {
        change(&mut self);
        self
    }
}

impl Price {
    /// A class in the west, for that much a gigabyte and month; what is not hot costs a cent a gigabyte to be read.
    pub fn of(class: StorageClass, gigabyte_month: Money) -> Self {
        Price {
            stored_as: class,
            location: "west".to_owned(),
            gigabyte_month,
            retrieval_gigabyte: if class == StorageClass::Hot { 0 } else { 10_000 },
            thousand_requests: 5_000,
            minimum_days: 0,
            minimum_bytes: 0,
            retrieval_time: 0,
        }
    }
}

impl Choice {
    /// Leave an object where it is.
    pub fn stay(key: &str, code: impl Into<String>, text: impl Into<String>) -> Self {
        Choice { key: key.to_owned(), placement: Placement::Stay, saves: 0, reasons: vec![Reason::new(code, text)] }
    }

    /// Store it as another class, which saves that much a month.
    pub fn move_to(
        key: &str,
        class: StorageClass,
        saves: Money,
        code: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Choice { placement: Placement::MoveTo(class), saves, ..Choice::stay(key, code, text) }
    }
}

impl StorageClass {
    /// The class's name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            StorageClass::Hot => "hot",
            StorageClass::Cool => "cool",
            StorageClass::Cold => "cold",
            StorageClass::Archive => "archive",
        }
    }
}
