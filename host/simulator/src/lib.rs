//! Virtual time and a simulated world around the kernel, the guard, the runbooks and the compiled policies of production.
//!
//! The same seed gives the same bytes. Only transport and time are replaced: sensing, deciding, guarding, acting and the supervision
//! of providers are production's own, and a simulated host writes the records that a real one would. Knows no file, no socket and
//! no clock.

// In the order in which to read them.
pub mod chance;
pub mod checkers;
pub mod decide;
pub mod fault;
pub mod fleets;
pub mod scenario;
pub mod simulation;
pub mod storm;
mod timeline;
mod world;

pub use decide::{Compiled, Decider, Plain};
pub use fault::Fault;
pub use simulation::{Ended, Happening, Script, Seen, Simulation, What};
