//! One recorded decision beside the candidate's: what is the same, what moved, and what nobody can tell.

use serde::Serialize;
use tidegate_engine::Answer;
use tidegate_kernel::contract::{Decision, Situation};
use tidegate_kernel::event::Read;
use tidegate_kernel::record::Decided;

use crate::cli::text::{Tone, paint, said as line};
use crate::said::{self, Said};

/// One record beside the candidate.
pub(super) struct Compared {
    pub(super) n: u64,
    /// Whose decision it holds, and when it was made, by the clock that never jumps.
    pub(super) of: Option<(String, u64)>,
    /// Decisions that it only counts.
    pub(super) counted: u64,
    pub(super) outcome: Outcome,
}

/// What one record came to.
pub(super) enum Outcome {
    /// It holds no decision.
    NoDecision,
    /// Its situation is only named, by this hash, and no earlier record holds it.
    Elsewhere(String),
    /// Nobody can tell, because of this.
    CannotTell(String),
    /// Both were told.
    Told(Told),
}

/// A decision of both.
pub(super) struct Told {
    pub(super) costs: Costs,
    /// Whether each of them moves.
    pub(super) moves: (bool, bool),
    /// The candidate may have had another memory, had it been asked all along.
    pub(super) unsure: bool,
    /// None = it is unchanged.
    pub(super) difference: Option<Box<Difference>>,
}

/// Microseconds and units of work of both.
pub(super) struct Costs {
    pub(super) then: (u64, u64),
    pub(super) now: (u64, u64),
}

/// In which way they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Another analysis or other reasons for the same move, or another verdict where neither moves.
    Changed,
    /// Only the candidate moves.
    MoveAdded,
    /// Only the one before moved.
    MoveRemoved,
    /// Both move, and not alike.
    MoveChanged,
    /// The candidate gave no decision.
    Fault,
}

/// Both, side by side.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// The record's number.
    pub record: u64,
    /// When it was decided, milliseconds since 1970.
    pub at: u64,
    /// Of which service.
    pub service: String,
    /// In which way they differ.
    pub kind: Kind,
    /// What was said then.
    pub then: Said,
    /// What the candidate says.
    pub now: Said,
}

/// Holds the candidate's answer against the record's; none = it is unchanged.
pub(super) fn compare(record: u64, at: u64, then: &Decided, now: Result<Decision, String>) -> Option<Difference> {
    let kind = kind(&then.result, &now)?;
    let (service, then, now) = (then.service.clone(), Said::of(&then.result), Said::of(&now));
    Some(Difference { record, at, service, kind, then, now })
}

/// The first answer that was read and that neither the record nor its situation holds.
pub(super) fn unknown(situation: &Situation, then: &[Read], now: &[Answer]) -> Option<String> {
    let recorded = |answer: &Answer| {
        let arguments = serde_json::Value::from(answer.arguments.clone()).to_string();
        then.iter().any(|read| read.capability == answer.capability && read.arguments == arguments)
    };
    let own = |answer: &Answer| {
        let argument = |at: usize| answer.arguments.get(at).map(String::as_str);
        match answer.capability.as_str() {
            "health.observations" | "health.agreed" => {
                argument(0) == Some(&situation.service)
                    && situation.sites.iter().any(|view| Some(view.site.as_str()) == argument(1))
            }
            "replication.topology" => situation.cluster.as_ref().map(|cluster| cluster.name.as_str()) == argument(0),
            "dns.resolve" => situation.route.as_ref().map(|route| route.name.as_str()) == argument(0),
            _ => false,
        }
    };
    let unknown = now.iter().find(|answer| !recorded(answer) && !own(answer));
    unknown.map(|answer| format!("{}({})", answer.capability, answer.arguments.join(", ")))
}

/// Whether it is a decision to move.
pub(super) fn moved<Fault>(said: &Result<Decision, Fault>) -> bool {
    said.as_ref().is_ok_and(|decision| decision.verdict.moves())
}

/// None = the same verdict, for the same analysis and reasons.
fn kind(then: &Result<Decision, String>, now: &Result<Decision, String>) -> Option<Kind> {
    match (then, now) {
        (Err(before), Err(after)) if before == after => None,
        (_, Err(_)) => Some(Kind::Fault),
        _ if moved(now) && !moved(then) => Some(Kind::MoveAdded),
        _ if moved(then) && !moved(now) => Some(Kind::MoveRemoved),
        (Ok(before), Ok(after)) if moved(now) && !said::same(&before.verdict, &after.verdict) => {
            Some(Kind::MoveChanged)
        }
        (Ok(before), Ok(after)) if same_words(before, after) => None,
        _ => Some(Kind::Changed),
    }
}

