//! `tidegate journal`: the record of what happened: checked, shown, taken out.
//!
//! Reads the files of a state directory, or what a host sends; both are the same lines.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use tidegate_kernel::contract::Timestamp;
use tidegate_kernel::event::RunId;
use tidegate_kernel::record::{Cause, Change, Record, Sensed};
use tidegate_kernel::rules;
use tidegate_kernel::state::{ClusterState, RunEnd};
use tidegate_kernel::view::{question_name, run_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::policy::read_limits;
use crate::cli::replay::{self, Means, Replayed};
use crate::cli::text::{Tone, one_line, paint};
use crate::cli::times::Times;
use crate::cli::{Common, reach};
use crate::client::Lines;
use crate::journal::{self as store, Entry, Reader};
use crate::said;

/// What can be done with the journal.
#[derive(Debug, Subcommand)]
pub enum Journal {
    /// Check the whole chain: a record that was edited, removed or moved is found.
    Verify(Verify),
    /// Show what happened, for people.
    Show(Show),
    /// Print the records as they are, for programs.
    Export(Export),
}

/// `journal verify`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate journal verify                        the journal of the fleet file's host
  tidegate journal verify --state /backup/tidegate --replay
  tidegate journal verify --replay --plugins /srv/policies --limit memory=64MiB

With --replay a policy may use up what its slot in the fleet file says, where there is one, and what --limit says.
Exit codes: 0 nothing contradicts the journal (what could not be asked again is counted and said), 1 something does, 2 bad input.")]
pub struct Verify {
    /// The host's state directory [default: the fleet file's].
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Run the rules again as well: whether each record follows from those before it, and whether the policies decide the
    /// same again.
    #[arg(long)]
    pub replay: bool,
    /// Where policies lie that are not built in; may be given more than once.
    #[arg(long, value_name = "DIR", requires = "replay")]
    pub plugins: Vec<PathBuf>,
    /// What a policy may use up when it is asked again: memory=64MiB [default: its slot's, in the fleet file].
    #[arg(long = "limit", value_name = "NAME=VALUE", requires = "replay")]
    pub limits: Vec<String>,
}

/// `journal show`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate journal show --service shop
  tidegate journal show --after 1200 --follow")]
pub struct Show {
    /// Read this state directory instead of asking the host.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Only what concerns this service.
    #[arg(long)]
    pub service: Option<String>,
    /// Only records after this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u64,
    /// Go on with what is still to happen, until interrupted.
    #[arg(long, conflicts_with = "state")]
    pub follow: bool,
}

/// `journal export`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate journal export > journal.jsonl
  tidegate journal export --state /var/lib/tidegate --after 1200")]
pub struct Export {
    /// Read this state directory instead of asking the host.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Only records after this number.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub after: u64,
    /// How.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One record with its hashes on each line.
    Jsonl,
}

/// Where records come from.
#[derive(Debug)]
pub enum Source {
    /// The files of a state directory.
    Files(Box<Reader>),
    /// A host.
    Host(Lines),
}

/// Picks what concerns one service.
#[derive(Debug)]
struct OfService {
    service: String,
    runs: BTreeSet<RunId>,
}

/// What `verify` found.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
struct Found {
    verified: bool,
    records: u64,
    head: String,
    segments: usize,
    /// An unfinished write that nobody had waited for, as a crash leaves it.
    torn: Option<String>,
    /// What came of running the rules again, with `--replay`.
    replay: Option<Replayed>,
}

/// Carries out one of them.
pub async fn run(common: &Common, console: &Console, asked: Journal) -> Result<Exit, Failed> {
    match asked {
        Journal::Verify(verify) => check(common, console, &verify).await,
        Journal::Show(show) => print(common, console, &show).await,
        Journal::Export(export) => take_out(common, console, &export).await,
    }
}

impl Source {
    /// Records after number `after`, from `state`'s files or else from the host.
    pub async fn open(common: &Common, state: Option<&Path>, after: u64) -> Result<Self, Failed> {
        if let Some(state) = state {
            return Ok(Source::Files(Box::new(Reader::after(&journal_in(state)?, after)?)));
        }
        Ok(Source::Host(reach::host(common)?.lines(&format!("/v1/journal?after={after}")).await?))
    }

    /// The next record; none after the last.
    pub async fn next(&mut self) -> Result<Option<Entry>, Failed> {
        match self {
            Source::Files(reader) => reader.next().transpose().map_err(|broken| broken_journal(&broken)),
            Source::Host(lines) => match lines.next().await? {
                Some(line) => serde_json::from_str(&line)
                    .map(Some)
                    .map_err(|error| Failed::new(format!("the host sent no record: {error}"))),
                None => Ok(None),
            },
        }
    }
}

/// One record as a line for people; none if there is nothing in it for them.
pub fn line(n: u64, record: &Record, times: &Times) -> String {
    let (text, tone) = told(record);
    format!(
        "{} {} {}",
        paint(format!("{n:>6}"), Tone::Quiet),
        times.clock(record.at.wall),
        paint(one_line(&text), tone)
    )
}

async fn check(common: &Common, console: &Console, asked: &Verify) -> Result<Exit, Failed> {
    let directory = match &asked.state {
        Some(state) => journal_in(state)?,
        None => journal_in(&reach::fleet_at(&reach::fleet_file(common)?)?.host.state)?,
    };
    console.progress("checking the chain");
    let verified = store::verify(&directory).map_err(|error| match error.downcast::<store::Broken>() {
        Ok(broken) => broken_journal(&broken),
        Err(error) => Failed::from(error),
    })?;
    let found = Found {
        verified: true,
        records: verified.head.n,
        head: verified.head.hash.clone(),
        segments: verified.segments,
        torn: verified.torn.as_ref().map(|torn| format!("{} at byte {}", torn.file.display(), torn.offset)),
        replay: match asked.replay {
            true => {
                console.progress("running the rules again");
                let (plugins, limits) = (asked.plugins.clone(), read_limits(&asked.limits)?);
                let means = Means { plugins, limits, fleet: reach::fleet_at_hand(common)?, cache: None };
                Some(replay::replay(&directory, means).await?)
            }
            false => None,
        },
    };
    console.show(&found, |found, _| verified_text(found, &directory))?;
    let follows = found.replay.as_ref().is_none_or(|replayed| replayed.problems.is_empty());
    Ok(if follows { Exit::Done } else { Exit::Failed })
}

async fn print(common: &Common, console: &Console, asked: &Show) -> Result<Exit, Failed> {
    let mut filter = asked.service.as_deref().map(OfService::new);
    // A service's records are known only to who has read from the beginning.
    let mut after = if filter.is_some() { 0 } else { asked.after };
    let mut day = String::new();
    loop {
        let mut source = Source::open(common, asked.state.as_deref(), after).await?;
        while let Some(entry) = source.next().await? {
            after = entry.n;
            let record = entry.record()?;
            if filter.as_mut().is_none_or(|filter| filter.has(&record)) && entry.n > asked.after {
                heading(console, &mut day, record.at.wall)?;
                console.show(&entry, |entry, times| line(entry.n, &record, times))?;
            }
        }
        if !asked.follow {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// The day and the zone, where they have changed; each line then has only the time of day.
fn heading(console: &Console, day: &mut String, at: Timestamp) -> Result<(), Failed> {
    let today = console.times().day(at);
    if *day != today && !console.json() {
        console.say(&paint(&today, Tone::Title))?;
        *day = today;
    }
    Ok(())
}

async fn take_out(common: &Common, console: &Console, asked: &Export) -> Result<Exit, Failed> {
    let Format::Jsonl = asked.format;
    let mut source = Source::open(common, asked.state.as_deref(), asked.after).await?;
    while let Some(entry) = source.next().await? {
        console.document(&entry)?;
    }
    Ok(Exit::Done)
}

/// Where a state directory has its journal.
fn journal_in(state: &Path) -> Result<PathBuf, Failed> {
    let directory = store::directory(state);
    match directory.is_dir() {
        true => Ok(directory),
        false => Err(Failed::usage("there is no journal")
            .at(directory.display())
            .next("name a host's state directory with --state DIR")),
    }
}

pub(super) fn broken_journal(broken: &store::Broken) -> Failed {
    Failed::new(format!("the journal's chain is broken at record {}: {}", broken.n, broken.what))
        .at(format!("{}:{}", broken.file.display(), broken.line))
        .unchanged("nothing was written")
        .next("keep these files as evidence; everything before that record can be trusted, nothing after it can")
}

fn verified_text(found: &Found, directory: &Path) -> String {
    let mut text = format!(
        "{} {} records in {}\nhead {}\n",
        paint("verified", Tone::Good),
        found.records,
        directory.display(),
        found.head
    );
    if let Some(torn) = &found.torn {
        text += &format!("an unfinished write that nothing had waited for: {torn} (the next start removes it)\n");
    }
    if let Some(replayed) = &found.replay {
        text += &replay::page(replayed);
    }
    text
}

fn told(record: &Record) -> (String, Tone) {
    let moved = record.transitions.iter().find_map(|transition| changed(&transition.change));
    let (text, tone) = cause(&record.cause);
    let rules: Vec<String> =
        record.transitions.iter().filter_map(|transition| rules::text(transition.rule)).map(str::to_owned).collect();
    match (moved, rules.first()) {
        (Some((what, tone)), _) if text.is_empty() => (what, tone),
        (Some((what, worse)), _) => (format!("{text}: {what}"), worse),
        (None, Some(rule)) if text.is_empty() => (rule.clone(), tone),
        (None, _) => (text, tone),
    }
}

fn cause(cause: &Cause) -> (String, Tone) {
    let plain = |text: String| (text, Tone::Plain);
    match cause {
        Cause::Started { version, recovered } => {
            (format!("host {version} started{}", if *recovered { ", from its journal" } else { "" }), Tone::Title)
        }
        Cause::Sensed(Sensed::Consensus { service, site, from, to }) => {
            plain(format!("{service} at {site}: {from} → {to}"))
        }
        Cause::Sensed(Sensed::Votes { service, site }) => plain(format!("{service} at {site}: the votes changed")),
        Cause::Sensed(Sensed::Vantage { vantage, sound, fresh }) => plain(format!(
            "vantage point {vantage}: {}, {}",
            if *fresh { "heard" } else { "silent" },
            if *sound { "sound" } else { "cut off" }
        )),
        Cause::Sensed(Sensed::Cluster { cluster }) => plain(format!("{cluster}: its nodes were looked at")),
        Cause::Decided(decided) => match &decided.result {
            Ok(decision) => {
                plain(format!("{}: {} [{}]", decided.service, said::verdict(&decision.verdict), decision.analysis))
            }
            Err(fault) => (format!("{}: no decision: {fault}", decided.service), Tone::Bad),
        },
        Cause::Stepped { run, step, .. } => plain(format!("run {} step {}", run_name(*run), step + 1)),
        Cause::Due(what) => plain(what.clone()),
        Cause::RouteRead { service, result: Ok(_) } => plain(format!("{service}: the route was read")),
        Cause::RouteRead { service, result: Err(failure) } => {
            (format!("{service}: the route cannot be read: {failure}"), Tone::Warning)
        }
        Cause::ReadyChecked { service } => plain(format!("{service}: readiness was checked")),
        Cause::Swapped { slot, revision } => {
            (format!("slot {slot} now holds {} {}", revision.name, revision.version), Tone::Title)
        }
        Cause::PluginFault { slot, text } => (format!("slot {slot}: {text}"), Tone::Bad),
        Cause::Rewritten { agent, seen, shown } => {
            let text =
                format!("agent {agent} remembers record {} otherwise than this journal", seen.number.min(shown.number));
            (text, Tone::Bad)
        }
        Cause::Sent { channel, failure: None, .. } => plain(format!("told {channel}")),
        Cause::Sent { channel, failure: Some(failure), .. } => {
            (format!("{channel} was not reached: {failure}"), Tone::Warning)
        }
        Cause::Ordered { by, command } => (format!("{by} ordered {}", order(command)), Tone::Title),
        Cause::FleetChanged => plain("the fleet file was read again".to_owned()),
        Cause::Checkpoint { .. } => (String::from("checkpoint"), Tone::Quiet),
    }
}

/// What an operator would notice.
fn changed(change: &Change) -> Option<(String, Tone)> {
    match change {
        Change::Life { service, life } => {
            Some((format!("{service} is {} at {}", life.state, life.active), Tone::Title))
        }
        Change::Cluster { cluster, state } => Some((held(cluster, state), Tone::Plain)),
        Change::RunOpened { run } => Some((format!("run {} {} → {}", run_name(run.id), run.from, run.to), Tone::Title)),
        Change::RunClosed { run, end, .. } => Some(match end {
            RunEnd::Done => (format!("run {} is done", run_name(*run)), Tone::Good),
            RunEnd::Undone => (format!("run {} was undone", run_name(*run)), Tone::Warning),
            RunEnd::ByHand(note) => (format!("run {} was finished by hand: {note}", run_name(*run)), Tone::Warning),
        }),
        Change::Asked { question } => {
            Some((format!("question {}: {}", question_name(question.id), question.text), Tone::Warning))
        }
        Change::Brake { tripped: Some(tripped) } => Some((format!("the brake tripped: {}", tripped.text), Tone::Bad)),
        Change::Freeze { freeze: Some(freeze) } => Some((format!("frozen: {}", freeze.text), Tone::Bad)),
        Change::Drift { service, drift: Some(drift) } => Some((format!("{service}: {}", drift.text), Tone::Bad)),
        Change::Step { state, .. } if !state.text.is_empty() => Some((state.text.clone(), Tone::Plain)),
        _ => None,
    }
}

fn held(cluster: &str, state: &ClusterState) -> String {
    let outside: Vec<_> = state.outside.keys().map(String::as_str).collect();
    let outside = if outside.is_empty() { String::new() } else { format!(", not counted: {}", outside.join(", ")) };
    format!("{cluster}: {} is the primary{outside}", state.primary)
}

fn order(command: &tidegate_kernel::event::Command) -> String {
    let value = serde_json::to_value(command).unwrap_or_default();
    let name = value["command"].as_str().unwrap_or_default().to_owned();
    let rest = value.as_object().into_iter().flatten().filter(|(key, value)| *key != "command" && !value.is_null());
    rest.fold(name, |text, (_, value)| {
        format!("{text} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    })
}

impl OfService {
    fn new(service: &str) -> Self {
        OfService { service: service.to_owned(), runs: BTreeSet::new() }
    }

    /// Has to be asked of every record in order: later records of a run name only the run.
    fn has(&mut self, record: &Record) -> bool {
        let opened = record.transitions.iter().filter_map(|transition| match &transition.change {
            Change::RunOpened { run } if run.service == self.service => Some(run.id),
            _ => None,
        });
        self.runs.extend(opened);
        self.is_cause(&record.cause) || record.transitions.iter().any(|transition| self.is_change(&transition.change))
    }

    fn is_cause(&self, cause: &Cause) -> bool {
        match cause {
            Cause::Sensed(Sensed::Consensus { service, .. } | Sensed::Votes { service, .. }) => {
                *service == self.service
            }
            Cause::Decided(decided) => decided.service == self.service,
            Cause::RouteRead { service, .. } | Cause::ReadyChecked { service } => *service == self.service,
            Cause::Stepped { run, .. } => self.runs.contains(run),
            _ => false,
        }
    }

    fn is_change(&self, change: &Change) -> bool {
        match change {
            Change::Life { service, .. }
            | Change::Decision { service, .. }
            | Change::Ready { service, .. }
            | Change::Route { service, .. }
            | Change::Drift { service, .. }
            | Change::Declined { service, .. } => *service == self.service,
            Change::Pause { service, .. } => service.as_ref().is_none_or(|service| *service == self.service),
            Change::Holds { counts } => counts.iter().any(|(service, _)| *service == self.service),
            Change::RunOpened { run } => run.service == self.service,
            Change::Step { run, .. } | Change::RunHeading { run, .. } | Change::RunClosed { run, .. } => {
                self.runs.contains(run)
            }
            Change::Asked { question } => question.service == self.service,
            Change::Incident { incident } => incident.services.contains(&self.service),
            Change::Evacuation { evacuation } => {
                evacuation.phases.iter().flatten().any(|leaving| leaving.service == self.service)
            }
            Change::Brake { .. } | Change::Freeze { .. } => true,
            // Which service a cluster belongs to, only the fleet file knows; the runs that change it are the service's own.
            Change::Cluster { .. } => false,
            Change::Answered { .. } | Change::IncidentsSeen | Change::Tell { .. } | Change::Told { .. } => false,
        }
    }
}
