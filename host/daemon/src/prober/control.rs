//! Whether a vantage point is itself cut off: it is sound while it reaches one of its control targets.
//!
//! Opens plain TCP connections and closes them again; says nothing of any service.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// From one round of looks at the control targets to the next.
const EVERY: Duration = Duration::from_secs(1);
/// A control target is near, or of no use.
const TIMEOUT: Duration = Duration::from_millis(800);

/// Looks at the control targets until it is dropped.
pub struct Control {
    sound: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Control {
    /// Starts looking at these (`tcp://ADDRESS:PORT`). Without any, the vantage point counts as sound always; with some, as
    /// `until_then` says before the first round is over.
    pub fn start(targets: Vec<String>, until_then: bool) -> Control {
        let (sender, sound) = watch::channel(until_then || targets.is_empty());
        let task = tokio::spawn(watch(targets, sender)).abort_handle();
        Control { sound, task }
    }

    /// As found in the last round.
    pub fn sound(&self) -> bool {
        *self.sound.borrow()
    }

    /// Waits until that changes; false if it never will again.
    pub async fn changed(&mut self) -> bool {
        self.sound.changed().await.is_ok()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(targets: Vec<String>, sound: watch::Sender<bool>) {
    if targets.is_empty() {
        return;
    }
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let reached = reaches_one(&targets).await;
        sound.send_if_modified(|sound| std::mem::replace(sound, reached) != reached);
    }
}

async fn reaches_one(targets: &[String]) -> bool {
    let mut looks = JoinSet::new();
    for target in targets {
        let address = target.strip_prefix("tcp://").unwrap_or(target).to_owned();
        looks.spawn(async move { matches!(timeout(TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_))) });
    }
    while let Some(reached) = looks.join_next().await {
        if reached.unwrap_or(false) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn is_sound_while_one_of_its_control_targets_answers() {
        let answers = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reached = format!("tcp://{}", answers.local_addr().unwrap());
        let mut control = Control::start(vec!["tcp://127.0.0.1:1".into(), reached], false);
        while !control.sound() {
            assert!(control.changed().await);
        }
        drop(answers);
        while control.sound() {
            assert!(control.changed().await);
        }
    }

    #[tokio::test]
    async fn is_what_it_was_before_the_first_round_is_over() {
        let unreachable = || vec!["tcp://127.0.0.1:1".into()];
        assert!(!Control::start(unreachable(), false).sound());
        assert!(Control::start(unreachable(), true).sound());
        assert!(Control::start(Vec::new(), false).sound());
    }
}
