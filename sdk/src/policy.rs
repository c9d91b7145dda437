//! The four policies, each a trait of one function: a value of the settings, asked to decide.
//!
//! A policy is a pure function; it gets a fresh instance for every decision, so it has nothing to keep but its memo.

use crate::contract::{Decision, Situation};
use crate::settings::Settings;
use crate::{cost, retention, tiering};

/// Decides where a service should be served from. Exported by [`failover_policy!`](crate::failover_policy).
pub trait FailoverPolicy: Settings {
    /// Names the memo's form; a revision with another one starts with an empty memo.
    const MEMO_FORMAT: &'static str = "";

    /// Called whenever something has changed. An error means hold, and an alarm.
    fn decide(&self, situation: &Situation) -> Result<Decision, String>;
}

/// Decides which backups stay. Exported by [`retention_policy!`](crate::retention_policy).
pub trait RetentionPolicy: Settings {
    /// One choice for each backup of the request, in its order.
    fn select(&self, request: &retention::Request) -> Result<Vec<retention::Choice>, String>;
}

/// Decides which storage class an object belongs in. Exported by [`tiering_policy!`](crate::tiering_policy).
pub trait TieringPolicy: Settings {
    /// One choice for each item of the request, in its order.
    fn place(&self, request: &tiering::Request) -> Result<Vec<tiering::Choice>, String>;
}

/// Advises what protection is worth its money. Exported by [`cost_policy!`](crate::cost_policy).
pub trait CostPolicy: Settings {
    /// The best assignment of strategies within the budget, and what could be saved.
    fn advise(&self, request: &cost::Request) -> Result<cost::Advice, String>;
}
