//! The guard's rules, one small function each, in the order in which `plan` shows them.
//!
//! Each looks at one thing and says for an operator what is in the way.

use super::data::{candidate, loss_bound, site_heard, sound_data, standby_quorum, whole};
use super::{Autonomy, Mode, Run, Share, SiteId, Status, capacity, saga, same_shares};
use super::{DEPENDENCY_LAG, DEPENDENCY_PATIENCE, Guard, Kind, LATER, SOON, Said, Scene};
use crate::rules::RuleNumber;

const fn bound(number: RuleNumber, name: &'static str, check: fn(&Scene) -> Option<Said>) -> Guard {
    Guard { number, name, person_passes: false, check }
}

const fn automatic(number: RuleNumber, name: &'static str, check: fn(&Scene) -> Option<Said>) -> Guard {
    Guard { number, name, person_passes: true, check }
}

/// Every rule of the guard.
pub const GUARDS: &[Guard] = &[
    bound(30, "needs-cluster", whole),
    bound(31, "observe-only", observe_only),
    bound(32, "move-under-way", move_under_way),
    bound(33, "stale-epoch", stale_epoch),
    bound(34, "drift", drift),
    bound(35, "target-declared", target_declared),
    bound(36, "target-well", target_well),
    bound(37, "jurisdiction", jurisdiction),
    bound(38, "capacity", room),
    bound(39, "name-without-answer", name_without_answer),
    bound(40, "runbook-listed", runbook_listed),
    bound(54, "candidate", candidate),
    bound(55, "standby-quorum", standby_quorum),
    bound(56, "loss-bound", loss_bound),
    automatic(57, "sound-data", sound_data),
    automatic(58, "site-heard", site_heard),
    automatic(59, "evacuated", evacuated),
    automatic(41, "warming-up", warming_up),
    automatic(42, "paused", paused),
    automatic(43, "frozen", frozen),
    automatic(44, "brake", brake),
    automatic(45, "maintenance", maintenance),
    automatic(46, "cooldown", cooldown),
    automatic(47, "hold-down", hold_down),
    automatic(48, "dependency-order", dependency_order),
    automatic(49, "declined", declined),
    automatic(50, "evidence", evidence),
    automatic(51, "loss", loss),
    automatic(52, "autonomy", autonomy),
    automatic(53, "approval", approval),
];

pub(super) fn hold(text: impl Into<String>) -> Option<Said> {
    Some(Said { text: text.into(), ask: false, wait: None })
}

pub(super) fn hold_for(wait: u64, text: impl Into<String>) -> Option<Said> {
    Some(Said { text: text.into(), ask: false, wait: Some(wait) })
}

pub(super) fn ask(text: impl Into<String>) -> Option<Said> {
    Some(Said { text: text.into(), ask: true, wait: None })
}

fn observe_only(scene: &Scene) -> Option<Said> {
    if scene.kernel.fleet.host.mode == Mode::Act {
        return None;
    }
    hold("the host only observes; set mode = \"act\" under [host] to let it act")
}

fn move_under_way(scene: &Scene) -> Option<Said> {
    let name = |at: &Scene, run: &Run| {
        let other = at.kernel.service_id(&run.service).map(|id| &at.kernel.fleet.services[id.at()]);
        other.and_then(|service| service.route.as_ref()).map(|route| route.name.clone())
    };
    let own = scene.service.route.as_ref().map(|route| route.name.clone());
    let other = scene
        .kernel
        .state
        .open_runs()
        .find(|run| run.service == scene.service.name || own.is_some() && name(scene, run) == own)?;
    hold_for(SOON, format!("run r{} of {} is under way", other.id.0, other.service))
}

fn stale_epoch(scene: &Scene) -> Option<Said> {
    let epoch = scene.known.life.epoch;
    if scene.proposal.epoch == epoch {
        return None;
    }
    hold_for(SOON, format!("it was decided for epoch {}, and the service is at {epoch}", scene.proposal.epoch))
}

fn drift(scene: &Scene) -> Option<Said> {
    // A node that has no right to lead is stopped wherever the name leads.
    let drift = scene.known.drift.as_ref().filter(|_| !matches!(scene.proposal.kind, Kind::Reapply | Kind::Fence))?;
    let name = &scene.service.name;
    hold(format!("{}; say `tidegate adopt {name}` or `tidegate reapply {name}` first", drift.text))
}

fn target_declared(scene: &Scene) -> Option<Said> {
    let stray = scene.proposal.shares.iter().find(|share| site(scene, &share.site).is_none());
    if let Some(stray) = stray {
        return hold(format!("{} has no place at {}", scene.service.name, stray.site));
    }
    // A primary may move between two nodes of one site.
    let stays = same_shares(&scene.proposal.shares, &scene.known.life.shares) && scene.proposal.promote.is_empty();
    if stays && scene.proposal.kind.changes_place() { hold("that is where it already is") } else { None }
}

