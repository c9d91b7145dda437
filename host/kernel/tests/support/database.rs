//! A database of three nodes that writes, streams, dies and is promoted, and that remembers what it acknowledged: what a
//! promotion loses, and whether two nodes ever acknowledge at once, is counted here and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_kernel::contract::{Cluster, Done, Failure, Node, Proof, Role, Sighting, SyncSet};
use tidegate_kernel::event::{Action, StepOutcome};

/// Log that one beat of writing makes.
const WRITE: u64 = 100;

#[derive(Clone, Debug)]
pub struct Server {
    /// Node and site have the same name.
    pub up: bool,
    pub primary: bool,
    pub timeline: u64,
    pub log: u64,
    pub upstream: Option<&'static str>,
    /// It starts as a standby only.
    pub barred: bool,
    pub set: Option<SyncSet>,
}

pub struct Database {
    pub servers: BTreeMap<&'static str, Server>,
    /// Sites whose agent runs no command.
    pub agentless: BTreeSet<&'static str>,
    pub fork: Option<u64>,
    /// The last that a client was told is safe, and on which timeline.
    pub acknowledged: (u64, u64),
    /// Acknowledged writes that the primary does not have.
    pub lost: u64,
    /// Beats in which two nodes acknowledged.
    pub split: u64,
    /// What a check of the data answers.
    pub sound: bool,
    /// So many looks at all positions miss the standby in the west.
    pub missed: usize,
}

const NODES: [&str; 3] = ["east", "west", "north"];

