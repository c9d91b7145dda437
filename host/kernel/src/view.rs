//! What people and programs are shown: plain, serialisable pictures of the kernel.
//!
//! Knows no rules; [`crate::Kernel`] fills these in and nothing is ever read back from them. Ages are as of `now`.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

use serde::{Deserialize, Serialize};

use crate::contract::{
    self, Consensus, Endpoint, Epoch, Millis, Observation, Reason, Share, Status, Strategy, Tier, Timestamp,
    VantageView, Verdict,
};
use crate::event::{Moment, QuestionId, RunId};
use crate::fleet::Mode;
use crate::saga::{Heading, StepStatus};
use crate::state::{Drift, Freeze, Incident, LastDecision, Pause, Question, Readiness, RunEnd, Tripped};

mod plan;
mod status;
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
    /// The same as a page for people, with the command to type for each step.
    pub markdown: String,
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
