//! The rule of consensus: its table, and what holds for any votes whatsoever.

use proptest::prelude::*;
use tidegate_kernel::consensus::{Ballot, Rule, Tally, Vote};
use tidegate_kernel::contract::Status;

fn tally(votes: &[Vote]) -> Tally {
    Tally::count(votes.iter().copied(), &mut Vec::new())
}

fn rule(expected: u32) -> Rule {
    Rule { expected, bad_fraction: 0.5, one_domain_suffices: false }
}

/// One vote of a domain of its own for each letter: g good, s slow, b bad, - none.
fn votes(letters: &str) -> Vec<Vote> {
    let ballot = |letter| match letter {
        'g' => Some(Ballot::Good),
        's' => Some(Ballot::Slow),
        'b' => Some(Ballot::Bad),
        _ => None,
    };
    letters.chars().zip(0..).map(|(letter, domain)| Vote { domain, ballot: ballot(letter) }).collect()
}

fn status_of(letters: &str, rule: &Rule) -> Status {
    tally(&votes(letters)).status(rule)
}

#[test]
fn the_table_holds() {
    use Status::{Degraded, Healthy, Unhealthy, Unknown};
    let cases = [
        // A dead site takes its own agent with it, or has not yet: the others agree.
        ("-bb", Unhealthy),
        ("gbb", Unhealthy),
        // One that is cut off sees everything bad.
        ("ggb", Healthy),
        ("g-b", Unknown),
        // No majority of the expected is heard.
        ("--b", Unknown),
        ("--g", Unknown),
        ("---", Unknown),
        ("-b", Unknown),
        ("bb", Unhealthy),
        ("gb", Unknown),
        // Half of the expected is not more than half.
        ("gbbb", Unhealthy),
        ("-gbb", Unknown),
        ("bb--", Unknown),
        ("ggbbb", Unhealthy),
        ("--gbb", Unknown),
        ("gss", Degraded),
        ("ggs", Healthy),
        ("gsb", Degraded),
        ("gs", Healthy),
        ("ss", Degraded),
        ("sb", Unknown),
        // The word of a single domain, where there is no other.
        ("g", Healthy),
        ("s", Degraded),
        ("b", Unknown),
    ];
    for (letters, expected) in cases {
        assert_eq!(status_of(letters, &rule(letters.len() as u32)), expected, "{letters}");
    }
}

#[test]
fn one_domain_suffices_where_it_is_declared_and_no_other_contradicts() {
    use Status::{Healthy, Unhealthy, Unknown};
    for (letters, expected) in [("b", Unhealthy), ("-b", Unhealthy), ("gb", Unknown), ("--g", Healthy), ("--", Unknown)]
    {
        let rule = Rule { one_domain_suffices: true, ..rule(letters.len() as u32) };
        assert_eq!(status_of(letters, &rule), expected, "{letters}");
    }
}

#[test]
fn a_larger_fraction_asks_for_more_agreement() {
    for (fraction, expected) in [(0.5, Status::Unhealthy), (2.0 / 3.0, Status::Unhealthy), (0.7, Status::Unknown)] {
        assert_eq!(status_of("gbb", &Rule { bad_fraction: fraction, ..rule(3) }), expected, "{fraction}");
    }
    assert_eq!(status_of("bbb", &Rule { bad_fraction: 1.0, ..rule(3) }), Status::Unhealthy);
}

#[test]
fn those_who_agree_are_counted() {
    let cases = [("ggb", 2), ("gbb", 2), ("gss", 2), ("g-b", 1)];
    for (letters, agreeing) in cases {
        let tally = tally(&votes(letters));
        assert_eq!(tally.agreeing(tally.status(&rule(3))), agreeing, "{letters}");
    }
}

fn any_ballot() -> impl Strategy<Value = Option<Ballot>> {
    prop_oneof![Just(None), Just(Some(Ballot::Good)), Just(Some(Ballot::Slow)), Just(Some(Ballot::Bad))]
}

fn any_votes() -> impl Strategy<Value = Vec<Vote>> {
    prop::collection::vec((0u16..6, any_ballot()).prop_map(|(domain, ballot)| Vote { domain, ballot }), 0..14)
}

fn domains(votes: &[Vote]) -> u32 {
    let mut domains: Vec<u16> = votes.iter().map(|vote| vote.domain).collect();
    domains.sort_unstable();
    domains.dedup();
    domains.len() as u32
}

