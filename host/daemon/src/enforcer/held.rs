//! What is to become of a held node: pure rules, by what is seen of it and what the agent last told.
//!
//! Knows no process and no file. The two rules that matter: a node without the bar is started only while its host says that
//! it is the primary, and a guarded primary does not run beyond its lease. What its lease alone has ended goes on with the next
//! lease: who has one may take writes, and nobody else can have been promoted.

use tidegate_kernel::contract::Millis;

use super::line::Led;
use crate::lease::LEASE;

/// A server that dies at once is not started in a tight loop.
const START_AGAIN: Millis = 1_000;
/// A primary is not started for the last moments of a lease.
const WORTH_STARTING: Millis = 300;

/// What is seen of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its server runs, below this enforcer.
    pub ours: bool,
    /// Its server runs, and somebody else started it.
    pub others: bool,
    /// Whoever starts it, it comes up as a standby.
    pub barred: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Nothing.
    Nothing,
    /// Start it; it is barred.
    StartStandby,
    /// Bar it: somebody else is the primary.
    Bar,
    /// Start it, without the bar, whoever has put that.
    StartPrimary,
    /// End it at once, then bar it.
    Fence,
}

/// Whether a node that does not run may be started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    /// It may.
    #[default]
    None,
    /// Its lease was over: not without another one.
    UntilALease,
    /// Ended on purpose: not until somebody asks for it.
    UntilAsked,
}

/// What has to be remembered of a node.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    rest: Rest,
    /// The newest end of a lease of its own, or of the time in which one has to come.
    until: Option<Millis>,
    /// It ran barred the last time: a primary without the bar was promoted.
    was_standby: bool,
    start_from: Millis,
}

impl Rule {
    /// Its lease was over, and it was ended. Who has ended it on purpose meanwhile has the last word.
    pub fn lease_was_over(&mut self) {
        if self.rest == Rest::None {
            self.rest = Rest::UntilALease;
        }
    }

    /// The node shall not be started by itself.
    pub fn rest(&mut self) {
        self.rest = Rest::UntilAsked;
    }

    /// The node may be started again.
    pub fn wake(&mut self) {
        (self.rest, self.start_from) = (Rest::None, 0);
    }

    /// It is started now.
    pub fn started(&mut self, now: Millis) {
        self.start_from = now + START_AGAIN;
    }

    /// When this has to be asked again at the latest, because a lease ends.
    pub fn deadline(&self) -> Option<Millis> {
        self.until
    }

    /// What is to be done now.
    pub fn decide(&mut self, now: Millis, node: &str, seen: Seen, led: Option<&Led>) -> Do {
        self.learn(now, node, seen, led);
        let guarded = led.is_some_and(|led| led.guarded);
        if (seen.ours || seen.others) && !seen.barred {
            let over = self.until.is_some_and(|until| now >= until);
            return if guarded && over { Do::Fence } else { Do::Nothing };
        }
        if seen.ours || seen.others || self.rest == Rest::UntilAsked || now < self.start_from {
            return Do::Nothing;
        }
        let again = self.rest == Rest::UntilALease;
        match led {
            Some(Led { primary: Some(other), .. }) if other != node && !seen.barred => Do::Bar,
            Some(led) if led.primary.as_deref() == Some(node) && may_start(now, led) => match seen.barred {
                true if !again => Do::StartStandby,
                true if !led.guarded => Do::Nothing,
                _ => Do::StartPrimary,
            },
            _ if seen.barred && !again => Do::StartStandby,
            _ => Do::Nothing,
        }
    }

    fn learn(&mut self, now: Millis, node: &str, seen: Seen, led: Option<&Led>) {
        let runs = seen.ours || seen.others;
        let own = led.filter(|led| led.primary.as_deref() == Some(node)).and_then(|led| led.until);
        // Promoted before its first lease has come: it has to come within a lease's length.
        let first = (runs && !seen.barred && self.was_standby).then_some(now + LEASE);
        self.until = self.until.max(own).max(first);
        if seen.ours && self.rest == Rest::UntilALease {
            self.rest = Rest::None;
        }
        if runs {
            self.was_standby = seen.barred;
        }
    }
}

