//! The leases of this site: asked for at the host, or at the other agents while it does not answer; told to the enforcer.
//!
//! Has a conversation of its own, begun before anything else of the agent, so that neither many looks nor a slow start can let a
//! lease run out. The rules are in [`crate::lease`], what agents say to each other in [`super::peers`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_kernel::contract::{Epoch, Millis};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::link::{Address, Link};
use super::memory::Memory;
use super::{enforced, peers};
use crate::agents::lock;
use crate::agents::protocol::{Leader, Peers, Renewal, Renewed};
use crate::enforcer::line::{Held, Holds, Led, Told};
use crate::enforcer::since_boot;
use crate::lease::{self, Known, LEASE, Witness};

/// Where a database is held, its lease is asked for at least twice a second.
const EVERY: Duration = Duration::from_millis(400);
/// Elsewhere only epochs are heard this way, and those come at once as work.
const SELDOM: Duration = Duration::from_secs(2);
/// An answer that takes longer would leave little of the lease.
const PATIENCE: Duration = Duration::from_millis(700);
/// After a failed try.
const AGAIN: Duration = Duration::from_millis(150);
/// The others are asked once this little of a lease is left: two answers of the host are missing.
const LEFT: Millis = LEASE / 2;
/// Between two looks whether so little is left.
const LOOK: Duration = Duration::from_millis(100);
/// So many looks in a row have to find the enforcer late before it counts as hung: together less than the time for a fence.
const OVERDUE: u32 = 3;

/// The leases of one agent's site.
pub(super) struct Keeper {
    name: String,
    book: Mutex<Book>,
    /// What the enforcer said last; none = it has not yet.
    holds: watch::Sender<Option<Holds>>,
    told: watch::Sender<Told>,
    peers: watch::Sender<Option<Peers>>,
    hurry: Notify,
    enforced: bool,
}

struct Book {
    started: Millis,
    memory: Memory,
    witnesses: BTreeMap<String, Witness>,
    led: BTreeMap<String, Led>,
}

/// Ends the keeper's work when it is dropped.
pub(super) struct Keeping {
    pub(super) keeper: Arc<Keeper>,
    tasks: Vec<AbortHandle>,
}

impl Keeper {
    /// Works from now on. With an enforcer above, that has to be at the other end of standard input.
    pub(super) fn start(options: &super::Options, address: Arc<Address>) -> Result<Keeping> {
        let memory = Memory::open(options.state.as_deref())?;
        let started = since_boot();
        let witness = |(cluster, epoch): (&String, &Epoch)| (cluster.clone(), Witness::remembering(*epoch, started));
        let witnesses = memory.epochs().iter().map(witness).collect();
        let peers = watch::Sender::new(memory.peers().cloned());
        let book = Mutex::new(Book { started, memory, witnesses, led: BTreeMap::new() });
        let (holds, told, hurry) = (watch::Sender::default(), watch::Sender::default(), Notify::new());
        let name = options.name.clone();
        let keeper = Arc::new(Keeper { name, book, holds, told, peers, hurry, enforced: options.enforced });
        let mut tasks = vec![
            tokio::spawn(renew(keeper.clone(), address)).abort_handle(),
            tokio::spawn(ask_others(keeper.clone())).abort_handle(),
            tokio::spawn(peers::serve(keeper.clone(), keeper.peers.subscribe())).abort_handle(),
        ];
        if options.enforced {
            tasks.push(tokio::spawn(enforced::talk(keeper.clone())?).abort_handle());
            tasks.push(tokio::spawn(watch_enforcer(keeper.clone())).abort_handle());
        }
        Ok(Keeping { keeper, tasks })
    }

    /// The host announces an epoch: it is remembered for good, and acknowledged at once.
    pub(super) fn announce(&self, cluster: &str, epoch: Epoch) {
        self.learn(cluster, epoch);
        self.hurry.notify_one();
    }

    /// Another agent asks whether a newer epoch than this one is known.
    pub(super) fn confirms(&self, cluster: &str, epoch: Epoch) -> bool {
        let mut book = lock(&self.book);
        // What would be forgotten by a restart is worth nothing to the one who asks.
        book.memory.is_durable() && book.witness(cluster).confirm(epoch, since_boot())
    }