/// At least as many domains as vote are expected.
fn any_case() -> impl Strategy<Value = (Vec<Vote>, Rule)> {
    (any_votes(), 0u32..4, 0.5f64..=1.0, any::<bool>()).prop_map(
        |(votes, silent, bad_fraction, one_domain_suffices)| {
            let expected = domains(&votes) + silent;
            (votes, Rule { expected, bad_fraction, one_domain_suffices })
        },
    )
}

proptest! {
    #[test]
    fn unhealthy_takes_a_majority_of_the_expected((votes, rule) in any_case()) {
        let tally = tally(&votes);
        if tally.status(&rule) == Status::Unhealthy && !rule.one_domain_suffices {
            prop_assert!(2 * tally.voting() > rule.expected);
            prop_assert!(2 * u32::from(tally.bad) > rule.expected);
            prop_assert!(f64::from(tally.bad) + 1e-6 >= rule.bad_fraction * f64::from(tally.voting()));
        }
    }

    #[test]
    fn one_who_cannot_vote_turns_nothing_unhealthy((votes, rule) in any_case(), domain in 0u16..8) {
        let with = [votes.clone(), vec![Vote { domain, ballot: None }]].concat();
        let wider = Rule { expected: rule.expected.max(domains(&with)), ..rule };
        if tally(&votes).status(&rule) != Status::Unhealthy {
            prop_assert_ne!(tally(&with).status(&wider), Status::Unhealthy);
        }
    }

    #[test]
    fn the_order_of_the_votes_is_nothing((votes, rule) in any_case(), seed in any::<u64>()) {
        let mut shuffled = votes.clone();
        shuffled.sort_by_key(|vote| (u64::from(vote.domain) + 1).wrapping_mul(seed | 1).rotate_left(17));
        prop_assert_eq!(tally(&votes), tally(&shuffled));
        shuffled.reverse();
        prop_assert_eq!(tally(&votes).status(&rule), tally(&shuffled).status(&rule));
    }

    #[test]
    fn a_domain_with_many_points_counts_once(points in prop::collection::vec(any_ballot(), 1..50), (votes, _) in any_case()) {
        let domain = 99;
        let crowd = points.iter().map(|ballot| Vote { domain, ballot: *ballot });
        let without = tally(&votes).voting();
        let with = Tally::count(votes.iter().copied().chain(crowd), &mut Vec::new()).voting();
        prop_assert!(with <= without + 1);
    }

    #[test]
    fn a_domain_says_bad_only_if_all_its_points_do(points in prop::collection::vec(any_ballot(), 1..10)) {
        let tally = tally(&points.iter().map(|ballot| Vote { domain: 0, ballot: *ballot }).collect::<Vec<_>>());
        let said: Vec<Ballot> = points.iter().flatten().copied().collect();
        prop_assert_eq!(tally.bad == 1, !said.is_empty() && said.iter().all(|ballot| *ballot == Ballot::Bad));
    }

    #[test]
    fn falling_silent_turns_nothing_unhealthy((votes, rule) in any_case(), silent in any::<prop::sample::Index>()) {
        let rule = Rule { bad_fraction: 0.5, one_domain_suffices: false, ..rule };
        prop_assume!(!votes.is_empty());
        let domain = votes[silent.index(votes.len())].domain;
        let muted: Vec<Vote> = votes.iter()
            .map(|vote| if vote.domain == domain { Vote { ballot: None, ..*vote } } else { *vote })
            .collect();
        if tally(&votes).status(&rule) != Status::Unhealthy {
            prop_assert_ne!(tally(&muted).status(&rule), Status::Unhealthy);
        }
    }

    #[test]
    fn whoever_said_bad_or_nothing_may_fall_silent_at_any_fraction((votes, rule) in any_case(), domain in 0u16..6) {
        let rule = Rule { one_domain_suffices: false, ..rule };
        let muted: Vec<Vote> = votes.iter()
            .map(|vote| if vote.domain == domain { Vote { ballot: None, ..*vote } } else { *vote })
            .collect();
        let contradicted = votes.iter().any(|vote| vote.domain == domain && matches!(vote.ballot, Some(Ballot::Good | Ballot::Slow)));
        if !contradicted && tally(&votes).status(&rule) != Status::Unhealthy {
            prop_assert_ne!(tally(&muted).status(&rule), Status::Unhealthy);
        }
    }
}
