//! Who could take over: each other node in order, taken or vetoed by name; the first objection counts.
//!
//! The same-site node comes first (no traffic has to move), then the operator's order of sites, priority, and how far it has come.
//! Whether anybody has to take over is decided elsewhere.

use std::cmp::{Ordering, Reverse};

use tidegate_sdk::{Candidate, Fact, Move, Node, Reason, Role, Veto};

use super::picture::{has, said};
use super::{Case, loss};
use crate::{candidates as sites, words};

/// What the take-over is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// The primary is lost.
    Emergency,
    /// The primary works, and nothing is to be lost: writes stop, the standby catches up, then it takes over.
    Planned,
}

/// Every other node, weighed.
#[derive(Debug)]
pub struct Choice<'a> {
    /// Those that nothing speaks against, the best first, with what may be lost (ms).
    pub fit: Vec<(&'a Node, u64)>,
    /// The others, in the order in which they were weighed.
    pub vetoed: Vec<(&'a Node, Objection)>,
}

/// Why a node is not taken. In the order in which they are looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Objection {
    /// The operator never wants it promoted.
    PriorityZero,
    /// It does not answer.
    Unreachable,
    /// It answers, and takes no questions yet.
    Starting,
    /// It takes writes itself.
    Primary,
    /// Another cluster's data.
    Foreign,
    /// Nobody knows of which timeline it is.
    TimelineUnknown,
    /// It missed a promotion.
    OlderTimeline,
    /// It has what the primary's history has not.
    Fork,
    /// Its server is of a version that is not supported.
    TooOld,
    /// Its data is reported corrupt.
    Corrupt,
    /// Nobody knows how far it has come.
    PositionUnknown,
    /// It gets no log from the primary.
    NotStreaming,
    /// Too far behind for a planned move.
    Lagging,
    /// The published set is being changed.
    SetChanging,
    /// No commit waits for any standby.
    Asynchronous,
    /// No commit waits for this one.
    NotSynchronous,
    /// R + W > N does not hold.
    NoStandbyQuorum {
        /// R: members of the set that are reached.
        reached: u64,
        /// W: how many of them a commit waits for.
        wait_for: u32,
        /// N: all members.
        all: u64,
    },
    /// Nobody can say what would be lost.
    LossUnknown,
    /// That may be lost (ms), and the RPO is smaller.
    Loss(u64),
    /// The service has no place at its site.
    NoPlace,
    /// Something speaks against its site; whether a person may overrule that.
    Site(Reason, bool),
}

/// Weighs every node but the primary; that one too if it is a standby now.
pub fn weigh<'a>(case: &Case<'a>, purpose: Purpose) -> Choice<'a> {
    let nodes = case.picture.cluster.nodes.iter();
    let mut nodes: Vec<&Node> = nodes.filter(|node| !case.picture.is_primary(node) || is_demoted(case, node)).collect();
    nodes.sort_by_key(|node| order(case, node));
    let mut choice = Choice { fit: Vec::new(), vetoed: Vec::new() };
    for node in nodes {
        match may_take_over(case, node, purpose) {
            Ok(loss) => choice.fit.push((node, loss)),
            Err(objection) => choice.vetoed.push((node, objection)),
        }
    }
    choice
}

/// What speaks against a node's data, whoever asks: another cluster's, another history, or damaged.
pub fn belongs(case: &Case, node: &Node) -> Option<Objection> {
    let primary = case.picture.primary;
    let identity = primary.and_then(|primary| primary.identity.as_ref());
    let differs = identity.zip(node.identity.as_ref()).is_some_and(|(one, other)| one != other);
    if has(node, "foreign") || differs {
        return Some(Objection::Foreign);
    }
    history(case, node).or_else(|| has(node, "corrupt").then_some(Objection::Corrupt))
}