    /// What the enforcer says; the first time also what the process before this one had told it.
    pub(super) fn hear(&self, holds: Holds) {
        tracing::debug!(?holds, "the enforcer says");
        let first = self.holds.borrow().is_none();
        if first {
            let mut book = lock(&self.book);
            let before = holds.told.clusters.iter().map(|led| (led.cluster.clone(), led.clone()));
            for (cluster, led) in before {
                book.led.entry(cluster).or_insert(led);
            }
        }
        let news = self.holds.borrow().as_ref().is_none_or(|known| known.holds != holds.holds);
        self.holds.send_replace(Some(holds));
        if news {
            self.hurry.notify_one();
        }
    }

    /// What the enforcer is to be told.
    pub(super) fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    fn meet(&self, peers: Option<Peers>) {
        if let Err(error) = lock(&self.book).memory.meet(peers.as_ref()) {
            tracing::error!(%error, "where the other agents are would be forgotten by a restart");
        }
        self.peers.send_if_modified(|held| {
            let news = *held != peers;
            *held = peers;
            news
        });
    }

    fn learn(&self, cluster: &str, epoch: Epoch) {
        let mut book = lock(&self.book);
        if !book.witness(cluster).learn(epoch) {
            return;
        }
        if let Err(error) = book.memory.learn(cluster, epoch) {
            tracing::error!(%error, cluster, epoch, "an epoch cannot be remembered; it is not acknowledged");
        }
    }

    fn renewal(&self) -> Renewal {
        let holds = self.holds.borrow().as_ref().map(|holds| holds.holds.clone());
        Renewal { holds: holds.unwrap_or_default(), known: lock(&self.book).known() }
    }

    /// The host's answer to what was asked at `asked`.
    fn take(&self, asked: Millis, renewed: Renewed) {
        self.meet(renewed.peers);
        for leader in &renewed.clusters {
            self.learn(&leader.cluster, leader.epoch);
        }
        let mut book = lock(&self.book);
        for leader in renewed.clusters {
            book.take(asked, leader);
        }
        self.tell(&book);
    }

    /// Clusters whose lease here is about to end, with its epoch.
    fn due(&self) -> Vec<(String, Epoch)> {
        let (book, now) = (lock(&self.book), since_boot());
        let due = |led: &&Led| led.guarded && led.until.is_some_and(|until| until < now + LEFT);
        let own = |led: &&Led| self.holds_primary(led) && book.knows_no_newer(led);
        book.led.values().filter(due).filter(own).map(|led| (led.cluster.clone(), led.epoch)).collect()
    }

    /// A majority knew of no newer epoch in a round that began at `asked`.
    fn extend(&self, cluster: &str, epoch: Epoch, asked: Millis) {
        let mut book = lock(&self.book);
        let newest = book.witness(cluster).epoch();
        if let Some(led) = book.led.get_mut(cluster).filter(|led| led.epoch == epoch && newest <= epoch) {
            led.until = led.until.max(Some(lease::until(asked)));
        }
        self.tell(&book);
    }

    /// The enforcer should have ended a primary by now, and has not said so.
    fn is_overdue(&self) -> bool {
        let (book, now) = (lock(&self.book), since_boot());
        let over = |led: &&Led| led.guarded && led.until.is_some_and(|until| until <= now);
        book.led.values().filter(over).any(|led| self.holds_primary(led))
    }

    /// It runs here, and is not about to end.
    fn holds_primary(&self, led: &Led) -> bool {
        let holds = self.holds.borrow();
        let runs = |held: &Held| {
            let is_it = held.cluster == led.cluster && Some(&held.node) == led.primary.as_ref();
            is_it && held.running && !held.barred && !held.killed
        };
        holds.as_ref().is_some_and(|holds| holds.holds.iter().any(runs))
    }

    fn tell(&self, book: &Book) {
        let told = Told { clusters: book.led.values().cloned().collect() };
        self.told.send_if_modified(|known| {
            let news = *known != told;
            *known = told;
            news
        });
    }
}

impl Book {
    fn witness(&mut self, cluster: &str) -> &mut Witness {
        let started = self.started;
        self.witnesses.entry(cluster.to_owned()).or_insert_with(|| Witness::remembering(0, started))
    }

    /// What is on disk, and so may be acknowledged.
    fn known(&self) -> Vec<Known> {
        let now = since_boot();
        let durable =
            |(cluster, witness): &(&String, &Witness)| self.memory.epochs().get(*cluster) == Some(&witness.epoch());
        let witnesses = self.witnesses.iter().filter(|_| self.memory.is_durable()).filter(durable);
        witnesses.map(|(cluster, witness)| witness.known(cluster, now)).collect()
    }

