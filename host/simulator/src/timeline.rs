//! What happened, a line for each thing that a reader of an incident would care for; the same run gives the same bytes.
//!
//! Leaves out what differs between builds: digests, durations of this machine.

use tidegate_kernel::contract::{Millis, Reason};
use tidegate_kernel::record::{Change, Record, Transition};
use tidegate_kernel::state::Ruling;

/// Transitions with these rules only say that time has passed.
const LIFE_RULES: std::ops::Range<u16> = 1..20;

/// A line of the world's.
pub(crate) fn line(at: Millis, text: &str) -> String {
    format!("{}     {text}", clock(at))
}

/// The lines of one record.
pub(crate) fn lines(at: Millis, record: &Record) -> Vec<String> {
    let told =
        |transition: &Transition| told(transition).map(|text| format!("{} {:>3} {text}", clock(at), transition.rule));
    record.transitions.iter().filter_map(told).collect()
}

/// "00:12.500", and hours where there are any.
pub(crate) fn clock(at: Millis) -> String {
    let (hours, minutes) = (at / 3_600_000, at / 60_000 % 60);
    let rest = format!("{minutes:02}:{:02}.{:03}", at / 1_000 % 60, at % 1_000);
    if hours > 0 { format!("{hours}:{rest}") } else { rest }
}

fn told(transition: &Transition) -> Option<String> {
    Some(match &transition.change {
        Change::Life { service, life } if LIFE_RULES.contains(&transition.rule) => {
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
