//! Counts how often in a row the active policy crashed or ran into a limit, for each service by itself: what it answers for others
//! says nothing of the one that it fails.
//!
//! Does not know what is done about it.

use std::collections::HashMap;

use tidegate_engine::{Decided, PolicyFault};

/// A policy that is stopped so often in a row for one service is no good.
const STOPS_MAX: u32 = 3;

/// Of one revision.
#[derive(Default)]
pub(super) struct Stops {
    revision: u64,
    digest: String,
    /// By service; none = its last answer was one.
    in_a_row: HashMap<String, u32>,
    /// The first that was stopped too often.
    too_often: Option<Stopped>,
    told: bool,
}

/// A revision that was stopped too often.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Its number.
    pub(crate) revision: u64,
    /// Of the component.
    pub(crate) digest: String,
    /// Which it failed.
    pub(crate) service: String,
    /// What stopped it last.
    pub(crate) why: String,
}

impl Stops {
    /// Counts an answer; one of an older revision comes too late to count.
    pub(super) fn note(&mut self, service: &str, decided: &Decided) {
        self.count(service, decided.revision, &decided.digest, decided.result.as_ref().err());
    }

    fn count(&mut self, service: &str, revision: u64, digest: &str, fault: Option<&PolicyFault>) {
        use PolicyFault::{Limit, NotForPolicies, OutOfFuel, TooLate, Trapped, Unavailable};
        if revision < self.revision {
            return;
        }
        if revision > self.revision {
            *self = Stops { revision, digest: digest.to_owned(), ..Stops::default() };
        }
        match fault {
            Some(fault @ (Trapped(_) | OutOfFuel(_) | TooLate(_) | Limit(_) | NotForPolicies(_))) => {
                self.stopped(service, fault);
            }
            // It was not asked: that says nothing of it.
            Some(Unavailable(_)) => {}
            _ => drop(self.in_a_row.remove(service)),
        }
    }

    fn stopped(&mut self, service: &str, fault: &PolicyFault) {
        let in_a_row = self.in_a_row.entry(service.to_owned()).or_default();
        *in_a_row += 1;
        if *in_a_row >= STOPS_MAX && self.too_often.is_none() {
            let (digest, service, why) = (self.digest.clone(), service.to_owned(), fault.to_string());
            self.too_often = Some(Stopped { revision: self.revision, digest, service, why });
        }
    }

    /// Once for each revision, however many questions it fails while it is being put out of service.
    pub(super) fn too_often(&mut self) -> Option<Stopped> {
        let stopped = self.too_often.take_if(|_| !self.told);
        self.told |= stopped.is_some();
        stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trap() -> PolicyFault {
        PolicyFault::Trapped("on purpose".into())
    }

    #[test]
    fn three_stops_in_a_row_are_told_once_for_a_revision() {
        let mut stops = Stops::default();
        let mut told = Vec::new();
        for revision in [4, 4, 4, 4, 4, 4, 4, 5, 5, 5] {
            for service in ["shop", "mail"] {
                stops.count(service, revision, "d", Some(&trap()));
                told.extend(stops.too_often().map(|stopped| (stopped.revision, stopped.service, stopped.why)));
            }
        }
        let (shop, why) = ("shop".to_owned(), trap().to_string());
        assert_eq!(told, [(4, shop.clone(), why.clone()), (5, shop, why)]);
    }

    #[test]
    fn an_answer_between_begins_the_count_anew_and_what_is_no_crash_is_none() {
        let mut stops = Stops::default();
        let declined = PolicyFault::Declined("I would rather not".into());
        let (trap, declined) = (trap(), declined);
        for fault in [Some(&trap), Some(&trap), None, Some(&trap), Some(&trap), Some(&declined), Some(&trap)] {
            stops.count("shop", 1, "d", fault);
            assert!(stops.too_often().is_none());
        }
    }

    #[test]
    fn what_it_answers_for_other_services_does_not_make_good_what_it_fails_for_one() {
        let mut stops = Stops::default();
        let mut told = Vec::new();
        for fault in [Some(&trap()), None, Some(&trap()), Some(&trap()), Some(&trap())] {
            stops.count("shop", 1, "d", fault);
            stops.count("mail", 1, "d", None);
            stops.count("wiki", 1, "d", fault.filter(|_| told.is_empty()));
            told.extend(stops.too_often().map(|stopped| stopped.service));
        }
        assert_eq!(told, ["shop"]);
    }

    #[test]
    fn stops_of_several_services_are_not_added_up() {
        let mut stops = Stops::default();
        for service in ["a", "b", "c", "d", "a", "b", "c", "d"] {
            stops.count(service, 1, "d", Some(&trap()));
            assert!(stops.too_often().is_none());
        }
    }

    #[test]
    fn that_it_could_not_be_asked_neither_counts_nor_makes_good() {
        let mut stops = Stops::default();
        let busy = PolicyFault::Unavailable("every worker is busy".into());
        for fault in [&trap(), &busy, &busy, &busy, &trap(), &busy] {
            stops.count("shop", 1, "d", Some(fault));
            assert!(stops.too_often().is_none());
        }
        stops.count("shop", 1, "d", Some(&trap()));
        assert!(stops.too_often().is_some());
    }

    #[test]
    fn a_late_answer_of_an_older_revision_says_nothing_of_the_newer() {
        let mut stops = Stops::default();
        stops.count("shop", 2, "new", None);
        (0..5).for_each(|_| stops.count("shop", 1, "old", Some(&trap())));
        assert!(stops.too_often().is_none());
    }
}
