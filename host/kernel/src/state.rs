//! All that survives a crash: what is known of each service, run, question, message, incident and brake.
//!
//! Changed only by [`State::apply`]. Knows no fleet: everything is named, so that a journal can be read whatever the
//! fleet file has become.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

mod apply;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::contract::{
    self, Decision, Endpoint, Epoch, Message, Millis, Move, Objectives, Proof, Reason, Severity, Share, SyncSet,
    Verdict, Veto,
};
use crate::event::{Action, Moment, QuestionId, Revision, RunId};
use crate::saga::{Heading, Shape, StepState};

/// The form of [`State::hash`]: changes whenever the state gains or loses a field.
pub const FORMAT: u32 = 3;

/// The most that is kept of a memo.
const MEMO_BYTES_MAX: usize = 4_096;

/// The journaled half of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub services: BTreeMap<String, ServiceState>,
    #[serde(default)]
    pub clusters: BTreeMap<String, ClusterState>,
    pub runs: BTreeMap<RunId, Run>,
    pub questions: BTreeMap<QuestionId, Question>,
    /// Messages not known to have reached their channel, by key and channel.
    pub notices: BTreeMap<String, Notice>,
    /// Keys of messages that were already told, the newest last.
    pub told: Vec<String>,
    pub incidents: Vec<Incident>,
    #[serde(default)]
    pub evacuations: BTreeMap<u64, Evacuation>,
    pub brake: Option<Tripped>,
    pub freeze: Option<Freeze>,
    pub paused: Option<Pause>,
    pub next_run: u64,
    pub next_question: u64,
}

/// What is known of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceState {
    pub life: Life,
    pub route: Option<RouteState>,
    pub drift: Option<Drift>,
    pub readiness: Option<Readiness>,
    pub pause: Option<Pause>,
    pub last: Option<LastDecision>,
    pub memo: Option<Memo>,
    /// Newest first.
    pub moves: Vec<PastMove>,
    pub declined: Option<Declined>,
    /// The run that has its lock.
    pub run: Option<RunId>,
}

/// Where a service is in its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Life {
    pub state: contract::State,
    pub since: Moment,
    /// The site that serves it, or has the largest share.
    pub active: String,
    /// The traffic's parts; they add up to 100.
    pub shares: Vec<Share>,
    /// Where it should be.
    pub home: Vec<Share>,
    pub epoch: Epoch,
}

/// What is held of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ClusterState {
    /// The node that is held to be the primary.
    pub primary: String,
    pub since: Moment,
    /// The data's own name, the same on every node.
    pub identity: Option<String>,
    /// The newest that the primary was seen on.
    pub timeline: Option<u64>,
    /// Whose word its commits wait for, as found or set; none while it changes: then nobody is promoted without loss.
    pub published: Option<SyncSet>,
    /// Nodes that have to be made standbys again before anything is expected of them.
    #[serde(default)]
    pub outside: BTreeMap<String, Outside>,
    /// Checks of the data that failed after the last promotion: nothing moves home before a person has looked.
    #[serde(default)]
    pub unsound: Option<String>,
}

/// Why a node is no standby, and what it has that nobody else has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outside {
    pub since: Moment,
    pub why: String,
    /// That it acknowledges nothing, if somebody has stopped it.
    #[serde(default)]
    pub proof: Option<Proof>,
    /// How far whoever took over from it had come.
    #[serde(default)]
    pub left_at: Option<u64>,
    /// Bytes of log beyond where the others left it.
    #[serde(default)]
    pub diverged_bytes: Option<u64>,
}

/// Where its name leads, as last written by a run or adopted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RouteState {
    pub endpoints: Vec<Endpoint>,
    pub ttl_seconds: u32,
    /// When a run last changed it.
    #[serde(default)]
    pub changed: Option<Moment>,
    /// How long caches may keep what stood there before.
    #[serde(default)]
    pub old_ttl_seconds: u32,
}

/// The servers say something else than we last wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    pub since: Moment,
    /// Empty = the name has never been ours: this is its adoption.
    pub expected: Vec<Endpoint>,
    /// Empty = the name has no answer.
    pub found: Vec<Endpoint>,
    #[serde(default)]
    pub ttl_seconds: u32,
    pub text: String,
}

/// Whether all that a move needs works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Readiness {
    pub blockers: Vec<Reason>,
    pub since: Moment,
}

/// Automatic moves are off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    pub by: String,
    pub reason: String,
    pub since: Moment,
}

