//! Everything that can happen to the kernel, and everything that it can want done: one closed list each.
//!
//! Says nothing about how: the shell (daemon, simulator, test) brings events in and carries effects out.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::contract::{
    Call, Cluster, Decision, Done, Epoch, Failure, Invocation, Message, Millis, Outcome, Reason, Route, Situation,
    SyncSet, Timestamp,
};
use crate::fleet::{ClusterId, Fleet, ServiceId, SiteId, VantageId};
use crate::picture::Picture;
use crate::record::Record;

/// When something happened: `mono` never jumps and is what ages and timers count in (it goes on after a restart);
/// `wall` is what people and policies are told. No rule compares two walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Moment {
    pub mono: Millis,
    pub wall: Timestamp,
}

/// Names a run in the journal, on the command line and, with the step, in a provider's idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names a question that a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QuestionId(pub u64);

/// Names one asking of a policy; an answer to another one than the last counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// What can happen.
#[derive(Clone, Debug)]
pub enum Event {
    /// One vantage point looked at one service at one site.
    Look(Look),
    /// A vantage point reported, and reaches its control targets or does not.
    Heard { vantage: VantageId, sound: bool },
    /// Time has passed: what [`crate::Kernel::next_edge`] announced may be due.
    Tick,
    /// A cluster was looked at: each node was asked, as far as it answers.
    Sampled {
        cluster: ClusterId,
        /// `mono` as the look began: what was seen is not older.
        begun: Millis,
        result: Result<Cluster, Failure>,
    },
    /// When the lease that a run waits for has ended for certain, on the kernel's steady clock; or why nobody can tell.
    LeaseEnds { run: RunId, ends: Result<Millis, String> },
    /// A policy answered, or could not.
    Decided { ticket: Ticket, service: ServiceId, answer: Box<Answered> },
    /// A step's call came back, or is known to have been cut short.
    Stepped { run: RunId, step: usize, outcome: StepOutcome },
    /// The authoritative servers were asked where a service's name leads.
    RouteRead { service: ServiceId, result: Result<Route, Failure> },
    /// Everything that a move of this service would need was checked; empty = ready.
    ReadyChecked { service: ServiceId, blockers: Vec<Reason> },
    /// A slot's new revision has been acknowledged: from now on no older one counts.
    Swapped { slot: String, revision: Revision, probe: bool },
    /// A slot's plugin misbehaved outside of any decision (a provider quarantined, a self-test failed).
    PluginFault { slot: String, text: String },
    /// An agent was shown a journal that does not follow from the one that it was shown before.
    Rewritten { agent: String, seen: JournalHead, shown: JournalHead },
    /// A message reached its channel, or did not.
    Sent { key: String, channel: String, result: Result<(), Failure> },
    /// A person wants something.
    Ordered { order: u64, by: String, command: Command },
    /// The fleet file was read again, and is sound.
    FleetChanged(Arc<Fleet>),
}

/// One look.
#[derive(Clone, Debug)]
pub struct Look {
    pub vantage: VantageId,
    pub service: ServiceId,
    pub site: SiteId,
    pub outcome: Outcome,
    pub latency: Option<Millis>,
    /// `mono` of the host when it sent the heartbeat that the vantage point had last heard as it began to look: the look
    /// is not older than that.
    pub not_before: Millis,
    pub detail: String,
}

/// How far a journal had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHead {
    /// Number of its newest record.
    pub number: u64,
    /// That record's hash.
    pub hash: String,
}

/// Which code with which settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Revision {
    pub number: u64,
    /// "sha256:…"
    pub digest: String,
    pub settings: String,
    pub name: String,
    pub version: String,
    /// The manifest's: a memo that another format wrote is not shown to it.
    #[serde(default)]
    pub memo_format: String,
}

/// A policy's answer with what is needed to repeat it.
#[derive(Clone, Debug)]
pub struct Answered {
    pub revision: Revision,
    /// The settings that it had, as JSON; the journal keeps each once. Empty = not known any more.
    pub settings: String,
    /// A decision, or why there is none: then it is a hold and an alarm.
    pub result: Result<Decision, String>,
    /// Each capability answer that it read: capability, arguments, answer (JSON).
    pub reads: Vec<Read>,
    pub fuel: u64,
    pub took_us: u64,
}

/// One capability answer that a decision read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    pub capability: String,
    pub arguments: String,
    pub answer: String,
}

/// How a step ended: definite, or to be read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    Done(Done),
    Failed(Failure),
    /// Neither done nor not done: it is read back before anything else.
    Unknown(String),
}

/// What a person can want. The shell has already found out who they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum Command {
    /// Move a service; `to` none = the best place.
    Failover {
        service: String,
        to: Option<String>,
        /// So much data may be lost: on the record, and only for this move.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accept_loss: Option<Millis>,
    },
    /// Move a service whose two sides are well, and lose nothing.
    Switchover {
        service: String,
        to: Option<String>,
    },
    /// Move every service of a site away, in the order of their dependencies.
    Evacuate {
        site: String,
        to: Option<String>,
    },
    Failback {
        service: String,
        to: Option<String>,
    },
    /// None = the whole fleet.
    Pause {
        service: Option<String>,
        reason: String,
    },
    Resume {
        service: Option<String>,
    },
    Approve {
        question: QuestionId,
        option: usize,
    },
    Reject {
        question: QuestionId,
        reason: String,
    },
    /// What the servers say is right.
    Adopt {
        service: String,
    },
    /// What we last wrote is right.
    Reapply {
        service: String,
    },
    Retry {
        run: RunId,
    },
    Skip {
        run: RunId,
        step: String,
    },
    Undo {
        run: RunId,
    },
    Abort {
        run: RunId,
    },
    FinishByHand {
        run: RunId,
        note: String,
    },
    /// After the brake has tripped or a freeze: automatic moves again.
    Rearm {
        note: String,
    },
}

