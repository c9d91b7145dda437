//! Counts how often in a row the active policy crashed or ran into a limit.
//!
//! Does not know what is done about it.

use tidegate_engine::{Decided, PolicyFault};

/// A policy that is stopped so often in a row is no good.
const STOPS_MAX: u32 = 3;

/// Of one revision.
#[derive(Default)]
pub(super) struct Stops {
    revision: u64,
    in_a_row: u32,
    digest: String,
    last: String,
    told: bool,
}

/// A revision that was stopped too often.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// Its number.
    pub(crate) revision: u64,
    /// Of the component.
    pub(crate) digest: String,
    /// What stopped it last.
    pub(crate) why: String,
}

impl Stops {
    /// Counts an answer; one of an older revision comes too late to count.
    pub(super) fn note(&mut self, decided: &Decided) {
        self.count(decided.revision, &decided.digest, decided.result.as_ref().err());
    }

    fn count(&mut self, revision: u64, digest: &str, fault: Option<&PolicyFault>) {
        use PolicyFault::{Limit, NotForPolicies, OutOfFuel, TooLate, Trapped};
        if revision < self.revision {
            return;
        }
        if revision > self.revision {
            *self = Stops { revision, digest: digest.to_owned(), ..Stops::default() };
        }
        match fault {
            Some(fault @ (Trapped(_) | OutOfFuel(_) | TooLate(_) | Limit(_) | NotForPolicies(_))) => {
                self.in_a_row += 1;
                self.last = fault.to_string();
            }
            _ => self.in_a_row = 0,
        }
    }

    /// Once for each revision, however many questions it fails while it is being put out of service.
    pub(super) fn too_often(&mut self) -> Option<Stopped> {
        if self.told || self.in_a_row < STOPS_MAX {
            return None;
        }
        self.told = true;
        Some(Stopped { revision: self.revision, digest: self.digest.clone(), why: self.last.clone() })
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
            stops.count(revision, "d", Some(&trap()));
            told.extend(stops.too_often().map(|stopped| (stopped.revision, stopped.why)));
        }
        let why = trap().to_string();
        assert_eq!(told, [(4, why.clone()), (5, why)]);
    }

    #[test]
    fn an_answer_between_begins_the_count_anew_and_what_is_no_crash_is_none() {
        let mut stops = Stops::default();
        let declined = PolicyFault::Declined("I would rather not".into());
        let (trap, declined) = (trap(), declined);
        for fault in [Some(&trap), Some(&trap), None, Some(&trap), Some(&trap), Some(&declined), Some(&trap)] {
            stops.count(1, "d", fault);
            assert!(stops.too_often().is_none());
        }
    }

    #[test]
    fn a_late_answer_of_an_older_revision_says_nothing_of_the_newer() {
        let mut stops = Stops::default();
        stops.count(2, "new", None);
        (0..5).for_each(|_| stops.count(1, "old", Some(&trap())));
        assert!(stops.too_often().is_none());
    }
}
