//! What a backtest found: counted, and put on one screen.

use std::collections::BTreeMap;

use serde::Serialize;

use super::compare::{Compared, Difference, Kind, Outcome, Told};
use super::timing::Timing;
use crate::cli::replay::{self, Replayed};
use crate::cli::text::{Tone, facts, paint};
use crate::journal::Head;

/// More would not fit the one screen; `--json` has all.
const SHOWN: usize = 12;
/// Of a situation that is only named.
const NOWHERE: &str = "neither its record nor an earlier one holds the situation";

/// Of a decision whose candidate had to begin anew.
const UNSURE: &str = "the candidate might remember something else here: the journal begins later than its memory would, or nobody can \
                      tell what it said before";

/// What a candidate would have decided.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backtested {
    /// The newest record of the journal that was read.
    pub journal: Head,
    /// What a crash left of a write, and is no part of the journal.
    pub torn: Option<String>,
    /// Recorded decisions.
    pub decisions: u64,
    /// Decisions equal to the one before them, which the journal only counted.
    pub counted_only: u64,
    /// The same verdict, for the same analysis and reasons.
    pub unchanged: u64,
    /// Another analysis or other reasons for the same move, or another verdict where neither moves.
    pub changed: u64,
    /// It would have moved, and nothing was.
    pub moves_added: u64,
    /// It would not have moved, and something was.
    pub moves_removed: u64,
    /// It would have moved elsewhere, or otherwise.
    pub moves_changed: u64,
    /// It gave no decision.
    pub faults: u64,
    /// Nobody can tell, by why.
    pub cannot_tell: BTreeMap<String, u64>,
    /// Decisions of the candidate that rest on a memory which it might not have had: of a service whose first decision in the journal
    /// was made with a memo, or after one that nobody can tell.
    pub unsure_memory: u64,
    /// How much sooner or later it moves.
    pub time_to_verdict: Timing,
    /// What the decisions took then of which both can be told.
    pub then: Cost,
    /// What the candidate's took of the same.
    pub now: Cost,
    /// Everything that is not unchanged, in the order of the record.
    pub differences: Vec<Difference>,
    /// What came of asking those that decided then.
    pub verified: Option<Replayed>,
    /// Whether each of them said the same to the last byte; none = they were not asked.
    pub proven: Option<bool>,
}

/// What decisions cost.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cost {
    /// Microseconds; half took no longer.
    pub took_us_p50: u64,
    /// Microseconds; ninety-nine of a hundred took no longer.
    pub took_us_p99: u64,
    /// Units of work; half did no more.
    pub fuel_p50: u64,
    /// Units of work; ninety-nine of a hundred did no more.
    pub fuel_p99: u64,
}

impl Backtested {
    /// Adds what came of asking those that decided then.
    pub(super) fn verify(&mut self, replayed: Replayed) {
        self.proven = Some(replayed.is_proven());
        self.verified = Some(replayed);
    }

    /// Whether nothing speaks against it: what was to be proven is, and the record follows its own rules.
    pub(super) fn stands(&self) -> bool {
        let follows = self.verified.as_ref().is_none_or(|replayed| replayed.problems.is_empty());
        follows && self.proven != Some(false)
    }

    pub(super) fn sum(all: Vec<Compared>) -> Self {
        let mut found = Backtested::default();
        let (mut then, mut now) = (Vec::new(), Vec::new());
        for Compared { of, counted, outcome, .. } in all {
            found.time(of.as_ref(), &outcome);
            found.counted_only += counted;
            found.decisions += u64::from(!matches!(outcome, Outcome::NoDecision));
            match outcome {
                Outcome::NoDecision => {}
                Outcome::Elsewhere(..) => *found.cannot_tell.entry(NOWHERE.to_owned()).or_default() += 1,
                Outcome::CannotTell(why) => *found.cannot_tell.entry(why).or_default() += 1,
                Outcome::Told(Told { costs, unsure, difference, .. }) => {
                    then.push(costs.then);
                    now.push(costs.now);
                    found.unsure_memory += u64::from(unsure);
                    *found.count(difference.as_ref().map(|difference| difference.kind)) += 1;
                    found.differences.extend(difference.map(|difference| *difference));
                }
            }
        }
        (found.then, found.now) = (Cost::of(&then), Cost::of(&now));
        found
    }

