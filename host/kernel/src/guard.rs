//! What the host allows, whatever a policy says: numbered rules that can only make a verdict safer.
//!
//! A rule objects or does not; it never proposes. A person's order passes the rules that protect from automation
//! (evacuation, warm-up, pause, freeze, brake, maintenance, cooldown, hold-down, evidence, dependency order, a refusal, autonomy and
//! approval), and none of the others: locks, epochs, drift, targets, jurisdiction, capacity, an answer for the name.

use crate::contract::{Autonomy, Epoch, Invocation, Millis, Move, Reason, Share, Shift, Status, Strategy, Verdict};
use crate::event::Moment;
use crate::fleet::{Mode, Service, ServiceId, SiteId};
use crate::kernel::Kernel;
use crate::rules::RuleNumber;
use crate::state::{Incident, Run, ServiceState, largest, same_shares, whole_move};
use crate::{capacity, saga};

mod data;
mod table;

pub use table::GUARDS;

/// A dependency that has to move first is waited for this long, then no more: it may need a person.
const DEPENDENCY_PATIENCE: Millis = 120_000;
/// What was lost together is seen to be lost within this time.
const DEPENDENCY_LAG: Millis = 10_000;
/// When to ask again about what another move stands in the way of.
const SOON: Millis = 1_000;
/// When to ask again about what only more room would allow.
const LATER: Millis = 5_000;

/// What kind of change is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Away from a site that is lost, or has to be given up.
    FailOver,
    /// Away from a site that is well.
    SwitchOver,
    /// Home.
    FailBack,
    /// Other shares.
    Rebalance,
    /// A runbook that the fleet file lists.
    Run,
    /// The route as it was last written.
    Reapply,
    /// Stop nodes.
    Fence,
}

impl Kind {
    /// As verdicts, runbooks and the fleet file call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::FailOver => "fail-over",
            Kind::SwitchOver => "switch-over",
            Kind::FailBack => "fail-back",
            Kind::Rebalance => "rebalance",
            Kind::Run => "run",
            Kind::Reapply => "reapply",
            Kind::Fence => "fence",
        }
    }

    pub(crate) fn changes_place(self) -> bool {
        matches!(self, Kind::FailOver | Kind::SwitchOver | Kind::FailBack | Kind::Rebalance)
    }
}

/// Whose wish it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A policy's alone.
    Policy,
    /// A person ordered or approved it.
    Person(String),
}

/// Something that would change the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// Of which service.
    pub service: ServiceId,
    /// What kind of change.
    pub kind: Kind,
    /// Where it leads; the largest share's site.
    pub to: String,
    /// The traffic's parts afterwards.
    pub shares: Vec<Share>,
    /// Step by step.
    pub shifts: Vec<Shift>,
    /// What the policy expects to lose.
    pub expected_loss: Option<Millis>,
    /// Nodes to promote, the best first; the first is meant.
    pub promote: Vec<String>,
    /// Nodes to stop, for [`Kind::Fence`].
    pub fence: Vec<String>,
    /// What a person has accepted to lose.
    pub accept_loss: Option<Millis>,
    /// For [`Kind::Run`].
    pub invocation: Option<Invocation>,
    /// What the policy takes the situation to be.
    pub cause: String,
    /// Whose wish.
    pub origin: Origin,
    /// The service's when it was proposed.
    pub epoch: Epoch,
}

/// A rule says no, or not without a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Objection {
    /// The rule's number.
    pub number: RuleNumber,
    /// For the operator.
    pub reason: Reason,
    /// A person may allow it.
    pub ask: bool,
    /// It may be worth asking again after this.
    pub wait: Option<Millis>,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Its number.
    pub number: RuleNumber,
    /// Its name, and the code of its reason.
    pub name: &'static str,
    /// A person's order passes it.
    pub person_passes: bool,
    pub(crate) check: fn(&Scene) -> Option<Said>,
}

/// What a rule's function says when it objects.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    text: String,
    ask: bool,
    wait: Option<Millis>,
}

/// What a rule looks at.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    kernel: &'a Kernel,
    proposal: &'a Proposal,
    service: &'a Service,
    known: &'a ServiceState,
    now: Moment,
}

