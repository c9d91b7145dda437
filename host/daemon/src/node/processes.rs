//! The processes of a node: all that its owner runs in its data directory, orphaned backends included.
//!
//! Goes by the directory itself, not by `postmaster.pid`: that file may be stale, and inside a PID namespace its number means
//! another process than here.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Process {
    /// Its number here.
    pub pid: i32,
    /// Its parent's number here; 0 = outside of what can be seen from here.
    pub parent: i32,
    /// What it calls itself.
    pub title: String,
}

/// All processes of this data directory, whoever started them.
pub fn of(data: &Path) -> Result<Vec<Process>> {
    let directory = std::fs::metadata(data).with_context(|| format!("look at {}", data.display()))?;
    let callers = callers();
    let found = std::fs::read_dir("/proc").context("look through /proc")?.filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (!callers.contains(&pid) && works_in(pid, &directory)).then(|| read(pid)).flatten()
    });
    Ok(found.collect())
}

/// The server's first process: none of its own processes started it, and it does not bear a backend's title.
pub fn postmaster(processes: &[Process]) -> Option<&Process> {
    let is_child = |process: &Process| processes.iter().any(|other| other.pid == process.parent);
    processes.iter().find(|process| !process.title.starts_with("postgres: ") && !is_child(process))
}

/// Sends a signal to a process, if it still is one of this data directory.
pub fn signal(data: &Path, process: &Process, signal: Signal) -> Result<()> {
    let directory = std::fs::metadata(data).with_context(|| format!("look at {}", data.display()))?;
    // Held first, then looked at: the number cannot come to mean another process in between.
    let Some(held) = hold(process.pid) else { return Ok(()) };
    if works_in(process.pid, &directory) {
        match pidfd_send_signal(held, signal) {
            Err(error) if error != rustix::io::Errno::SRCH => {
                return Err(error).with_context(|| format!("send {signal:?} to process {}", process.pid));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a process of this node streams its log from another one.
pub fn streams(processes: &[Process]) -> bool {
    processes.iter().any(|process| process.title.contains("walreceiver") && process.title.contains("streaming"))
}

fn hold(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// By number of device and file, so that it does not matter by which path the directory is reached. What has ended is in none.
fn works_in(pid: i32, directory: &std::fs::Metadata) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let owner = std::fs::metadata(&process).map(|process| process.uid());
    let works = std::fs::metadata(process.join("cwd"));
    works.is_ok_and(|works| (works.dev(), works.ino()) == (directory.dev(), directory.ino()))
        // Somebody else's shell stands there, and is no part of the server.
        && owner.is_ok_and(|owner| owner == directory.uid())
}

/// This process and those that it was started by: a shell in the data directory must not end itself.
fn callers() -> BTreeSet<i32> {
    let mut callers = BTreeSet::from([std::process::id() as i32]);
    let mut next = std::os::unix::process::parent_id() as i32;
    while next > 0 && callers.insert(next) {
        next = read(next).map_or(0, |process| process.parent);
    }
    callers
}

fn read(pid: i32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name in brackets may hold anything, brackets too.
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    let title = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).replace('\0', " ").trim_end().to_owned();
    Some(Process { pid, parent, title })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, title: &str) -> Process {
        Process { pid, parent, title: title.into() }
    }

    #[test]
    fn tells_the_first_process_from_orphans_and_children() {
        let server = process(10, 1, "/usr/lib/postgresql/15/bin/postgres -D /data");
        let family = [process(9, 1, "postgres: orphan"), process(11, 10, "sh -c archive"), server.clone()];
        assert_eq!(postmaster(&family), Some(&server));
        assert_eq!(postmaster(&family[..1]), None);
    }

    #[test]
    fn finds_who_works_in_a_directory_and_nobody_else() {
        let data = tempfile::tempdir().unwrap();
        let sleep = |directory: &Path| std::process::Command::new("sleep").arg("60").current_dir(directory).spawn();
        let (mut inside, mut outside) = (sleep(data.path()).unwrap(), sleep(Path::new("/")).unwrap());
        let found = of(data.path()).unwrap();
        assert_eq!(found.iter().map(|process| process.pid as u32).collect::<Vec<_>>(), [inside.id()]);
        signal(data.path(), &process(outside.id() as i32, 1, ""), Signal::KILL).unwrap();
        assert!(outside.try_wait().unwrap().is_none(), "it is none of this directory");
        signal(data.path(), &found[0], Signal::KILL).unwrap();
        inside.wait().unwrap();
        assert!(of(data.path()).unwrap().is_empty());
        outside.kill().unwrap();
        outside.wait().unwrap();
    }
}
