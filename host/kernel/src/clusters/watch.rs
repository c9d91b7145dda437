//! One database as its samples show it: the newest, when the primary last answered, when each node last got new log.
//!
//! All ages count on the host's steady clock from when a look began; what a node says of its own clock is never compared.

use std::collections::BTreeMap;

use crate::contract::{Cluster, Fact, Failure, Millis, Node, Role};
use crate::event::Moment;

/// A sample older than this says nothing of now.
const FRESH: Millis = 3_000;
/// A node that got no new log for this long hears its primary no more: the provider writes once a second.
const HEARD: Millis = 2_500;

/// What was seen of one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    sample: Option<(Moment, Cluster)>,
    failure: Option<Failure>,
    contact: Option<Contact>,
    progress: BTreeMap<String, Progress>,
    sketch: Vec<String>,
    /// Looks that began earlier say nothing of now.
    not_before: Millis,
}

/// The last sample in which the primary answered.
#[derive(Clone, Debug)]
struct Contact {
    at: Moment,
    lags: BTreeMap<String, Millis>,
}

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
        match result {
            Ok(mut cluster) => {
                self.failure = None;
                self.remember(&mut cluster);
                self.note_progress(&cluster, begun.mono);
                if cluster.nodes.iter().any(|node| Some(node.id.as_str()) == primary && node.role == Role::Primary) {
                    let lag = |node: &Node| Some((node.id.clone(), node.lag_at_contact?));
                    self.contact = Some(Contact { at: begun, lags: cluster.nodes.iter().filter_map(lag).collect() });
                }
                self.sample = Some((begun, cluster));
            }
            Err(failure) => self.failure = Some(failure),
        }
        let sketch = self.sketch(now);
        let changed = sketch != self.sketch;
        self.sketch = sketch;
        changed
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
        self.sample.as_ref().map(|(_, cluster)| cluster)
    }

    /// The newest sample, if its look began no earlier than that.
    pub(crate) fn newest_from(&self, not_before: Millis) -> Option<&Cluster> {
        self.sample.as_ref().filter(|(begun, _)| begun.mono >= not_before).map(|(_, cluster)| cluster)
    }

    /// The newest sample, if it still says something.
    pub(crate) fn fresh(&self, now: Moment) -> Option<&Cluster> {
        let (begun, cluster) = self.sample.as_ref().filter(|(begun, _)| begun.mono >= self.not_before)?;
        (now.mono.saturating_sub(begun.mono) <= FRESH).then_some(cluster)
    }

    /// When the primary last answered.
    pub(crate) fn contact(&self) -> Option<Moment> {
        self.contact.as_ref().map(|contact| contact.at)
    }

    /// What may be lost by promoting a node, if the old primary acknowledged until `until`; none = nobody knows.
    pub(crate) fn loss_bound(&self, node: &str, until: Millis) -> Option<Millis> {
        let contact = self.contact.as_ref()?;
        Some(contact.lags.get(node)? + until.saturating_sub(contact.at.mono))
    }

    /// The picture of the newest sample with all its ages as of now.
    pub(crate) fn view(&self, now: Moment) -> Option<Cluster> {
        let (begun, cluster) = self.sample.as_ref().filter(|(begun, _)| begun.mono >= self.not_before)?;
        let stale = now.mono.saturating_sub(begun.mono);
        let mut cluster = cluster.clone();
        for node in &mut cluster.nodes {
            node.lag_at_contact = self.contact.as_ref().and_then(|contact| contact.lags.get(&node.id)).copied();
            node.contact_age = self.contact.as_ref().map(|contact| now.mono.saturating_sub(contact.at.mono));
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

    fn heard(&self, node: &str, now: Millis) -> Option<Millis> {
        self.progress.get(node).map(|progress| now.saturating_sub(progress.since))
    }

    fn note_progress(&mut self, cluster: &Cluster, begun: Millis) {
        for (node, received) in cluster.nodes.iter().filter_map(|node| Some((&node.id, node.received?))) {
            let known = self.progress.get(node);
            if known.is_none_or(|known| received != known.received) {
                self.progress.insert(node.clone(), Progress { received, since: begun });
            }
        }
    }

    /// What a policy would decide otherwise on: everything but positions and ages.
    fn sketch(&self, now: Millis) -> Vec<String> {
        let Some((_, cluster)) = &self.sample else { return vec![format!("{:?}", self.failure)] };
        let node = |node: &Node| {
            let reached: Vec<bool> = node.seen_by.iter().map(|sighting| sighting.reached).collect();
            let hears = self.heard(&node.id, now).is_some_and(|age| age <= HEARD);
            let facts: Vec<&str> = node.facts.iter().map(|fact| fact.key.as_str()).collect();
            let Node { id, role, writable, fenced, identity, timeline, upstream, .. } = node;
            format!(
                "{id} {role} {writable:?} {fenced:?} {identity:?} {timeline:?} {upstream:?} {reached:?} {hears} {facts:?}"
            )
        };
        let mut sketch: Vec<String> = cluster.nodes.iter().map(node).collect();
        sketch.push(format!("{:?} {:?}", cluster.published, self.failure));
        sketch
    }
}
