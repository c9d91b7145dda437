//! `tidegate explain`: why a service moved, or did not: one screen, the worst fact first.
//!
//! Told from the journal alone, so that it can be told of any time, and on a machine where no host runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use tidegate_kernel::contract::{self, Candidate, Outcome, Reason, Severity, Situation, Status, Veto};
use tidegate_kernel::event::{Command, Revision, RunId};
use tidegate_kernel::record::{Cause, Change, Decided, Record, Sensed};
use tidegate_kernel::rules;
use tidegate_kernel::saga::{Heading, StepStatus};
use tidegate_kernel::state::{
    ClusterState, Drift, LastDecision, Life, Pause, Question, Readiness, Ruling, Run, RunEnd, State, Step,
};
use tidegate_kernel::view::{question_name, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::journal::Source;
use crate::cli::status::{self, sentences, state_tone, status_tone};
use crate::cli::text::{Table, Tone, cell, facts, paint};
use crate::cli::times::{Times, length};
use crate::cli::{Common, runs};
use crate::said;

/// `explain SERVICE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate explain shop
  tidegate explain shop --at 2026-11-20T23:14:05     what was known then, in your time zone
  tidegate explain shop --state /var/lib/tidegate    from the journal's files, without a host")]
pub struct ExplainOf {
    /// The service.
    pub service: String,
    /// As of that time [default: now].
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Read this state directory instead of asking the host.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// Why a service is where it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The service.
    pub service: String,
    /// As of then.
    pub at: contract::Timestamp,
    /// Where it is in its life.
    pub life: Life,
    /// The rule that brought it there.
    pub rule: u16,
    /// What an operator should know first, the worst first.
    pub facts: Vec<Fact>,
    /// The last recorded decision.
    pub decision: Option<Account>,
    /// The run under way, else the last one.
    pub run: Option<Moved>,
}

/// One thing that stands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fact {
    /// A person is needed, rather than only worth knowing.
    pub urgent: bool,
    /// In one sentence.
    pub text: String,
    /// What to type; empty = nothing.
    pub next: String,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Account {
    /// Its record's number in the journal.
    pub record: u64,
    /// What was decided, by which revision, and what the guard made of it.
    #[serde(flatten)]
    pub last: LastDecision,
    /// What it cost.
    pub fuel: u64,
    /// How long it took.
    pub took_us: u64,
    /// What each site's vantage points had said.
    pub votes: Vec<Votes>,
}

/// What the vantage points said of one site.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Votes {
    /// The site.
    pub site: String,
    /// What they say together.
    pub consensus: contract::Consensus,
    /// Vantage point, what it found, in its words.
    pub looks: Vec<(String, Outcome, String)>,
}

/// One run, and what it came of.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moved {
    /// The run with its steps.
    pub run: Run,
    /// The decision behind it; none if a person ordered it.
    pub decision: Option<Account>,
    /// The order behind it.
    pub order: Option<Command>,
}

/// What is gathered while the journal is read.
#[derive(Debug)]
struct Story {
    service: String,
    state: State,
    rule: u16,
    votes: BTreeMap<String, Vec<Votes>>,
    /// By site, as sensing last saw it change.
    consensus: BTreeMap<String, Status>,
    last: Option<Account>,
    /// Decisions that became runs.
    movers: BTreeMap<RunId, Account>,
    /// The newest run, with the decision that asked for it and the order that allowed or wanted it.
    run: Option<(RunId, Option<Account>, Option<Command>)>,
    /// Its data, as the last situation with any named it.
    cluster: Option<String>,
}

/// Reads the journal and tells.
pub async fn run(common: &Common, console: &Console, asked: &ExplainOf) -> Result<Exit, Failed> {
    let at = asked.at.as_deref().map(|at| console.times().parse(at)).transpose()?;
    // All records: what stops the whole fleet names no service.
    let mut source = Source::open(common, asked.state.as_deref(), 0).await?;
    let mut story = Story::new(&asked.service);
    while let Some(entry) = source.next().await? {
        let record = entry.record()?;
        if at.is_some_and(|at| record.at.wall > at) {
            break;
        }
        story.read(entry.n, &record);
    }
    let explanation = story.tell(at.unwrap_or(console.times().now()))?;
    console.show(&explanation, page)?;
    Ok(Exit::Done)
}

