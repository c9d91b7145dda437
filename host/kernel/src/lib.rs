//! The pure heart of Tidegate: fleet model, sensing, consensus, decisions, guard, runbooks, journal records.
//!
//! Knows no tokio, no wasmtime, no clock, no file and no socket: events go in, effects come out. Whatever drives it
//! (the daemon, a test, a simulator) brings the time along with each event.

pub mod consensus;
pub mod contract;
pub mod event;
pub mod fleet;
pub mod record;
pub mod sensing;
