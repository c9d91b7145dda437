//! The project's own commands: `cargo xtask demo | test | bench | lint`.
//!
//! Knows how to set up a fresh machine and which cargo commands to run; everything else is in the crates themselves.

mod bench;
mod setup;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const USAGE: &str = "\
The project's own commands. Each does all of its set-up itself.

Usage: cargo xtask <COMMAND>

Commands:
  demo [ARGS]            Build Tidegate and run the demonstration (ARGS go to `tidegate demo`; try --help)
  test [ARGS]            Set up what the tests need and run all of them (ARGS go to `cargo test`)
  bench [NAME] [--json]  Measure; without NAME everything. `cargo xtask bench --list` names the benches and what they take
  lint                   Formatting, clippy, documentation; and `cargo deny` where it is installed

Examples:
  cargo xtask demo
  cargo xtask demo --json | jq .
  cargo xtask test
  cargo xtask bench decision --json";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else { bail!("which command?\n\n{USAGE}") };
    match command.as_str() {
        "demo" => demo(rest),
        "test" => test(rest),
        "bench" => bench::run(rest),
        "lint" => lint(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("no command `{other}`\n\n{USAGE}"),
    }
}

/// Builds the binary, in view, and becomes it.
fn demo(arguments: &[String]) -> Result<()> {
    setup::guest_target()?;
    cargo(&["build", "--package", "tidegate"])?;
    let binary = setup::target_directory()?.join("debug").join("tidegate");
    let status = Command::new(&binary)
        .arg("demo")
        .args(arguments)
        .status()
        .with_context(|| format!("start {}", binary.display()))?;
    // The demonstration's own exit code says what did not happen.
    std::process::exit(status.code().unwrap_or(1));
}

fn test(arguments: &[String]) -> Result<()> {
    setup::guest_target()?;
    setup::debian_packages()?;
    setup::interpreters();
    let mut all = vec!["test", "--workspace"];
    all.extend(arguments.iter().map(String::as_str));
    cargo(&all)
}

fn lint() -> Result<()> {
    setup::guest_target()?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    let mut doc = setup::cargo_command(&["doc", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "--deny warnings");
    setup::succeed(&mut doc)?;
    if setup::cargo_command(&["deny", "--version"]).output().is_ok_and(|output| output.status.success()) {
        cargo(&["deny", "check"])?;
    } else {
        println!("cargo-deny is not installed: deny.toml was not checked (cargo install cargo-deny)");
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    setup::succeed(&mut setup::cargo_command(arguments))
}
