//! When a provider is not asked, and what a call that was cut short means: the rules of supervision, apart from instances.
//!
//! Pure, so that a simulator lives by the same rules: time is a parameter, counted from any moment that the caller has chosen.
//! Does not know who calls, and keeps no call.

use crate::limits::Limits;
use std::{collections::VecDeque, time::Duration};
use tidegate_kernel::contract::Failure;

/// Crashes are counted over so long.
const WINDOW: Duration = Duration::from_secs(60);
const QUARANTINE_FIRST: Duration = Duration::from_secs(5);
const QUARANTINE_MOST: Duration = Duration::from_secs(300);
/// Beyond its own timeout a provider gets so long to say so itself, which tells more than being cut off.
const GRACE: Duration = Duration::from_millis(250);

/// How often one revision of a provider has crashed lately, and whether it is left alone for that.
#[derive(Clone, Debug)]
pub struct Supervision {
    restarts: usize,
    crashes: VecDeque<Duration>,
    quarantine: Option<Quarantine>,
    /// Quarantines since it last went without a crash for a minute in which it was asked.
    strikes: u32,
    /// When the newest quarantine is over, or was.
    rested: Duration,
}

/// A time in which nothing is asked of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// From its beginning to its end.
    pub lasts: Duration,
    /// When it is over.
    pub until: Duration,
    /// For people.
    pub reason: String,
}

impl Supervision {
    /// Of a revision that has not been asked anything yet.
    pub fn new(limits: &Limits) -> Self {
        Supervision {
            restarts: limits.restarts as usize,
            crashes: VecDeque::new(),
            quarantine: None,
            strikes: 0,
            rested: Duration::ZERO,
        }
    }

    /// To be asked before each call: why nothing is asked of the provider in `slot` now.
    pub fn admit(&mut self, slot: &str, now: Duration) -> Result<(), Failure> {
        match &self.quarantine {
            Some(quarantine) if now < quarantine.until => Err(Failure::Rejected(format!(
                "the provider in slot {slot} is quarantined for {} s more: {}; nothing was done",
                (quarantine.until - now).as_secs() + 1,
                quarantine.reason
            ))),
            _ => {
                self.quarantine = None;
                Ok(())
            }
        }
    }

    /// An instance was given up. The quarantine that this brings, if it was one crash too many.
    pub fn crashed(&mut self, why: &str, now: Duration) -> Option<&Quarantine> {
        self.forget(now);
        self.crashes.push_back(now);
        // What was under way as a quarantine began, and crashes as well, tells nothing new.
        if self.crashes.len() <= self.restarts || now < self.rested {
            return None;
        }
        let lasts = (QUARANTINE_FIRST * 2_u32.saturating_pow(self.strikes)).min(QUARANTINE_MOST);
        let reason = format!("{} crashes within a minute, the last: {why}", self.crashes.len());
        self.strikes = (self.strikes + 1).min(16);
        self.rested = now + lasts;
        self.quarantine = Some(Quarantine { lasts, until: self.rested, reason });
        self.quarantine.as_ref()
    }

    /// Crashes within the last minute.
    pub fn recent_crashes(&mut self, now: Duration) -> usize {
        self.forget(now);
        self.crashes.len()
    }

    /// The quarantine that it is in; one that is over stays until the next call is admitted.
    pub fn quarantine(&self) -> Option<&Quarantine> {
        self.quarantine.as_ref()
    }

    fn forget(&mut self, now: Duration) {
        while self.crashes.front().is_some_and(|crash| now.saturating_sub(*crash) > WINDOW) {
            self.crashes.pop_front();
        }
        if self.crashes.is_empty() && now.saturating_sub(self.rested) > WINDOW {
            self.strikes = 0;
        }
    }
}

/// How long a look may take: as long as it asks for, and never longer than the slot's wall clock.
pub fn deadline_of_look(limits: &Limits, timeout: Option<Duration>) -> Duration {
    let most = limits.wall_clock.0;
    timeout.map_or(most, |timeout| timeout.saturating_add(GRACE).min(most))
}

/// How long a change may take: its own timeout counts alone. It comes from the host's runbook, and what is cut off half done is
/// worse than what takes long: a database may be rebuilt for minutes.
pub fn deadline_of_change(timeout: Duration) -> Duration {
    timeout.saturating_add(GRACE)
}

/// What came of a call whose instance was given up: it may have been done.
pub fn cut_short(call: &str, why: &str) -> Failure {
    Failure::UnknownOutcome(format!("{call} was cut short: {why}"))
}

/// What came of a call that was cut off at its deadline: it may have been done.
pub fn late(call: &str, deadline: Duration) -> Failure {
    Failure::UnknownOutcome(format!("{call} gave no answer within {} ms", deadline.as_millis()))
}

