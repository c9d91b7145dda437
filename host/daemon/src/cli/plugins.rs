//! `tidegate plugin`: what is in the slots, what a file is, and how one takes another's place.

mod shadow;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::header::{CONTENT_TYPE, HeaderName};
use serde::{Deserialize, Serialize};
use tidegate_engine::inspect::{self, MAX_FILE};
use tidegate_engine::{Engine, EngineConfig, Inspected, Limits, Refusal, RevisionSpec};
use tidegate_kernel::contract::{Manifest, Want};
use tidegate_kernel::event::Revision;

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::policy::named_limits;
use crate::cli::text::{Table, Tone, cell, facts, paint};
use crate::cli::{Common, reach};
use crate::client::encode;

/// Carries the settings of a component that is sent as its bytes.
const SETTINGS: HeaderName = HeaderName::from_static("tidegate-settings");
/// Carries its limits.
const LIMITS: HeaderName = HeaderName::from_static("tidegate-limits");

/// What can be done with plugins.
#[derive(Debug, Subcommand)]
pub enum Plugin {
    /// List the slots and what is in them.
    #[command(after_help = "Examples:\n  tidegate plugin list\n  tidegate plugin list --json")]
    List,
    /// Show what a file is, without a host, or what is in a slot.
    Inspect(Inspect),
    /// Check a candidate as a swap would, and keep it beside the active revision.
    Load(Load),
    /// Put a candidate in the active revision's place, while everything runs.
    Swap(Swap),
    /// Put the revision before in the active one's place.
    Rollback(Rollback),
    /// Have a candidate decide beside the active policy, and nothing come of it.
    Shadow(shadow::ShadowOf),
    /// Show on what a shadow and the active policy do not agree.
    Diff(shadow::Diff),
    /// Put a shadow in the active policy's place, if it showed what is asked of it.
    Promote(shadow::Promote),
    /// Have a policy decide the situations of the moment over and over, count, and change nothing.
    Exercise(Exercise),
}

/// `plugin inspect FILE|SLOT`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin inspect policy.wasm            what it is, what it wants, its digest
  tidegate plugin inspect builtin:dns-rfc2136
  tidegate plugin inspect failover/default       what runs in the slot, asks the host")]
pub struct Inspect {
    /// A file, builtin:NAME, or a slot.
    #[arg(value_name = "FILE|SLOT")]
    pub subject: String,
}

/// How a candidate runs.
#[derive(Args, Clone, Debug, Default)]
pub struct RunsWith {
    /// Its settings, a JSON file [default: the slot's present ones].
    #[arg(long, value_name = "FILE", requires = "plugin")]
    pub settings: Option<PathBuf>,
    /// What it may use up, as `limits` of a slot: memory=64MiB, fuel=50000000 [default: the slot's present ones].
    #[arg(long = "limit", value_name = "NAME=VALUE", requires = "plugin")]
    pub limits: Vec<String>,
}

/// `plugin load SLOT PLUGIN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin load failover/default policy.wasm
  tidegate plugin swap failover/default          puts what was loaded into service")]
pub struct Load {
    /// The slot.
    pub slot: String,
    /// A component's file, or builtin:NAME.
    pub plugin: String,
    /// How it would run.
    #[command(flatten)]
    pub with: RunsWith,
}

/// `plugin swap SLOT [PLUGIN]`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin swap failover/default policy.wasm
  tidegate plugin swap failover/default policy.wasm --settings patient.json --limit memory=64MiB
  tidegate plugin swap failover/default          the candidate that was loaded")]
pub struct Swap {
    /// The slot.
    pub slot: String,
    /// A component's file, or builtin:NAME [default: the candidate that was loaded].
    pub plugin: Option<String>,
    /// How it runs.
    #[command(flatten)]
    pub with: RunsWith,
}

/// `plugin rollback SLOT`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin rollback failover/default")]
pub struct Rollback {
    /// The slot.
    pub slot: String,
}

/// `plugin exercise SLOT`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin exercise failover/default --decisions 10000
  tidegate plugin exercise failover/default & tidegate plugin swap failover/default policy.wasm")]
pub struct Exercise {
    /// The slot.
    pub slot: String,
    /// How many decisions.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub decisions: u64,
}

/// What an exercise showed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exercised {
    /// Answered with a decision.
    pub decisions: u64,
    /// Not answered with one.
    pub dropped: u64,
    /// Asked after a swap was acknowledged, answered by an older revision.
    pub stale: u64,
    /// The longest time between two answers.
    pub longest_gap_us: u64,
    /// Answers by revision.
    pub by_revision: BTreeMap<u64, u64>,
}

