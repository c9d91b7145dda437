//! `tidegate check`: what is wrong with a fleet file, and which losses each service survives by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::Millis;
use tidegate_kernel::fleet::{self, Finding, Fleet, Level, Outlook, Problem, SiteId, Survival};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::ready::Checked;
use crate::cli::text::{Cell, Table, Tone, cell, paint};
use crate::cli::{Common, reach, ready};

/// `check`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate check                                 every problem with file, line and column, and what to do
  tidegate check --fleet next.toml               before it is put in place
  tidegate check --online                        and whether a move would work now: asks the running host")]
pub struct Check {
    /// Ask the running host as well: credentials, grants, zones, targets, and which commands are missing where.
    #[arg(long)]
    pub online: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The fleet file.
    pub fleet: PathBuf,
    /// Whether a host would take it.
    pub usable: bool,
    /// What is wrong with the file itself.
    pub problems: Vec<Problem>,
    /// What a sound file cannot keep.
    pub findings: Vec<Finding>,
    /// What becomes of each service when a site is lost.
    pub survival: Vec<Loss>,
    /// What a move would fail on now, as the running host sees it; none = it was not asked.
    pub ready: Option<Vec<Checked>>,
    /// Declared commands that an agent could not run; none = nobody was asked.
    pub missing: Option<Vec<MissingCommand>>,
}

/// A declared command that could not be run at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MissingCommand {
    /// The command.
    pub command: String,
    /// The site.
    pub site: String,
    /// The agent that says so; none = no agent stands there, or none was heard.
    pub agent: Option<String>,
    /// What is missing.
    pub why: String,
}

/// What the host says of one agent, as far as its commands go.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentWord {
    /// Its name.
    pub name: String,
    /// Its site.
    pub site: String,
    /// None = the host has not heard it yet.
    pub heard_ago: Option<Millis>,
    /// Command → what is missing.
    #[serde(default)]
    pub missing: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Agents {
    agents: Vec<AgentWord>,
}

/// What becomes of one service when one site is lost.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Loss {
    /// The service.
    pub service: String,
    /// The site that is lost.
    pub lost: String,
    /// `untouched`, `moves`, `asks` or `lost`.
    pub outlook: &'static str,
    /// Where it moves to by itself.
    pub to: Vec<String>,
    /// By which proof, or why not.
    pub reason: String,
}

/// Reads the file, says all that is wrong with it, and what it promises.
pub async fn run(common: &Common, console: &Console, asked: &Check) -> Result<Exit, Failed> {
    let path = reach::fleet_file(common)?;
    let mut report = report(&path);
    if asked.online && report.usable {
        report.ready = Some(ready::ask(common, console, None).await?.value);
        let said = reach::host(common)?.get::<Agents>("/v1/status").await?;
        report.missing = reach::parse(&path).ok().map(|fleet| missing_commands(&fleet, &said.agents));
    }
    console.show(&report, |report, _| page(report))?;
    Ok(exit(&report))
}

/// All that can be said of a fleet file without a host.
pub fn report(path: &Path) -> Report {
    match reach::parse(path) {
        Ok(fleet) => Report {
            fleet: path.to_owned(),
            usable: true,
            problems: Vec::new(),
            findings: fleet::check(&fleet),
            survival: fleet::survivals(&fleet).iter().map(|survival| loss(&fleet, survival)).collect(),
            ready: None,
            missing: None,
        },
        Err(problems) => Report {
            fleet: path.to_owned(),
            usable: !problems.iter().any(|problem| problem.severity == Level::Error),
            problems,
            findings: Vec::new(),
            survival: Vec::new(),
            ready: None,
            missing: None,
        },
    }
}

/// The report for people: the worst first, what it survives last.
pub fn page(report: &Report) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let Problem { file, line, column, what, todo, severity } = problem;
        text += &format!("{}:{line}:{column}: {}\n  do: {todo}\n", file.display(), marked(*severity, what));
    }
    for found in &report.findings {
        text += &format!(
            "{}: {} {}\n  do: {}\n",
            found.about,
            marked(found.severity, &found.what),
            paint(format!("[{}]", found.code), Tone::Quiet),
            found.todo
        );
    }
    if !text.is_empty() {
        text.push('\n');
    }
    if !report.survival.is_empty() {
        text += &survival_table(&report.survival);
        text.push('\n');
    }
    if let Some(checked) = &report.ready {
        text += &ready::page(checked);
        text.push('\n');
    }
    if let Some(missing) = report.missing.as_ref().filter(|missing| !missing.is_empty()) {
        text += &missing_table(missing);
        text.push('\n');
    }
    text + &summary(report)
}

