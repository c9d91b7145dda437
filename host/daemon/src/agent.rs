//! The process that stands at a site: looks from there, tells its host at once, and runs what was declared for the site.
//!
//! Decides nothing. Everything that it works by comes from its host and is kept through the host's restarts; what the two say
//! to each other is in [`crate::agents::protocol`]. Knows plugins only by [`Outfit`].

mod backoff;
mod chain;
mod components;
mod enforced;
mod lease;
pub mod ledger;
mod link;
mod memory;
mod missing;
mod peers;
mod plan;
mod report;
mod slots;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::agents::protocol::{Heartbeat, SlotPlan};
use crate::commands::Declared;
use crate::prober::{Looker, Prober};
use chain::Chain;
use lease::{Keeper, Keeping};
use ledger::Ledger;
use link::Address;

/// Looks that wait for the next report.
const WAITING_MAX: usize = 4_096;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The site where it stands.
    pub site: String,
    /// Its name in the fleet file.
    pub name: String,
    /// `ADDRESS:PORT` of its host.
    pub host: String,
    /// File with its token, read anew for each connection.
    pub token_file: PathBuf,
    /// Certificate authorities to trust (PEM); without it off loopback those of the machine, on loopback no TLS.
    pub ca: Option<PathBuf>,
    /// Authorities that its probes' TLS trusts besides the machine's (PEM).
    pub trust: Option<PathBuf>,
    /// Where components are kept once they were fetched; none = fetched again at each start.
    pub plugins: Option<PathBuf>,
    /// Where it is remembered which commands were run; none = only while the process lives.
    pub state: Option<PathBuf>,
    /// An enforcer stands above this process, at the other end of standard input.
    pub enforced: bool,
}

/// Looks by probe slots that can be changed.
pub trait Outfit: Looker {
    /// From now on exactly these slots. `components` has the code of each, by digest, verified. What cannot be set up is
    /// said, and keeps the revision that it had.
    fn fit(&self, slots: BTreeMap<String, SlotPlan>, components: HashMap<String, Bytes>) -> Fitting<'_>;
}

/// What could not be set up, in the end.
pub type Fitting<'a> = Pin<Box<dyn Future<Output = Vec<String>> + Send + 'a>>;

/// Works until SIGTERM or SIGINT.
pub async fn run(options: Options) -> Result<()> {
    let address = Arc::new(Address::new(&options)?);
    // First of all: a lease must not run out while the engine is being started.
    let keeping = Keeper::start(&options, address.clone())?;
    let slots = slots::Slots::start(options.state.as_deref(), options.trust.as_deref()).await?;
    let stop = async {
        if let Err(error) = told_to_stop().await {
            tracing::error!(%error, "signals cannot be heard");
        }
    };
    work_until(options, address, keeping, Arc::new(slots), stop).await
}

/// Works until `stop`; never ends because its host is away.
pub async fn run_until(options: Options, outfit: Arc<dyn Outfit>, stop: impl Future<Output = ()>) -> Result<()> {
    let address = Arc::new(Address::new(&options)?);
    let keeping = Keeper::start(&options, address.clone())?;
    work_until(options, address, keeping, outfit, stop).await
}

async fn work_until(
    options: Options,
    address: Arc<Address>,
    keeping: Keeping,
    outfit: Arc<dyn Outfit>,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    crate::prober::raise_file_limit();
    let ledger = match &options.state {
        Some(directory) => Ledger::open(directory)?,
        None => Ledger::in_memory(),
    };
    let heard = Arc::new(watch::Sender::new(Heartbeat::default()));
    let (seen, looks) = mpsc::channel(WAITING_MAX);
    let looker: Arc<dyn Looker> = outfit.clone();
    let beat = heard.clone();
    let prober = Prober::start(looker, Arc::new(move || *beat.borrow()), seen);
    let agent = Arc::new(Agent {
        address,
        outfit,
        ledger,
        prober,
        heard,
        leases: keeping.keeper.clone(),
        plan: watch::Sender::default(),
        missing: watch::Sender::default(),
        chain: Mutex::default(),
    });
    tracing::info!(agent = options.name, site = options.site, host = options.host, "the agent looks for its host");
    tokio::select! {
        never = report::run(agent.clone(), looks) => match never {},
        never = plan::run(agent.clone(), options.plugins.clone()) => match never {},
        never = work::run(agent.clone()) => match never {},
        never = missing::run(agent.clone()) => match never {},
        () = stop => {}
    }
    agent.ledger.rest().await;
    tracing::info!("the agent has stopped");
    Ok(())
}

/// SIGTERM or SIGINT.
pub async fn told_to_stop() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupt = tokio::signal::ctrl_c() => interrupt.context("listen for SIGINT"),
    }
}

/// What its three conversations share.
struct Agent {
    address: Arc<Address>,
    outfit: Arc<dyn Outfit>,
    ledger: Ledger,
    prober: Prober,
    /// The last heartbeat.
    heard: Arc<watch::Sender<Heartbeat>>,
    leases: Arc<Keeper>,
    plan: watch::Sender<Applied>,
    /// Declared commands that could not be run here, and why.
    missing: watch::Sender<BTreeMap<String, String>>,
    chain: Mutex<Chain>,
}

/// The plan that it works by.
#[derive(Clone, Default)]
struct Applied {
    version: Option<String>,
    problems: Vec<String>,
    commands: Arc<BTreeMap<String, Declared>>,
    control_targets: Vec<String>,
}

impl Agent {
    fn applied(&self) -> Applied {
        self.plan.borrow().clone()
    }
}
