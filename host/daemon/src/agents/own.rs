//! The host as a vantage point of its own, where no agent stands at its site: the same looks, without a way in between.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::protocol::Heartbeat;
use super::{Clock, Sighting, Word};
use crate::prober::control::Control;
use crate::prober::{Counters, Looker, Prober, Seen, Target};

/// Looks that wait for the one who hands them on.
const WAITING_MAX: usize = 4_096;
/// Looks in one word.
const WORD_MAX: usize = 512;
/// At least that often it says that it lives, as agents do.
const EVERY: Duration = Duration::from_millis(500);

/// Looks from here until it is dropped.
pub struct OwnVantage {
    prober: Prober,
    task: AbortHandle,
}

impl OwnVantage {
    /// Starts without targets. `name` is that of the host's own vantage point in the fleet file.
    pub fn start(
        name: &str,
        looker: Arc<dyn Looker>,
        clock: Clock,
        control_targets: Vec<String>,
        words: mpsc::Sender<Word>,
    ) -> OwnVantage {
        crate::prober::raise_file_limit();
        let (sender, seen) = mpsc::channel(WAITING_MAX);
        let prober = Prober::start(looker, Arc::new(move || Heartbeat { host: 0, sent: clock() }), sender);
        let task =
            tokio::spawn(hand_on(name.into(), Control::start(control_targets, false), seen, words)).abort_handle();
        OwnVantage { prober, task }
    }

    /// Looks at these from now on.
    pub fn set_targets(&self, targets: Vec<Target>) {
        self.prober.set_targets(targets);
    }

    /// Looks at one target at once.
    pub fn look_now(&self, service: &str, site: &str) {
        self.prober.look_now(service, site);
    }

    /// What has become of its looks.
    pub fn counters(&self) -> Counters {
        self.prober.counters()
    }
}

impl Drop for OwnVantage {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn hand_on(name: Arc<str>, mut control: Control, mut seen: mpsc::Receiver<Seen>, words: mpsc::Sender<Word>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut looks = Vec::new();
        tokio::select! {
            count = seen.recv_many(&mut looks, WORD_MAX) => if count == 0 { return },
            _ = ticks.tick() => {}
            // Without control targets nothing ever changes, and nobody is there to say so.
            true = control.changed() => {}
        }
        let looks = looks.into_iter().map(Sighting::from).collect();
        let word = Word { vantage: name.clone(), sound: control.sound(), looks };
        if words.send(word).await.is_err() {
            return;
        }
    }
}

impl From<Seen> for Sighting {
    fn from(seen: Seen) -> Self {
        Sighting {
            service: seen.service,
            site: seen.site,
            outcome: seen.outcome,
            latency: seen.latency,
            detail: seen.detail,
            not_before: seen.heartbeat.sent,
        }
    }
}
