//! `tidegate policy test`: scenarios played in the simulator, judged, and held against their golden timelines; and tables of
//! single questions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tidegate_kernel::record::Cause;
use tidegate_simulator::Ended;
use tidegate_simulator::scenario::{Failure, Scenario};

use super::simulated::{WithPolicy, deciders, fleet_of};
use super::table::Table;
use super::{Wanted, Workbench, junit};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Tone, paint};

/// `policy test PATH…`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy test scenarios                 the built-in policy, every *.toml below the directory
  tidegate policy test scenarios --policy mine.wasm --junit report.xml
  tidegate policy test scenarios/github.toml --update    write its golden timeline anew
  tidegate policy test scenarios cases --policy mine.wasm --codes codes.txt    which of its codes nothing shows

Beside NAME.toml lies NAME.timeline, what happened line by line with the policy that it names first; where it is missing, or is
another policy's, nothing is compared, and that is said. A file with [[case]] in it is a table: one situation, or one request of the
kind of policy that it names, and in each case what is different in it and what the policy has to say. examples/scenarios/README.md lists every key of both.
Exit codes: 0 all passed, 1 some did not, 2 a scenario cannot be read.")]
pub struct Test {
    /// Files of scenarios or of tables, or directories of them.
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// The policy.
    #[command(flatten)]
    pub with: WithPolicy,
    /// Write the golden timelines anew instead of comparing.
    #[arg(long)]
    pub update: bool,
    /// Write a JUnit report there.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// File with the codes that the policy can give, one on each line: says which of them nothing has shown, and which it lacks.
    #[arg(long, value_name = "FILE")]
    pub codes: Option<PathBuf>,
}

/// What came of all of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tested {
    /// Cases that passed: a scenario is one, each line of a table is one.
    pub passed: usize,
    /// Cases that did not.
    pub failed: usize,
    /// By file.
    pub cases: Vec<Case>,
    /// Codes that the policy gave.
    pub codes: BTreeSet<String>,
    /// Codes that it can give and that nothing has shown; none = it is not known which it can.
    pub never_given: Option<BTreeSet<String>>,
    /// Codes that it gave and that the list of those that it can give lacks.
    pub unlisted: Option<BTreeSet<String>>,
}

/// Something to be tried.
#[derive(Debug)]
enum Trial {
    Scenario(Box<Scenario>),
    Table(Table),
}

/// What came of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Case {
    /// Its file.
    pub file: PathBuf,
    /// Its title.
    pub title: String,
    /// Why it did not pass; empty = it passed.
    pub failures: Vec<Failure>,
    /// Why it was not held against a golden timeline; none = it was, or has none to be held against, as a table has.
    pub not_compared: Option<&'static str>,
    /// Simulated milliseconds; 0 = it was one question.
    pub simulated: u64,
    /// Seconds of this machine. Only for a report: the same scenarios give the same document.
    #[serde(skip)]
    pub took_s: f64,
}

/// Plays them in the order of their names.
pub async fn run(console: &Console, asked: &Test) -> Result<Exit, Failed> {
    let trials = read_all(&asked.paths)?;
    let bench = asked.with.with.bench(1).await?;
    let wanted = asked.with.with.generous(&asked.with.policy)?;
    let mut tried = Tried { bench, wanted, update: asked.update, cases: Vec::new(), codes: BTreeSet::new() };
    for trial in &trials {
        match trial {
            Trial::Scenario(scenario) => {
                console.progress(&format!("{}: {}", scenario.file.display(), scenario.title));
                tried.scenario(scenario).await?;
            }
            Trial::Table(table) => {
                console.progress(&format!("{}: {}", table.file.display(), table.title));
                tried.table(table).await?;
            }
        }
    }
    let tested = Tested::of(tried.cases, tried.codes, asked.codes.as_deref())?;
    if let Some(path) = &asked.junit {
        write(path, &junit::report(&tested))?;
    }
    console.show(&tested, |tested, _| page(tested))?;
    Ok(if tested.failed == 0 { Exit::Done } else { Exit::Failed })
}

/// A policy, and what has come of what was tried with it.
struct Tried {
    bench: Workbench,
    wanted: Wanted,
    update: bool,
    cases: Vec<Case>,
    codes: BTreeSet<String>,
}

