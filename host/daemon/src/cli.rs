//! The command line: what an operator types, and what they read.
//!
//! Knows no rule of the kernel and keeps no state: every command asks a running host, reads the fleet file or reads the
//! journal, and shows what it found. The modules are in the order of a stranger's first hour.

use std::path::PathBuf;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};

pub mod check;
pub mod console;
pub mod failed;
pub mod init;
pub mod reach;
pub mod text;
pub mod times;

/// Decides whether traffic and data move to another region, and can prove why.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = false,
    max_term_width = 120,
    after_help = "Examples:
  tidegate demo                                  watch a region die, on this machine, in a minute
  tidegate init                                  write a fleet file, by answering a few questions
  tidegate run --fleet fleet.toml                start the host
  tidegate status                                what is where, the worst first
  tidegate explain shop                          why it moved, or did not

Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 refused by a guard, 4 waiting for a person."
)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// The fleet file [default: fleet.toml here, else /etc/tidegate/fleet.toml].
    #[arg(long, value_name = "FILE", global = true, env = "TIDEGATE_FLEET", help_heading = "Everywhere")]
    pub fleet: Option<PathBuf>,
    /// The host to talk to: unix:PATH or https://NAME:PORT [default: the fleet file's Unix socket].
    #[arg(long, value_name = "ADDRESS", global = true, env = "TIDEGATE_HOST", help_heading = "Everywhere")]
    pub host: Option<String>,
    /// File with the token to show to a host that is not on a Unix socket.
    #[arg(long, value_name = "FILE", global = true, env = "TIDEGATE_TOKEN_FILE", help_heading = "Everywhere")]
    pub token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust instead of the system's.
    #[arg(long, value_name = "FILE", global = true, env = "TIDEGATE_CA", help_heading = "Everywhere")]
    pub ca: Option<PathBuf>,
    /// Print JSON: one document, or one on each line of a stream.
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub json: bool,
    /// Whether to use colour; auto = on a terminal, unless NO_COLOR is set.
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t = Colour::Auto, help_heading = "Everywhere")]
    pub color: Colour,
}

/// Whether to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal only.
    Auto,
    /// In a pipe too.
    Always,
    /// Not even on a terminal.
    Never,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first fleet file, commented, in observe mode.
    Init(init::Init),
    /// Say what is wrong with the fleet file, and which losses each service survives by itself.
    Check(check::Check),
    /// Print what completes commands in a shell.
    Completions(Completions),
}

/// `completions SHELL`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tidegate completions bash > /etc/bash_completion.d/tidegate
  tidegate completions zsh > ~/.zfunc/_tidegate
  tidegate completions fish > ~/.config/fish/completions/tidegate.fish")]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// The whole program, from the command line to the exit code.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let console = Console::new(arguments.common.json, arguments.common.color.into());
    let done = tokio::runtime::Runtime::new()
        .map_err(|error| Failed::new(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(run(arguments, &console)));
    let exit = done.unwrap_or_else(|failed| {
        if failed.exit != Exit::Done {
            console.failed(&failed);
        }
        failed.exit
    });
    exit.into()
}

/// Carries out what was typed.
pub async fn run(arguments: Arguments, console: &Console) -> Result<Exit, Failed> {
    let common = arguments.common;
    match arguments.command {
        Command::Init(init) => init::run(init, common.fleet.as_deref(), console),
        Command::Check(_) => check::run(&common, console),
        Command::Completions(completions) => complete(&completions, console),
    }
}

/// The tree of commands, as completions and tests walk it.
pub fn tree() -> clap::Command {
    Arguments::command()
}

fn complete(completions: &Completions, console: &Console) -> Result<Exit, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut tree(), "tidegate", &mut script);
    console.say(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

impl From<Colour> for ColorChoice {
    fn from(colour: Colour) -> Self {
        match colour {
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        }
    }
}