/// What all rules together say.
#[derive(Clone, Debug, PartialEq)]
pub enum Judged {
    /// It may be done.
    Go,
    /// A person may allow it.
    Ask(Vec<Objection>),
    /// It may not be done now.
    Hold(Vec<Objection>),
}

impl Proposal {
    /// What a verdict would change; none if it would change nothing.
    pub fn of(verdict: &Verdict, service: ServiceId, known: &ServiceState, all: Strategy) -> Option<Proposal> {
        let blank = Proposal::blank(service, known);
        match verdict {
            Verdict::Hold | Verdict::ProbeMore(_) | Verdict::Ask(_) => None,
            Verdict::FailOver(to) => Some(blank.moving(Kind::FailOver, to)),
            Verdict::SwitchOver(to) => Some(blank.moving(Kind::SwitchOver, to)),
            Verdict::FailBack(to) => {
                let back = blank.moving(Kind::FailBack, to);
                let shares = if all == Strategy::ActiveActive { known.life.home.clone() } else { back.shares.clone() };
                Some(Proposal { shares, ..back })
            }
            Verdict::Rebalance(shares) => Some(blank.sharing(shares, &known.life.home)),
            Verdict::Fence(nodes) => Some(Proposal { kind: Kind::Fence, fence: nodes.clone(), ..blank }),
            Verdict::Run(what) => Some(Proposal { kind: Kind::Run, invocation: Some(what.clone()), ..blank }),
        }
    }

    /// Nothing yet: everything where it is.
    pub(crate) fn blank(service: ServiceId, known: &ServiceState) -> Proposal {
        Proposal {
            service,
            kind: Kind::Run,
            to: known.life.active.clone(),
            shares: known.life.shares.clone(),
            shifts: Vec::new(),
            expected_loss: None,
            promote: Vec::new(),
            fence: Vec::new(),
            accept_loss: None,
            invocation: None,
            cause: String::new(),
            origin: Origin::Policy,
            epoch: known.life.epoch,
        }
    }

    pub(crate) fn moving(self, kind: Kind, to: &Move) -> Proposal {
        Proposal {
            kind,
            to: to.to_site.clone(),
            shares: vec![Share { site: to.to_site.clone(), per_cent: 100 }],
            shifts: to.shifts.clone(),
            expected_loss: to.expected_loss,
            promote: to.promote.clone(),
            ..self
        }
    }

    /// Other shares; back to the declared ones is a fail-back, and waits for what a fail-back waits for.
    pub(crate) fn sharing(self, shares: &[Share], home: &[Share]) -> Proposal {
        let kind = if same_shares(shares, home) { Kind::FailBack } else { Kind::Rebalance };
        Proposal { kind, to: largest(shares).to_owned(), shares: shares.to_vec(), ..self }
    }

    /// The verdict that would have said it.
    pub fn verdict(&self) -> Verdict {
        let to = Move {
            promote: self.promote.clone(),
            shifts: self.shifts.clone(),
            expected_loss: self.expected_loss,
            ..whole_move(&self.to)
        };
        match self.kind {
            Kind::FailOver => Verdict::FailOver(to),
            Kind::SwitchOver => Verdict::SwitchOver(to),
            Kind::FailBack => Verdict::FailBack(to),
            Kind::Rebalance => Verdict::Rebalance(self.shares.clone()),
            Kind::Run => self.invocation.clone().map_or(Verdict::Hold, Verdict::Run),
            Kind::Fence => Verdict::Fence(self.fence.clone()),
            Kind::Reapply => Verdict::Hold,
        }
    }

    fn automatic(&self) -> bool {
        self.origin == Origin::Policy
    }
}

impl Judged {
    /// The reasons of all objections.
    pub fn reasons(&self) -> Vec<Reason> {
        match self {
            Judged::Go => Vec::new(),
            Judged::Ask(objections) | Judged::Hold(objections) => {
                objections.iter().map(|objection| objection.reason.clone()).collect()
            }
        }
    }

    /// When it may be worth asking again.
    pub fn wait(&self) -> Option<Millis> {
        match self {
            Judged::Hold(objections) => objections.iter().filter_map(|objection| objection.wait).max(),
            _ => None,
        }
    }
}

