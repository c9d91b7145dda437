//! Becomes the owner of a data directory for good, and then another program: PostgreSQL's programs refuse to run as root.
//!
//! A program of its own (`tidegate as-owner`), so that the process that asks for it stays what it is.

use std::ffi::{CString, OsString};
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, User, geteuid, initgroups, setgid, setuid};

/// The name of the hidden command.
pub const COMMAND: &str = "as-owner";

/// What this binary is started with to become `program`, run by the owner of `data`, its words appended to `log`.
pub fn arguments(data: &Path, log: &Path, program: &Path) -> Vec<OsString> {
    vec![COMMAND.into(), data.into(), log.into(), "--".into(), program.into()]
}

/// This process belongs to the owner of `data` from now on, if it was root's.
pub fn become_owner(data: &Path) -> Result<()> {
    let owner = std::fs::metadata(data).with_context(|| format!("look at {}", data.display()))?;
    ensure!(
        owner.uid() != 0,
        "{} belongs to root, as whom PostgreSQL does not run\n  unchanged: everything",
        data.display()
    );
    if !geteuid().is_root() {
        return Ok(());
    }
    become_user(Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid())).context("become the data directory's owner")
}

/// Becomes `program`, run by the owner of `data`. Returns only if that is not possible.
pub fn become_program(data: &Path, log: &Path, program: &[OsString]) -> Result<()> {
    become_owner(data)?;
    // Blocked signals would stay blocked in the program.
    SigSet::all().thread_unblock().context("unblock signals")?;
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
    let log = log.context("open the server's log")?;
    let (program, arguments) = program.split_first().context("no program is named")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Err(command.exec()).with_context(|| format!("start {}", program.display()))
}

/// With the groups of that user: its certificates may be readable by one of them.
fn become_user(user: Uid, group: Gid) -> Result<()> {
    let known = User::from_uid(user)?.with_context(|| format!("there is no user {user} on this machine"))?;
    initgroups(&CString::new(known.name)?, known.gid)?;
    setgid(group)?;
    setuid(user)?;
    Ok(())
}
