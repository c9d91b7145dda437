//! Asks a sample of the host's own decisions again: the same revision has to answer the same question the same.
//!
//! Nothing waits for it: a decision for which there is no room is not asked about again. Does not know what a decision leads to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_engine::Question;
use tidegate_kernel::event::{Answered, Event};
use tokio::sync::mpsc;

use super::Host;
use super::metrics::{self, Metrics};
use crate::repeat;

/// One decision in so many of each slot, beginning with its first.
const EVERY: u64 = 64;

/// Decisions that may wait to be asked about again.
const WAITING: usize = 4;

/// Between two of them: four a second are a small part of what one worker decides, however dear the policy is.
const PAUSE: Duration = Duration::from_millis(250);

/// A decision to be asked about again.
pub(super) struct Sample {
    slot: String,
    question: Arc<Question>,
    first: Answered,
}

/// Which of a slot's decisions are samples.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU64);

/// Where samples go.
pub(super) struct Samples(mpsc::Sender<Sample>);

/// What came of asking again.
pub(super) struct Rechecks {
    metrics: Arc<Metrics>,
    /// By slot, the number of the revision of which people were told: one alarm for each is enough.
    told: BTreeMap<String, u64>,
}

/// Where samples are put, and where they are taken from.
pub(super) fn channel() -> (Samples, mpsc::Receiver<Sample>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Samples(sender), receiver)
}

/// Asks again what was sampled, until the host ends.
pub(super) async fn follow(host: Arc<Host>, mut samples: mpsc::Receiver<Sample>) {
    let mut rechecks = Rechecks { metrics: host.metrics.clone(), told: BTreeMap::new() };
    while let Some(sample) = samples.recv().await {
        let again = host.slots().ask_again(&sample.slot, sample.question.clone()).await;
        if let Some(event) = again.and_then(|again| rechecks.weigh(&sample, &again))
            && host.core().tell(event).await.is_err()
        {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Turns {
    /// Whether this decision's turn has come.
    pub(super) fn come(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY)
    }
}

impl Samples {
    /// Never waits.
    pub(super) fn offer(&self, slot: &str, question: Arc<Question>, first: &Answered) {
        // Where there is no room another decision will do.
        let _ = self.0.try_send(Sample { slot: slot.to_owned(), question, first: first.clone() });
    }
}

impl Rechecks {
    /// Counts the answers as the same or different. Tells of the first difference of each revision.
    fn weigh(&mut self, sample: &Sample, again: &Answered) -> Option<Event> {
        let Sample { slot, question, first } = sample;
        // A swap came between: another revision may decide as it likes.
        if first.revision.number != again.revision.number {
            return None;
        }
        let difference = repeat::difference(first.into(), again.into());
        self.metrics.count(metrics::RECHECKS, &[slot, if difference.is_some() { "different" } else { "same" }]);
        let how = difference?;
        let service = &question.situation.service;
        let text = format!(
            "decided otherwise when asked the same again: of {service} it {how}. `tidegate journal verify --replay` shows what \
             else of the journal does not repeat"
        );
        tracing::error!(slot, digest = again.revision.digest, "{text}");
        let before = self.told.insert(slot.clone(), again.revision.number);
        (before != Some(again.revision.number)).then(|| Event::PluginFault { slot: slot.clone(), text })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_engine::neutral;
    use tidegate_kernel::event::Revision;

    use super::*;

    const SLOT: &str = "failover/default";

    /// As a policy would answer that is not allowed to do what the test is about.
    fn answered(revision: u64, fuel: u64) -> Answered {
        let word = || "sha256:0".to_owned();
        let revision = Revision {
            number: revision,
            digest: word(),
            settings: word(),
            name: word(),
            version: word(),
            memo_format: word(),
        };
        let result = Err("the policy says that it cannot decide".to_owned());
        Answered { revision, settings: "{}".into(), result, reads: Vec::new(), fuel, took_us: 3 }
    }

    fn question() -> Arc<Question> {
        Arc::new(Question::new(neutral::situation()))
    }

    #[test]
    fn one_difference_of_a_revision_is_an_alarm_and_all_are_counted() {
        let metrics = Arc::new(Metrics::default());
        let mut rechecks = Rechecks { metrics: metrics.clone(), told: BTreeMap::new() };
        let mut weigh = |first: Answered, again: &Answered| {
            let event = rechecks.weigh(&Sample { slot: SLOT.into(), question: question(), first }, again);
            event.map(|event| match event {
                Event::PluginFault { slot, text } => (slot, text),
                other => panic!("{other:?}"),
            })
        };
        let slower = Answered { took_us: 4, ..answered(1, 7) };
        assert_eq!(weigh(answered(1, 7), &slower), None);
        let (slot, text) = weigh(answered(1, 7), &answered(1, 8)).unwrap();
        assert_eq!(slot, SLOT);
        assert!(
            text.starts_with("decided otherwise when asked the same again: of self-test it does 8 units"),
            "{text}"
        );
        assert_eq!(weigh(answered(1, 7), &answered(1, 9)), None, "people know");
        assert_eq!(weigh(answered(1, 7), &answered(2, 9)), None, "another revision is another policy");
        assert!(weigh(answered(2, 7), &answered(2, 9)).is_some());
        let figures = metrics.render();
        for (result, count) in [("same", 1), ("different", 3)] {
            let line = format!("tidegate_decision_rechecks_total{{slot=\"{SLOT}\",result=\"{result}\"}} {count}\n");
            assert!(figures.contains(&line), "{figures}");
        }
    }

    #[test]
    fn the_first_decision_and_one_in_so_many_after_it_are_samples() {
        let turns = Turns::default();
        let sampled: Vec<u64> = (0..=2 * EVERY).filter(|_| turns.come()).collect();
        assert_eq!(sampled, [0, EVERY, 2 * EVERY]);
    }

    #[test]
    fn a_decision_for_which_there_is_no_room_is_let_go() {
        let (samples, mut waiting) = channel();
        for revision in 0..=WAITING as u64 {
            samples.offer(SLOT, question(), &answered(revision, 7));
        }
        let taken: Vec<u64> = std::iter::from_fn(|| waiting.try_recv().ok()).map(|s| s.first.revision.number).collect();
        assert_eq!(taken, (0..WAITING as u64).collect::<Vec<_>>());
    }
}