/// The last recorded decision on a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LastDecision {
    pub at: Moment,
    pub revision: Revision,
    pub verdict: Verdict,
    pub analysis: String,
    pub reasons: Vec<Reason>,
    pub vetoes: Vec<Veto>,
    pub would_change_if: Vec<Reason>,
    pub ruling: Ruling,
    /// Why there was no decision; then the verdict is hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// The policy wants people to know at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Severity>,
    /// Hash of its situation.
    pub situation: String,
    /// Equal decisions since that the journal has counted.
    #[serde(default)]
    pub repeated: u64,
}

/// An answer and what was made of it, before anything of it is noted: most answers are as the last one.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    pub(crate) revision: &'a Revision,
    pub(crate) decision: &'a Decision,
    /// Why there was no decision.
    pub(crate) fault: Option<&'a String>,
    pub(crate) ruling: Ruling,
}

/// What the guard made of a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// Nothing was to be moved.
    Nothing,
    Run(RunId),
    /// A person is asked, because of this.
    Ask {
        question: QuestionId,
        because: Vec<Reason>,
    },
    /// The host holds, because of this.
    Hold(Vec<Reason>),
}

/// What a policy asked to be told again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memo {
    pub slot: String,
    pub format: String,
    pub text: String,
}

/// A move that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PastMove {
    pub finished: Moment,
    pub from: String,
    pub to: String,
    pub succeeded: bool,
    pub automatic: bool,
}

/// A person said no to this move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Declined {
    pub to: String,
    pub until: Millis,
}

/// A runbook under way, or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    pub id: RunId,
    pub service: String,
    /// The verdict's or the command's name.
    pub kind: String,
    pub runbook: String,
    pub from: String,
    /// Where it leads; the largest share's site for a rebalance.
    pub to: String,
    pub shares: Vec<Share>,
    pub shares_before: Vec<Share>,
    pub epoch: Epoch,
    /// None = by itself.
    pub by: Option<String>,
    /// What was promised of the service when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promised: Option<Objectives>,
    /// When the service was last seen well where it was served, if a vantage point still remembered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_well: Option<Moment>,
    #[serde(default)]
    pub incident: Option<u64>,
    pub opened: Moment,
    #[serde(default)]
    pub closed: Option<Moment>,
    /// What it does to a database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataMove>,
    pub heading: Heading,
    #[serde(default)]
    pub end: Option<RunEnd>,
    pub steps: Vec<Step>,
}

/// What a run does to a database, and what was known when it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DataMove {
    pub cluster: String,
    /// The primary before.
    pub from: String,
    /// The primary after; none = it stays.
    #[serde(default)]
    pub to: Option<String>,
    /// When the primary was last seen to answer.
    #[serde(default)]
    pub contact: Option<Moment>,
    /// What might be lost, as it looked then.
    #[serde(default)]
    pub loss_bound: Option<Millis>,
    /// How much more the old primary might acknowledge until its end is proven.
    #[serde(default)]
    pub until_proof: Millis,
    /// What a person has accepted to lose.
    #[serde(default)]
    pub accept_loss: Option<Millis>,
    /// Whose word commits waited for, if the node to promote is one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<SyncSet>,
}

impl DataMove {
    /// What people were told before anything was done.
    pub fn beforehand(&self) -> Option<Millis> {
        Some(self.loss_bound? + self.until_proof)
    }
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    pub name: String,
    pub action: Action,
    pub needs: Vec<usize>,
    pub timeout: Millis,
    #[serde(default)]
    pub retries: u32,
    #[serde(default)]
    pub undo: Option<Action>,
    #[serde(default)]
    pub point_of_no_return: bool,
    /// The run goes on without it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The command that a person would type instead.
    #[serde(default)]
    pub manual: String,
    #[serde(default)]
    pub state: StepState,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunEnd {
    Done,
    Undone,
    /// A person finished it and says so.
    ByHand(String),
}

/// Something that a person is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Question {
    pub id: QuestionId,
    pub service: String,
    pub about: About,
    pub text: String,
    pub reasons: Vec<Reason>,
    pub asked: Moment,
    /// On the kernel's steady clock.
    #[serde(default)]
    pub expires: Option<Millis>,
    #[serde(default)]
    pub answer: Option<Answer>,
}

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// May this be done? One option is chosen; `epoch` is the service's when it was asked.
    Move { options: Vec<Verdict>, epoch: Epoch, revision: Revision },
    /// A step waits for a word.
    Confirm { run: RunId, step: usize },
    /// A run can go neither on nor back by itself.
    Rest { run: RunId, step: usize },
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Approved {
        by: String,
        option: usize,
    },
    Rejected {
        by: String,
        reason: String,
    },
    Expired,
    /// What it was about is over.
    Withdrawn(String),
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    pub key: String,
    pub channel: String,
    pub message: Message,
}

