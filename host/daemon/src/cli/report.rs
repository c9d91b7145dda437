//! `tidegate report`: what a run kept of what was promised: how long the service was away, what was lost, step by step.

use std::fmt::Write as _;

use clap::Args;
use tidegate_kernel::contract::Millis;
use tidegate_kernel::event::RunId;
use tidegate_kernel::state::RunEnd;
use tidegate_kernel::view::{Kept, Mark, RunReport, StepReport, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::runs::{run_id, status_cell};
use crate::cli::text::{Table, Tone, cell, facts, paint};
use crate::cli::times::{Times, length};
use crate::cli::{Common, reach};

/// `report RUN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate report r3                             promised against measured, and each step
  tidegate report r3 --json | jq .outage.verdict")]
pub struct Report {
    /// The run, such as r3.
    #[arg(value_parser = run_id)]
    pub run: RunId,
}

/// Asks the host, and shows it.
pub async fn run(common: &Common, console: &Console, asked: &Report) -> Result<Exit, Failed> {
    let report = reach::host(common)?.fetch::<RunReport>(&format!("/v1/runs/{}/report", asked.run.0)).await?;
    console.show_fetched(&report, page)?;
    Ok(Exit::Done)
}

/// The verdicts first, then what they follow from.
pub fn page(report: &RunReport, times: &Times) -> String {
    let by = report.by.as_deref().unwrap_or("itself");
    let mut text = format!(
        "{} {} of {}: {} → {}, by {by}, {}\n\n",
        paint(format!("run {}", run_name(report.id)), Tone::Title),
        report.kind,
        report.service,
        report.from,
        report.to,
        ended(report.end.as_ref()),
    );
    text += &facts(verdicts(report));
    let day = report.marks.first().map(|mark| times.day(mark.at.wall)).unwrap_or_default();
    let _ = write!(text, "\n{}\n{}", paint(day, Tone::Quiet), marks(&report.marks, times));
    text.push('\n');
    text + &steps(&report.steps)
}

fn ended(end: Option<&RunEnd>) -> String {
    match end {
        Some(RunEnd::Done) => "done".to_owned(),
        Some(RunEnd::Undone) => "undone".to_owned(),
        Some(RunEnd::ByHand(note)) => format!("finished by hand: {note}"),
        None => "not over".to_owned(),
    }
}

fn verdicts(report: &RunReport) -> Vec<(&'static str, String)> {
    let promised = |what: fn(&tidegate_kernel::contract::Objectives) -> Millis| {
        report.promised.as_ref().map_or("unknown".to_owned(), |promised| length(what(promised)))
    };
    let (outage, loss) = (&report.outage, &report.loss);
    let at_most = |most: Option<Millis>| most.map_or("unknown".to_owned(), |most| format!("at most {}", bound(most)));
    let mut lines = vec![
        (
            "rto",
            format!("{}: promised {}, measured {}", kept(outage.verdict), promised(|o| o.rto), at_most(outage.at_most)),
        ),
        ("", outage.text.clone()),
        (
            "rpo",
            format!("{}: promised {}, measured {}", kept(loss.verdict), promised(|o| o.rpo), at_most(loss.at_most)),
        ),
        ("", loss.text.clone()),
    ];
    lines.extend(loss.beforehand.map(|most| ("", format!("as the run began, the bound was {}", bound(most)))));
    lines
}

/// To the millisecond: a bound is never rounded down.
fn bound(most: Millis) -> String {
    if most < 60_000 { format!("{}.{:03} s", most / 1_000, most % 1_000) } else { length(most.next_multiple_of(1_000)) }
}

fn kept(verdict: Kept) -> String {
    match verdict {
        Kept::Kept => paint("kept", Tone::Good),
        Kept::Missed => paint("missed", Tone::Bad),
        Kept::Unknown => paint("unknown", Tone::Warning),
    }
}

fn marks(marks: &[Mark], times: &Times) -> String {
    let mut table = Table::new(["at", "what", "more"]);
    for mark in marks {
        table.row([times.clock(mark.at.wall).into(), cell(&mark.name, Tone::Title), mark.text.as_str().into()]);
    }
    table.render()
}

fn steps(steps: &[StepReport]) -> String {
    let mut table = Table::new(["step", "status", "at", "took", "tries", "what"]);
    for step in steps {
        let words = if step.text.is_empty() { step.what.clone() } else { format!("{}: {}", step.what, step.text) };
        table.row([
            step.name.as_str().into(),
            status_cell(step.status),
            step.began.map(|began| format!("+{}", length(began))).unwrap_or_default().into(),
            step.took.map(length).unwrap_or_default().into(),
            step.tries.to_string().into(),
            words.into(),
        ]);
    }
    table.render()
}
