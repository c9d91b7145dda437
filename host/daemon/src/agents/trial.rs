//! Whether one vantage point works well by a new revision of a probe, told by its own looks.
//!
//! A place that it saw well by the revision before has to be seen well by the new one; a place that it did not see well proves
//! nothing. Knows neither plans nor failure domains.

use std::collections::{BTreeMap, HashSet};

use tidegate_kernel::contract::{Millis, Outcome};

/// Looks in a row at one place: one alone may be chance, and two would already be a vote.
const BAD_IN_A_ROW: u32 = 3;

/// What a vantage point sees, as far as a trial needs it.
#[derive(Debug, Default)]
pub struct Sight {
    /// Places whose newest look was not good.
    unwell: HashSet<String>,
    trial: Option<Trial>,
}

#[derive(Debug)]
struct Trial {
    /// Names what is tried.
    version: String,
    /// A look that began earlier may still be the old revision's; none = the new one is not in force here yet.
    since: Option<Millis>,
    /// Not seen well yet, with the looks in a row that were not good.
    awaited: BTreeMap<String, u32>,
    failed: Option<String>,
}

/// What came of a trial so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Waits(String),
    Well,
    Bad(String),
}

/// A service at a site, as people read it.
pub(super) fn place(service: &str, site: &str) -> String {
    format!("{service} at {site}")
}

impl Sight {
    /// From now on what it sees at `places` is what counts. The same version is not tried anew.
    pub(super) fn begin(&mut self, version: &str, places: impl Iterator<Item = String>) {
        if self.trial.as_ref().is_some_and(|trial| trial.version == version) {
            return;
        }
        let awaited = places.filter(|place| !self.unwell.contains(place)).map(|place| (place, 0)).collect();
        self.trial = Some(Trial { version: version.to_owned(), since: None, awaited, failed: None });
    }

    /// Forgets the trial.
    pub(super) fn end(&mut self) {
        self.trial = None;
    }

    /// It works by this version, with these problems.
    pub(super) fn works_by(&mut self, version: &str, problems: &[String], now: Millis) {
        let Some(trial) = self.trial.as_mut().filter(|trial| trial.version == version) else { return };
        trial.since.get_or_insert(now);
        if let Some(problem) = problems.first() {
            trial.failed.get_or_insert(format!("it cannot follow its plan: {problem}"));
        }
    }

    /// It saw something. `not_before` bounds when the look began.
    pub(super) fn see(&mut self, (service, site): (&str, &str), outcome: Outcome, detail: &str, not_before: Millis) {
        // Nearly every look ends here.
        if outcome.is_good() && self.trial.is_none() && self.unwell.is_empty() {
            return;
        }
        let place = place(service, site);
        if let Some(trial) = self.trial.as_mut().filter(|trial| trial.since.is_some_and(|since| not_before >= since)) {
            trial.see(&place, outcome, detail);
        }
        match outcome.is_good() {
            true => drop(self.unwell.remove(&place)),
            false => drop(self.unwell.insert(place)),
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let Some(trial) = &self.trial else { return Verdict::Well };
        match (&trial.failed, trial.since, trial.awaited.keys().next()) {
            (Some(failed), ..) => Verdict::Bad(failed.clone()),
            (None, None, _) => Verdict::Waits("it has not taken the new plan".to_owned()),
            (None, Some(_), Some(place)) => Verdict::Waits(format!("it has not seen {place} well")),
            (None, Some(_), None) => Verdict::Well,
        }
    }
}

impl Trial {
    fn see(&mut self, place: &str, outcome: Outcome, detail: &str) {
        if outcome.is_good() {
            self.awaited.remove(place);
            return;
        }
        let Some(bad) = self.awaited.get_mut(place) else { return };
        *bad += 1;
        if *bad >= BAD_IN_A_ROW {
            self.failed.get_or_insert(format!("{place}: {outcome} {BAD_IN_A_ROW} times in a row, {detail}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One vantage point that looks at `shop at west`, well by the old revision unless `unwell`.
    fn on_trial(unwell: bool) -> Sight {
        let mut sight = Sight::default();
        let before = if unwell { Outcome::TimedOut } else { Outcome::Ok };
        sight.see(("shop", "west"), before, "", 1);
        sight.begin("v2", ["shop at west".to_owned()].into_iter());
        sight
    }

    fn looks(sight: &mut Sight, outcomes: &[Outcome], not_before: Millis) -> Verdict {
        outcomes.iter().for_each(|outcome| sight.see(("shop", "west"), *outcome, "no route", not_before));
        sight.verdict()
    }

    #[test]
    fn only_a_look_by_the_new_revision_shows_that_it_works() {
        let mut sight = on_trial(false);
        assert!(matches!(looks(&mut sight, &[Outcome::Ok], 2), Verdict::Waits(what) if what.contains("plan")));
        sight.works_by("v1", &[], 5);
        assert!(matches!(sight.verdict(), Verdict::Waits(what) if what.contains("plan")), "that is the old plan");
        sight.works_by("v2", &[], 10);
        assert!(matches!(looks(&mut sight, &[Outcome::Ok], 9), Verdict::Waits(what) if what.contains("shop at west")));
        assert_eq!(looks(&mut sight, &[Outcome::Ok], 10), Verdict::Well);
    }

    #[test]
    fn bad_looks_in_a_row_at_a_place_that_was_well_speak_against_it() {
        use Outcome::{Error, Ok, Refused, Slow, TimedOut};
        for (unwell, seen, verdict) in [
            (false, &[Slow][..], "well"),
            (false, &[Refused, Refused, Ok], "well"),
            (false, &[Refused, Refused], "waits"),
            (false, &[Refused, TimedOut, Error], "bad"),
            (true, &[], "well"),
            (true, &[Error, Error, Error], "well"),
        ] {
            let mut sight = on_trial(unwell);
            sight.works_by("v2", &[], 10);
            let found = match looks(&mut sight, seen, 10) {
                Verdict::Well => "well",
                Verdict::Waits(_) => "waits",
                Verdict::Bad(why) => {
                    assert_eq!(why, "shop at west: error 3 times in a row, no route");
                    "bad"
                }
            };
            assert_eq!(found, verdict, "{seen:?}, unwell before: {unwell}");
        }
    }

    #[test]
    fn a_problem_with_the_plan_speaks_against_it_at_once() {
        let mut sight = on_trial(false);
        sight.works_by("v2", &["slot probe/http: no such world".to_owned()], 10);
        assert!(matches!(sight.verdict(), Verdict::Bad(why) if why.contains("no such world")));
        sight.end();
        assert_eq!(sight.verdict(), Verdict::Well);
    }
}
