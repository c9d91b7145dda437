//! Reads fleet file and secrets again, on SIGHUP and when one of the files changes, and puts the new reading in place whole
//! or not at all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::live::Live;
use super::{Host, metrics};

/// How often the files are looked at: mtimes of a handful of files.
const EVERY: Duration = Duration::from_secs(2);

/// Watches for ever.
pub(super) async fn watch(host: Arc<Host>) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = None;
    loop {
        let asked = tokio::select! {
            _ = hangups.recv() => true,
            _ = looks.tick() => false,
        };
        let live = host.live();
        let read = live.stamps_when_read();
        let now = tokio::task::spawn_blocking(move || live.stamps_now()).await?;
        // A file that is refused is read again only when it has changed again.
        if asked || (now != read && refused.as_ref() != Some(&now)) {
            let taken = host.reload().await;
            refused = taken.is_err().then_some(now);
            if let Err(error) = taken {
                tracing::error!(
                    "the fleet file was not taken over; the host goes on with the one that it had:\n{error:#}"
                );
            }
        }
    }
}

/// Reads, checks, stages and installs. An error has changed nothing.
pub(super) async fn reload(host: &Arc<Host>) -> anyhow::Result<()> {
    let taken = take(host).await;
    host.metrics().count(metrics::RELOADS, &[if taken.is_ok() { "taken" } else { "refused" }]);
    taken
}

async fn take(host: &Arc<Host>) -> anyhow::Result<()> {
    let _alone = host.alone().await;
    let file = host.fleet_file().to_owned();
    let fresh = tokio::task::spawn_blocking(move || Live::read(&file)).await??;
    refuse_lost_secrets(&host.live(), &fresh)?;
    say_what_needs_a_restart(&host.live(), &fresh);
    let changes = host.slots().prepare(&fresh).await?;
    host.install_agents(&fresh)?;
    let swapped = host.slots().commit(changes).await?;
    host.take_over(Arc::new(fresh)).await?;
    for event in swapped {
        host.core().tell(event).await?;
    }
    // The answer comes after all that was told before it.
    host.core().look(|_, _| ()).await?;
    tracing::info!(fleet = %host.fleet_file().display(), "fleet file and secrets were read again");
    Ok(())
}

/// A secret that was there and is gone is a mistake until somebody says otherwise by taking it out of the fleet file.
fn refuse_lost_secrets(old: &Live, fresh: &Live) -> anyhow::Result<()> {
    let lost = fresh.missing.iter().filter(|missing| old.secrets.get(&missing.name).is_some());
    let lost: Vec<_> = lost.map(ToString::to_string).collect();
    if lost.is_empty() { Ok(()) } else { bail!(lost.join("\n")) }
}

fn say_what_needs_a_restart(old: &Live, fresh: &Live) {
    let (old, new) = (&old.fleet.host, &fresh.fleet.host);
    for (key, changed) in [
        ("state", old.state != new.state),
        ("listen", old.listen != new.listen),
        ("agents-listen", old.agents_listen != new.agents_listen),
        ("tls", old.tls != new.tls),
        ("trust", old.trust != new.trust),
    ] {
        if changed {
            tracing::warn!("[host] {key} has changed: that takes effect when the host is started again");
        }
    }
}
