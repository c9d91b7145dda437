//! The command line: what an operator types, and what they read.
//!
//! Knows no rule of the kernel and keeps no state: every command asks a running host, reads the fleet file or reads the
//! journal, and shows what it found.

use std::path::PathBuf;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tidegate_kernel::event::Command as Order;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::{allocator, enforcer};

pub mod channels;
pub mod check;
pub mod console;
pub mod database;
pub mod demonstration;
pub mod evacuate;
pub mod explain;
pub mod failed;
pub mod init;
pub mod journal;
pub mod node;
pub mod orders;
pub mod plugins;
pub mod policy;
pub mod processes;
pub mod reach;
pub mod ready;
pub mod replay;
pub mod report;
pub mod runs;
pub mod status;
pub mod text;
pub mod times;
pub mod what_if;

const FAILOVER_EXAMPLES: &str = "Examples:
  tidegate failover shop --dry-run               the plan, the guards it passes, what it would lose, how that is proven
  tidegate failover shop --to eu-west            asks you to type the service's name
  tidegate failover shop --accept-loss 5s        lose up to 5 s of its data rather than wait

Exit codes: 0 begun (with --watch: done), 1 undone, 2 bad usage, 3 refused by a guard, 4 waiting for a person.";

const SWITCHOVER_EXAMPLES: &str = "Examples:
  tidegate switchover shop --dry-run             which node would lead, and which guards it passes
  tidegate switchover shop --to eu-west --watch  stop writes, catch up, promote, lead traffic, follow it to its end

Exit codes: 0 begun (with --watch: done), 1 undone, 2 bad usage, 3 refused by a guard, 4 waiting for a person.";

const FAILBACK_EXAMPLES: &str = "Examples:
  tidegate failback shop --dry-run               the plan, and the guards it passes
  tidegate failback shop --yes --watch           in a script, following the run to its end

Exit codes: 0 begun (with --watch: done), 1 undone, 2 bad usage, 3 refused by a guard, 4 waiting for a person.";

/// Decides whether traffic and data move to another region, and can prove why.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = false,
    max_term_width = 120,
    after_help = "Examples:
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
    /// Run the host; with a word behind it, show or steer its runs.
    Run(Run),
    /// Stand at a site: look from there, and run the commands declared for it.
    Agent(processes::Agent),
    /// Stop, start and rejoin a PostgreSQL node on this machine: what a site's commands are made of.
    #[command(
        subcommand,
        after_help = "Examples:\n  tidegate node status --data /var/lib/postgresql/15/main\n  \
                      tidegate node stop --data /var/lib/postgresql/15/main --mode fast"
    )]
    Node(node::NodeDo),
    /// Run the embedded name server.
    Nameserver(processes::NameserverOf),
    /// Show what is where, the worst first, and whether it could be moved.
    Status(status::StatusOf),
    /// Check whether a move would work now, changing nothing.
    Ready(ready::Ready),
    /// Show what would become of each service if a site were lost.
    WhatIf(what_if::WhatIf),
    /// Say why a service moved, or did not.
    Explain(explain::ExplainOf),
    /// Move a service to another site: planned where both sides are well, else as an emergency.
    #[command(after_help = FAILOVER_EXAMPLES)]
    Failover(orders::Failover),
    /// Move a service whose two sides are well, and lose nothing.
    #[command(after_help = SWITCHOVER_EXAMPLES)]
    Switchover(orders::MoveService),
    /// Move a service back to where it should be.
    #[command(after_help = FAILBACK_EXAMPLES)]
    Failback(orders::MoveService),
    /// Move everything away from a site, what is needed first.
    Evacuate(evacuate::Evacuate),
    /// Say what a run kept of what was promised: how long, what was lost, step by step.
    Report(report::Report),
    /// Stop automatic moves, of one service or of the fleet.
    Pause(orders::Pause),
    /// Allow automatic moves again.
    Resume(orders::Resume),
    /// List what waits for a person's answer.
    #[command(after_help = "Examples:\n  tidegate questions\n  tidegate questions --json")]
    Questions,
    /// Answer a question with yes.
    Approve(orders::Approve),
    /// Answer a question with no.
    Reject(orders::Reject),
    /// After a drift: what the DNS servers say is right.
    Adopt(orders::Settle),
    /// After a drift: what Tidegate last wrote is right.
    Reapply(orders::Settle),
    /// After the brake or a freeze: automatic moves again.
    Rearm(orders::Rearm),
    /// Show, load, swap and roll back plugins.
    #[command(
        subcommand,
        after_help = "Examples:\n  tidegate plugin list\n  tidegate plugin swap failover/default policy.wasm"
    )]
    Plugin(plugins::Plugin),
    /// Write, check, test and try a policy before it decides for real; needs no host.
    #[command(
        subcommand,
        after_help = "Examples:
  tidegate policy new failover night-watch --lang python
  \
                      tidegate policy test scenarios --policy night-watch.wasm
  tidegate policy storm --runs 10000"
    )]
    Policy(policy::Policy),
    /// Verify, show and export the journal.
    #[command(subcommand, after_help = "Examples:\n  tidegate journal verify\n  tidegate journal show --service shop")]
    Journal(journal::Journal),
    /// Try the channels by which people are told.
    #[command(subcommand, after_help = "Examples:\n  tidegate channel test on-call")]
    Channel(channels::Channel),
    /// Watch a region die on this machine, and what Tidegate does about it.
    Demo(demonstration::Demo),
    /// Serve HTTP for the demonstration.
    #[command(hide = true)]
    DemoSite(demonstration::Site),
    /// Forward connections for the demonstration.
    #[command(hide = true)]
    DemoUplink(demonstration::Uplink),
    /// Become a program that a data directory's owner runs.
    #[command(hide = true)]
    AsOwner(processes::AsOwner),
    /// Be one of the enforcer's parts.
    #[command(hide = true)]
    EnforcerPart(processes::EnforcerPart),
    /// Print what completes commands in a shell.
    Completions(Completions),
    /// Print this program's version, and the running host's.
    #[command(after_help = "Examples:\n  tidegate version\n  tidegate version --json")]
    Version,
}

