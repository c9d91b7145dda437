//! Runs plugins: WebAssembly components that decide (policies) or touch the world (providers), each in a sandbox that
//! reaches only what it was granted and uses only what it was allowed.
//!
//! Speaks the kernel's plain words ([`tidegate_kernel::contract`]) to everybody else; the contract's generated types
//! stay inside. Does not know what a failover is: it asks, bounds, records and replaces.

mod bindings;
mod cache;
mod engine;
pub mod grants;
mod http;
pub mod inspect;
pub mod limits;
pub mod log;
mod meter;
mod metrics;
pub mod neutral;
mod policy;
mod provider;
mod question;
mod refusal;
mod request;
mod selftest;
mod slot;
mod stage;
mod ticker;
mod translate;
mod world;

pub use engine::{Engine, EngineConfig};
pub use grants::Grants;
pub use inspect::Inspected;
pub use limits::{LimitSettings, Limits};
pub use metrics::Snapshot;
pub use policy::{PolicyRevision, PolicyWorker};
pub use provider::{
    host::{CommandRun, CommandRunner, Nothing, Outside, SecretSource},
    pool::ProviderHealth,
    supervision,
};
pub use question::{Answer, Decided, PolicyFault, Question};
pub use refusal::Refusal;
pub use request::{Reply, Request};
pub use slot::{PolicySlot, ProviderSlot, RevisionName, Swapped};
pub use stage::{RevisionSpec, Staged};
pub use world::{CONTRACT, World};
