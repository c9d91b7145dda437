//! Looks at every target in its time: evenly spread, never queued up, and so that a black hole starves nobody.
//!
//! Knows nothing of how a look is done ([`Looker`]), of what follows from it, or of which host or agent it works for.
//! Each target has a fixed phase in its interval, so looks neither drift nor come in bursts, and a new list of targets
//! leaves the phase of the old ones alone. A look that cannot begin in its time is skipped and counted.

mod bulkhead;
pub mod control;
mod schedule;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Failure, Finding, Millis, Outcome};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::agents::protocol::Heartbeat;
pub use bulkhead::room;
use bulkhead::{Bulkheads, Place};
use schedule::{Due, Schedule};

/// What one look answers, when it does.
pub type Looking<'a> = Pin<Box<dyn Future<Output = Result<Finding, Failure>> + Send + 'a>>;

/// How a look is done: by the engine's probe slots, or in a test by something simpler.
pub trait Looker: Send + Sync + 'static {
    /// One look at one target. `bulkhead` names the site, so that the looks at one site cannot use up what the others need.
    fn look<'a>(&'a self, slot: &'a str, bulkhead: &'a str, target: &'a str, timeout: Duration) -> Looking<'a>;
}

/// One service at one site, and how it is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// The service's name.
    pub service: Arc<str>,
    /// The site's name.
    pub site: Arc<str>,
    /// The probe's slot.
    pub slot: Arc<str>,
    /// What the probe is told, JSON.
    pub target: Arc<str>,
    /// From one look to the next.
    pub interval: Millis,
    /// After which a look has found `timed-out`.
    pub timeout: Millis,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
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
    /// The last heartbeat heard when the look *began*: it is not older than that.
    pub heartbeat: Heartbeat,
}

/// What has become of the looks so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counters {
    /// Fell due.
    pub due: u64,
    /// Came back, whatever they found.
    pub done: u64,
    /// Did not begin: their time had passed, the one before was still under way, or their site's bulkhead was full.
    pub skipped: u64,
    /// Began more than a tenth of their interval late.
    pub overdue: u64,
}

/// Looks until it is dropped.
pub struct Prober {
    orders: mpsc::UnboundedSender<Order>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Prober {
    /// Starts without targets. `heartbeat` tells the last heartbeat heard; what was seen goes to `seen`, and while nobody
    /// takes it from there looks are skipped rather than kept.
    pub fn start(
        looker: Arc<dyn Looker>,
        heartbeat: Arc<dyn Fn() -> Heartbeat + Send + Sync>,
        seen: mpsc::Sender<Seen>,
    ) -> Prober {
        let (orders, inbox) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let eyes = Arc::new(Eyes { looker, heartbeat, seen, counts: counts.clone() });
        let watch = Watch { eyes, started: Instant::now(), entries: Vec::new(), schedule: Schedule::default() };
        Prober { orders, counts, task: tokio::spawn(watch.run(inbox)) }
    }

    /// Looks at these from now on, and at nothing else. Targets that stay keep their phase and the look under way.
    pub fn set_targets(&self, targets: Vec<Target>) {
        self.order(Order::Targets(targets));
    }

    /// Looks at one target at once, besides its schedule, unless a look at it is under way.
    pub fn look_now(&self, service: &str, site: &str) {
        self.order(Order::Now { service: service.into(), site: site.into() });
    }

    /// What has become of the looks so far.
    pub fn counters(&self) -> Counters {
        self.counts.read()
    }

    /// The inbox is closed only when the task has ended, which it does only with this handle.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A look at a black hole holds a socket for as long as it waits: allows this process as many as the machine lets it have.
pub fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the number of open files could not be raised");
    }
}

enum Order {
    Targets(Vec<Target>),
    Now { service: Box<str>, site: Box<str> },
}

/// One target in the schedule; shared with the look at it that is under way.
struct Entry {
    target: Target,
    place: Place,
    looking: Arc<AtomicBool>,
}

/// What every look needs.
struct Eyes {
    looker: Arc<dyn Looker>,
    heartbeat: Arc<dyn Fn() -> Heartbeat + Send + Sync>,
    seen: mpsc::Sender<Seen>,
    counts: Arc<Counts>,
}

/// The task that knows what is due.
struct Watch {
    eyes: Arc<Eyes>,
    started: Instant,
    entries: Vec<Arc<Entry>>,
    schedule: Schedule,
}

