//! The kernel's thread: events in by a bounded queue, records made durable, and only then effects out.
//!
//! Decides nothing and touches nothing: the kernel decides, and [`Hands`] touch. Nothing that waits for the world runs here.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::value::{RawValue, to_raw_value};
use tidegate_kernel::Kernel;
use tidegate_kernel::event::{Accepted, Command, Effect, Event, Moment, Refused};
use tidegate_kernel::record::Record;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::clock::Clock;
use super::metrics::{self, Metrics};
use crate::journal::{Head, Store};

/// Events that may wait. Whoever brings more waits with them, so that nothing is dropped and nothing grows.
const INBOX: usize = 8_192;

/// Events handled between two confirmations of the disk.
const BATCH: usize = 512;

/// With nothing due, the kernel is still told the time this often.
const IDLE: Duration = Duration::from_secs(1);

/// Carries effects out. Called on the kernel's thread: it starts things, and waits for none of them.
pub trait Hands: Send {
    /// Everything that this effect rests on is durable.
    fn carry_out(&mut self, effect: Effect);
}

/// The way to the kernel.
#[derive(Clone)]
pub struct Core {
    inbox: mpsc::Sender<Inbound>,
    head: watch::Receiver<Head>,
    metrics: Arc<Metrics>,
}

/// The kernel's thread, to be waited for.
pub struct Running {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<anyhow::Result<()>>,
}

/// The kernel has stopped, or is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host is stopping")]
pub struct Stopped;

/// What an order came to.
pub type Ordered = Result<Accepted, Refused>;

/// Looks now, and gives the answer to whoever asked once it is called.
type Look = Box<dyn FnOnce(&Kernel, Moment) -> Answer + Send>;

type Answer = Box<dyn FnOnce() + Send>;

type Events = Box<dyn FnOnce(&Kernel) -> Vec<Event> + Send>;

enum Inbound {
    Event(Event),
    Events(Events),
    Order { by: String, command: Command, reply: oneshot::Sender<Ordered> },
    Look(Look),
    Stop,
}

struct Loop<S, H> {
    kernel: Kernel,
    store: S,
    hands: H,
    clock: Clock,
    inbox: mpsc::Receiver<Inbound>,
    head: watch::Sender<Head>,
    metrics: Arc<Metrics>,
    waiting: Vec<(u64, oneshot::Sender<Ordered>)>,
    orders: u64,
    effects: Vec<Effect>,
    answers: Vec<Answer>,
    stopping: bool,
}

/// Starts the thread; `hands` are made with the way to it. `kernel` has been recovered; what `hands` are given comes after its records are durable.
pub fn start<S, H>(
    kernel: Kernel,
    store: S,
    clock: Clock,
    metrics: Arc<Metrics>,
    hands: impl FnOnce(Core) -> H,
) -> anyhow::Result<Running>
where
    S: Store + 'static,
    H: Hands + 'static,
{
    let (sender, inbox) = mpsc::channel(INBOX);
    let (head, newest) = watch::channel(store.head().clone());
    let core = Core { inbox: sender, head: newest, metrics: metrics.clone() };
    let hands = hands(core);
    let body = Loop {
        kernel,
        store,
        hands,
        clock,
        inbox,
        head,
        metrics,
        waiting: Vec::new(),
        orders: 0,
        effects: Vec::new(),
        answers: Vec::new(),
        stopping: false,
    };
    let (end, ended) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("kernel".to_owned()).spawn(move || {
        let _entered = runtime.enter();
        // Nobody waits for the end only if the whole process is on its way out.
        let _ = end.send(body.run(&runtime));
    });
    Ok(Running { thread: thread.context("cannot start the kernel's thread")?, ended })
}

impl Core {
    /// Tells the kernel; waits while its inbox is full.
    pub async fn tell(&self, event: Event) -> Result<(), Stopped> {
        self.send(Inbound::Event(event)).await
    }

    /// Tells the kernel what `events` makes of it on the kernel's own thread, in one piece: where services are numbered,
    /// the numbers are those of the fleet file that the kernel has at that moment.
    pub async fn tell_as_known(
        &self,
        events: impl FnOnce(&Kernel) -> Vec<Event> + Send + 'static,
    ) -> Result<(), Stopped> {
        self.send(Inbound::Events(Box::new(events))).await
    }

