//! `tidegate policy`: write, check, test and try a policy before it decides for real. Needs no running host.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use tidegate_engine::LimitSettings;
use tidegate_engine::limits::Span;

use crate::cli::Common;
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::plugins::read_settings;

pub mod backtest;
pub mod bench;
pub mod check;
pub mod eval;
pub mod input;
mod junit;
pub mod kind;
pub mod new;
mod replies;
pub mod report;
mod simulated;
pub mod storm;
mod table;
pub mod test;
mod trials;
mod workbench;

pub use workbench::{Wanted, Workbench};

/// Much longer than any decision takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be done with a policy before it decides for real.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Write a new policy that builds, passes its own tests and decides.
    New(new::New),
    /// Say what a component imports, whether a host would take it, and whether it always decides the same.
    Check(check::Check),
    /// Ask a policy about one situation.
    Eval(eval::Eval),
    /// Measure what a decision costs.
    Bench(bench::Bench),
    /// Have it decide again what a journal says was decided, and show what differs.
    Backtest(backtest::Backtest),
    /// Play scenarios with it, and say what did not go as it should have.
    Test(test::Test),
    /// Send thousands of random disasters over it, and keep score.
    Storm(storm::StormOf),
    /// Play one disaster of a storm again, line by line.
    Replay(storm::Replay),
}

/// What a policy is asked with: as its slot in the fleet file would have it.
#[derive(Args, Clone, Debug, Default)]
pub struct With {
    /// Its settings, a JSON file [default: none].
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// What it may use up, as `limits` of a slot: memory=64MiB, fuel=50000000 [default: a policy slot's].
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub limits: Vec<String>,
    /// Where compiled code is kept [default: nowhere, it is compiled each time].
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

/// Carries out one of them.
pub async fn run(common: &Common, console: &Console, policy: Policy) -> Result<Exit, Failed> {
    match policy {
        Policy::New(asked) => new::run(console, &asked),
        Policy::Check(asked) => check::run(console, &asked).await,
        Policy::Eval(asked) => eval::run(console, &asked).await,
        Policy::Bench(asked) => bench::run(console, &asked).await,
        Policy::Backtest(asked) => backtest::run(common, console, &asked).await,
        Policy::Test(asked) => test::run(console, &asked).await,
        Policy::Storm(asked) => storm::run(console, &asked).await,
        Policy::Replay(asked) => storm::again(console, &asked).await,
    }
}

impl With {
    /// A bench to ask on, with so many workers.
    pub async fn bench(&self, workers: usize) -> Result<Workbench, Failed> {
        Workbench::start_cached(workers, self.cache.as_deref()).await
    }

    /// The same with all the time that it wants: work is counted, and this machine's time is not what a record or a simulated world
    /// is about.
    pub fn generous(&self, plugin: &str) -> Result<Wanted, Failed> {
        let mut wanted = self.wanted(plugin)?;
        wanted.limits.wall_clock = wanted.limits.wall_clock.or(Some(Span(PATIENCE)));
        Ok(wanted)
    }

    /// The policy `plugin` with these.
    pub fn wanted(&self, plugin: &str) -> Result<Wanted, Failed> {
        Ok(Wanted {
            plugin: plugin.to_owned(),
            settings: self.settings.as_deref().map(read_settings).transpose()?.unwrap_or_default(),
            limits: read_limits(&self.limits)?,
            cases: Vec::new(),
        })
    }
}

/// Reads what `--limit` says as the fleet file's limits are read.
pub(crate) fn read_limits(given: &[String]) -> Result<LimitSettings, Failed> {
    let named = given.iter().map(|one| limit(one)).collect::<Result<Map<_, _>, _>>()?;
    serde_json::from_value(Value::Object(named)).map_err(|error| Failed::usage(format!("--limit: {error}")))
}

/// The same as the host is told them: those that are named, in the fleet file's words; none = none are.
pub(crate) fn named_limits(given: &[String]) -> Result<Option<Value>, Failed> {
    read_limits(given)?;
    let named = given.iter().map(|one| limit(one)).collect::<Result<Map<_, _>, _>>()?;
    Ok((!named.is_empty()).then_some(Value::Object(named)))
}

fn limit(given: &str) -> Result<(String, Value), Failed> {
    let no_value =
        || Failed::usage(format!("--limit {given} gives no value")).next("write it like --limit memory=64MiB");
    let (name, value) = given.split_once('=').ok_or_else(no_value)?;
    Ok((name.to_owned(), value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from)))
}

#[cfg(test)]
mod tests {
    use super::{named_limits, read_limits};

    #[test]
    fn limits_are_the_fleet_files_and_an_unknown_one_is_told_what_there_is() {
        let given = ["memory=64MiB", "fuel=7", "wall-clock=2s"].map(str::to_owned);
        let limits_read = read_limits(&given).unwrap();
        assert_eq!(limits_read.memory.unwrap().0, 64 << 20);
        assert_eq!((limits_read.fuel, limits_read.output), (Some(7), None));
        let named = serde_json::json!({ "memory": "64MiB", "fuel": 7, "wall-clock": "2s" });
        assert_eq!((named_limits(&given).unwrap(), named_limits(&[]).unwrap()), (Some(named), None));
        for (wrong, hint) in [("memory", "memory=64MiB"), ("memmory=1MiB", "`memory`"), ("wall-clock=50", "no unit")] {
            let told = read_limits(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(told.contains(hint), "{wrong}: {told}");
        }
    }
}
