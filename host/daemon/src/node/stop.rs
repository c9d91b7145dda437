//! Ends a node and proves it: barred first, then stopped, and no process of it left.

use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;
use serde::Serialize;

use super::processes::{self, Process};
use super::{Node, bar, control, log, wait_for};
use crate::enforcer::door;

/// A server that is killed anyway gets so long to say goodbye to its clients.
const FAREWELL: Duration = Duration::from_millis(300);
/// For the kernel to end what was killed. What waits for a broken disk may take for ever.
const KILLED: Duration = Duration::from_secs(10);

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In order: connected standbys get all that was written.
    Fast,
    /// At once, as in a crash.
    Immediate,
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// Its server does not run.
    pub stopped: bool,
    /// Processes of it that are left.
    pub left: usize,
    /// Whoever starts it, it comes up as a standby.
    pub barred: bool,
    /// It ended in order.
    pub clean: bool,
    /// The end of its log in bytes, where that is certain: a primary's that ended in order.
    pub position: Option<u64>,
    /// The timeline of its latest checkpoint.
    pub timeline: Option<u64>,
}

impl Stopped {
    /// It takes no write any more, whoever starts it again.
    pub fn is_proof(&self) -> bool {
        self.stopped && self.left == 0 && self.barred
    }
}

/// Stops the node; one that does not end in order within `patience` is killed. Safe to repeat.
pub fn stop(node: &Node, mode: Mode, patience: Duration) -> Result<Stopped> {
    bar::put(&node.data)?;
    door::ask_to_rest(&node.data);
    if mode == Mode::Fast && !end(node, Signal::INT, patience)? {
        eprintln!("the server did not end in order within {} s; it is killed", patience.as_secs());
    }
    end(node, Signal::QUIT, FAREWELL)?;
    let left = kill(node)?.len();
    if left == 0 {
        remove_stale_pid(node);
    }
    Ok(told(node, left))
}

/// Kills whatever is left of the node, and says what still is after a while.
pub fn kill(node: &Node) -> Result<Vec<Process>> {
    let mut quiet = 0;
    let ended = wait_for(KILLED, || {
        let left = processes::of(&node.data)?;
        // What was forked while we looked is found by the second look.
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        for process in &left {
            processes::signal(&node.data, process, Signal::KILL)?;
        }
        Ok((quiet == 2).then_some(()))
    })?;
    if ended.is_some() { Ok(Vec::new()) } else { processes::of(&node.data) }
}

/// Has the server end itself; false if it is still there after `patience`.
fn end(node: &Node, signal: Signal, patience: Duration) -> Result<bool> {
    let running = processes::of(&node.data)?;
    let Some(server) = processes::postmaster(&running) else { return Ok(true) };
    processes::signal(&node.data, server, signal)?;
    let gone = wait_for(patience, || {
        let running = processes::of(&node.data)?;
        Ok((!running.iter().any(|process| process.pid == server.pid)).then_some(()))
    })?;
    Ok(gone.is_some())
}

/// Its number may mean another process by now, and would keep the server from starting.
fn remove_stale_pid(node: &Node) {
    let _ = std::fs::remove_file(node.data.join("postmaster.pid"));
}

fn told(node: &Node, left: usize) -> Stopped {
    let control = control::read(node).inspect_err(|error| eprintln!("{error:#}")).ok();
    let clean = left == 0 && control.as_ref().is_some_and(control::Control::is_clean);
    let position = control.as_ref().filter(|_| clean).and_then(|control| {
        log::end_of_shutdown(node, control).inspect_err(|error| eprintln!("{error:#}")).ok().flatten()
    });
    let barred = bar::is_put(&node.data);
    Stopped { stopped: left == 0, left, barred, clean, position, timeline: control.map(|control| control.timeline) }
}
