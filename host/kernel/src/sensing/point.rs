//! What one vantage point saw of one service at one site: its newest look, its streaks and its window.
//!
//! Knows neither whether the vantage point may vote nor how old a vote may be.

use crate::consensus::Ballot;
use crate::contract::{Millis, Observation, Outcome};
use crate::event::Look;

/// Looks that a window can hold: one bit each.
pub(super) const WINDOW_MAX: u32 = u64::BITS;

#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    taken_at: Millis,
    /// The newest looks, newest in the lowest bit.
    good: u64,
    bad: u64,
    outcome: Option<Outcome>,
    /// What it has voted since the last gap, with hysteresis.
    works: Option<bool>,
    slow: bool,
    /// Looks in a row on the side of the newest one.
    consecutive: u32,
    /// Good looks in a row that contradict `slow`.
    off_pace: u32,
    latency: Option<u32>,
    /// Most looks have nothing to tell.
    detail: Option<Box<str>>,
}

impl Point {
    pub(super) fn taken_at(&self) -> Millis {
        self.taken_at
    }

    pub(super) fn is_newer_than(&self, taken_at: Millis) -> bool {
        self.outcome.is_some() && self.taken_at > taken_at
    }

    /// What was seen before says nothing of what comes: the streaks begin again.
    pub(super) fn start_anew(&mut self) {
        self.works = None;
        self.slow = false;
        (self.consecutive, self.off_pace) = (0, 0);
    }

    /// `bad` looks in a row turn a vote bad, and `good` ones turn it good again. With no vote yet one good look is enough:
    /// it can keep a service where it is, and moves nothing.
    pub(super) fn take(&mut self, look: &Look, taken_at: Millis, bad: u32, good: u32) {
        let outcome = look.outcome;
        self.count(outcome);
        if outcome.is_good() {
            self.pace(outcome == Outcome::Slow, bad, good);
            self.works = Some(self.works != Some(false) || self.consecutive >= good);
        } else if outcome.is_bad() && self.consecutive >= bad {
            self.works = Some(false);
        }
        self.taken_at = taken_at;
        self.outcome = Some(outcome);
        self.latency = look.latency.map(|latency| u32::try_from(latency).unwrap_or(u32::MAX));
        self.note(&look.detail);
    }

    /// As many looks again as the newest one was.
    pub(super) fn repeat(&mut self, times: u64, taken_at: Millis) {
        let Some(outcome) = self.outcome else { return };
        let (good, bad) = (outcome.is_good(), outcome.is_bad());
        let filled = |window: u64, side: bool| {
            let shifted = u32::try_from(times).ok().and_then(|times| window.checked_shl(times)).unwrap_or(0);
            let new = if times >= u64::from(WINDOW_MAX) { u64::MAX } else { (1 << times) - 1 };
            shifted | if side { new } else { 0 }
        };
        (self.good, self.bad) = (filled(self.good, good), filled(self.bad, bad));
        if good || bad {
            self.consecutive = self.consecutive.saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
        }
        self.taken_at = taken_at;
    }

    /// Its vote; none if the newest look says nothing of the service.
    pub(super) fn ballot(&self) -> Option<Ballot> {
        let speaks = self.outcome.is_some_and(|outcome| outcome.is_good() || outcome.is_bad());
        match self.works.filter(|_| speaks)? {
            false => Some(Ballot::Bad),
            true if self.slow => Some(Ballot::Slow),
            true => Some(Ballot::Good),
        }
    }

    pub(super) fn observation(&self, vantage: &str, window: u32, now: Millis) -> Option<Observation> {
        let mask = u64::MAX >> (WINDOW_MAX - window.clamp(1, WINDOW_MAX));
        Some(Observation {
            vantage: vantage.to_owned(),
            outcome: self.outcome?,
            latency: self.latency.map(Millis::from),
            age: now.saturating_sub(self.taken_at),
            consecutive: self.consecutive,
            good: (self.good & mask).count_ones(),
            bad: (self.bad & mask).count_ones(),
            detail: self.detail.as_deref().unwrap_or_default().to_owned(),
        })
    }

    /// A look that says nothing of the service takes a place in the window and leaves the streak alone.
    fn count(&mut self, outcome: Outcome) {
        let (good, bad) = (outcome.is_good(), outcome.is_bad());
        if good || bad {
            let newest_was_on_this_side = if good { self.streak_is_good() } else { self.streak_is_bad() };
            self.consecutive = if newest_was_on_this_side { self.consecutive.saturating_add(1) } else { 1 };
        }
        self.good = self.good << 1 | u64::from(good);
        self.bad = self.bad << 1 | u64::from(bad);
    }

    fn streak_is_good(&self) -> bool {
        self.consecutive > 0 && self.good.trailing_zeros() < self.bad.trailing_zeros()
    }

    fn streak_is_bad(&self) -> bool {
        self.consecutive > 0 && self.bad.trailing_zeros() < self.good.trailing_zeros()
    }

    fn pace(&mut self, slow: bool, bad: u32, good: u32) {
        self.off_pace = if slow == self.slow { 0 } else { self.off_pace.saturating_add(1) };
        if self.off_pace >= if slow { bad } else { good } {
            (self.slow, self.off_pace) = (slow, 0);
        }
    }

    fn note(&mut self, detail: &str) {
        if detail.is_empty() {
            self.detail = None;
        } else if self.detail.as_deref() != Some(detail) {
            self.detail = Some(detail.into());
        }
    }
}
