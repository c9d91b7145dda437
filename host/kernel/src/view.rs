//! What people and programs are shown: plain, serialisable pictures of the kernel.
//!
//! Knows no rules; [`crate::Kernel`] fills these in and nothing is ever read back from them. Ages are as of `now`.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

use serde::{Deserialize, Serialize};

use crate::contract::{
    self, Consensus, Endpoint, Epoch, Fact, Millis, Objectives, Observation, Reason, Role, Share, Status, Strategy,
    SyncSet, Tier, Timestamp, VantageView, Verdict,
};
use crate::event::{Moment, QuestionId, RunId};
use crate::fleet::Mode;
use crate::saga::{Heading, StepStatus};
use crate::state::{Drift, Evacuation, Freeze, Incident, LastDecision, Pause, Question, Readiness, RunEnd, Tripped};

mod data;
mod database;
mod plan;
pub mod report;
mod status;
pub mod timeline;
mod what_if;

/// The whole fleet, worst first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FleetStatus {
    pub now: Timestamp,
    pub time_zone: String,
    pub mode: Mode,
    pub warming_up: bool,
    pub paused: Option<Pause>,
    pub brake: Option<Tripped>,
    pub freeze: Option<Freeze>,
    pub sites: Vec<SiteStatus>,
    pub vantages: Vec<VantageView>,
    pub services: Vec<ServiceStatus>,
    pub questions: Vec<Question>,
    /// Those not ended.
    pub runs: Vec<RunView>,
    /// The one under way, else the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evacuation: Option<Evacuation>,
    /// Within the brake's window.
    pub incidents: Vec<Incident>,
    /// Messages not known to have reached their channel.
    pub messages_waiting: usize,
}

/// One site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SiteStatus {
    pub name: String,
    pub failure_domain: String,
    pub services_unhealthy: u32,
    pub services_total: u32,
    /// Of its capacity, what is in use or reserved by moves under way, in per cent.
    pub load: u32,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    pub name: String,
    pub tier: Tier,
    pub strategy: Strategy,
    pub state: contract::State,
    pub since: Timestamp,
    pub state_held: Millis,
    pub active_site: String,
    pub preferred_site: String,
    pub epoch: Epoch,
    /// What the vantage points say of it where it is served.
    pub status: Status,
    pub shares: Vec<Share>,
    pub places: Vec<PlaceStatus>,
    pub movable: Movable,
    /// Its data, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseStatus>,
    pub route: Option<RouteStatus>,
    pub drift: Option<Drift>,
    pub readiness: Option<Readiness>,
    pub paused: Option<Pause>,
    pub in_maintenance: bool,
    pub decision: Option<LastDecision>,
    /// Decisions equal to the last one since, whether or not the journal has counted them yet.
    pub repeated: u64,
    pub questions: Vec<Question>,
    /// The run under way, else the last one.
    pub run: Option<RunView>,
}

/// A service at one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlaceStatus {
    pub site: String,
    pub endpoint: String,
    pub consensus: Consensus,
    pub observations: Vec<Observation>,
}

/// Whether a service could be moved by itself now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Movable {
    /// To this site.
    Yes(String),
    /// Because of these.
    No(Vec<Reason>),
}

/// A service's data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DatabaseStatus {
    pub cluster: String,
    /// The node that is held to be the primary; none = not known yet.
    pub primary: Option<String>,
    pub since: Option<Timestamp>,
    /// Standbys that a commit waits for, as declared.
    pub synchronous: u32,
    /// Whose word a commit waits for; none = nobody's, or not known.
    pub published: Option<SyncSet>,
    /// Of the newest look at all nodes; none = there was none yet.
    pub sample_age: Option<Millis>,
    /// Why the newest look failed.
    pub failure: Option<String>,
    pub nodes: Vec<NodeStatus>,
    /// The check of the data that failed after the last promotion.
    pub unsound: Option<String>,
}

/// One node of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeStatus {
    pub name: String,
    pub site: String,
    pub role: Role,
    /// It is held to be the primary.
    pub leads: bool,
    pub answers: bool,
    pub timeline: Option<u64>,
    pub lag_bytes: Option<u64>,
    /// How far it was behind when the primary last answered.
    pub lag: Option<Millis>,
    /// Since the primary last answered.
    pub contact_age: Option<Millis>,
    pub upstream: Option<String>,
    /// Since it last got new log.
    pub heard: Option<Millis>,
    pub priority: u32,
    /// Why it does not count until it was made a standby again.
    pub outside: Option<String>,
    /// How it is known that it acknowledges nothing.
    pub proof: Option<String>,
    /// Log that nobody else has.
    pub diverged_bytes: Option<u64>,
    /// What its provider says beside.
    pub facts: Vec<Fact>,
}

/// Where the name leads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RouteStatus {
    pub name: String,
    /// As last written or adopted; empty = not yet.
    pub endpoints: Vec<Endpoint>,
    pub ttl_seconds: u32,
    pub dns_changed_at: Option<Timestamp>,
    /// When the last cache may let go of the old answer: the change and the old answer's time to live.
    pub last_cache_lets_go_at: Option<Timestamp>,
}

