//! Active-active: each site has a share of the traffic; a lost site's goes to the others, and comes back after its hold-down.
//!
//! Never takes a share from a site of which nothing is known, and gives no site more than it has room for.

use std::time::Duration;

use tidegate_sdk::{Decision, Reason, Share, SiteView, Situation, Status};

use crate::analysis::SUSPICION_STEP;
use crate::decide::SOON;
use crate::settings::FailoverQuorum;
use crate::{analysis, candidates, limits, words};

/// A site, and what it may have.
struct Part<'a> {
    site: &'a SiteView,
    /// Its share when all is well.
    home: u32,
    /// Nothing works there.
    lost: bool,
    /// The least that it keeps: nothing is taken from a site in doubt.
    least: u32,
    /// The most that it may have now.
    limit: u32,
    /// What it gets.
    share: u32,
}

/// The shares that fit the sites' states, if they are others than now.
pub fn decide(settings: &FailoverQuorum, situation: &Situation) -> Decision {
    let lost: Vec<&SiteView> =
        situation.sites.iter().filter(|site| analysis::is_lost(settings, situation, site)).collect();
    if lost.len() == situation.sites.len() {
        let decision = Decision::hold("all-sites-down", "no site works: moving would help nobody");
        return decision.would_change_if("candidate", "one site is healthy again");
    }
    let leaving = lost.iter().any(|site| site.share > 0);
    let parts = fill(situation.sites.iter().map(|site| part(settings, situation, site, leaving)).collect());
    if parts.iter().all(|part| part.share == part.site.share) {
        return stay(settings, situation, &lost);
    }
    if situation.cluster.is_some() {
        let decision = Decision::hold("database", "the service has a database, which one site only can write");
        return decision.would_change_if("strategy", "the fleet file calls it active-passive, or a person moves it");
    }
    rebalance(&lost, &parts)
}

fn part<'a>(settings: &FailoverQuorum, situation: &Situation, site: &'a SiteView, leaving: bool) -> Part<'a> {
    let lost = analysis::is_lost(settings, situation, site);
    let settled = limits::held_down_for(settings, situation, site).is_none();
    let usable = site.consensus.held >= settings.healthy_for.as_millis();
    let (least, limit) = match site.consensus.status {
        _ if lost => (0, 0),
        Status::Healthy if settled || (leaving && usable) => (0, candidates::room(site)),
        Status::Healthy | Status::Degraded => (0, site.share),
        Status::Unhealthy | Status::Unknown => (site.share, site.share),
    };
    let home = words::number(site, "home-share").unwrap_or(site.share);
    Part { site, home, lost, least, limit, share: least }
}

/// Gives out 100 per cent: to each in proportion to its home share, as far as its limit goes. What nobody has room for
/// stays where it is lost: more would take the others down too.
fn fill(mut parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    let kept: u32 = parts.iter().map(|part| part.least).sum();
    for _ in kept..100 {
        let open = parts.iter_mut().filter(|part| part.share < part.limit);
        match open.min_by_key(|part| fullness(part)) {
            Some(part) => part.share += 1,
            None => break,
        }
    }
    let left = 100u32.saturating_sub(parts.iter().map(|part| part.share).sum());
    if let Some(part) = parts.iter_mut().filter(|part| part.lost).max_by_key(|part| part.site.share) {
        part.share += left;
    }
    parts
}

/// Who gets the next per cent: who has the least of its home share; standbys last, in their order.
fn fullness(part: &Part<'_>) -> (u32, u32) {
    let full = (part.share * 10_000).checked_div(part.home).unwrap_or(u32::MAX);
    (full, part.site.rank)
}

fn rebalance(lost: &[&SiteView], parts: &[Part<'_>]) -> Decision {
    let shares = parts.iter().map(|part| Share::of(&part.site.site, part.share)).collect();
    let left: Vec<&&SiteView> = lost.iter().filter(|site| site.share > 0).collect();
    let mut decision = match left.first() {
        Some(site) => {
            let text = format!("{} is lost: {} vantage points say so", site.site, words::votes(&site.consensus));
            Decision::rebalance(shares, "dead-site", text)
                .would_change_if("recovered", format!("{} works again", site.site))
        }
        None => Decision::rebalance(shares, "home-healthy", "a site is past its hold-down and gets its share back"),
    };
    decision.reasons.extend(parts.iter().filter(|part| part.share != part.site.share).map(change));
    decision
}

fn change(part: &Part<'_>) -> Reason {
    let (site, from, to) = (&part.site.site, part.site.share, part.share);
    if part.lost && to > 0 {
        return Reason::new("capacity", format!("{to} % stays at {site}: nobody has room for it"));
    }
    Reason::new("share", format!("{site}: {from} % becomes {to} %"))
}

fn stay(settings: &FailoverQuorum, situation: &Situation, lost: &[&SiteView]) -> Decision {
    let suspect =
        |site: &&SiteView| site.consensus.status == Status::Unhealthy && !lost.iter().any(|one| one.site == site.site);
    if let Some(site) = situation.sites.iter().find(suspect) {
        let text = format!("{} may be lost: {} vantage points say so", site.site, words::votes(&site.consensus));
        let decision = Decision::hold("suspected", text).would_change_if("confirmed", "it stays so");
        return decision.ask_again_in(Duration::from_millis(SUSPICION_STEP));
    }
    if let Some(site) = situation.sites.iter().find(|site| site.consensus.status == Status::Unknown) {
        let text = format!("too little is known of {}: it keeps its share", site.site);
        return Decision::hold("unclear", text)
            .would_change_if("more-votes", "most vantage points agree")
            .ask_again_in(SOON);
    }
    if let Some(site) = lost.first() {
        let text = format!("{} is lost; the others carry what they can", site.site);
        return Decision::hold("dead-site", text).would_change_if("recovered", format!("{} works again", site.site));
    }
    if let Some((site, left)) = returning(settings, situation) {
        let needed = words::span(limits::hold_down(settings, situation));
        let decision = Decision::hold("hold-down", format!("{} is healthy, for less than {needed}", site.site));
        let decision = decision.would_change_if("hold-down-over", format!("it stays healthy for {needed}"));
        return decision.ask_again_in(Duration::from_millis(left));
    }
    match situation.sites.iter().find(|site| site.consensus.status != Status::Healthy) {
        Some(site) => {
            let text = format!("{} is {}: it keeps its share", site.site, words::status(site.consensus.status));
            Decision::hold(words::status(site.consensus.status), text)
                .would_change_if("lost", "it stays so, or gets worse")
                .ask_again_in(SOON)
        }
        None => Decision::hold("healthy", "every site has its share")
            .would_change_if("more-votes", "most vantage points see one down"),
    }
}

/// The healthy site that gets its share back next, and how long that still takes.
fn returning<'a>(settings: &FailoverQuorum, situation: &'a Situation) -> Option<(&'a SiteView, u64)> {
    let healthy = situation.sites.iter().filter(|site| site.consensus.status == Status::Healthy);
    let short = healthy.filter(|site| words::number(site, "home-share").is_some_and(|home| site.share < home));
    let waiting = short.filter_map(|site| Some((site, limits::held_down_for(settings, situation, site)?)));
    waiting.min_by_key(|(_, left)| *left)
}
