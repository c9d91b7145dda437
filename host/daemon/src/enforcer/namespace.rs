//! A PID namespace for one program: when its init ends, by whatever, the kernel ends every process in it.
//!
//! Init is this binary again (`tidegate enforcer-part init`). It dies with its parent, reaps orphans, hands signals on, and ends
//! when the program does. Knows no database.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A namespace, its init our child.
pub struct Namespace {
    init: Child,
    /// Closed when we end, however: init looks at the other end once it is sure to die with us.
    _alive: std::io::PipeWriter,
}

impl Namespace {
    /// Starts `program` with `arguments` in a namespace of its own. The caller must have one thread only.
    pub fn start(program: &Path, arguments: &[std::ffi::OsString], directory: &Path) -> Result<Namespace> {
        let (look, alive) = io::pipe().context("make a pipe")?;
        let mut command = part("init");
        command.arg(program).args(arguments).current_dir(directory).stdin(Stdio::from(look)).stdout(Stdio::null());
        Ok(Namespace { init: spawn_inside(&mut command)?, _alive: alive })
    }

    /// Init's number, as seen from here.
    pub fn pid(&self) -> i32 {
        self.init.id() as i32
    }

    /// Whether everything in it has ended. The kernel says so only then.
    pub fn has_ended(&mut self) -> bool {
        // An error says that it was waited for already.
        self.init.try_wait().map_or(true, |status| status.is_some())
    }

    /// Has the program end in order.
    pub fn ask_to_end(&self) {
        let _ = kill(Pid::from_raw(self.pid()), Signal::SIGINT);
    }

    /// Ends every process in it, at once.
    pub fn kill(&mut self) {
        let _ = self.init.kill();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.kill();
        let _ = self.init.wait();
    }
}

/// This binary as one of the enforcer's parts.
pub(super) fn part(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(super::PART).arg(name);
    command
}

/// Our own namespace comes back for whatever we start next: the agent belongs there.
fn spawn_inside(command: &mut Command) -> Result<Child> {
    let own = File::open("/proc/self/ns/pid").context("open this process's PID namespace")?;
    unshare(CloneFlags::CLONE_NEWPID).context("make a PID namespace, which takes CAP_SYS_ADMIN")?;
    let child = command.spawn().context("start the namespace's init");
    setns(own.as_fd(), CloneFlags::CLONE_NEWPID).context("return to this process's PID namespace")?;
    child
}

/// Init itself: starts the program and ends with it, or with its parent.
pub fn init(program: &[std::ffi::OsString]) -> Result<ExitCode> {
    set_pdeathsig(Signal::SIGKILL).context("arrange to die with the enforcer")?;
    if parent_is_gone()? {
        return Ok(ExitCode::FAILURE);
    }
    let signals = SigSet::all();
    signals.thread_block().context("block signals")?;
    let (program, arguments) = program.split_first().context("no program is named")?;
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).spawn();
    let child = Pid::from_raw(child.with_context(|| format!("start {}", program.display()))?.id() as i32);
    loop {
        match signals.wait().context("wait for a signal")? {
            Signal::SIGCHLD if reap(child)? => return Ok(ExitCode::SUCCESS),
            signal @ (Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT | Signal::SIGHUP) => {
                let _ = kill(child, signal);
            }
            _ => {}
        }
    }
}

/// The parent may have died before we could arrange to die with it. From inside a namespace it has no number: its end of the
/// pipe tells.
fn parent_is_gone() -> Result<bool> {
    let stdin = io::stdin();
    let mut look = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut look, PollTimeout::ZERO).context("look whether the enforcer is there")?;
    Ok(look[0].any().unwrap_or(true))
}

/// Takes note of every process that has ended; true if the program has.
fn reap(program: Pid) -> Result<bool> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return Ok(false),
            Ok(status) if status.pid() == Some(program) && has_ended(&status) => return Ok(true),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(true),
            Err(error) => return Err(error).context("wait for a process"),
        }
    }
}

fn has_ended(status: &WaitStatus) -> bool {
    matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
}