/// What the kernel wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Must be durable before any later effect of the same list is begun.
    Append(Record),
    /// Ask the service's policy; after a crash it is asked afresh. `settings` of the situation is empty: it is the
    /// revision's, and the engine fills it in. `picture` is of the same moment, and empty for a policy that looks nothing up.
    Decide { ticket: Ticket, service: ServiceId, slot: String, situation: Arc<Situation>, picture: Picture },
    /// Carry out a step; after a crash it is read back, then repeated under the same key.
    Perform { run: RunId, step: usize, action: Action, call: Call },
    /// Ask the authoritative servers where the name leads.
    ReadRoute { service: ServiceId },
    /// Check everything that a move would need, changing nothing. The kernel asks at the start and every few minutes.
    CheckReady { service: ServiceId },
    /// Look at once, from every vantage point.
    Probe { service: ServiceId, site: SiteId },
    /// Look at a cluster at once.
    Sample { cluster: ClusterId },
    /// Who leads a cluster, for the lease of its site: told at the start and whenever it changes. `primary` none = nobody may hold
    /// a lease for it.
    Lead { cluster: ClusterId, primary: Option<String>, epoch: Epoch },
    /// Renew no lease for this cluster, tell a majority of the agents its new epoch, and find out when the last lease that anybody
    /// may hold for it ends: answered by [`Event::LeaseEnds`]. Asked again after a crash.
    EndLease { run: RunId, cluster: ClusterId, epoch: Epoch },
    /// Tell people: at least once, with its key.
    Notify { key: String, channel: String, message: Message },
    /// The answer to an order.
    Reply { order: u64, result: Result<Accepted, Refused> },
}

/// What a step does: a capability call, a declared command, or a person's word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Make the name lead there, and read it back.
    PointRoute { slot: String, route: Route },
    /// Everything that the move needs works (changes nothing).
    CheckReady { service: String, to: String },
    /// A named action of an action provider.
    PerformAction { slot: String, name: String, arguments: String },
    /// The undo of a named action.
    UndoAction { slot: String, name: String, receipt: Option<String> },
    /// A declared command at a site.
    RunCommand { site: String, invocation: Invocation },
    /// Stop a node from acknowledging writes; its receipt is the [`Proof`](crate::contract::Proof), JSON.
    Fence { cluster: String, node: String },
    /// Lift a fence.
    Unfence { cluster: String, node: String },
    /// Stop a replica from receiving, so that its position is final.
    Detach { cluster: String, node: String },
    /// Look at every node; its receipt is the [`Cluster`], JSON.
    ReadPositions { cluster: String },
    /// Let a replica get everything that `source` has; an empty source = the most advanced replica, known once the step begins.
    CatchUp { cluster: String, node: String, source: String },
    /// Make a replica the primary.
    Promote { cluster: String, node: String },
    /// Make a node follow `primary`, giving up what never reached it.
    Rejoin { cluster: String, node: String, primary: String },
    /// Change whose word a commit on a node waits for, once it is the primary.
    SetSynchronous { cluster: String, node: String, set: SyncSet },
    /// Ask the data itself; done = every check was answered as it should be.
    VerifyData { cluster: String, node: String, checks: Vec<String> },
    /// It is proven that the node acknowledges no write any more: the kernel itself waits for it.
    AwaitProof { cluster: String, node: String },
    /// The service answers well at that site, by consensus: the kernel itself waits for it.
    AwaitHealthy { service: String, site: String },
    /// Nothing for that long, then the policy is asked again: the kernel itself waits.
    Hold { duration: Millis },
    /// A person says so: the kernel itself waits.
    Confirm { text: String },
}

impl Action {
    /// The cluster that it is about, if it is about one.
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Action::Fence { cluster, .. }
            | Action::Unfence { cluster, .. }
            | Action::Detach { cluster, .. }
            | Action::ReadPositions { cluster }
            | Action::CatchUp { cluster, .. }
            | Action::Promote { cluster, .. }
            | Action::Rejoin { cluster, .. }
            | Action::SetSynchronous { cluster, .. }
            | Action::VerifyData { cluster, .. }
            | Action::AwaitProof { cluster, .. } => Some(cluster),
            _ => None,
        }
    }

    /// The kernel itself waits for it: nobody is called.
    pub fn waits(&self) -> bool {
        matches!(
            self,
            Action::Hold { .. } | Action::AwaitHealthy { .. } | Action::AwaitProof { .. } | Action::Confirm { .. }
        )
    }
}

/// An order that was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Accepted {
    pub text: String,
    pub run: Option<RunId>,
    pub question: Option<QuestionId>,
}

/// An order that was not taken, and why: nothing has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refused {
    /// A guard said no (exit code 3), rather than a wrong name or a wrong time (exit code 2).
    pub by_guard: bool,
    pub reasons: Vec<Reason>,
}
