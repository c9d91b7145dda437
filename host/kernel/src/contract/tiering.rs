//! What a tiering policy is asked, and answers. Its settings are those of the revision that is asked.

use super::storage::{Object, StorageClass};
use super::{Fact, Millis, Money, Reason, Timestamp};
use serde::{Deserialize, Serialize};

contract! {
    /// What a class costs at a location.
    #[derive(Eq)]
    struct Price {
        pub stored_as: StorageClass,
        pub location: String,
        pub gigabyte_month: Money,
        pub retrieval_gigabyte: Money,
        pub thousand_requests: Money,
        pub minimum_days: u32,
        pub minimum_bytes: u64,
        pub retrieval_time: Millis,
    }

    /// One object, and what a restore needs it for.
    #[derive(Eq)]
    struct Item { pub object: Object, pub only_verified_copy: bool }

    /// All that a tiering policy is told.
    #[derive(Eq)]
    struct Request {
        pub now: Timestamp,
        pub bucket: String,
        pub rto: Option<Millis>,
        pub items: Vec<Item>,
        pub prices: Vec<Price>,
        pub facts: Vec<Fact>,
    }

    /// Where an object belongs.
    #[derive(Eq)]
    enum Placement { Stay, MoveTo(StorageClass), Expire }

    /// What becomes of one object.
    #[derive(Eq)]
    struct Choice { pub key: String, pub placement: Placement, pub saves: Money, pub reasons: Vec<Reason> }
}
