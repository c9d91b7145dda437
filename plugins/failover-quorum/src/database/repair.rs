//! What has come back: an old primary is fenced before anybody relies on what it takes; a node that follows nobody is made to.
//!
//! Never touches the primary. A repair that does not help, or not for long, is tried again after longer and longer pauses.

use std::time::Duration;

use tidegate_sdk::{Autonomy, Decision, Fact, Invocation, Node, Role, Verdict};

use super::Case;
use super::analysis::{self, Finding};
use super::decide::alarmed;
use super::picture::{has, is_fenced};
use super::watch;
use crate::decide::SOON;
use crate::memo;

/// A standby that got nothing for that long (ms) while the primary writes a sign of life every second does not help itself.
const STRAY_AFTER: u64 = 10_000;
/// The runbook that makes a node follow the primary; its argument is `node`.
const REJOIN: &str = "rejoin";

/// The repair that is due, else the decision; the decision too while the repair waits for its next try.
pub fn apply(case: &Case, decision: Decision) -> Decision {
    if !case.picture.stale.is_empty() {
        let names: Vec<String> = case.picture.stale.iter().map(|node| node.id.clone()).collect();
        return paced(case, &format!("fence {}", names.join(" ")), decision, fence(names));
    }
    match stray(case).filter(|_| decision.verdict == Verdict::Hold) {
        None => until_stray(case, remembering(case, "", decision)),
        Some(node) => paced(case, &format!("rejoin {} {:?}", node.id, node.role), decision, rejoin(case, node)),
    }
}

fn fence(names: Vec<String>) -> Decision {
    let text = format!("{} takes writes on an old timeline: what it takes would be lost", names.join(", "));
    let decision = Decision::fence(names, "stale-primary", text);
    alarmed(decision.would_change_if("fenced", "it is proven to take no writes, or it is gone"), "critical")
}

fn rejoin(case: &Case, node: &Node) -> Decision {
    let node_of = vec![Fact::new("node", &node.id)];
    let invocation = Invocation { runbook: REJOIN.to_owned(), arguments: node_of };
    let (code, text) = match left_behind(case, node) {
        true => ("stale-primary", format!("{} is of an old timeline and follows nobody", node.id)),
        false => ("standby-lost", format!("{} follows nobody", node.id)),
    };
    let decision = Decision::run(invocation, code, format!("{text}: it is made to follow the primary"));
    decision.would_change_if("streaming", format!("{} gets log from the primary", node.id))
}

/// The first node that could follow the primary and does not.
fn stray<'a>(case: &Case<'a>) -> Option<&'a Node> {
    if !matches!(analysis::find(case), Finding::Answers(_)) {
        return None;
    }
    let may = |node: &&Node| !["foreign", "too-old", "starting"].iter().any(|key| has(node, key));
    case.picture.others().filter(may).find(|node| match node.role {
        Role::Replica => {
            node.upstream.is_none()
                && (left_behind(case, node) || node.upstream_heard.is_some_and(|age| age > STRAY_AFTER))
        }
        // Stopped by us, and its agent may be there again.
        Role::Primary | Role::Unknown => is_fenced(node),
    })
}

/// Asked again when the first node that follows nobody will have got nothing for too long.
fn until_stray(case: &Case, decision: Decision) -> Decision {
    let alone = case.picture.others().filter(|node| node.role == Role::Replica && node.upstream.is_none());
    let left =
        alone.filter_map(|node| (STRAY_AFTER + 1).checked_sub(node.upstream_heard?)).filter(|left| *left > 0).min();
    match left.filter(|_| decision.verdict == Verdict::Hold) {
        Some(left) => watch::sooner(decision, Duration::from_millis(left)),
        None => decision,
    }
}

fn left_behind(case: &Case, node: &Node) -> bool {
    is_fenced(node) || node.timeline.zip(case.timeline()).is_some_and(|(own, newest)| own < newest)
}

/// A person who decides is asked once, not again and again.
fn paced(case: &Case, about: &str, decision: Decision, repair: Decision) -> Decision {
    if case.situation.failover == Autonomy::Manual {
        return repair;
    }
    let tried = memo::tried(&case.situation.memo, about, case.situation.now);
    let decision = remembering(case, about, decision);
    let memo = memo::join(&decision.memo, &tried.line);
    if tried.wait == 0 {
        return repair.remember(memo).ask_again_in(SOON);
    }
    let soon = decision.ask_again_in.unwrap_or(tried.wait).min(tried.wait);
    let mut decision = decision.remember(memo).ask_again_in(Duration::from_millis(soon));
    if decision.verdict == Verdict::Hold {
        decision.analysis = repair.analysis;
    }
    decision.reasons.extend(repair.reasons);
    decision
}

/// With what was repaired lately, apart from `about`.
fn remembering(case: &Case, about: &str, decision: Decision) -> Decision {
    let lately = memo::lately(&case.situation.memo, about, case.situation.now);
    let memo = lately.fold(decision.memo.clone(), |memo, line| memo::join(&memo, line));
    decision.remember(memo)
}
