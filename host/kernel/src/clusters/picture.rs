//! A service's database as its policy is told it: the newest sample with ages of now, and what the host holds of it.
//!
//! Decides nothing; the same picture with one site taken away is what `what-if` asks about.

use crate::contract::{Cluster, Fact, Millis, Node, Role, Sighting, SyncSet};
use crate::fleet::{self, ServiceId};
use crate::kernel::Kernel;
use crate::situation::Lens;
use crate::state::ClusterState;

impl Kernel {
    /// None for a service without a database.
    pub(crate) fn cluster_picture(&self, service: ServiceId, lens: Lens) -> Option<Cluster> {
        let (id, declared) = self.cluster_of(service)?;
        let held = self.held(&declared.name);
        let blank = || Cluster { name: declared.name.clone(), published: None, nodes: Vec::new(), facts: Vec::new() };
        let mut picture = self.clusters.watch(id).view(lens.now).unwrap_or_else(blank);
        let mut seen = std::mem::take(&mut picture.nodes);
        picture.nodes = declared.nodes.iter().map(|node| told(node, &self.fleet, &mut seen)).collect();
        for (node, declared) in picture.nodes.iter_mut().zip(&declared.nodes) {
            self.see_from_vantages(service, declared, node, lens);
            node.facts.extend(held.and_then(|held| outside(held, node)));
            node.fenced = held.and_then(|held| held.outside.get(&node.id)?.proof.clone()).or(node.fenced.take());
        }
        if let Some(lost) = lens.lost {
            suppose_lost(&mut picture.nodes, &self.fleet.sites[lost.at()].name);
        }
        let nobody = || SyncSet { nodes: Vec::new(), wait_for: 0, epoch: 0 };
        let published = held.and_then(|held| held.published.clone());
        picture.published = published.or_else(|| (declared.wait_for == 0).then(nobody));
        picture.facts.extend(held.map(|held| fact("primary", &held.primary)));
        picture.facts.push(fact("synchronous", declared.wait_for));
        Some(picture)
    }

    /// What the vantage points see of the service at a site they see of its node, where there is only one.
    fn see_from_vantages(&self, service: ServiceId, declared: &fleet::ClusterNode, node: &mut Node, lens: Lens) {
        let Some((_, cluster)) = self.cluster_of(service) else { return };
        if cluster.nodes.iter().filter(|other| other.site == declared.site).count() > 1 {
            return;
        }
        let observations = self.observations_through(service, declared.site, lens);
        let votes = observations.into_iter().filter(|seen| seen.outcome.is_good() || seen.outcome.is_bad());
        node.seen_by.extend(votes.map(|seen| {
            let reached = seen.outcome.is_good();
            Sighting { vantage: seen.vantage, reached, attempt_age: seen.age, success_age: reached.then_some(seen.age) }
        }));
    }
}

/// A declared node as it was seen, or as one of which nothing is known.
fn told(declared: &fleet::ClusterNode, fleet: &fleet::Fleet, seen: &mut Vec<Node>) -> Node {
    let site = fleet.sites[declared.site.at()].name.clone();
    let found = seen.iter().position(|node| node.id == declared.name).map(|at| seen.swap_remove(at));
    let mut node = found.unwrap_or_else(|| unseen(&declared.name));
    // A provider may rule a node out, never in.
    node.priority = if node.priority == 0 && node.role != Role::Unknown { 0 } else { declared.priority };
    Node { site, ..node }
}

fn unseen(name: &str) -> Node {
    Node {
        id: name.to_owned(),
        site: String::new(),
        role: Role::Unknown,
        seen_by: Vec::new(),
        writable: None,
        fenced: None,
        identity: None,
        timeline: None,
        forked_at: None,
        received: None,
        replayed: None,
        lag_bytes: None,
        lag_at_contact: None,
        contact_age: None,
        upstream: None,
        upstream_heard: None,
        priority: 0,
        facts: Vec::new(),
    }
}

fn outside(held: &ClusterState, node: &Node) -> Option<Fact> {
    held.outside.get(&node.id).map(|outside| fact("outside", &outside.why))
}

/// Long enough for any policy to take it for silence.
const SUPPOSED_SILENT: Millis = 24 * 3_600_000;

fn suppose_lost(nodes: &mut [Node], site: &str) {
    let lost: Vec<String> = nodes.iter().filter(|node| node.site == site).map(|node| node.id.clone()).collect();
    for node in nodes {
        if node.site == site {
            let seen_by = node.seen_by.drain(..).map(|sighting| Sighting { reached: false, ..sighting }).collect();
            let (id, site) = (node.id.clone(), node.site.clone());
            let (contact_age, priority) = (node.contact_age, node.priority);
            *node = Node { id, site, seen_by, contact_age, priority, ..unseen("") };
        } else if node.upstream.as_ref().is_some_and(|upstream| lost.contains(upstream)) {
            (node.upstream, node.upstream_heard) = (None, Some(SUPPOSED_SILENT));
        }
    }
}

fn fact(key: &str, value: impl ToString) -> Fact {
    Fact { key: key.into(), value: value.to_string() }
}
