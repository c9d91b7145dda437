//! What the tests need and no package of Debian's brings: fetched once, pinned, into the target folder.
//!
//! Knows how it is fetched and where it is kept; not what it is for.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// How to see that npm is there.
pub(crate) const NPM: (&str, &[&str]) = ("npm", &["--version"]);

/// What is told of npm where it is there and brings nothing.
const WITHOUT_NPM: &str = "npm has to reach its registry once; let it (`npm ping` says whether it does) and repeat";

/// Whether a program works here. Where it does not, what it costs is said past the test runner, which would keep it to itself.
pub(crate) fn works((program, try_it): (&str, &[&str]), cost: &str) -> bool {
    let works = Command::new(program).args(try_it).output().is_ok_and(|output| output.status.success());
    if !works {
        let line = format!("SKIPPED: `{program} {}` fails, so {cost}\n", try_it.join(" "));
        // In one piece: other tests say something too.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    works
}

/// The folder of that name among the tools, filled anew if it holds other versions than the pins name.
pub(crate) fn fetched(name: &str, pins: &[u8], fetch: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let tools = target().join("tools").join(name);
    let held = tools.join("pins");
    if std::fs::read(&held).ok().as_deref() != Some(pins) {
        if tools.exists() {
            std::fs::remove_dir_all(&tools)?;
        }
        std::fs::create_dir_all(&tools)?;
        fetch(&tools)?;
        std::fs::write(held, pins)?;
    }
    Ok(tools)
}

/// What a `package.json` names. Nothing of it is run while it is installed.
pub(crate) fn npm_install(package: &[u8], tools: &Path) -> Result<()> {
    std::fs::write(tools.join("package.json"), package)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]);
    run(npm.arg("--prefix").arg(tools)).context(WITHOUT_NPM)
}

/// Runs a command; what it said, where it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let said = || format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    Ok(())
}

/// The root of this repository.
pub(crate) fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where cargo puts what it builds, beside which is what these tests keep.
pub(crate) fn target() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(|given| repository().join(given));
    given.unwrap_or_else(|| repository().join("target"))
}
