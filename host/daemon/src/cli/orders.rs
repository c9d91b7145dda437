//! What an operator orders of a host: moves, pauses, answers to questions, what to do about drift.
//!
//! Whether an order is taken is the host's decision; here it is asked for, confirmed by the person, and followed.

use clap::Args;
use tidegate_kernel::contract::Millis;
use tidegate_kernel::event::{Accepted, Command, QuestionId, RunId};
use tidegate_kernel::fleet::parse_duration;
use tidegate_kernel::state::{About, Question};
use tidegate_kernel::view::{DataPlan, PlanView, question_name, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Table, Tone, cell, facts, paint};
use crate::cli::times::Times;
use crate::cli::{Common, reach, runs};
use crate::client::Client;

/// `failover SERVICE`.
#[derive(Args, Debug)]
pub struct Failover {
    /// What is moved where.
    #[command(flatten)]
    pub what: MoveService,
    /// So much data may be lost by this move, such as 5s: it goes on record with your name [default: what its rpo allows].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub accept_loss: Option<Millis>,
}

/// What `failover`, `switchover` and `failback` have in common.
#[derive(Args, Debug)]
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

/// What waits for an answer.
#[derive(Clone, Copy, Debug)]
pub enum Waiting {
    /// By its own name.
    Question(QuestionId),
    /// By the run that it holds up.
    Run(RunId),
}

/// `approve QUESTION`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate questions                             what is asked, with names
  tidegate approve q3
  tidegate approve q3 --option 2                 the second of the offered moves
  tidegate approve r7                            what the run r7 waits for")]
pub struct Approve {
    /// The question, such as q3, or the run that waits for its answer, such as r7.
    #[arg(value_name = "QUESTION|RUN", value_parser = waiting)]
    pub question: Waiting,
    /// Which of the offered options, counted from 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub option: u16,
}

/// `reject QUESTION`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate reject q3 --reason 'the replica is stale'")]
pub struct Reject {
    /// The question, such as q3, or the run that waits for its answer, such as r7.
    #[arg(value_name = "QUESTION|RUN", value_parser = waiting)]
    pub question: Waiting,
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
pub fn failover(asked: &Failover) -> Command {
    let MoveService { service, to, .. } = &asked.what;
    Command::Failover { service: service.clone(), to: to.clone(), accept_loss: asked.accept_loss }
}

/// The order behind `switchover`.
pub fn switchover(asked: &MoveService) -> Command {
    Command::Switchover { service: asked.service.clone(), to: asked.to.clone() }
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
    command: Command,
) -> Result<Exit, Failed> {
    let client = reach::host(common)?;
    if asked.dry_run {
        return dry_run(&client, console, &command).await;
    }
    confirm(console, &asked.service, "This moves real traffic", asked.yes)?;
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

/// A yes.
pub async fn approve(common: &Common, console: &Console, asked: Approve) -> Result<Exit, Failed> {
    let question = asked.question.resolve(common).await?;
    // People count from 1.
    order(common, console, &Command::Approve { question, option: usize::from(asked.option) - 1 }).await
}

/// A no.
pub async fn reject(common: &Common, console: &Console, asked: Reject) -> Result<Exit, Failed> {
    let question = asked.question.resolve(common).await?;
    order(common, console, &Command::Reject { question, reason: asked.reason }).await
}

impl Waiting {
    /// The question itself.
    async fn resolve(self, common: &Common) -> Result<QuestionId, Failed> {
        let run = match self {
            Waiting::Question(question) => return Ok(question),
            Waiting::Run(run) => run,
        };
        let open = reach::host(common)?.fetch::<Vec<Question>>("/v1/questions").await?.value;
        let of_run = |question: &&Question| matches!(question.about, About::Confirm { run: of, .. } | About::Rest { run: of, .. } if of == run);
        open.iter().find(of_run).map(|question| question.id).ok_or_else(|| {
            Failed::usage(format!("run {} waits for nobody's answer", run_name(run)))
                .unchanged("nothing was answered")
                .next(format!(
                    "`tidegate run show {}` says where it is, `tidegate questions` what is asked",
                    run_name(run)
                ))
        })
    }
}

/// What waits for a person's answer.
pub async fn questions(common: &Common, console: &Console) -> Result<Exit, Failed> {
    let questions = reach::host(common)?.fetch::<Vec<Question>>("/v1/questions").await?;
    console.show_fetched(&questions, |questions, times| question_list(questions, times))?;
    Ok(Exit::Done)
}

/// Reads `q3`, `3` or `r7`.
fn waiting(text: &str) -> Result<Waiting, String> {
    if text.starts_with('r') {
        return runs::run_id(text).map(Waiting::Run);
    }
    let number = text.strip_prefix('q').unwrap_or(text).parse();
    let question = number.map(|number| Waiting::Question(QuestionId(number)));
    question.map_err(|_| "a question is named like q3, a run like r7; see `tidegate questions`".to_owned())
}

/// Reads `5s`, `1m30s`.
fn duration(text: &str) -> Result<Millis, String> {
    parse_duration(text).ok_or_else(|| "write it like 500ms, 5s or 2m".to_owned())
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
    lines.extend(plan.data.iter().flat_map(data_lines));
    text += &facts(lines);
    text.push('\n');
    text + &guards(plan)
}

fn data_lines(data: &DataPlan) -> Vec<(&'static str, String)> {
    let named = |node: &Option<String>, nobody: &str| node.clone().unwrap_or_else(|| nobody.to_owned());
    let leads = format!("{} → {}", named(&data.from, "nobody knows"), named(&data.to, "no node there"));
    let waits = match data.synchronous {
        0 => "a commit waits for no standby".to_owned(),
        few => format!("a commit waits for {few} of its standbys"),
    };
    let mut lines = vec![("data", format!("{}: {leads} leads; {waits}", data.cluster))];
    for (index, proof) in data.proofs.iter().enumerate() {
        let (mark, tone) = if proof.open { ("", Tone::Plain) } else { ("not ", Tone::Warning) };
        let name = if index == 0 { "proof" } else { "" };
        lines.push((name, format!("{}: {}", paint(format!("{mark}{}", proof.kind), tone), proof.text)));
    }
    lines
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
            text += &format!("  option {}: {}\n", index + 1, crate::said::verdict(option));
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

/// A move is confirmed by typing the name of what moves, so that a wrong window or a recalled command moves nothing.
pub(super) fn confirm(console: &Console, name: &str, what: &str, yes: bool) -> Result<(), Failed> {
    if yes {
        return Ok(());
    }
    if !console.interactive() {
        return Err(Failed::usage(format!("moving {name} has to be confirmed, and nobody can be asked here"))
            .unchanged("nothing was moved")
            .next("add --yes in a script, or --dry-run to see what would happen"));
    }
    let typed = console.ask(&format!("{what}. Type {name} to go on:"), "")?;
    match typed == name {
        true => Ok(()),
        false => Err(Failed::usage(format!("{typed:?} is not {name}")).unchanged("nothing was moved")),
    }
}

pub(super) fn show_accepted(console: &Console, accepted: &Accepted) -> Result<(), Failed> {
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

impl From<Rearm> for Command {
    fn from(Rearm { note }: Rearm) -> Self {
        Command::Rearm { note }
    }
}
