//! What a retention policy is asked, and answers; and, for tests, requests to start from.
//!
//! ```
//! use tidegate_sdk::days_ago;
//! use tidegate_sdk::retention::{Backup, Request};
//!
//! let request = Request::builder("orders")
//!     .backup(Backup::full("sunday", days_ago(8)).verified())
//!     .backup(Backup::incremental("monday", days_ago(7), "sunday"))
//!     .build();
//! assert_eq!(request.backups[1].parent.as_deref(), Some("sunday"));
//! ```

use crate::contract::Timestamp;
use crate::time::NOW;

pub use crate::bindings::exports::tidegate::dr::retention_policy::{Backup, Choice, Dataset, Kind, Request};

impl Request {
    /// A data set without rules of its own, and no backup yet.
    pub fn builder(dataset: &str) -> RequestBuilder {
        RequestBuilder(Request {
            now: NOW,
            dataset: Dataset {
                name: dataset.to_owned(),
                classification: "internal".to_owned(),
                regulations: Vec::new(),
                minimum_age: None,
                time_zone: "UTC".to_owned(),
                facts: Vec::new(),
            },
            backups: Vec::new(),
            settings: String::new(),
            facts: Vec::new(),
        })
    }
}

/// Builds a [`Request`].
pub struct RequestBuilder(Request);

impl RequestBuilder {
    /// One more backup.
    pub fn backup(mut self, backup: Backup) -> Self {
        self.0.backups.push(backup);
        self
    }

    /// No backup younger than this (ms) goes, whatever a policy says.
    pub fn minimum_age(mut self, age: u64) -> Self {
        self.0.dataset.minimum_age = Some(age);
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

impl Backup {
    /// All of the data, in one place; nobody has tried yet to restore it.
    pub fn full(id: &str, taken_at: Timestamp) -> Self {
        Backup {
            id: id.to_owned(),
            kind: Kind::Full,
            parent: None,
            taken_at,
            size: 1_000_000_000,
            verified_at: None,
            locations: vec!["west".to_owned()],
            locked_until: None,
            holds: Vec::new(),
            tags: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// What has changed since another backup, without which it is worth nothing.
    pub fn incremental(id: &str, taken_at: Timestamp, parent: &str) -> Self {
        Backup { kind: Kind::Incremental, parent: Some(parent.to_owned()), ..Backup::full(id, taken_at) }
    }

    /// A restore has proven it, on the day on which it was taken.
    pub fn verified(mut self) -> Self {
        self.verified_at = Some(self.taken_at);
        self
    }

    /// Its store lets nobody delete it before then.
    pub fn locked_until(mut self, then: Timestamp) -> Self {
        self.locked_until = Some(then);
        self
    }

    /// A case holds it.
    pub fn held_for(mut self, case: &str) -> Self {
        self.holds.push(case.to_owned());
        self
    }
}
