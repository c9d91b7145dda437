//! Over quiet time in one step: when every look would find what the one before it found, they need not be taken.
//!
//! Two ways. While something is out of order, only looks and samples are left out, never a timer of the kernel's. While
//! everything is at home and served, and has been for minutes, time itself is jumped over: what the kernel repeats for ever is
//! then done once. So what a policy would do only after many quiet minutes comes late; nothing comes early.

use tidegate_kernel::contract::{Millis, State, Verdict};
use tidegate_kernel::event::Event;
use tidegate_kernel::fleet::ClusterId;
use tidegate_kernel::state::ServiceState;

use super::{Due, Simulation};

/// A shorter step than this saves nothing.
const WORTH_IT: Millis = 1_500;
/// Whatever is not yet mended has shown by then what comes of it.
const CALM_AFTER: Millis = 180_000;
/// After a jump everything is seen for a while before something happens.
const AWAKE_BEFORE: Millis = 20_000;

impl Simulation<'_> {
    /// Jumps as far as nothing happens.
    pub(super) fn pass_quiet_time(&mut self) {
        let now = self.world.now;
        let since = self.restless.max(self.world.changed);
        if self.world.conditions.random || now.saturating_sub(since) < self.settled_after() {
            return;
        }
        let Some(known) = self.next_that_counts() else { return };
        let long = self.world.is_whole() || now.saturating_sub(since) >= CALM_AFTER;
        let calm = long && self.world.host_runs() && self.is_calm();
        let to = if calm {
            known.saturating_sub(AWAKE_BEFORE)
        } else {
            self.next_timer().map_or(known, |due| due.min(known))
        };
        if to > now + WORTH_IT {
            self.pass_until(to);
        }
    }

    /// Every streak has run its length, and whoever fell silent is known to be.
    fn settled_after(&self) -> Millis {
        let rounds = |service: &tidegate_kernel::fleet::Service| {
            u64::from(service.probe.bad.max(service.probe.good) + 2) * service.probe.interval + service.probe.timeout
        };
        let looks = self.fleet.services.iter().map(rounds).max().unwrap_or(0);
        looks.max(2 * self.fleet.host.freshness).max(self.fleet.host.warm_up)
    }

    /// The next thing that is not a look; none while an answer is on its way.
    fn next_that_counts(&self) -> Option<Millis> {
        let mut next = self.script.length;
        for ((due, _), what) in &self.queue {
            match what {
                Due::Deliver(life, _) if *life == self.life && !self.is_sample(what) => return None,
                Due::Begin(_) | Due::End(_) | Due::Restart => {
                    next = next.min(*due);
                    break;
                }
                _ => {}
            }
        }
        Some(next.min(self.world.next_change().unwrap_or(Millis::MAX)))
    }

    fn is_sample(&self, due: &Due) -> bool {
        matches!(due, Due::Deliver(_, event) if matches!(**event, Event::Sampled { .. }))
    }

    fn next_timer(&self) -> Option<Millis> {
        self.kernel.next_timer().filter(|_| self.world.host_runs())
    }

    /// Everything is at home and served, and nobody is asked or waits: time alone changes nothing any more.
    fn is_calm(&self) -> bool {
        let state = self.kernel.state();
        let at_rest = |known: &ServiceState| {
            known.life.state == State::Normal
                && known.life.is_home()
                && known.run.is_none()
                && known.drift.is_none()
                && known.last.as_ref().is_some_and(|last| last.verdict == Verdict::Hold && last.fault.is_none())
        };
        self.world.clients.iter().all(|clients| clients.since.is_none())
            && state.brake.is_none()
            && state.freeze.is_none()
            && state.paused.is_none()
            && state.open_runs().next().is_none()
            && state.open_questions().next().is_none()
            && state.services.values().all(at_rest)
    }

    fn pass_until(&mut self, to: Millis) {
        let repeats = |due: &Due| matches!(due, Due::Round(_) | Due::Beat(_) | Due::Looks(..)) || self.is_sample(due);
        let keys: Vec<(Millis, u64)> =
            self.queue.iter().filter(|((due, _), what)| *due < to && repeats(what)).map(|(key, _)| *key).collect();
        let mut again = Vec::new();
        for key in keys {
            match self.queue.remove(&key) {
                Some(Due::Round(group)) => {
                    again.push((next_like(key.0, self.groups[group].interval, to), Due::Round(group)))
                }
                Some(Due::Beat(cluster)) => {
                    again.push((next_like(key.0, self.fleet.clusters[cluster].interval, to), Due::Beat(cluster)));
                }
                _ => {}
            }
        }
        again.into_iter().for_each(|(due, what)| self.at(due, what));
        self.world.advance(to);
        if !self.world.host_runs() {
            return;
        }
        self.kernel.pass_quietly(self.now());
        for cluster in 0..self.fleet.clusters.len() {
            let seen = self.world.seen(cluster);
            self.give(Event::Sampled { cluster: ClusterId(cluster as u16), begun: to, result: Ok(seen) });
        }
        self.tick();
    }
}

/// The next moment after `to` in the rhythm of `due`.
fn next_like(due: Millis, interval: Millis, to: Millis) -> Millis {
    due + (to.saturating_sub(due) / interval + 1) * interval
}
