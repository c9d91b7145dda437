//! What an operator orders of a host: moves, pauses, answers to questions, what to do about drift.
//!
//! Whether an order is taken is the host's decision; here it is asked for, confirmed by the person, and followed.

use clap::Args;
use tidegate_kernel::event::{Accepted, Command, QuestionId};
use tidegate_kernel::state::{About, Question};
use tidegate_kernel::view::{PlanView, question_name, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Table, Tone, cell, facts, paint};
use crate::cli::times::Times;
use crate::cli::{Common, reach, runs};
use crate::client::Client;

/// `failover SERVICE` and `failback SERVICE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate failover shop --dry-run               the plan, the guards it passes, what it would lose
  tidegate failover shop --to eu-west            asks you to type the service's name
  tidegate failback shop --yes --watch           in a script, following the run to its end")]
pub struct MoveService {
    /// The service.
    pub service: String,
    /// The site to move to [default: the best one that the guards allow].
    #[arg(long, value_name = "SITE")]
    pub to: Option<String>,
    /// Show what would happen, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for the service's name: for scripts.
    #[arg(long)]
    pub yes: bool,
    /// Follow the run until it ends.
    #[arg(long)]
    pub watch: bool,
}

/// `pause [SERVICE]`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate pause shop --reason 'moving racks'
  tidegate pause --reason 'network work until 4'     no automatic move in the whole fleet")]
