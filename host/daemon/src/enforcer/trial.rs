//! The enforcer tries at its start whether the kernel keeps its promise here: what is in a namespace ends with its init, and
//! init with the enforcer. Without it a lease proves nothing.

use std::path::Path;
use std::process::{Child, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};

use super::namespace::{Namespace, part};
use crate::node::processes;

/// For the kernel to end a handful of processes, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Seconds after which what a failed trial left ends by itself.
const LEFT_BEHIND: u32 = 60;

/// Fails with what the kernel does not do here.
pub(super) fn run() -> Result<()> {
    init_takes_its_orphans_along().context("trial: a namespace's processes end with its init")?;
    init_ends_with_its_enforcer().context("trial: a namespace ends with its enforcer")
}

fn init_takes_its_orphans_along() -> Result<()> {
    let directory = tempfile::tempdir().context("make a directory")?;
    let mut family = start_family(directory.path())?;
    await_orphan(directory.path())?;
    family.kill();
    await_nobody(directory.path())
}

fn init_ends_with_its_enforcer() -> Result<()> {
    let directory = tempfile::tempdir().context("make a directory")?;
    let mut enforcer = part("stand-in");
    let enforcer = enforcer.arg(directory.path()).current_dir("/").stdin(Stdio::null()).spawn();
    let mut enforcer = Ended(enforcer.context("start a stand-in for the enforcer")?);
    await_orphan(directory.path())?;
    enforcer.0.kill().context("kill the stand-in")?;
    await_nobody(directory.path())
}

/// An enforcer to be killed.
pub fn stand_in(directory: &Path) -> Result<ExitCode> {
    let _family = start_family(directory)?;
    sleep()
}

/// A program with an orphan: its grandchild's parent ends at once.
pub fn family() -> Result<ExitCode> {
    let mut parent = part("parent").spawn().context("start a process")?;
    parent.wait().context("wait for a process")?;
    sleep()
}

/// Leaves a child behind, in a process group and session of its own as far as it can.
pub fn parent() -> Result<ExitCode> {
    let _ = nix::unistd::setsid();
    part("orphan").spawn().context("start a process")?;
    Ok(ExitCode::SUCCESS)
}

/// Stays until it is killed; signals that a process may ignore do not end it.
pub fn sleep() -> Result<ExitCode> {
    let signals = SigSet::all();
    signals.thread_block().context("block signals")?;
    // Should the kernel not keep its promise, nothing is left behind for ever all the same.
    nix::unistd::alarm::set(LEFT_BEHIND);
    while signals.wait().context("wait")? != Signal::SIGALRM {}
    Ok(ExitCode::SUCCESS)
}

fn start_family(directory: &Path) -> Result<Namespace> {
    Namespace::start(Path::new("/proc/self/exe"), &[super::PART.into(), "family".into()], directory)
}

/// Its parent has ended, so that only the namespace holds it.
fn await_orphan(directory: &Path) -> Result<()> {
    let there = crate::node::wait_for(PATIENCE, || {
        let family = processes::of(directory)?;
        let has = |title: &str| family.iter().any(|process| process.title.ends_with(title));
        Ok((has("orphan") && !has("parent")).then_some(()))
    })?;
    there.with_context(|| "the trial's processes did not start")
}

fn await_nobody(directory: &Path) -> Result<()> {
    let gone = crate::node::wait_for(PATIENCE, || Ok(processes::of(directory)?.is_empty().then_some(())))?;
    if gone.is_none() {
        for process in processes::of(directory)? {
            processes::signal(directory, &process, rustix::process::Signal::KILL)?;
        }
        bail!("a process was left; it has been killed now");
    }
    Ok(())
}

/// Ended whatever becomes of the trial.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