/// A cause in a failure domain, with the automatic moves that came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Incident {
    pub number: u64,
    pub cause: String,
    pub failure_domain: String,
    pub opened: Moment,
    /// When the last of its moves was begun.
    pub last: Moment,
    pub services: BTreeSet<String>,
    /// By a person who re-armed: it no longer counts for the brake.
    #[serde(default)]
    pub seen: bool,
}

/// Everything away from a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evacuation {
    pub id: u64,
    pub site: String,
    /// Where to, for what has a place there.
    pub to: Option<String>,
    pub by: String,
    pub opened: Moment,
    /// What is needed goes first.
    pub phases: Vec<Vec<Leaving>>,
    /// The phase under way.
    pub phase: usize,
    /// Services without another place.
    pub stays: Vec<String>,
    pub end: Option<EvacuationEnd>,
    pub closed: Option<Moment>,
}

/// One service of an evacuation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leaving {
    pub service: String,
    pub to: String,
    pub run: Option<RunId>,
    /// Its run has arrived, or there was nothing of it any more when its turn came.
    pub gone: bool,
}

/// How an evacuation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvacuationEnd {
    Done,
    /// Because of this: nothing more is begun.
    Stopped(String),
}

/// The brake has tripped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tripped {
    pub since: Moment,
    pub text: String,
}

/// Automatic moves are frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Freeze {
    pub since: Moment,
    pub text: String,
}

impl State {
    /// "sha256:…" of everything, to be compared between two hosts that read the same journal.
    pub fn hash(&self) -> String {
        content_hash(self)
    }

    /// Runs that have not ended.
    pub fn open_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().filter(|run| run.end.is_none())
    }

    /// The evacuation under way: there is one at most.
    pub fn open_evacuation(&self) -> Option<&Evacuation> {
        self.evacuations.values().find(|evacuation| evacuation.end.is_none())
    }

    /// Questions that wait for an answer.
    pub fn open_questions(&self) -> impl Iterator<Item = &Question> {
        self.questions.values().filter(|question| question.answer.is_none())
    }
}

impl Evacuation {
    /// All of the phase under way have gone.
    pub fn phase_is_over(&self) -> bool {
        self.phases.get(self.phase).is_none_or(|phase| phase.iter().all(|leaving| leaving.gone))
    }

    pub(crate) fn leaving_mut(&mut self) -> impl Iterator<Item = &mut Leaving> {
        self.phases.iter_mut().flatten()
    }
}

impl Life {
    /// A service that nothing has happened to yet.
    pub(crate) fn at_home(home: Vec<Share>, since: Moment) -> Life {
        let active = largest(&home).to_owned();
        Life { state: contract::State::Normal, since, active, shares: home.clone(), home, epoch: 0 }
    }

    /// Part of the traffic that `site` has.
    pub fn share(&self, site: &str) -> u32 {
        self.shares.iter().find(|share| share.site == site).map_or(0, |share| share.per_cent)
    }

    /// Whether it is where it should be.
    pub fn is_home(&self) -> bool {
        same_shares(&self.shares, &self.home)
    }

    /// The site where it should be, or have the largest share.
    pub fn home_site(&self) -> &str {
        largest(&self.home)
    }
}

impl Run {
    /// What [`crate::saga`] needs to know of its steps.
    pub fn shapes(&self) -> Vec<Shape> {
        self.steps.iter().map(Step::shape).collect()
    }

    /// What has happened to its steps.
    pub fn states(&self) -> Vec<StepState> {
        self.steps.iter().map(|step| step.state.clone()).collect()
    }

    /// Whether traffic or data changes place.
    pub fn moves(&self) -> bool {
        !same_shares(&self.shares, &self.shares_before) || self.data.as_ref().is_some_and(|data| data.to.is_some())
    }
}

impl Step {
    /// What [`crate::saga`] needs to know of it.
    pub fn shape(&self) -> Shape {
        Shape {
            needs: self.needs.clone(),
            timeout: self.timeout,
            retries: self.retries,
            undoable: self.undo.is_some(),
            // Nobody follows a primary that is still stopped.
            undone_last: matches!(self.undo, Some(Action::Rejoin { .. })),
            point_of_no_return: self.point_of_no_return,
            optional: self.optional,
        }
    }
}

