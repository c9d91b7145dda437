//! The eleven worlds of the contract: which interfaces each exports and which it may import.
//!
//! Does not know what a component is; `tests/contract.rs` holds this table against the WIT files.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The contract that this host speaks.
pub const CONTRACT: &str = "0.1.0";

/// The package that all of its interfaces belong to.
pub(crate) const PACKAGE: &str = "tidegate:dr";

macro_rules! worlds {
    ($($(#[$doc:meta])* $name:ident $text:literal slot $slot:literal imports [$($import:literal),*] exports [$($export:literal),*];)*) => {
        /// One world of the contract: what a component is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum World { $($(#[$doc])* #[serde(rename = $text)] $name),* }

        impl World {
            /// Every world, in the contract's order.
            pub const ALL: &'static [World] = &[$(World::$name),*];

            /// The world's name in the contract.
            pub fn as_str(self) -> &'static str {
                match self { $(World::$name => $text),* }
            }

            /// The first half of the names of the slots that take it: `failover/default`.
            pub fn slot_prefix(self) -> &'static str {
                match self { $(World::$name => $slot),* }
            }

            /// The interfaces that it may import besides WASI, shared types included.
            pub fn imports(self) -> &'static [&'static str] {
                match self { $(World::$name => &[$($import),*]),* }
            }

            /// The interfaces that it has to export.
            pub fn exports(self) -> &'static [&'static str] {
                match self { $(World::$name => &[$($export),*]),* }
            }
        }
    };
}

worlds! {
    /// Decides when a service moves.
    Failover "failover" slot "failover"
        imports ["types", "log", "health", "replication", "dns"] exports ["plugin", "failover-policy"];
    /// Decides which backups stay.
    Retention "retention" slot "retention" imports ["types", "log", "storage"] exports ["plugin", "retention-policy"];
    /// Decides where objects lie.
    Tiering "tiering" slot "tiering" imports ["types", "log", "storage"] exports ["plugin", "tiering-policy"];
    /// Weighs what protection costs.
    Cost "cost" slot "cost" imports ["types", "log", "storage", "replication"] exports ["plugin", "cost-policy"];
    /// Looks at a target.
    Probe "probe-provider" slot "probe"
        imports ["types", "log", "secrets", "health"] exports ["plugin", "provider", "probe"];
    /// Reads a number.
    Signal "signal-provider" slot "signal" imports ["types", "log", "secrets"] exports ["plugin", "provider", "signal"];
    /// Looks at and controls a database.
    Replication "replication-provider" slot "replication"
        imports ["types", "log", "secrets", "command", "control"]
        exports ["plugin", "provider", "replication", "replication-control"];
    /// Reads and writes names.
    Dns "dns-provider" slot "dns"
        imports ["types", "log", "secrets", "control"] exports ["plugin", "provider", "dns", "dns-control"];
    /// Reads and writes objects.
    Storage "storage-provider" slot "storage"
        imports ["types", "log", "secrets", "control"] exports ["plugin", "provider", "storage", "storage-control"];
    /// Does anything else that a runbook needs.
    Action "action-provider" slot "action"
        imports ["types", "log", "secrets", "command", "control"] exports ["plugin", "provider", "action"];
    /// Tells people.
    Notify "notify-provider" slot "notify"
        imports ["types", "log", "secrets", "control"] exports ["plugin", "provider", "notify"];
}

impl World {
    /// Whether its components decide (and may touch nothing) or touch (and decide nothing).
    pub fn is_policy(self) -> bool {
        matches!(self, World::Failover | World::Retention | World::Tiering | World::Cost)
    }

    /// The world that a slot's name asks for: `dns/primary` takes a `dns-provider`.
    pub fn of_slot(slot: &str) -> Option<World> {
        let (prefix, name) = slot.split_once('/')?;
        World::ALL.iter().copied().find(|world| world.slot_prefix() == prefix && !name.is_empty())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
