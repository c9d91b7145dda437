//! How long it takes to decide a hundred thousand recorded decisions again. Prints one JSON object for each figure.
//!
//! The records are a simulated host's, with disasters of several kinds, over and over.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tidegate::cli::policy::{Wanted, Workbench, backtest::backtest};
use tidegate::journal::{FileJournal, SEGMENT_BYTES, Store, verify};
use tidegate_kernel::record::Cause;
use tidegate_simulator::storm::disaster;
use tidegate_simulator::{Compiled, Simulation, fleets};

const DECISIONS: usize = 100_000;
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bench = Workbench::start(threads).await.unwrap();
    let wanted = Wanted { plugin: "builtin:failover-quorum".into(), ..Wanted::default() };
    let slot = Arc::new(bench.ready(wanted).await.unwrap());
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &records(&bench, &slot));
    let (mut verified, mut decided) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let journal = verify(directory.path()).unwrap();
        verified.push(begun.elapsed().as_secs_f64());
        let found = backtest(directory.path(), &journal, &slot, bench.workers(), |_| ()).unwrap();
        decided.push(begun.elapsed().as_secs_f64());
        assert_eq!(found.decisions, DECISIONS as u64);
    }
    figure("backtest-chain-verified", &mut verified);
    figure("backtest-100000-decisions", &mut decided);
}

/// Decisions of a few disasters, as they are written down.
fn records(bench: &Workbench, slot: &Arc<tidegate_engine::PolicySlot>) -> Vec<Box<RawValue>> {
    let fleet = fleets::three_sites().unwrap();
    let slots = fleet.services.iter().map(|service| (service.policy.clone(), slot.clone()));
    let mut decider = Compiled::new(bench.workers().remove(0), slots.collect::<BTreeMap<_, _>>());
    let ended = (1..40).map(|seed| Simulation::new(&fleet, disaster(&fleet, seed), seed).run(&mut decider));
    let records = ended.flat_map(|ended| ended.journal);
    let decisions = records.filter(|record| matches!(record.cause, Cause::Decided(_)));
    decisions.map(|record| to_raw_value(&record).unwrap()).collect()
}

fn write(directory: &Path, records: &[Box<RawValue>]) {
    let mut store = FileJournal::open(directory, SEGMENT_BYTES).unwrap().finish().unwrap();
    let all: Vec<Box<RawValue>> = records.iter().cycle().take(DECISIONS).cloned().collect();
    for batch in all.chunks(5_000) {
        store.append(batch.to_vec()).unwrap();
    }
}

fn figure(name: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let (median, min, max) = (values[values.len() / 2], values[0], values[values.len() - 1]);
    println!("{}", json!({ "name": name, "unit": "s", "median": median, "min": min, "max": max, "n": values.len() }));
}
