//! What may be lost if a standby takes over: nothing by the synchronous set's arithmetic, or a bound by lag and age, or unknown.
//!
//! Knows the standby is of this cluster and sound; whether it fits otherwise is in `candidates.rs`.

use tidegate_sdk::{Node, SyncSet};

use super::Case;
use super::candidates::{Objection, belongs};

/// What a take-over by this standby may lose (ms), if the RPO allows it.
pub fn allowed(case: &Case, node: &Node) -> Result<u64, Objection> {
    match (quorum(case, node), case.situation.objectives.rpo) {
        (Ok(()), _) => Ok(0),
        // With an RPO of 0 only what was acknowledged counts, never lag.
        (Err(objection), 0) => Err(objection),
        (Err(_), rpo) => match bound(case, node) {
            None => Err(Objection::LossUnknown),
            Some(bound) if bound > rpo => Err(Objection::Loss(bound)),
            Some(bound) => Ok(bound),
        },
    }
}

/// What was not yet here when the primary last answered, all that it took since, and all that it takes until its end is proven.
pub fn bound(case: &Case, node: &Node) -> Option<u64> {
    let since = node.lag_at_contact?.saturating_add(node.contact_age?);
    Some(since.saturating_add(case.settings.proof_within.as_millis()))
}

/// Whether every acknowledged commit is sure to be among the standbys that are reached: R + W > N.
pub fn quorum(case: &Case, node: &Node) -> Result<(), Objection> {
    reached(case, membership(case, node)?)
}

/// The published set, if commits wait for this node.
pub fn membership<'a>(case: &Case<'a>, node: &Node) -> Result<&'a SyncSet, Objection> {
    let Some(set) = &case.picture.cluster.published else {
        return Err(if case.picture.is_asynchronous() { Objection::Asynchronous } else { Objection::SetChanging });
    };
    if set.wait_for == 0 {
        return Err(Objection::Asynchronous);
    }
    set.nodes.contains(&node.id).then_some(set).ok_or(Objection::NotSynchronous)
}

/// The arithmetic for the whole set.
pub fn reached(case: &Case, set: &SyncSet) -> Result<(), Objection> {
    // A primary cannot acknowledge its own commits, wherever the set names it.
    let is_primary = |name: &&String| case.picture.primary.is_some_and(|primary| primary.id == **name);
    let all = set.nodes.iter().filter(|name| !is_primary(name)).count() as u64;
    let sound = case.picture.standbys().filter(|node| set.nodes.contains(&node.id) && belongs(case, node).is_none());
    let reached = sound.count() as u64;
    if reached + u64::from(set.wait_for) > all {
        return Ok(());
    }
    Err(Objection::NoStandbyQuorum { reached, wait_for: set.wait_for, all })
}
