//! One database as its samples show it: the newest, when the primary last answered, when each node last got new log.
//!
//! All ages count on the host's steady clock from when a look began; what a node says of its own clock is never compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::contract::{Cluster, Fact, Failure, Millis, Node, Role};
use crate::event::Moment;

/// A sample older than this says nothing of now.
const FRESH: Millis = 3_000;
/// A node that got no new log for this long hears its primary no more: the provider writes once a second.
const HEARD: Millis = 2_500;

/// What was seen of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    sample: Option<Sample>,
    failure: Option<Failure>,
    /// The last sample in which the primary answered.
    contact: Option<Sample>,
    progress: BTreeMap<String, Progress>,
    /// Which of the nodes got new log lately, as of the last look.
    hearing: Vec<bool>,
    /// Looks that began earlier say nothing of now.
    not_before: Millis,
}

/// What a look saw, and when it began.
type Sample = (Moment, Arc<Cluster>);

/// How far a node had come, and since when.
#[derive(Clone, Copy, Debug)]
struct Progress {
    received: u64,
    since: Millis,
}

/// It said what it is.
pub(crate) fn answers(node: &Node) -> bool {
    node.role != Role::Unknown
}

impl Watch {
    /// Takes a sample, and says whether it tells anything new.
    pub(crate) fn take(
        &mut self,
        primary: Option<&str>,
        begun: Moment,
        result: Result<Cluster, Failure>,
        now: Millis,
    ) -> bool {
        let before = (self.sample.clone(), self.failure.take(), std::mem::take(&mut self.hearing));
        match result {
            Ok(mut cluster) => {
                self.remember(&mut cluster);
                self.note_progress(&cluster, begun.mono);
                let leads = |node: &Node| Some(node.id.as_str()) == primary && node.role == Role::Primary;
                let sample = (begun, Arc::new(cluster));
                if sample.1.nodes.iter().any(leads) {
                    self.contact = Some(sample.clone());
                }
                self.sample = Some(sample);
            }
            Err(failure) => self.failure = Some(failure),
        }
        self.hearing = self.hearing(now);
        self.differs_from(before)
    }

    /// Somebody else leads from now on: whoever was seen to lead before does so no more.
    pub(crate) fn outdate(&mut self, now: Millis) {
        self.not_before = now;
    }

    /// Somebody else has just begun to lead, and no look has shown it yet.
    pub(crate) fn is_awaited(&self, now: Millis) -> bool {
        let seen = self.sample.as_ref().is_some_and(|(begun, _)| begun.mono >= self.not_before);
        !seen && self.not_before > 0 && now.saturating_sub(self.not_before) <= FRESH
    }

    /// The newest sample, whatever its age.
    pub(crate) fn newest(&self) -> Option<&Cluster> {
        self.sample.as_ref().map(|(_, cluster)| &**cluster)
    }

    /// The newest sample, if its look began no earlier than that.
    pub(crate) fn newest_from(&self, not_before: Millis) -> Option<&Arc<Cluster>> {
        self.sample.as_ref().filter(|(begun, _)| begun.mono >= not_before).map(|(_, cluster)| cluster)
    }

    /// The newest sample, if it still says something.
    pub(crate) fn fresh(&self, now: Moment) -> Option<&Cluster> {
        let (begun, cluster) = self.sample.as_ref().filter(|(begun, _)| begun.mono >= self.not_before)?;
        (now.mono.saturating_sub(begun.mono) <= FRESH).then_some(cluster)
    }

    /// When the primary last answered.
    pub(crate) fn contact(&self) -> Option<Moment> {
        self.contact.as_ref().map(|(at, _)| *at)
    }

    /// What may be lost by promoting a node, if the old primary acknowledged until `until`; none = nobody knows.
    pub(crate) fn loss_bound(&self, node: &str, until: Millis) -> Option<Millis> {
        Some(self.lag_at_contact(node)? + until.saturating_sub(self.contact()?.mono))
    }

