//! One agent as its host knows it: what it last said, and what it is to do.
//!
//! Outlives reloads of the fleet file. Decides which of an agent's words count: those of this session that have not
//! counted already, and whose age this host's clock bounds.

use std::sync::Mutex;

use tidegate_kernel::contract::Millis;

use super::protocol::{ChainHead, Heartbeat, Look, Report};
use super::trial::Sight;
use super::work::WorkQueue;
use super::{Sighting, Word, lock};

/// One agent.
#[derive(Default)]
pub(super) struct Post {
    pub(super) work: WorkQueue,
    pub(super) sight: Mutex<Sight>,
    hearing: Mutex<Hearing>,
}

/// What an agent last said.
#[derive(Default)]
struct Hearing {
    /// The agent's process.
    session: u64,
    /// Number of the first look of this session that has not counted yet.
    next_look: u64,
    /// The newest heartbeat that was sent to it.
    sent: Option<Millis>,
    /// The first head of the journal that it spoke of.
    remembered: Option<ChainHead>,
    /// When it was last heard, and with what; without its looks.
    heard: Option<(Millis, Report)>,
}

impl Post {
    /// Takes a report and says what of it counts: nothing if it echoes no heartbeat of this host, or one older than `freshness`.
    pub(super) fn hear(
        &self,
        name: &str,
        session: u64,
        mut report: Report,
        now: Heartbeat,
        freshness: Millis,
    ) -> Option<Word> {
        let mut hearing = lock(&self.hearing);
        let looks = hearing.not_yet_counted(session, report.first, std::mem::take(&mut report.looks));
        let bounded = |heartbeat: Heartbeat| heartbeat.host == now.host && Some(heartbeat.sent) <= hearing.sent;
        let fresh = bounded(report.heartbeat) && now.sent.saturating_sub(report.heartbeat.sent) <= freshness;
        let looks: Vec<_> = looks.into_iter().filter(|look| bounded(look.heartbeat)).map(Sighting::from).collect();
        self.watch(&looks, &report, now.sent);
        let word = fresh.then(|| Word { vantage: name.into(), sound: report.sound, looks });
        hearing.sent = Some(now.sent);
        hearing.remembered = hearing.remembered.take().or(report.chain.clone());
        hearing.heard = Some((now.sent, report));
        word
    }

    /// When it was last heard, and with what.
    pub(super) fn heard(&self) -> Option<(Millis, Report)> {
        lock(&self.hearing).heard.clone()
    }

    /// The first head of the journal that it spoke of to this host's process.
    pub(super) fn remembered(&self) -> Option<ChainHead> {
        lock(&self.hearing).remembered.clone()
    }

    fn watch(&self, looks: &[Sighting], report: &Report, now: Millis) {
        let mut sight = lock(&self.sight);
        for look in looks {
            sight.see((&look.service, &look.site), look.outcome, &look.detail, look.not_before);
        }
        if let Some(version) = &report.plan {
            sight.works_by(version, &report.problems, now);
        }
    }
}

impl Hearing {
    /// A report that is sent again after a lost answer brings looks that have counted already: one bad look must not
    /// become two.
    fn not_yet_counted(&mut self, session: u64, first: u64, looks: Vec<Look>) -> Vec<Look> {
        if self.session != session {
            (self.session, self.next_look) = (session, 0);
        }
        let counted = self.next_look.saturating_sub(first) as usize;
        self.next_look = self.next_look.max(first + looks.len() as u64);
        looks.into_iter().skip(counted).collect()
    }
}

impl From<Look> for Sighting {
    fn from(look: Look) -> Self {
        Sighting {
            service: look.service.into(),
            site: look.site.into(),
            outcome: look.outcome,
            latency: look.latency,
            detail: look.detail,
            not_before: look.heartbeat.sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_kernel::contract::Outcome;

    use super::*;

    const FRESHNESS: Millis = 3_000;

    fn at(host: u64, sent: Millis) -> Heartbeat {
        Heartbeat { host, sent }
    }

    fn report(heartbeat: Heartbeat, first: u64, looks: usize) -> Report {
        let look = Look {
            service: "shop".into(),
            site: "west".into(),
            outcome: Outcome::Refused,
            latency: None,
            detail: String::new(),
            heartbeat,
        };
        Report { heartbeat, sound: true, first, looks: vec![look; looks], ..Report::default() }
    }

    fn looks(word: Option<Word>) -> Option<usize> {
        word.map(|word| word.looks.len())
    }

    #[test]
    fn counts_a_look_that_is_sent_twice_once() {
        let post = Post::default();
        post.hear("a", 1, report(at(0, 0), 0, 0), at(9, 100), FRESHNESS);
        assert_eq!(looks(post.hear("a", 1, report(at(9, 100), 0, 2), at(9, 200), FRESHNESS)), Some(2));
        assert_eq!(looks(post.hear("a", 1, report(at(9, 100), 0, 3), at(9, 300), FRESHNESS)), Some(1));
        assert_eq!(looks(post.hear("a", 2, report(at(9, 300), 0, 3), at(9, 400), FRESHNESS)), Some(3), "a new session");
    }

    #[test]
    fn gives_no_credit_for_a_heartbeat_that_bounds_nothing() {
        for (what, echoed) in [
            ("none yet", at(0, 0)),
            ("of another process", at(8, 100)),
            ("not sent yet", at(9, 101)),
            ("older than what counts as fresh", at(9, 0)),
        ] {
            let post = Post::default();
            post.hear("a", 1, report(at(0, 0), 0, 0), at(9, 100), FRESHNESS);
            let word = post.hear("a", 1, report(echoed, 0, 1), at(9, 3_050), FRESHNESS);
            assert_eq!(word, None, "{what}");
        }
    }

    #[test]
    fn bounds_each_look_by_the_heartbeat_it_began_after() {
        let post = Post::default();
        post.hear("a", 1, report(at(0, 0), 0, 0), at(9, 100), FRESHNESS);
        post.hear("a", 1, report(at(9, 100), 0, 0), at(9, 600), FRESHNESS);
        let mut late = report(at(9, 600), 0, 2);
        late.looks[0].heartbeat = at(9, 100);
        let word = post.hear("a", 1, late, at(9, 1_100), FRESHNESS).expect("it is fresh");
        assert_eq!(word.looks.iter().map(|look| look.not_before).collect::<Vec<_>>(), [100, 600]);
    }
}
