//! What slows moves down: cooldown from the end of the last one, hold-down before going back, flapping.
//!
//! The host enforces its own of each; these only make the verdict fit, and say why.

use tidegate_sdk::{Autonomy, Reason, SiteView, Situation};

use crate::settings::FailoverQuorum;
use crate::words::span;

const COOLDOWN: u64 = 10 * 60_000;
const HOLD_DOWN: u64 = 5 * 60_000;

/// Why the policy may not move by itself now, and what would change that.
#[derive(Debug, PartialEq)]
pub struct Obstacle {
    /// Why.
    pub reason: Reason,
    /// What would change it.
    pub until: Reason,
    /// When it ends by itself, in milliseconds.
    pub ends_in: Option<u64>,
}

/// The first reason why a person has to decide about a move, if there is one.
pub fn obstacle(settings: &FailoverQuorum, situation: &Situation, autonomy: Autonomy) -> Option<Obstacle> {
    manual(autonomy).or_else(|| cooling_down(settings, situation)).or_else(|| flapping(settings, situation))
}

/// How long a site has to be healthy before anything goes back there.
pub fn hold_down(settings: &FailoverQuorum, situation: &Situation) -> u64 {
    given(settings.hold_down.map(|period| period.as_millis()), situation, "hold-down-ms", HOLD_DOWN)
}

/// How long of that is left for this site.
pub fn held_down_for(settings: &FailoverQuorum, situation: &Situation, site: &SiteView) -> Option<u64> {
    hold_down(settings, situation).checked_sub(site.consensus.held).filter(|left| *left > 0)
}

/// The quiet time after the last move, while it lasts.
pub fn cooling_down(settings: &FailoverQuorum, situation: &Situation) -> Option<Obstacle> {
    let last = situation.moves.first()?;
    let cooldown = given(settings.cooldown.map(|period| period.as_millis()), situation, "cooldown-ms", COOLDOWN);
    let left = cooldown.checked_sub(last.finished_ago).filter(|left| *left > 0)?;
    let text = format!("the last move, to {}, ended less than {} ago", last.to_site, span(cooldown));
    Some(Obstacle {
        reason: Reason::new("cooldown", text),
        until: Reason::new("cooldown-over", format!("{} have passed since that move ended", span(cooldown))),
        ends_in: Some(left),
    })
}

/// Manual means: always ask. Semi-automatic asks where something promised may be lost; traffic alone loses nothing.
fn manual(autonomy: Autonomy) -> Option<Obstacle> {
    (autonomy == Autonomy::Manual).then(|| Obstacle {
        reason: Reason::new("manual", "the fleet file leaves this move to a person"),
        until: Reason::new("approved", "a person says yes"),
        ends_in: None,
    })
}

fn flapping(settings: &FailoverQuorum, situation: &Situation) -> Option<Obstacle> {
    let window = settings.flapping_window.as_millis();
    let recent = situation.moves.iter().filter(|past| past.finished_ago < window);
    let ages: Vec<u64> = recent.map(|past| past.finished_ago).take(settings.flapping_moves as usize).collect();
    let oldest = *ages.last().filter(|_| ages.len() == settings.flapping_moves as usize)?;
    let text = format!("{} moves in the last {}", ages.len(), span(window));
    Some(Obstacle {
        reason: Reason::new("flapping", text),
        until: Reason::new("quiet", format!("the oldest of them is {} ago", span(window))),
        ends_in: Some(window - oldest),
    })
}

/// The policy's own setting; else what the fleet file says of the service; else the default.
fn given(own: Option<u64>, situation: &Situation, key: &str, default: u64) -> u64 {
    let fact = || situation.facts.iter().find(|fact| fact.key == key)?.value.parse().ok();
    own.or_else(fact).unwrap_or(default)
}
