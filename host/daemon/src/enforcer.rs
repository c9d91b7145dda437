//! The enforcer: stands above the agent and the databases of a site, starts them, and ends a primary whose lease was not renewed.
//!
//! Enforcer → { agent, and for each held node: init of a PID namespace → postmaster }. The databases' lives depend on the enforcer
//! alone: when it dies, the kernel ends each namespace's init, and with it every process in there. The agent may die at any
//! time and is started anew. Single-threaded and without a runtime: what it does must not wait for anything. Decides nothing
//! about who is the primary; that is what the agent hears from its host ([`mod@line`]).

mod children;
pub mod door;
mod entrance;
pub mod held;
mod hold;
pub mod line;
pub mod namespace;
pub mod trial;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use rustix::time::{ClockId, clock_gettime};
use tidegate_kernel::contract::Millis;

pub use watch::run;

/// `CLUSTER/NODE=DATA_DIR`: a node that this site's enforcer starts and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The cluster's name in the fleet file.
    pub cluster: String,
    /// The node's name in the fleet file.
    pub node: String,
    /// Its data directory.
    pub data: PathBuf,
}

/// What the enforcer is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The nodes that it holds.
    pub holds: Vec<Hold>,
    /// Where PostgreSQL's programs are; none = where distributions put them.
    pub bin: Option<PathBuf>,
    /// What this binary becomes an agent with.
    pub agent: Vec<OsString>,
}

impl std::str::FromStr for Hold {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Hold, String> {
        let parts = text.split_once('=').and_then(|(name, data)| Some((name.split_once('/')?, data)));
        match parts {
            Some(((cluster, node), data)) if !cluster.is_empty() && !node.is_empty() && !data.is_empty() => {
                Ok(Hold { cluster: cluster.into(), node: node.into(), data: data.into() })
            }
            _ => Err(format!("{text:?} is not CLUSTER/NODE=DATA_DIR")),
        }
    }
}

/// This process ends with the enforcer that started it, and has none of the signals blocked that the enforcer has.
pub fn follow() -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("arrange to end with the enforcer")?;
    SigSet::all().thread_unblock().context("unblock signals")
}

/// Milliseconds since the machine was started, in which it was suspended counted too: leases end by this clock.
pub fn since_boot() -> Millis {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as Millis * 1_000 + time.tv_nsec as Millis / 1_000_000
}

/// The name of the hidden command that is one of the enforcer's parts.
pub const PART: &str = "enforcer-part";
