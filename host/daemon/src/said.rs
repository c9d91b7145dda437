//! What a policy said, for those who hold one policy's word against another's, and in the words that people read.
//!
//! Knows neither who is compared nor what comes of a difference.

use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Decision, Move, Reason, Verdict};

/// A verdict and why; or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// As people read it.
    pub verdict: String,
    /// The analysis' code.
    pub analysis: String,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl Said {
    /// An answer, or the fault that was there in its stead.
    pub fn of(result: &Result<Decision, String>) -> Said {
        match result {
            Ok(decision) => Said {
                verdict: verdict(&decision.verdict),
                analysis: decision.analysis.clone(),
                reasons: decision.reasons.clone(),
            },
            Err(fault) => Said { verdict: fault.clone(), analysis: String::new(), reasons: Vec::new() },
        }
    }
}

/// What a policy that decides beside another is to be shown of itself the next time: its own memo, and as for the one that counts, none
/// after a fault.
pub fn remembered<Fault>(result: &Result<Decision, Fault>) -> &str {
    result.as_ref().map_or("", |decision| &decision.memo)
}

/// A verdict as a sentence's end.
pub fn verdict(verdict: &Verdict) -> String {
    let toward = |name: &str, to: &Move| match to.shifts.as_slice() {
        [] => format!("{name} to {}", to.to_site),
        shifts => format!(
            "{name} to {}, in shifts of {} %",
            to.to_site,
            shifts.iter().map(|shift| shift.share.to_string()).collect::<Vec<_>>().join(", ")
        ),
    };
    match verdict {
        Verdict::Hold => "hold".to_owned(),
        Verdict::ProbeMore(looks) => {
            format!("look again at {}", looks.iter().map(|look| look.site.as_str()).collect::<Vec<_>>().join(", "))
        }
        Verdict::SwitchOver(to) => toward("switch over", to),
        Verdict::FailOver(to) => toward("fail over", to),
        Verdict::FailBack(to) => toward("fail back", to),
        Verdict::Rebalance(shares) => format!(
            "rebalance: {}",
            shares.iter().map(|share| format!("{} {} %", share.site, share.per_cent)).collect::<Vec<_>>().join(", ")
        ),
        Verdict::Fence(nodes) => format!("fence {}", nodes.join(", ")),
        Verdict::Run(invocation) => format!("run {}", invocation.runbook),
        Verdict::Ask(question) => format!("ask: {}", question.text),
    }
}

/// Where one moves to, if it names one place.
pub fn destination(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::SwitchOver(to) | Verdict::FailOver(to) | Verdict::FailBack(to) => Some(&to.to_site),
        _ => None,
    }
}

/// Whether two verdicts come to the same. What a move expects to lose is an estimate, and the words of a question are words: neither
/// is part of where they lead.
pub fn same(one: &Verdict, other: &Verdict) -> bool {
    use Verdict::{Ask, FailBack, FailOver, SwitchOver};
    match (one, other) {
        (SwitchOver(a), SwitchOver(b)) | (FailOver(a), FailOver(b)) | (FailBack(a), FailBack(b)) => same_move(a, b),
        (Ask(a), Ask(b)) => {
            a.options.len() == b.options.len() && a.options.iter().zip(&b.options).all(|(a, b)| same_move(a, b))
        }
        _ => one == other,
    }
}

fn same_move(one: &Move, other: &Move) -> bool {
    one.to_site == other.to_site && one.promote == other.promote && one.shifts == other.shifts
}

#[cfg(test)]
mod tests {
    use tidegate_kernel::contract::Question;

    use super::*;

    fn to(site: &str, expected_loss: Option<u64>) -> Move {
        Move { to_site: site.into(), promote: Vec::new(), shifts: Vec::new(), expected_loss }
    }

    #[test]
    fn an_estimate_and_other_words_make_no_other_verdict() {
        let asks = |text: &str, site: &str| {
            Verdict::Ask(Question { text: text.into(), options: vec![to(site, Some(1))], expires_in: 0 })
        };
        let over = |site: &str, loss| Verdict::FailOver(to(site, loss));
        for (one, other, alike) in [
            (over("west", None), over("west", Some(7)), true),
            (over("west", None), over("north", None), false),
            (over("west", None), Verdict::SwitchOver(to("west", None)), false),
            (asks("lose 1 s?", "west"), asks("lose 2 s?", "west"), true),
            (asks("lose 1 s?", "west"), asks("lose 1 s?", "north"), false),
            (Verdict::Hold, Verdict::Hold, true),
        ] {
            assert_eq!(same(&one, &other), alike, "{one:?} and {other:?}");
        }
    }
}
