//! `tidegate channel`: whether people can be told.

use clap::{Args, Subcommand};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::{Common, reach};
use crate::client::encode;

/// What can be done with channels.
#[derive(Debug, Subcommand)]
pub enum Channel {
    /// Send a message to try a channel: not a real alarm, and it says so.
    Test(Test),
}

/// `channel test NAME`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate channel test on-call")]
pub struct Test {
    /// The channel, as the fleet file calls it.
    pub name: String,
}

/// Carries out one of them.
pub async fn run(common: &Common, console: &Console, asked: &Channel) -> Result<Exit, Failed> {
    let Channel::Test(Test { name }) = asked;
    let path = format!("/v1/channels/{}/test", encode(name));
    let sent = reach::host(common)?.send::<serde_json::Value>(&path, &()).await?;
    console.show_fetched(&sent, |_, _| format!("sent to {name}: see whether it arrived"))?;
    Ok(Exit::Done)
}
