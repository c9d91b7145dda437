//! `tidegate policy eval`: one situation in, one decision out, or one request of another kind and its answer; as JSON, or told to
//! people.
//!
//! No guard is asked: this is what the policy says, not what a host would do.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use tidegate_engine::log::Line;
use tidegate_engine::{Answer, Decided, PolicyFault, PolicyRevision, Reply, Request, neutral};
use tidegate_kernel::contract::{Decision, Situation};

use super::kind::Kind;
use super::{With, input, replies};
use crate::cli::console::Console;
use crate::cli::explain;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Tone, facts, one_line, paint};
use crate::cli::times::length;
use crate::said;

/// `policy eval PLUGIN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy eval --example > situation.json            a quiet situation to begin with
  tidegate policy eval policy.wasm --input situation.json    the decision, as JSON
  tidegate policy eval policy.wasm --input - --explain       told to people
  tidegate policy eval --example retention | tidegate policy eval keep.wasm --input -
  tidegate policy eval builtin:failover-quorum --input situation.json --settings patient.json

Exit codes: 0 decided, 1 no decision (a host would hold), 2 bad usage or input.")]
pub struct Eval {
    /// A component's file, or builtin:NAME.
    #[arg(required_unless_present = "example")]
    pub plugin: Option<String>,
    /// What it is asked, as JSON: a situation, or a whole question with its picture; a request of its own kind; - = standard input.
    #[arg(long, value_name = "FILE", required_unless_present = "example")]
    pub input: Option<String>,
    /// How it is to be asked.
    #[command(flatten)]
    pub with: With,
    /// Tell people, unless --json asks for JSON all the same.
    #[arg(long)]
    pub explain: bool,
    /// Print what policies of that kind are asked, to begin with, and ask nobody [default kind: failover].
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "failover", conflicts_with_all = ["plugin", "input"])]
    pub example: Option<Kind>,
}

/// What the policy said, and what it cost.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluated {
    /// The plugin's name and version.
    pub plugin: String,
    /// Of its file.
    pub digest: String,
    /// Of its settings.
    pub settings_hash: String,
    /// None = a host would hold.
    pub decision: Option<Reply>,
    /// Why there is none.
    pub fault: Option<PolicyFault>,
    /// The same for the same question, on every machine.
    pub fuel: u64,
    /// How long it took here, the fresh instance included.
    pub took_us: u64,
    /// Bytes that its instance had at the end.
    pub memory: u64,
    /// What it looked up while it decided.
    pub answers: Vec<Answer>,
    /// What it logged and printed.
    pub log: Vec<Line>,
}

/// Asks, and prints.
pub async fn run(console: &Console, asked: &Eval) -> Result<Exit, Failed> {
    let (Some(plugin), Some(file)) = (&asked.plugin, &asked.input) else {
        return example(console, asked.example.unwrap_or_default()).map(|()| Exit::Done);
    };
    let bench = asked.with.bench(1).await?;
    console.progress("compiling it");
    let (slot, seen) = bench.ready_of_any_kind(asked.with.wanted(plugin)?).await?;
    let revision = slot.revision();
    let request = input::read(file, seen.world, &revision.manifest.memo_format)?;
    let said = evaluated(slot.ask(request.clone()).await, &revision);
    match asked.explain && !console.json() {
        true => console.say(&page(&said, &request))?,
        false => print(console, &said)?,
    }
    Ok(if said.decision.is_some() { Exit::Done } else { Exit::Failed })
}

/// Of a failover question the situation: its picture is seldom needed.
fn example(console: &Console, kind: Kind) -> Result<(), Failed> {
    match neutral::request(kind.world()) {
        Some(Request::Failover(question)) => print(console, &question.situation),
        request => print(console, &request),
    }
}

/// JSON in any case: in lines for people, on one line for a program.
fn print<T: Serialize>(console: &Console, value: &T) -> Result<(), Failed> {
    let lines = serde_json::to_string_pretty(value).map_err(|error| Failed::new(format!("cannot print: {error}")))?;
    console.show(value, |_, _| lines)
}

fn evaluated(decided: Decided<Reply>, revision: &PolicyRevision) -> Evaluated {
    let (decision, fault) = match decided.result {
        Ok(decision) => (Some(decision), None),
        Err(fault) => (None, Some(fault)),
    };
    Evaluated {
        plugin: revision.plugin(),
        digest: decided.digest,
        settings_hash: decided.settings_hash,
        decision,
        fault,
        fuel: decided.fuel,
        took_us: decided.took / 1_000,
        memory: decided.memory,
        answers: decided.answers,
        log: decided.log,
    }
}

/// The one screen.
fn page(said: &Evaluated, request: &Request) -> String {
    let mut text = match request {
        Request::Failover(question) => headline(&question.situation),
        _ => said.decision.as_ref().map(|reply| replies::page(reply, request) + "\n").unwrap_or_default(),
    };
    let mut lines = match (&said.decision, &said.fault) {
        (Some(Reply::Failover(decision)), _) => decision_lines(decision),
        (Some(_), _) => Vec::new(),
        (None, fault) => {
            vec![("no decision", paint(fault.as_ref().map_or(String::new(), ToString::to_string), Tone::Bad))]
        }
    };
    lines.extend(said.answers.iter().map(|answer| ("looked up", looked_up(answer))));
    lines.extend(said.log.iter().map(|line| ("log", one_line(&line.text))));
    lines.push(("decided by", by(said)));
    text += &facts(lines);
    let votes = match request {
        Request::Failover(question) => explain::votes(&question.situation),
        _ => Vec::new(),
    };
    if !votes.is_empty() {
        let _ = write!(text, "\n{}", explain::vote_table(&votes));
    }
    text
}

fn headline(situation: &Situation) -> String {
    let Situation { service, state, active_site, state_held, .. } = situation;
    let held = paint(format!("for {}", length(*state_held)), Tone::Quiet);
    format!("{} is {state}, served from {active_site}\n{held}\n\n", paint(service, Tone::Title))
}

fn decision_lines(decision: &Decision) -> Vec<(&'static str, String)> {
    let verdict = paint(said::verdict(&decision.verdict), Tone::Title);
    let mut lines = vec![("verdict", format!("{verdict} [{}]", decision.analysis))];
    lines.extend(explain::reasons("because", &decision.reasons));
    lines.extend(decision.vetoes.iter().map(explain::veto));
    lines.extend(explain::reasons("changes if", &decision.would_change_if));
    lines.extend(decision.ask_again_in.map(|wait| ("ask again", format!("in {}", length(wait)))));
    lines.extend(Some(&decision.memo).filter(|memo| !memo.is_empty()).map(|memo| ("remembers", one_line(memo))));
    lines
}

fn looked_up(answer: &Answer) -> String {
    format!("{}({}) = {}", answer.capability, answer.arguments.join(", "), answer.result)
}

fn by(said: &Evaluated) -> String {
    let Evaluated { plugin, digest, settings_hash, fuel, took_us, memory, .. } = said;
    let (digest, settings) = (explain::short(digest), explain::short(settings_hash));
    let text = format!("{plugin}, {digest}, settings {settings}, {fuel} fuel, {took_us} µs, {} KiB", memory >> 10);
    paint(text, Tone::Quiet)
}
