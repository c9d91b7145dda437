//! The contract's words under one roof: what situations, decisions and answers are made of.
//!
//! Their manual is `wit/v0.1.0`; nothing is defined here.

use crate::bindings::exports::tidegate::dr as exported;
use crate::bindings::tidegate::dr as shared;

pub use shared::control::Call;
pub use shared::types::{Epoch, Fact, Failure, Money, Objectives, Reason, Strategy, Tier, Timestamp};

pub use exported::plugin::{Manifest, Problem, Want};

pub use shared::dns::{Endpoint, Route};
pub use shared::health::{Consensus, Observation, Outcome, Status};
pub use shared::replication::{Cluster, Node, Proof, Role, Sighting, SyncSet};
pub use shared::storage::{Object, Page, StorageClass};

pub use exported::failover_policy::{
    Autonomy, Candidate, Decision, Dependency, Invocation, Look, Move, PastMove, Question, Share, Shift, SignalValue,
    SiteView, Situation, State, VantageView, Verdict, Veto,
};

pub use exported::action::Done;
pub use exported::notify::{Message, Severity};
pub use exported::probe::Finding;
pub use shared::command::Output;

/// What a policy may ask about beside its situation; answered from the same frozen picture.
pub mod observe {
    use crate::bindings::tidegate::dr as shared;

    pub use shared::dns::resolve;
    pub use shared::health::{agreed, observations};
    pub use shared::replication::topology;
    pub use shared::storage::{list_objects, stat};
}