/// Nothing is led to a site that is not well. A degraded one still answers: a person may choose it.
fn target_well(scene: &Scene) -> Option<Said> {
    let (name, status) = growing(scene).find_map(|share| {
        let consensus = scene.kernel.sensing.consensus(scene.proposal.service, site(scene, &share.site)?, scene.now);
        let enough =
            consensus.status == Status::Healthy || consensus.status == Status::Degraded && !scene.proposal.automatic();
        (!enough).then(|| (share.site.clone(), consensus.status))
    })?;
    hold_for(LATER, format!("{name} is {status}, not healthy"))
}

fn jurisdiction(scene: &Scene) -> Option<Said> {
    let allowed = &scene.service.jurisdictions;
    let refused = scene.proposal.shares.iter().filter(|share| share.per_cent > 0).find(|share| {
        let place = site(scene, &share.site).and_then(|at| scene.kernel.fleet.sites[at.at()].jurisdiction.as_ref());
        !allowed.is_empty() && place.is_none_or(|place| !allowed.contains(place))
    })?;
    hold(format!("{} lies outside the jurisdictions {}", refused.site, allowed.join(", ")))
}

fn room(scene: &Scene) -> Option<Said> {
    growing(scene).find_map(|share| {
        let at = site(scene, &share.site)?;
        let bears = scene.kernel.fleet.sites[at.at()].capacity;
        if share.per_cent > bears {
            return hold(format!(
                "{} bears {bears} % of a service's full load, and this would be {} %",
                share.site, share.per_cent
            ));
        }
        let load = u64::from(scene.service.place(at)?.load) * u64::from(share.per_cent);
        let used = scene.kernel.capacity.without(at, scene.proposal.service.at());
        if used + load <= capacity::FULL {
            return None;
        }
        let text = "of its capacity is in use or reserved by moves under way, and this needs";
        hold_for(LATER, format!("{}: {} % {text} {} %", share.site, used / 100, load / 100))
    })
}

fn name_without_answer(scene: &Scene) -> Option<Said> {
    let whole: u32 = scene.proposal.shares.iter().map(|share| share.per_cent).sum();
    if whole != 100 {
        return hold(format!("the shares add up to {whole}, not to 100"));
    }
    let last = scene.proposal.shifts.last().map_or(100, |shift| shift.share);
    let rising = scene.proposal.shifts.windows(2).all(|pair| pair[0].share < pair[1].share);
    if last != 100 || !rising || scene.proposal.shifts.iter().any(|shift| shift.share == 0) {
        return hold("the shifts have to rise and to end at 100");
    }
    None
}

fn runbook_listed(scene: &Scene) -> Option<Said> {
    let wanted = &scene.proposal.invocation.as_ref()?.runbook;
    let own = wanted == crate::runbook::REJOIN && scene.service.cluster.is_some();
    if own || scene.service.runbooks.values().any(|listed| listed == wanted) {
        return None;
    }
    hold(format!("the runbook {wanted} is not listed for {}", scene.service.name))
}

/// What leaves a site does not go back by itself while the others are on their way.
fn evacuated(scene: &Scene) -> Option<Said> {
    let open = scene.kernel.state.open_evacuation()?;
    growing(scene).find(|share| share.site == open.site)?;
    hold_for(LATER, format!("{} is being evacuated, on the word of {}", open.site, open.by))
}

fn warming_up(scene: &Scene) -> Option<Said> {
    if !scene.kernel.sensing.warming_up(scene.now) {
        return None;
    }
    hold_for(SOON, "the host has only just started: silence is not yet evidence")
}

fn paused(scene: &Scene) -> Option<Said> {
    let pause = scene.known.pause.as_ref().or(scene.kernel.state.paused.as_ref())?;
    hold(format!("paused by {}: {}", pause.by, pause.reason))
}

fn frozen(scene: &Scene) -> Option<Said> {
    let freeze = scene.kernel.state.freeze.as_ref()?;
    hold(format!("frozen: {}; say `tidegate rearm` once you have looked", freeze.text))
}

fn brake(scene: &Scene) -> Option<Said> {
    if let Some(tripped) = &scene.kernel.state.brake {
        return hold(format!("the brake has tripped: {}; say `tidegate rearm` once you have looked", tripped.text));
    }
    let away = scene.proposal.kind.changes_place() && scene.proposal.kind != Kind::FailBack;
    if !away || scene.kernel.incident_of(scene.proposal, scene.now).is_some() {
        return None;
    }
    let (known, allowed) = (scene.kernel.recent_incidents(scene.now).count(), scene.kernel.fleet.host.brake.incidents);
    if known < allowed as usize { None } else { hold(format!("this would be incident {} of {allowed}", known + 1)) }
}

fn maintenance(scene: &Scene) -> Option<Said> {
    let open = scene.kernel.in_maintenance(scene.proposal.service, scene.now);
    if open { hold_for(60_000, "a maintenance window is open") } else { None }
}

/// What moves neither traffic nor data need not wait.
fn cooldown(scene: &Scene) -> Option<Said> {
    if !scene.proposal.kind.changes_place() {
        return None;
    }
    let ended = scene.known.moves.first()?;
    let left = (ended.finished.mono + scene.service.cooldown).saturating_sub(scene.now.mono);
    if left == 0 { None } else { hold_for(left, "the last move ended less than the cooldown ago") }
}

