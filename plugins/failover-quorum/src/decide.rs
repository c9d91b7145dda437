//! The questions in their order: may anything move now, how is the active site, and where could its traffic go?
//!
//! Pure. A doubt always ends in a hold, with what would remove the doubt.

use std::time::Duration;

use tidegate_sdk::{Decision, Dependency, Move, Route, SiteView, Situation, State, Status, Strategy};

use crate::analysis::{self, Finding, Loss};
use crate::candidates::{self, Choice};
use crate::limits::{self, Obstacle};
use crate::settings::FailoverQuorum;
use crate::{database, doubt, failback, shares, words};

/// How soon to ask again while something that nobody announces may have changed.
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// The same where nothing is lost by being late, or where what would decide announces itself: a vote that comes or goes does.
pub(crate) const LATER: Duration = Duration::from_secs(10);

/// The verdict.
pub fn decide(settings: &FailoverQuorum, situation: &Situation) -> Result<Decision, String> {
    if let Some(decision) = held_back(situation) {
        return Ok(decision);
    }
    if situation.strategy == Strategy::ActiveActive {
        return Ok(shares::decide(settings, situation));
    }
    let active = situation
        .active()
        .ok_or_else(|| format!("the active site {:?} is not among the sites", situation.active_site))?;
    if let Some(cluster) = &situation.cluster {
        return Ok(database::decide(settings, situation, active, cluster));
    }
    Ok(match analysis::find(settings, situation, active) {
        Finding::Works { seen_down_by } => works(settings, situation, active, &seen_down_by),
        Finding::Degraded => degraded(settings, situation, active),
        Finding::Suspected { again_in } => suspected(settings, active, again_in),
        Finding::Lost(loss) => lost(settings, situation, active, loss),
        Finding::Unclear(doubt) => doubt::decide(settings, situation, active, doubt),
    })
}

/// What makes the policy hold whatever the sites are like.
fn held_back(situation: &Situation) -> Option<Decision> {
    if matches!(situation.state, State::FailingOver | State::FailingBack) {
        return Some(moving(situation));
    }
    if situation.in_maintenance {
        return Some(
            Decision::hold("maintenance", "the service is in maintenance")
                .would_change_if("maintenance-over", "the maintenance ends"),
        );
    }
    if situation.warming_up {
        let decision = Decision::hold("warming-up", "the host has only just started: silence is not yet evidence");
        return Some(decision.ask_again_in(Duration::from_secs(1)));
    }
    let drift = situation.facts.iter().find(|fact| fact.key == "drift")?;
    let decision = Decision::hold("drift", format!("the route was changed by somebody else: {}", drift.value));
    Some(decision.would_change_if("drift-settled", "a person says adopt or reapply"))
}

/// Asked between two shifts of a move that began with both sides alive: hold means go on, anything else go back.
fn moving(situation: &Situation) -> Decision {
    let works = |site: &SiteView| matches!(site.consensus.status, Status::Healthy | Status::Degraded);
    let target =
        situation.sites.iter().find(|site| takes_over(situation, site) && site.consensus.status != Status::Healthy);
    match (target, situation.active()) {
        // Traffic can go back at any time, data cannot.
        (Some(target), Some(active)) if works(active) && may_go_back(situation) => {
            let (new, old) = (&target.site, &active.site);
            let text =
                format!("{new} is {}, and {old} still works: back to it", words::status(target.consensus.status));
            Decision::switch_over(Move::to(old), "target-not-good", text)
        }
        _ => Decision::hold("moving", "a move is under way; it ends before the next one begins"),
    }
}

fn may_go_back(situation: &Situation) -> bool {
    situation.strategy != Strategy::ActiveActive && situation.cluster.is_none()
}

