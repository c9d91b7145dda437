//! What a retention policy is asked, and answers. Its settings are those of the revision that is asked.

use super::{Fact, Millis, Reason, Timestamp};
use serde::{Deserialize, Serialize};

contract_enum! {
    /// What a backup holds.
    Kind {
        /// Everything.
        Full = "full",
        /// What has changed since its parent.
        Incremental = "incremental",
        /// What has changed since the last full one.
        Differential = "differential",
        /// A part of the database's log.
        Log = "log",
        /// A store's own picture of a moment.
        Snapshot = "snapshot",
    }
}

contract! {
    /// One backup.
    #[derive(Eq)]
    struct Backup {
        pub id: String,
        pub kind: Kind,
        pub parent: Option<String>,
        pub taken_at: Timestamp,
        pub size: u64,
        pub verified_at: Option<Timestamp>,
        pub locations: Vec<String>,
        pub locked_until: Option<Timestamp>,
        pub holds: Vec<String>,
        pub tags: Vec<String>,
        pub facts: Vec<Fact>,
    }

    /// What is backed up.
    #[derive(Eq)]
    struct Dataset {
        pub name: String,
        pub classification: String,
        pub regulations: Vec<String>,
        pub minimum_age: Option<Millis>,
        pub time_zone: String,
        pub facts: Vec<Fact>,
    }

    /// All that a retention policy is told.
    #[derive(Eq)]
    struct Request { pub now: Timestamp, pub dataset: Dataset, pub backups: Vec<Backup>, pub facts: Vec<Fact> }

    /// What becomes of one backup.
    #[derive(Eq)]
    struct Choice { pub id: String, pub keep: bool, pub reasons: Vec<Reason> }
}
