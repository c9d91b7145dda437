//! `tidegate policy backtest`: every recorded situation decided again by a candidate, beside what was decided then.
//!
//! Decides from a whole journal or from none: its chain is verified first. What the record does not hold is counted and said,
//! never answered in its place.

mod compare;
mod found;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde_json::value::RawValue;
use tidegate_engine::{PolicySlot, PolicyWorker, Question};
use tidegate_kernel::contract::Situation;
use tidegate_kernel::record::{Cause, Change, Decided, Record};

use self::compare::{Compared, Costs, Outcome, compare};
pub use self::found::{Backtested, Cost};
use super::simulated::threads;
use super::{With, read_limits};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::journal::broken_journal;
use crate::cli::replay::{self, Means};
use crate::cli::{Common, reach};
use crate::journal::{self, Broken, Entry, Head, Reader, Verified};

/// Records handed to a thread at once.
const BATCH: usize = 256;
/// Batches that wait for a thread, so that a long journal is never in memory whole.
const WAITING: usize = 8;
/// Where a journal cannot be trusted.
const NOTHING: &str = "nothing was decided from it";
/// Somebody who watches is told how far it has come so often.
const TOLD_EVERY: u64 = 100_000;

/// `policy backtest`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy backtest --journal /var/lib/tidegate --policy mine.wasm
  tidegate policy backtest --journal exported --policy mine.wasm --settings patient.json --json
  tidegate policy backtest --journal /var/lib/tidegate --policy builtin:failover-quorum --verify

With --verify those that decided then may use up what their slots in the fleet file say, where there is one, and what --limit
says. It proves every decision or fails: what cannot be asked again, and a journal without a decision, prove nothing.
Exit codes: 0 done, and with --verify every decision is proven; 1 the journal is broken, or with --verify something was decided
otherwise or is not proven; 2 bad input.")]
pub struct Backtest {
    /// The host's state directory, or the journal's.
    #[arg(long, value_name = "DIR")]
    pub journal: PathBuf,
    /// The candidate: a component's file, or builtin:NAME.
    #[arg(long, value_name = "PLUGIN")]
    pub policy: String,
    /// How it is asked.
    #[command(flatten)]
    pub with: With,
    /// Also ask the policies that decided then, and fail unless each of them says the same to the last byte.
    #[arg(long)]
    pub verify: bool,
    /// Where policies lie that decided then and are not built in; may be given more than once.
    #[arg(long, value_name = "DIR", requires = "verify")]
    pub plugins: Vec<PathBuf>,
}

/// A record that cannot be read, by its number.
type Unreadable = (u64, Failed);

type Batch = Vec<(u64, Box<RawValue>)>;

/// Reads, decides and tells.
pub async fn run(common: &Common, console: &Console, asked: &Backtest) -> Result<Exit, Failed> {
    let directory = journal_in(&asked.journal);
    console.progress("verifying the journal's chain");
    let journal = journal::verify(&directory).map_err(unreadable)?;
    if journal.segments == 0 {
        return Err(Failed::usage("there is no journal").at(directory.display()).next("name a host's state directory"));
    }
    let means = asked.verify.then(|| asked.means(common)).transpose()?;
    let bench = asked.with.bench(threads()).await?;
    let slot = bench.ready(asked.with.generous(&asked.policy)?).await?;
    console.progress("deciding what was decided then");
    let told = |n| console.progress(&format!("decided up to record {n} of {}", journal.head.n));
    let mut found = tokio::task::block_in_place(|| backtest(&directory, &journal, &slot, bench.workers(), told))?;
    if let Some(means) = means {
        console.progress("asking those that decided then");
        found.verify(replay::replay(&directory, means).await?);
    }
    console.show(&found, |found, _| found::page(found))?;
    Ok(if found.stands() { Exit::Done } else { Exit::Failed })
}

impl Backtest {
    /// What those that decided then are asked with.
    fn means(&self, common: &Common) -> Result<Means, Failed> {
        Ok(Means {
            plugins: self.plugins.clone(),
            limits: read_limits(&self.with.limits)?,
            fleet: reach::fleet_at_hand(common)?,
            cache: self.with.cache.clone(),
        })
    }
}

