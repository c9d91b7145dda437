//! What a record tells a reader of an incident, a line for each thing that they would care for.
//!
//! Leaves out what differs from one machine or build to the next: digests, and what something took.

use crate::contract::Reason;
use crate::record::{Change, Record};
use crate::rules::RuleNumber;
use crate::state::Ruling;

/// Rules by which a service's life goes on; the others only note what is so.
const LIFE: std::ops::Range<RuleNumber> = 1..20;

/// Each line begins with its rule's number; when it was is for the caller to say.
pub fn lines(record: &Record) -> impl Iterator<Item = String> {
    record.transitions.iter().filter_map(|transition| {
        let rule = transition.rule;
        told(rule, &transition.change).map(|text| format!("{rule:>3} {text}"))
    })
}

fn told(rule: RuleNumber, change: &Change) -> Option<String> {
    Some(match change {
        Change::Life { service, life } if LIFE.contains(&rule) => {
            format!("{service} is {} at {}, epoch {}", life.state, life.active, life.epoch)
        }
        Change::Decision { service, last, .. } => {
            let fault = last.fault.as_ref().map(|fault| format!(" ({fault})")).unwrap_or_default();
            let (verdict, analysis) = (last.verdict.name(), &last.analysis);
            format!("{service}: policy says {verdict} [{analysis}]{fault}{}", ruled(&last.ruling))
        }
        Change::Step { run, step, state } => {
            format!("r{} step {step} {:?} {}", run.0, state.status, state.text).trim_end().to_owned()
        }
        Change::RunOpened { run } => format!("r{} opens: {} of {} to {}", run.id.0, run.kind, run.service, run.to),
        Change::RunHeading { run, heading } => format!("r{} heads {heading:?}", run.0),
        Change::RunClosed { run, end, .. } => format!("r{} closes: {end:?}", run.0),
        Change::Asked { question } => format!("q{} asks: {}", question.id.0, question.text),
        Change::Answered { question, answer } => format!("q{} answered: {answer:?}", question.0),
        Change::Drift { service, drift: Some(drift) } => format!("{service} drifts: {}", drift.text),
        Change::Drift { service, drift: None } => format!("{service}: drift is over"),
        Change::Brake { tripped: Some(tripped) } => format!("brake: {}", tripped.text),
        Change::Freeze { freeze: Some(freeze) } => format!("freeze: {}", freeze.text),
        Change::Tell { notice } => format!("told {}: {}", notice.channel, notice.message.subject),
        _ => return None,
    })
}

fn ruled(ruling: &Ruling) -> String {
    match ruling {
        Ruling::Nothing => String::new(),
        Ruling::Run(run) => format!(" → r{}", run.0),
        Ruling::Ask { question, because } => format!(" → asks q{}: {}", question.0, codes(because)),
        Ruling::Hold(because) => format!(" → held: {}", codes(because)),
    }
}

fn codes(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(", ")
}
