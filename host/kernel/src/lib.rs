//! The pure heart of Tidegate: fleet model, sensing, consensus, decisions, guard, runbooks, journal records.
//!
//! Knows no tokio, no wasmtime, no clock, no file and no socket: events go in, effects come out. Whatever drives it
//! (the daemon, a test, a simulator) brings the time along with each event.
//!
//! Two halves: *sensing* takes every look and tells edges, and is not journaled; *deciding* sees only edges, and each
//! change of its [`state::State`] is a [`record::Transition`] that stands in the journal before anything acts on it.

// In the order in which to read them.
mod capacity;
mod clusters;
pub mod consensus;
pub mod contract;
mod controller;
mod desk;
mod evacuation;
pub mod event;
pub mod fleet;
pub mod guard;
mod kernel;
mod notices;
mod orders;
pub mod picture;
mod questions;
mod readiness;
pub mod record;
pub mod replay;
mod routes;
pub mod rules;
pub mod runbook;
mod runs;
pub mod saga;
pub mod sensing;
pub mod service;
mod situation;
pub mod state;
pub mod view;

pub use kernel::{Kernel, RecoverError};
