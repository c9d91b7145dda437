//! The daemon: everything that touches the world around the kernel, and the command line.
//!
//! Modules in reading order: what a host is made of, what an agent is made of, what an operator types.

pub mod agent;
pub mod agents;
pub mod allocator;
pub mod api;
pub mod cli;
pub mod client;
pub mod commands;
pub mod demo;
pub mod enforcer;
pub mod host;
pub mod journal;
pub mod lease;
pub mod node;
pub mod prober;
pub mod repeat;
pub mod said;
pub mod secrets;
pub mod tls;