/// One slot, as the host shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Slot {
    /// Its name.
    pub slot: String,
    /// Where what runs came from.
    pub plugin: String,
    /// What runs.
    pub revision: Revision,
    /// What the operator gives it.
    pub grants: Vec<String>,
    /// What it wants and was not given.
    pub missing_grants: Vec<String>,
    /// Differs from what the fleet file says, until the next start.
    pub swapped: bool,
    /// Digest of what a rollback would bring back.
    pub previous: Option<String>,
    /// Loaded and not in service.
    pub candidate: Option<Candidate>,
    /// A probe's revision that has not reached every failure domain.
    pub rollout: Option<Rollout>,
    /// A candidate that decides beside it.
    #[serde(default)]
    pub shadow: Option<Beside>,
}

/// A shadow, in short.
#[derive(Clone, Debug, Deserialize)]
pub struct Beside {
    /// Of the component.
    pub digest: String,
    /// Questions that both answered.
    pub decisions: u64,
    /// The part of them with another verdict.
    pub divergence: f64,
}

/// How far a probe's revision has come.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rollout {
    /// Failure domains that work by it.
    pub reached: Vec<String>,
    /// Failure domains that keep the one before.
    pub to_come: Vec<String>,
    /// The failure domain that has to show that it works well.
    pub trying: Option<String>,
    /// What for.
    pub waits_for: String,
    /// It goes no further, because of this.
    pub stopped: Option<String>,
}

