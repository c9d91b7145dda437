//! PostgreSQL's own programs: where they are, and running one. They refuse to run as root, so whoever calls is the data's owner.
//!
//! Knows no node's state. What a program prints is shown on standard error when it fails, and never holds a password.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Where they are.
#[derive(Clone, Debug)]
pub struct Programs {
    bin: PathBuf,
}

impl Programs {
    /// In `bin`, or else where distributions put the version that made the data directory, or else in `$PATH`.
    pub fn of(data: &Path, bin: Option<&Path>) -> Result<Programs> {
        if let Some(bin) = bin {
            return Ok(Programs { bin: bin.to_owned() });
        }
        let version = std::fs::read_to_string(data.join("PG_VERSION")).unwrap_or_default();
        let version = version.trim();
        let usual = [format!("/usr/lib/postgresql/{version}/bin"), format!("/usr/pgsql-{version}/bin")];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = usual.into_iter().map(PathBuf::from).chain(std::env::split_paths(&path));
        let bin = places.into_iter().find(|place| place.join("pg_controldata").is_file()).with_context(|| {
            format!(
                "PostgreSQL's programs for {} are not found\n  unchanged: everything\n  next: name their directory with --bin",
                data.display()
            )
        })?;
        Ok(Programs { bin })
    }

    /// Of any version: where `pg_config` says, in `$PATH`, or where distributions put them, the newest first; all `needed` together.
    pub fn anywhere(needed: &[&str]) -> Option<Programs> {
        let said = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output().ok();
        let said = said.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let places = said.into_iter().chain(std::env::split_paths(&path)).chain(usual_places());
        let has = |place: &PathBuf| place.is_absolute() && needed.iter().all(|program| place.join(program).is_file());
        places.into_iter().find(has).map(|bin| Programs { bin })
    }

    /// Where a program is.
    pub fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }

    /// A program, to be given its arguments; in the language that its output is read in.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    /// Runs a program and gives what it printed; its words become the error if it fails.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        printed(program, self.command(program).args(arguments))
    }
}

/// Where distributions put every version, and PostgreSQL's own sources the one.
fn usual_places() -> Vec<PathBuf> {
    let entries = |directory: &str| std::fs::read_dir(directory).into_iter().flatten().flatten();
    let debian = entries("/usr/lib/postgresql").map(|entry| entry.path());
    let pgdg = entries("/usr").map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/pgsql-"));
    let mut versions: Vec<PathBuf> = debian.chain(pgdg).map(|path| path.join("bin")).collect();
    let number = |path: &PathBuf| -> u32 {
        let digits: String = path.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_default()
    };
    versions.sort_by_key(|path| std::cmp::Reverse(number(path)));
    versions.push(PathBuf::from("/usr/local/pgsql/bin"));
    versions
}

/// Runs a command that was made by [`Programs::command`].
pub(super) fn printed(program: &str, command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {program}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => bail!("{program} failed ({}): {}", output.status, words(&output)),
    }
}

/// What it said, on whichever of the two.
pub(super) fn words(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).trim().to_owned());
    both.join("\n").trim().to_owned()
}