/// A primary starts by the host's word, and a guarded one with a lease that is worth it.
pub fn may_start(now: Millis, led: &Led) -> bool {
    !led.guarded || led.until.is_some_and(|until| now + WORTH_STARTING < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Seen = Seen { ours: true, others: false, barred: false };
    const STANDBY: Seen = Seen { ours: true, others: false, barred: true };
    const ENDED: Seen = Seen { ours: false, others: false, barred: false };
    const BARRED: Seen = Seen { ours: false, others: false, barred: true };
    const OTHERS: Seen = Seen { ours: false, others: true, barred: false };

    fn led(primary: Option<&str>, guarded: bool, until: Option<Millis>) -> Led {
        Led { cluster: "orders".into(), primary: primary.map(str::to_owned), epoch: 1, guarded, until }
    }

    #[test]
    fn starts_what_it_may_and_ends_what_it_must() {
        let cases = [
            ("nobody has said who leads", ENDED, None, Do::Nothing),
            ("barred, nobody has said anything", BARRED, None, Do::StartStandby),
            ("it leads, synchronous", ENDED, Some(led(Some("a"), false, None)), Do::StartPrimary),
            ("it leads, without a lease", ENDED, Some(led(Some("a"), true, None)), Do::Nothing),
            ("it leads, with a lease", ENDED, Some(led(Some("a"), true, Some(2_000))), Do::StartPrimary),
            ("it leads, its lease is nearly over", ENDED, Some(led(Some("a"), true, Some(1_200))), Do::Nothing),
            ("it leads and is barred", BARRED, Some(led(Some("a"), true, Some(2_000))), Do::StartStandby),
            ("nobody leads", ENDED, Some(led(None, true, None)), Do::Nothing),
            ("another one leads", ENDED, Some(led(Some("b"), true, None)), Do::Bar),
            ("runs within its lease", RUNS, Some(led(Some("a"), true, Some(1_001))), Do::Nothing),
            ("its lease is over", RUNS, Some(led(Some("a"), true, Some(1_000))), Do::Fence),
            ("over, and somebody else started it", OTHERS, Some(led(Some("a"), true, Some(1_000))), Do::Fence),
            ("over, but it is a standby", STANDBY, Some(led(Some("a"), true, Some(1_000))), Do::Nothing),
            ("over, but synchronous", RUNS, Some(led(Some("a"), false, Some(1_000))), Do::Nothing),
            ("never had a lease", RUNS, Some(led(Some("b"), true, None)), Do::Nothing),
        ];
        for (what, seen, led, expected) in cases {
            assert_eq!(Rule::default().decide(1_000, "a", seen, led.as_ref()), expected, "{what}");
        }
    }

    #[test]
    fn a_lease_that_the_host_no_longer_names_still_ends() {
        let mut rule = Rule::default();
        assert_eq!(rule.decide(1_000, "a", RUNS, Some(&led(Some("a"), true, Some(2_000)))), Do::Nothing);
        let moved = led(Some("b"), true, None);
        assert_eq!(rule.decide(1_999, "a", RUNS, Some(&moved)), Do::Nothing);
        assert_eq!(rule.decide(2_000, "a", RUNS, Some(&moved)), Do::Fence);
    }

    #[test]
    fn a_promoted_node_has_a_leases_length_for_its_first_lease() {
        let mut rule = Rule::default();
        let before = led(Some("b"), true, None);
        assert_eq!(rule.decide(0, "a", STANDBY, Some(&before)), Do::Nothing);
        assert_eq!(rule.decide(1_000, "a", RUNS, Some(&before)), Do::Nothing);
        assert_eq!(rule.decide(999 + LEASE, "a", RUNS, Some(&before)), Do::Nothing);
        assert_eq!(rule.clone().decide(1_000 + LEASE, "a", RUNS, Some(&before)), Do::Fence);
        let now = led(Some("a"), true, Some(5_000));
        assert_eq!(rule.decide(1_000 + LEASE, "a", RUNS, Some(&now)), Do::Nothing, "its lease has come");
    }

    #[test]
    fn what_was_ended_on_purpose_stays_ended_until_it_is_asked_for() {
        let mut rule = Rule::default();
        rule.rest();
        assert_eq!(rule.decide(0, "a", BARRED, None), Do::Nothing);
        rule.wake();
        assert_eq!(rule.decide(0, "a", BARRED, None), Do::StartStandby);
    }

    #[test]
    fn what_its_lease_has_ended_goes_on_with_the_next_one_and_with_nothing_less() {
        let cases = [
            ("nobody has said anything", None, Do::Nothing),
            ("its lease is still over", Some(led(Some("a"), true, Some(1_000))), Do::Nothing),
            ("nobody leads", Some(led(None, true, None)), Do::Nothing),
            ("another one leads", Some(led(Some("b"), true, Some(9_000))), Do::Nothing),
            ("nobody has told of a lease", Some(led(Some("a"), false, None)), Do::Nothing),
            ("it has one again", Some(led(Some("a"), true, Some(2_000))), Do::StartPrimary),
        ];
        for (what, led, expected) in cases {
            let mut rule = Rule::default();
            rule.lease_was_over();
            assert_eq!(rule.decide(1_000, "a", BARRED, led.as_ref()), expected, "{what}");
            rule.rest();
            rule.lease_was_over();
            assert_eq!(rule.decide(1_000, "a", BARRED, led.as_ref()), Do::Nothing, "{what}, ended on purpose as well");
        }
    }

    #[test]
    fn a_server_that_dies_at_once_is_not_started_in_a_tight_loop() {
        let mut rule = Rule::default();
        rule.started(5);
        assert_eq!(rule.decide(5 + START_AGAIN - 1, "a", BARRED, None), Do::Nothing);
        assert_eq!(rule.decide(5 + START_AGAIN, "a", BARRED, None), Do::StartStandby);
    }
}
