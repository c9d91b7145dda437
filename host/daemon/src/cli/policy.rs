//! `tidegate policy`: write, check, test and try a policy before it decides for real. Needs no running host.

mod junit;
pub mod report;
mod simulated;
pub mod storm;
pub mod test;
mod workbench;

use clap::Subcommand;

use crate::cli::Common;
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};

pub use workbench::{Wanted, Workbench};

/// What can be done with a policy.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Play scenarios with it, and say what did not go as it should have.
    Test(test::Test),
    /// Send thousands of random disasters over it, and keep score.
    Storm(storm::StormOf),
    /// Play one disaster of a storm again, line by line.
    Replay(storm::Replay),
}

/// Carries out one of them.
pub async fn run(common: &Common, console: &Console, asked: Policy) -> Result<Exit, Failed> {
    match asked {
        Policy::Test(asked) => test::run(console, &asked).await,
        Policy::Storm(asked) => storm::run(console, common.fleet.as_deref(), &asked).await,
        Policy::Replay(asked) => storm::again(console, common.fleet.as_deref(), &asked).await,
    }
}