/// `run`, and `run list` and its like.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  tidegate run --fleet fleet.toml                start the host
  tidegate run list                              the runbooks under way and ended
  tidegate run show r3 --watch
  tidegate run retry r3"
)]
pub struct Run {
    /// How the host runs.
    #[command(flatten)]
    pub host: processes::HostOf,
    /// What to do with its runs; none = run the host.
    #[command(subcommand)]
    pub runs: Option<runs::Runs>,
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
    if matches!(arguments.command, Command::Run(Run { runs: None, .. }) | Command::Agent(_)) {
        // Whoever stays should be small; whoever computes and ends, fast.
        allocator::share_memory_between_threads();
    }
    let console = Console::new(arguments.common.json, arguments.common.color.into());
    let arguments = match run_alone(arguments, &console) {
        Ok(ended) => return ended.unwrap_or_else(|failed| failed_with(&failed, &console)),
        Err(arguments) => *arguments,
    };
    let done = tokio::runtime::Runtime::new()
        .map_err(|error| Failed::new(format!("cannot start: {error}")))
        .and_then(|runtime| runtime.block_on(run(arguments, &console)));
    done.map_or_else(|failed| failed_with(&failed, &console), ExitCode::from)
}

/// What must have one thread only, because it becomes another user, another program or a namespace's first process.
fn run_alone(arguments: Arguments, console: &Console) -> Result<Result<ExitCode, Failed>, Box<Arguments>> {
    match arguments.command {
        Command::Node(asked) => Ok(node::run(console, asked).map(ExitCode::from)),
        Command::AsOwner(asked) => Ok(processes::as_owner(&asked)),
        Command::EnforcerPart(part) => Ok(processes::enforcer_part(&part)),
        Command::Agent(agent) if agent.wants_enforcer() => Ok(processes::enforcer(agent).map(ExitCode::from)),
        Command::Agent(agent) if agent.enforced => match enforcer::follow() {
            // Before there are threads, which would go on with the enforcer's blocked signals.
            Ok(()) => Err(Box::new(Arguments { command: Command::Agent(agent), ..arguments })),
            Err(error) => Ok(Err(error.into())),
        },
        command => Err(Box::new(Arguments { command, ..arguments })),
    }
}