impl Watch {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        loop {
            tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                () = wait_until(self.started, self.schedule.next()) => self.begin_due(),
            }
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Targets(targets) => self.retarget(targets),
            Order::Now { service, site } => {
                let named = |entry: &&Arc<Entry>| *entry.target.service == *service && *entry.target.site == *site;
                if let Some(entry) = self.entries.iter().find(named) {
                    self.eyes.counts.due(1);
                    begin(&self.eyes, entry);
                }
            }
        }
    }

    fn retarget(&mut self, targets: Vec<Target>) {
        let known: HashMap<_, _> =
            self.entries.iter().map(|entry| (key(&entry.target), entry.looking.clone())).collect();
        let mut bulkheads = Bulkheads::for_targets(&targets);
        let entries: Vec<_> = targets
            .into_iter()
            .map(|target| {
                let looking = known.get(&key(&target)).cloned().unwrap_or_default();
                Arc::new(Entry { place: bulkheads.place(&target.site), target, looking })
            })
            .collect();
        let now = self.now();
        self.schedule.set(now, entries.iter().map(|entry| (schedule::phase(&entry.target), entry.target.interval)));
        self.entries = entries;
    }

    fn begin_due(&mut self) {
        let now = self.now();
        while let Some(Due { index, late, missed }) = self.schedule.take(now) {
            let entry = &self.entries[index];
            self.eyes.counts.due(1 + missed);
            self.eyes.counts.skipped(missed);
            if late > entry.target.interval / 10 {
                self.eyes.counts.overdue.fetch_add(1, Ordering::Relaxed);
            }
            begin(&self.eyes, entry);
        }
    }

    fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }
}

/// Begins a look, unless the one before is still under way or its site has too many already.
fn begin(eyes: &Arc<Eyes>, entry: &Arc<Entry>) {
    if entry.looking.swap(true, Ordering::AcqRel) {
        return eyes.counts.skipped(1);
    }
    let Some(permit) = entry.place.enter() else {
        entry.looking.store(false, Ordering::Release);
        return eyes.counts.skipped(1);
    };
    let (eyes, entry) = (eyes.clone(), entry.clone());
    tokio::spawn(async move {
        let under_way = UnderWay(entry.looking.clone());
        let seen = look(&eyes, &entry.target).await;
        // Whoever listens may have gone, as the whole process stops.
        let _ = eyes.seen.send(seen).await;
        eyes.counts.done.fetch_add(1, Ordering::Relaxed);
        drop((under_way, permit));
    });
}

