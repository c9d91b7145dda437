//! What a policy of any kind is asked and answers, as plain data. A failover policy is asked a whole [`Question`].
//!
//! Knows no WebAssembly.

use crate::{question::Question, world::World};
use serde::Serialize;
use std::sync::Arc;
use tidegate_kernel::contract::{Decision, Timestamp, cost, retention, tiering};

/// One request to a policy; shared, because it is asked again of every worker and every revision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Request {
    /// Where should a service be served from?
    Failover(Arc<Question>),
    /// Which backups stay?
    Retention(Arc<retention::Request>),
    /// Which class does each object belong in?
    Tiering(Arc<tiering::Request>),
    /// What is protection worth?
    Cost(Arc<cost::Request>),
}

/// What a policy says to a request of its kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// A verdict.
    Failover(Decision),
    /// For each backup, in the request's order.
    Retention(Vec<retention::Choice>),
    /// For each object, in the request's order.
    Tiering(Vec<tiering::Choice>),
    /// How each service is to be protected, and what could be saved.
    Cost(cost::Advice),
}

impl Request {
    /// The world whose policies are asked this.
    pub fn world(&self) -> World {
        match self {
            Request::Failover(_) => World::Failover,
            Request::Retention(_) => World::Retention,
            Request::Tiering(_) => World::Tiering,
            Request::Cost(_) => World::Cost,
        }
    }

    /// The moment that it is about: what a policy's clocks show.
    pub fn now(&self) -> Timestamp {
        match self {
            Request::Failover(question) => question.situation.now,
            Request::Retention(request) => request.now,
            Request::Tiering(request) => request.now,
            Request::Cost(request) => request.now,
        }
    }

    /// All that a policy's randomness may depend on. Of a failover question the situation: the journal has it whole, so that a
    /// decision can be repeated.
    pub(crate) fn seed(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Request::Failover(question) => serde_json::to_vec(&question.situation),
            others => serde_json::to_vec(others),
        }
    }
}
