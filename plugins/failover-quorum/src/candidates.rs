//! Where a service could go: each other site in the operator's order, taken or vetoed by name.
//!
//! Knows only what the host has found of each site; whether to go at all is decided elsewhere.

use tidegate_sdk::{Candidate, Move, Reason, SiteView, Situation, Status, Veto};

use crate::settings::FailoverQuorum;
use crate::words;

/// Every other site, weighed.
#[derive(Debug, PartialEq)]
pub struct Choice<'a> {
    /// The sites that nothing speaks against, the best first.
    pub fit: Vec<&'a SiteView>,
    /// The others, in the order in which they were weighed.
    pub vetoed: Vec<(&'a SiteView, Objection)>,
}

/// Why a site is not taken. In the order in which a person might overrule it: the first is the least dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Objection {
    /// Healthy, but for less than that (ms).
    JustHealthy(u64),
    /// It works, too slowly.
    Degraded,
    /// It has room for that many per cent of the load.
    Full(u32),
    /// Nobody knows.
    Unknown,
    /// It does not work either.
    Unhealthy,
}

/// Weighs every site but the active one.
pub fn weigh<'a>(settings: &FailoverQuorum, situation: &'a Situation) -> Choice<'a> {
    let mut sites: Vec<&SiteView> = situation.sites.iter().filter(|site| site.site != situation.active_site).collect();
    sites.sort_by(|one, other| (one.rank, &one.site).cmp(&(other.rank, &other.site)));
    let mut choice = Choice { fit: Vec::new(), vetoed: Vec::new() };
    for site in sites {
        match objection(settings, site) {
            None => choice.fit.push(site),
            Some(objection) => choice.vetoed.push((site, objection)),
        }
    }
    choice
}

/// What speaks against moving everything to a site.
pub fn objection(settings: &FailoverQuorum, site: &SiteView) -> Option<Objection> {
    let room = room(site);
    match site.consensus.status {
        Status::Unhealthy => Some(Objection::Unhealthy),
        Status::Unknown => Some(Objection::Unknown),
        Status::Degraded => Some(Objection::Degraded),
        Status::Healthy if room < 100 => Some(Objection::Full(room)),
        Status::Healthy if site.consensus.held < settings.healthy_for.as_millis() => {
            Some(Objection::JustHealthy(settings.healthy_for.as_millis()))
        }
        Status::Healthy => None,
    }
}

/// How much of this service's traffic a site has room for, in per cent, beside what it carries for others.
pub fn room(site: &SiteView) -> u32 {
    let free = site.capacity.saturating_sub(words::number(site, "in-use").unwrap_or(0));
    match words::number(site, "load").unwrap_or(100) {
        0 => 100,
        load => (free * 100 / load).min(100),
    }
}

impl Choice<'_> {
    /// The vetoes, as a decision lists them.
    pub fn vetoes(&self) -> Vec<Veto> {
        let veto = |(site, objection): &(&SiteView, Objection)| Veto {
            candidate: Candidate::Site(site.site.clone()),
            reason: objection.reason(site),
        };
        self.vetoed.iter().map(veto).collect()
    }

    /// Moves that a person could allow although something speaks against them, the least dangerous first.
    pub fn relaxations(&self) -> Vec<Move> {
        let mut possible: Vec<_> = self.vetoed.iter().filter(|(_, why)| *why != Objection::Unhealthy).collect();
        possible.sort_by_key(|(site, why)| (*why, site.rank));
        possible.into_iter().map(|(site, _)| Move::to(&site.site)).collect()
    }

    /// The moves that nothing speaks against.
    pub fn moves(&self) -> Vec<Move> {
        self.fit.iter().map(|site| Move::to(&site.site)).collect()
    }
}

impl Objection {
    /// In a decision.
    pub fn reason(self, site: &SiteView) -> Reason {
        let (name, votes) = (&site.site, words::votes(&site.consensus));
        let (code, text) = match self {
            Objection::JustHealthy(needed) => {
                ("just-healthy", format!("{name} is healthy for less than {}", words::span(needed)))
            }
            Objection::Degraded => ("degraded", format!("{name} is degraded: {votes} vantage points say so")),
            Objection::Full(room) => ("capacity", format!("{name} has room for {room} % of the load")),
            Objection::Unknown => ("unknown", format!("too little is known of {name}")),
            Objection::Unhealthy => ("unhealthy", format!("{name} is unhealthy: {votes} vantage points say so")),
        };
        Reason::new(code, text)
    }
}
