//! How much sooner or later a candidate begins to move than what decided then, among the situations that were written down.
//!
//! Knows nothing of what was seen between two of them, nor of what would have come of a move that was not made.

use std::collections::HashMap;

use serde::Serialize;

/// Moves of both within one incident: a run of recorded situations of one service in each of which at least one of them moves.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Timing {
    /// Both begin in the same situation.
    pub together: u64,
    /// The candidate begins so many milliseconds sooner, and perhaps sooner still: what came before was not written down.
    pub sooner_ms: Vec<u64>,
    /// The candidate begins so many milliseconds later, or less: what came in between was not written down.
    pub later_ms: Vec<u64>,
    /// By service, when each of both began in the incident that is under way.
    #[serde(skip)]
    under_way: HashMap<String, (Option<u64>, Option<u64>)>,
}

impl Timing {
    /// The next recorded situation of a service: whether the recorded policy and the candidate move in it.
    pub(super) fn note(&mut self, service: &str, at: u64, (then, now): (bool, bool)) {
        if !then && !now {
            return self.end(service);
        }
        let begun = self.under_way.entry(service.to_owned()).or_default();
        let before = *begun;
        begun.0 = begun.0.or(then.then_some(at));
        begun.1 = begun.1.or(now.then_some(at));
        if let ((Some(then), Some(now)), (None, _) | (_, None)) = (*begun, before) {
            match now.cmp(&then) {
                std::cmp::Ordering::Less => self.sooner_ms.push(then - now),
                std::cmp::Ordering::Equal => self.together += 1,
                std::cmp::Ordering::Greater => self.later_ms.push(now - then),
            }
        }
    }

    /// Neither moves, or nobody can tell: what comes next is another incident.
    pub(super) fn end(&mut self, service: &str) {
        self.under_way.remove(service);
    }

    /// For people.
    pub(super) fn line(&self) -> String {
        let Timing { together, sooner_ms, later_ms, .. } = self;
        if together + sooner_ms.len() as u64 + later_ms.len() as u64 == 0 {
            return "nothing to tell: in no incident do both move".to_owned();
        }
        format!(
            "{together} moves together{}{}",
            part(sooner_ms, "sooner", "at least"),
            part(later_ms, "later", "at most")
        )
    }
}

/// How many, and the one in the middle.
fn part(times: &[u64], word: &str, bound: &str) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    match sorted.get(sorted.len() / 2) {
        None => format!(", 0 {word}"),
        Some(middle) => {
            format!(", {} {word} (by {bound} {:.1} s in the middle)", times.len(), *middle as f64 / 1_000.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timing;

    const HOLD: (bool, bool) = (false, false);
    const THEN: (bool, bool) = (true, false);
    const NOW: (bool, bool) = (false, true);
    const BOTH: (bool, bool) = (true, true);

    fn timed(shop: &[(u64, (bool, bool))]) -> Timing {
        let mut timing = Timing::default();
        for (at, moves) in shop {
            timing.note("shop", *at, *moves);
            timing.note("another", *at, HOLD);
        }
        timing
    }

    #[test]
    fn the_first_moves_of_an_incident_are_held_against_each_other_once() {
        let timing =
            timed(&[(0, HOLD), (10, NOW), (20, NOW), (35, BOTH), (40, THEN), (50, HOLD), (60, BOTH), (70, BOTH)]);
        assert_eq!((timing.together, &timing.sooner_ms[..], &timing.later_ms[..]), (1, &[25][..], &[][..]));
        let timing = timed(&[(10, THEN), (20, THEN), (35, BOTH), (36, HOLD), (40, THEN), (90, NOW), (95, HOLD)]);
        assert_eq!((timing.together, &timing.sooner_ms[..], &timing.later_ms[..]), (0, &[][..], &[25, 50][..]));
        assert_eq!(timing.line(), "0 moves together, 0 sooner, 2 later (by at most 0.1 s in the middle)");
    }

    #[test]
    fn moves_of_two_incidents_and_of_one_alone_are_not_timed() {
        let timing = timed(&[(10, NOW), (20, HOLD), (30, THEN), (40, HOLD), (50, NOW)]);
        assert_eq!((timing.together, timing.sooner_ms.len(), timing.later_ms.len()), (0, 0, 0));
        assert!(timing.line().starts_with("nothing to tell"), "{}", timing.line());
    }
}
