//! Does a decision make sense for the question it answers? Shape only: whether it is wise is the guard's business.
//!
//! Knows no service state beyond the question itself.

use std::collections::BTreeSet;
use tidegate_kernel::contract::{Candidate, Decision, Move, Reason, Share, Situation, State, Strategy, Verdict};

/// What a memo may hold, by the contract.
const MEMO_BYTES: usize = 4 << 10;

/// The first thing that is wrong with it, in words.
pub(crate) fn check(decision: &Decision, situation: &Situation) -> Result<(), String> {
    let names = Names::of(situation);
    if decision.memo.len() > MEMO_BYTES {
        return Err(format!("its memo has {} bytes; 4096 are the most", decision.memo.len()));
    }
    for reason in
        decision.reasons.iter().chain(&decision.would_change_if).chain(decision.vetoes.iter().map(|veto| &veto.reason))
    {
        check_reason(reason)?;
    }
    for veto in &decision.vetoes {
        match &veto.candidate {
            Candidate::Site(site) => names.site(site)?,
            Candidate::Node(node) => names.node(node)?,
        }
    }
    check_verdict(&decision.verdict, &names, situation)
}

struct Names<'a> {
    sites: BTreeSet<&'a str>,
    nodes: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    fn of(situation: &'a Situation) -> Self {
        Names {
            sites: situation.sites.iter().map(|view| view.site.as_str()).collect(),
            nodes: situation.cluster.iter().flat_map(|cluster| &cluster.nodes).map(|node| node.id.as_str()).collect(),
        }
    }

    fn site(&self, site: &str) -> Result<(), String> {
        self.sites
            .contains(site)
            .then_some(())
            .ok_or_else(|| format!("it names the site {}, which it was not told of", short(site)))
    }

    fn node(&self, node: &str) -> Result<(), String> {
        self.nodes
            .contains(node)
            .then_some(())
            .ok_or_else(|| format!("it names the node {}, which it was not told of", short(node)))
    }
}

pub(super) fn check_reason(reason: &Reason) -> Result<(), String> {
    let stable = !reason.code.is_empty() && reason.code.len() <= 64;
    let stable = stable && reason.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    stable
        .then_some(())
        .ok_or_else(|| format!("the code {} of a reason is not kebab-case of 1 to 64 letters", short(&reason.code)))
}

fn check_verdict(verdict: &Verdict, names: &Names, situation: &Situation) -> Result<(), String> {
    match verdict {
        Verdict::Hold => Ok(()),
        Verdict::ProbeMore(looks) if looks.is_empty() => Err("it wants to look again, at nothing".into()),
        Verdict::ProbeMore(looks) => looks.iter().try_for_each(|look| {
            names.site(&look.site)?;
            look.node.iter().try_for_each(|node| names.node(node))
        }),
        Verdict::SwitchOver(to) | Verdict::FailOver(to) | Verdict::FailBack(to) => check_move(to, names, situation),
        Verdict::Rebalance(shares) => check_shares(shares, names),
        Verdict::Fence(nodes) if nodes.is_empty() => Err("it fences no node".into()),
        Verdict::Fence(nodes) => nodes.iter().try_for_each(|node| names.node(node)),
        Verdict::Run(run) if run.runbook.is_empty() => Err("it runs a runbook without a name".into()),
        Verdict::Run(_) => Ok(()),
        Verdict::Ask(question) if question.text.is_empty() => Err("it asks a question without words".into()),
        Verdict::Ask(question) => question.options.iter().try_for_each(|option| check_move(option, names, situation)),
    }
}

fn check_move(to: &Move, names: &Names, situation: &Situation) -> Result<(), String> {
    names.site(&to.to_site)?;
    if to.to_site == situation.active_site && !may_stay(situation) {
        return Err(format!("it moves to {}, where the service already is", to.to_site));
    }
    to.promote.iter().try_for_each(|node| names.node(node))?;
    let mut before = 0;
    for shift in &to.shifts {
        if shift.share <= before || shift.share > 100 {
            return Err(format!(
                "its shifts go from {before} to {} per cent; each must be more than the last, up to 100",
                shift.share
            ));
        }
        before = shift.share;
    }
    let whole = to.shifts.is_empty() || before == 100;
    whole.then_some(()).ok_or_else(|| format!("its last shift is {before} per cent; it must be 100"))
}

