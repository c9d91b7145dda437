//! What a runbook does to a database: each part is one step for each node that it concerns.
//!
//! Knows no order: that is the runbook's, and what may be done is the guard's.

use serde::Deserialize;

use super::DataOccasion;
use crate::contract::SyncSet;
use crate::event::Action;

/// The built-in runbook that makes a node a standby again.
pub const REJOIN: &str = "rejoin";

/// `data = "PART"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// Stop the primary, or the nodes that the run is about.
    Fence,
    /// Make the positions of all standbys final.
    Detach,
    /// Make the candidate's position final.
    DetachCandidate,
    /// It is proven that the primary acknowledges nothing.
    Proof,
    /// How far each node has come.
    Positions,
    /// The candidate gets what the most advanced standby has.
    CatchUp,
    /// Whose word a commit on the next primary waits for.
    Synchronous,
    Promote,
    /// The other standbys follow the new primary.
    Follow,
    /// The former primary, or the nodes that the run is about, become standbys.
    Rejoin,
    /// Ask the data itself.
    Verify,
}

/// One step's call.
pub(super) struct Call {
    pub(super) node: String,
    pub(super) action: Action,
    pub(super) undo: Option<Action>,
    pub(super) optional: bool,
}

/// The steps of a part.
pub(super) fn steps(part: Part, occasion: &DataOccasion) -> Vec<Call> {
    match part {
        Part::Fence => fence(occasion),
        Part::Detach => occasion.standbys().map(|node| detach(occasion, node)).collect(),
        Part::DetachCandidate => occasion.candidate.iter().map(|node| detach(occasion, node)).collect(),
        Part::Proof => vec![one(
            occasion.primary,
            Action::AwaitProof { cluster: occasion.name(), node: occasion.primary.to_owned() },
        )],
        Part::Positions => vec![one("", Action::ReadPositions { cluster: occasion.name() })],
        Part::Synchronous => synchronous(occasion).into_iter().collect(),
        Part::Follow => occasion.others().map(|node| rejoin(occasion, node, true)).collect(),
        Part::Rejoin if occasion.nodes.is_empty() => vec![rejoin(occasion, occasion.primary, true)],
        Part::Rejoin => occasion.nodes.iter().map(|node| rejoin(occasion, node, false)).collect(),
        Part::CatchUp => {
            of_candidate(occasion, |cluster, node| Action::CatchUp { cluster, node, source: String::new() })
        }
        Part::Promote => of_candidate(occasion, |cluster, node| Action::Promote { cluster, node }),
        Part::Verify => verify(occasion),
    }
}

impl DataOccasion<'_> {
    fn name(&self) -> String {
        self.cluster.name.clone()
    }

    /// The node that leads once the run is over.
    fn leader(&self) -> &str {
        self.candidate.unwrap_or(self.primary)
    }

    /// Every node that may have the data: not the primary, and none of those outside.
    fn standbys(&self) -> impl Iterator<Item = &str> {
        let names = self.cluster.nodes.iter().map(|node| node.name.as_str());
        names.filter(|name| *name != self.primary && !self.outside.iter().any(|outside| outside == name))
    }

    fn others(&self) -> impl Iterator<Item = &str> {
        self.standbys().filter(|name| Some(*name) != self.candidate)
    }
}

fn one(node: &str, action: Action) -> Call {
    Call { node: node.to_owned(), action, undo: None, optional: false }
}

fn of_candidate(occasion: &DataOccasion, action: impl Fn(String, String) -> Action) -> Vec<Call> {
    occasion.candidate.iter().map(|node| one(node, action(occasion.name(), (*node).to_owned()))).collect()
}

/// Only the primary is let go again: what was stopped for being no standby stays stopped.
fn fence(occasion: &DataOccasion) -> Vec<Call> {
    let call = |node: &str| Action::Fence { cluster: occasion.name(), node: node.to_owned() };
    if occasion.nodes.is_empty() {
        let undo = Some(Action::Unfence { cluster: occasion.name(), node: occasion.primary.to_owned() });
        return vec![Call { undo, ..one(occasion.primary, call(occasion.primary)) }];
    }
    occasion.nodes.iter().map(|node| one(node, call(node))).collect()
}

/// A standby that is dead as well is done without, unless it is the one to promote.
fn detach(occasion: &DataOccasion, node: &str) -> Call {
    let (cluster, name) = (occasion.name(), node.to_owned());
    let undo = Action::Rejoin { cluster: cluster.clone(), node: name.clone(), primary: occasion.primary.to_owned() };
    let action = Action::Detach { cluster, node: name };
    Call { undo: Some(undo), optional: occasion.candidate != Some(node), ..one(node, action) }
}

fn rejoin(occasion: &DataOccasion, node: &str, optional: bool) -> Call {
    let primary = occasion.leader().to_owned();
    let action = Action::Rejoin { cluster: occasion.name(), node: node.to_owned(), primary };
    Call { optional, ..one(node, action) }
}

/// Every standby of the next primary counts, also one that is away: a commit rather waits than is lost.
fn synchronous(occasion: &DataOccasion) -> Option<Call> {
    let wait_for = occasion.cluster.wait_for;
    if wait_for == 0 {
        return None;
    }
    let leader = occasion.leader();
    let mut nodes: Vec<String> = occasion.others().map(str::to_owned).collect();
    nodes.extend(occasion.nodes.iter().cloned());
    nodes.extend(occasion.planned.then(|| occasion.primary.to_owned()));
    if (nodes.len() as u32) < wait_for {
        nodes = occasion.cluster.nodes.iter().map(|node| node.name.clone()).filter(|name| name != leader).collect();
    }
    let set = SyncSet { nodes, wait_for, epoch: occasion.epoch };
    Some(one(leader, Action::SetSynchronous { cluster: occasion.name(), node: leader.to_owned(), set }))
}

fn verify(occasion: &DataOccasion) -> Vec<Call> {
    if occasion.cluster.verify.is_empty() {
        return Vec::new();
    }
    of_candidate(occasion, |cluster, node| Action::VerifyData {
        cluster,
        node,
        checks: occasion.cluster.verify.clone(),
    })
}