impl Database {
    /// The primary at east; commits wait for so many of the others.
    pub fn new(wait_for: u32) -> Database {
        let server = |name: &&'static str| Server {
            up: true,
            primary: *name == "east",
            timeline: 1,
            log: 1_000,
            upstream: (*name != "east").then_some("east"),
            barred: *name != "east",
            set: None,
        };
        let mut servers: BTreeMap<_, _> = NODES.iter().map(|name| (*name, server(name))).collect();
        if wait_for > 0 {
            let set = SyncSet { nodes: vec!["west".into(), "north".into()], wait_for, epoch: 0 };
            servers.get_mut("east").expect("it is there").set = Some(set);
        }
        let (agentless, fork) = (BTreeSet::new(), None);
        Database { servers, agentless, fork, acknowledged: (1, 1_000), lost: 0, split: 0, missed: 0, sound: true }
    }

    pub fn die(&mut self, node: &'static str) {
        self.server(node).up = false;
    }

    pub fn primaries(&self) -> Vec<&'static str> {
        self.servers.iter().filter(|(_, server)| server.up && server.primary).map(|(name, _)| *name).collect()
    }

    /// A lease that nobody renewed is over: its enforcer stops the primary.
    pub fn enforce(&mut self, node: &'static str) {
        let server = self.server(node);
        (server.up, server.barred) = (false, true);
    }

    pub fn silent_at(&self, site: &str) -> bool {
        self.servers.get(site).is_some_and(|server| !server.up)
    }

    /// Every primary writes, its standbys receive, and what enough of them have is acknowledged.
    pub fn work(&mut self) {
        let mut acknowledging = 0;
        for primary in self.primaries() {
            let (timeline, log) = {
                let server = self.server(primary);
                server.log += WRITE;
                (server.timeline, server.log)
            };
            let mut have = Vec::new();
            for (name, server) in &mut self.servers {
                if server.up && server.upstream == Some(primary) && server.timeline <= timeline {
                    (server.log, server.timeline) = (log, timeline);
                    have.push(*name);
                }
            }
            let set = self.server(primary).set.clone().filter(|set| set.wait_for > 0);
            let safe = set.is_none_or(|set| {
                have.iter().filter(|name| set.nodes.iter().any(|node| node == *name)).count() >= set.wait_for as usize
            });
            if safe {
                acknowledging += 1;
                self.acknowledged = self.acknowledged.max((timeline, log));
            }
        }
        self.split += u64::from(acknowledging > 1);
    }

    pub fn seen(&self) -> Cluster {
        let primary = self.servers.values().filter(|server| server.up && server.primary).max_by_key(|s| s.timeline);
        let published = primary.and_then(|server| server.set.clone());
        let nodes = self.servers.iter().map(|(name, server)| self.node(name, server, primary)).collect();
        Cluster { name: "orders".into(), published, nodes, facts: Vec::new() }
    }

    fn node(&self, name: &str, server: &Server, primary: Option<&Server>) -> Node {
        let lag = primary.filter(|_| server.up).map(|primary| primary.log.saturating_sub(server.log));
        let role = if server.primary { Role::Primary } else { Role::Replica };
        let upstream = server.upstream.filter(|upstream| self.servers[upstream].up && self.servers[upstream].primary);
        Node {
            id: name.into(),
            site: name.into(),
            role: if server.up { role } else { Role::Unknown },
            seen_by: vec![Sighting {
                vantage: "provider".into(),
                reached: server.up,
                attempt_age: 0,
                success_age: None,
            }],
            writable: server.up.then_some(server.primary),
            fenced: None,
            identity: server.up.then(|| "7".into()),
            timeline: server.up.then_some(server.timeline),
            forked_at: self.fork.filter(|_| server.up && server.primary && server.timeline > 1),
            received: server.up.then_some(server.log),
            replayed: server.up.then_some(server.log),
            lag_bytes: lag,
            lag_at_contact: lag.map(|_| 0),
            contact_age: lag.map(|_| 0),
            upstream: upstream.filter(|_| server.up).map(Into::into),
            upstream_heard: None,
            priority: 100,
            facts: Vec::new(),
        }
    }

    /// Carries out a step, as a provider would.
    pub fn perform(&mut self, action: &Action) -> StepOutcome {
        match action {
            Action::Fence { node, .. } => self.fence(node),
            Action::Unfence { node, .. } => self.on(node, |server| {
                (server.up, server.primary, server.barred) = (true, true, false);
            }),
            Action::Detach { node, .. } if !self.named(node).up => unreached(node),
            Action::Detach { node, .. } => self.on(node, |server| server.upstream = None),
            Action::ReadPositions { .. } => said(serde_json::to_string(&self.positions()).expect("it can be written")),
            Action::CatchUp { node, source, .. } => {
                let (timeline, log) = (self.named(source).timeline, self.named(source).log);
                self.on(node, |server| (server.timeline, server.log) = (timeline, log))
            }
            Action::Promote { node, .. } => self.promote(node),
            Action::Rejoin { node, primary, .. } => self.rejoin(node, primary),
            Action::SetSynchronous { node, set, .. } => self.on(node, |server| server.set = Some(set.clone())),
            Action::VerifyData { .. } if !self.sound => StepOutcome::Failed(Failure::Rejected("answered f".into())),
            _ => said(String::new()),
        }
    }

    fn positions(&mut self) -> Cluster {
        let up = self.named("west").up;
        if self.missed > 0 {
            self.missed -= 1;
            self.named("west").up = false;
        }
        let seen = self.seen();
        self.named("west").up = up;
        seen
    }

    fn fence(&mut self, node: &str) -> StepOutcome {
        if self.agentless.contains(node) {
            return StepOutcome::Failed(Failure::NotFound(format!("no agent stands at {node}")));
        }
        let server = self.named(node);
        (server.up, server.barred) = (false, true);
        let proof =
            Proof { kind: "stopped".into(), position: Some(server.log), survives_restart: true, facts: Vec::new() };
        said(serde_json::to_string(&proof).expect("it can be written"))
    }

    fn promote(&mut self, node: &str) -> StepOutcome {
        if !self.named(node).up {
            return unreached(node);
        }
        if self.named(node).primary {
            return said(String::new());
        }
        let newest = self.servers.values().map(|server| server.timeline).max().unwrap_or(0);
        let (_, acknowledged) = self.acknowledged;
        let log = self.named(node).log;
        self.lost += acknowledged.saturating_sub(log);
        self.fork = Some(log);
        self.on(node, |server| {
            (server.primary, server.timeline, server.barred, server.upstream) = (true, newest + 1, false, None);
        })
    }

    fn rejoin(&mut self, node: &str, primary: &str) -> StepOutcome {
        let Some((upstream, leader)) = self.servers.iter().find(|(name, _)| **name == primary) else {
            return unreached(primary);
        };
        if !leader.up || !leader.primary {
            return unreached(primary);
        }
        let (upstream, log, timeline) = (*upstream, leader.log, leader.timeline);
        if self.agentless.contains(node) && !self.named(node).up {
            return unreached(node);
        }
        self.on(node, |server| {
            (server.up, server.primary, server.barred, server.upstream) = (true, false, true, Some(upstream));
            (server.log, server.timeline) = (log, timeline);
        })
    }

    fn server(&mut self, node: &'static str) -> &mut Server {
        self.servers.get_mut(node).expect("a node of the cluster")
    }

    fn named(&mut self, node: &str) -> &mut Server {
        self.servers
            .iter_mut()
            .find(|(name, _)| **name == node)
            .map(|(_, server)| server)
            .expect("a node of the cluster")
    }

    fn on(&mut self, node: &str, change: impl FnOnce(&mut Server)) -> StepOutcome {
        change(self.named(node));
        said(String::new())
    }
}

fn said(receipt: String) -> StepOutcome {
    StepOutcome::Done(Done { text: "done".into(), receipt })
}

fn unreached(node: &str) -> StepOutcome {
    StepOutcome::Failed(Failure::Rejected(format!("node {node} is not reached")))
}