pub struct Pause {
    /// The service [default: the whole fleet].
    pub service: Option<String>,
    /// Why: everybody who looks will read it.
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `resume [SERVICE]`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate resume shop
  tidegate resume                                ends the pause of the whole fleet")]
pub struct Resume {
    /// The service [default: the whole fleet].
    pub service: Option<String>,
}

/// `approve QUESTION`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate questions                             what is asked, with names
  tidegate approve q3
  tidegate approve q3 --option 2                 the second of the offered moves")]
pub struct Approve {
    /// The question, such as q3.
    #[arg(value_parser = question_id)]
    pub question: QuestionId,
    /// Which of the offered options, counted from 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub option: u16,
}

/// `reject QUESTION`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate reject q3 --reason 'the replica is stale'")]
pub struct Reject {
    /// The question, such as q3.
    #[arg(value_parser = question_id)]
    pub question: QuestionId,
    /// Why: it is kept in the journal.
    #[arg(long, default_value = "")]
    pub reason: String,
}

/// `adopt SERVICE` and `reapply SERVICE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate status shop                           shows what the servers say, and what was expected
  tidegate adopt shop                            what the servers say is right
  tidegate reapply shop                          what Tidegate last wrote is right")]
pub struct Settle {
    /// The service whose route differs.
    pub service: String,
}

/// `rearm`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate rearm --note 'both incidents were the same switch'")]
pub struct Rearm {
    /// What you found out: it is kept in the journal.
    #[arg(long, default_value = "")]
    pub note: String,
}

/// The order behind `failover`.
pub fn failover(asked: &MoveService) -> Command {
    Command::Failover { service: asked.service.clone(), to: asked.to.clone(), accept_loss: None }
}

/// The order behind `failback`.
pub fn failback(asked: &MoveService) -> Command {
    Command::Failback { service: asked.service.clone(), to: asked.to.clone() }
}

/// A move: shown only, or confirmed, ordered and followed.
pub async fn move_service(
    common: &Common,
    console: &Console,
    asked: &MoveService,
    command: fn(&MoveService) -> Command,
) -> Result<Exit, Failed> {
    let (client, command) = (reach::host(common)?, command(asked));
    if asked.dry_run {
        return dry_run(&client, console, &command).await;
    }
    confirm(console, asked)?;
    let accepted: Accepted = client.post("/v1/orders", &command).await?;
    show_accepted(console, &accepted)?;
    match (accepted.run, accepted.question) {
        (Some(run), _) if asked.watch => runs::follow(&client, console, run).await,
        (None, Some(_)) => Ok(Exit::Waiting),
        _ => Ok(Exit::Done),
    }
}

/// Any other order: sent, and its answer shown.
pub async fn order(common: &Common, console: &Console, command: &Command) -> Result<Exit, Failed> {
    let accepted: Accepted = reach::host(common)?.post("/v1/orders", command).await?;
    show_accepted(console, &accepted)?;
    Ok(Exit::Done)
}

/// What waits for a person's answer.
pub async fn questions(common: &Common, console: &Console) -> Result<Exit, Failed> {
    let questions = reach::host(common)?.fetch::<Vec<Question>>("/v1/questions").await?;
    console.show_fetched(&questions, |questions, times| question_list(questions, times))?;
    Ok(Exit::Done)
}

/// Reads `q3` or `3`.
pub fn question_id(text: &str) -> Result<QuestionId, String> {
    let number = text.strip_prefix('q').unwrap_or(text).parse();
    number.map(QuestionId).map_err(|_| "a question is named like q3; see `tidegate questions`".to_owned())
}

/// The plan of an order, the guards it passes and what it would lose.
pub fn plan(plan: &PlanView, _: &Times) -> String {
    let mut text =
        format!("{} {} of {}: {} → {}\n\n", paint("dry run", Tone::Title), plan.kind, plan.service, plan.from, plan.to);
    let mut steps = Table::new(["step", "what", "undo"]);
    for step in &plan.steps {
        let mark = if step.point_of_no_return { " (point of no return)" } else { "" };
        let undo = step.undo.as_deref().unwrap_or("none");
        steps.row([step.name.as_str().into(), format!("{}{mark}", step.what).into(), undo.into()]);
    }
    text += &steps.render();
    text.push('\n');
    let mut lines: Vec<_> = plan.differences.iter().map(|difference| ("changes", difference.clone())).collect();
    lines.push(("may lose", plan.loss.clone()));
    text += &facts(lines);
    text.push('\n');
    text + &guards(plan)
}

/// The list of questions, with what to type.
pub fn question_list(questions: &[Question], times: &Times) -> String {
    if questions.is_empty() {
        return "nothing waits for a person\n".to_owned();
    }
    questions.iter().map(|question| one_question(question, times)).collect::<Vec<_>>().join("\n")
}

fn one_question(question: &Question, times: &Times) -> String {
    let name = question_name(question.id);
    let asked = paint(format!("asked {}", times.distance(question.asked.wall)), Tone::Quiet);
    let mut text = format!(
        "{} {}: {} {asked}\n",
        paint(&name, Tone::Warning),
        paint(&question.service, Tone::Title),
        question.text
    );
    for reason in &question.reasons {
        text += &format!("  because {} {}\n", reason.text, paint(format!("[{}]", reason.code), Tone::Quiet));
    }
    if let About::Move { options, .. } = &question.about {
        for (index, option) in options.iter().enumerate() {
            text += &format!("  option {}: {}\n", index + 1, crate::cli::explain::verdict(option));
        }
    }
    text + &format!("  tidegate approve {name}, or tidegate reject {name}\n")
}

fn guards(plan: &PlanView) -> String {
    let mut table = Table::new(["guard", "says"]);
    for guard in &plan.guards {
        let says = match guard.objections.as_slice() {
            [] => cell("passed", Tone::Good),
            objections => cell(crate::cli::status::sentences(objections), Tone::Bad),
        };
        table.row([format!("{} {}", guard.number, guard.name).into(), says]);
    }
    table.render()
}

async fn dry_run(client: &Client, console: &Console, command: &Command) -> Result<Exit, Failed> {
    let planned = client.send::<PlanView>("/v1/plan", command).await?;
    console.show_fetched(&planned, plan)?;
    let refused = planned.value.guards.iter().any(|guard| !guard.objections.is_empty());
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

/// A move is confirmed by typing the service's name, so that a wrong window or a recalled command moves nothing.
fn confirm(console: &Console, asked: &MoveService) -> Result<(), Failed> {
    if asked.yes {
        return Ok(());
    }
    let service = &asked.service;
    if !console.interactive() {
        return Err(Failed::usage(format!("moving {service} has to be confirmed, and nobody can be asked here"))
            .unchanged("nothing was moved")
            .next("add --yes in a script, or --dry-run to see what would happen"));
    }
    let typed = console.ask(&format!("This moves real traffic. Type {service} to go on:"), "")?;
    match typed == *service {
        true => Ok(()),
        false => Err(Failed::usage(format!("{typed:?} is not {service}")).unchanged("nothing was moved")),
    }
}

fn show_accepted(console: &Console, accepted: &Accepted) -> Result<(), Failed> {
    console.show(accepted, |accepted, _| {
        let mut text = accepted.text.clone();
        if let Some(run) = accepted.run {
            let name = run_name(run);
            text += &format!("\n{}", paint(format!("follow it with `tidegate run show {name} --watch`"), Tone::Quiet));
        }
        if let Some(question) = accepted.question {
            let name = question_name(question);
            text += &format!(
                "\n{}",
                paint(format!("answer it with `tidegate approve {name}` or `tidegate reject {name}`"), Tone::Quiet)
            );
        }
        text
    })
}

impl From<Pause> for Command {
    fn from(Pause { service, reason }: Pause) -> Self {
        Command::Pause { service, reason }
    }
}

impl From<Resume> for Command {
    fn from(Resume { service }: Resume) -> Self {
        Command::Resume { service }
    }
}

impl From<Approve> for Command {
    fn from(Approve { question, option }: Approve) -> Self {
        // People count from 1.
        Command::Approve { question, option: usize::from(option) - 1 }
    }
}

impl From<Reject> for Command {
    fn from(Reject { question, reason }: Reject) -> Self {
        Command::Reject { question, reason }
    }
}

impl From<Rearm> for Command {
    fn from(Rearm { note }: Rearm) -> Self {
        Command::Rearm { note }
    }
}