impl Choice<'_> {
    /// The best one's site, and everybody fit there: to another site the traffic would have to move as well.
    pub fn best(&self, rpo: u64) -> Option<Move> {
        self.fit.first().and_then(|(best, _)| self.at(&best.site, rpo))
    }

    /// The fit nodes of a site.
    pub fn at(&self, site: &str, rpo: u64) -> Option<Move> {
        let there: Vec<_> = self.fit.iter().filter(|(node, _)| node.site == site).collect();
        let loss = there.first().map(|(_, loss)| words::round_up(*loss).min((*loss).max(rpo)))?;
        Some(Move { expected_loss: Some(loss), ..moving(site, there.iter().map(|(node, _)| *node)) })
    }

    /// The vetoes, as a decision lists them.
    pub fn vetoes(&self) -> Vec<Veto> {
        let veto = |(node, objection): &(&Node, Objection)| Veto {
            candidate: Candidate::Node(node.id.clone()),
            reason: objection.reason(node),
        };
        self.vetoed.iter().map(veto).collect()
    }

    /// Moves that a person could allow although something speaks against them, with what they would lose now: the smallest loss
    /// first, the unknown last. What each expects to lose is what it comes to while the question is open, rounded up: a person who
    /// takes that long is still asked the same.
    pub fn relaxations(&self, case: &Case) -> Vec<(Move, Option<u64>)> {
        let open = case.settings.question_expires_in.as_millis();
        let possible = self.vetoed.iter().filter(|(_, objection)| objection.may_be_overruled());
        let mut possible: Vec<_> = possible.map(|(node, _)| (*node, loss::bound(case, node))).collect();
        // Rounded they would be alike, and change places as they grow.
        possible.sort_by_key(|(_, bound)| bound.unwrap_or(u64::MAX));
        let option = |(node, bound): (&Node, Option<u64>)| {
            let by_then = bound.map(|bound| words::round_up(bound.saturating_add(open)));
            (Move { expected_loss: by_then, ..moving(&node.site, [node]) }, bound.map(words::round_up))
        };
        possible.into_iter().map(option).collect()
    }
}

impl Objection {
    /// In a decision. Nothing in it changes while the objection does not.
    pub fn reason(&self, node: &Node) -> Reason {
        let name = &node.id;
        let (code, text) = match self {
            Objection::PriorityZero => ("priority-zero", format!("{name} is never to be promoted: its priority is 0")),
            Objection::Unreachable => ("unreachable", format!("{name} does not answer")),
            Objection::Starting => ("starting", format!("{name} is still starting")),
            Objection::Primary => ("primary", format!("{name} takes writes itself")),
            Objection::Foreign => ("foreign", format!("{name} holds another cluster's data")),
            Objection::TimelineUnknown => ("timeline-unknown", format!("nobody knows of which timeline {name} is")),
            Objection::OlderTimeline => ("older-timeline", format!("{name} has missed a promotion")),
            Objection::Fork => ("fork", format!("{name} has left the primary's history")),
            Objection::TooOld => ("too-old", format!("{name} runs a version that is not supported")),
            Objection::Corrupt => ("corrupt", format!("the data of {name} is reported corrupt")),
            Objection::PositionUnknown => ("position-unknown", format!("nobody knows how far {name} has come")),
            Objection::NotStreaming => ("not-streaming", format!("{name} gets no log from the primary")),
            Objection::Lagging => ("lagging", format!("{name} is too far behind for a planned move")),
            Objection::SetChanging => ("set-changing", "whose word commits wait for is being changed".to_owned()),
            Objection::Asynchronous => ("asynchronous", format!("no commit waits for {name}, and nothing may be lost")),
            Objection::NotSynchronous => ("not-synchronous", format!("{name} is not in the published synchronous set")),
            Objection::NoStandbyQuorum { reached, wait_for, all } => (
                "no-standby-quorum",
                format!(
                    "{reached} of {all} synchronous standbys are reached, commits wait for {wait_for}: one that is missing may have more"
                ),
            ),
            Objection::LossUnknown => ("loss-unknown", format!("nobody can say what would be lost with {name}")),
            Objection::Loss(bound) => {
                let bound = words::span(words::round_up(*bound));
                ("loss", format!("up to {bound} may be lost with {name}: more than the RPO allows"))
            }
            Objection::NoPlace => ("no-place", format!("the service has no place at {}", node.site)),
            Objection::Site(reason, _) => return reason.clone(),
        };
        Reason::new(code, text)
    }

    /// A person may take the risk; nobody makes another cluster's, a forked or a damaged copy the primary.
    fn may_be_overruled(&self) -> bool {
        match self {
            Objection::SetChanging | Objection::Asynchronous | Objection::NotSynchronous => true,
            Objection::NoStandbyQuorum { .. } | Objection::LossUnknown | Objection::Loss(_) => true,
            Objection::Site(_, overrule) => *overrule,
            _ => false,
        }
    }
}