/// One run, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunView {
    pub id: RunId,
    pub service: String,
    pub kind: String,
    pub runbook: String,
    pub from: String,
    pub to: String,
    pub shares: Vec<Share>,
    pub epoch: Epoch,
    /// None = by itself.
    pub by: Option<String>,
    pub opened: Moment,
    pub closed: Option<Moment>,
    pub heading: Heading,
    pub past_point_of_no_return: bool,
    pub end: Option<RunEnd>,
    pub steps: Vec<StepView>,
    /// What a person can type now.
    pub words: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepView {
    pub name: String,
    pub what: String,
    pub needs: Vec<String>,
    pub point_of_no_return: bool,
    pub undo: Option<String>,
    pub manual: String,
    pub status: StepStatus,
    pub attempt: u32,
    pub started: Option<Moment>,
    pub ended: Option<Moment>,
    pub text: String,
}

/// What an order would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanView {
    pub service: String,
    pub kind: String,
    pub runbook: String,
    pub from: String,
    pub to: String,
    pub shares: Vec<Share>,
    pub steps: Vec<StepView>,
    pub guards: Vec<GuardView>,
    /// Lines "what changes: from → to".
    pub differences: Vec<String>,
    /// What may be lost.
    pub loss: String,
    /// What becomes of its database, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataPlan>,
    /// The same as a page for people, with the command to type for each step.
    pub markdown: String,
}

/// What an order would do to a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataPlan {
    pub cluster: String,
    /// Standbys that a commit waits for.
    pub synchronous: u32,
    /// Who leads now; none = nobody knows.
    pub from: Option<String>,
    /// Who would lead; none = no node is at hand there.
    pub to: Option<String>,
    pub loss: String,
    /// How it could be proven that the old primary acknowledges nothing any more.
    pub proofs: Vec<ProofView>,
}

/// One way to prove that a primary acknowledges nothing any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProofView {
    /// `stopped`, `standby-quorum`, `lease` or `person`.
    pub kind: String,
    /// What is declared lets it be had.
    pub open: bool,
    pub text: String,
}

/// One of the guard's rules and what it says of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuardView {
    pub number: u16,
    pub name: String,
    /// Empty = passed.
    pub objections: Vec<Reason>,
}

/// What an evacuation would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EvacuationPlan {
    pub site: String,
    pub to: Option<String>,
    /// What is needed goes first.
    pub phases: Vec<Vec<LeavingPlan>>,
    /// Services without another place.
    pub stays: Vec<String>,
}

/// What an evacuation would do with one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LeavingPlan {
    pub service: String,
    /// A run that leads it away is under way already.
    pub under_way: Option<RunId>,
    /// None = there is none: see the blockers.
    pub plan: Option<PlanView>,
    /// What stands in the way, the room that those before it take included; empty = nothing.
    pub blockers: Vec<Reason>,
}

/// What a run kept of what was promised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunReport {
    pub id: RunId,
    pub service: String,
    pub kind: String,
    pub from: String,
    pub to: String,
    /// None = by itself.
    pub by: Option<String>,
    /// None = it is under way.
    pub end: Option<RunEnd>,
    /// None = the run is of a host that did not note it.
    pub promised: Option<Objectives>,
    pub outage: OutageReport,
    pub loss: LossReport,
    /// What happened when.
    pub marks: Vec<Mark>,
    pub steps: Vec<StepReport>,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    Kept,
    Missed,
    /// The host cannot tell.
    Unknown,
}

/// How long a service was away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutageReport {
    /// It may have been less; none = not known.
    pub at_most: Option<Millis>,
    /// From what to what.
    pub text: String,
    pub verdict: Kept,
}

/// What was lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LossReport {
    /// The bound as it was known when the run began.
    pub beforehand: Option<Millis>,
    /// Log that only the old primary has; none = it could not say.
    pub bytes: Option<u64>,
    /// Acknowledged writes of at most this long; none = not known.
    pub at_most: Option<Millis>,
    pub text: String,
    pub verdict: Kept,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mark {
    pub name: String,
    pub at: Moment,
    pub text: String,
}

/// One step, with times counted from the run's beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepReport {
    pub name: String,
    pub what: String,
    pub status: StepStatus,
    pub began: Option<Millis>,
    pub took: Option<Millis>,
    pub tries: u32,
    pub text: String,
}

/// What would become of one service if a site were lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Judgement {
    pub service: String,
    pub tier: Tier,
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// 1 goes first; services of the same order side by side; none = it does not move.
    pub order: Option<u32>,
    pub to: Option<String>,
    /// Why it would not move by itself; empty = it would, or need not.
    pub blockers: Vec<Reason>,
    pub loss: String,
}

/// A question's number in the words of the command line.
pub fn question_name(question: QuestionId) -> String {
    format!("q{}", question.0)
}

/// A run's number in the words of the command line.
pub fn run_name(run: RunId) -> String {
    format!("r{}", run.0)
}