fn failed_with(failed: &Failed, console: &Console) -> ExitCode {
    if failed.exit != Exit::Done {
        console.failed(failed);
    }
    failed.exit.into()
}

/// Carries out what was typed.
pub async fn run(arguments: Arguments, console: &Console) -> Result<Exit, Failed> {
    let common = &arguments.common;
    match arguments.command {
        Command::Init(init) => init::run(init, common.fleet.as_deref(), console),
        Command::Check(check) => check::run(common, console, &check).await,
        Command::Run(Run { runs: None, host }) => processes::host(common, host).await,
        Command::Run(Run { runs: Some(runs), .. }) => runs::run(common, console, runs).await,
        Command::Agent(agent) => processes::agent(common, agent).await,
        Command::Node(asked) => node::run(console, asked),
        Command::AsOwner(_) | Command::EnforcerPart(_) => Err(Failed::usage("this is for the enforcer alone")),
        Command::Nameserver(nameserver) => processes::nameserver(console, nameserver).await,
        Command::Status(status) => status::run(common, console, &status).await,
        Command::Ready(ready) => ready::run(common, console, ready.service.as_deref()).await,
        Command::WhatIf(what_if) => what_if::run(common, console, &what_if).await,
        Command::Explain(explain) => explain::run(common, console, &explain).await,
        Command::Failover(asked) => orders::move_service(common, console, &asked.what, orders::failover(&asked)).await,
        Command::Switchover(asked) => orders::move_service(common, console, &asked, orders::switchover(&asked)).await,
        Command::Failback(asked) => orders::move_service(common, console, &asked, orders::failback(&asked)).await,
        Command::Evacuate(asked) => evacuate::run(common, console, &asked).await,
        Command::Report(asked) => report::run(common, console, &asked).await,
        Command::Pause(asked) => orders::order(common, console, &asked.into()).await,
        Command::Resume(asked) => orders::order(common, console, &asked.into()).await,
        Command::Questions => orders::questions(common, console).await,
        Command::Approve(asked) => orders::approve(common, console, asked).await,
        Command::Reject(asked) => orders::reject(common, console, asked).await,
        Command::Adopt(asked) => orders::order(common, console, &Order::Adopt { service: asked.service }).await,
        Command::Reapply(asked) => orders::order(common, console, &Order::Reapply { service: asked.service }).await,
        Command::Rearm(asked) => orders::order(common, console, &asked.into()).await,
        Command::Plugin(plugin) => plugins::run(common, console, plugin).await,
        Command::Policy(policy) => policy::run(common, console, policy).await,
        Command::Journal(journal) => journal::run(common, console, journal).await,
        Command::Channel(channel) => channels::run(common, console, &channel).await,
        Command::Demo(demo) => demonstration::run(console, demo).await,
        Command::DemoSite(site) => demonstration::serve(site).await,
        Command::DemoUplink(uplink) => demonstration::forward(uplink).await,
        Command::Completions(completions) => complete(&completions, console),
        Command::Version => version(common, console).await,
    }
}

/// The tree of commands, as completions and tests walk it.
pub fn tree() -> clap::Command {
    Arguments::command()
}

/// What the running host says of itself is told where there is one.
async fn version(common: &Common, console: &Console) -> Result<Exit, Failed> {
    let host = match reach::host(common) {
        Ok(client) => client.get::<serde_json::Value>("/v1/version").await.ok(),
        Err(_) => None,
    };
    let running = host.as_ref().and_then(|host| host["version"].as_str());
    let version = env!("CARGO_PKG_VERSION");
    let known = serde_json::json!({ "version": version, "contract": tidegate_engine::CONTRACT, "host": running });
    console.show(&known, |_, _| {
        let running = running.map_or("no host answers".to_owned(), |running| format!("the host runs {running}"));
        format!("tidegate {version}, contract {}; {running}", tidegate_engine::CONTRACT)
    })?;
    Ok(Exit::Done)
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