/// Objections weighed: one that no person may lift holds, else the question is put. More objections never allow more.
pub(crate) fn weigh(objections: Vec<Objection>) -> Judged {
    if objections.is_empty() {
        Judged::Go
    } else if objections.iter().all(|objection| objection.ask) {
        Judged::Ask(objections)
    } else {
        Judged::Hold(objections)
    }
}

impl Kernel {
    /// All rules' objections to a proposal.
    pub(crate) fn guard(&self, proposal: &Proposal, now: Moment) -> Judged {
        let said = GUARDS.iter().filter_map(|guard| self.object(guard, proposal, now));
        weigh(said.collect())
    }

    /// One rule's objection.
    pub(crate) fn object(&self, guard: &Guard, proposal: &Proposal, now: Moment) -> Option<Objection> {
        if guard.person_passes && !proposal.automatic() {
            return None;
        }
        let service = &self.fleet.services[proposal.service.at()];
        let scene = Scene { kernel: self, proposal, service, known: self.service_state(proposal.service)?, now };
        let said = (guard.check)(&scene)?;
        Some(Objection {
            number: guard.number,
            reason: Reason::new(guard.name, said.text),
            ask: said.ask,
            wait: said.wait,
        })
    }

    /// The incident that an automatic move away belongs to, if it is already known.
    pub(crate) fn incident_of(&self, proposal: &Proposal, now: Moment) -> Option<&Incident> {
        let domain = self.domain_left(proposal)?;
        let (window, together) = (self.fleet.host.brake.window, self.fleet.host.brake.together);
        self.state.incidents.iter().rev().find(|incident| {
            !incident.seen
                && incident.failure_domain == domain
                && now.mono.saturating_sub(incident.last.mono) <= window
                // While a domain dies, policies call it by one name after the other.
                && (incident.cause == proposal.cause || now.mono.saturating_sub(incident.last.mono) <= together)
        })
    }

    /// The failure domain that a move away leaves.
    pub(crate) fn domain_left(&self, proposal: &Proposal) -> Option<String> {
        let known = self.service_state(proposal.service)?;
        let left = known.life.shares.iter().find(|before| {
            proposal.shares.iter().find(|after| after.site == before.site).map_or(0, |after| after.per_cent)
                < before.per_cent
        });
        let site = self.site_id(left.map_or(known.life.active.as_str(), |share| &share.site))?;
        Some(self.fleet.sites[site.at()].failure_domain.clone())
    }

    /// Incidents that still count for the brake.
    pub(crate) fn recent_incidents(&self, now: Moment) -> impl Iterator<Item = &Incident> {
        let window = self.fleet.host.brake.window;
        self.state
            .incidents
            .iter()
            .filter(move |incident| !incident.seen && now.mono.saturating_sub(incident.last.mono) <= window)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objection(number: u16, ask: bool) -> Objection {
        Objection { number, reason: Reason::new("some", "some"), ask, wait: None }
    }

    fn freedom(judged: &Judged) -> u8 {
        match judged {
            Judged::Hold(_) => 0,
            Judged::Ask(_) => 1,
            Judged::Go => 2,
        }
    }

    proptest! {
        /// Whatever rules there will ever be: another objection never allows more.
        #[test]
        fn an_objection_more_never_makes_freer(asks in prop::collection::vec(any::<bool>(), 0..30), more in any::<bool>()) {
            let few: Vec<Objection> = asks.iter().enumerate().map(|(n, ask)| objection(n as u16, *ask)).collect();
            let mut many = few.clone();
            many.push(objection(99, more));
            prop_assert!(freedom(&weigh(many)) <= freedom(&weigh(few)));
        }
    }

    #[test]
    fn numbers_and_names_are_used_once() {
        let mut numbers: Vec<_> = GUARDS.iter().map(|guard| guard.number).collect();
        let mut names: Vec<_> = GUARDS.iter().map(|guard| guard.name).collect();
        numbers.sort_unstable();
        names.sort_unstable();
        numbers.dedup();
        names.dedup();
        assert_eq!((numbers.len(), names.len()), (GUARDS.len(), GUARDS.len()));
    }
}
