//! Making a standby the primary, and whose word a commit waits for.

use tidegate_sdk::{Failure, SyncSet};

use crate::fence::lift_if_ours;
use crate::hand::Hand;
use crate::look::{Look, WRITE};
use crate::names::Synchronous;

const NAMES: &str = "synchronous_standby_names";

/// Done = it is on a timeline of its own and a write has gone through its log. A primary is only tried with a write.
pub fn promote(hand: &Hand<'_>, node: &str) -> Result<(), Failure> {
    let look = hand.open(node)?;
    let look = if look.in_recovery { by_word(hand, node, &look)? } else { look };
    lift_if_ours(hand, node, &look)?;
    hand.tell(node, WRITE, "commit a write").map(drop).map_err(|failure| {
        let timeline = look.timeline.unwrap_or_default();
        Failure::UnknownOutcome(format!(
            "{node} is the primary of timeline {timeline} and does not take a write: {failure:?}"
        ))
    })
}

fn by_word(hand: &Hand<'_>, node: &str, before: &Look) -> Result<Look, Failure> {
    hand.alter(node, &[])?;
    hand.tell(node, "SELECT pg_promote(false)", "become the primary")?;
    let promoted = hand.wait(node, hand.left(), |look| !look.in_recovery && look.timeline > before.timeline);
    promoted.map_err(|last| {
        let state = last.map_or("does not answer", |_| "is still a standby");
        Failure::UnknownOutcome(format!("{node} was told to become the primary, and {state}; look before repeating"))
    })
}

/// Whose word a commit on this node waits for; a standby that is about to be promoted has it already when it takes writes.
pub fn set_synchronous(hand: &Hand<'_>, node: &str, set: &SyncSet) -> Result<(), Failure> {
    let wanted = Synchronous { nodes: set.nodes.clone(), wait_for: set.wait_for };
    if wanted.wait_for as usize > wanted.nodes.len() {
        let text = format!("a commit would wait for {} of {} standbys for ever", wanted.wait_for, wanted.nodes.len());
        return Err(Failure::Invalid(text));
    }
    if set.nodes.iter().any(|name| name == node) {
        return Err(Failure::Invalid(format!("{node} would wait for itself")));
    }
    for name in &set.nodes {
        hand.node(name)?;
    }
    set_on(hand, node, &hand.open(node)?, &wanted, set.epoch)
}

fn set_on(hand: &Hand<'_>, node: &str, look: &Look, wanted: &Synchronous, epoch: u64) -> Result<(), Failure> {
    let text = wanted.text();
    if look.synchronous == text && look.set_epoch == Some(epoch) {
        return Ok(());
    }
    let epoch = epoch.to_string();
    hand.alter(node, &[(NAMES, Some(&text)), ("tidegate.synchronous_epoch", Some(&epoch))])?;
    let set = hand.wait(node, hand.left(), |look| {
        look.synchronous == text && look.set_epoch.map(|is| is.to_string()).as_deref() == Some(epoch.as_str())
    });
    set.map(drop).map_err(|_| {
        Failure::UnknownOutcome(format!(
            "{node} was told {NAMES} = '{text}', and does not say so; look before repeating"
        ))
    })
}