/// Why `service` was where it was at `at`, from the records up to then.
pub fn explain<'a>(
    service: &str,
    at: contract::Timestamp,
    records: impl IntoIterator<Item = (u64, &'a Record)>,
) -> Result<Explanation, Failed> {
    let mut story = Story::new(service);
    for (n, record) in records {
        story.read(n, record);
    }
    story.tell(at)
}

/// The one screen.
pub fn page(explanation: &Explanation, times: &Times) -> String {
    let times = times.moved_to(explanation.at);
    let mut text = headline(explanation, &times);
    for fact in &explanation.facts {
        let (mark, tone) = if fact.urgent { ("!!", Tone::Bad) } else { ("! ", Tone::Warning) };
        let next = if fact.next.is_empty() { String::new() } else { paint(format!(" ({})", fact.next), Tone::Quiet) };
        let _ = writeln!(text, "{} {}{next}", paint(mark, tone), fact.text);
    }
    let told_by_run = |account: &Account| matches!((&account.last.ruling, &explanation.run), (Ruling::Run(id), Some(moved)) if moved.run.id == *id);
    if let Some(account) = explanation.decision.as_ref().filter(|account| !told_by_run(account)) {
        let _ = write!(text, "\n{}\n{}", paint("LAST DECISION", Tone::Title), decision(account, &times));
    }
    if let Some(moved) = &explanation.run {
        let _ = write!(text, "\n{} {}", paint("LAST MOVE", Tone::Title), moved_block(moved, &times));
    }
    text
}

impl Story {
    fn new(service: &str) -> Self {
        Story {
            service: service.to_owned(),
            state: State::default(),
            rule: 0,
            votes: BTreeMap::new(),
            consensus: BTreeMap::new(),
            last: None,
            movers: BTreeMap::new(),
            run: None,
            cluster: None,
        }
    }

    fn read(&mut self, n: u64, record: &Record) {
        let decided = match &record.cause {
            Cause::Decided(decided) if decided.service == self.service => Some(&**decided),
            _ => None,
        };
        decided.into_iter().for_each(|decided| self.remember_votes(decided));
        if let Cause::Sensed(Sensed::Consensus { service, site, to, .. }) = &record.cause
            && *service == self.service
        {
            self.consensus.insert(site.clone(), *to);
        }
        for transition in &record.transitions {
            self.state.apply(transition);
            match &transition.change {
                Change::Life { service, .. } if *service == self.service => self.rule = transition.rule,
                Change::Decision { service, last, .. } if *service == self.service => {
                    let account = self.account(n, last, decided);
                    if let Ruling::Run(run) = &last.ruling {
                        self.movers.insert(*run, account.clone());
                    }
                    self.last = Some(account);
                }
                Change::RunOpened { run } if run.service == self.service => {
                    self.run = Some(self.behind(run, &record.cause))
                }
                _ => {}
            }
        }
    }

    fn remember_votes(&mut self, decided: &Decided) {
        if let Some(situation) = &decided.situation.body {
            self.votes.insert(decided.situation.hash.clone(), votes(situation));
            self.cluster = situation.cluster.as_ref().map(|cluster| cluster.name.clone()).or(self.cluster.take());
        }
    }

    fn account(&self, n: u64, last: &LastDecision, decided: Option<&Decided>) -> Account {
        Account {
            record: n,
            last: last.clone(),
            fuel: decided.map_or(0, |decided| decided.fuel),
            took_us: decided.map_or(0, |decided| decided.took_us),
            votes: self.votes.get(&last.situation).cloned().unwrap_or_default(),
        }
    }

    /// What a run came of, beside a decision that names it: an approved one came of the decision that asked.
    fn behind(&self, run: &Run, cause: &Cause) -> (RunId, Option<Account>, Option<Command>) {
        let Cause::Ordered { command, .. } = cause else { return (run.id, None, None) };
        let asked = if matches!(command, Command::Approve { .. }) { self.last.clone() } else { None };
        (run.id, asked, Some(command.clone()))
    }