/// Decides again every situation of the journal in `directory`, as far as it has been verified: one thread for each worker.
/// Calls `told` with the number of the record that was read last, now and then.
pub fn backtest(
    directory: &Path,
    journal: &Verified,
    slot: &PolicySlot,
    workers: Vec<PolicyWorker>,
    told: impl Fn(u64),
) -> Result<Backtested, Failed> {
    let (batches, waiting) = sync_channel::<Batch>(WAITING);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut compared = std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for worker in &workers {
            let waiting = waiting.clone();
            threads.push(scope.spawn(move || decide_all(&waiting, slot, worker)));
        }
        // The threads' alone: once the last has stopped, nobody goes on reading for them.
        drop(waiting);
        let read = hand_out(directory, &journal.head, batches, told);
        let mut ended = Vec::new();
        for thread in threads {
            ended.push(thread.join().map_err(|_| Failed::new("a thread of the backtest has died"))?);
        }
        let compared = in_order(ended)?;
        read.map(|()| compared)
    })?;
    if let Some(worker) = workers.first() {
        decide_elsewhere(directory, &journal.head, &mut compared, slot, worker)?;
    }
    let torn = journal.torn.as_ref().map(|torn| format!("{} at byte {}", torn.file.display(), torn.offset));
    Ok(Backtested { journal: journal.head.clone(), torn, ..Backtested::sum(compared) })
}

/// Hands `batches` to the threads, in order.
fn hand_out(directory: &Path, head: &Head, batches: SyncSender<Batch>, told: impl Fn(u64)) -> Result<(), Failed> {
    let mut batch = Vec::with_capacity(BATCH);
    each(directory, head, |entry| {
        if entry.n.is_multiple_of(TOLD_EVERY) {
            told(entry.n);
        }
        batch.push((entry.n, entry.body));
        // Why they have stopped, where they have, is told by their join.
        batch.len() < BATCH || batches.send(std::mem::take(&mut batch)).is_ok()
    })?;
    let _ = batches.send(batch);
    Ok(())
}

/// Every record up to `head` that may hold a decision or count some, until `take` wants no more.
fn each(directory: &Path, head: &Head, mut take: impl FnMut(Entry) -> bool) -> Result<(), Failed> {
    let mut reader = Reader::open(directory)?.up_to(head.n);
    for entry in &mut reader {
        let entry = entry.map_err(|broken| broken_journal(&broken).unchanged(NOTHING))?;
        // A cheap look before the dear one: most records of a journal are no decisions.
        let may = |word: &str| entry.body.get().contains(word);
        if (may("\"decided\"") || may("\"holds\"")) && !take(entry) {
            return Ok(());
        }
    }
    match reader.head() == *head {
        true => Ok(()),
        false => Err(Failed::new("the journal was changed while it was read")
            .at(directory.display())
            .unchanged(NOTHING)
            .next("find out by whom, and ask again")),
    }
}

/// Decides what only names its situation, where an earlier record holds that.
fn decide_elsewhere(
    directory: &Path,
    head: &Head,
    compared: &mut [Compared],
    slot: &PolicySlot,
    worker: &PolicyWorker,
) -> Result<(), Failed> {
    let named = compared.iter().filter_map(|one| match &one.outcome {
        Outcome::Elsewhere(_, then) => Some(then.situation.hash.clone()),
        _ => None,
    });
    let named: BTreeSet<String> = named.collect();
    // This version writes every situation down beside its decision: a second reading is for the journals of others.
    if named.is_empty() {
        return Ok(());
    }
    let held = situations(directory, head, &named)?;
    for one in compared {
        let Outcome::Elsewhere(at, then) = &one.outcome else { continue };
        // What comes later does not tell what was known before.
        if let Some((_, situation)) = held.get(&then.situation.hash).filter(|(n, _)| *n < one.n) {
            one.outcome = again(one.n, *at, then, situation.clone(), slot, worker);
        }
    }
    Ok(())
}

