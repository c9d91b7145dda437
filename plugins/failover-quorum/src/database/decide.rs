//! The questions in their order: is the picture sound, is an old primary back, how is the primary, and who could take over?
//!
//! A doubt holds. A lost primary moves only when the standbys have lost it and the vantage points have voted.

use std::time::Duration;

use tidegate_sdk::{Decision, Node, Status};

use super::analysis::{self, Finding};
use super::candidates::{self, Choice, Purpose, alarm, in_its_words};
use super::{Case, planned, repair, watch};
use crate::analysis::{self as votes, Finding as Vote, missing};
use crate::decide::{SOON, dependency_down, question, suspected, works};
use crate::{doubt, limits, memo, words};

/// While only the vote is missing it is looked at again this often: two quick looks in a row make a vote.
const STEP: Duration = Duration::from_millis(200);
/// So often, then as often as the vantage points look by themselves.
const QUICK_LOOKS: u32 = 10;

/// The verdict.
pub fn decide(case: &Case) -> Decision {
    if let Some(decision) = unusable(case) {
        return decision;
    }
    repair::apply(case, found(case))
}

/// What makes every judgement about the nodes worthless.
fn unusable(case: &Case) -> Option<Decision> {
    let name = &case.picture.cluster.name;
    if case.picture.age().is_none_or(|age| age > case.within()) {
        let decision = Decision::hold("no-sample", format!("the nodes of {name} have not been looked at lately"));
        let decision = decision.would_change_if("sample", "the provider tells of them again").ask_again_in(SOON);
        return Some(alarmed(decision, "warning"));
    }
    let rivals: Vec<&str> = case.picture.rivals.iter().map(|node| node.id.as_str()).collect();
    if rivals.is_empty() {
        return None;
    }
    let text = format!(
        "{} takes writes, and the newest timeline and the host's record do not agree",
        rivals.join(" as well as ")
    );
    let decision = Decision::hold("two-primaries", text).ask_again_in(SOON);
    Some(alarmed(
        decision.would_change_if("one-primary", "only one takes writes, or a person fences the other"),
        "critical",
    ))
}

fn found(case: &Case) -> Decision {
    let finding = analysis::find(case);
    match &finding {
        Finding::Answers(primary) => answers(case, primary),
        Finding::Unreachable(primary, _) => unreachable(case, &finding, primary),
        Finding::Demoted(primary) => planned::restore(case, &finding, primary),
        Finding::Hung(primary) | Finding::Dead(primary) => lost(case, &finding, primary),
        Finding::NoPrimary
        | Finding::Elsewhere(_)
        | Finding::NeverReached(_)
        | Finding::Alone(_)
        | Finding::AllSilent(_) => helpless(case, &finding),
    }
}

fn answers(case: &Case, primary: &Node) -> Decision {
    let (settings, situation, active) = (case.settings, case.situation, case.active);
    if planned::is_half_dead(primary) {
        return planned::half_dead(case, primary);
    }
    match votes::find(settings, situation, active) {
        Vote::Works { seen_down_by } => watch::over(case, primary, works(settings, situation, active, &seen_down_by)),
        Vote::Degraded => crate::decide::degraded(settings, situation, active),
        Vote::Suspected { again_in } => suspected(settings, active, again_in),
        Vote::Lost(_) => planned::isolated(case, primary),
        Vote::Unclear(unclear) => doubt::decide(settings, situation, active, unclear),
    }
}

/// The standby's word outranks ours: look again, and never move. The looks are not in vain: if it hangs, the vote is there by the
/// time that the standby has lost it too.
fn unreachable(case: &Case, finding: &Finding, primary: &Node) -> Decision {
    let about = format!("unreachable {}", primary.id);
    let looks = memo::looks(&case.situation.memo, &about);
    let decision = if looks < case.settings.looks_again {
        let decision = Decision::probe_more([&case.active.site], finding.code(), finding.text());
        decision.remember(memo::remember(looks + 1, &about))
    } else {
        Decision::hold(finding.code(), finding.text()).remember(memo::remember(looks, &about))
    };
    let decision = with_its_words(decision, primary).ask_again_in(until_lost(case));
    decision
        .would_change_if("standbys-lose-it", "no standby hears from it any more, and the vantage points see it down")
}

/// When the last of the standbys will have lost it, if nothing more reaches them.
fn until_lost(case: &Case) -> Duration {
    let heard = case.picture.hearing(case.within()).filter_map(|node| node.upstream_heard);
    let left = heard.map(|age| Duration::from_millis(case.within() - age + 1)).max();
    left.map_or(SOON, |left| left.min(SOON))
}

/// Nothing that this policy may do would help.
fn helpless(case: &Case, finding: &Finding) -> Decision {
    let (code, text) = match finding {
        Finding::NoPrimary => ("primary", "a node takes writes"),
        Finding::Elsewhere(_) => ("together", "a person moves the traffic, or the primary"),
        Finding::NeverReached(_) => ("reached", "it answers once, or a person moves the service"),
        Finding::Alone(_) => ("recovered", "it answers again"),
        _ => ("standby-reached", "it answers, or a standby does"),
    };
    let mut decision = Decision::hold(finding.code(), finding.text()).would_change_if(code, text).ask_again_in(SOON);
    decision.reasons.extend(case.picture.cluster.nodes.iter().filter_map(in_its_words));
    alarmed(decision, "critical")
}