    fn tell(mut self, at: contract::Timestamp) -> Result<Explanation, Failed> {
        let Some(service) = self.state.services.get(&self.service) else {
            return Err(Failed::usage(format!("the journal knows no service {} at that time", self.service))
                .next("see `tidegate status` for the services that there are"));
        };
        if let (Some(account), Some(last)) = (&mut self.last, &service.last) {
            account.last.repeated = last.repeated;
        }
        let run = self.run.take().and_then(|(id, decision, order)| {
            let run = self.state.runs.get(&id)?.clone();
            let decision = self.movers.remove(&id).or(decision);
            Some(Moved { run, decision, order })
        });
        let facts = self.facts();
        Ok(Explanation {
            service: self.service.clone(),
            at,
            life: service.life.clone(),
            rule: self.rule,
            facts,
            decision: self.last,
            run,
        })
    }

    /// What is held of its data: a journal names clusters, and the situations decided on say whose each is.
    fn database(&self) -> Option<(&str, &ClusterState)> {
        let name = self.cluster.as_deref()?;
        Some((name, self.state.clusters.get(name)?))
    }

    /// What stands out, the worst first.
    fn facts(&self) -> Vec<Fact> {
        let Some(service) = self.state.services.get(&self.service) else { return Vec::new() };
        let mut facts = Vec::new();
        let active = &service.life.active;
        facts.extend(self.consensus.get(active).and_then(|status| unwell(active, *status)));
        facts.extend(service.run.and_then(|run| self.state.runs.get(&run)).and_then(resting));
        facts.extend(service.drift.as_ref().map(|drift| drifted(drift, &self.service)));
        facts.extend(
            self.state
                .freeze
                .as_ref()
                .map(|freeze| urgent(format!("automatic moves are frozen: {}", freeze.text), "tidegate rearm")),
        );
        facts.extend(
            self.state
                .brake
                .as_ref()
                .map(|brake| urgent(format!("the brake has tripped: {}", brake.text), "tidegate rearm")),
        );
        facts.extend(
            service
                .last
                .as_ref()
                .and_then(|last| last.fault.as_ref())
                .map(|fault| urgent(format!("the policy gave no decision: {fault}"), "tidegate plugin list")),
        );
        facts.extend(service.last.as_ref().and_then(alarm));
        facts.extend(self.database().into_iter().flat_map(|(name, held)| data_facts(name, held)));
        facts.extend(self.state.open_questions().filter(|question| question.service == self.service).map(asked));
        facts.extend(service.readiness.as_ref().and_then(unready));
        facts.extend(service.last.as_ref().and_then(held));
        facts.extend(self.state.paused.iter().chain(&service.pause).map(paused));
        if !service.life.is_home() && service.run.is_none() {
            facts.push(notable(
                format!("it is not where it should be: {}", service.life.home_site()),
                format!("tidegate failback {}", self.service),
            ));
        }
        facts
    }
}

fn urgent(text: String, next: &str) -> Fact {
    Fact { urgent: true, text, next: next.to_owned() }
}

fn notable(text: String, next: String) -> Fact {
    Fact { urgent: false, text, next }
}

fn resting(run: &Run) -> Option<Fact> {
    if run.heading != Heading::Resting || run.end.is_some() {
        return None;
    }
    let name = run_name(run.id);
    let stuck =
        |step: &&Step| matches!(step.state.status, StepStatus::Failed | StepStatus::Stuck | StepStatus::Unknown);
    let why =
        run.steps.iter().find(stuck).map(|step| format!(": {}: {}", step.name, step.state.text)).unwrap_or_default();
    Some(urgent(format!("run {name} waits for a person{why}"), &format!("tidegate run show {name}")))
}

fn drifted(drift: &Drift, service: &str) -> Fact {
    let text = format!("{}: held until somebody says which is right", status::drift(drift));
    urgent(text, &format!("tidegate adopt {service}, or tidegate reapply {service}"))
}

/// What the vantage points last said of it where it is served.
fn unwell(active: &str, status: Status) -> Option<Fact> {
    match status {
        Status::Healthy => None,
        Status::Unhealthy => Some(urgent(format!("it is unhealthy at {active}, where it is served"), "")),
        Status::Degraded | Status::Unknown => {
            Some(notable(format!("it is {status} at {active}, where it is served"), String::new()))
        }
    }
}

fn asked(question: &Question) -> Fact {
    let name = question_name(question.id);
    urgent(
        format!("question {name}: {}", question.text),
        &format!("tidegate approve {name}, or tidegate reject {name}"),
    )
}

fn alarm(last: &LastDecision) -> Option<Fact> {
    let text = format!("{}: {}", last.analysis, sentences(&last.reasons));
    match last.alarm? {
        Severity::Critical => Some(urgent(text, "")),
        _ => Some(notable(text, String::new())),
    }
}

