//! When which freshness may run out: a heap with one live entry for each thing watched.
//!
//! Does not know what is due: the owner of each thing remembers its time, and entries that no longer match it are old.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::contract::Millis;
use crate::fleet::VantageId;

/// What can become stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    /// A vantage point: nothing heard of it.
    Voice(VantageId),
    /// Votes on a service at a site: position in the targets.
    Target(u32),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, Watched)>>,
}

impl Timers {
    pub(super) fn push(&mut self, at: Millis, watched: Watched) {
        self.heap.push(Reverse((at, watched)));
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop_due(&mut self, now: Millis) -> Option<(Millis, Watched)> {
        self.next().filter(|at| *at <= now)?;
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
