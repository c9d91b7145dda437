//! A host's life: start in an order in which nothing acts before it may, serve, and stop so that the next start can go on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use arc_swap::ArcSwap;
use tidegate_kernel::Kernel;
use tidegate_kernel::event::{Event, Moment};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::clock::Clock;
use super::core::{self, Running};
use super::hands::Tasks;
use super::live::Live;
use super::metrics::{self, Metrics};
use super::slots::Slots;
use super::{Host, clusters, heartbeat, memory, recheck, reload, rollout};
use crate::agent::ledger::Ledger;
use crate::agents::protocol::ChainHead;
use crate::agents::{Agents, Word};
use crate::allocator;
use crate::api::{self, Listener, Listening};
use crate::journal::{self, FileJournal, Head, Reader, SEGMENT_BYTES, Store};
use crate::tls;

/// Words of vantage points that may wait for the kernel.
const WORDS: usize = 1_024;

/// How often the providers are looked after.
const FAULTS_EVERY: Duration = Duration::from_secs(1);

/// A step that is under way when the host is told to stop gets this long; after that the next start reads it back.
const STOP_PATIENCE: Duration = Duration::from_secs(20);

/// What the command line may say beside the fleet file.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the engine keeps compiled plugins; none = in the state directory.
    pub cache: Option<PathBuf>,
    /// Threads that policies are decided on; none = one for each processor, two at most.
    pub workers: Option<usize>,
    /// Told once the host serves.
    pub serving: Option<oneshot::Sender<Serving>>,
    /// Stops the host as SIGTERM does: for whoever runs one within a process of their own.
    pub stop: Option<oneshot::Receiver<()>>,
}

/// Where a host that serves can be reached.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The API's listeners.
    pub listening: Vec<Listening>,
    /// Where agents report, if any may.
    pub agents: Option<std::net::SocketAddr>,
}

/// Runs a host until it is told to stop (SIGTERM, SIGINT), or cannot go on.
pub async fn run(fleet_file: &Path, mut options: Options) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    let mut stop = Stop::listen(options.stop.take())?;
    let (samples, sampled) = recheck::channel();
    let (host, mut running, words) = start(fleet_file, samples, &options).await?;
    let listeners = open_listeners(&host).await?;
    let listening = listeners.iter().map(Listener::listening).collect::<anyhow::Result<Vec<_>>>()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(hear(host.clone(), words));
    tasks.spawn(hand_out_heads(host.clone()));
    tasks.spawn(heartbeat::beat(host.clone()));
    tasks.spawn(rollout::follow(host.clone()));
    tasks.spawn(watch_files(host.clone()));
    tasks.spawn(watch_faults(host.clone()));
    tasks.spawn(clusters::watch(host.clone()));
    tasks.spawn(memory::watch(host.clone()));
    tasks.spawn(recheck::follow(host.clone(), sampled));
    let serving = tokio::spawn(api::serve(listeners, host.clone()));
    announce(&host, &listening, begun.elapsed());
    allocator::give_back();
    if let Some(told) = options.serving {
        // Whoever wanted to know may have stopped waiting.
        let _ = told.send(Serving { listening, agents: host.agents().address() });
    }
    let ended = tokio::select! {
        () = stop.asked() => stop_well(&host, &mut running, &mut stop).await,
        end = running.ended() => end,
    };
    serving.abort();
    if let Err(error) = &ended {
        host.alarm(&format!("The host on {} acts no more: {error:#}", host.live().own_site())).await;
    }
    drop(tasks);
    host.agents().close().await;
    if ended.is_ok() {
        running.join();
        tracing::info!(head = host.core().head().n, "stopped; the journal is closed");
    }
    ended
}

/// Everything but the doors.
async fn start(
    fleet_file: &Path,
    samples: recheck::Samples,
    options: &Options,
) -> anyhow::Result<(Arc<Host>, Running, mpsc::Receiver<Word>)> {
    let live = Live::read(fleet_file).context("the fleet file cannot be used; nothing was started")?;
    live.missing.iter().for_each(|missing| tracing::error!("{missing}"));
    let state = live.fleet.host.state.clone();
    let (journal, clock) = open_journal(&state)?;
    let kernel = recover(&state, &live, journal.head(), clock.now())?;
    let metrics = Arc::new(Metrics::default());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    metrics.set(metrics::START, &[], since.as_secs_f64());
    let live = Arc::new(ArcSwap::from_pointee(live));
    let (words, heard) = mpsc::channel(WORDS);
    let agents = Arc::new(start_agents(&live.load(), clock, words.clone()).await?);
    let slots = Slots::open(&live, agents.clone(), metrics.clone(), samples, options).await?;
    let parts = Parts { fleet_file: fleet_file.to_owned(), state, live, clock, slots, agents, words, metrics };
    let (host, running) = begin(kernel, journal, parts)?;
    let live = host.live();
    host.install_agents(&live).context("nothing was started")?;
    host.install_own_looks(&live, &live);
    Ok((host, running, heard))
}

/// All that a host is made of but the way to the kernel.
pub(super) struct Parts {
    pub(super) fleet_file: PathBuf,
    pub(super) state: PathBuf,
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) clock: Clock,
    pub(super) slots: Slots,
    pub(super) agents: Arc<Agents>,
    pub(super) words: mpsc::Sender<Word>,
    pub(super) metrics: Arc<Metrics>,
}

fn begin(kernel: Kernel, journal: FileJournal, parts: Parts) -> anyhow::Result<(Arc<Host>, Running)> {
    let (clock, metrics) = (parts.clock, parts.metrics.clone());
    let mut host = None;
    let running = core::start(kernel, journal, clock, metrics, |core| {
        let made = Arc::new(Host::new(parts, core));
        host = Some(made.clone());
        Tasks::new(made)
    })?;
    Ok((host.context("the kernel's thread was started without a host")?, running))
}