/// Who leads, who does not count and why, and what is wrong with the data itself.
fn data_facts(name: &str, held: &ClusterState) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(failed) = &held.unsound {
        facts.push(urgent(format!("a check of {name} failed after the last promotion: {failed}"), ""));
    }
    for (node, outside) in &held.outside {
        let bytes = outside.diverged_bytes.filter(|bytes| *bytes > 0);
        let diverged =
            bytes.map(|bytes| format!(", with {bytes} bytes of log that nobody else has")).unwrap_or_default();
        facts.push(notable(format!("node {node} of {name} does not count: {}{diverged}", outside.why), String::new()));
    }
    let waits = match &held.published {
        Some(set) if set.wait_for > 0 => format!("; commits wait for {} of {}", set.wait_for, set.nodes.join(", ")),
        _ => String::new(),
    };
    facts.push(notable(format!("node {} leads {name}{waits}", held.primary), String::new()));
    facts
}

fn unready(readiness: &Readiness) -> Option<Fact> {
    (!readiness.blockers.is_empty()).then(|| {
        notable(format!("a move would not work: {}", sentences(&readiness.blockers)), "tidegate ready".to_owned())
    })
}

fn held(last: &LastDecision) -> Option<Fact> {
    match &last.ruling {
        Ruling::Hold(because) => Some(notable(
            format!("the policy said {}, the host holds: {}", said::verdict(&last.verdict), sentences(because)),
            String::new(),
        )),
        _ => None,
    }
}

fn paused(pause: &Pause) -> Fact {
    let because = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
    notable(format!("paused by {}{because}", pause.by), "tidegate resume".to_owned())
}

fn headline(explanation: &Explanation, times: &Times) -> String {
    let life = &explanation.life;
    let since = format!("since {}, {}", times.show(life.since.wall), times.distance(life.since.wall));
    let mut text = format!(
        "{} is {}, served from {}\n{}\n",
        paint(&explanation.service, Tone::Title),
        paint(life.state.as_str(), state_tone(life.state)),
        life.active,
        paint(since, Tone::Quiet),
    );
    if let Some(rule) = rules::text(explanation.rule) {
        let _ = writeln!(text, "{}", paint(format!("rule {}: {rule}", explanation.rule), Tone::Quiet));
    }
    text
}

fn decision(account: &Account, times: &Times) -> String {
    let last = &account.last;
    let mut lines =
        vec![("verdict", format!("{} [{}]", paint(said::verdict(&last.verdict), Tone::Title), last.analysis))];
    lines.push(("when", when(last, times)));
    lines.extend(reasons("because", &last.reasons));
    lines.extend(last.vetoes.iter().map(veto));
    lines.extend(ruling(&last.ruling));
    lines.extend(reasons("changes if", &last.would_change_if));
    lines.push(("decided by", by(account)));
    let mut text = facts(lines);
    if !account.votes.is_empty() {
        text.push('\n');
        text += &vote_table(&account.votes);
    }
    text
}

fn when(last: &LastDecision, times: &Times) -> String {
    let mut text = format!("{}, {}", times.show(last.at.wall), times.distance(last.at.wall));
    if last.repeated > 0 {
        let _ = write!(text, ", and {} times the same since", last.repeated);
    }
    text
}

pub(super) fn reasons(name: &'static str, reasons: &[Reason]) -> Vec<(&'static str, String)> {
    let one = |reason: &Reason| format!("{} {}", reason.text, paint(format!("[{}]", reason.code), Tone::Quiet));
    reasons.iter().enumerate().map(|(index, reason)| (if index == 0 { name } else { "" }, one(reason))).collect()
}

pub(super) fn veto(veto: &Veto) -> (&'static str, String) {
    let candidate = match &veto.candidate {
        Candidate::Site(name) => format!("not {name}"),
        Candidate::Node(name) => format!("not node {name}"),
    };
    ("veto", format!("{candidate}: {} {}", veto.reason.text, paint(format!("[{}]", veto.reason.code), Tone::Quiet)))
}

fn ruling(ruling: &Ruling) -> Vec<(&'static str, String)> {
    match ruling {
        Ruling::Nothing => Vec::new(),
        Ruling::Run(run) => vec![("host", format!("allowed it: run {}", run_name(*run)))],
        Ruling::Ask { question, because } => {
            let mut lines = vec![("host", format!("asks a person: question {}", question_name(*question)))];
            lines.extend(reasons("", because));
            lines
        }
        Ruling::Hold(because) => reasons("host holds", because),
    }
}

