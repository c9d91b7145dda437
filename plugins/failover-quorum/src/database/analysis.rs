//! What the primary's state is: what the host sees, held against what the standbys hear. First match wins.
//!
//! "Ask the replicas": a standby that still gets log from the primary outranks our not reaching it. Decides nothing.

use tidegate_sdk::{Node, Outcome, Role, SiteView};

use super::Case;

/// What the primary is found to be.
#[derive(Debug)]
pub enum Finding<'a> {
    /// Nobody knows who it is.
    NoPrimary,
    /// It answers.
    Answers(&'a Node),
    /// It stands where the traffic does not go.
    Elsewhere(&'a Node),
    /// These still hear from it, or from somebody; we do not reach it.
    Unreachable(&'a Node, Vec<&'a str>),
    /// This host has never seen it take writes: what it is told to be may be old.
    NeverReached(&'a Node),
    /// It answers, as a standby: it was stopped from taking writes, and nobody took over.
    Demoted(&'a Node),
    /// It does not answer, and nobody could take over.
    Alone(&'a Node),
    /// Neither it nor any standby answers.
    AllSilent(&'a Node),
    /// It takes connections and does nothing; no standby hears from it.
    Hung(&'a Node),
    /// Nobody reaches it; no standby hears from it.
    Dead(&'a Node),
}

/// What the primary is found to be.
pub fn find<'a>(case: &Case<'a>) -> Finding<'a> {
    let Some(primary) = case.picture.primary else { return Finding::NoPrimary };
    let hearing: Vec<&str> = case.picture.hearing(case.within()).map(|node| node.id.as_str()).collect();
    if primary.site != case.active.site {
        Finding::Elsewhere(primary)
    } else if primary.role == Role::Primary {
        Finding::Answers(primary)
    } else if !hearing.is_empty() {
        Finding::Unreachable(primary, hearing)
    } else if !case.picture.was_reached() {
        Finding::NeverReached(primary)
    } else if primary.role == Role::Replica {
        Finding::Demoted(primary)
    } else if case.picture.others().next().is_none() {
        Finding::Alone(primary)
    } else if case.picture.standbys().next().is_none() {
        Finding::AllSilent(primary)
    } else if connects(primary, case.active, case.within()) {
        Finding::Hung(primary)
    } else {
        Finding::Dead(primary)
    }
}

impl Finding<'_> {
    /// In decisions, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Finding::NoPrimary | Finding::Demoted(_) => "no-primary",
            Finding::Answers(_) => "healthy",
            Finding::Elsewhere(_) => "primary-elsewhere",
            Finding::Unreachable(..) => "unreachable-primary",
            Finding::NeverReached(_) => "primary-never-reached",
            Finding::Alone(_) => "primary-without-standbys",
            Finding::AllSilent(_) => "dead-primary-and-standbys",
            Finding::Hung(_) => "hung-primary",
            Finding::Dead(_) => "dead-primary",
        }
    }

    /// In decisions, for people. Nothing in it changes while the finding does not.
    pub fn text(&self) -> String {
        match self {
            Finding::NoPrimary => "no node is a primary, and the host holds none to be it".to_owned(),
            Finding::Answers(primary) => format!("{} answers", primary.id),
            Finding::Elsewhere(primary) => {
                format!("the primary {} stands at {}, and the traffic goes elsewhere", primary.id, primary.site)
            }
            Finding::Unreachable(primary, hearing) => {
                let hear = if hearing.len() == 1 { "still hears" } else { "still hear" };
                format!("{} does not answer us, and {} {hear} from a primary", primary.id, hearing.join(", "))
            }
            Finding::Demoted(primary) => {
                format!("{} was the primary and is a standby now; nobody took over", primary.id)
            }
            Finding::NeverReached(primary) => {
                format!("{} has not been seen to take writes since this host started", primary.id)
            }
            Finding::Alone(primary) => format!("{} does not answer, and the cluster has no other node", primary.id),
            Finding::AllSilent(primary) => {
                format!("neither {} nor any standby answers: it is probably us who are cut off", primary.id)
            }
            Finding::Hung(primary) => {
                format!("{} takes connections and answers nothing; no standby hears from it", primary.id)
            }
            Finding::Dead(primary) => format!("nobody reaches {}, and no standby hears from it", primary.id),
        }
    }
}

/// The newest attempt got a connection, or a vantage point got one and no answer. A look from before its death proves nothing.
fn connects(primary: &Node, active: &SiteView, within: u64) -> bool {
    let newest = primary.seen_by.iter().min_by_key(|sighting| (sighting.attempt_age, sighting.reached));
    let reached = newest.is_some_and(|sighting| sighting.reached && sighting.attempt_age <= within);
    reached || active.observations.iter().any(|word| word.outcome == Outcome::Partial)
}
