//! `tidegate policy backtest`: every recorded situation decided again by a candidate, beside what was decided then.
//!
//! Decides from a whole journal or from none: its chain is verified first. What the record does not hold is counted and said,
//! never answered in its place.

mod compare;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_engine::{PolicySlot, PolicyWorker, Question};
use tidegate_kernel::record::{Cause, Change, Decided, Record};

use self::compare::{Difference, Kind, Outcome, compare};
use super::With;
use super::simulated::threads;
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::journal::broken_journal;
use crate::cli::replay::{self, Replayed};
use crate::cli::text::{Tone, facts, paint};
use crate::journal::{self, Broken, Reader};

/// More would not fit the one screen; `--json` has all.
const SHOWN: usize = 12;
/// Records handed to a thread at once.
const BATCH: usize = 256;
/// Batches that wait for a thread, so that a long journal is never in memory whole.
const WAITING: usize = 8;

/// `policy backtest`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy backtest --journal /var/lib/tidegate --policy mine.wasm
  tidegate policy backtest --journal exported --policy mine.wasm --settings patient.json --json
  tidegate policy backtest --journal /var/lib/tidegate --policy builtin:failover-quorum --verify

Exit codes: 0 done, 1 with --verify something was decided otherwise, 2 bad input.")]
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
    /// Also ask the policies that decided then, and fail unless they say the same to the last byte.
    #[arg(long)]
    pub verify: bool,
    /// Where policies lie that decided then and are not built in; may be given more than once.
    #[arg(long, value_name = "DIR", requires = "verify")]
    pub plugins: Vec<PathBuf>,
}

/// What a candidate would have decided.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backtested {
    /// Recorded decisions.
    pub decisions: u64,
    /// Decisions equal to the one before them, which the journal only counted.
    pub counted_only: u64,
    /// The same verdict for the same analysis.
    pub unchanged: u64,
    /// Another verdict or analysis, and no move either way.
    pub changed: u64,
    /// It would have moved, and nothing was.
    pub moves_added: u64,
    /// It would not have moved, and something was.
    pub moves_removed: u64,
    /// It would have moved elsewhere, or otherwise.
    pub moves_changed: u64,
    /// It gave no decision.
    pub faults: u64,
    /// Nobody can tell, by why.
    pub cannot_tell: BTreeMap<String, u64>,
    /// What the decisions took then.
    pub then: Cost,
    /// What the candidate's took.
    pub now: Cost,
    /// Everything that is not unchanged, in the order of the record.
    pub differences: Vec<Difference>,
    /// What came of asking those that decided then.
    pub verified: Option<Replayed>,
}

/// What decisions cost.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cost {
    /// Microseconds; half took no longer.
    pub took_us_p50: u64,
    /// Microseconds; ninety-nine of a hundred took no longer.
    pub took_us_p99: u64,
    /// Units of work; half did no more.
    pub fuel_p50: u64,
    /// Units of work; ninety-nine of a hundred did no more.
    pub fuel_p99: u64,
}

/// What one recorded decision came to.
struct Compared {
    n: u64,
    then: (u64, u64),
    now: Option<(u64, u64)>,
    outcome: Outcome,
}

type Batch = Vec<(u64, Box<RawValue>)>;

/// Reads, decides and tells.
pub async fn run(console: &Console, asked: &Backtest) -> Result<Exit, Failed> {
    let directory = journal_in(&asked.journal);
    console.progress("verifying the journal's chain");
    let verified = journal::verify(&directory).map_err(unreadable)?;
    if verified.segments == 0 {
        return Err(Failed::usage("there is no journal").at(directory.display()).next("name a host's state directory"));
    }
    let bench = asked.with.bench(threads()).await?;
    let slot = bench.ready(asked.with.generous(&asked.policy)?).await?;
    console.progress("deciding what was decided then");
    let workers = bench.workers();
    let mut found = tokio::task::block_in_place(|| backtest(&directory, &slot, workers))?;
    if asked.verify {
        console.progress("asking those that decided then");
        found.verified = Some(replay::replay(&directory, &asked.plugins).await?);
    }
    console.show(&found, |found, _| page(found))?;
    let differs = found.verified.as_ref().is_some_and(|replayed| !replayed.problems.is_empty());
    Ok(if differs { Exit::Failed } else { Exit::Done })
}

