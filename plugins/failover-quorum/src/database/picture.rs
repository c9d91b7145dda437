//! Who is who in a cluster: the primary, old primaries that are back, and the standbys that answer.
//!
//! Sorts what the host tells. Judges nobody fit, and decides nothing.

use tidegate_sdk::{Cluster, Fact, Node, Role};

/// A cluster, sorted.
#[derive(Debug)]
pub struct Picture<'a> {
    /// As the host tells it.
    pub cluster: &'a Cluster,
    /// The node that takes the writes, or did when it was last reached; none if nobody knows.
    pub primary: Option<&'a Node>,
    /// Nodes that take writes though a newer timeline has begun, and are not fenced.
    pub stale: Vec<&'a Node>,
    /// Nodes of which each may be the primary, and nothing tells which.
    pub rivals: Vec<&'a Node>,
}

impl<'a> Picture<'a> {
    /// The newest timeline and the host's word have to agree; where they do not, nobody is called the primary.
    pub fn of(cluster: &'a Cluster) -> Self {
        let told = text(&cluster.facts, "primary");
        let told = told.and_then(|name| cluster.nodes.iter().find(|node| node.id == name && !has(node, "foreign")));
        let claims: Vec<&Node> = cluster.nodes.iter().filter(|node| claims(node)).collect();
        let leader = match told {
            Some(told) => {
                match claims.iter().find(|claim| claim.id != told.id && !is_older(cluster, claim, Some(told))) {
                    None => Some(told),
                    Some(claim) => succeeds(claim, told, &claims).then_some(*claim),
                }
            }
            None => claims.first().copied().filter(|claim| claims.len() == 1 && !is_older(cluster, claim, None)),
        };
        let leader = leader.filter(|leader| !is_contradicted(cluster, leader));
        match leader {
            Some(leader) => {
                let stale = claims.into_iter().filter(|claim| claim.id != leader.id).collect();
                Picture { cluster, primary: Some(leader), stale, rivals: Vec::new() }
            }
            None => Picture { cluster, primary: None, stale: Vec::new(), rivals: claims },
        }
    }

    /// The nodes that answer as copies of this cluster, the primary not among them.
    pub fn standbys(&self) -> impl Iterator<Item = &'a Node> {
        let own = |node: &&Node| node.role == Role::Replica && !has(node, "foreign") && !self.is_primary(node);
        self.cluster.nodes.iter().filter(own)
    }

    /// Every node but the primary, whether it answers or not.
    pub fn others(&self) -> impl Iterator<Item = &'a Node> {
        self.cluster.nodes.iter().filter(|node| !self.is_primary(node))
    }

    /// The standbys that still get log from a primary, or cannot tell when they last did.
    pub fn hearing(&self, within: u64) -> impl Iterator<Item = &'a Node> {
        self.cluster.nodes.iter().filter(move |node| {
            let recent = node.upstream_heard.is_none_or(|age| age <= within);
            let from_above = node.upstream.as_ref().is_some_and(|upstream| !self.is_relay(upstream));
            node.role == Role::Replica && recent && from_above
        })
    }

    /// How old the newest sample is; a host that does not say is believed by its newest attempt to reach a node.
    pub fn age(&self) -> Option<u64> {
        let told = text(&self.cluster.facts, "sample-age").and_then(|age| age.parse().ok());
        let attempts = self.cluster.nodes.iter().flat_map(|node| &node.seen_by).map(|sighting| sighting.attempt_age);
        told.or_else(|| attempts.min())
    }

    /// The host has seen the primary take writes since it started.
    pub fn was_reached(&self) -> bool {
        self.cluster.nodes.iter().any(|node| node.contact_age.is_some())
    }

    /// Declared to commit without waiting for any standby.
    pub fn is_asynchronous(&self) -> bool {
        let published = self.cluster.published.as_ref().map(|set| set.wait_for == 0);
        published.unwrap_or_else(|| text(&self.cluster.facts, "synchronous") == Some("0"))
    }

    /// This node is the primary.
    pub fn is_primary(&self, node: &Node) -> bool {
        self.primary.is_some_and(|primary| primary.id == node.id)
    }

    /// A standby that answers speaks for itself; what it passes on is no sign of the primary's life.
    fn is_relay(&self, upstream: &str) -> bool {
        self.standbys().any(|standby| standby.id == upstream)
    }
}

/// Known to be unable to acknowledge a write. A read-only default is not: any session may lift it.
pub fn is_fenced(node: &Node) -> bool {
    node.fenced.as_ref().is_some_and(|proof| proof.kind != "advisory")
}

/// A node's fact of that key.
pub fn said<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    text(&node.facts, key)
}

/// Whether a node has a fact of that key.
pub fn has(node: &Node, key: &str) -> bool {
    said(node, key).is_some()
}

fn claims(node: &Node) -> bool {
    node.role == Role::Primary && !is_fenced(node) && !has(node, "foreign")
}

/// Of an older timeline than the node that the host holds to be the primary. Where that one's is not known, a standby's tells.
fn is_older(cluster: &Cluster, claim: &Node, told: Option<&Node>) -> bool {
    let own = |node: &&Node| node.role == Role::Replica && !has(node, "foreign");
    let of_standbys = || cluster.nodes.iter().filter(own).filter_map(|node| node.timeline).max();
    let newest = told.and_then(|told| told.timeline).or_else(of_standbys);
    matches!((claim.timeline, newest), (Some(own), Some(newest)) if own < newest)
}

/// It takes writes, and a standby follows somebody else on a newer timeline.
fn is_contradicted(cluster: &Cluster, leader: &Node) -> bool {
    let follows_another = |node: &&Node| {
        let newer = matches!((node.timeline, leader.timeline), (Some(own), Some(old)) if own > old);
        node.role == Role::Replica && newer && node.upstream.as_ref().is_some_and(|upstream| *upstream != leader.id)
    };
    leader.role == Role::Primary && cluster.nodes.iter().any(|node| follows_another(&node))
}

/// The only one that claims to be the primary, and promoted since the host last knew.
fn succeeds(claim: &Node, told: &Node, claims: &[&Node]) -> bool {
    let newer = matches!((claim.timeline, told.timeline), (Some(own), Some(old)) if own > old);
    newer && claims.len() == 1
}

fn text<'a>(facts: &'a [Fact], key: &str) -> Option<&'a str> {
    facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.as_str())
}
