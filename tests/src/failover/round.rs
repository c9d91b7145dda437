//! One round: a stage of its own, writers at work, a fault, and what it cost them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::acks::{lost, outage, split_brain};
use super::faults::Fault;
use super::stage::{Mode, PATIENCE, Stage};
use super::writers::{ROAMING, Writers, create_table, found};
use crate::network::Network;

/// The writers are at work for so long before anything happens.
const BEFORE: Duration = Duration::from_secs(3);
/// And for so long after everything is well again.
const AFTER: Duration = Duration::from_secs(1);

/// What a round showed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Findings {
    /// The longest that the roaming writer went without an acknowledgement, from the fault on.
    pub outage_s: f64,
    /// Rows that were acknowledged, to whichever writer.
    pub acknowledged: usize,
    /// Of these, the ones that the primary does not have in the end.
    pub lost_rows: usize,
    /// From the first to the last of them, as they were acknowledged.
    pub lost_s: f64,
    /// What the host said beforehand that might be lost; none = it did not move, or nothing could be.
    pub loss_bound_s: Option<f64>,
    /// How long two nodes acknowledged.
    pub split_brain_s: f64,
    /// From the site's return until all standbys stream again.
    pub rejoin_s: f64,
    /// Another node leads.
    pub moved: bool,
    /// What the promotion rested on.
    pub proof: Option<String>,
}

/// Plays it once, on a stage of its own.
pub fn play(binary: &Path, fault: Fault, mode: Mode) -> Result<Findings> {
    let play = || {
        let network = if fault == Fault::Cut { Network::apart()? } else { Network::loopback() };
        let mut stage = Stage::start_in(network, binary, mode, &[])?;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().context("a runtime")?;
        runtime.block_on(play_on(&mut stage, fault))
    };
    // Whose network is its own, and ends with it.
    let played = thread::scope(|scope| scope.spawn(play).join());
    played.map_err(|_| anyhow!("the round panicked"))?
}

/// Plays it on a stage that is up and well; the error has what everybody said.
pub async fn play_on(stage: &mut Stage, fault: Fault) -> Result<Findings> {
    let played = on(stage, fault).await;
    played.with_context(|| format!("{}: {}", fault.name(), stage.tell()))
}

async fn on(stage: &mut Stage, fault: Fault) -> Result<Findings> {
    let clients = stage.clients()?;
    let before = stage.primary()?;
    create_table(&clients[before]).await?;
    let next = next_run(stage)?;
    let writers = Writers::start(&clients, &stage.postgres.network);
    sleep(BEFORE).await;
    let struck = Instant::now();
    fault.strike(stage, before)?;
    if fault.moves() {
        writers.await_other(before, PATIENCE).await?;
    }
    sleep(fault.lasts().saturating_sub(struck.elapsed())).await;
    let healed = Instant::now();
    fault.heal(stage, before)?;
    stage.await_settled()?;
    let rejoined = healed.elapsed();
    sleep(AFTER).await;
    let acks = writers.stop().await;
    let after = stage.primary()?;
    let rows = found(&clients[after]).await?;
    let (lost_rows, lost_for) = lost(&acks, &rows);
    let (loss_bound_s, proof) = told(stage, next)?;
    Ok(Findings {
        outage_s: outage(&acks, ROAMING, struck).as_secs_f64(),
        acknowledged: acks.len(),
        lost_rows,
        lost_s: lost_for.as_secs_f64(),
        loss_bound_s,
        split_brain_s: split_brain(&acks).as_secs_f64(),
        rejoin_s: rejoined.as_secs_f64(),
        moved: before != after,
        proof,
    })
}

/// What the run that moved the primary, if one did since, said beforehand of the loss, and what it rested on.
pub(super) fn told(stage: &Stage, next: u64) -> Result<(Option<f64>, Option<String>)> {
    let since = |run: &&Value| run["id"].as_u64().is_some_and(|id| id >= next);
    let moved = |run: &Value| matches!(run["kind"].as_str(), Some("fail-over" | "switch-over"));
    let runs = runs(stage)?;
    let all = || runs.iter().filter(since).filter(|run| moved(run));
    // One that was undone promoted nobody.
    let Some(run) = all().find(|run| run["end"] == "done").or_else(|| all().next()) else { return Ok((None, None)) };
    let name = format!("r{}", run["id"].as_u64().unwrap_or_default());
    let report = stage.ask(&["report", &name, "--json"])?;
    let steps = report["steps"].as_array().cloned().unwrap_or_default();
    let proof = steps.iter().find(|step| step["name"] == "proof").and_then(|step| step["text"].as_str());
    let bound = report["loss"]["beforehand"].as_f64().map(|bound| bound / 1_000.0);
    Ok((bound, proof.and_then(|text| text.split(':').next()).map(str::to_owned)))
}

/// The number that the next run will have.
pub(super) fn next_run(stage: &Stage) -> Result<u64> {
    let newest = runs(stage)?.iter().filter_map(|run| run["id"].as_u64()).max();
    Ok(newest.map_or(0, |newest| newest + 1))
}

fn runs(stage: &Stage) -> Result<Vec<Value>> {
    let listed = stage.ask(&["run", "list", "--json"])?;
    Ok(listed.as_array().cloned().or_else(|| listed["runs"].as_array().cloned()).unwrap_or_default())
}