fn same_words(before: &Decision, after: &Decision) -> bool {
    before.verdict == after.verdict && before.analysis == after.analysis && before.reasons == after.reasons
}

impl Difference {
    /// For people.
    pub(super) fn lines(&self) -> String {
        let tone = match self.kind {
            Kind::MoveAdded | Kind::MoveRemoved | Kind::MoveChanged | Kind::Fault => Tone::Bad,
            Kind::Changed => Tone::Warning,
        };
        let kind = match self.kind {
            Kind::MoveAdded => "MOVE ADDED",
            Kind::MoveRemoved => "MOVE REMOVED",
            Kind::MoveChanged => "MOVE CHANGED",
            Kind::Fault => "FAULT",
            Kind::Changed => "changed",
        };
        let (record, service) = (self.record, &self.service);
        format!(
            "{} record {record}, {service}\n   then: {}\n   now:  {}\n",
            paint(kind, tone),
            line(&self.then),
            line(&self.now)
        )
    }
}

#[cfg(test)]
mod tests {
    use tidegate_engine::Answer;
    use tidegate_kernel::contract::{Move, Reason, Verdict};
    use tidegate_kernel::event::Read;

    use super::*;

    fn said(verdict: Verdict, analysis: &str) -> Result<Decision, String> {
        Ok(Decision {
            verdict,
            analysis: analysis.into(),
            reasons: Vec::new(),
            vetoes: Vec::new(),
            would_change_if: Vec::new(),
            ask_again_in: None,
            memo: String::new(),
            facts: Vec::new(),
        })
    }

    fn to(site: &str) -> Verdict {
        Verdict::FailOver(Move { to_site: site.into(), promote: Vec::new(), shifts: Vec::new(), expected_loss: None })
    }

    #[test]
    fn what_moves_is_told_from_what_only_says_otherwise() {
        let fault = || Err("the policy crashed".to_owned());
        let hold = || said(Verdict::Hold, "healthy");
        let otherwise = |change: fn(&mut Decision)| {
            let mut decision = said(to("west"), "dead").unwrap();
            change(&mut decision);
            Ok(decision)
        };
        let dearer = otherwise(|decision| {
            if let Verdict::FailOver(there) = &mut decision.verdict {
                there.expected_loss = Some(Default::default());
            }
        });
        for (then, now, kind) in [
            (hold(), hold(), None),
            (hold(), said(Verdict::Hold, "degraded"), Some(Kind::Changed)),
            (hold(), said(to("west"), "dead"), Some(Kind::MoveAdded)),
            (said(to("west"), "dead"), hold(), Some(Kind::MoveRemoved)),
            (said(to("west"), "dead"), said(to("north"), "dead"), Some(Kind::MoveChanged)),
            (said(to("west"), "dead"), said(to("west"), "lost"), Some(Kind::Changed)),
            (said(to("west"), "dead"), otherwise(|said| said.reasons.push(Reason::new("a", "b"))), Some(Kind::Changed)),
            (said(to("west"), "dead"), otherwise(|said| said.memo = "m".into()), None),
            (said(to("west"), "dead"), dearer, Some(Kind::Changed)),
            (hold(), fault(), Some(Kind::Fault)),
            (fault(), fault(), None),
            (fault(), said(to("west"), "dead"), Some(Kind::MoveAdded)),
            (fault(), hold(), Some(Kind::Changed)),
        ] {
            assert_eq!(super::kind(&then, &now), kind, "{then:?} → {now:?}");
        }
    }

    #[test]
    fn what_the_record_does_not_hold_is_not_answered() {
        let situation = tidegate_engine::neutral::situation();
        let asks = |capability: &str, arguments: &[&str]| Answer {
            capability: capability.into(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            result: serde_json::Value::Null,
        };
        let (service, site) = (situation.service.as_str(), situation.sites[0].site.as_str());
        let own = asks("health.agreed", &[service, site]);
        assert_eq!(unknown(&situation, &[], &[own]), None);
        let other = asks("health.agreed", &["other", site]);
        let told = unknown(&situation, &[], std::slice::from_ref(&other)).unwrap();
        assert!(told.starts_with("health.agreed(other, "), "{told}");
        let arguments = serde_json::json!(["other", site]).to_string();
        let read = Read { capability: "health.agreed".into(), arguments, answer: "null".into() };
        assert_eq!(unknown(&situation, &[read], &[other]), None);
    }
}