    /// The picture of the newest sample with all its ages as of now.
    pub(crate) fn view(&self, now: Moment) -> Option<Cluster> {
        let (begun, cluster) = self.sample.as_ref().filter(|(begun, _)| begun.mono >= self.not_before)?;
        let stale = now.mono.saturating_sub(begun.mono);
        let contact_age = self.contact().map(|at| now.mono.saturating_sub(at.mono));
        let mut cluster = Cluster::clone(cluster);
        for node in &mut cluster.nodes {
            node.lag_at_contact = self.lag_at_contact(&node.id);
            node.contact_age = contact_age;
            node.upstream_heard = self.heard(&node.id, now.mono).filter(|_| node.role == Role::Replica);
            for sighting in &mut node.seen_by {
                sighting.attempt_age += stale;
                sighting.success_age = sighting.success_age.map(|age| age + stale);
            }
        }
        cluster.facts.push(Fact { key: "sample-age".into(), value: stale.to_string() });
        if let Some(failure) = &self.failure {
            cluster.facts.push(Fact { key: "sample-failed".into(), value: failure.to_string() });
        }
        Some(cluster)
    }

    /// A node that is silent still has the data that it had.
    fn remember(&self, cluster: &mut Cluster) {
        let before = self.newest().map(|before| before.nodes.as_slice()).unwrap_or_default();
        for node in cluster.nodes.iter_mut().filter(|node| !answers(node)) {
            let Some(known) = before.iter().find(|known| known.id == node.id) else { continue };
            node.identity = node.identity.take().or_else(|| known.identity.clone());
            node.timeline = node.timeline.or(known.timeline);
            node.forked_at = node.forked_at.or(known.forked_at);
        }
    }

    /// How far a node was behind when the primary last answered.
    fn lag_at_contact(&self, node: &str) -> Option<Millis> {
        let (_, seen) = self.contact.as_ref()?;
        seen.nodes.iter().find(|seen| seen.id == node)?.lag_at_contact
    }

    fn heard(&self, node: &str, now: Millis) -> Option<Millis> {
        self.progress.get(node).map(|progress| now.saturating_sub(progress.since))
    }

    fn note_progress(&mut self, cluster: &Cluster, begun: Millis) {
        for (node, received) in cluster.nodes.iter().filter_map(|node| Some((&node.id, node.received?))) {
            let progress = Progress { received, since: begun };
            match self.progress.get_mut(node) {
                Some(known) if known.received == received => {}
                Some(known) => *known = progress,
                None => drop(self.progress.insert(node.clone(), progress)),
            }
        }
    }

    fn hearing(&self, now: Millis) -> Vec<bool> {
        let hears = |node: &Node| self.heard(&node.id, now).is_some_and(|age| age <= HEARD);
        self.newest().map(|cluster| cluster.nodes.iter().map(hears).collect()).unwrap_or_default()
    }

    /// Whether anything is otherwise that a policy would decide otherwise on: anything but positions and ages.
    fn differs_from(&self, (sample, failure, hearing): (Option<Sample>, Option<Failure>, Vec<bool>)) -> bool {
        let alike = match (&self.sample, &sample) {
            (Some((_, now)), Some((_, before))) => Arc::ptr_eq(now, before) || says_the_same(now, before),
            (now, before) => now.is_none() && before.is_none(),
        };
        !alike || self.failure != failure || self.hearing != hearing
    }
}

fn says_the_same(one: &Cluster, other: &Cluster) -> bool {
    one.published == other.published
        && one.nodes.len() == other.nodes.len()
        && one.nodes.iter().zip(&other.nodes).all(|(one, other)| node_says_the_same(one, other))
}

fn node_says_the_same(one: &Node, other: &Node) -> bool {
    let reached = one.seen_by.iter().map(|sighting| sighting.reached);
    let facts = one.facts.iter().map(|fact| &fact.key);
    (&one.id, one.role, one.writable, one.timeline) == (&other.id, other.role, other.writable, other.timeline)
        && (&one.fenced, &one.identity, &one.upstream) == (&other.fenced, &other.identity, &other.upstream)
        && reached.eq(other.seen_by.iter().map(|sighting| sighting.reached))
        && facts.eq(other.facts.iter().map(|fact| &fact.key))
}