/// Frees the target for its next look, also when this one panics.
struct UnderWay(Arc<AtomicBool>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A probe that fails has seen nothing: `error` is no vote.
async fn look(eyes: &Eyes, target: &Target) -> Seen {
    let heartbeat = (eyes.heartbeat)();
    let timeout = Duration::from_millis(target.timeout);
    let found = eyes.looker.look(&target.slot, &target.site, &target.target, timeout).await;
    let finding =
        found.unwrap_or_else(|failure| Finding { outcome: Outcome::Error, latency: None, detail: failure.to_string() });
    Seen {
        service: target.service.clone(),
        site: target.site.clone(),
        outcome: finding.outcome,
        latency: finding.latency,
        detail: finding.detail,
        heartbeat,
    }
}

async fn wait_until(started: Instant, due: Option<Millis>) {
    match due {
        Some(due) => tokio::time::sleep_until(started + Duration::from_millis(due)).await,
        None => std::future::pending().await,
    }
}

fn key(target: &Target) -> (Arc<str>, Arc<str>) {
    (target.service.clone(), target.site.clone())
}

#[derive(Default)]
struct Counts {
    due: AtomicU64,
    done: AtomicU64,
    skipped: AtomicU64,
    overdue: AtomicU64,
}

impl Counts {
    fn due(&self, looks: u64) {
        self.due.fetch_add(looks, Ordering::Relaxed);
    }

    fn skipped(&self, looks: u64) {
        self.skipped.fetch_add(looks, Ordering::Relaxed);
    }

    fn read(&self) -> Counters {
        Counters {
            due: self.due.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            overdue: self.overdue.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A site called "hole" never answers, any other does at once.
    struct World;

    impl Looker for World {
        fn look<'a>(&'a self, _: &'a str, site: &'a str, target: &'a str, timeout: Duration) -> Looking<'a> {
            Box::pin(async move {
                if site == "hole" {
                    tokio::time::sleep(timeout).await;
                    return Ok(Finding { outcome: Outcome::TimedOut, latency: None, detail: "no answer".into() });
                }
                if target == "broken" {
                    return Err(Failure::Denied("not granted".into()));
                }
                Ok(Finding { outcome: Outcome::Ok, latency: Some(1), detail: String::new() })
            })
        }
    }

    fn target(service: &str, site: &str, timeout: Millis) -> Target {
        let (slot, text) = ("probe/tcp".into(), "{}".into());
        Target { service: service.into(), site: site.into(), slot, target: text, interval: 1_000, timeout }
    }

    fn targets(count: usize, site: &str, timeout: Millis) -> Vec<Target> {
        (0..count).map(|number| target(&format!("service-{number}"), site, timeout)).collect()
    }

    /// A prober, and what it saw.
    fn prober() -> (Prober, mpsc::Receiver<Seen>) {
        let (sender, seen) = mpsc::channel(100_000);
        let heartbeat = Heartbeat { host: 1, sent: 7 };
        (Prober::start(Arc::new(World), Arc::new(move || heartbeat), sender), seen)
    }

    async fn pass(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn looks_at(site: &str, seen: &mut mpsc::Receiver<Seen>) -> usize {
        std::iter::from_fn(|| seen.try_recv().ok()).filter(|seen| &*seen.site == site).count()
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_each_target_once_in_each_interval() {
        let (prober, mut seen) = prober();
        prober.set_targets(targets(100, "west", 500));
        pass(60).await;
        assert_eq!(looks_at("west", &mut seen), 6_000);
        let Counters { due, done, skipped, overdue } = prober.counters();
        assert_eq!((due, done, skipped, overdue), (6_000, 6_000, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_black_hole_delays_nobody_else() {
        let (prober, mut seen) = prober();
        let hole = targets(100, "hole", 900);
        prober.set_targets(targets(200, "west", 900).into_iter().chain(hole).collect());
        pass(60).await;
        assert_eq!(prober.counters().skipped, 0);
        assert_eq!(looks_at("west", &mut seen), 12_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_takes_longer_than_its_interval_is_not_joined_by_another() {
        let (prober, mut seen) = prober();
        prober.set_targets(targets(30, "west", 900).into_iter().chain(targets(10, "hole", 2_500)).collect());
        pass(60).await;
        assert_eq!(prober.counters().skipped, 10 * 40, "two of three");
        assert_eq!(looks_at("west", &mut seen), 1_800);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_list_takes_effect_at_once_and_leaves_the_others_alone() {
        let (prober, mut seen) = prober();
        prober.set_targets(targets(10, "west", 500));
        pass(10).await;
        prober.set_targets(targets(5, "west", 500));
        pass(10).await;
        assert_eq!(looks_at("west", &mut seen), 150);
        prober.set_targets(Vec::new());
        pass(10).await;
        assert_eq!(looks_at("west", &mut seen), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn looks_at_once_when_asked_and_only_at_what_it_knows() {
        let (prober, mut seen) = prober();
        prober.set_targets(vec![Target { interval: 3_600_000, ..target("shop", "west", 500) }]);
        prober.look_now("shop", "east");
        prober.look_now("shop", "west");
        assert_eq!(seen.recv().await.map(|seen| seen.heartbeat), Some(Heartbeat { host: 1, sent: 7 }));
        assert_eq!(prober.counters().due, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_is_no_vote() {
        let (prober, mut seen) = prober();
        prober.set_targets(vec![Target { target: "broken".into(), ..target("shop", "west", 500) }]);
        let seen = seen.recv().await.unwrap();
        assert!(!seen.outcome.is_good() && !seen.outcome.is_bad(), "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn skips_looks_while_nobody_takes_what_was_seen() {
        let (sender, mut seen) = mpsc::channel(1);
        let prober = Prober::start(Arc::new(World), Arc::new(Heartbeat::default), sender);
        prober.set_targets(targets(10, "west", 500));
        pass(10).await;
        let counters = prober.counters();
        assert_eq!((counters.due, counters.skipped, counters.done), (100, 89, 1));
        assert_eq!(looks_at("west", &mut seen), 1, "the others wait in their looks, and nowhere else");
    }
}
