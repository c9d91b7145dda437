//! Going back to the preferred site: only when it has been healthy for the hold-down, and never in a hurry.
//!
//! Asked only while the site that serves now works; there is no loss to prevent here.

use std::time::Duration;

use tidegate_sdk::{Decision, Move, Reason, SiteView, Situation, Status};

use crate::decide::{LATER, question, shifts};
use crate::settings::FailoverQuorum;
use crate::{candidates, database, limits, words};

/// Back, or why not yet.
pub fn decide(settings: &FailoverQuorum, situation: &Situation, active: &SiteView) -> Decision {
    let home = &situation.preferred_site;
    let Some(preferred) = situation.site(home) else {
        return Decision::hold(
            "healthy",
            format!("{} works; the preferred site {home} is not among the sites", active.site),
        );
    };
    if preferred.consensus.status != Status::Healthy {
        let text = format!("{} serves; {home} is {}", active.site, words::status(preferred.consensus.status));
        return Decision::hold("failed-over", text).would_change_if("home-healthy", format!("{home} is healthy again"));
    }
    if let Some(left) = limits::held_down_for(settings, situation, preferred) {
        let needed = words::span(limits::hold_down(settings, situation));
        let decision = Decision::hold("hold-down", format!("{home} is healthy, for less than {needed}"));
        return waiting(decision.would_change_if("hold-down-over", format!("it stays healthy for {needed}")), left);
    }
    if let Some(objection) = candidates::objection(settings, preferred) {
        let reason = objection.reason(preferred);
        return Decision::hold(reason.code, reason.text)
            .analysed_as("failed-over")
            .would_change_if("candidate", "this veto falls");
    }
    if let Some(cooling) = limits::cooling_down(settings, situation) {
        let mut decision = Decision::hold(cooling.reason.code, cooling.reason.text);
        decision.would_change_if.push(cooling.until);
        return waiting(decision, cooling.ends_in.unwrap_or_default());
    }
    match way(settings, situation, active) {
        Ok(to) => back(settings, situation, active, to),
        Err(reason) => Decision::hold(reason.code, reason.text)
            .analysed_as("failed-over")
            .would_change_if("candidate", "this veto falls")
            .ask_again_in(LATER),
    }
}

/// Traffic in steps; data in one, when the node at home has caught up.
fn way(settings: &FailoverQuorum, situation: &Situation, active: &SiteView) -> Result<Move, Reason> {
    let home = &situation.preferred_site;
    match &situation.cluster {
        None => Ok(Move::to(home).gradually(shifts(settings))),
        Some(cluster) => database::way_to(settings, situation, active, cluster, home),
    }
}

fn back(settings: &FailoverQuorum, situation: &Situation, active: &SiteView, to: Move) -> Decision {
    let home = &situation.preferred_site;
    let text = format!("{home} is preferred, healthy and past its hold-down; {} serves now", active.site);
    let moving = Decision::fail_back(to.clone(), "home-healthy", text).analysed_as("failed-over");
    match limits::obstacle(settings, situation, situation.failback) {
        None => moving,
        Some(obstacle) => question(settings, situation, moving, vec![to], obstacle),
    }
}

fn waiting(decision: Decision, left: u64) -> Decision {
    decision.analysed_as("failed-over").ask_again_in(Duration::from_millis(left))
}
