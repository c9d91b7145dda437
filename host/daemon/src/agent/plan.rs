//! Fetches the plan as soon as it changes, with the components it needs, and works by it from then on.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;

use super::backoff::Backoff;
use super::components::Components;
use super::link::Link;
use super::{Agent, Applied};
use crate::agents::protocol::Plan;
use crate::commands::Declared;

/// Longer than the host lets a question wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows the plan as long as the agent lives.
pub(super) async fn run(agent: Arc<Agent>, directory: Option<PathBuf>) -> Infallible {
    let mut link = Link::new(agent.address.clone(), "plan");
    let mut components = Components::new(directory);
    let mut backoff = Backoff::default();
    loop {
        match follow(&agent, &mut link, &mut components).await {
            Ok(()) => backoff.reset(),
            Err(error) => {
                tracing::debug!(%error, "no plan");
                backoff.wait().await;
            }
        }
    }
}

async fn follow(agent: &Agent, link: &mut Link, components: &mut Components) -> Result<()> {
    let held = agent.applied().version.unwrap_or_default();
    let answer = link.get(&format!("plan?version={held}"), PATIENCE).await?;
    let plan: Plan = serde_json::from_slice(&answer).context("the host's plan is of another version")?;
    if plan.version != held {
        let code = code(&plan, link, components).await?;
        apply(agent, plan, code).await;
    }
    Ok(())
}

/// The component of each slot.
async fn code(plan: &Plan, link: &mut Link, components: &mut Components) -> Result<HashMap<String, Bytes>> {
    let mut code = HashMap::new();
    for slot in plan.slots.values() {
        if !code.contains_key(&slot.digest) {
            code.insert(slot.digest.clone(), components.get(&slot.digest, link).await?);
        }
    }
    Ok(code)
}

/// Slots first, so that no target is looked at by a slot that is not there yet.
async fn apply(agent: &Agent, plan: Plan, code: HashMap<String, Bytes>) {
    let mut problems = agent.outfit.fit(plan.slots, code).await;
    let commands = Declared::all(&plan.commands).unwrap_or_else(|error| {
        problems.push(format!("{error:#}; no command is run"));
        Default::default()
    });
    for problem in &problems {
        tracing::error!(problem, "the plan cannot be followed in full");
    }
    tracing::info!(
        version = plan.version,
        targets = plan.targets.len(),
        commands = commands.len(),
        "works by a new plan"
    );
    agent.prober.set_targets(plan.targets);
    agent.plan.send_replace(Applied {
        version: Some(plan.version),
        problems,
        commands: Arc::new(commands),
        control_targets: plan.control_targets,
    });
}
