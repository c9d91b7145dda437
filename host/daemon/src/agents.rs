//! The host's side of its agents: who may speak, what they said, what they are to look at, which commands they run.
//!
//! Turns reports into [`Word`]s, whose ages are bounded by the host's own clock, and declared commands into outcomes that are
//! definite or honestly unknown. Draws no conclusion from any of it. [`protocol`] is the manual of what is said.

mod installed;
mod leases;
mod names;
mod own;
pub mod plan;
mod post;
pub mod protocol;
mod rollout;
mod roster;
mod server;
mod trial;
mod work;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::ServerConfig;
use serde::Serialize;
use tidegate_kernel::contract::{Epoch, Failure, Millis, Outcome, Output};
use tidegate_kernel::fleet::Fleet;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::agent::ledger::Ledger;
use installed::Installed;
pub use leases::HeldAt;
use leases::Leases;
pub use names::Names;
pub use own::OwnVantage;
use protocol::{ChainHead, Order, SlotPlan, Task};
pub use rollout::{Moved, RolloutView};
use roster::Roster;
pub use trial::Sight;
pub(crate) use work::other_order;

/// The host's monotonic clock, which goes on after a restart.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// One vantage point's word.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Who says so.
    pub vantage: Arc<str>,
    /// It reaches its control targets.
    pub sound: bool,
    /// What it saw.
    pub looks: Vec<Sighting>,
}

/// One look, with the bound of its age on the host's clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    /// The service's name.
    pub service: Arc<str>,
    /// The site's name.
    pub site: Arc<str>,
    /// What was found.
    pub outcome: Outcome,
    /// How long the answer took.
    pub latency: Option<Millis>,
    /// For people, when bad.
    pub detail: String,
    /// `mono` of the host when it sent the heartbeat that was the newest as the look began.
    pub not_before: Millis,
}

/// What a fleet file, its secrets and the current revisions of the probe slots mean for the agents.
pub struct Installation {
    /// Names, places, commands.
    pub fleet: Arc<Fleet>,
    /// Agent → token. An agent without one cannot speak.
    pub tokens: BTreeMap<String, String>,
    /// Each probe slot's current revision.
    pub slots: BTreeMap<String, SlotPlan>,
    /// Digest → component, for each digest in `slots`.
    pub components: HashMap<String, Bytes>,
}

/// What is known of one agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentView {
    /// Its name.
    pub name: String,
    /// Its site's name.
    pub site: String,
    /// Since its last report; none = never heard by this host.
    pub heard_ago: Option<Millis>,
    /// It reaches its control targets.
    pub sound: bool,
    /// It works by its current plan.
    pub plan_current: bool,
    /// What it could not do of its plan.
    pub problems: Vec<String>,
    /// Declared commands that could not be run there, and why.
    pub missing: BTreeMap<String, String>,
    /// It was shown a journal that does not follow from the one it knew.
    pub rewritten: Option<protocol::Rewritten>,
    /// The journal's newest record that it knew of when this host first heard it.
    pub remembers: Option<protocol::ChainHead>,
    /// What has become of its looks.
    pub counters: crate::prober::Counters,
}

/// All agents of a host.
pub struct Agents {
    shared: Arc<Shared>,
    installed: Mutex<Option<Installed>>,
    own_sight: Arc<Mutex<Sight>>,
    address: Option<SocketAddr>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// What every connection needs.
struct Shared {
    /// Drawn at start: heartbeats of an earlier process bound nothing on this one's clock.
    host: u64,
    clock: Clock,
    words: mpsc::Sender<Word>,
    roster: ArcSwap<Roster>,
    chain: Mutex<Option<ChainHead>>,
    /// For the site where the host itself stands.
    here: Ledger,
    leases: Leases,
}

impl Agents {
    /// Listens at `listen` (none = this host has no agents), with TLS if `tls` is there; off loopback it has to be.
    /// Nobody is known before [`Agents::install`]. Commands that run here, at the host's own site, are remembered in `ledger`.
    pub async fn start(
        listen: Option<&str>,
        tls: Option<Arc<ServerConfig>>,
        clock: Clock,
        words: mpsc::Sender<Word>,
        ledger: Ledger,
    ) -> Result<Agents> {
        let shared = Arc::new(Shared {
            host: draw(),
            leases: Leases::new(clock.clone()),
            clock,
            words,
            roster: ArcSwap::default(),
            chain: Mutex::default(),
            here: ledger,
        });
        let mut agents = Agents {
            shared,
            installed: Mutex::default(),
            own_sight: Arc::default(),
            address: None,
            accepting: Mutex::default(),
        };
        let Some(listen) = listen else { return Ok(agents) };
        let listener = bind(listen, tls.is_some()).await?;
        agents.address = Some(listener.local_addr()?);
        let accepting = tokio::spawn(server::accept(listener, tls, agents.shared.clone()));
        agents.accepting = Mutex::new(Some(accepting));
        Ok(agents)
    }

    /// Takes no more connections; the address is free once this returns.
    pub async fn close(&self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // An error: it was cut off, as it was to be.
            let _ = accepting.await;
        }
    }

    /// Where agents report.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// From now on these agents with these plans, at once; but a probe's new revision only for the first failure domain, from
    /// where [`Agents::advance`] leads it on. Those that stay keep their work.
    pub fn install(&self, installation: Installation) -> Result<()> {
        let mut installed = lock(&self.installed);
        let fresh = Installed::new(installation, installed.as_ref(), (self.shared.clock)());
        self.put(&fresh)?;
        *installed = Some(fresh);
        Ok(())
    }

