//! What the agents remember of the journal, held against the journal: nobody can change it on this machine alone.
//!
//! An agent itself sees a journal that goes back. One that was cut, and has grown beyond what the agent knew before they met
//! again, only shows here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_kernel::event::Event;

use super::Host;
use crate::agents::AgentView;
use crate::agents::protocol::{ChainHead, Rewritten};
use crate::journal::{Head, Reader, directory};

const EVERY: Duration = Duration::from_secs(1);

/// What has been looked at since the host's start.
#[derive(Default)]
struct Memory {
    compared: BTreeSet<String>,
    told: BTreeMap<String, Rewritten>,
}

/// Watches for ever, and tells the kernel once of each agent that remembers another journal than this one.
pub(super) async fn watch(host: Arc<Host>) {
    let mut memory = Memory::default();
    loop {
        tokio::time::sleep(EVERY).await;
        for agent in host.agents().views() {
            let Some(rewritten) = memory.contradicts(&host, &agent).await else { continue };
            if memory.told.get(&agent.name) == Some(&rewritten) {
                continue;
            }
            tracing::error!(agent = agent.name, ?rewritten, "an agent remembers another journal than this one");
            let (seen, shown) = (rewritten.seen.clone().into(), rewritten.shown.clone().into());
            if host.core().tell(Event::Rewritten { agent: agent.name.clone(), seen, shown }).await.is_err() {
                return;
            }
            memory.told.insert(agent.name, rewritten);
        }
    }
}

impl Memory {
    /// What an agent remembers from before this process is compared once: what it learns later it learns from this one.
    async fn contradicts(&mut self, host: &Host, agent: &AgentView) -> Option<Rewritten> {
        if agent.rewritten.is_some() {
            return agent.rewritten.clone();
        }
        let seen = agent.remembers.clone().filter(|_| self.compared.insert(agent.name.clone()))?;
        let (journal, head) = (directory(host.state()), host.core().head());
        let number = seen.number;
        let shown = tokio::task::spawn_blocking(move || found(journal, number, head)).await;
        match shown.map_err(anyhow::Error::from).flatten() {
            Ok(shown) => (shown != seen).then_some(Rewritten { seen, shown }),
            Err(error) => {
                tracing::error!(agent = agent.name, "what it remembers cannot be held against the journal: {error:#}");
                None
            }
        }
    }
}

/// The journal's record of that number, or its newest where there is none.
fn found(journal: PathBuf, number: u64, head: Head) -> anyhow::Result<ChainHead> {
    let entry = Reader::after(&journal, number.saturating_sub(1))?.up_to(head.n).next().transpose()?;
    Ok(match entry {
        Some(entry) => ChainHead { number: entry.n, hash: entry.hash },
        None => ChainHead { number: head.n, hash: head.hash },
    })
}