/// The standbys have lost it. Now the vote decides.
fn lost(case: &Case, finding: &Finding, primary: &Node) -> Decision {
    if case.active.consensus.status == Status::Unhealthy {
        return emergency(case, finding.code(), finding.text());
    }
    let about = format!("vote {}", primary.id);
    let looks = memo::looks(&case.situation.memo, &about);
    let site = &case.active.site;
    let decision = if looks < QUICK_LOOKS {
        Decision::probe_more([site], finding.code(), finding.text()).ask_again_in(STEP)
    } else {
        // The nodes and the vantage points contradict each other for longer than a death takes.
        alarmed(Decision::hold(finding.code(), finding.text()), "warning").ask_again_in(SOON)
    };
    let decision = decision.remember(memo::remember((looks + 1).min(QUICK_LOOKS), &about));
    let seen = words::status(case.active.consensus.status);
    let decision =
        with_its_words(decision, primary).because("vote", format!("the vantage points say {site} is {seen}"));
    let decision = missing(case.situation).fold(decision, |decision, vantage| {
        decision.would_change_if("vantage-back", format!("{vantage} is heard again"))
    });
    third_vantage(case, decision).would_change_if("more-votes", format!("most vantage points see {site} down"))
}

/// With two vantage points no vote can be had.
fn third_vantage(case: &Case, decision: Decision) -> Decision {
    if case.active.consensus.expected > 2 {
        return decision;
    }
    decision.would_change_if("third-vantage", "a vantage point in a third failure domain says who is right")
}

/// A standby takes over, by itself or if a person says so.
pub fn emergency(case: &Case, code: &str, text: String) -> Decision {
    if let Some(decision) = dependency_down(case.situation) {
        return decision.because(code, text);
    }
    let choice = candidates::weigh(case, Purpose::Emergency);
    let Some(to) = choice.best(case.situation.objectives.rpo) else {
        return no_candidate(case, &choice, code, text);
    };
    let loss = to.expected_loss.unwrap_or(0);
    let mut chosen = format!("{} at {} takes over", to.promote.join(", else "), to.to_site);
    chosen.push_str(&match loss {
        0 => ": it has, or gets from those that are reached, everything that was acknowledged".to_owned(),
        loss => format!(": up to {} may be lost, within the RPO", words::span(loss)),
    });
    let moving = Decision::fail_over(to.clone(), code, text).because("candidate", chosen);
    let moving = moving.would_change_if("recovered", "it answers again, or a standby hears from it");
    let mut decision = match limits::obstacle(case.settings, case.situation, case.situation.failover) {
        None => moving,
        Some(obstacle) => question(case.settings, case.situation, moving, vec![to], obstacle),
    };
    decision.vetoes = choice.vetoes();
    decision
}

/// Which rule stands against which, what a person could allow, and what it would cost.
fn no_candidate(case: &Case, choice: &Choice, code: &str, text: String) -> Decision {
    let options = choice.relaxations(case);
    let decision = match options.first() {
        None => Decision::hold("no-candidate", "no other node could take over, whatever a person allows"),
        Some((best, now)) => {
            let (node, cost) = (best.promote.join(", "), cost(*now));
            let allowed = words::span(case.situation.objectives.rpo);
            let by_then = by_then(case, best.expected_loss);
            let site = &best.to_site;
            let question = format!("Promote {node} at {site} although {cost}? The RPO allows {allowed}{by_then}");
            let expires = case.settings.question_expires_in.into();
            let moves = options.iter().map(|(to, _)| to.clone()).collect();
            Decision::ask(question, moves, expires, "no-candidate", "something speaks against every other node")
        }
    };
    let mut decision = decision.because(code, text).ask_again_in(SOON);
    for (node, objection) in &choice.vetoed {
        let reason = objection.reason(node);
        decision = decision.would_change_if(reason.code, format!("no longer: {}", reason.text));
    }
    decision = decision.would_change_if("recovered", "the old primary answers again");
    decision.vetoes = choice.vetoes();
    alarmed(decision, "critical")
}

fn cost(loss: Option<u64>) -> String {
    match loss {
        Some(loss) => format!("up to {} of the newest writes may be lost", words::span(loss)),
        None => "nobody can say how many of the newest writes are lost".to_owned(),
    }
}

/// While nobody answers it grows: what a yes says yes to.
fn by_then(case: &Case, loss: Option<u64>) -> String {
    let open = words::span(case.settings.question_expires_in.as_millis());
    loss.map_or(String::new(), |most| {
        format!(". A yes within {open} accepts what it has become by then, at most {}", words::span(most))
    })
}

fn with_its_words(mut decision: Decision, node: &Node) -> Decision {
    decision.reasons.extend(in_its_words(node));
    decision
}

/// Something that people have to be told at once.
pub fn alarmed(mut decision: Decision, level: &str) -> Decision {
    decision.facts.push(alarm(level));
    decision
}