/// What came of a call that got no place until its deadline: nothing was done.
pub fn busy(deadline: Duration) -> Failure {
    Failure::Busy(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Span;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn supervision(restarts: u32) -> Supervision {
        Supervision::new(&Limits { restarts, ..Limits::provider() })
    }

    /// Crashes at that second; how many seconds of quarantine that brings.
    fn crash(supervision: &mut Supervision, at: u64) -> Option<u64> {
        supervision.crashed("it fell over", seconds(at)).map(|quarantine| quarantine.lasts.as_secs())
    }

    #[test]
    fn as_many_crashes_within_a_minute_as_the_budget_has_are_forgiven() {
        let mut supervision = supervision(2);
        assert_eq!([0, 20].map(|at| crash(&mut supervision, at)), [None, None]);
        assert_eq!(supervision.admit("dns/primary", seconds(20)), Ok(()));
        // The first is exactly a minute old, and counts.
        assert_eq!(crash(&mut supervision, 60), Some(5));
        assert_eq!(supervision.recent_crashes(seconds(60)), 3);
        // Spread further apart they never are too many.
        let mut supervision = self::supervision(2);
        assert!((0..100).all(|number| crash(&mut supervision, number * 31).is_none()));
    }

    #[test]
    fn who_is_quarantined_is_told_for_how_long_and_why_until_it_is_over() {
        let mut supervision = supervision(0);
        assert_eq!(crash(&mut supervision, 10), Some(5));
        let text = "the provider in slot dns/primary is quarantined for 4 s more: 1 crashes within a minute, the last: it fell over; \
                    nothing was done";
        let refused = Err(Failure::Rejected(text.to_owned()));
        assert_eq!(supervision.admit("dns/primary", Duration::from_millis(11_500)), refused);
        assert!(supervision.admit("dns/primary", Duration::from_millis(14_999)).is_err());
        assert!(supervision.quarantine().is_some_and(|quarantine| quarantine.until == seconds(15)));
        assert_eq!(supervision.admit("dns/primary", seconds(15)), Ok(()));
        assert_eq!(supervision.quarantine(), None);
    }

    #[test]
    fn each_quarantine_is_twice_as_long_as_the_one_before() {
        let mut supervision = supervision(2);
        assert_eq!(
            [0, 0, 0, 5, 15, 35].map(|at| crash(&mut supervision, at)).map(Option::unwrap_or_default),
            [0, 0, 5, 10, 20, 40]
        );
    }

    #[test]
    fn no_quarantine_is_longer_than_five_minutes() {
        let (mut supervision, mut at) = (supervision(0), 0);
        let mut next = || {
            let lasts = crash(&mut supervision, at).expect("one crash is too many");
            at += lasts;
            lasts
        };
        let lasts: Vec<u64> = (0..40).map(|_| next()).collect();
        assert_eq!(lasts[..8], [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(lasts[8..].iter().all(|lasts| *lasts == 300));
    }

    #[test]
    fn what_was_under_way_as_a_quarantine_began_brings_no_further_one() {
        let mut supervision = supervision(0);
        assert_eq!([0, 0, 4].map(|at| crash(&mut supervision, at)), [Some(5), None, None]);
        assert_eq!(crash(&mut supervision, 5), Some(10));
    }

    #[test]
    fn after_a_minute_without_a_crash_all_is_forgotten() {
        let mut supervision = supervision(1);
        assert_eq!([0, 0, 5].map(|at| crash(&mut supervision, at)), [None, Some(5), Some(10)]);
        assert_eq!(supervision.recent_crashes(seconds(65)), 1);
        assert_eq!(supervision.recent_crashes(seconds(66)), 0);
        // Nobody asked it while it was quarantined until second 15.
        let mut sooner = supervision.clone();
        assert_eq!([66, 66].map(|at| crash(&mut sooner, at)), [None, Some(20)]);
        assert_eq!([76, 76].map(|at| crash(&mut supervision, at)), [None, Some(5)]);
    }

    #[test]
    fn a_look_ends_at_the_slots_wall_clock_at_the_latest_and_a_change_at_its_own_time_alone() {
        let limits = Limits { wall_clock: Span(seconds(10)), ..Limits::provider() };
        assert_eq!(deadline_of_look(&limits, None), seconds(10));
        assert_eq!(deadline_of_look(&limits, Some(seconds(2))), Duration::from_millis(2_250));
        assert_eq!(deadline_of_look(&limits, Some(Duration::MAX)), seconds(10));
        assert_eq!(deadline_of_change(seconds(1_800)), Duration::from_millis(1_800_250));
    }
}
