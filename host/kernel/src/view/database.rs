//! Fills in what `status` shows of a service's database.

use crate::clusters::answers;
use crate::contract::{Fact, Node};
use crate::event::Moment;
use crate::fleet::ServiceId;
use crate::kernel::Kernel;
use crate::situation::Lens;
use crate::state::ClusterState;
use crate::view::{DatabaseStatus, NodeStatus};

/// Facts that the host itself puts on a node; shown in words of their own.
const OUTSIDE: &str = "outside";

impl Kernel {
    /// None for a service without a database.
    pub(super) fn database_status(&self, id: ServiceId, now: Moment) -> Option<DatabaseStatus> {
        let (_, cluster) = self.cluster_of(id)?;
        let picture = self.cluster_picture(id, Lens { lost: None, now })?;
        let held = self.held(&cluster.name);
        let fact = |key: &str| picture.facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.clone());
        Some(DatabaseStatus {
            cluster: cluster.name.clone(),
            primary: held.map(|held| held.primary.clone()),
            since: held.map(|held| held.since.wall),
            synchronous: cluster.wait_for,
            published: held.and_then(|held| held.published.clone()).filter(|set| set.wait_for > 0),
            sample_age: fact("sample-age").and_then(|age| age.parse().ok()),
            failure: fact("sample-failed"),
            nodes: picture.nodes.iter().map(|node| node_status(node, held)).collect(),
            unsound: held.and_then(|held| held.unsound.clone()),
        })
    }
}

fn node_status(node: &Node, held: Option<&ClusterState>) -> NodeStatus {
    let outside = held.and_then(|held| held.outside.get(&node.id));
    let leads = held.is_some_and(|held| held.primary == node.id);
    let told = |fact: &&Fact| fact.key != OUTSIDE;
    NodeStatus {
        name: node.id.clone(),
        site: node.site.clone(),
        role: node.role,
        leads,
        answers: answers(node),
        timeline: node.timeline,
        lag_bytes: node.lag_bytes.filter(|_| !leads),
        lag: node.lag_at_contact.filter(|_| !leads),
        contact_age: node.contact_age,
        upstream: node.upstream.clone(),
        heard: node.upstream_heard,
        priority: node.priority,
        outside: outside.map(|outside| outside.why.clone()),
        proof: outside.and_then(|outside| outside.proof.as_ref()).map(|proof| proof.kind.clone()),
        diverged_bytes: outside.and_then(|outside| outside.diverged_bytes).filter(|bytes| *bytes > 0),
        facts: node.facts.iter().filter(told).cloned().collect(),
    }
}
