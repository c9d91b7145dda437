//! Which target is due when: a fixed phase in each interval, counted from one start, so that nothing drifts.
//!
//! Knows no clock and starts nothing; indices stand for targets.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tidegate_kernel::contract::Millis;

use super::Target;

/// One look that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) index: usize,
    /// How long ago it was due.
    pub(super) late: Millis,
    /// Later ones of the same target whose time has passed too, and which are therefore not taken.
    pub(super) missed: u64,
}

/// The next due time of each target.
#[derive(Default)]
pub(super) struct Schedule {
    intervals: Vec<Millis>,
    next: BinaryHeap<Reverse<(Millis, usize)>>,
    /// The newest due time that has been taken.
    taken: Option<Millis>,
}

impl Schedule {
    /// Replaces all targets by these (phase and interval). A time that has not been taken yet is not lost by it.
    pub(super) fn set(&mut self, now: Millis, targets: impl Iterator<Item = (Millis, Millis)>) {
        let from = self.next().map_or(now, |due| due.min(now)).max(self.taken.map_or(0, |taken| taken + 1));
        self.intervals.clear();
        self.next.clear();
        for (index, (phase, interval)) in targets.enumerate() {
            let interval = interval.max(1);
            self.intervals.push(interval);
            self.next.push(Reverse((first(from, phase % interval, interval), index)));
        }
    }

    /// When the next look is due.
    pub(super) fn next(&self) -> Option<Millis> {
        self.next.peek().map(|Reverse((due, _))| *due)
    }

    /// The next look due at `now`, if any; its target's following one is in the future then.
    pub(super) fn take(&mut self, now: Millis) -> Option<Due> {
        let Reverse((due, index)) = *self.next.peek().filter(|Reverse((due, _))| *due <= now)?;
        self.next.pop();
        let (late, interval) = (now - due, self.intervals[index]);
        let missed = late / interval;
        self.next.push(Reverse((due + (missed + 1) * interval, index)));
        self.taken = Some(due);
        Some(Due { index, late, missed })
    }
}

/// The first time from `from` on that lies on the phase.
fn first(from: Millis, phase: Millis, interval: Millis) -> Millis {
    let periods = from.saturating_sub(phase).div_ceil(interval);
    phase + periods * interval
}

/// Where in its interval a target is looked at: the same for as long as its name and interval stay, spread like a hash.
pub(super) fn phase(target: &Target) -> Millis {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in target.service.bytes().chain([0]).chain(target.site.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // FNV alone leaves names that differ in their last digit close together.
    hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (hash ^ (hash >> 32)) % target.interval.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(targets: &[(Millis, Millis)]) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.set(0, targets.iter().copied());
        schedule
    }

    fn target(number: u32) -> Target {
        Target {
            service: format!("service-{number}").into(),
            site: "west".into(),
            slot: "probe/tcp".into(),
            target: "{}".into(),
            interval: 5_000,
            timeout: 1_000,
        }
    }

    #[test]
    fn does_not_drift_when_each_look_is_taken_late() {
        let mut schedule = schedule(&[(300, 1_000)]);
        for period in 0..1_000 {
            let due = schedule.take(period * 1_000 + 300 + 77).expect("one is due in each period");
            assert_eq!(due, Due { index: 0, late: 77, missed: 0 });
        }
    }

    #[test]
    fn skips_what_it_is_too_late_for_and_counts_it() {
        let mut schedule = schedule(&[(300, 1_000)]);
        assert_eq!(schedule.take(5_400), Some(Due { index: 0, late: 5_100, missed: 5 }));
        assert_eq!(schedule.take(5_400), None, "nothing is queued up");
        assert_eq!(schedule.next(), Some(6_300));
    }

    #[test]
    fn keeps_the_phase_when_the_targets_change() {
        let mut schedule = schedule(&[(300, 1_000), (600, 1_000)]);
        assert_eq!(schedule.take(300).map(|due| due.index), Some(0));
        schedule.set(350, [(600, 1_000), (300, 1_000)].into_iter());
        assert_eq!(schedule.next(), Some(600));
        assert_eq!(schedule.take(600).map(|due| due.index), Some(0));
        assert_eq!(schedule.next(), Some(1_300));
    }

    #[test]
    fn does_not_lose_a_look_that_was_due_just_before_the_targets_changed() {
        let mut schedule = schedule(&[(300, 1_000), (600, 1_000)]);
        schedule.take(300).expect("the first is due");
        schedule.set(601, [(300, 1_000), (600, 1_000)].into_iter());
        assert_eq!(schedule.take(601).map(|due| due.index), Some(1));
    }

    #[test]
    fn does_not_repeat_a_look_when_the_targets_change() {
        let mut schedule = schedule(&[(300, 1_000)]);
        schedule.take(300).expect("it is due");
        schedule.set(300, [(300, 1_000)].into_iter());
        assert_eq!(schedule.next(), Some(1_300));
    }

    #[test]
    fn spreads_many_targets_evenly_over_their_interval() {
        let mut tenths = [0_u32; 10];
        for number in 0..10_000 {
            tenths[(phase(&target(number)) / 500) as usize] += 1;
        }
        assert!(tenths.iter().all(|looks| (850..1_150).contains(looks)), "{tenths:?}");
    }
}