    fn time(&mut self, of: Option<&(String, u64)>, outcome: &Outcome) {
        match (of, outcome) {
            (Some((service, at)), Outcome::Told(told)) => self.time_to_verdict.note(service, *at, told.moves),
            (Some((service, _)), _) => self.time_to_verdict.end(service),
            (None, _) => {}
        }
    }

    fn count(&mut self, kind: Option<Kind>) -> &mut u64 {
        match kind {
            None => &mut self.unchanged,
            Some(Kind::Changed) => &mut self.changed,
            Some(Kind::MoveAdded) => &mut self.moves_added,
            Some(Kind::MoveRemoved) => &mut self.moves_removed,
            Some(Kind::MoveChanged) => &mut self.moves_changed,
            Some(Kind::Fault) => &mut self.faults,
        }
    }
}

impl Cost {
    fn of(costs: &[(u64, u64)]) -> Cost {
        let at = |mut values: Vec<u64>, per_cent: usize| {
            values.sort_unstable();
            let rank = (values.len() * per_cent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0)
        };
        let took: Vec<u64> = costs.iter().map(|(took, _)| *took).collect();
        let fuel: Vec<u64> = costs.iter().map(|(_, fuel)| *fuel).collect();
        Cost {
            took_us_p50: at(took.clone(), 50),
            took_us_p99: at(took, 99),
            fuel_p50: at(fuel.clone(), 50),
            fuel_p99: at(fuel, 99),
        }
    }
}

/// For people.
pub(super) fn page(found: &Backtested) -> String {
    let cost = |cost: &Cost| {
        let Cost { took_us_p50, took_us_p99, fuel_p50, fuel_p99 } = cost;
        format!("{took_us_p50} µs (p99 {took_us_p99}), fuel {fuel_p50} (p99 {fuel_p99})")
    };
    let mut text = facts(vec![
        ("journal", format!("{} records, head {}", found.journal.n, found.journal.hash)),
        ("decisions", format!("{}, and {} equal ones that were only counted", found.decisions, found.counted_only)),
        ("unchanged", found.unchanged.to_string()),
        ("changed", found.changed.to_string()),
        ("moves added", found.moves_added.to_string()),
        ("moves removed", found.moves_removed.to_string()),
        ("moves changed", found.moves_changed.to_string()),
        ("time to verdict", found.time_to_verdict.line()),
        ("faults", found.faults.to_string()),
        ("cannot tell", found.cannot_tell.values().sum::<u64>().to_string()),
        ("then", cost(&found.then)),
        ("now", cost(&found.now)),
    ]);
    text.push('\n');
    if let Some(torn) = &found.torn {
        text += &paint(format!("left out: an unfinished write, {torn}\n"), Tone::Warning);
    }
    if found.unsure_memory > 0 {
        text += &paint(format!("{} × {UNSURE}\n", found.unsure_memory), Tone::Warning);
    }
    for (why, count) in found.cannot_tell.iter().take(SHOWN) {
        text += &paint(format!("{count} × cannot tell: {why}\n"), Tone::Warning);
    }
    if found.cannot_tell.len() > SHOWN {
        text += &format!("and {} more reasons; --json has all\n", found.cannot_tell.len() - SHOWN);
    }
    for difference in found.differences.iter().take(SHOWN) {
        text += &difference.lines();
    }
    if found.differences.len() > SHOWN {
        text += &format!("and {} more; --json has all\n", found.differences.len() - SHOWN);
    }
    match &found.verified {
        Some(replayed) => text + &replay::page(replayed) + &replay::proof(replayed),
        None => text,
    }
}
