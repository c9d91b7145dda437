//! Runs the benches in release and gathers their figures: each bench prints one JSON object per figure.
//!
//! Knows the benches' names and the form of a figure, not what they measure.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup;

/// A bench: its target, which is the name that people type, and what it measures.
struct Bench {
    name: &'static str,
    about: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench { name: "decision", about: "a decision, and a swap under load" },
    Bench { name: "sensing", about: "looks per second in the kernel" },
    Bench { name: "kernel", about: "events per second in the whole kernel" },
    Bench { name: "storm", about: "simulated hours a second, and a storm of 10,000 disasters" },
    Bench { name: "backtest", about: "100,000 recorded decisions decided again" },
    Bench { name: "probes", about: "10,000 targets, a third of them black holes" },
    Bench { name: "host", about: "a host's memory, start, and a site's death to DNS" },
    Bench {
        name: "languages",
        about: "a decision in Rust, Python and JavaScript; needs python3, node and npm for the last two",
    },
    Bench {
        name: "failover",
        about: "what a fault costs a client of PostgreSQL; as root [--runs N] [--fault NAME] [--mode NAME]",
    },
];

/// Options that a bench takes itself, each with a value.
const OWN_OPTIONS: [&str; 3] = ["--runs", "--fault", "--mode"];

/// `cargo xtask bench [NAME] [--json] [--list]`, and what the bench itself takes.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (own, arguments) = split(arguments)?;
    let json = arguments.contains(&"--json");
    let name = arguments.iter().find(|argument| !argument.starts_with("--"));
    if arguments.contains(&"--list") {
        BENCHES.iter().for_each(|bench| println!("{:10} {}", bench.name, bench.about));
        return Ok(());
    }
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|bench| name.is_none_or(|name| *name == bench.name)).collect();
    if chosen.is_empty() {
        bail!("no bench `{}`; `cargo xtask bench --list` names them", name.copied().unwrap_or_default());
    }
    setup::guest_target()?;
    for bench in chosen {
        for figure in figures(bench, &own)? {
            if json { println!("{figure}") } else { println!("{}", sentence(&figure)) }
        }
    }
    Ok(())
}

/// The bench's own options, and the others.
fn split(arguments: &[String]) -> Result<(Vec<&str>, Vec<&str>)> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    let mut arguments = arguments.iter().map(String::as_str);
    while let Some(argument) = arguments.next() {
        if OWN_OPTIONS.contains(&argument) {
            own.extend([argument, arguments.next().with_context(|| format!("{argument} wants a value"))?]);
        } else {
            others.push(argument);
        }
    }
    Ok((own, others))
}

fn figures(bench: &Bench, own: &[&str]) -> Result<Vec<Value>> {
    // Of the whole workspace, as the tests are built: a package alone would have its dependencies built anew, with fewer features.
    let mut command = setup::cargo_command(&["bench", "--workspace", "--bench", bench.name]);
    if !own.is_empty() {
        command.arg("--").args(own);
    }
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("the bench `{}` failed: {}", bench.name, output.status);
    }
    let text =
        String::from_utf8(output.stdout).with_context(|| format!("read what the bench `{}` printed", bench.name))?;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("read the figure {line}"))).collect()
}

/// "decision-fresh  14.2 us  (13.9 to 18.0, n = 20000; 41.0 times native)".
fn sentence(figure: &Value) -> String {
    let number = |key: &str| figure[key].as_f64().map_or("?".to_owned(), |value| format!("{value:.3}"));
    let ratio = figure["ratio"].as_f64().map_or(String::new(), |ratio| format!("; ratio {ratio:.2}"));
    let most = |key: &str| figure[key]["max"].as_f64();
    let cost = match (most("lost-rows"), most("split-brain-s"), most("rejoin-s")) {
        (Some(lost), Some(split), Some(rejoin)) => {
            format!("; at most {lost} rows lost, {split:.3} s of split brain, {rejoin:.1} s to rejoin")
        }
        _ => String::new(),
    };
    let (name, unit) = (figure["name"].as_str().unwrap_or("?"), figure["unit"].as_str().unwrap_or(""));
    format!(
        "{name:44} {:>14} {unit:10} ({} to {}, n = {}{ratio}){cost}",
        number("median"),
        number("min"),
        number("max"),
        figure["n"]
    )
}