    /// Leads new revisions of probes on to the next failure domain where the one before works well by them, and stops them where
    /// it does not. To be called again and again.
    pub fn advance(&self) -> Vec<Moved> {
        let mut installed = lock(&self.installed);
        let Some(installed) = installed.as_mut() else { return Vec::new() };
        let moved = installed.judge(&self.shared.roster.load(), &self.own_sight, (self.shared.clock)());
        if !moved.is_empty()
            && let Err(error) = self.put(installed)
        {
            tracing::error!("the agents keep their plans: {error:#}");
        }
        moved
    }

    /// How far the newest revision of a probe slot has come; none = everywhere.
    pub fn rollout(&self, slot: &str) -> Option<RolloutView> {
        lock(&self.installed).as_ref()?.view(slot)
    }

    /// To be shown all that the host's own vantage point sees.
    pub fn own_sight(&self) -> Arc<Mutex<Sight>> {
        self.own_sight.clone()
    }

    fn put(&self, installed: &Installed) -> Result<()> {
        let roster = installed.roster(&self.shared.leases.key()?, &self.shared.roster.load())?;
        installed.set_trials(&roster, &self.own_sight, (self.shared.clock)());
        self.shared.roster.store(Arc::new(roster));
        Ok(())
    }

    /// Who holds leases, and the key by which agents know each other, are kept in this directory from now on. To be called
    /// before [`Agents::install`]; without it both are forgotten with this process.
    pub fn keep_leases_in(&self, directory: &Path) -> Result<()> {
        self.shared.leases.keep_in(directory)
    }

    /// Who leads a cluster from now on: leases are renewed for that node alone. None = for nobody.
    pub fn lead(&self, cluster: &str, primary: Option<&str>, epoch: Epoch) {
        self.shared.leases.lead(cluster, primary, epoch);
    }

    /// Renews no lease of an older epoch than this one, tells every agent, and finds out when the last lease of an older one has
    /// ended for certain, on the host's clock. An error says why nobody can tell; ask again. Safe to repeat.
    pub async fn end_lease(&self, cluster: &str, epoch: Epoch) -> Result<Millis, String> {
        self.shared.leases.stop(cluster, epoch);
        let roster = self.shared.roster.load_full();
        for member in roster.members() {
            member.post.work.push(Task::Epoch { cluster: cluster.to_owned(), epoch });
        }
        self.shared.leases.ended(&roster, cluster, epoch).await
    }

    /// Whether the end of a cluster's lease would prove anything: the agent whose enforcer ends its primary, or why there is none.
    pub fn lease_proves(&self, cluster: &str) -> Result<String, String> {
        self.shared.leases.holder(cluster)
    }

    /// What the enforcers hold, by the agents' newest words.
    pub fn holds(&self) -> Vec<HeldAt> {
        self.shared.leases.holds()
    }

    /// The journal has come this far: told to every agent with its next heartbeat.
    pub fn set_chain_head(&self, head: ChainHead) {
        *lock(&self.shared.chain) = Some(head);
    }

    /// Has every agent look at one target at once.
    pub fn look_now(&self, service: &str, site: &str) {
        for member in self.shared.roster.load().members() {
            member.post.work.push(Task::Look { service: service.into(), site: site.into() });
        }
    }

    /// Runs a declared command at a site, once for its key: the site's first agent in the fleet file runs it, or the host
    /// where it stands itself. `Busy`, `Denied`, `NotFound` and `Invalid` mean that nothing was run.
    pub async fn run_command(&self, site: &str, order: Order) -> Result<Output, Failure> {
        let roster = self.shared.roster.load_full();
        if roster.is_here(site) {
            return self.shared.here.run(roster.commands_here(), &order).await;
        }
        let member = roster.at_site(site).ok_or_else(|| Failure::NotFound(format!("no agent stands at {site}")))?;
        let patience = Duration::from_millis(order.timeout) + ANSWER_GRACE;
        member.post.work.run(&member.name, order, patience).await
    }

    /// What is known of each agent.
    pub fn views(&self) -> Vec<AgentView> {
        let now = (self.shared.clock)();
        self.shared.roster.load().members().map(|member| member.view(now)).collect()
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.get_mut().unwrap_or_else(PoisonError::into_inner) {
            accepting.abort();
        }
    }
}

/// Beyond a command's own timeout: the way to the agent and back.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

/// A number that no other process at any time is likely to draw; never 0.
pub(crate) fn draw() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // JSON readers other than ours keep only 53 bits of a number.
    (RandomState::new().build_hasher().finish() >> 11).max(1)
}

/// A panic elsewhere leaves these locks' data whole: each is held for a plain assignment only.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn bind(listen: &str, tls: bool) -> Result<TcpListener> {
    let asked = || format!("listen for agents at {listen}");
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(listen).await.with_context(asked)?.collect();
    ensure!(
        tls || addresses.iter().all(|address| address.ip().is_loopback()),
        "agents would report to {listen} without TLS, which is for loopback only\n  unchanged: nothing listens there\n  \
         next: set certificate and key in [host.tls], or listen on 127.0.0.1"
    );
    TcpListener::bind(&*addresses).await.with_context(asked)
}
