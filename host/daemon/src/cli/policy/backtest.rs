//! `tidegate policy backtest`: every recorded situation decided again by a candidate, beside what was decided then.
//!
//! Decides from a whole journal or from none: its chain is verified first. What the record does not hold is counted and said,
//! never answered in its place.

mod compare;
mod decide;
mod found;
mod timing;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use clap::Args;
use serde::Deserialize;
use tidegate_engine::{PolicySlot, PolicyWorker};
use tidegate_kernel::record::{Cause, Record};

use self::compare::{Compared, Outcome};
use self::decide::{Batch, Held, Thread, Unreadable};
pub use self::found::{Backtested, Cost};
pub use self::timing::Timing;
use super::simulated::threads;
use super::{With, read_limits};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::journal::broken_journal;
use crate::cli::replay::{self, Means};
use crate::cli::{Common, reach};
use crate::journal::{self, Broken, Entry, Head, Reader, Verified};

/// Records handed to a thread at once.
const BATCH: usize = 64;
/// Batches that wait for each thread, so that a long journal is never in memory whole.
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

The candidate has a memory of its own, as a shadow has: it begins with none, and is never shown what the one that decided then
remembered. Where it cannot have what it would remember, because the journal begins later or because nobody can tell what it
would have said, the decisions that follow are counted.
Time to verdict: where both move within one incident (a run of recorded situations of one service in each of which at least one
of them moves), how much sooner or later the candidate begins. Only what was written down can be decided again: \"sooner\" is at
least so much, \"later\" at most, and what would have come of a move that was not made nobody knows.
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

/// Of a record, only whose decision it holds: what else is in it is for the thread that decides.
#[derive(Deserialize)]
struct Of<'a> {
    #[serde(borrow)]
    cause: Deciding<'a>,
}

#[derive(Deserialize)]
struct Deciding<'a> {
    #[serde(borrow)]
    decided: Service<'a>,
}

#[derive(Deserialize)]
struct Service<'a> {
    #[serde(borrow)]
    service: Cow<'a, str>,
}

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
    let decide = |held: &Held| decide_all(directory, &journal.head, slot, &workers, held, &told);
    let mut compared = decide(&Held::new())?;
    // This version writes every situation down beside its decision: two more readings are for the journals of others.
    let held = situations(directory, &journal.head, &named(&compared))?;
    if !held.is_empty() {
        compared = decide(&held)?;
    }
    let torn = journal.torn.as_ref().map(|torn| format!("{} at byte {}", torn.file.display(), torn.offset));
    Ok(Backtested { journal: journal.head.clone(), torn, ..Backtested::sum(compared) })
}

/// Decides everything up to `head`, on one thread for each worker; `held` are the situations that some records only name.
fn decide_all(
    directory: &Path,
    head: &Head,
    slot: &PolicySlot,
    workers: &[PolicyWorker],
    held: &Held,
    told: &impl Fn(u64),
) -> Result<Vec<Compared>, Failed> {
    std::thread::scope(|scope| {
        let (mut threads, mut senders) = (Vec::new(), Vec::new());
        for worker in workers {
            let (batches, waiting) = sync_channel::<Batch>(WAITING);
            let thread = Thread::new(slot, worker, held);
            threads.push(scope.spawn(move || thread.run(&waiting)));
            senders.push(batches);
        }
        let read = hand_out(directory, head, senders, told);
        let mut ended = Vec::new();
        for thread in threads {
            ended.push(thread.join().map_err(|_| Failed::new("a thread of the backtest has died"))?);
        }
        read.and_then(|()| in_order(ended))
    })
}

/// Hands the records to the threads, in order. A service's go to one thread, which alone knows what the candidate remembers of it.
fn hand_out(directory: &Path, head: &Head, threads: Vec<SyncSender<Batch>>, told: &impl Fn(u64)) -> Result<(), Failed> {
    let mut batches: Vec<Batch> = threads.iter().map(|_| Batch::new()).collect();
    let mut owners = HashMap::new();
    each(directory, head, |entry| {
        if entry.n.is_multiple_of(TOLD_EVERY) {
            told(entry.n);
        }
        let at = owner(&mut owners, entry.body.get(), threads.len());
        batches[at].push((entry.n, entry.body));
        // Why one has stopped, where it has, is told by its join.
        batches[at].len() < BATCH || threads[at].send(std::mem::take(&mut batches[at])).is_ok()
    })?;
    // Also where one has stopped: another may have been handed a record before the one that it could not read.
    for (thread, batch) in threads.iter().zip(batches) {
        let _ = thread.send(batch);
    }
    Ok(())
}

/// The thread whose that record is: services are dealt out in the order in which they come. What is nobody's decision can be read
/// by any.
fn owner(owners: &mut HashMap<String, usize>, body: &str, threads: usize) -> usize {
    let Some(service) = service_of(body) else { return 0 };
    if let Some(owner) = owners.get(&*service) {
        return *owner;
    }
    let next = owners.len() % threads;
    owners.insert(service.into_owned(), next);
    next
}

/// Whose decision a record holds. This version writes the name near the beginning: there the rest need not be looked at.
fn service_of(body: &str) -> Option<Cow<'_, str>> {
    let at_once = body.split_once(r#""cause":{"decided":{"service":""#).and_then(|(_, rest)| rest.split_once('"'));
    match at_once {
        Some((service, _)) if !service.contains('\\') => Some(service.into()),
        _ => serde_json::from_str(body).ok().map(|Of { cause: Deciding { decided: Service { service } } }| service),
    }
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

/// The hashes of the situations that are only named.
fn named(compared: &[Compared]) -> BTreeSet<&str> {
    let named = compared.iter().filter_map(|one| match &one.outcome {
        Outcome::Elsewhere(hash) => Some(hash.as_str()),
        _ => None,
    });
    named.collect()
}

/// The first record that holds each of these situations, by the situation's hash.
fn situations(directory: &Path, head: &Head, named: &BTreeSet<&str>) -> Result<Held, Failed> {
    let (mut held, mut unreadable) = (Held::new(), None);
    if named.is_empty() {
        return Ok(held);
    }
    each(directory, head, |entry| {
        match serde_json::from_str::<Record>(entry.body.get()) {
            Ok(Record { cause: Cause::Decided(decided), .. }) if named.contains(&*decided.situation.hash) => {
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

/// Whatever the threads did: by number, or the first record that one could not read. Each has read its own in order, so that none
/// has left an earlier one out.
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

#[cfg(test)]
mod tests {
    use super::service_of;

    #[test]
    fn whose_decision_it_is_is_found_wherever_it_stands() {
        for (body, service) in [
            (r#"{"at":{},"cause":{"decided":{"service":"shop","fuel":1}}}"#, Some("shop")),
            (r#"{ "cause": { "decided": { "fuel": 1, "service": "shop" } }, "at": {} }"#, Some("shop")),
            (r#"{"cause":{"decided":{"service":"a\u0062"}}}"#, Some("ab")),
            (r#"{"cause":{"due":"\"cause\":{\"decided\":{\"service\":\"shop\""}}"#, None),
            (r#"{"cause":"fleet-changed","transitions":[]}"#, None),
        ] {
            assert_eq!(service_of(body).as_deref(), service, "{body}");
        }
    }
}