/// What a swap would put into service.
#[derive(Clone, Debug, Deserialize)]
pub struct Candidate {
    /// Of the component.
    pub digest: String,
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What a file is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outline {
    /// Seen from outside.
    #[serde(flatten)]
    pub inspected: Inspected,
    /// What it says of itself; none if it does not load with empty settings.
    pub manifest: Option<Manifest>,
    /// Why it does not.
    pub refused: Option<Refusal>,
}

/// Carries out one of them.
pub async fn run(common: &Common, console: &Console, asked: Plugin) -> Result<Exit, Failed> {
    match asked {
        Plugin::List => list(common, console).await,
        Plugin::Inspect(Inspect { subject }) => inspect_one(common, console, &subject).await,
        Plugin::Load(Load { slot, plugin, with }) => change(common, console, &slot, "load", Some(&plugin), &with).await,
        Plugin::Swap(Swap { slot, plugin, with }) => {
            change(common, console, &slot, "swap", plugin.as_deref(), &with).await
        }
        Plugin::Rollback(Rollback { slot }) => {
            change(common, console, &slot, "rollback", None, &RunsWith::default()).await
        }
        Plugin::Shadow(asked) => shadow::shadow(common, console, &asked).await,
        Plugin::Diff(asked) => shadow::diff(common, console, &asked).await,
        Plugin::Promote(asked) => shadow::promote(common, console, &asked).await,
        Plugin::Exercise(asked) => exercise(common, console, &asked).await,
    }
}

/// The list of slots; what lacks a grant or differs from the fleet file is marked.
pub fn table(slots: &[Slot]) -> String {
    let mut table = Table::new(["slot", "plugin", "version", "digest", "notes"]);
    for slot in slots {
        let (notes, tone) = notes(slot);
        table.row([
            cell(&slot.slot, Tone::Title),
            slot.revision.name.as_str().into(),
            slot.revision.version.as_str().into(),
            short(&slot.revision.digest).into(),
            cell(notes, tone),
        ]);
    }
    table.render()
}

/// What a file is, for people.
pub fn outline(outline: &Outline) -> String {
    let Inspected { world, contract, digest, size, .. } = &outline.inspected;
    let mut lines = vec![
        ("world", world.to_string()),
        ("contract", contract.clone()),
        ("digest", digest.clone()),
        ("size", format!("{} KiB", size.div_ceil(1024))),
    ];
    if let Some(manifest) = &outline.manifest {
        lines.push(("name", format!("{} {}", manifest.name, manifest.version)));
        lines.push(("summary", manifest.summary.clone()));
        lines.extend(manifest.wants.iter().map(|want| ("wants", wanted(want))));
    }
    if let Some(refused) = &outline.refused {
        lines.push(("settings", paint(format!("needs some: {}", refused.why), Tone::Warning)));
    }
    facts(lines)
}

async fn list(common: &Common, console: &Console) -> Result<Exit, Failed> {
    let slots = reach::host(common)?.fetch::<Vec<Slot>>("/v1/plugins").await?;
    console.show_fetched(&slots, |slots, _| table(slots))?;
    Ok(Exit::Done)
}

/// A slot's name is asked of the host, unless a file is called so.
async fn inspect_one(common: &Common, console: &Console, subject: &str) -> Result<Exit, Failed> {
    let is_slot = subject.contains('/') && !subject.ends_with(".wasm") && !Path::new(subject).exists();
    if is_slot {
        let slot = reach::host(common)?.fetch::<Slot>(&format!("/v1/plugins/{}", encode(subject))).await?;
        console.show_fetched(&slot, |slot, _| one_slot(slot))?;
        return Ok(Exit::Done);
    }
    let bytes = component(subject)?;
    let inspected =
        inspect::inspect(&bytes, MAX_FILE, |_| Limits::provider()).map_err(|refusal| refused(&refusal, subject))?;
    console.progress("compiling it, to ask what it says of itself");
    let (manifest, refusal) = describe(&inspected, subject, bytes).await?;
    console.show(&Outline { inspected, manifest, refused: refusal }, |found, _| outline(found))?;
    Ok(Exit::Done)
}

/// What it says of itself; it is loaded as the engine would load it, with empty settings and no grant.
async fn describe(
    inspected: &Inspected,
    source: &str,
    bytes: Vec<u8>,
) -> Result<(Option<Manifest>, Option<Refusal>), Failed> {
    let config = EngineConfig { policy_workers: 1, ..EngineConfig::default() };
    let engine = Engine::start(config).await.map_err(|refusal| refused(&refusal, source))?;
    let slot = format!("{}/inspected", inspected.world.slot_prefix());
    let spec = RevisionSpec {
        slot,
        source: source.to_owned(),
        bytes,
        settings: serde_json::json!({}),
        ..RevisionSpec::default()
    };
    Ok(match engine.stage(spec).await {
        Ok(staged) => (Some(staged.manifest().clone()), None),
        Err(refusal) => (None, Some(refusal)),
    })
}

async fn change(
    common: &Common,
    console: &Console,
    slot: &str,
    verb: &str,
    plugin: Option<&str>,
    with: &RunsWith,
) -> Result<Exit, Failed> {
    let client = reach::host(common)?;
    let path = format!("/v1/plugins/{}/{verb}", encode(slot));
    let kept = |failed: Failed| failed.unchanged("nothing was swapped");
    let settings = with.settings.as_deref().map(read_settings).transpose().map_err(kept)?;
    let limits = named_limits(&with.limits).map_err(kept)?;
    console.progress("the host verifies, compiles and tests it; what runs goes on meanwhile");
    let shown = match plugin {
        None => client.send_bytes::<Slot>(&path, Vec::new(), &[]).await?,
        Some(named) if named.starts_with("builtin:") => {
            let wanted = serde_json::json!({ "plugin": named, "settings": settings, "limits": limits });
            client.send::<Slot>(&path, &wanted).await?
        }
        Some(file) => {
            let mut headers = vec![(CONTENT_TYPE, "application/wasm".to_owned())];
            headers.extend(settings.map(|settings| (SETTINGS, settings.to_string())));
            headers.extend(limits.map(|limits| (LIMITS, limits.to_string())));
            client.send_bytes::<Slot>(&path, component(file)?, &headers).await?
        }
    };
    console.show_fetched(&shown, |slot, _| one_slot(slot))?;
    Ok(Exit::Done)
}

async fn exercise(common: &Common, console: &Console, asked: &Exercise) -> Result<Exit, Failed> {
    let client = reach::host(common)?;
    let path = format!("/v1/plugins/{}/exercise", encode(&asked.slot));
    console.progress(&format!("the host decides {} times; nothing comes of it", asked.decisions));
    let shown = client.send::<Exercised>(&path, &serde_json::json!({ "decisions": asked.decisions })).await?;
    console.show_fetched(&shown, |exercised, _| exercise_lines(exercised))?;
    Ok(Exit::Done)
}

fn exercise_lines(exercised: &Exercised) -> String {
    let revisions = exercised.by_revision.iter().map(|(number, answers)| format!("{answers} by revision {number}"));
    facts(vec![
        ("decisions", exercised.decisions.to_string()),
        ("dropped", exercised.dropped.to_string()),
        ("stale", exercised.stale.to_string()),
        ("longest gap", format!("{} us", exercised.longest_gap_us)),
        ("answers", revisions.collect::<Vec<_>>().join(", ")),
    ])
}

/// A component's bytes, from its file or from those that come with the program.
pub(super) fn component(plugin: &str) -> Result<Vec<u8>, Failed> {
    match plugin.strip_prefix("builtin:") {
        Some(name) => {
            let known = || tidegate_plugins::all().iter().map(|builtin| builtin.name).collect::<Vec<_>>().join(", ");
            let builtin = tidegate_plugins::find(name);
            let none = || {
                Failed::usage(format!("no plugin of that name comes with tidegate: {name}"))
                    .next(format!("there are: {}", known()))
            };
            builtin.map(|builtin| builtin.bytes.to_vec()).ok_or_else(none)
        }
        None => inspect::read(Path::new(plugin), MAX_FILE).map_err(|refusal| refused(&refusal, plugin)),
    }
}

pub(super) fn read_settings(path: &Path) -> Result<serde_json::Value, Failed> {
    let wrong = |error: String| Failed::usage(format!("the settings cannot be used: {error}")).at(path.display());
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))
}

