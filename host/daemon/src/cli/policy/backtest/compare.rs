//! One recorded decision beside the candidate's: what is the same, what moved, and what nobody can tell.

use serde::Serialize;
use tidegate_engine::Answer;
use tidegate_kernel::contract::{Decision, Reason, Situation};
use tidegate_kernel::event::Read;
use tidegate_kernel::record::Decided;

use crate::cli::explain;
use crate::cli::text::{Tone, one_line, paint};

/// What one record came to, with how many equal decisions it counts.
pub(super) enum Outcome {
    /// It holds no decision.
    Counted(u64),
    /// Nobody can tell, because of this.
    CannotTell(String, u64),
    /// Both were told.
    Told(Difference, u64),
}

/// In which way they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The same verdict for the same analysis.
    Unchanged,
    /// Another verdict or analysis, and no move either way.
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

/// A verdict and why; or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// As people read it.
    pub verdict: String,
    /// The analysis' code.
    pub analysis: String,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// Holds the candidate's answer against the record's.
pub(super) fn compare(record: u64, at: u64, then: &Decided, now: Result<Decision, String>) -> Difference {
    let kind = kind(&then.result, &now);
    Difference { record, at, service: then.service.clone(), kind, then: Said::of(&then.result), now: Said::of(&now) }
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

fn kind(then: &Result<Decision, String>, now: &Result<Decision, String>) -> Kind {
    let moved = |said: &Result<Decision, String>| said.as_ref().is_ok_and(|decision| decision.verdict.moves());
    match (then, now) {
        (Err(before), Err(after)) if before == after => Kind::Unchanged,
        (_, Err(_)) => Kind::Fault,
        _ if moved(now) && !moved(then) => Kind::MoveAdded,
        _ if moved(then) && !moved(now) => Kind::MoveRemoved,
        (Ok(before), Ok(after)) if before.verdict == after.verdict && before.analysis == after.analysis => {
            Kind::Unchanged
        }
        (Ok(before), Ok(after)) if moved(now) && before.verdict != after.verdict => Kind::MoveChanged,
        _ => Kind::Changed,
    }
}

impl Said {
    fn of(result: &Result<Decision, String>) -> Said {
        match result {
            Ok(decision) => Said {
                verdict: explain::verdict(&decision.verdict),
                analysis: decision.analysis.clone(),
                reasons: decision.reasons.clone(),
            },
            Err(fault) => Said { verdict: fault.clone(), analysis: String::new(), reasons: Vec::new() },
        }
    }

    fn line(&self) -> String {
        let reasons: Vec<&str> = self.reasons.iter().map(|reason| reason.text.as_str()).collect();
        one_line(&format!("{} [{}] {}", self.verdict, self.analysis, reasons.join("; ")))
    }
}

impl Difference {
    /// For people.
    pub(super) fn lines(&self) -> String {
        let tone = match self.kind {
            Kind::MoveAdded | Kind::MoveRemoved | Kind::MoveChanged | Kind::Fault => Tone::Bad,
            Kind::Changed | Kind::Unchanged => Tone::Warning,
        };
        let kind = match self.kind {
            Kind::MoveAdded => "MOVE ADDED",
            Kind::MoveRemoved => "MOVE REMOVED",
            Kind::MoveChanged => "MOVE CHANGED",
            Kind::Fault => "FAULT",
            Kind::Changed | Kind::Unchanged => "changed",
        };
        let (record, service) = (self.record, &self.service);
        format!(
            "{} record {record}, {service}\n   then: {}\n   now:  {}\n",
            paint(kind, tone),
            self.then.line(),
            self.now.line()
        )
    }
}

#[cfg(test)]
mod tests {
    use tidegate_engine::Answer;
    use tidegate_kernel::contract::{Move, Verdict};
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
        for (then, now, kind) in [
            (hold(), hold(), Kind::Unchanged),
            (hold(), said(Verdict::Hold, "degraded"), Kind::Changed),
            (hold(), said(to("west"), "dead"), Kind::MoveAdded),
            (said(to("west"), "dead"), hold(), Kind::MoveRemoved),
            (said(to("west"), "dead"), said(to("north"), "dead"), Kind::MoveChanged),
            (said(to("west"), "dead"), said(to("west"), "lost"), Kind::Changed),
            (hold(), fault(), Kind::Fault),
            (fault(), fault(), Kind::Unchanged),
            (fault(), said(to("west"), "dead"), Kind::MoveAdded),
            (fault(), hold(), Kind::Changed),
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
