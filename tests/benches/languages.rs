//! What a decision costs in each language that a policy can be written in, its fresh instance included, as `policy bench` of the
//! released program measures it. `cargo xtask bench languages [--json]`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tidegate_tests::binary::tidegate_released;
use tidegate_tests::guests::{Language, Project};

/// The policy that comes with Tidegate, in Rust, and the examples in the other languages.
const EXAMPLES: [(Language, &str); 2] =
    [(Language::Python, "policy-python-cheapest-site"), (Language::JavaScript, "policy-javascript-office-hours")];
const DECISIONS: &str = "1000";

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
    let tidegate = binary()?;
    figure("rust", &asked(&tidegate, "builtin:failover-quorum", None)?);
    for (language, name) in EXAMPLES.into_iter().filter(|(language, _)| language.is_here()) {
        let project = Project::example(language, name);
        let component = project.component()?;
        let measured = asked(&tidegate, &component.display().to_string(), Some(project.dir.join("settings.json")))?;
        figure(language.word(), &measured);
    }
    Ok(())
}

/// `--binary PATH`, or the one that is built now.
fn binary() -> Result<PathBuf> {
    let arguments: Vec<String> = std::env::args().collect();
    let named = arguments.iter().position(|argument| argument == "--binary").map(|at| arguments.get(at + 1));
    match named {
        Some(path) => path.map(PathBuf::from).context("--binary wants a value"),
        None => tidegate_released(),
    }
}

fn asked(tidegate: &Path, plugin: &str, settings: Option<PathBuf>) -> Result<Value> {
    let mut bench = Command::new(tidegate);
    bench.args(["policy", "bench", plugin, "--decisions", DECISIONS, "--limit", "memory=64MiB", "--json"]);
    if let Some(settings) = settings {
        bench.arg("--settings").arg(settings);
    }
    let output = bench.output().with_context(|| format!("start {bench:?}"))?;
    ensure!(output.status.success(), "{bench:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read what `policy bench` printed")
}

/// In microseconds: half of the decisions took at most the median, all but one in a hundred at most `p99`.
fn figure(language: &str, measured: &Value) {
    println!(
        "{}",
        json!({
            "name": format!("decision-in-{language}"),
            "unit": "us",
            "median": measured["p50-us"],
            "p99": measured["p99-us"],
            "min": measured["min-us"],
            "max": measured["max-us"],
            "n": measured["decisions"],
        })
    );
}
