//! `tidegate node`: what a site's commands for a PostgreSQL node are made of.
//!
//! The last line on standard output is one JSON object, and the exit code is 0 only if what was asked for is so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::node::conninfo::Primary;
use crate::node::rejoin::Followed;
use crate::node::start::Role;
use crate::node::stop::Mode;
use crate::node::{self, Node};

/// `node`.
#[derive(Debug, Subcommand)]
pub enum NodeDo {
    /// Bar the node, stop it, and prove that no process of it is left.
    #[command(after_help = "Examples:
  tidegate node stop --data /var/lib/postgresql/15/main --mode fast
  tidegate node stop --data /var/lib/postgresql/15/main --mode immediate")]
    Stop(Stop),
    /// Start the node as a standby or as a primary.
    #[command(after_help = "Examples:
  tidegate node start --data /var/lib/postgresql/15/main --role standby")]
    Start(Start),
    /// Have the node follow a primary, giving up what never reached that one.
    #[command(after_help = "Examples:
  tidegate node rejoin --data /var/lib/postgresql/15/main --name a --primary 10.0.1.5:5432 --user replicator")]
    Rejoin(Follow),
    /// Copy the node's data anew from a primary, and follow it.
    #[command(after_help = "Examples:
  tidegate node rebuild --data /var/lib/postgresql/15/main --name a --primary 10.0.1.5:5432 --user replicator")]
    Rebuild(Follow),
    /// Show the node's processes, its bar and its control file.
    #[command(after_help = "Examples:
  tidegate node status --data /var/lib/postgresql/15/main")]
    Status(Place),
}

/// Which node.
#[derive(Args, Debug)]
pub struct Place {
    /// Its data directory.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where PostgreSQL's programs are [default: where distributions put the version of the data].
    #[arg(long, value_name = "DIR")]
    pub bin: Option<PathBuf>,
    /// Its postgresql.conf [default: in the data directory, or where Debian keeps it].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `node stop`.
#[derive(Args, Debug)]
pub struct Stop {
    #[command(flatten)]
    place: Place,
    /// In order, or at once.
    #[arg(long, value_enum)]
    mode: StopMode,
    /// After which a server that was to end in order is killed.
    #[arg(long, value_name = "LENGTH", value_parser = length, default_value = "10s")]
    patience: Duration,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StopMode {
    /// Connected standbys get all that was written.
    Fast,
    /// As in a crash.
    Immediate,
}

/// `node start`.
#[derive(Args, Debug)]
pub struct Start {
    #[command(flatten)]
    place: Place,
    /// What it comes up as.
    #[arg(long, value_enum)]
    role: StartRole,
    /// How long it may take.
    #[arg(long, value_name = "LENGTH", value_parser = length, default_value = "60s")]
    patience: Duration,
}

/// What a node comes up as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartRole {
    /// Takes no write.
    Standby,
    /// Takes writes.
    Primary,
}

/// `node rejoin` and `node rebuild`.
#[derive(Args, Debug)]
pub struct Follow {
    #[command(flatten)]
    place: Place,
    /// The primary.
    #[arg(long, value_name = "HOST:PORT")]
    primary: String,
    /// What the node calls itself towards the primary: its name in the fleet file.
    #[arg(long)]
    name: String,
    /// The role for replication; for a rewind a superuser, or one that may read files.
    #[arg(long, default_value = "replicator")]
    user: String,
    /// File with that role's password on its first line.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The database that a rewind connects to.
    #[arg(long, default_value = "postgres")]
    database: String,
    /// PostgreSQL's sslmode [default: disable for a loopback address, else verify-full].
    #[arg(long, value_name = "SSLMODE")]
    tls: Option<String>,
    /// How long each of stopping, starting and the first streaming may take.
    #[arg(long, value_name = "LENGTH", value_parser = length, default_value = "60s")]
    patience: Duration,
}

/// Does what was asked for.
pub fn run(console: &Console, asked: NodeDo) -> Result<Exit, Failed> {
    match asked {
        NodeDo::Stop(stop) => {
            let stopped = node::stop::stop(&stop.place.node()?, stop.mode.into(), stop.patience)?;
            tell(console, &stopped)?;
            Ok(if stopped.is_proof() { Exit::Done } else { Exit::Failed })
        }
        NodeDo::Start(start) => {
            tell(console, &node::start::start(&start.place.node()?, start.role.into(), start.patience)?)
        }
        NodeDo::Rejoin(follow) => follow.carry_out(console, node::rejoin::rejoin),
        NodeDo::Rebuild(follow) => follow.carry_out(console, node::rebuild::rebuild),
        NodeDo::Status(place) => tell(console, &place.node()?.status()?),
    }
}

impl Place {
    fn node(&self) -> Result<Node, Failed> {
        Ok(Node::at(&self.data, self.bin.as_deref(), self.config.as_deref())?)
    }
}

type Way = fn(&Node, &Primary, Duration) -> anyhow::Result<Followed>;

impl Follow {
    fn carry_out(&self, console: &Console, way: Way) -> Result<Exit, Failed> {
        // The password first: once this process belongs to the data directory's owner, it may not be readable.
        let primary = self.primary()?;
        tell(console, &way(&self.place.node()?, &primary, self.patience)?)
    }

    fn primary(&self) -> Result<Primary, Failed> {
        let (host, port) = Primary::address(&self.primary)
            .map_err(|error| Failed::usage(format!("{error:#}")).unchanged("the node"))?;
        let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let tls = self.tls.clone().unwrap_or_else(|| if loopback { "disable" } else { "verify-full" }.to_owned());
        Ok(Primary {
            host,
            port,
            user: self.user.clone(),
            database: self.database.clone(),
            password: self.password_file.as_deref().map(password).transpose()?,
            name: self.name.clone(),
            tls,
        })
    }
}

impl From<StopMode> for Mode {
    fn from(mode: StopMode) -> Self {
        match mode {
            StopMode::Fast => Mode::Fast,
            StopMode::Immediate => Mode::Immediate,
        }
    }
}

impl From<StartRole> for Role {
    fn from(role: StartRole) -> Self {
        match role {
            StartRole::Standby => Role::Standby,
            StartRole::Primary => Role::Primary,
        }
    }
}

/// Always JSON: who reads it is a provider.
fn tell(console: &Console, told: &impl Serialize) -> Result<Exit, Failed> {
    console.document(told)?;
    Ok(Exit::Done)
}

fn length(text: &str) -> Result<Duration, String> {
    let length = tidegate_kernel::fleet::parse_duration(text).map(Duration::from_millis);
    length.ok_or_else(|| format!("{text:?} is no length of time such as \"10s\""))
}

fn password(path: &Path) -> Result<String, Failed> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failed::usage(format!("cannot read the password: {error}")).at(path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
