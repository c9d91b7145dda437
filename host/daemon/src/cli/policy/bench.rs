//! `tidegate policy bench`: what one decision costs on this machine, its fresh instance included.
//!
//! Asks on one thread, as each of a host's workers does; what a host adds (sensing, guard, journal) is not in it.

use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tidegate_engine::{PolicySlot, PolicyWorker, Request, neutral};

use super::{With, input};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Tone, facts, paint};

/// `policy bench PLUGIN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy bench policy.wasm
  tidegate policy bench policy.wasm --input situation.json --decisions 100000
  tidegate policy bench policy.wasm --json | jq .fuel")]
pub struct Bench {
    /// A component's file, or builtin:NAME.
    pub plugin: String,
    /// How it is to be asked.
    #[command(flatten)]
    pub with: With,
    /// What it is asked, as `policy eval` takes it; - = standard input [default: what `policy eval --example KIND` prints].
    #[arg(long, value_name = "FILE")]
    pub input: Option<String>,
    /// How many decisions; a tenth as many come before and do not count.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub decisions: u32,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measured {
    /// The plugin's name and version.
    pub plugin: String,
    /// So many.
    pub decisions: u32,
    /// The shortest.
    pub min_us: f64,
    /// Half of them took at most this.
    pub p50_us: f64,
    /// All but one in a hundred.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
    /// On one core.
    pub per_second: f64,
    /// Of one decision: the same for all.
    pub fuel: u64,
    /// Bytes that an instance had at the end.
    pub memory: u64,
    /// Of this program: the figures of a "debug" build are none.
    pub build: &'static str,
}

/// Measures, and prints.
pub async fn run(console: &Console, asked: &Bench) -> Result<Exit, Failed> {
    let bench = asked.with.bench(1).await?;
    console.progress("compiling it");
    let (slot, seen) = bench.ready_of_any_kind(asked.with.wanted(&asked.plugin)?).await?;
    let request = match &asked.input {
        Some(file) => input::read(file, seen.world, &slot.revision().manifest.memo_format)?,
        None => neutral::request(seen.world).ok_or_else(|| Failed::usage("it decides nothing").at(&asked.plugin))?,
    };
    console.progress(&format!("deciding {} times", asked.decisions));
    let [worker] = &bench.workers()[..] else { return Err(Failed::new("the engine has more than one worker")) };
    let measured = measure(&slot, worker, &request, asked.decisions)?;
    console.show(&measured, |measured, _| lines(measured))?;
    Ok(Exit::Done)
}

fn measure(slot: &PolicySlot, worker: &PolicyWorker, request: &Request, decisions: u32) -> Result<Measured, Failed> {
    let once = || {
        let decided = slot.ask_on(worker, request);
        let no = |fault: &_| {
            Failed::new(format!("the policy gave no decision: {fault}")).next("ask it with `tidegate policy eval`")
        };
        decided.result.as_ref().map_err(no)?;
        Ok::<_, Failed>((decided.took, decided.fuel, decided.memory))
    };
    (0..decisions.div_ceil(10)).try_for_each(|_| once().map(drop))?;
    let started = Instant::now();
    let told = (0..decisions).map(|_| once()).collect::<Result<Vec<_>, _>>()?;
    let elapsed = started.elapsed().as_secs_f64();
    let (fuel, memory) = (told[0].1, told[0].2);
    if let Some((_, other, _)) = told.iter().find(|(_, other, _)| *other != fuel) {
        return Err(Failed::new(format!("the same question cost {fuel} fuel, and {other} later"))
            .next("the policy is not deterministic: see `tidegate policy check`"));
    }
    let mut took: Vec<u64> = told.iter().map(|(took, ..)| *took).collect();
    took.sort_unstable();
    Ok(Measured {
        plugin: slot.revision().plugin(),
        decisions,
        min_us: percentile(&took, 0),
        p50_us: percentile(&took, 50),
        p99_us: percentile(&took, 99),
        max_us: percentile(&took, 100),
        per_second: f64::from(decisions) / elapsed,
        fuel,
        memory,
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}

/// In microseconds, of sorted nanoseconds: the smallest that so many per cent do not exceed.
fn percentile(sorted: &[u64], per_cent: usize) -> f64 {
    let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
    sorted[rank - 1] as f64 / 1_000.0
}

fn lines(measured: &Measured) -> String {
    let Measured { plugin, decisions, min_us, p50_us, p99_us, max_us, per_second, fuel, memory, build } = measured;
    let mut lines = vec![
        ("policy", paint(plugin, Tone::Title)),
        ("decisions", format!("{decisions}, each in a fresh instance, on one thread")),
        ("latency", format!("shortest {min_us:.1} µs, p50 {p50_us:.1} µs, p99 {p99_us:.1} µs, longest {max_us:.1} µs")),
        ("throughput", format!("{per_second:.0} decisions a second on one core")),
        ("fuel", fuel.to_string()),
        ("memory", format!("{} KiB an instance", memory >> 10)),
    ];
    if *build == "debug" {
        lines.push(("beware", paint("this tidegate is a debug build: measure with a release build", Tone::Warning)));
    }
    facts(lines)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_measured_values() {
        let took: Vec<u64> = (1..=200).map(|n| n * 1_000).collect();
        assert_eq!([50, 99, 100].map(|p| percentile(&took, p)), [100.0, 198.0, 200.0]);
        assert_eq!([50, 99, 100].map(|p| percentile(&[7_000], p)), [7.0; 3]);
    }
}
