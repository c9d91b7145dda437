//! Clusters for tests: healthy nodes by default, so that a test says only what is wrong with them.
//!
//! Used by native unit tests of policies, beside [`Situation::builder`](crate::Situation::builder); a host never builds one here.

use crate::contract::{Cluster, Fact, Node, Role, Sighting, SyncSet};

impl Cluster {
    /// These nodes, of which the host holds the first to be the primary. Asynchronous, until [`Cluster::synchronous`] says otherwise.
    pub fn of(name: &str, nodes: impl IntoIterator<Item = Node>) -> Self {
        let nodes: Vec<Node> = nodes.into_iter().collect();
        let primary = nodes.first().map(|node| Fact::new("primary", &node.id));
        let nobody = SyncSet { nodes: Vec::new(), wait_for: 0, epoch: 1 };
        Cluster { name: name.to_owned(), published: Some(nobody), nodes, facts: primary.into_iter().collect() }
    }

    /// A commit waits for that many of these.
    pub fn synchronous(mut self, wait_for: u32, nodes: &[&str]) -> Self {
        let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
        self.published = Some(SyncSet { nodes, wait_for, epoch: 1 });
        self
    }
}

impl Node {
    /// A node that takes writes.
    pub fn primary(id: &str, site: &str) -> Self {
        Node {
            id: id.to_owned(),
            site: site.to_owned(),
            role: Role::Primary,
            seen_by: vec![Sighting {
                vantage: "host".to_owned(),
                reached: true,
                attempt_age: 100,
                success_age: Some(100),
            }],
            writable: Some(true),
            fenced: None,
            identity: Some("7001".to_owned()),
            timeline: Some(1),
            forked_at: None,
            received: Some(1_000),
            replayed: Some(1_000),
            lag_bytes: None,
            lag_at_contact: None,
            contact_age: Some(100),
            upstream: None,
            upstream_heard: None,
            priority: 100,
            facts: Vec::new(),
        }
    }

    /// A node that follows another and is 10 ms behind.
    pub fn standby(id: &str, site: &str, upstream: &str) -> Self {
        Node {
            role: Role::Replica,
            writable: Some(false),
            lag_bytes: Some(0),
            lag_at_contact: Some(10),
            upstream: Some(upstream.to_owned()),
            upstream_heard: Some(300),
            ..Node::primary(id, site)
        }
    }

    /// It has not answered for that long (ms); what else is known of it is from before.
    pub fn silent(mut self, for_long: u64) -> Self {
        (self.role, self.writable, self.contact_age) = (Role::Unknown, None, Some(for_long));
        for sighting in &mut self.seen_by {
            (sighting.reached, sighting.success_age) = (false, Some(for_long));
        }
        self
    }

    /// It has lost whom it follows, and the primary last answered that long ago (ms).
    pub fn orphaned(mut self, since: u64) -> Self {
        (self.upstream, self.upstream_heard, self.contact_age) = (None, Some(since), Some(since));
        self
    }

    /// Anything else, by changing the record itself.
    pub fn with(mut self, change: impl FnOnce(&mut Node)) -> Self {
        change(&mut self);
        self
    }
}
