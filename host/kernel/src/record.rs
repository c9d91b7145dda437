//! What the journal stores: each record holds what happened and the transitions that came of it.
//!
//! Recovery applies transitions and runs no rule. Every field that a later version adds has a default, so that a newer
//! host reads every older journal. Sites, services and slots are named, not numbered: a fleet file may change between
//! two records.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

use serde::{Deserialize, Serialize};

use crate::contract::{Decision, Failure, Millis, Route, Situation, Status};
use crate::event::{Command, JournalHead, Moment, QuestionId, Read, Revision, RunId, StepOutcome};
use crate::rules::RuleNumber;
use crate::saga::{Heading, StepState};
use crate::state::{
    Answer, ClusterState, Drift, Evacuation, Freeze, Incident, LastDecision, Life, Memo, Notice, Pause, Question,
    Readiness, RouteState, Run, RunEnd, Tripped,
};

/// One entry of the journal, without the chain's hashes, which are the store's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    pub at: Moment,
    pub cause: Cause,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transitions: Vec<Transition>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The host started; `recovered` = from a journal.
    Started {
        version: String,
        recovered: bool,
    },
    /// Sensing saw a change.
    Sensed(Sensed),
    Decided(Box<Decided>),
    Stepped {
        run: RunId,
        step: usize,
        outcome: StepOutcome,
    },
    /// Something that the kernel waited for by the clock was due.
    Due(String),
    RouteRead {
        service: String,
        result: Result<Route, Failure>,
    },
    ReadyChecked {
        service: String,
    },
    Swapped {
        slot: String,
        revision: Revision,
    },
    PluginFault {
        slot: String,
        text: String,
    },
    /// An agent remembers another journal than this one.
    Rewritten {
        agent: String,
        seen: JournalHead,
        shown: JournalHead,
    },
    Sent {
        key: String,
        channel: String,
        failure: Option<Failure>,
    },
    Ordered {
        by: String,
        command: Command,
    },
    FleetChanged,
    /// The state's hash by format, to be compared by whoever reads the journal with the same format.
    Checkpoint {
        format: u32,
        state: String,
    },
}

/// What sensing saw change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sensed {
    Consensus { service: String, site: String, from: Status, to: Status },
    Votes { service: String, site: String },
    Vantage { vantage: String, sound: bool, fresh: bool },
    Cluster { cluster: String },
}

/// A decision with all that is needed to repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Decided {
    pub service: String,
    pub revision: Revision,
    /// Those that the revision's `settings` is the hash of; none where an earlier record holds the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    pub situation: Stored,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<Read>,
    #[serde(default)]
    pub fuel: u64,
    #[serde(default)]
    pub took_us: u64,
    /// A decision, or why there is none.
    pub result: Result<Decision, String>,
}

/// A situation, stored once by content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stored {
    /// "sha256:…" of the situation's JSON.
    pub hash: String,
    /// None where an earlier record of this service holds the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<Situation>>,
}

/// A change of state, and the rule that it came of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transition {
    pub rule: RuleNumber,
    pub change: Change,
}

/// A part of the state as it is afterwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Where a service is in its life; also what makes it known.
    Life {
        service: String,
        life: Life,
    },
    Decision {
        service: String,
        last: Box<LastDecision>,
        memo: Option<Memo>,
    },
    /// Decisions equal to the last recorded one, since it or since the last count.
    Holds {
        counts: Vec<(String, u64)>,
    },
    Ready {
        service: String,
        readiness: Readiness,
    },
    Route {
        service: String,
        route: RouteState,
    },
    Drift {
        service: String,
        drift: Option<Drift>,
    },
    Cluster {
        cluster: String,
        state: Box<ClusterState>,
    },
    /// None = the whole fleet.
    Pause {
        service: Option<String>,
        pause: Option<Pause>,
    },
    RunOpened {
        run: Box<Run>,
    },
    Step {
        run: RunId,
        step: usize,
        state: StepState,
    },
    RunHeading {
        run: RunId,
        heading: Heading,
    },
    RunClosed {
        run: RunId,
        end: RunEnd,
        at: Moment,
    },
    Asked {
        question: Box<Question>,
    },
    Answered {
        question: QuestionId,
        answer: Answer,
    },
    /// After a refusal the same move is not asked about again for a while.
    Declined {
        service: String,
        to: String,
        until: Millis,
    },
    Incident {
        incident: Incident,
    },
    Evacuation {
        evacuation: Box<Evacuation>,
    },
    /// A person has looked at all incidents so far: they no longer count for the brake.
    IncidentsSeen,
    Brake {
        tripped: Option<Tripped>,
    },
    Freeze {
        freeze: Option<Freeze>,
    },
    Tell {
        notice: Box<Notice>,
    },
    Told {
        key: String,
        channel: String,
    },
}