impl Tried {
    /// The policy, with the settings that the file names where the command line names none.
    fn wanted(&self, settings: Option<&serde_json::Value>) -> Wanted {
        let mut wanted = self.wanted.clone();
        if let (true, Some(settings)) = (wanted.settings.is_null(), settings) {
            wanted.settings = settings.clone();
        }
        wanted
    }

    async fn scenario(&mut self, scenario: &Scenario) -> Result<(), Failed> {
        let begun = Instant::now();
        let wanted = self.wanted(scenario.settings.as_ref());
        let mut deciders = deciders(&self.bench, &scenario.fleet, &wanted).await?;
        let judged = scenario.play(&mut deciders[0]);
        let timeline = headed(&judged.ended);
        self.codes.extend(judged.ended.codes);
        let mut failures = judged.failures;
        let not_compared = match golden(&scenario.file, &timeline, self.update)? {
            Golden::Same => None,
            Golden::Differs(failure) => {
                failures.push(failure);
                None
            }
            Golden::Missing => Some("no golden timeline; --update writes it"),
            Golden::OfAnother => Some("golden timeline of another policy: not compared"),
        };
        let (file, title) = (scenario.file.clone(), scenario.title.clone());
        let (simulated, took_s) = (judged.ended.simulated, begun.elapsed().as_secs_f64());
        self.cases.push(Case { file, title, failures, not_compared, simulated, took_s });
        Ok(())
    }

    async fn table(&mut self, table: &Table) -> Result<(), Failed> {
        let (slot, seen) = self.bench.ready_of_any_kind(self.wanted(table.settings.as_ref())).await?;
        if seen.world != table.kind.world() {
            let why = format!(
                "it asks a policy of {}, and {} is one of {}",
                table.kind.world(),
                slot.revision().plugin(),
                seen.world
            );
            return Err(Failed::usage(why)
                .at(table.file.display())
                .next("name the policy that it is for with --policy"));
        }
        for row in &table.rows {
            let begun = Instant::now();
            let (failures, codes) = row.play(&slot).await?;
            self.codes.extend(codes);
            let title = format!("{}: {}", table.title, row.name());
            let (file, took_s) = (table.file.clone(), begun.elapsed().as_secs_f64());
            self.cases.push(Case { file, title, failures, not_compared: None, simulated: 0, took_s });
        }
        Ok(())
    }
}

impl Case {
    /// A failure behind the line that it is about, where there is one.
    pub(super) fn told(&self, failure: &Failure) -> String {
        match failure {
            Failure { line: 0, text } => text.clone(),
            Failure { line, text } => format!("{}:{line}: {text}", self.file.display()),
        }
    }
}

impl Tested {
    fn of(cases: Vec<Case>, codes: BTreeSet<String>, known: Option<&Path>) -> Result<Self, Failed> {
        let known: Option<BTreeSet<String>> = known.map(listed).transpose()?;
        let never_given = known.as_ref().map(|known| known.difference(&codes).cloned().collect());
        let unlisted = known.as_ref().map(|known| codes.difference(known).cloned().collect());
        let passed = cases.iter().filter(|case| case.failures.is_empty()).count();
        Ok(Tested { passed, failed: cases.len() - passed, cases, codes, never_given, unlisted })
    }
}

/// A code on each line; what begins with # is a remark.
fn listed(path: &Path) -> Result<BTreeSet<String>, Failed> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

/// Reads every file before anything is played; all that is wrong with scenarios is told in one go.
fn read_all(paths: &[PathBuf]) -> Result<Vec<Trial>, Failed> {
    let mut files = BTreeMap::new();
    for path in paths {
        find(path, &mut files)?;
    }
    let (mut trials, mut problems) = (Vec::new(), Vec::new());
    for path in files.into_keys() {
        let (text, directory) = (read(&path)?, path.parent().unwrap_or(Path::new("")).to_owned());
        if Table::is_one(&text) {
            match Table::parse(&path, &text) {
                Ok(table) => trials.push(Trial::Table(table)),
                Err(failed) => problems.push(line_of(&failed)),
            }
            continue;
        }
        match Scenario::parse(&path, &text, &|name| fleet_of(name, &directory)) {
            Ok(scenario) => trials.push(Trial::Scenario(Box::new(scenario))),
            Err(found) => problems.extend(found.iter().map(ToString::to_string)),
        }
    }
    if !problems.is_empty() {
        let what = match problems.len() {
            1 => "one thing is wrong".to_owned(),
            many => format!("{many} things are wrong"),
        };
        return Err(Failed::usage(what).at(problems.join("\n")).unchanged("no scenario was played"));
    }
    if trials.is_empty() {
        return Err(
            Failed::usage("there is no scenario").next("name files that end in .toml, or directories with some")
        );
    }
    Ok(trials)
}