/// Decides every recorded situation again, one thread for each worker. The journal in `directory` has been verified.
pub fn backtest(directory: &Path, slot: &PolicySlot, workers: Vec<PolicyWorker>) -> Result<Backtested, Failed> {
    let (batches, waiting) = sync_channel::<Batch>(WAITING);
    let waiting = Mutex::new(waiting);
    let mut compared = std::thread::scope(|scope| {
        let threads: Vec<_> =
            workers.into_iter().map(|worker| scope.spawn(|| decide_all(&waiting, slot, worker))).collect();
        let read = read(directory, batches);
        let mut compared = Vec::new();
        for thread in threads {
            let of_one = thread.join().map_err(|_| Failed::new("a thread of the backtest has died"))??;
            compared.extend(of_one);
        }
        read.map(|()| compared)
    })?;
    compared.sort_by_key(|compared| compared.n);
    Ok(Backtested::sum(compared))
}

/// Hands out, as it was written, every record that may hold a decision or count some.
fn read(directory: &Path, batches: SyncSender<Batch>) -> Result<(), Failed> {
    let mut batch = Vec::with_capacity(BATCH);
    for entry in Reader::open(directory)? {
        let entry = entry.map_err(|broken| broken_journal(&broken))?;
        // A cheap look before the dear one: most records of a journal are no decisions.
        if !entry.body.get().contains("\"decided\"") && !entry.body.get().contains("\"holds\"") {
            continue;
        }
        batch.push((entry.n, entry.body));
        if batch.len() == BATCH && batches.send(std::mem::take(&mut batch)).is_err() {
            return Err(Failed::new("the threads of the backtest have ended"));
        }
    }
    // Nobody left to take the last ones is told by their join.
    let _ = batches.send(batch);
    Ok(())
}

fn decide_all(
    waiting: &Mutex<Receiver<Batch>>,
    slot: &PolicySlot,
    worker: PolicyWorker,
) -> Result<Vec<Compared>, Failed> {
    let mut compared = Vec::new();
    loop {
        let batch = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = batch else { return Ok(compared) };
        for (n, body) in batch {
            let record: Record = serde_json::from_str(body.get())
                .map_err(|error| Failed::new(format!("record {n} cannot be read: {error}")))?;
            compared.extend(decide(n, record, slot, &worker));
        }
    }
}

/// None for a record that holds no decision, but for what it counts.
fn decide(n: u64, record: Record, slot: &PolicySlot, worker: &PolicyWorker) -> Option<Compared> {
    let counted = record.transitions.iter().map(|transition| match &transition.change {
        Change::Holds { counts } => counts.iter().map(|(_, count)| count).sum(),
        _ => 0,
    });
    let counted: u64 = counted.sum();
    let Cause::Decided(decided) = record.cause else {
        return (counted > 0).then_some(Compared { n, then: (0, 0), now: None, outcome: Outcome::Counted(counted) });
    };
    let at = record.at.wall;
    Some(again(n, at, counted, *decided, slot, worker))
}

fn again(n: u64, at: u64, counted: u64, then: Decided, slot: &PolicySlot, worker: &PolicyWorker) -> Compared {
    let cost = (then.took_us, then.fuel);
    let cannot =
        |why: &str| Compared { n, then: cost, now: None, outcome: Outcome::CannotTell(why.to_owned(), counted) };
    let Some(situation) = then.situation.body.clone() else {
        return cannot("the record does not hold the situation");
    };
    let format = then.revision.memo_format.clone();
    let Ok(question) = Question::recorded(*situation, format, &then.reads) else {
        return cannot("what was read then cannot be read now");
    };
    let question = Arc::new(question);
    let decided = slot.decide_on(worker, &question);
    let now = Some((decided.took / 1_000, decided.fuel));
    if let Some(unknown) = compare::unknown(&question.situation, &then.reads, &decided.answers) {
        let why = format!("it asks for {unknown}, which the record does not hold");
        return Compared { n, then: cost, now, outcome: Outcome::CannotTell(why, counted) };
    }
    let result = decided.result.map_err(|fault| fault.to_string());
    Compared { n, then: cost, now, outcome: Outcome::Told(compare(n, at, &then, result), counted) }
}