/// Traffic goes there already, though the service is not counted as moved.
fn takes_over(situation: &Situation, site: &SiteView) -> bool {
    let routed =
        |route: &Route| route.endpoints.iter().any(|endpoint| endpoint.site == site.site && endpoint.weight > 0);
    site.site != situation.active_site && (site.share > 0 || situation.route.as_ref().is_some_and(routed))
}

/// The active site works: home if it is not, else nothing.
pub(crate) fn works(
    settings: &FailoverQuorum,
    situation: &Situation,
    active: &SiteView,
    seen_down_by: &[&str],
) -> Decision {
    let decision = if active.site == situation.preferred_site {
        at_home(active)
    } else {
        failback::decide(settings, situation, active)
    };
    if seen_down_by.is_empty() {
        return decision;
    }
    let text = format!("only {} sees {} down; most vantage points do not", seen_down_by.join(", "), active.site);
    let decision = decision.because("minority-sees-it-down", text);
    let votes = format!("most of the {} vantage points see {} down", active.consensus.expected, active.site);
    decision.would_change_if("more-votes", votes)
}

fn at_home(active: &SiteView) -> Decision {
    let text = format!("{} works: {} vantage points say so", active.site, words::votes(&active.consensus));
    Decision::hold("healthy", text).would_change_if("more-votes", "most vantage points see it down")
}

/// Too slow: left alone for as long as the settings say.
pub(crate) fn degraded(settings: &FailoverQuorum, situation: &Situation, active: &SiteView) -> Decision {
    let text =
        format!("{} answers, too slowly: {} vantage points say so", active.site, words::votes(&active.consensus));
    let Some(patience) = settings.degraded_for.map(|period| period.as_millis()) else {
        return Decision::hold("degraded", text).would_change_if("lost", "it stops answering");
    };
    if active.consensus.held < patience {
        let left = patience - active.consensus.held;
        let decision = Decision::hold("degraded", text);
        let decision = decision.would_change_if("degraded-for", format!("it stays so for {}", words::span(patience)));
        return decision.ask_again_in(Duration::from_millis(left));
    }
    if let Some(cluster) = &situation.cluster {
        return database::leave(settings, situation, active, cluster, "degraded", text);
    }
    let choice = candidates::weigh(settings, situation);
    match choice.fit.first() {
        None => no_candidate(settings, active, &choice, "degraded", text),
        Some(site) => {
            let to = Move::to(&site.site).gradually(shifts(settings));
            let moving = Decision::switch_over(to, "degraded", text);
            with_vetoes(allowed(settings, situation, &choice, moving), &choice)
        }
    }
}

/// Not yet long, or often, enough.
pub(crate) fn suspected(settings: &FailoverQuorum, active: &SiteView, again_in: u64) -> Decision {
    let text = format!("{} may be lost: {} vantage points say so", active.site, words::votes(&active.consensus));
    let wanted = format!("it is seen bad {} times in a row, for {}", settings.bad_looks, settings.unhealthy_for);
    Decision::hold("suspected", text).would_change_if("confirmed", wanted).ask_again_in(Duration::from_millis(again_in))
}

fn lost(settings: &FailoverQuorum, situation: &Situation, active: &SiteView, loss: Loss) -> Decision {
    let text = loss_text(active, loss);
    if loss == Loss::AllSitesDown {
        let decision = Decision::hold(loss.code(), "no site works: moving would help nobody, and may make it worse");
        return decision.because("unhealthy", text).would_change_if("candidate", "one site is healthy again");
    }
    if let Some(decision) = dependency_down(situation) {
        return decision.because(loss.code(), text);
    }
    let choice = candidates::weigh(settings, situation);
    let Some(site) = choice.fit.first() else {
        return no_candidate(settings, active, &choice, loss.code(), text);
    };
    let moving = Decision::fail_over(Move::to(&site.site), loss.code(), text);
    let chosen = format!("{} is healthy, has room, and ranks best of those", site.site);
    let moving =
        moving.because("candidate", chosen).would_change_if("recovered", format!("{} works again", active.site));
    with_vetoes(allowed(settings, situation, &choice, moving), &choice)
}