/// The first record that holds each of these situations, by the situation's hash.
fn situations(
    directory: &Path,
    head: &Head,
    named: &BTreeSet<String>,
) -> Result<BTreeMap<String, (u64, Situation)>, Failed> {
    let (mut held, mut unreadable) = (BTreeMap::new(), None);
    each(directory, head, |entry| {
        match serde_json::from_str::<Record>(entry.body.get()) {
            Ok(Record { cause: Cause::Decided(decided), .. }) if named.contains(&decided.situation.hash) => {
                if let Some(situation) = decided.situation.body {
                    held.entry(decided.situation.hash).or_insert((entry.n, *situation));
                }
            }
            Ok(_) => {}
            Err(error) => unreadable = Some(unknown_form(entry.n, &error)),
        }
        unreadable.is_none()
    })?;
    unreadable.map_or(Ok(held), Err)
}

/// Stops at the first record that it cannot read.
fn decide_all(
    waiting: &Mutex<Receiver<Batch>>,
    slot: &PolicySlot,
    worker: &PolicyWorker,
) -> Result<Vec<Compared>, Unreadable> {
    let mut compared = Vec::new();
    loop {
        let batch = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return Ok(compared) };
        for (n, body) in batch {
            let record = serde_json::from_str(body.get()).map_err(|error| (n, unknown_form(n, &error)))?;
            compared.extend(decide(n, record, slot, worker));
        }
    }
}

/// Whatever the threads did: by number, or the first record that none could read. Batches are taken in order, so that some
/// thread has come to that one.
fn in_order(ended: Vec<Result<Vec<Compared>, Unreadable>>) -> Result<Vec<Compared>, Failed> {
    let (mut all, mut unreadable) = (Vec::new(), Vec::new());
    for one in ended {
        match one {
            Ok(compared) => all.extend(compared),
            Err(stopped) => unreadable.push(stopped),
        }
    }
    all.sort_unstable_by_key(|compared| compared.n);
    match unreadable.into_iter().min_by_key(|(n, _)| *n) {
        Some((_, why)) => Err(why),
        None => Ok(all),
    }
}

/// None for a record that neither holds a decision nor counts any.
fn decide(n: u64, record: Record, slot: &PolicySlot, worker: &PolicyWorker) -> Option<Compared> {
    let counted = record.transitions.iter().map(|transition| match &transition.change {
        Change::Holds { counts } => counts.iter().map(|(_, count)| count).sum(),
        _ => 0,
    });
    let counted: u64 = counted.sum();
    let outcome = match record.cause {
        Cause::Decided(mut then) => match then.situation.body.take() {
            Some(situation) => again(n, record.at.wall, &then, *situation, slot, worker),
            None => Outcome::Elsewhere(record.at.wall, then),
        },
        _ if counted > 0 => Outcome::NoDecision,
        _ => return None,
    };
    Some(Compared { n, counted, outcome })
}

fn again(n: u64, at: u64, then: &Decided, situation: Situation, slot: &PolicySlot, worker: &PolicyWorker) -> Outcome {
    let format = then.revision.memo_format.clone();
    let Ok(question) = Question::recorded(situation, format, &then.reads) else {
        return Outcome::CannotTell("what was read then cannot be read now".to_owned());
    };
    let question = Arc::new(question);
    let decided = slot.decide_on(worker, &question);
    if let Some(unknown) = compare::unknown(&question.situation, &then.reads, &decided.answers) {
        return Outcome::CannotTell(format!("it asks for {unknown}, which the record does not hold"));
    }
    let costs = Costs { then: (then.took_us, then.fuel), now: (decided.took / 1_000, decided.fuel) };
    let difference = compare(n, at, then, decided.result.map_err(|fault| fault.to_string()));
    Outcome::Told(costs, difference.map(Box::new))
}

/// A host's state directory has the journal's in it.
fn journal_in(directory: &Path) -> PathBuf {
    let below = journal::directory(directory);
    if below.is_dir() { below } else { directory.to_owned() }
}

fn unreadable(error: anyhow::Error) -> Failed {
    match error.downcast::<Broken>() {
        Ok(broken) => broken_journal(&broken).unchanged(NOTHING),
        Err(error) => Failed::usage(format!("{error:#}")).unchanged(NOTHING),
    }
}

fn unknown_form(n: u64, error: &serde_json::Error) -> Failed {
    Failed::new(format!("record {n} is intact, but not of a form that this version knows: {error}"))
        .next("use the version that wrote this journal, or a newer one")
}
