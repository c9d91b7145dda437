//! What a fault costs a client of a PostgreSQL cluster under Tidegate: outage, rows lost, split brain, time to rejoin; by fault and by
//! mode. `cargo xtask bench failover [--runs N] [--fault NAME] [--mode NAME] [--json]`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tidegate_tests::failover::faults::Fault;
use tidegate_tests::failover::round::{Findings, play};
use tidegate_tests::failover::stage::Mode;

/// What the command line says.
struct Wanted {
    binary: PathBuf,
    runs: usize,
    fault: Option<String>,
    mode: Option<String>,
}

const MODES: [Mode; 2] = [Mode::Synchronous, Mode::Asynchronous];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<()> {
    let wanted = wanted()?;
    for mode in MODES {
        for fault in Fault::ALL {
            let other = |named: &Option<String>, name: &str| named.as_ref().is_some_and(|named| named != name);
            if other(&wanted.fault, fault.name()) || other(&wanted.mode, mode.name()) {
                continue;
            }
            let mut all = Vec::new();
            for run in 1..=wanted.runs {
                let findings = play(&wanted.binary, fault, mode)?;
                eprintln!("{} {} {run} of {}: {findings:?}", mode.name(), fault.name(), wanted.runs);
                all.push(findings);
            }
            println!("{}", figure(fault, mode, &all));
        }
    }
    Ok(())
}

fn wanted() -> Result<Wanted> {
    let mut wanted = Wanted { binary: PathBuf::new(), runs: 3, fault: None, mode: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--binary" => wanted.binary = value()?.into(),
            "--runs" => wanted.runs = value()?.parse().context("--runs wants a number")?,
            "--fault" => wanted.fault = Some(value()?),
            "--mode" => wanted.mode = Some(value()?),
            // Cargo says this to every bench.
            "--bench" => {}
            other => bail!("no option {other}"),
        }
    }
    is_one_of("fault", wanted.fault.as_deref(), &Fault::ALL.map(Fault::name))?;
    is_one_of("mode", wanted.mode.as_deref(), &MODES.map(Mode::name))?;
    if wanted.binary.as_os_str().is_empty() {
        wanted.binary = tidegate_tests::binary::tidegate_released()?;
    }
    Ok(wanted)
}

fn is_one_of(what: &str, named: Option<&str>, names: &[&str]) -> Result<()> {
    let known = named.is_none_or(|named| names.contains(&named));
    ensure!(known, "no {what} {}; nothing was measured; there are {}", named.unwrap_or_default(), names.join(", "));
    Ok(())
}

fn figure(fault: Fault, mode: Mode, all: &[Findings]) -> Value {
    let spread = |of: fn(&Findings) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        json!({ "median": middle, "min": values[0], "max": values[values.len() - 1] })
    };
    let outage = spread(|findings| findings.outage_s);
    json!({
        "name": format!("failover-{}-{}", fault.name(), mode.name()),
        "unit": "s without an acknowledgement",
        "median": outage["median"], "min": outage["min"], "max": outage["max"],
        "fault": fault.name(),
        "mode": mode.name(),
        "n": all.len(),
        "outage-s": outage,
        "lost-rows": spread(|findings| findings.lost_rows as f64),
        "lost-s": spread(|findings| findings.lost_s),
        "split-brain-s": spread(|findings| findings.split_brain_s),
        "rejoin-s": spread(|findings| findings.rejoin_s),
        "moved": all.iter().filter(|findings| findings.moved).count(),
        "proofs": all.iter().filter_map(|findings| findings.proof.clone()).collect::<Vec<_>>(),
        "loss-bounds-s": all.iter().filter_map(|findings| findings.loss_bound_s).collect::<Vec<_>>(),
    })
}