impl Backtested {
    fn sum(all: Vec<Compared>) -> Self {
        let mut found = Backtested::default();
        let (mut then, mut now) = (Vec::new(), Vec::new());
        for Compared { then: cost, now: again, outcome, .. } in all {
            match outcome {
                Outcome::Counted(counted) => {
                    found.counted_only += counted;
                    continue;
                }
                Outcome::CannotTell(why, counted) => {
                    found.counted_only += counted;
                    *found.cannot_tell.entry(why).or_default() += 1;
                }
                Outcome::Told(difference, counted) => {
                    found.counted_only += counted;
                    *found.count(difference.kind) += 1;
                    if difference.kind != Kind::Unchanged {
                        found.differences.push(difference);
                    }
                }
            }
            found.decisions += 1;
            then.push(cost);
            now.extend(again);
        }
        (found.then, found.now) = (Cost::of(&then), Cost::of(&now));
        found
    }

    fn count(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Unchanged => &mut self.unchanged,
            Kind::Changed => &mut self.changed,
            Kind::MoveAdded => &mut self.moves_added,
            Kind::MoveRemoved => &mut self.moves_removed,
            Kind::MoveChanged => &mut self.moves_changed,
            Kind::Fault => &mut self.faults,
        }
    }
}

impl Cost {
    fn of(costs: &[(u64, u64)]) -> Cost {
        let at = |mut values: Vec<u64>, per_cent: usize| {
            values.sort_unstable();
            let rank = (values.len() * per_cent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0)
        };
        let took: Vec<u64> = costs.iter().map(|(took, _)| *took).collect();
        let fuel: Vec<u64> = costs.iter().map(|(_, fuel)| *fuel).collect();
        Cost {
            took_us_p50: at(took.clone(), 50),
            took_us_p99: at(took, 99),
            fuel_p50: at(fuel.clone(), 50),
            fuel_p99: at(fuel, 99),
        }
    }
}

/// A host's state directory has the journal's in it.
fn journal_in(directory: &Path) -> PathBuf {
    let below = journal::directory(directory);
    if below.is_dir() { below } else { directory.to_owned() }
}

fn unreadable(error: anyhow::Error) -> Failed {
    match error.downcast::<Broken>() {
        Ok(broken) => broken_journal(&broken).unchanged("nothing was decided"),
        Err(error) => Failed::usage(format!("{error:#}")).unchanged("nothing was decided"),
    }
}

fn page(found: &Backtested) -> String {
    let cost = |cost: &Cost| {
        let Cost { took_us_p50, took_us_p99, fuel_p50, fuel_p99 } = cost;
        format!("{took_us_p50} µs (p99 {took_us_p99}), fuel {fuel_p50} (p99 {fuel_p99})")
    };
    let mut text = facts(vec![
        ("decisions", format!("{}, and {} equal ones that were only counted", found.decisions, found.counted_only)),
        ("unchanged", found.unchanged.to_string()),
        ("changed", found.changed.to_string()),
        ("moves added", found.moves_added.to_string()),
        ("moves removed", found.moves_removed.to_string()),
        ("moves changed", found.moves_changed.to_string()),
        ("faults", found.faults.to_string()),
        ("cannot tell", found.cannot_tell.values().sum::<u64>().to_string()),
        ("then", cost(&found.then)),
        ("now", cost(&found.now)),
    ]);
    text.push('\n');
    for (why, count) in &found.cannot_tell {
        text += &paint(format!("{count} × cannot tell: {why}\n"), Tone::Warning);
    }
    for difference in found.differences.iter().take(SHOWN) {
        text += &difference.lines();
    }
    if found.differences.len() > SHOWN {
        text += &format!("and {} more; --json has all\n", found.differences.len() - SHOWN);
    }
    match &found.verified {
        Some(replayed) => text + &replay::page(replayed),
        None => text,
    }
}
