//! The enforcer's agent: started, heard, told, and started again whenever it ends.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tidegate_kernel::contract::Millis;

use super::line::{Holds, Line, Told};
use super::since_boot;

/// An agent that ends as soon as it was started is not started in a tight loop.
const LIVED: Millis = 1_000;
/// What such an agent waits for.
const START_AGAIN: Millis = 500;

/// The agent, or the wish for one.
pub(super) struct Agent {
    arguments: Vec<OsString>,
    running: Option<Running>,
    born: Millis,
    start_from: Millis,
    /// What it was last told.
    knows: Option<Holds>,
}

struct Running {
    child: Child,
    line: Line,
}

impl Agent {
    pub(super) fn new(arguments: Vec<OsString>) -> Agent {
        Agent { arguments, running: None, born: 0, start_from: 0, knows: None }
    }

    /// What to wait for, and whether it is to be written to.
    pub(super) fn stream(&self) -> Option<(&UnixStream, bool)> {
        self.running.as_ref().map(|running| (running.line.stream(), running.line.is_blocked()))
    }

    /// Starts it if it does not run.
    pub(super) fn keep(&mut self) {
        let now = since_boot();
        if self.has_ended() {
            tracing::error!("the agent has ended; it is started again");
            let short = now < self.born + LIVED;
            self.start_from = if short { now + START_AGAIN } else { now };
        }
        if self.running.is_none() && now >= self.start_from {
            (self.born, self.start_from) = (now, now + START_AGAIN);
            match self.start() {
                Ok(running) => (self.running, self.knows) = (Some(running), None),
                Err(error) => tracing::error!(%error, "the agent cannot be started"),
            }
        }
    }

    /// What it tells.
    pub(super) fn hear(&mut self) -> Option<Told> {
        self.over_line(Line::receive).flatten()
    }

    /// Tells it, if that is news.
    pub(super) fn tell(&mut self, holds: Holds) {
        if self.knows.as_ref() == Some(&holds) {
            self.over_line(Line::flush);
        } else if self.over_line(|line| line.send(&holds)).is_some() {
            self.knows = Some(holds);
        }
    }

    /// Has it end; true once it has.
    pub(super) fn end(&mut self, at_once: bool) -> bool {
        if let Some(running) = &self.running {
            let signal = if at_once { Signal::SIGKILL } else { Signal::SIGTERM };
            let _ = kill(Pid::from_raw(running.child.id() as i32), signal);
        }
        self.has_ended() || self.running.is_none()
    }

    fn has_ended(&mut self) -> bool {
        let ended = self.running.as_mut().is_some_and(|running| !matches!(running.child.try_wait(), Ok(None)));
        if ended {
            self.running = None;
        }
        ended
    }

    /// One that cannot be spoken with is no use any more.
    fn over_line<T>(&mut self, speak: impl FnOnce(&mut Line) -> io::Result<T>) -> Option<T> {
        let running = self.running.as_mut()?;
        match speak(&mut running.line) {
            Ok(said) => Some(said),
            Err(_) => {
                let _ = running.child.kill();
                None
            }
        }
    }

    fn start(&self) -> Result<Running> {
        let (ours, theirs) = UnixStream::pair().context("make a pair of sockets")?;
        let mut command = Command::new("/proc/self/exe");
        command.args(&self.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn().context("start this binary as an agent")?;
        Ok(Running { child, line: Line::over(ours).context("speak with the agent")? })
    }
}
