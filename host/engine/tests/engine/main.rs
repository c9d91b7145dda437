//! The engine against real components, most of them hostile.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod commands;
mod contract;
mod databases;
mod kinds;
mod loading;
mod policies;
mod providers;
mod secured;
mod situation;
mod support;
mod swapping;