/// Home has to have been well for a while, or the service would come back to what broke a moment ago.
fn hold_down(scene: &Scene) -> Option<Said> {
    if scene.proposal.kind != Kind::FailBack {
        return None;
    }
    let shortest = growing(scene).filter_map(|share| {
        let consensus = scene.kernel.sensing.consensus(scene.proposal.service, site(scene, &share.site)?, scene.now);
        Some(if consensus.status == Status::Healthy { consensus.held } else { 0 })
    });
    let left = scene.service.hold_down.saturating_sub(shortest.min()?);
    if left == 0 { None } else { hold_for(left, "the site has not been well for as long as the hold-down asks") }
}

/// What is needed goes first; but not for ever: it may itself need a person.
fn dependency_order(scene: &Scene) -> Option<Said> {
    let first = scene.service.depends_on.iter().find(|on| {
        let service = &scene.kernel.fleet.services[on.at()];
        let Some(known) = scene.kernel.service_state(**on) else { return false };
        let moving = known.run.and_then(|run| scene.kernel.state.runs.get(&run));
        let going = moving.is_some_and(|run| run.heading != saga::Heading::Resting);
        going || service.failover == Autonomy::Automatic && lately_lost(scene, **on, &known.life.active)
    })?;
    hold_for(SOON, format!("{} goes first", scene.kernel.fleet.services[first.at()].name))
}

/// Lost a short while ago, or about to be: its looks have begun to fail, and it is only a moment behind.
fn lately_lost(scene: &Scene, service: crate::fleet::ServiceId, active: &str) -> bool {
    let Some(site) = scene.kernel.site_id(active) else { return false };
    let consensus = scene.kernel.sensing.consensus(service, site, scene.now);
    if consensus.status == Status::Unhealthy {
        return consensus.held < DEPENDENCY_PATIENCE;
    }
    let own = scene.kernel.sensing.consensus(scene.proposal.service, site, scene.now);
    let seen = scene.kernel.sensing.observations(&scene.kernel.fleet, service, site, scene.now);
    own.held < DEPENDENCY_LAG && seen.iter().any(|observation| observation.outcome.is_bad())
}

fn declined(scene: &Scene) -> Option<Said> {
    let declined = scene.known.declined.as_ref().filter(|declined| declined.to == scene.proposal.to)?;
    let left = declined.until.saturating_sub(scene.now.mono);
    if left == 0 { None } else { hold_for(left, "a person has just refused it") }
}

/// The host's own count has to bear a fail-over out.
fn evidence(scene: &Scene) -> Option<Said> {
    if scene.proposal.kind != Kind::FailOver {
        return None;
    }
    let active = scene.kernel.site_id(&scene.known.life.active)?;
    let consensus = scene.kernel.sensing.consensus(scene.proposal.service, active, scene.now);
    if consensus.status != Status::Unhealthy {
        return ask(format!("the vantage points say {}, not unhealthy", consensus.status));
    }
    if scene.service.cluster.is_some() && consensus.expected < 3 {
        return ask("data moves by itself only where three failure domains look");
    }
    if consensus.voting < 2 && !scene.service.one_domain_suffices {
        return ask("only one failure domain says so, and the fleet file does not let one suffice");
    }
    None
}

/// For data this host computes the bound itself: see `loss-bound`.
fn loss(scene: &Scene) -> Option<Said> {
    if scene.service.cluster.is_some() {
        return None;
    }
    let (expected, allowed) = (scene.proposal.expected_loss?, scene.service.objectives.rpo);
    if expected <= allowed {
        return None;
    }
    ask(format!("it may lose {expected} ms of data, and the RPO allows {allowed} ms"))
}

fn autonomy(scene: &Scene) -> Option<Said> {
    let (what, autonomy) = match scene.proposal.kind {
        Kind::FailBack => ("failback", scene.service.failback),
        _ => ("failover", scene.service.failover),
    };
    match autonomy {
        Autonomy::Automatic => None,
        // The loss has a rule of its own; what a policy cannot bound may be anything.
        Autonomy::SemiAutomatic if scene.proposal.expected_loss.unwrap_or(0) <= scene.service.objectives.rpo => None,
        Autonomy::SemiAutomatic => ask(format!("{what} is semi-automatic, and a loss is not ruled out")),
        Autonomy::Manual => ask(format!("{what} is manual")),
    }
}

fn approval(scene: &Scene) -> Option<Said> {
    let kind = scene.proposal.kind.name();
    if !scene.service.approval.iter().any(|needed| needed == kind) {
        return None;
    }
    ask(format!("the fleet file wants an approval for every {kind}"))
}

/// The shares that become larger: what is taken from a site needs nothing of it.
fn growing<'a>(scene: &'a Scene) -> impl Iterator<Item = &'a Share> {
    scene.proposal.shares.iter().filter(|share| share.per_cent > scene.known.life.share(&share.site))
}

/// A site's position, if the service has a place there.
fn site(scene: &Scene, name: &str) -> Option<SiteId> {
    scene.kernel.site_id(name).filter(|at| scene.service.place(*at).is_some())
}
