//! Follows new revisions of probes through the failure domains: each step is on record, and people are told where one stops.
//!
//! Does not know when a revision may go on: that is [`crate::agents`]' rule.

use std::sync::Arc;
use std::time::Duration;

use tidegate_kernel::event::Event;

use super::Host;
use super::core::Stopped;
use crate::agents::Moved;

/// How often the failure domain under trial is looked after.
const EVERY: Duration = Duration::from_millis(250);

/// Follows for ever.
pub(super) async fn follow(host: Arc<Host>) {
    loop {
        tokio::time::sleep(EVERY).await;
        for moved in host.agents().advance() {
            if tell(&host, moved).await.is_err() {
                return;
            }
        }
    }
}

/// Each step counts as a swap, because what turns bad after it is as likely the probe's fault.
async fn tell(host: &Host, moved: Moved) -> Result<(), Stopped> {
    match moved {
        Moved::On { slot, domain } => {
            tracing::info!(slot, domain, "the probe's new revision goes on to the next failure domain");
            match host.slots().as_swapped(&slot) {
                Some(swapped) => host.core().tell(swapped).await,
                None => Ok(()),
            }
        }
        Moved::Everywhere { slot } => {
            tracing::info!(slot, "the probe's new revision works well in every failure domain");
            Ok(())
        }
        Moved::Stopped { slot, text } => {
            tracing::error!(slot, "{text}");
            host.core().tell(Event::PluginFault { slot, text }).await
        }
    }
}
