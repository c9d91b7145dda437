//! Stopping a node from acknowledging writes, and letting it again.
//!
//! A proof comes only from the site's `stop` command. Without one there is a read-only default, and it is called what it is.

use std::time::Duration;

use tidegate_sdk::{Failure, Proof};

use crate::commands;
use crate::hand::Hand;
use crate::look::{Look, WRITE};
use crate::topology;
use crate::wire::Query;

/// A session that is there may have taken up the default and may be in the midst of a write.
const END_OTHERS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

/// By the site's command if one is declared, else by a default that any session can lift.
pub fn fence(hand: &Hand<'_>, node: &str) -> Result<Proof, Failure> {
    let declared = hand.node(node)?;
    match declared.command("stop") {
        Some(command) => stop(hand, node, &declared.site, command),
        None => advise(hand, node),
    }
}

/// Starts it as the primary, or lifts the default.
pub fn unfence(hand: &Hand<'_>, node: &str) -> Result<(), Failure> {
    let declared = hand.node(node)?;
    match (hand.glance(node), declared.command("start")) {
        (Ok(look), _) if !look.in_recovery => lift(hand, node, &look),
        (Ok(look), None) if look.fenced => lift(hand, node, &look),
        (Ok(_), None) => {
            Err(Failure::Rejected(format!("{node} is a standby, and no command `start` is declared for it")))
        }
        (Err(trouble), None) => Err(trouble.before(node)),
        (_, Some(command)) => start(hand, node, &declared.site, command),
    }
}

/// Gently if it is a primary that works: what it has acknowledged reaches its standbys. At once if not.
fn stop(hand: &Hand<'_>, node: &str, site: &str, command: &str) -> Result<Proof, Failure> {
    if works(hand, node)? {
        // What is on the disk already need not be written while the server stops. Not allowed to, it stops all the same.
        let _ = hand.ask(node, Query::Simple("CHECKPOINT"), hand.left() / 3);
        hand.hang_up(node);
        if let Ok(proof) = run_stop(hand, site, command, "fast", hand.left() / 2) {
            return Ok(proof);
        }
    }
    hand.hang_up(node);
    run_stop(hand, site, command, "immediate", hand.left())
}

/// A primary that answers and commits a write: a disk that hangs would not let it stop in good order.
fn works(hand: &Hand<'_>, node: &str) -> Result<bool, Failure> {
    if hand.is_silent(node) {
        return Ok(false);
    }
    match hand.open(node) {
        Ok(look) if look.in_recovery => Ok(false),
        Ok(look) => Ok(look.read_only || hand.ask(node, Query::Simple(WRITE), hand.one_look()).is_ok()),
        Err(Failure::Stale(newer)) => Err(Failure::Stale(newer)),
        Err(_) => Ok(false),
    }
}

fn run_stop(hand: &Hand<'_>, site: &str, command: &str, mode: &str, patience: Duration) -> Result<Proof, Failure> {
    let arguments = [("mode".to_owned(), mode.to_owned())];
    // A key for each mode: the outcome of one must never be told as the other's.
    let key = format!("{}/stop-{mode}", hand.call.key);
    let output = hand.host.run(site, command, &arguments, &key, patience)?;
    commands::stopped(command, mode, &output)
}

fn start(hand: &Hand<'_>, node: &str, site: &str, command: &str) -> Result<(), Failure> {
    let arguments = [("role".to_owned(), "primary".to_owned())];
    let key = format!("{}/start", hand.call.key);
    let output = hand.host.run(site, command, &arguments, &key, hand.left())?;
    commands::running(command, "primary", &output)?;
    let look = hand.wait(node, hand.left(), |look| !look.in_recovery).map_err(|last| {
        let state = last.map_or("does not answer", |_| "is a standby");
        Failure::UnknownOutcome(format!(
            "{command} has started {node} as the primary, and it {state}; look before repeating"
        ))
    })?;
    lift(hand, node, &look)
}

/// Sessions that are there are ended, and those to come cannot write unless they say so themselves.
fn advise(hand: &Hand<'_>, node: &str) -> Result<Proof, Failure> {
    let look = hand.open(node)?;
    if !(look.read_only && look.fenced) {
        hand.alter(node, &[("tidegate.fenced", Some("on")), ("default_transaction_read_only", Some("on"))])?;
    }
    let fenced = hand.wait(node, hand.left(), |look| look.read_only && look.fenced);
    fenced.map_err(|_| {
        Failure::UnknownOutcome(format!("{node} was told to be read-only by default, and does not say so"))
    })?;
    hand.tell(node, END_OTHERS, "end the other sessions")?;
    let look = hand.look(node).map_err(|trouble| trouble.after(node, "end the other sessions"))?;
    Ok(topology::advisory(&look))
}

fn lift(hand: &Hand<'_>, node: &str, look: &Look) -> Result<(), Failure> {
    if !look.fenced {
        return refuse_read_only(node, look);
    }
    hand.open(node)?;
    hand.alter(node, &[("tidegate.fenced", None), ("default_transaction_read_only", None)])?;
    let lifted = hand.wait(node, hand.left(), |look| !look.fenced);
    let look = lifted
        .map_err(|_| Failure::UnknownOutcome(format!("{node} was told to take writes again, and does not say so")))?;
    refuse_read_only(node, &look)
}

/// A read-only default that is not ours is the operator's to lift.
pub fn refuse_read_only(node: &str, look: &Look) -> Result<(), Failure> {
    if !look.read_only {
        return Ok(());
    }
    let text = "is read-only by its own configuration (default_transaction_read_only); lift that, then repeat";
    Err(Failure::Rejected(format!("{node} {text}")))
}

/// Lifts our own read-only default, where a copy of another node's settings brought it here.
pub fn lift_if_ours(hand: &Hand<'_>, node: &str, look: &Look) -> Result<(), Failure> {
    if look.fenced || look.read_only { lift(hand, node, look) } else { Ok(()) }
}