/// To where the service already is: other shares, or back while a move is under way.
fn may_stay(situation: &Situation) -> bool {
    situation.strategy == Strategy::ActiveActive || matches!(situation.state, State::FailingOver | State::FailingBack)
}

fn check_shares(shares: &[Share], names: &Names) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for share in shares {
        names.site(&share.site)?;
        if !seen.insert(share.site.as_str()) {
            return Err(format!("it gives {} two shares", share.site));
        }
    }
    let sum: u64 = shares.iter().map(|share| u64::from(share.per_cent)).sum();
    (sum == 100).then_some(()).ok_or_else(|| format!("its shares add up to {sum} per cent, not 100"))
}

/// A hostile name may be long, and ends up in a log.
pub(super) fn short(name: &str) -> String {
    let end = name.char_indices().nth(60).map_or(name.len(), |(end, _)| end);
    format!("{:?}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::neutral;
    use tidegate_kernel::contract::{Shift, Veto};

    fn decision(verdict: Verdict) -> Decision {
        Decision {
            verdict,
            analysis: String::new(),
            reasons: vec![],
            vetoes: vec![],
            would_change_if: vec![],
            ask_again_in: None,
            memo: String::new(),
            facts: vec![],
        }
    }

    fn to(site: &str, shares: &[u32]) -> Move {
        let shifts = shares.iter().map(|share| Shift { share: *share, hold: 1 }).collect();
        Move { to_site: site.into(), promote: vec![], shifts, expected_loss: None }
    }

    fn share(site: &str, per_cent: u32) -> Share {
        Share { site: site.into(), per_cent }
    }

    #[test]
    fn only_decisions_about_what_was_asked_pass() {
        let cases = [
            (Verdict::Hold, None),
            (Verdict::FailOver(to("b", &[])), None),
            (Verdict::FailOver(to("b", &[10, 100])), None),
            (Verdict::FailOver(to("b", &[10, 50])), Some("must be 100")),
            (Verdict::FailOver(to("b", &[50, 10])), Some("more than the last")),
            (Verdict::FailOver(to("mars", &[])), Some("not told of")),
            (Verdict::FailBack(to("a", &[])), Some("already is")),
            (Verdict::Rebalance(vec![share("a", 50), share("b", 50)]), None),
            (Verdict::Rebalance(vec![share("a", 50), share("b", 51)]), Some("add up to 101")),
            (Verdict::Rebalance(vec![share("a", u32::MAX), share("b", u32::MAX)]), Some("add up to")),
            (Verdict::Rebalance(vec![share("a", 50), share("a", 50)]), Some("two shares")),
            (Verdict::Fence(vec!["x".into()]), Some("not told of")),
            (Verdict::Fence(vec![]), Some("no node")),
            (Verdict::ProbeMore(vec![]), Some("at nothing")),
        ];
        for (verdict, complaint) in cases {
            let found = check(&decision(verdict.clone()), &neutral::situation());
            match complaint {
                None => assert_eq!(found, Ok(()), "{verdict:?}"),
                Some(text) => assert!(found.clone().unwrap_err().contains(text), "{verdict:?}: {found:?}"),
            }
        }
    }

    /// A move that is under way can be taken back; whether it is, and how, is the host's business.
    #[test]
    fn between_two_shifts_the_way_back_is_a_move_like_any_other() {
        let back = || decision(Verdict::SwitchOver(to("a", &[])));
        for (state, passes) in [
            (State::Normal, false),
            (State::Degraded, false),
            (State::FailingOver, true),
            (State::FailedOver, false),
            (State::FailingBack, true),
        ] {
            let situation = Situation { state, ..neutral::situation() };
            assert_eq!(check(&back(), &situation).is_ok(), passes, "{state:?}");
        }
    }

    #[test]
    fn memo_codes_and_vetoes_are_checked_too() {
        let mut long = decision(Verdict::Hold);
        long.memo = "x".repeat(4_097);
        let mut shouting = decision(Verdict::Hold);
        shouting.reasons = vec![Reason::new("Not Kebab", "")];
        let mut stranger = decision(Verdict::Hold);
        stranger.vetoes = vec![Veto { candidate: Candidate::Site("mars".into()), reason: Reason::new("far", "") }];
        for (wrong, complaint) in [(long, "4096"), (shouting, "kebab-case"), (stranger, "not told of")] {
            assert!(check(&wrong, &neutral::situation()).unwrap_err().contains(complaint));
        }
    }
}
