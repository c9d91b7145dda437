//! What providers are lent: today's secrets, and commands on the sites' agents.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{CommandRun, CommandRunner, SecretSource};
use tidegate_kernel::contract::{Failure, Output};

use crate::agents::protocol::Order;
use crate::agents::{Agents, draw};
use crate::host::live::Live;

/// Lends what a provider was granted.
pub(super) struct Lent {
    live: Arc<ArcSwap<Live>>,
    agents: Arc<Agents>,
    /// Begins the keys of looks.
    looks: String,
    looked: AtomicU64,
}

impl Lent {
    pub(super) fn new(live: Arc<ArcSwap<Live>>, agents: Arc<Agents>) -> Lent {
        Lent { live, agents, looks: format!("look/{:x}", draw()), looked: AtomicU64::new(0) }
    }
}

impl SecretSource for Lent {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        let live = self.live.load();
        let secret = live.secrets.get(name).map(|secret| secret.bytes().to_vec());
        Box::pin(async move { secret.ok_or_else(|| Failure::NotFound(format!("secret {name}"))) })
    }
}

impl CommandRunner for Lent {
    fn run<'a>(&'a self, run: CommandRun) -> BoxFuture<'a, Result<Output, Failure>> {
        // No plugin can name another's key; a look's is never named again.
        let key = match &run.key {
            Some(key) => format!("{}/{key}", run.slot),
            None => format!("{}/{}", self.looks, self.looked.fetch_add(1, Ordering::Relaxed)),
        };
        let order =
            Order { key, command: run.name, arguments: run.arguments.into_iter().collect(), timeout: run.timeout };
        Box::pin(async move { self.agents.run_command(&run.site, order).await })
    }
}
