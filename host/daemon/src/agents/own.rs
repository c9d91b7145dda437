//! The host as a vantage point of its own, where no agent stands at its site: the same looks, without a way in between.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::protocol::Heartbeat;
use super::trial::Sight;
use super::{Clock, Sighting, Word, lock};
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
    /// Starts without targets. `name` is that of the host's own vantage point in the fleet file; `sight` is shown all it sees.
    pub fn start(
        name: &str,
        looker: Arc<dyn Looker>,
        clock: Clock,
        control_targets: Vec<String>,
        words: mpsc::Sender<Word>,
        sight: Arc<Mutex<Sight>>,
    ) -> OwnVantage {
        crate::prober::raise_file_limit();
        let (sender, seen) = mpsc::channel(WAITING_MAX);
        let prober = Prober::start(looker, Arc::new(move || Heartbeat { host: 0, sent: clock() }), sender);
        let voice = Voice { name: name.into(), control: Control::start(control_targets, false), words, sight };
        OwnVantage { prober, task: tokio::spawn(voice.hand_on(seen)).abort_handle() }
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

/// How it speaks.
struct Voice {
    name: Arc<str>,
    control: Control,
    words: mpsc::Sender<Word>,
    sight: Arc<Mutex<Sight>>,
}

impl Voice {
    async fn hand_on(mut self, mut seen: mpsc::Receiver<Seen>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut looks = Vec::new();
            tokio::select! {
                count = seen.recv_many(&mut looks, WORD_MAX) => if count == 0 { return },
                _ = ticks.tick() => {}
                // Without control targets nothing ever changes, and nobody is there to say so.
                true = self.control.changed() => {}
            }
            if self.words.send(self.word(looks)).await.is_err() {
                return;
            }
        }
    }

    fn word(&self, looks: Vec<Seen>) -> Word {
        let looks: Vec<_> = looks.into_iter().map(Sighting::from).collect();
        let mut sight = lock(&self.sight);
        for look in &looks {
            sight.see((&look.service, &look.site), look.outcome, &look.detail, look.not_before);
        }
        Word { vantage: self.name.clone(), sound: self.control.sound(), looks }
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