fn loss_text(active: &SiteView, loss: Loss) -> String {
    let (site, votes) = (&active.site, words::votes(&active.consensus));
    match loss {
        Loss::DeadSite => format!(
            "{site} is lost: {votes} vantage points say so, and none of its {} services works",
            active.services_total
        ),
        Loss::DegradedSite => format!(
            "{site} does not serve it: {votes} vantage points say so; {} of its {} services are down",
            active.services_unhealthy, active.services_total
        ),
        Loss::DeadService => {
            format!("the service is down at {site}: {votes} vantage points say so; the site itself is not")
        }
        Loss::HalfDead => format!("{site} answers, and does not do its work: {votes} vantage points say so"),
        Loss::AllSitesDown => format!("{site} is down, and so is every other site"),
    }
}

/// What a service needs moves first: without it the service would be as dead elsewhere.
pub(crate) fn dependency_down(situation: &Situation) -> Option<Decision> {
    let down = |needed: &&Dependency| needed.status == Status::Unhealthy;
    let needed = situation.dependencies.iter().find(down)?;
    let text = format!("it needs {}, which is down at {}: that moves first", needed.service, needed.active_site);
    let decision = Decision::hold("dependency-down", text);
    Some(decision.would_change_if("dependency", format!("{} works again", needed.service)).ask_again_in(SOON))
}

/// The move itself, or the question about it where the policy may not decide alone.
fn allowed(settings: &FailoverQuorum, situation: &Situation, choice: &Choice<'_>, moving: Decision) -> Decision {
    match limits::obstacle(settings, situation, situation.failover) {
        None => moving,
        Some(obstacle) => question(settings, situation, moving, choice.moves(), obstacle),
    }
}

/// Turns a move into a question about it. Its text stays the same while the reason does: it is one question, however
/// often it is asked.
pub(crate) fn question(
    settings: &FailoverQuorum,
    situation: &Situation,
    moving: Decision,
    options: Vec<Move>,
    obstacle: Obstacle,
) -> Decision {
    let to = options.first().map_or("another site", |option| option.to_site.as_str());
    let (service, from) = (&situation.service, &situation.active_site);
    let text = format!("Move {service} from {from} to {to}? {}; {}", moving.analysis, obstacle.reason.code);
    let mut asking = Decision::ask(text, options, settings.question_expires_in.into(), "", "");
    (asking.analysis, asking.reasons) = (moving.analysis, moving.reasons);
    asking.would_change_if = moving.would_change_if;
    asking.reasons.push(obstacle.reason);
    asking.would_change_if.push(obstacle.until);
    asking.ask_again_in = obstacle.ends_in;
    asking
}

/// Which rule stands against which, and what a person could allow.
fn no_candidate(
    settings: &FailoverQuorum,
    active: &SiteView,
    choice: &Choice<'_>,
    code: &str,
    text: String,
) -> Decision {
    let options = choice.relaxations();
    let decision = match options.first() {
        None => Decision::hold("no-candidate", "no other site works"),
        Some(best) => {
            let question =
                format!("{} is lost and no other site is fit. Move to {} all the same?", active.site, best.to_site);
            Decision::ask(
                question,
                options.clone(),
                settings.question_expires_in.into(),
                "no-candidate",
                "something speaks against every other site",
            )
        }
    };
    let decision = decision.because(code, text).would_change_if("candidate", "one veto falls").ask_again_in(SOON);
    with_vetoes(decision, choice)
}

pub(crate) fn shifts(settings: &FailoverQuorum) -> Vec<tidegate_sdk::Shift> {
    let shifts = settings.contract_shifts();
    if shifts.is_empty() { Move::to("").shifts } else { shifts }
}

fn with_vetoes(mut decision: Decision, choice: &Choice<'_>) -> Decision {
    decision.vetoes = choice.vetoes();
    decision
}
