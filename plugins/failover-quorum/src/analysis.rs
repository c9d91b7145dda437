//! What the active site's state is: the votes, read once more with patience.
//!
//! Counts nothing by itself that the host has counted: the consensus is the host's. Decides nothing.

use tidegate_sdk::{Observation, Outcome, SiteView, Situation, Status};

use crate::settings::FailoverQuorum;

/// What the active site is found to be.
#[derive(Debug, PartialEq)]
pub enum Finding<'a> {
    /// It works, whatever these few vantage points say.
    Works {
        /// Those that see it bad.
        seen_down_by: Vec<&'a str>,
    },
    /// It works, too slowly.
    Degraded,
    /// Unhealthy, but not long enough, or not often enough seen.
    Suspected {
        /// When to look at it again.
        again_in: u64,
    },
    /// Lost.
    Lost(Loss),
    /// Not enough is known.
    Unclear(Doubt),
}

/// How the active site is lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// No service there works.
    DeadSite,
    /// Most services there do not work.
    DegradedSite,
    /// Only this service does not work.
    DeadService,
    /// It answers, and does not do its work.
    HalfDead,
    /// No site at all works.
    AllSitesDown,
}

/// Why nothing is known for sure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doubt {
    /// Two vantage points cannot outvote each other.
    NoThirdVantage,
    /// A vantage point is itself cut off.
    VantageCutOff,
    /// Too few vantage points are heard.
    Blind,
    /// They contradict each other.
    Split,
}

/// While a suspicion is young it is looked at this often (ms).
pub(crate) const SUSPICION_STEP: u64 = 500;

/// What the active site is found to be.
pub fn find<'a>(settings: &FailoverQuorum, situation: &'a Situation, active: &'a SiteView) -> Finding<'a> {
    match active.consensus.status {
        Status::Healthy => Finding::Works { seen_down_by: bad_words(situation, active).map(who).collect() },
        Status::Degraded => Finding::Degraded,
        Status::Unknown => Finding::Unclear(doubt(situation, active)),
        Status::Unhealthy => match suspicion(settings, situation, active) {
            Some(again_in) => Finding::Suspected { again_in },
            None => Finding::Lost(loss(situation, active)),
        },
    }
}

/// Whether a site's bad state has lasted, and was seen, as settings ask.
pub fn is_lost(settings: &FailoverQuorum, situation: &Situation, site: &SiteView) -> bool {
    site.consensus.status == Status::Unhealthy && suspicion(settings, situation, site).is_none()
}

/// The vantage points whose word is missing, because they are silent, stale or cut off.
pub fn missing(situation: &Situation) -> impl Iterator<Item = &str> {
    situation.vantages.iter().filter(|vantage| !(vantage.fresh && vantage.sound)).map(|vantage| vantage.name.as_str())
}

impl Loss {
    /// In decisions, for machines.
    pub fn code(self) -> &'static str {
        match self {
            Loss::DeadSite => "dead-site",
            Loss::DegradedSite => "degraded-site",
            Loss::DeadService => "dead-service",
            Loss::HalfDead => "half-dead",
            Loss::AllSitesDown => "all-sites-down",
        }
    }
}

impl Doubt {
    /// In decisions, for machines.
    pub fn code(self) -> &'static str {
        match self {
            Doubt::NoThirdVantage => "no-third-vantage",
            Doubt::VantageCutOff => "vantage-cut-off",
            Doubt::Blind => "blind",
            Doubt::Split => "split",
        }
    }
}

/// While the loss is not yet believed: when to look again.
fn suspicion(settings: &FailoverQuorum, situation: &Situation, site: &SiteView) -> Option<u64> {
    let wait = settings.unhealthy_for.as_millis().saturating_sub(site.consensus.held);
    if wait > 0 {
        return Some(wait);
    }
    let (mut bad, mut confirmed) = (0, 0);
    for word in bad_words(situation, site) {
        bad += 1;
        confirmed += u32::from(is_confirmed(settings, word));
    }
    // The votes follow when it has worked often enough; until then it would be left just as it comes back.
    let comes_back = works_again(situation, site) > bad;
    (comes_back || (bad > 0 && 2 * confirmed <= bad)).then_some(SUSPICION_STEP)
}

/// Bad often enough: in a row, or within the window if the bad looks outnumber the good ones.
fn is_confirmed(settings: &FailoverQuorum, word: &Observation) -> bool {
    word.consecutive >= settings.bad_looks || (word.bad >= settings.bad_looks && word.bad > word.good)
}

fn loss(situation: &Situation, active: &SiteView) -> Loss {
    let (dead, all) = (active.services_unhealthy, active.services_total);
    if situation.sites.iter().all(|site| site.consensus.status == Status::Unhealthy) {
        Loss::AllSitesDown
    } else if all > 1 && dead >= all {
        Loss::DeadSite
    } else if all > 2 && 2 * dead > all {
        Loss::DegradedSite
    } else if answers(situation, active) {
        Loss::HalfDead
    } else {
        Loss::DeadService
    }
}

/// Most of those that see it bad get an answer, and not the right one.
fn answers(situation: &Situation, active: &SiteView) -> bool {
    let (mut bad, mut answered) = (0, 0);
    for word in bad_words(situation, active) {
        bad += 1;
        answered += u32::from(matches!(word.outcome, Outcome::Partial | Outcome::WriteFailed | Outcome::Corrupt));
    }
    2 * answered > bad
}

fn doubt(situation: &Situation, active: &SiteView) -> Doubt {
    let consensus = &active.consensus;
    if consensus.expected <= 2 {
        Doubt::NoThirdVantage
    } else if situation.vantages.iter().any(|vantage| vantage.fresh && !vantage.sound) {
        Doubt::VantageCutOff
    } else if 2 * consensus.voting <= consensus.expected {
        Doubt::Blind
    } else {
        Doubt::Split
    }
}

/// Bad votes that count: of vantage points that are fresh and not cut off themselves.
fn bad_words<'a>(situation: &'a Situation, site: &'a SiteView) -> impl Iterator<Item = &'a Observation> {
    let bad = |word: &&Observation| {
        use Outcome::{Corrupt, Partial, Refused, TimedOut, WriteFailed};
        matches!(word.outcome, Refused | TimedOut | Partial | WriteFailed | Corrupt)
    };
    site.observations.iter().filter(bad).filter(|word| counts(situation, &word.vantage))
}

/// So many see it work again, after bad looks.
fn works_again(situation: &Situation, site: &SiteView) -> u32 {
    let again = |word: &&Observation| matches!(word.outcome, Outcome::Ok | Outcome::Slow) && word.bad > 0;
    site.observations.iter().filter(again).map(|word| u32::from(counts(situation, &word.vantage))).sum()
}

fn counts(situation: &Situation, vantage: &str) -> bool {
    let view = situation.vantages.iter().find(|view| view.name == vantage);
    view.is_none_or(|view| view.fresh && view.sound)
}

fn who(word: &Observation) -> &str {
    &word.vantage
}
