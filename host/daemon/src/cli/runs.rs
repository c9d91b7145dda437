//! `tidegate run`: runbooks under way and ended, and what a person can do with one that rests.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use tidegate_kernel::contract::Timestamp;
use tidegate_kernel::event::{Command, RunId};
use tidegate_kernel::saga::{Heading, StepStatus};
use tidegate_kernel::state::RunEnd;
use tidegate_kernel::view::{RunView, StepView, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Cell, Table, Tone, cell, paint};
use crate::cli::times::{Times, length};
use crate::cli::{Common, orders, reach};
use crate::client::Client;

/// Between two looks at a run that is followed.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

/// What can be done with runs.
#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List the runs: those under way first, then the newest.
    #[command(after_help = "Examples:\n  tidegate run list\n  tidegate run list --json")]
    List,
    /// Show one run, step by step.
    Show(Show),
    /// Try the failed step of a resting run again.
    #[command(after_help = "Examples:\n  tidegate run retry r3")]
    Retry(One),
    /// Go on without a step of a resting run: you did it, or it is not needed.
    Skip(Skip),
    /// Undo what a run did; before its point of no return only.
    #[command(after_help = "Examples:\n  tidegate run undo r3")]
    Undo(One),
    /// Stop a run: it undoes what it did, where it still can.
    #[command(after_help = "Examples:\n  tidegate run abort r3")]
    Abort(One),
    /// End a run whose remaining steps you did by hand.
    FinishByHand(FinishByHand),
}

/// One run.
#[derive(Args, Debug)]
pub struct One {
    /// The run, such as r3.
    #[arg(value_parser = run_id)]
    pub run: RunId,
}

/// `run show RUN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate run show r3
  tidegate run show r3 --watch                   until it ends, or rests")]
pub struct Show {
    /// The run, such as r3.
    #[arg(value_parser = run_id)]
    pub run: RunId,
    /// Follow it until it ends, or rests.
    #[arg(long)]
    pub watch: bool,
}

/// `run skip RUN STEP`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate run skip r3 warm-cache")]
pub struct Skip {
    /// The run, such as r3.
    #[arg(value_parser = run_id)]
    pub run: RunId,
    /// The step's name, as `run show` prints it.
    pub step: String,
}

/// `run finish-by-hand RUN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate run finish-by-hand r3 --note 'pointed DNS by hand, see ticket 4711'")]
pub struct FinishByHand {
    /// The run, such as r3.
    #[arg(value_parser = run_id)]
    pub run: RunId,
    /// What you did: it is kept in the journal.
    #[arg(long)]
    pub note: String,
}

/// Reads `r3` or `3`.
pub fn run_id(text: &str) -> Result<RunId, String> {
    let number = text.strip_prefix('r').unwrap_or(text).parse();
    number.map(RunId).map_err(|_| "a run is named like r3; see `tidegate run list`".to_owned())
}

/// Carries out one of them.
pub async fn run(common: &Common, console: &Console, asked: Runs) -> Result<Exit, Failed> {
    let command = match asked {
        Runs::List => return list(common, console).await,
        Runs::Show(Show { run, watch: true }) => return follow(&reach::host(common)?, console, run).await,
        Runs::Show(Show { run, watch: false }) => {
            let run = reach::host(common)?.fetch(&path(run)).await?;
            console.show_fetched(&run, page)?;
            return Ok(Exit::Done);
        }
        Runs::Retry(One { run }) => Command::Retry { run },
        Runs::Skip(Skip { run, step }) => Command::Skip { run, step },
        Runs::Undo(One { run }) => Command::Undo { run },
        Runs::Abort(One { run }) => Command::Abort { run },
        Runs::FinishByHand(FinishByHand { run, note }) => Command::FinishByHand { run, note },
    };
    orders::order(common, console, &command).await
}

/// Shows a run each time that it has changed, until it ends or rests; the exit code says which.
pub async fn follow(client: &Client, console: &Console, run: RunId) -> Result<Exit, Failed> {
    let mut shown: Option<RunView> = None;
    loop {
        let fetched = client.fetch::<RunView>(&path(run)).await?;
        if shown.as_ref() != Some(&fetched.value) {
            console.redraw(&fetched, page)?;
        }
        if fetched.value.end.is_some() || fetched.value.heading == Heading::Resting {
            return Ok(exit_of(&fetched.value));
        }
        shown = Some(fetched.value);
        tokio::time::sleep(FOLLOW_EVERY).await;
    }
}

