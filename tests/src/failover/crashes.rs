//! The host dies in the middle of a run, at a given record of its journal, and starts again: how it ended, and what it cost.
//!
//! Knows a stage and what is on disk; not what has to hold.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use super::acks::{lost, split_brain};
use super::faults::Fault;
use super::records::{OnDisk, runs};
use super::round::{next_run, told};
use super::stage::{PATIENCE, SERVICE, Stage};
use super::writers::{Writers, create_table, found};

/// The journal is looked at so often: what is written within this time is on disk together.
const LOOK: Duration = Duration::from_millis(1);

/// Which run the host dies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// A person moves the primary.
    SwitchOver,
    /// The primary's site died.
    FailOver,
    /// The old primary's site is back.
    Rejoin,
}

impl During {
    /// As the journal calls it.
    pub fn runbook(self) -> &'static str {
        match self {
            During::SwitchOver => "switch-over",
            During::FailOver => "fail-over",
            During::Rejoin => "rejoin",
        }
    }
}

/// What a crash left.
#[derive(Clone, Debug)]
pub struct Aftermath {
    /// The run as it was on disk when the host died.
    pub died_at: OnDisk,
    /// The runs since the disturbance, as they are on disk in the end.
    pub runs: Vec<OnDisk>,
    /// Rows that were acknowledged, to whichever writer.
    pub acknowledged: usize,
    /// Of these, the ones that the primary does not have in the end.
    pub lost_rows: usize,
    /// From the first to the last of them, as they were acknowledged.
    pub lost_s: f64,
    /// What the host said beforehand that might be lost.
    pub loss_bound_s: Option<f64>,
    /// How long two nodes acknowledged.
    pub split_brain_s: f64,
}

/// Disturbs a stage that is up and well, kills the host once so many records of the run are on disk, or all of them, and starts it
/// again. When this returns, every standby streams and no run is under way.
pub async fn crash(stage: &mut Stage, during: During, records: usize) -> Result<Aftermath> {
    let played = play(stage, during, records).await;
    played.with_context(|| format!("{} at record {records}: {}", during.runbook(), stage.tell()))
}

async fn play(stage: &mut Stage, during: During, records: usize) -> Result<Aftermath> {
    let (clients, before) = (stage.clients()?, stage.primary()?);
    create_table(&clients[before]).await?;
    let (earlier, next) = (runs(&stage.journal())?.len(), next_run(stage)?);
    let writers = Writers::start(&clients, &stage.postgres.network);
    writers.await_from(before, PATIENCE).await?;
    disturb(stage, &writers, during, before).await?;
    let runbook = during.runbook();
    let seen = |run: &OnDisk| run.runbook == runbook && (run.records >= records || run.end.is_some());
    await_run(stage, earlier, seen).await?;
    stage.kill_host()?;
    let died_at = await_run(stage, earlier, |run| run.runbook == runbook).await?;
    stage.start_host()?;
    if during == During::FailOver {
        writers.await_other(before, PATIENCE).await?;
        Fault::Kill.heal(stage, before)?;
    }
    stage.await_settled()?;
    let acks = writers.stop().await;
    let rows = found(&clients[stage.primary()?]).await?;
    let (lost_rows, lost_for) = lost(&acks, &rows);
    let (loss_bound_s, _) = told(stage, next)?;
    Ok(Aftermath {
        died_at,
        runs: runs(&stage.journal())?.split_off(earlier),
        acknowledged: acks.len(),
        lost_rows,
        lost_s: lost_for.as_secs_f64(),
        loss_bound_s,
        split_brain_s: split_brain(&acks).as_secs_f64(),
    })
}

async fn disturb(stage: &mut Stage, writers: &Writers, during: During, before: usize) -> Result<()> {
    if during == During::SwitchOver {
        await_movable(stage).await?;
        let mut order = stage.command(&["switchover", SERVICE, "--yes", "--json"]);
        // It may wait for an answer that never comes; whoever gave the order hears that the host is gone.
        let order = order.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        stage.keep(order.context("order the switchover")?);
        return Ok(());
    }
    Fault::Kill.strike(stage, before)?;
    if during == During::Rejoin {
        writers.await_other(before, PATIENCE).await?;
        Fault::Kill.heal(stage, before)?;
    }
    Ok(())
}

/// Right after its start the host refuses to move what it has not yet seen well.
async fn await_movable(stage: &Stage) -> Result<()> {
    let begun = Instant::now();
    loop {
        let plan = stage.command(&["switchover", SERVICE, "--dry-run"]).output().context("ask for the plan")?;
        if plan.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&plan.stdout);
        ensure!(begun.elapsed() < PATIENCE, "{SERVICE} could not be moved for {} s: {why}", PATIENCE.as_secs());
        sleep(LOOK).await;
    }
}

/// The first run, of those that came since, of which this is so.
async fn await_run(stage: &Stage, earlier: usize, so: impl Fn(&OnDisk) -> bool) -> Result<OnDisk> {
    let begun = Instant::now();
    loop {
        let run = runs(&stage.journal())?.into_iter().skip(earlier).find(&so);
        if let Some(run) = run {
            return Ok(run);
        }
        ensure!(begun.elapsed() < PATIENCE, "no such run came about within {} s", PATIENCE.as_secs());
        sleep(LOOK).await;
    }
}
