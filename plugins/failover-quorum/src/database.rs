//! A service with a database: the same questions, and besides who may write, who could, and what would be lost.
//!
//! Every move of data waits for two witnesses: the standbys' word that the primary is gone, and the vantage points' vote. The
//! standbys' word replaces waiting, never the vote. Proofs are the host's business.

use tidegate_sdk::{Cluster, Decision, Move, Reason, Role, SiteView, Situation};

use crate::settings::FailoverQuorum;

pub mod analysis;
pub mod candidates;
pub mod decide;
pub mod loss;
pub mod picture;
pub mod planned;
pub mod repair;
pub mod watch;

use candidates::Purpose;
use picture::{Picture, has};

/// What one decision about a database is made of.
#[derive(Debug)]
pub struct Case<'a> {
    /// What the operator set.
    pub settings: &'a FailoverQuorum,
    /// All that is known.
    pub situation: &'a Situation,
    /// The site that serves now.
    pub active: &'a SiteView,
    /// Its cluster, sorted.
    pub picture: Picture<'a>,
}

/// The verdict.
pub fn decide(settings: &FailoverQuorum, situation: &Situation, active: &SiteView, cluster: &Cluster) -> Decision {
    decide::decide(&Case::of(settings, situation, active, cluster))
}

/// The way to a site while both sides are well, or what speaks against every node there.
pub fn way_to(
    settings: &FailoverQuorum,
    situation: &Situation,
    active: &SiteView,
    cluster: &Cluster,
    site: &str,
) -> Result<Move, Reason> {
    let case = Case::of(settings, situation, active, cluster);
    let choice = candidates::weigh(&case, Purpose::Planned);
    choice.at(site, situation.objectives.rpo).map(|to| Move { expected_loss: Some(0), ..to }).ok_or_else(|| {
        let there = choice.vetoed.iter().find(|(node, _)| node.site == site);
        there.map_or_else(
            || Reason::new("no-place", format!("there is no node at {site}")),
            |(node, why)| why.reason(node),
        )
    })
}

/// Away from its site, while both sides are well.
pub fn leave(
    settings: &FailoverQuorum,
    situation: &Situation,
    active: &SiteView,
    cluster: &Cluster,
    code: &str,
    text: String,
) -> Decision {
    planned::leave(&Case::of(settings, situation, active, cluster), code, text)
}

impl<'a> Case<'a> {
    /// The cluster sorted, with the rest.
    pub fn of(
        settings: &'a FailoverQuorum,
        situation: &'a Situation,
        active: &'a SiteView,
        cluster: &'a Cluster,
    ) -> Self {
        Case { settings, situation, active, picture: Picture::of(cluster) }
    }

    /// How old a sign of life may be (ms).
    pub fn within(&self) -> u64 {
        self.settings.heard_within.as_millis()
    }

    /// The timeline that counts: the primary's, or where that is not known the newest that a standby has.
    pub fn timeline(&self) -> Option<u64> {
        let standbys =
            self.picture.cluster.nodes.iter().filter(|node| node.role == Role::Replica && !has(node, "foreign"));
        let newest = || standbys.filter_map(|node| node.timeline).max();
        self.picture.primary.and_then(|primary| primary.timeline).or_else(newest)
    }
}
