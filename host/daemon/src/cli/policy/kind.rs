//! The four kinds of policies, as they are named on a command line.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tidegate_engine::World;

/// What a policy decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Where a service is served from.
    #[default]
    Failover,
    /// Which backups stay.
    Retention,
    /// Which class an object belongs in.
    Tiering,
    /// What protection is worth its money.
    Cost,
}

impl Kind {
    /// The world of its components.
    pub fn world(self) -> World {
        match self {
            Kind::Failover => World::Failover,
            Kind::Retention => World::Retention,
            Kind::Tiering => World::Tiering,
            Kind::Cost => World::Cost,
        }
    }
}
