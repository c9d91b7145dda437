//! Objects in buckets, as `storage` of the contract has them.

use super::{Fact, Timestamp};
use serde::{Deserialize, Serialize};

contract_enum! {
    /// How an object is kept, the quickest to read first.
    StorageClass { Hot = "hot", Cool = "cool", Cold = "cold", Archive = "archive" }
}

contract! {
    /// One object.
    #[derive(Eq)]
    struct Object {
        pub key: String,
        pub version: Option<String>,
        pub size: u64,
        pub stored_as: StorageClass,
        pub stored_since: Timestamp,
        pub location: String,
        pub created_at: Timestamp,
        pub accessed_at: Option<Timestamp>,
        pub checksum: Option<String>,
        pub locked_until: Option<Timestamp>,
        pub legal_hold: bool,
        pub tags: Vec<Fact>,
        pub facts: Vec<Fact>,
    }
}
