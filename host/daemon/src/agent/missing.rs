//! Which declared commands could not be run here: looked after at every new plan and then again and again, so that the host
//! knows before the night in which one is needed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use crate::commands::Declared;

/// Programs and users come and go with packages.
const AGAIN: Duration = Duration::from_secs(10);

/// Looks after them as long as the agent lives.
pub(super) async fn run(agent: Arc<Agent>) -> Infallible {
    let mut plans = agent.plan.subscribe();
    loop {
        let commands = plans.borrow_and_update().commands.clone();
        // The user's database may be somewhere in the network.
        if let Ok(missing) = tokio::task::spawn_blocking(move || missing(&commands)).await {
            agent.missing.send_if_modified(|known| {
                let news = *known != missing;
                *known = missing;
                news
            });
        }
        // The sender is the agent's own: it is never gone.
        let _ = tokio::time::timeout(AGAIN, plans.changed()).await;
    }
}

fn missing(commands: &BTreeMap<String, Declared>) -> BTreeMap<String, String> {
    commands.iter().filter_map(|(name, command)| Some((name.clone(), command.missing()?))).collect()
}
