//! A PostgreSQL cluster of three sites under a host and their agents, and a client that writes numbered rows: what a fault costs
//! the client is measured here, and what it lost is counted.
//!
//! Everything is as an operator would have it: the real binary, a fleet file, declared commands, an enforcer at each site. The
//! client knows PostgreSQL's addresses and nothing of Tidegate.

pub mod acks;
pub mod crashes;
pub mod faults;
pub mod records;
pub mod round;
pub mod stage;
pub mod tree;
pub mod writers;
