//! While all is well: what would be missing if the primary died now. Said early, and nothing is moved for it.
//!
//! Adds to a decision that was made without it.

use std::time::Duration;

use tidegate_sdk::{Decision, Node, Role, Verdict};

use super::{Case, candidates, decide, loss};
use crate::decide::LATER;

/// What is to be said, and how loudly.
struct Warning {
    code: &'static str,
    text: String,
    alarm: bool,
}

/// The decision, with the first warning that applies.
pub fn over(case: &Case, primary: &Node, decision: Decision) -> Decision {
    if decision.verdict != Verdict::Hold {
        return decision;
    }
    // A lag that grows or shrinks announces itself to nobody.
    let decision = sooner(decision, LATER);
    let Some(Warning { code, text, alarm }) = warning(case, primary) else { return decision };
    let mut decision = decision.because(code, text);
    if decision.analysis == "healthy" {
        code.clone_into(&mut decision.analysis);
    }
    if alarm { decide::alarmed(decision, "warning") } else { decision }
}

/// To be asked again after this time, if not before.
pub fn sooner(decision: Decision, wait: Duration) -> Decision {
    let wait = decision.ask_again_in.map_or(wait, |sooner| wait.min(Duration::from_millis(sooner)));
    decision.ask_again_in(wait)
}

fn warning(case: &Case, primary: &Node) -> Option<Warning> {
    let useful = case.picture.standbys().any(|node| node.priority > 0 && candidates::belongs(case, node).is_none());
    if !useful {
        let text = format!("no standby could take over from {}: there is one copy of the newest data", primary.id);
        return Some(Warning { code: "primary-without-standbys", text, alarm: true });
    }
    closing(case).or_else(|| lost(case, primary)).or_else(|| lagging(case))
}

/// Soon nobody could be promoted any more.
fn closing(case: &Case) -> Option<Warning> {
    let code = "failover-window-closing";
    if let Some(set) = case.picture.cluster.published.as_ref().filter(|set| set.wait_for > 0) {
        loss::reached(case, set).err()?;
        let text =
            "too few synchronous standbys are reached to be sure of every commit if the primary died now".to_owned();
        return Some(Warning { code, text, alarm: true });
    }
    let rpo = case.situation.objectives.rpo;
    let sound = case.picture.standbys().filter(|node| node.priority > 0 && candidates::belongs(case, node).is_none());
    let least = sound.map(|node| node.lag_at_contact.unwrap_or(u64::MAX)).min()?;
    let text = "every standby is behind by more than half of what the RPO allows".to_owned();
    (rpo > 0 && least > rpo / 2).then_some(Warning { code, text, alarm: true })
}

fn lost(case: &Case, primary: &Node) -> Option<Warning> {
    let streams = |node: &Node| node.role == Role::Replica && node.upstream.is_some();
    let lost: Vec<&str> = case.picture.others().filter(|node| !streams(node)).map(|node| node.id.as_str()).collect();
    let text = format!("no log reaches {} from {}", lost.join(", "), primary.id);
    (!lost.is_empty()).then_some(Warning { code: "standby-lost", text, alarm: false })
}

fn lagging(case: &Case) -> Option<Warning> {
    let limit = case.settings.lag_max.as_millis();
    let late = case.picture.standbys().filter(|node| node.lag_at_contact.is_some_and(|lag| lag > limit));
    let late: Vec<&str> = late.map(|node| node.id.as_str()).collect();
    let text = format!("{}: behind by more than {}", late.join(", "), case.settings.lag_max);
    (!late.is_empty()).then_some(Warning { code: "standby-lagging", text, alarm: false })
}
