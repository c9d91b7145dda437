//! Over quiet time in one step: when every look would find what the one before it found, they need not be taken.
//!
//! Three ways. While something is out of order, only looks and samples are left out, never a timer of the kernel's. While
//! everything is at home and served, and nothing is broken or has changed for minutes, time itself is jumped over: what the kernel
//! repeats for ever is then done once. Those who play thousands are in a hurry: once nobody has noted anything for a while, what is
//! asked every few seconds is asked seldom. Never is a moment passed that somebody has named: one for which a policy has asked to be
//! asked again, or one that a scenario speaks of. Only in a hurry are policies that ask again after seconds, for ever, kept
//! waiting, and not while a service could be moved to where it is served, or home. So what such a policy would do by the time of
//! day comes late in a storm; nothing comes early. Nothing is left out while looks differ by themselves: by chance, or because each call
//! of a provider that crashes or is quarantined may be the one that changes that.

use tidegate_kernel::contract::{Millis, State, Verdict};
use tidegate_kernel::event::Event;
use tidegate_kernel::fleet::{ClusterId, Fleet, Service};
use tidegate_kernel::state::{About, Question, Run, ServiceState};

use super::{Due, Simulation, Wish, score};

/// Whatever is not yet mended has shown by then what comes of it.
const CALM_AFTER: Millis = 180_000;
/// When nothing has changed for so long …
const SLOW_AFTER: Millis = 30_000;
/// … what is asked and read every few seconds is asked and read this seldom …
const STRIDE: Millis = 120_000;
/// … but no more seldom than this while clients go without what they could have, or something is on its way home.
const STRIDE_WITH_A_MOVE_AHEAD: Millis = 5_000;
/// A policy that wants to be asked again within so long watches; one that names a later time waits for it.
const WATCHES: Millis = 10_000;
/// After a jump everything is seen for a while before something happens.
const AWAKE_BEFORE: Millis = 20_000;

impl Simulation<'_> {
    /// Jumps as far as nothing happens.
    pub(super) fn pass_quiet_time(&mut self) {
        if !self.is_settled() {
            return;
        }
        let (now, since) = (self.world.now, self.differs().max(self.restless));
        let (known, quiet) = (self.next_that_counts(), now.saturating_sub(since));
        let jump = if (self.world.is_whole() || quiet >= CALM_AFTER) && self.world.host_runs() && self.is_calm() {
            known.saturating_sub(AWAKE_BEFORE)
        } else if self.hurried && quiet >= SLOW_AFTER && self.nothing_waits() {
            known.min(now + self.stride())
        } else {
            0
        };
        let jump = self.next_wish().map_or(jump, |due| due.min(jump));
        let to = self.next_timer().map_or(known, |due| due.min(known)).max(jump);
        let looks = |((due, _), what): (&(Millis, u64), &Due)| *due < to && matches!(what, Due::Round(_));
        if self.queue.iter().any(looks) {
            self.pass_until(to);
        }
    }

    /// The host knows all that there is to see.
    pub(super) fn is_settled(&self) -> bool {
        self.world.now.saturating_sub(self.differs()) >= self.settles && !self.world.is_unsteady()
    }

    fn differs(&self) -> Millis {
        self.differs.max(self.world.changed)
    }

    /// The next thing that is not a look.
    fn next_that_counts(&self) -> Millis {
        let counts = |what: &Due| match what {
            Due::Deliver(life, _) => *life == self.life && !is_repeated(what),
            Due::Answer(life, _) => *life == self.life,
            Due::Begin(_) | Due::End(_) | Due::Restart | Due::Named => true,
            Due::Round(_) | Due::Beat(_) | Due::Looks(..) => false,
        };
        let queued = self.queue.iter().find(|(_, what)| counts(what)).map(|((due, _), _)| *due);
        [queued, self.world.next_change()].into_iter().flatten().fold(self.script.length, Millis::min)
    }

    /// When the next policy wants to be asked. One that is overdue is about to be, and until then nothing is left out.
    fn next_wish(&self) -> Option<Millis> {
        let counts = |wish: &&Wish| !self.hurried || wish.pause > WATCHES;
        self.wishes.iter().flatten().filter(counts).map(|wish| wish.due).min()
    }

    /// Whoever may be about to move something is not kept waiting.
    fn stride(&self) -> Millis {
        let (world, kernel, fleet) = (&self.world, &self.kernel, &self.fleet);
        let waits = |service: usize| {
            let served = world.clients[service].since.is_none();
            // One that waits for a moment has named it.
            let watches = self.wishes[service].is_some_and(|wish| wish.pause <= WATCHES);
            (!served && score::could_be_served(world, kernel, fleet, service))
                || (watches && score::will_go_home(world, kernel, fleet, service))
        };
        if (0..fleet.services.len()).any(waits) { STRIDE_WITH_A_MOVE_AHEAD } else { STRIDE }
    }

    fn next_timer(&self) -> Option<Millis> {
        self.kernel.next_timer().filter(|_| self.world.host_runs())
    }

    /// No run goes on by itself, and there is nothing to be found that the host does not know yet.
    fn nothing_waits(&self) -> bool {
        let state = self.kernel.state();
        let rests = |open: &Run| {
            let about = |question: &Question| matches!(question.about, About::Rest { run, .. } if run == open.id);
            state.open_questions().any(about)
        };
        let known = |name: &str| {
            let of_it = |service: &&Service| service.route.as_ref().is_some_and(|route| route.name == name);
            let service = self.fleet.services.iter().find(of_it);
            service.and_then(|service| state.services.get(&service.name)).is_some_and(|known| known.drift.is_some())
        };
        state.open_runs().all(rests) && self.world.names.meddled().all(known)
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
        let repeats = |due: &Due| matches!(due, Due::Round(_) | Due::Beat(_) | Due::Looks(..)) || is_repeated(due);
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

/// After how long every streak has run its length, and whoever fell silent is known to be.
pub(super) fn settles(fleet: &Fleet) -> Millis {
    let rounds = |service: &Service| {
        u64::from(service.probe.bad.max(service.probe.good) + 2) * service.probe.interval + service.probe.timeout
    };
    let looks = fleet.services.iter().map(rounds).max().unwrap_or(0);
    looks.max(2 * fleet.host.freshness).max(fleet.host.warm_up)
}

/// What is on its way again and again, and says the same each time.
fn is_repeated(due: &Due) -> bool {
    matches!(due, Due::Deliver(_, event) if matches!(**event, Event::Sampled { .. } | Event::Heard { .. }))
}

/// The first moment from `to` on in the rhythm of `due`.
fn next_like(due: Millis, interval: Millis, to: Millis) -> Millis {
    due + to.saturating_sub(due).div_ceil(interval) * interval
}