/// Reads the whole journal, checks its chain, and goes on where it ends; a broken one is not started from.
fn open_journal(state: &Path) -> anyhow::Result<(FileJournal, Clock)> {
    let mut opening = FileJournal::open(&journal::directory(state), SEGMENT_BYTES)?;
    let mut last = None;
    for entry in &mut opening {
        last = Some(entry.context(
            "the journal is not as it was written, and nothing was started\n  unchanged: the journal and everything else\n  next: \
             `tidegate journal verify` shows what is wrong; find out who changed it before anything else",
        )?);
    }
    let last = last.map(|entry| entry.record()).transpose()?.map(|record| record.at);
    let journal = opening.finish()?;
    tracing::info!(records = journal.head().n, "the journal's chain is whole");
    Ok((journal, Clock::resume(state, last)?))
}

/// A second pass over the journal, so that no more than one record of it is ever in memory.
fn recover(state: &Path, live: &Live, head: &Head, now: Moment) -> anyhow::Result<Kernel> {
    let mut unreadable = None;
    let entries = Reader::open(&journal::directory(state))?.up_to(head.n);
    let records = entries.map_while(|entry| {
        let record = entry.map_err(anyhow::Error::from).and_then(|entry| entry.record());
        record.map_err(|error| unreadable = Some(error)).ok()
    });
    let kernel = Kernel::recover(live.fleet.clone(), records, now)?;
    unreadable.map_or(Ok(kernel), Err)
}

async fn start_agents(live: &Live, clock: Clock, words: mpsc::Sender<Word>) -> anyhow::Result<Agents> {
    let host = &live.fleet.host;
    let tls = server_tls(live)?;
    let ledger = Ledger::open(&host.state.join("commands"))?;
    let agents = Agents::start(host.agents_listen.as_deref(), tls, Arc::new(move || clock.mono()), words, ledger).await;
    let agents = agents.context("agents cannot report; nothing was started")?;
    agents.keep_leases_in(&host.state.join("leases"))?;
    Ok(agents)
}

fn server_tls(live: &Live) -> anyhow::Result<Option<Arc<rustls::ServerConfig>>> {
    live.fleet.host.tls.as_ref().map(|tls| tls::server(&tls.certificate, &tls.key)).transpose()
}

async fn open_listeners(host: &Host) -> anyhow::Result<Vec<Listener>> {
    let live = host.live();
    let tls = server_tls(&live)?;
    let mut listeners = Vec::new();
    for listen in &live.fleet.host.listen {
        listeners.push(Listener::open(listen, tls.clone()).await?);
    }
    Ok(listeners)
}

fn announce(host: &Host, listening: &[Listening], took: Duration) {
    let fleet = &host.live().fleet;
    let places: Vec<_> = listening.iter().map(ToString::to_string).collect();
    tracing::info!(
        site = host.live().own_site(), services = fleet.services.len(), mode = ?fleet.host.mode, ms = took.as_millis() as u64,
        agents = ?host.agents().address(), "serving at {}", places.join(", ")
    );
}

/// Steps first, then the kernel with what they came to, then the journal.
async fn stop_well(host: &Host, running: &mut Running, stop: &mut Stop) -> anyhow::Result<()> {
    tracing::info!("stopping: no more orders are taken; steps under way may end");
    tokio::select! {
        finished = host.finish_steps(STOP_PATIENCE) => if !finished {
            tracing::warn!("a step is still under way; the next start reads back what became of it");
        },
        () = stop.asked() => tracing::warn!("told twice: not waiting for steps; the next start reads back what became of them"),
    }
    host.core().stop().await;
    running.ended().await
}

/// Hands what the vantage points say to the kernel.
async fn hear(host: Arc<Host>, mut words: mpsc::Receiver<Word>) {
    while let Some(word) = words.recv().await {
        let speaker = host.clone();
        if host.core().tell_as_known(move |_| speaker.live().names.events(word)).await.is_err() {
            return;
        }
    }
}

/// Shows every agent how far the journal has come, so that rewriting it is noticed.
async fn hand_out_heads(host: Arc<Host>) {
    let mut heads = host.core().heads();
    loop {
        let Head { n, hash } = heads.borrow_and_update().clone();
        if n > 0 {
            host.agents().set_chain_head(ChainHead { number: n, hash });
        }
        if heads.changed().await.is_err() {
            return;
        }
    }
}

async fn watch_files(host: Arc<Host>) {
    if let Err(error) = reload::watch(host).await {
        tracing::error!("the fleet file is no longer watched: {error:#}");
    }
}

/// Tells the kernel when a provider can no longer be asked.
async fn watch_faults(host: Arc<Host>) {
    let mut known = BTreeMap::new();
    loop {
        tokio::time::sleep(FAULTS_EVERY).await;
        let faults = host.slots().faults();
        for (slot, text) in faults.iter().filter(|(slot, text)| known.get(*slot) != Some(*text)) {
            let event = Event::PluginFault { slot: slot.clone(), text: text.clone() };
            if host.core().tell(event).await.is_err() {
                return;
            }
        }
        known = faults;
    }
}

/// What ends a host.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    told: Option<oneshot::Receiver<()>>,
}

impl Stop {
    fn listen(told: Option<oneshot::Receiver<()>>) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Stop { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())?, told })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            () = told(&mut self.told) => {}
        }
    }
}

/// Once; whoever has gone away without a word does not stop the host.
async fn told(stop: &mut Option<oneshot::Receiver<()>>) {
    if let Some(receiver) = stop {
        let said = receiver.await.is_ok();
        *stop = None;
        if said {
            return;
        }
    }
    std::future::pending().await
}