/// What may be lost with this node (ms), or what speaks against it first.
fn may_take_over(case: &Case, node: &Node, purpose: Purpose) -> Result<u64, Objection> {
    if let Some(objection) = unfit(case, node) {
        return Err(objection);
    }
    let loss = match purpose {
        _ if is_demoted(case, node) => 0,
        Purpose::Emergency => loss::allowed(case, node)?,
        Purpose::Planned => in_step(case, node).map_or(Ok(0), Err)?,
    };
    at_site(case, node).map_or(Ok(loss), Err)
}

/// What no occasion excuses.
fn unfit(case: &Case, node: &Node) -> Option<Objection> {
    if node.priority == 0 {
        return Some(Objection::PriorityZero);
    }
    if has(node, "starting") {
        return Some(Objection::Starting);
    }
    match node.role {
        Role::Unknown => return Some(Objection::Unreachable),
        Role::Primary => return Some(Objection::Primary),
        Role::Replica => {}
    }
    let too_old = || has(node, "too-old").then_some(Objection::TooOld);
    let nowhere = || (node.received.is_none() || node.replayed.is_none()).then_some(Objection::PositionUnknown);
    belongs(case, node).or_else(too_old).or_else(nowhere)
}

/// Its timeline is the primary's, and began where the primary's began.
fn history(case: &Case, node: &Node) -> Option<Objection> {
    let (Some(own), Some(newest)) = (node.timeline, case.timeline()) else { return Some(Objection::TimelineUnknown) };
    let rest = case.picture.cluster.nodes.iter().filter(|other| other.id != node.id && !has(other, "foreign"));
    let mut began = rest.filter(|other| other.timeline == Some(newest)).filter_map(|other| other.forked_at);
    match own.cmp(&newest) {
        Ordering::Greater => Some(Objection::Fork),
        Ordering::Equal => began.any(|at| node.forked_at.is_some_and(|own| own != at)).then_some(Objection::Fork),
        Ordering::Less if began.any(|at| node.received.is_some_and(|has| has > at)) => Some(Objection::Fork),
        Ordering::Less => Some(Objection::OlderTimeline),
    }
}

/// What speaks against it while the primary works and nothing is to be lost.
fn in_step(case: &Case, node: &Node) -> Option<Objection> {
    if node.upstream.is_none() || case.picture.primary.map(|primary| &primary.id) != node.upstream.as_ref() {
        return Some(Objection::NotStreaming);
    }
    match node.lag_at_contact {
        None => return Some(Objection::LossUnknown),
        Some(lag) if lag > case.settings.lag_max.as_millis() => return Some(Objection::Lagging),
        Some(_) => {}
    }
    // Writes stop and the standby catches up, so nobody has to be counted; but whoever commits waited for goes first.
    loss::membership(case, node).err().filter(|objection| *objection != Objection::Asynchronous)
}

fn at_site(case: &Case, node: &Node) -> Option<Objection> {
    if node.site == case.active.site {
        return None;
    }
    let Some(site) = case.situation.site(&node.site) else { return Some(Objection::NoPlace) };
    let objection = sites::objection(case.settings, site)?;
    Some(Objection::Site(objection.reason(site), objection != sites::Objection::Unhealthy))
}

/// It was the primary, is a standby now, and has everything that it ever acknowledged.
fn is_demoted(case: &Case, node: &Node) -> bool {
    case.picture.is_primary(node) && node.role == Role::Replica
}

/// The best first: no traffic to move, the operator's order of sites, priority, the most advanced.
fn order<'a>(case: &Case, node: &'a Node) -> (bool, u32, Reverse<u32>, Reverse<Option<u64>>, &'a str) {
    let elsewhere = node.site != case.active.site;
    let rank = case.situation.site(&node.site).map_or(u32::MAX, |site| site.rank);
    (elsewhere, rank, Reverse(node.priority), Reverse(node.received), &node.id)
}

fn moving<'a>(site: &str, nodes: impl IntoIterator<Item = &'a Node>) -> Move {
    Move { promote: nodes.into_iter().map(|node| node.id.clone()).collect(), ..Move::to(site) }
}

/// What the provider says of a node in its own words, if anything.
pub fn in_its_words(node: &Node) -> Option<Reason> {
    let error = said(node, "error")?;
    Some(Reason::new("error", format!("{}: {error}", node.id)))
}

/// Facts of a decision that the host shows people at once.
pub fn alarm(level: &str) -> Fact {
    Fact::new("alarm", level)
}