/// Each declared command at each of its sites: whether the agents there could run it.
pub fn missing_commands(fleet: &Fleet, agents: &[AgentWord]) -> Vec<MissingCommand> {
    let mut missing = Vec::new();
    for (name, command) in &fleet.commands {
        for site in command.sites.iter().map(|site| &fleet.sites[site.at()].name) {
            missing.extend(missing_at(name, site, agents));
        }
        if command.sites.is_empty() {
            let everywhere: BTreeSet<&String> = agents.iter().map(|agent| &agent.site).collect();
            missing.extend(everywhere.into_iter().flat_map(|site| missing_at(name, site, agents)));
        }
    }
    missing
}

fn missing_at(command: &str, site: &str, agents: &[AgentWord]) -> Vec<MissingCommand> {
    let said = |agent: Option<&str>, why: &str| MissingCommand {
        command: command.to_owned(),
        site: site.to_owned(),
        agent: agent.map(str::to_owned),
        why: why.to_owned(),
    };
    let here: Vec<&AgentWord> = agents.iter().filter(|agent| agent.site == site).collect();
    if here.is_empty() {
        return vec![said(None, "no agent stands there to run it")];
    }
    if here.iter().all(|agent| agent.heard_ago.is_none()) {
        return vec![said(None, "nobody knows: its agent was not heard yet")];
    }
    here.iter().filter_map(|agent| Some(said(Some(&agent.name), agent.missing.get(command)?))).collect()
}

fn missing_table(missing: &[MissingCommand]) -> String {
    let mut table = Table::new(["command", "missing at", "agent", "because"]);
    for one in missing {
        let agent = one.agent.as_deref().unwrap_or_default();
        table.row([cell(&one.command, Tone::Title), one.site.as_str().into(), agent.into(), cell(&one.why, Tone::Bad)]);
    }
    table.render()
}

fn exit(report: &Report) -> Exit {
    let broken = report.findings.iter().any(|finding| finding.severity == Level::Error);
    let blocked = report.ready.iter().flatten().any(|checked| !checked.blockers.is_empty());
    let missing = report.missing.iter().flatten().next().is_some();
    match report.usable {
        false => Exit::Usage,
        true if broken || blocked || missing => Exit::Failed,
        true => Exit::Done,
    }
}

fn marked(severity: Level, what: &str) -> String {
    match severity {
        Level::Error => format!("{} {what}", paint("error:", Tone::Bad)),
        Level::Warning => format!("{} {what}", paint("warning:", Tone::Warning)),
    }
}

fn survival_table(losses: &[Loss]) -> String {
    let mut table = Table::new(["service", "loses", "then", "because"]);
    for loss in losses {
        table.row([
            cell(&loss.service, Tone::Title),
            loss.lost.as_str().into(),
            then(loss),
            loss.reason.as_str().into(),
        ]);
    }
    table.render()
}

fn then(loss: &Loss) -> Cell {
    match loss.outlook {
        "untouched" => cell("goes on", Tone::Good),
        "moves" => cell(format!("moves to {}", loss.to.join(", ")), Tone::Good),
        "asks" => cell("asks a person", Tone::Warning),
        _ => cell("is lost", Tone::Bad),
    }
}

fn summary(report: &Report) -> String {
    let file = report.fleet.display();
    let errors = report.problems.len();
    match report.usable {
        false => format!(
            "{} {file} cannot be used: {errors} {}\n",
            paint("error:", Tone::Bad),
            if errors == 1 { "problem" } else { "problems" }
        ),
        true if report.findings.is_empty() => format!("{} {file}\n", paint("ok", Tone::Good)),
        true => format!("{} {file}, with {} to know\n", paint("ok", Tone::Warning), report.findings.len()),
    }
}

fn loss(fleet: &Fleet, survival: &Survival) -> Loss {
    let site = |id: &SiteId| fleet.sites[id.at()].name.clone();
    let (outlook, to) = match &survival.outlook {
        Outlook::Untouched => ("untouched", Vec::new()),
        Outlook::Moves(to) => ("moves", to.iter().map(site).collect()),
        Outlook::Asks => ("asks", Vec::new()),
        Outlook::Lost => ("lost", Vec::new()),
    };
    let service = fleet.services[survival.service.at()].name.clone();
    Loss { service, lost: site(&survival.site), outlook, to, reason: survival.reason.clone() }
}
