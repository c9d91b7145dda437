//! The binary `tidegate`, built when it is first asked for: whole-system tests and benches start it as people do.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};

/// Says which binary to start, where one was built already.
const GIVEN: &str = "TIDEGATE_BINARY";

/// As the tests were built, so that no test runs an old one.
pub fn tidegate() -> &'static PathBuf {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let given = std::env::var_os(GIVEN).map(PathBuf::from);
        given.unwrap_or_else(|| build(&[]).expect("the binary builds"))
    });
    &BINARY
}

/// As it is released, for benches.
pub fn tidegate_released() -> Result<PathBuf> {
    build(&["--release"])
}

fn build(profile: &[&str]) -> Result<PathBuf> {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", "tidegate", "--message-format", "json"]).args(profile);
    let output = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().context("start cargo")?;
    ensure!(output.status.success(), "the binary does not build: {}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).context("read what cargo says")?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut executables = artifacts.filter_map(|message| message["executable"].as_str().map(PathBuf::from));
    executables.next_back().context("cargo names no binary")
}
