//! The default failover policy: consensus in, one verdict with its reasons out.
//!
//! Moves traffic, and with a database behind it data: then the standbys are asked too, and what would be lost is weighed.

pub mod analysis;
pub mod candidates;
pub mod database;
pub mod decide;
pub mod doubt;
pub mod failback;
pub mod limits;
pub mod memo;
pub mod settings;
pub mod shares;
pub mod words;

pub use settings::FailoverQuorum;

use tidegate_sdk::{Decision, FailoverPolicy, Situation};

impl FailoverPolicy for FailoverQuorum {
    const MEMO_FORMAT: &'static str = memo::FORMAT;

    fn decide(&self, situation: &Situation) -> Result<Decision, String> {
        decide::decide(self, situation)
    }
}

tidegate_sdk::failover_policy!(FailoverQuorum);