    /// Brings an order, and waits until it has been taken and is durable, or refused.
    pub async fn order(&self, by: String, command: Command) -> Result<Ordered, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbound::Order { by, command, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// What the kernel shows; what the answer rests on is durable, with all that was told before.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Kernel, Moment) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        let look: Look = Box::new(move |kernel, now| {
            let seen = look(kernel, now);
            // Whoever asked may have gone away.
            Box::new(move || drop(reply.send(seen)))
        });
        self.send(Inbound::Look(look)).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Handles what has already been told, then ends.
    pub async fn stop(&self) {
        // A kernel that has stopped already is as good.
        let _ = self.send(Inbound::Stop).await;
    }

    /// The journal's newest durable record.
    pub fn head(&self) -> Head {
        self.head.borrow().clone()
    }

    /// Follows the journal's newest durable record.
    pub fn heads(&self) -> watch::Receiver<Head> {
        self.head.clone()
    }

    /// Events that wait now.
    pub fn waiting(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }

    async fn send(&self, inbound: Inbound) -> Result<(), Stopped> {
        match self.inbox.try_send(inbound) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Stopped),
            Err(mpsc::error::TrySendError::Full(inbound)) => {
                self.metrics.count(metrics::INBOX_FULL, &[]);
                self.inbox.send(inbound).await.map_err(|_| Stopped)
            }
        }
    }
}

impl Running {
    /// How the kernel's thread ended: well after [`Core::stop`], else because nothing could be made durable any more.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        match (&mut self.ended).await {
            Ok(end) => end,
            Err(_) => bail!("the kernel's thread has died"),
        }
    }

    /// Waits for the thread itself, so that the journal is closed.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the kernel's thread has died");
        }
    }
}

impl<S: Store, H: Hands> Loop<S, H> {
    fn run(mut self, runtime: &Handle) -> anyhow::Result<()> {
        self.kernel.start(self.clock.now(), &mut self.effects);
        self.settle()?;
        let mut batch = Vec::with_capacity(BATCH);
        while !self.stopping {
            let patience = self.patience();
            // Nothing within the time is no error: then a timer is due.
            let _ = runtime.block_on(async { timeout(patience, self.inbox.recv_many(&mut batch, BATCH)).await });
            for inbound in batch.drain(..) {
                self.take(inbound);
            }
            self.tick();
            self.settle()?;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        let due = self.kernel.next_edge().map(|due| Duration::from_millis(due.saturating_sub(self.clock.mono())));
        due.map_or(IDLE, |due| due.min(IDLE))
    }

    fn take(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Event(event) => self.handle(event),
            Inbound::Events(events) => events(&self.kernel).into_iter().for_each(|event| self.handle(event)),
            Inbound::Order { by, command, reply } => {
                self.orders += 1;
                self.waiting.push((self.orders, reply));
                self.handle(Event::Ordered { order: self.orders, by, command });
            }
            Inbound::Look(look) => self.answers.push(look(&self.kernel, self.clock.now())),
            Inbound::Stop => self.stopping = true,
        }
    }

    fn tick(&mut self) {
        if self.kernel.next_edge().is_some_and(|due| due <= self.clock.mono()) {
            self.handle(Event::Tick);
        }
    }

    fn handle(&mut self, event: Event) {
        self.metrics.count(metrics::EVENTS, &[]);
        if matches!(event, Event::Look(_)) {
            self.metrics.count(metrics::LOOKS, &[]);
        }
        self.kernel.handle(self.clock.now(), event, &mut self.effects);
    }

    /// Makes every record of the batch durable, then carries the rest out in order, then answers.
    fn settle(&mut self) -> anyhow::Result<()> {
        let (records, rest): (Vec<_>, Vec<_>) =
            self.effects.drain(..).partition(|effect| matches!(effect, Effect::Append(_)));
        self.append(records)?;
        for effect in rest {
            match effect {
                Effect::Reply { order, result } => self.reply(order, result),
                effect => self.hands.carry_out(effect),
            }
        }
        self.answers.drain(..).for_each(|answer| answer());
        Ok(())
    }

    fn append(&mut self, records: Vec<Effect>) -> anyhow::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let begun = Instant::now();
        let bodies = records.iter().filter_map(record).map(body).collect::<anyhow::Result<Vec<_>>>()?;
        self.metrics.add(metrics::JOURNAL_RECORDS, &[], bodies.len() as f64);
        self.store.append(bodies)?;
        self.metrics.count(metrics::JOURNAL_SYNCS, &[]);
        self.metrics.took(metrics::JOURNAL_SYNC_SECONDS, &[], begun.elapsed());
        self.head.send_replace(self.store.head().clone());
        Ok(())
    }

    fn reply(&mut self, order: u64, result: Ordered) {
        let Some(at) = self.waiting.iter().position(|(waiting, _)| *waiting == order) else { return };
        self.metrics.count(metrics::ORDERS, &[if result.is_ok() { "taken" } else { "refused" }]);
        // Whoever ordered may have gone away; the journal has it.
        let _ = self.waiting.swap_remove(at).1.send(result);
    }
}