/// One run on one line.
pub fn line(run: &RunView, times: &Times) -> String {
    let (outcome, tone) = outcome(run);
    let name = format!("run {}", run_name(run.id));
    let length = length(run.closed.map_or(times.now(), |closed| closed.wall).saturating_sub(run.opened.wall));
    format!(
        "{} {} of {}: {} → {}, {} after {length}\n",
        paint(name, Tone::Title),
        run.kind,
        run.service,
        run.from,
        run.to,
        paint(outcome, tone)
    )
}

/// One run with its steps.
pub fn page(run: &RunView, times: &Times) -> String {
    let mut text = line(run, times);
    let by = run.by.as_deref().unwrap_or("itself");
    let _ = writeln!(
        text,
        "{}\n",
        paint(
            format!("begun {} by {by}, runbook {}, epoch {}", times.show(run.opened.wall), run.runbook, run.epoch),
            Tone::Quiet
        )
    );
    text += &steps(&run.steps, run.opened.wall);
    if run.past_point_of_no_return && run.end.is_none() {
        let _ = writeln!(text, "\n{}", paint("past the point of no return: it only goes forward", Tone::Warning));
    }
    if !run.words.is_empty() {
        let _ = writeln!(text, "\nnext: {}", run.words.join("\n      "));
    }
    text
}

/// Steps with their times, counted from `start`.
pub fn steps(steps: &[StepView], start: Timestamp) -> String {
    let mut table = Table::new(["step", "status", "at", "took", "what"]);
    for step in steps {
        let since = |at: Timestamp| format!("+{}", length(at.saturating_sub(start)));
        let took = step.started.zip(step.ended).map(|(started, ended)| length(ended.wall.saturating_sub(started.wall)));
        let mark = if step.point_of_no_return { " (point of no return)" } else { "" };
        let words = if step.text.is_empty() { step.what.clone() } else { format!("{}: {}", step.what, step.text) };
        table.row([
            step.name.as_str().into(),
            status_cell(step.status),
            step.started.map(|started| since(started.wall)).unwrap_or_default().into(),
            took.unwrap_or_default().into(),
            format!("{words}{mark}").into(),
        ]);
    }
    table.render()
}

/// How a step stands.
pub fn status_cell(status: StepStatus) -> Cell {
    match status {
        StepStatus::Pending => cell("pending", Tone::Quiet),
        StepStatus::Running => cell("running", Tone::Title),
        StepStatus::Unknown => cell("unknown", Tone::Warning),
        StepStatus::Done => cell("done", Tone::Good),
        StepStatus::Failed => cell("failed", Tone::Bad),
        StepStatus::Undoing => cell("undoing", Tone::Warning),
        StepStatus::Undone => cell("undone", Tone::Warning),
        StepStatus::Stuck => cell("stuck", Tone::Bad),
        StepStatus::Skipped => cell("skipped", Tone::Warning),
    }
}

async fn list(common: &Common, console: &Console) -> Result<Exit, Failed> {
    let runs = reach::host(common)?.fetch::<Vec<RunView>>("/v1/runs").await?;
    console.show_fetched(&runs, |runs, times| table(runs, times))?;
    Ok(Exit::Done)
}

/// The list of runs.
pub fn table(runs: &[RunView], times: &Times) -> String {
    if runs.is_empty() {
        return "no run yet\n".to_owned();
    }
    let mut table = Table::new(["run", "service", "kind", "from", "to", "outcome", "by", "begun"]);
    for run in runs {
        let (outcome, tone) = outcome(run);
        table.row([
            cell(run_name(run.id), Tone::Title),
            run.service.as_str().into(),
            run.kind.as_str().into(),
            run.from.as_str().into(),
            run.to.as_str().into(),
            cell(outcome, tone),
            run.by.as_deref().unwrap_or("itself").into(),
            times.show(run.opened.wall).into(),
        ]);
    }
    table.render()
}

/// How a run stands, in an operator's words.
pub fn outcome(run: &RunView) -> (String, Tone) {
    match (&run.end, run.heading) {
        (Some(RunEnd::Done), _) => ("done".to_owned(), Tone::Good),
        (Some(RunEnd::Undone), _) => ("undone".to_owned(), Tone::Warning),
        (Some(RunEnd::ByHand(note)), _) => (format!("finished by hand: {note}"), Tone::Warning),
        (None, Heading::Forward) => ("under way".to_owned(), Tone::Title),
        (None, Heading::Back) => ("being undone".to_owned(), Tone::Warning),
        (None, Heading::Resting) => ("waiting for a person".to_owned(), Tone::Bad),
    }
}

fn exit_of(run: &RunView) -> Exit {
    match (&run.end, run.heading) {
        (Some(RunEnd::Undone), _) => Exit::Failed,
        (None, Heading::Resting) => Exit::Waiting,
        _ => Exit::Done,
    }
}

fn path(run: RunId) -> String {
    format!("/v1/runs/{}", run.0)
}