/// How loudly a decision asks for people: its fact `alarm`.
pub fn alarm_of(decision: &Decision) -> Option<Severity> {
    let named = |severity: &&Severity| severity.as_str() == alarm_fact(decision);
    Severity::ALL.iter().find(named).copied().filter(|severity| *severity > Severity::Info)
}

fn alarm_fact(decision: &Decision) -> &str {
    decision.facts.iter().find(|fact| fact.key == "alarm").map_or("", |fact| &fact.value)
}

impl LastDecision {
    /// Whether it says the same as a newer answer: words may differ, for they hold ages and counts.
    pub(crate) fn says_the_same(&self, newer: &Said<'_>) -> bool {
        let said = newer.decision;
        let codes =
            |ours: &[Reason], theirs: &[Reason]| ours.iter().map(|r| &r.code).eq(theirs.iter().map(|r| &r.code));
        self.revision == *newer.revision
            && self.verdict == said.verdict
            && self.analysis == said.analysis
            && self.fault.as_ref() == newer.fault
            && self.alarm == alarm_of(said)
            && codes(&self.reasons, &said.reasons)
            && codes(&self.would_change_if, &said.would_change_if)
            && self
                .vetoes
                .iter()
                .map(|v| (&v.candidate, &v.reason.code))
                .eq(said.vetoes.iter().map(|v| (&v.candidate, &v.reason.code)))
            && self.ruling.says_the_same(&newer.ruling)
    }
}

impl Said<'_> {
    /// What the policy wants to be told again; nothing of an answer that failed.
    pub(crate) fn memo(&self, slot: &str) -> Option<Memo> {
        let text = &self.decision.memo[..self.decision.memo.floor_char_boundary(MEMO_BYTES_MAX)];
        (self.fault.is_none() && !text.is_empty()).then(|| Memo {
            slot: slot.to_owned(),
            format: self.revision.memo_format.clone(),
            text: text.to_owned(),
        })
    }

    /// As the journal has it; `situation` is the hash of what was asked.
    pub(crate) fn noted(self, at: Moment, situation: String) -> LastDecision {
        let decision = self.decision.clone();
        LastDecision {
            alarm: alarm_of(&decision),
            at,
            revision: self.revision.clone(),
            verdict: decision.verdict,
            analysis: decision.analysis,
            reasons: decision.reasons,
            vetoes: decision.vetoes,
            would_change_if: decision.would_change_if,
            ruling: self.ruling,
            fault: self.fault.cloned(),
            situation,
            repeated: 0,
        }
    }
}

impl Ruling {
    fn says_the_same(&self, newer: &Ruling) -> bool {
        match (self, newer) {
            (Ruling::Hold(a), Ruling::Hold(b)) => a.iter().map(|r| &r.code).eq(b.iter().map(|r| &r.code)),
            (a, b) => a == b,
        }
    }
}

/// "sha256:…" of something's JSON.
pub fn content_hash(content: &impl Serialize) -> String {
    let json = serde_json::to_vec(content).expect("the kernel's own data has only string keys");
    let halves = Sha256::digest(&json).into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = halves.filter_map(|half| char::from_digit(half.into(), 16));
    "sha256:".chars().chain(digits).collect()
}

/// Whether two divisions of the traffic are the same; a share of nothing is no share.
pub fn same_shares(a: &[Share], b: &[Share]) -> bool {
    fn of(shares: &[Share]) -> Vec<(&str, u32)> {
        let taken = shares.iter().filter(|share| share.per_cent > 0);
        let mut shares: Vec<(&str, u32)> = taken.map(|share| (share.site.as_str(), share.per_cent)).collect();
        shares.sort_unstable();
        shares
    }
    // Asked of every service all the time, and nearly always of what has not changed.
    a == b || of(a) == of(b)
}

/// The site with the largest share, the first named of equals.
pub fn largest(shares: &[Share]) -> &str {
    let mut best: Option<&Share> = None;
    for share in shares {
        if best.is_none_or(|best| share.per_cent > best.per_cent) {
            best = Some(share);
        }
    }
    best.map_or("", |share| &share.site)
}

/// A run's move as a policy would have said it.
pub fn whole_move(to: &str) -> Move {
    Move { to_site: to.to_owned(), promote: Vec::new(), shifts: Vec::new(), expected_loss: None }
}

/// A decision that stands for none: nobody moves anything on a fault.
pub fn no_decision() -> Decision {
    Decision {
        verdict: Verdict::Hold,
        analysis: "policy-fault".into(),
        reasons: Vec::new(),
        vetoes: Vec::new(),
        would_change_if: Vec::new(),
        ask_again_in: None,
        memo: String::new(),
        facts: Vec::new(),
    }
}
