//! The life of a service as a numbered table: from where, on what, to where.
//!
//! Knows nothing of why something happens; health, guard and runs say *that* it does.

use crate::contract::State;
use crate::rules::{self, RuleNumber};

/// What can happen to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trigger {
    /// Where it is served it is no longer well.
    Worse,
    /// Where it is served it is well again.
    Better,
    /// A run begins to move it away from where it is, and not home.
    Leaving,
    /// A run begins to move it home.
    Returning,
    /// The run has ended, and it is not at home.
    ArrivedAway,
    /// The run has ended, and it is at home.
    ArrivedHome,
    /// The run was undone, and it is where it was: not at home.
    UndoneAway,
    /// The run was undone, and it is where it was: at home.
    UndoneHome,
    /// The fleet file made the place where it is its home.
    RehomedHere,
    /// The fleet file made another place its home.
    RehomedAway,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its number in [`rules`].
    pub number: RuleNumber,
    /// Where the service is.
    pub from: State,
    /// What happens.
    pub on: Trigger,
    /// Where it then is.
    pub to: State,
}

const fn rule(number: RuleNumber, from: State, on: Trigger, to: State) -> Rule {
    Rule { number, from, on, to }
}

/// The whole table. What is not in it changes nothing.
pub const RULES: &[Rule] = {
    use State::{Degraded, FailedOver, FailingBack, FailingOver, Normal};
    use Trigger::{
        ArrivedAway, ArrivedHome, Better, Leaving, RehomedAway, RehomedHere, Returning, UndoneAway, UndoneHome, Worse,
    };
    &[
        rule(rules::WORSE, Normal, Worse, Degraded),
        rule(rules::BETTER, Degraded, Better, Normal),
        rule(rules::LEAVE, Normal, Leaving, FailingOver),
        rule(rules::LEAVE, Degraded, Leaving, FailingOver),
        rule(rules::LEAVE_AGAIN, FailedOver, Leaving, FailingOver),
        rule(rules::ARRIVE_AWAY, FailingOver, ArrivedAway, FailedOver),
        rule(rules::ARRIVE_HOME, FailingOver, ArrivedHome, Normal),
        rule(rules::RETURN, FailedOver, Returning, FailingBack),
        rule(rules::RETURNED, FailingBack, ArrivedHome, Normal),
        rule(rules::STAY_HOME, FailingOver, UndoneHome, Degraded),
        rule(rules::STAY_AWAY, FailingOver, UndoneAway, FailedOver),
        rule(rules::STAY_RETURN, FailingBack, UndoneAway, FailedOver),
        // The fleet file may change what home is while a move is under way.
        rule(rules::ARRIVE_AWAY, FailingBack, ArrivedAway, FailedOver),
        rule(rules::STAY_HOME, FailingBack, UndoneHome, Degraded),
        rule(rules::REHOMED_HERE, FailedOver, RehomedHere, Normal),
        rule(rules::REHOMED_AWAY, Normal, RehomedAway, FailedOver),
        rule(rules::REHOMED_AWAY, Degraded, RehomedAway, FailedOver),
    ]
};

/// The rule that fires in `state` on `trigger`, if there is one.
pub fn fires(state: State, trigger: Trigger) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.from == state && rule.on == trigger)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const TRIGGERS: &[Trigger] = &[
        Trigger::Worse,
        Trigger::Better,
        Trigger::Leaving,
        Trigger::Returning,
        Trigger::ArrivedAway,
        Trigger::ArrivedHome,
        Trigger::UndoneAway,
        Trigger::UndoneHome,
        Trigger::RehomedHere,
        Trigger::RehomedAway,
    ];

    fn reachable(from: State) -> BTreeSet<State> {
        let mut seen = BTreeSet::from([from]);
        loop {
            let next: BTreeSet<State> =
                RULES.iter().filter(|rule| seen.contains(&rule.from)).map(|rule| rule.to).collect();
            if next.is_subset(&seen) {
                return seen;
            }
            seen.extend(next);
        }
    }

    #[test]
    fn every_state_is_reached_from_normal_and_left_for_normal() {
        for &state in State::ALL {
            assert!(reachable(State::Normal).contains(&state), "{state} is never reached");
            assert!(reachable(state).contains(&State::Normal), "{state} never ends");
            assert!(RULES.iter().any(|rule| rule.from == state), "{state} is never left");
        }
    }

    #[test]
    fn no_two_rules_answer_the_same() {
        let keys: BTreeSet<(State, Trigger)> = RULES.iter().map(|rule| (rule.from, rule.on)).collect();
        assert_eq!(keys.len(), RULES.len());
    }

    #[test]
    fn every_rule_has_a_sentence_and_no_number_is_used_twice() {
        for rule in RULES {
            assert!(rules::text(rule.number).is_some(), "rule {} has no sentence", rule.number);
        }
        let numbers: BTreeSet<RuleNumber> = rules::ALL.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers.len(), rules::ALL.len());
    }

    proptest! {
        /// Whatever happens in whatever order: a move that began is the only way from home to elsewhere and back.
        #[test]
        fn only_a_move_or_the_fleet_file_changes_the_place(steps in prop::collection::vec(0..TRIGGERS.len(), 0..200)) {
            let mut state = State::Normal;
            for trigger in steps.into_iter().map(|step| TRIGGERS[step]) {
                let Some(rule) = fires(state, trigger) else { continue };
                let away = |state| matches!(state, State::FailedOver);
                if away(rule.from) != away(rule.to) && !matches!(rule.from, State::FailingOver | State::FailingBack) {
                    let moved = matches!(trigger, Trigger::Leaving | Trigger::Returning);
                    prop_assert!(moved || matches!(trigger, Trigger::RehomedHere | Trigger::RehomedAway));
                }
                state = rule.to;
            }
        }
    }
}