fn by(account: &Account) -> String {
    let Revision { name, version, digest, settings, number, .. } = &account.last.revision;
    let (digest, settings) = (short(digest), short(settings));
    let text = format!(
        "{name} {version}, revision {number}, {digest}, settings {settings}, {} fuel, {} µs, record {}",
        account.fuel, account.took_us, account.record
    );
    paint(text, Tone::Quiet)
}

/// Enough of a digest to tell two apart.
pub(super) fn short(digest: &str) -> String {
    let end = digest.find(':').map_or(0, |colon| colon + 1) + 12;
    digest.get(..end).unwrap_or(digest).to_owned()
}

pub(super) fn votes(situation: &Situation) -> Vec<Votes> {
    let of = |site: &contract::SiteView| Votes {
        site: site.site.clone(),
        consensus: site.consensus,
        looks: site.observations.iter().map(|look| (look.vantage.clone(), look.outcome, look.detail.clone())).collect(),
    };
    situation.sites.iter().map(of).collect()
}

pub(super) fn vote_table(votes: &[Votes]) -> String {
    let rank = |status: Status| match status {
        Status::Unhealthy => 0,
        Status::Unknown => 1,
        Status::Degraded => 2,
        Status::Healthy => 3,
    };
    let mut votes: Vec<&Votes> = votes.iter().collect();
    votes.sort_by_key(|vote| rank(vote.consensus.status));
    let mut table = Table::new(["site", "health", "domains", "seen by"]);
    for vote in votes {
        let Votes { site, consensus, looks } = vote;
        let looks = looks.iter().map(|(vantage, outcome, _)| format!("{vantage} {outcome}")).collect::<Vec<_>>();
        table.row([
            site.as_str().into(),
            cell(consensus.status.as_str(), status_tone(consensus.status)),
            format!(
                "{} of {}, {} expected, for {}",
                consensus.agreeing,
                consensus.voting,
                consensus.expected,
                length(consensus.held)
            )
            .into(),
            looks.join(", ").into(),
        ]);
    }
    table.render()
}

fn moved_block(moved: &Moved, times: &Times) -> String {
    let run = &moved.run;
    let took = length(run.closed.map_or(times.now(), |closed| closed.wall).saturating_sub(run.opened.wall));
    let (outcome, tone) = outcome(run);
    let by = run.by.as_ref().map(|by| format!(", ordered by {by}")).unwrap_or_default();
    let mut text = format!(
        "{} {}: {} → {}, {} after {took}{by}\n{}\n",
        run_name(run.id),
        run.kind,
        run.from,
        run.to,
        paint(outcome, tone),
        paint(format!("begun {}, {}", times.show(run.opened.wall), times.distance(run.opened.wall)), Tone::Quiet),
    );
    if let Some(account) = &moved.decision {
        text += &decision(account, times);
    }
    text + "\n" + &steps(run)
}

fn outcome(run: &Run) -> (&'static str, Tone) {
    match (&run.end, run.heading) {
        (Some(RunEnd::Done), _) => ("done", Tone::Good),
        (Some(RunEnd::Undone), _) => ("undone", Tone::Warning),
        (Some(RunEnd::ByHand(_)), _) => ("finished by hand", Tone::Warning),
        (None, Heading::Resting) => ("waiting for a person", Tone::Bad),
        (None, _) => ("under way", Tone::Title),
    }
}

fn steps(run: &Run) -> String {
    let mut table = Table::new(["step", "status", "at", "took", "result"]);
    for step in &run.steps {
        let state = &step.state;
        let since = |at: contract::Timestamp| format!("+{}", length(at.saturating_sub(run.opened.wall)));
        let took =
            state.started.zip(state.ended).map(|(started, ended)| length(ended.wall.saturating_sub(started.wall)));
        let mark = if step.point_of_no_return { "(point of no return) " } else { "" };
        table.row([
            step.name.as_str().into(),
            runs::status_cell(state.status),
            state.started.map(|started| since(started.wall)).unwrap_or_default().into(),
            took.unwrap_or_default().into(),
            format!("{mark}{}", state.text).into(),
        ]);
    }
    table.render()
}
