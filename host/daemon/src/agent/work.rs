//! Does what the host asks for besides the plan: looks at once, and runs declared commands, each key once.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::Agent;
use super::backoff::Backoff;
use super::link::Link;
use crate::agents::protocol::{Done, Order, Task, Work};

/// Longer than the host lets a question wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// For the plan that an order was given under; without it the order is held against the plan before.
const PLAN: Duration = Duration::from_secs(2);
/// For saying what became of a command.
const TELL: Duration = Duration::from_secs(10);
/// A host that has been away for longer asks again by itself.
const TELL_TRIES: u32 = 20;

/// Works as long as the agent lives.
pub(super) async fn run(agent: Arc<Agent>) -> Infallible {
    let mut link = Link::new(agent.address.clone(), "work");
    let mut backoff = Backoff::default();
    let (mut host, mut after) = (0, 0);
    loop {
        match ask(&mut link, host, after).await {
            Ok(work) => {
                backoff.reset();
                // Another process of the host counts its items anew.
                let before = if work.host == host { after } else { 0 };
                host = work.host;
                after = work.items.last().map_or(before, |item| item.number);
                work.items.into_iter().for_each(|item| begin(&agent, &work.plan, item.task));
            }
            Err(error) => {
                tracing::debug!(%error, "no work");
                backoff.wait().await;
            }
        }
    }
}

async fn ask(link: &mut Link, host: u64, after: u64) -> Result<Work> {
    let answer = link.get(&format!("work?host={host}&after={after}"), PATIENCE).await?;
    serde_json::from_slice(&answer).context("the host's work is of another version")
}

fn begin(agent: &Arc<Agent>, plan: &str, task: Task) {
    match task {
        Task::Look { service, site } => agent.prober.look_now(&service, &site),
        Task::Epoch { cluster, epoch } => agent.leases.announce(&cluster, epoch),
        Task::Run(order) => {
            tokio::spawn(run_command(agent.clone(), plan.to_owned(), order));
        }
    }
}

async fn run_command(agent: Arc<Agent>, plan: String, order: Order) {
    // The plan comes over another connection, and may be a little later than the order that it allows.
    let mut plans = agent.plan.subscribe();
    let _ = timeout(PLAN, plans.wait_for(|applied| applied.version.as_ref() == Some(&plan))).await;
    let commands = agent.applied().commands;
    tracing::info!(command = order.command, key = order.key, "runs a declared command");
    let result = agent.ledger.run(&commands, &order).await;
    let done = Done { key: order.key, result };
    if let Err(error) = tell(&agent, &done).await {
        tracing::warn!(key = done.key, %error, "the host was not told what became of a command; it has to ask again");
    }
}

async fn tell(agent: &Agent, done: &Done) -> Result<()> {
    let body = serde_json::to_vec(done)?;
    let mut link = Link::new(agent.address.clone(), "outcomes");
    let mut backoff = Backoff::default();
    for _ in 1..TELL_TRIES {
        if link.post("done", body.clone(), TELL).await.is_ok() {
            return Ok(());
        }
        backoff.wait().await;
    }
    link.post("done", body, TELL).await.map(drop)
}
