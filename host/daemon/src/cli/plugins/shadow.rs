//! `plugin shadow`, `plugin diff` and `plugin promote`: a candidate beside the active policy, until it may take its place.

use clap::Args;
use serde::Deserialize;

use super::{RunsWith, Slot, change, one_slot};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Tone, facts, paint, said as line};
use crate::cli::times::Times;
use crate::cli::{Common, reach};
use crate::client::encode;
use crate::said::Said;

/// `plugin shadow SLOT PLUGIN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin shadow failover/default policy.wasm
  tidegate plugin shadow failover/default python.wasm --limit memory=64MiB
  tidegate plugin diff failover/default          on what they do not agree
  tidegate plugin shadow failover/default --end

It has a memo, a thread and a budget of its own: the active policy never waits for it, and nothing comes of its word.")]
pub struct ShadowOf {
    /// The slot.
    pub slot: String,
    /// A component's file, or builtin:NAME.
    #[arg(required_unless_present = "end", conflicts_with = "end")]
    pub plugin: Option<String>,
    /// How it runs.
    #[command(flatten)]
    pub with: RunsWith,
    /// End it.
    #[arg(long)]
    pub end: bool,
}

/// `plugin diff SLOT`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin diff failover/default
  tidegate plugin diff failover/default --json")]
pub struct Diff {
    /// The slot.
    pub slot: String,
}

/// `plugin promote SLOT`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate plugin promote failover/default --require 'divergence<=0.01,decisions>=1000,faults<=0'
  tidegate plugin rollback failover/default      if it was no good after all

A question to which the shadow gives no decision is a fault, and no divergence: faults<=0 asks for none of them.
Exit codes: 0 it decides now, 2 bad usage, 3 what is required is not met.")]
pub struct Promote {
    /// The slot.
    pub slot: String,
    /// What the shadow has to have shown: divergence<=X, decisions>=N, faults<=N, with commas between.
    #[arg(long, value_name = "WHAT", default_value = "")]
    pub require: String,
}

/// What a shadow showed so far, as the host tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Tally {
    digest: String,
    decisions: u64,
    different: u64,
    divergence: f64,
    other_analysis: u64,
    faults: u64,
    skipped: u64,
    cannot_tell: u64,
    took_us: (u64, u64),
    fuel: (u64, u64),
    differences: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    at: u64,
    service: String,
    active: Said,
    shadow: Said,
}

pub(super) async fn shadow(common: &Common, console: &Console, asked: &ShadowOf) -> Result<Exit, Failed> {
    match &asked.plugin {
        Some(plugin) => change(common, console, &asked.slot, "shadow", Some(plugin), &asked.with).await,
        None => {
            let path = format!("/v1/plugins/{}/unshadow", encode(&asked.slot));
            let shown = reach::host(common)?.send_bytes::<Slot>(&path, Vec::new(), &[]).await?;
            console.show_fetched(&shown, |slot, _| one_slot(slot))?;
            Ok(Exit::Done)
        }
    }
}

pub(super) async fn diff(common: &Common, console: &Console, asked: &Diff) -> Result<Exit, Failed> {
    let path = format!("/v1/plugins/{}/diff", encode(&asked.slot));
    let shown = reach::host(common)?.fetch::<Tally>(&path).await?;
    console.show_fetched(&shown, page)?;
    Ok(Exit::Done)
}

pub(super) async fn promote(common: &Common, console: &Console, asked: &Promote) -> Result<Exit, Failed> {
    let path = format!("/v1/plugins/{}/promote", encode(&asked.slot));
    let wanted = serde_json::json!({ "require": asked.require });
    let shown = reach::host(common)?.send::<Slot>(&path, &wanted).await?;
    console.show_fetched(&shown, |slot, _| one_slot(slot))?;
    Ok(Exit::Done)
}

fn page(tally: &Tally, times: &Times) -> String {
    let each = |all: u64| all.checked_div(tally.decisions.max(1)).unwrap_or(0);
    let pair = |(shadow, active): (u64, u64)| format!("{} beside {}", each(shadow), each(active));
    let mut text = facts(vec![
        ("shadow", tally.digest.clone()),
        ("decisions", tally.decisions.to_string()),
        ("different", format!("{} ({:.4} of them)", tally.different, tally.divergence)),
        ("other analysis", tally.other_analysis.to_string()),
        ("faults", tally.faults.to_string()),
        ("skipped", tally.skipped.to_string()),
        ("cannot tell", tally.cannot_tell.to_string()),
        ("took, in µs", pair(tally.took_us)),
        ("fuel", pair(tally.fuel)),
    ]);
    text.push('\n');
    for Difference { at, service, active, shadow } in tally.differences.iter().rev() {
        let at = times.show(*at);
        text += &format!(
            "{} {service}, {at}\n   active: {}\n   shadow: {}\n",
            paint("differs", Tone::Warning),
            line(active),
            line(shadow)
        );
    }
    text
}
