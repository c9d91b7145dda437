//! Runs the benches in release and gathers their figures: each bench prints one JSON object per figure.
//!
//! Knows the benches' names and the form of a figure, not what they measure.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup;

/// A bench: the name people type, the crate, the bench target, what it measures.
struct Bench {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    about: &'static str,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "decision",
        package: "tidegate-engine",
        target: "decision",
        about: "a decision, and a swap under load",
    },
    Bench { name: "sensing", package: "tidegate-kernel", target: "sensing", about: "looks per second in the kernel" },
    Bench {
        name: "kernel",
        package: "tidegate-kernel",
        target: "kernel",
        about: "events per second in the whole kernel",
    },
    Bench {
        name: "probes",
        package: "tidegate",
        target: "probes",
        about: "10,000 targets, a third of them black holes",
    },
    Bench {
        name: "host",
        package: "tidegate",
        target: "host",
        about: "a host's memory, start, and a site's death to DNS",
    },
];

/// `cargo xtask bench [NAME] [--json] [--list]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let json = arguments.iter().any(|argument| argument == "--json");
    let name = arguments.iter().find(|argument| !argument.starts_with("--"));
    if arguments.iter().any(|argument| argument == "--list") {
        BENCHES.iter().for_each(|bench| println!("{:10} {}", bench.name, bench.about));
        return Ok(());
    }
    let chosen: Vec<&Bench> = BENCHES.iter().filter(|bench| name.is_none_or(|name| name == bench.name)).collect();
    if chosen.is_empty() {
        bail!("no bench `{}`; `cargo xtask bench --list` names them", name.map_or("", String::as_str));
    }
    setup::guest_target()?;
    for bench in chosen {
        for figure in figures(bench)? {
            if json { println!("{figure}") } else { println!("{}", sentence(&figure)) }
        }
    }
    Ok(())
}

fn figures(bench: &Bench) -> Result<Vec<Value>> {
    let mut command = setup::cargo_command(&["bench", "--package", bench.package, "--bench", bench.target]);
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
    let (name, unit) = (figure["name"].as_str().unwrap_or("?"), figure["unit"].as_str().unwrap_or(""));
    format!(
        "{name:44} {:>14} {unit:10} ({} to {}, n = {}{ratio})",
        number("median"),
        number("min"),
        number("max"),
        figure["n"]
    )
}