fn record(effect: &Effect) -> Option<&Record> {
    match effect {
        Effect::Append(record) => Some(record),
        _ => None,
    }
}

fn body(record: &Record) -> anyhow::Result<Box<RawValue>> {
    to_raw_value(record).context("a record that cannot be written as JSON")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use tidegate_kernel::fleet::parse;

    use super::*;
    use crate::journal::{FileJournal, Reader, SEGMENT_BYTES};

    const FLEET: &str = r#"
        [host]
        site = "west"
        [site.west]
        [site.east]
        [service.shop]
        probe = { slot = "probe/tcp" }
        route = { slot = "dns/primary", name = "shop.example.test" }
        [slot."dns/primary"]
        plugin = "builtin:dns-rfc2136"
        [service.shop.at.west]
        endpoint = "192.0.2.1"
        target = { address = "192.0.2.1:1" }
        [service.shop.at.east]
        endpoint = "192.0.2.2"
        target = { address = "192.0.2.2:1" }
    "#;

    /// Notes what it was given.
    struct Noting(Arc<Mutex<Vec<String>>>);

    impl Hands for Noting {
        fn carry_out(&mut self, effect: Effect) {
            let text = format!("{effect:?}");
            let name = text.split([' ', '(']).next().unwrap_or_default().to_owned();
            self.0.lock().unwrap().push(name);
        }
    }

    /// A disk that is full.
    struct Full(Head);

    impl Store for Full {
        fn append(&mut self, _: Vec<Box<RawValue>>) -> anyhow::Result<()> {
            bail!("no space left on device")
        }

        fn head(&self) -> &Head {
            &self.0
        }

        fn read(&self, _: u64) -> anyhow::Result<Reader> {
            bail!("nothing was ever written")
        }
    }

    struct Started {
        core: Core,
        running: Running,
        done: Arc<Mutex<Vec<String>>>,
    }

    fn started(store: impl Store + 'static, state: &Path) -> Started {
        let clock = Clock::resume(state, None).unwrap();
        let fleet = parse(Path::new("fleet.toml"), &|_| Ok(FLEET.to_owned())).unwrap();
        let kernel = Kernel::new(fleet, clock.now());
        let (mut way, done) = (None, Arc::default());
        let noting = Noting(Arc::clone(&done));
        let running = start(kernel, store, clock, Arc::default(), |core| {
            way = Some(core);
            noting
        });
        Started { core: way.unwrap(), running: running.unwrap(), done }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn nothing_is_done_about_what_cannot_be_made_durable() {
        let state = tempfile::tempdir().unwrap();
        let mut full = started(Full(Head::empty()), state.path());
        let error = full.running.ended().await.unwrap_err();
        assert!(format!("{error:#}").contains("no space left"), "{error:#}");
        assert!(full.done.lock().unwrap().is_empty(), "{:?}", full.done);
        let resume = Command::Resume { service: None };
        assert_eq!(full.core.order("ada".to_owned(), resume).await, Err(Stopped));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn an_order_is_answered_once_it_is_durable_with_who_gave_it() {
        let state = tempfile::tempdir().unwrap();
        let journal = FileJournal::open(state.path(), SEGMENT_BYTES).unwrap().finish().unwrap();
        let mut host = started(journal, state.path());
        let pause = Command::Pause { service: Some("shop".to_owned()), reason: "we look first".to_owned() };
        host.core.order("ada".to_owned(), pause).await.unwrap().unwrap();
        let read: Vec<_> = Reader::open(state.path()).unwrap().map(|entry| entry.unwrap().body.to_string()).collect();
        assert!(read.iter().any(|body| body.contains("we look first") && body.contains("\"by\":\"ada\"")), "{read:?}");
        assert!(host.done.lock().unwrap().iter().any(|effect| effect == "ReadRoute"), "{:?}", host.done);
        host.core.stop().await;
        host.running.ended().await.unwrap();
        assert_eq!(host.core.head().n, read.len() as u64);
    }
}