    fn knows_no_newer(&self, led: &Led) -> bool {
        self.witnesses.get(&led.cluster).is_none_or(|witness| witness.epoch() <= led.epoch)
    }

    fn take(&mut self, asked: Millis, leader: Leader) {
        if self.witness(&leader.cluster).epoch() > leader.epoch {
            return;
        }
        let before = self.led.get(&leader.cluster).filter(|led| led.primary == leader.primary);
        let until = before.and_then(|led| led.until).max(leader.renewed.then(|| lease::until(asked)));
        let Leader { cluster, primary, epoch, guarded, .. } = leader;
        self.led.insert(cluster.clone(), Led { cluster, primary, epoch, guarded, until });
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Asks the host as long as the agent lives.
async fn renew(keeper: Arc<Keeper>, address: Arc<Address>) -> Infallible {
    if keeper.enforced {
        // Without the enforcer's word the host would have to take the node for not held.
        let _ = keeper.holds.subscribe().wait_for(Option::is_some).await;
    }
    let every = if keeper.enforced { EVERY } else { SELDOM };
    let mut link = Link::new(address, "leases");
    loop {
        let asked = since_boot();
        match ask(&mut link, &keeper.renewal()).await {
            Ok(renewed) => {
                keeper.take(asked, renewed);
                let _ = timeout(every, keeper.hurry.notified()).await;
            }
            Err(error) => {
                tracing::debug!(%error, "no lease");
                sleep(if keeper.enforced { AGAIN } else { SELDOM }).await;
            }
        }
    }
}

async fn ask(link: &mut Link, renewal: &Renewal) -> Result<Renewed> {
    let answer = link.post("renew", serde_json::to_vec(renewal)?, PATIENCE).await?;
    serde_json::from_slice(&answer).context("the host's answer about leases is of another version")
}

/// Asks the other agents whenever a lease is about to end, as long as the agent lives.
async fn ask_others(keeper: Arc<Keeper>) -> Infallible {
    loop {
        sleep(LOOK).await;
        let due = keeper.due();
        let peers = keeper.peers.borrow().clone();
        if let Some(peers) = peers.filter(|_| !due.is_empty()) {
            let asked = since_boot();
            let confirmed = |at: usize| keeper.extend(&due[at].0, due[at].1, asked);
            peers::round(&keeper.name, &peers, &due, confirmed).await;
        }
    }
}

/// An enforcer that hangs ends no primary; its own death does. After a freeze it has to be given a moment.
async fn watch_enforcer(keeper: Arc<Keeper>) -> Infallible {
    let mut overdue = 0;
    loop {
        sleep(LOOK).await;
        overdue = if keeper.is_overdue() { overdue + 1 } else { 0 };
        if overdue == OVERDUE {
            tracing::error!(
                "the enforcer has not ended a primary whose lease is over; it is killed, and its databases with it"
            );
            enforced::kill_enforcer();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a primary whose lease has just ended.
    fn keeper() -> Keeper {
        let memory = Memory::open(None).unwrap();
        let book = Book { started: 0, memory, witnesses: BTreeMap::new(), led: BTreeMap::new() };
        let (holds, told, peers) = Default::default();
        let hurry = Notify::new();
        let keeper = Keeper { name: "a".into(), book: Mutex::new(book), holds, told, peers, hurry, enforced: true };
        let primary = Some("a".to_owned());
        let led = Led { cluster: "orders".into(), primary, epoch: 1, guarded: true, until: Some(since_boot()) };
        lock(&keeper.book).led.insert("orders".into(), led);
        keeper
    }

    #[test]
    fn an_enforcer_is_late_until_it_says_that_it_has_killed_the_primary() {
        let keeper = keeper();
        let runs = Held { cluster: "orders".into(), node: "a".into(), running: true, ..Held::default() };
        let says = |held: Held| {
            keeper.hear(Holds { holds: vec![held], told: Told::default() });
            (keeper.is_overdue(), keeper.due().len())
        };
        assert_eq!(says(runs.clone()), (true, 1));
        // Its disk may make it wait for the bar's durability as long as it likes.
        assert_eq!(says(Held { killed: true, ..runs.clone() }), (false, 0));
        assert_eq!(says(Held { barred: true, ..runs.clone() }), (false, 0));
        assert_eq!(says(Held { running: false, ..runs }), (false, 0));
    }
}