/// What is wrong with a table, as the problems of scenarios are told: where, what, and what to do.
fn line_of(Failed { told, .. }: &Failed) -> String {
    let place = told.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
    let next = told.next.as_ref().map(|next| format!("\n  do: {next}")).unwrap_or_default();
    format!("{place}{}{next}", told.what)
}

/// Scenarios are the files that end in `.toml`; fleets lie in directories called `fleets`.
fn find(path: &Path, found: &mut BTreeMap<PathBuf, ()>) -> Result<(), Failed> {
    if !path.is_dir() {
        found.insert(path.to_owned(), ());
        return Ok(());
    }
    let unreadable = |error: std::io::Error| Failed::usage(format!("it cannot be listed: {error}")).at(path.display());
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let below = entry.map_err(unreadable)?.path();
        let is_scenario = below.extension().is_some_and(|extension| extension == "toml");
        if is_scenario || (below.is_dir() && !below.ends_with("fleets")) {
            find(&below, found)?;
        }
    }
    Ok(())
}

/// The timeline behind the name of the policy that decided: another one's is no measure for it.
fn headed(ended: &Ended) -> Vec<String> {
    let name = ended.journal.iter().find_map(|record| match &record.cause {
        Cause::Decided(decided) => Some(decided.revision.name.as_str()),
        _ => None,
    });
    let header = format!("# {}", name.unwrap_or("nobody"));
    [header].into_iter().chain(ended.timeline.iter().cloned()).collect()
}

/// What came of holding a timeline against the golden one.
enum Golden {
    /// It is as it was, or was written anew.
    Same,
    Differs(Failure),
    Missing,
    OfAnother,
}

fn golden(scenario: &Path, timeline: &[String], update: bool) -> Result<Golden, Failed> {
    let path = scenario.with_extension("timeline");
    let now = timeline.iter().map(|line| format!("{line}\n")).collect::<String>();
    if update {
        write(&path, &now)?;
        return Ok(Golden::Same);
    }
    if !path.exists() {
        return Ok(Golden::Missing);
    }
    let golden = read(&path)?;
    if golden.lines().next() != timeline.first().map(String::as_str) {
        return Ok(Golden::OfAnother);
    }
    let lines = || golden.lines().map(Some).chain(std::iter::repeat(None));
    let differs = timeline.iter().map(|line| Some(line.as_str())).chain([None]).zip(lines()).position(|(a, b)| a != b);
    let differing = |at| Golden::Differs(differing(&path, at, golden.lines().nth(at), timeline.get(at)));
    Ok(differs.map_or(Golden::Same, differing))
}

fn differing(path: &Path, at: usize, was: Option<&str>, is: Option<&String>) -> Failure {
    let end = "(the end)";
    let text = format!(
        "line {} of {} was: {}\n    and is: {}",
        at + 1,
        path.display(),
        was.unwrap_or(end),
        is.map_or(end, String::as_str)
    );
    Failure { line: 0, text }
}

fn page(tested: &Tested) -> String {
    let mut text = String::new();
    for case in &tested.cases {
        let (word, tone) = if case.failures.is_empty() { ("ok  ", Tone::Good) } else { ("FAIL", Tone::Bad) };
        text += &format!("{} {}  {}\n", paint(word, tone), case.file.display(), paint(&case.title, Tone::Quiet));
        if let Some(why) = case.not_compared {
            text += &format!("    {}\n", paint(why, Tone::Quiet));
        }
        for failure in &case.failures {
            text += &format!("    {}\n", case.told(failure));
        }
    }
    text += &format!("{} passed, {} failed; {} codes were given\n", tested.passed, tested.failed, tested.codes.len());
    for (what, codes) in [("never given", &tested.never_given), ("given, and not in the list", &tested.unlisted)] {
        if let Some(codes) = codes.as_ref().filter(|codes| !codes.is_empty()) {
            let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
            text += &paint(format!("{what}: {}\n", codes.join(", ")), Tone::Warning);
        }
    }
    text
}

fn read(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path)
        .map_err(|error| Failed::usage(format!("it cannot be read: {error}")).at(path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), Failed> {
    std::fs::write(path, text).map_err(|error| Failed::new(format!("it cannot be written: {error}")).at(path.display()))
}