pub(super) fn refused(refusal: &Refusal, source: &str) -> Failed {
    Failed::usage(format!("{}: {}", refusal.what, refusal.why))
        .at(source)
        .unchanged(&refusal.unchanged)
        .next(&refusal.next)
}

fn one_slot(slot: &Slot) -> String {
    let Revision { number, name, version, digest, settings, .. } = &slot.revision;
    let mut lines = vec![
        ("slot", paint(&slot.slot, Tone::Title)),
        ("runs", format!("{name} {version}, revision {number}, from {}", slot.plugin)),
        ("digest", digest.clone()),
        ("settings", settings.clone()),
    ];
    lines.extend(slot.grants.iter().map(|grant| ("granted", grant.clone())));
    lines.extend(slot.missing_grants.iter().map(|grant| ("not granted", paint(grant, Tone::Warning))));
    lines.extend(slot.previous.iter().map(|digest| ("rollback to", digest.clone())));
    lines.extend(
        slot.candidate.iter().map(|next| ("loaded", format!("{} {}, {}", next.name, next.version, next.digest))),
    );
    lines.extend(slot.rollout.iter().flat_map(rollout_lines));
    lines.extend(slot.shadow.iter().map(|beside| ("shadow", format!("{}, {}", beside.digest, beside_note(beside)))));
    if slot.swapped {
        lines.push((
            "differs",
            paint("the fleet file says something else, and holds again at the next start", Tone::Warning),
        ));
    }
    facts(lines)
}

fn notes(slot: &Slot) -> (String, Tone) {
    let mut notes = Vec::new();
    if !slot.missing_grants.is_empty() {
        notes.push(format!("not granted: {}", slot.missing_grants.join(", ")));
    }
    if slot.swapped {
        notes.push("differs from the fleet file".to_owned());
    }
    notes.extend(slot.candidate.iter().map(|next| format!("{} {} is loaded beside it", next.name, next.version)));
    notes.extend(slot.rollout.iter().map(rollout_note));
    notes.extend(slot.shadow.iter().map(|beside| format!("has a shadow: {}", beside_note(beside))));
    (notes.join("; "), Tone::Warning)
}

fn beside_note(beside: &Beside) -> String {
    format!("{} decisions, {:.4} of them different", beside.decisions, beside.divergence)
}

fn rollout_note(rollout: &Rollout) -> String {
    let (reached, all) = (rollout.reached.len(), rollout.reached.len() + rollout.to_come.len());
    match (&rollout.stopped, &rollout.trying) {
        (Some(_), _) => format!("stopped after {reached} of {all} failure domains"),
        (None, Some(domain)) => format!("{reached} of {all} failure domains, {domain} is trying it"),
        (None, None) => format!("{reached} of {all} failure domains"),
    }
}

fn rollout_lines(rollout: &Rollout) -> Vec<(&'static str, String)> {
    let mut lines = vec![("reached", rollout.reached.join(", "))];
    if !rollout.to_come.is_empty() {
        lines.push(("to come", rollout.to_come.join(", ")));
    }
    lines.extend(rollout.trying.iter().map(|domain| ("trying", format!("{domain}: {}", rollout.waits_for))));
    lines.extend(rollout.stopped.iter().map(|why| ("stopped", paint(why, Tone::Bad))));
    lines
}

fn wanted(want: &Want) -> String {
    match want {
        Want::Connect(to) => to.clone(),
        Want::Secret(name) => format!("secret:{name}"),
        Want::Directory(name) => format!("directory:{name}"),
        Want::Command(name) => format!("command:{name}"),
    }
}

fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}
