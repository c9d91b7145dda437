//! The words of `wit/v0.1.0` as plain data: what the kernel thinks in, what the journal stores, what `--json` prints.
//!
//! Knows nothing of WebAssembly; `host/engine` translates between these and each contract version's generated types.
//! Names, units and meanings are those of the WIT files, which are the manual.

#![expect(missing_docs, reason = "the WIT files are the manual of each field")]

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
pub type Timestamp = u64;

/// A length of time in milliseconds.
pub type Millis = u64;

/// Millionths of the currency that the fleet file names.
pub type Money = i64;

/// Grows whenever the right to act changes hands: a fencing token.
pub type Epoch = u64;

macro_rules! contract {
    ($($(#[$meta:meta])* $kind:ident $name:ident { $($body:tt)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub $kind $name { $($body)* }
    )*};
}

macro_rules! contract_enum {
    ($($(#[$meta:meta])* $name:ident { $($(#[$case_meta:meta])* $case:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$case_meta])* #[serde(rename = $text)] $case),*
        }

        impl $name {
            /// Every case, in the contract's order.
            pub const ALL: &'static [$name] = &[$($name::$case),*];

            /// The case's name in the contract, in the fleet file and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$case => $text),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    )*};
}

pub mod cost;
pub mod retention;
pub mod storage;
pub mod tiering;

contract_enum! {
    /// How critical a service is, the most critical first.
    Tier { Tier1 = "tier1", Tier2 = "tier2", Tier3 = "tier3", Tier4 = "tier4" }

    /// How a service is kept recoverable, the fastest and dearest first.
    Strategy {
        /// Every site serves; each has a share.
        ActiveActive = "active-active",
        /// One site serves, another could at once.
        ActivePassive = "active-passive",
        /// The other site has the data, and has to be started.
        PilotLight = "pilot-light",
        /// The other site has the backups.
        BackupRestore = "backup-restore",
    }

    /// What one look found.
    Outcome {
        /// Answered, in time.
        Ok = "ok",
        /// Answered, but later than the target allows.
        Slow = "slow",
        /// The machine answers, nothing listens.
        Refused = "refused",
        /// No answer in time.
        TimedOut = "timed-out",
        /// Connected, but the check did not complete.
        Partial = "partial",
        /// The look was not allowed: says nothing of the service.
        Unauthorized = "unauthorized",
        /// Reads work, writes do not.
        WriteFailed = "write-failed",
        /// It answers, and its data is wrong.
        Corrupt = "corrupt",
        /// The look itself failed: says nothing of the service.
        Error = "error",
    }

    /// What the vantage points say together.
    Status { Healthy = "healthy", Degraded = "degraded", Unhealthy = "unhealthy", Unknown = "unknown" }

    /// Where a service is in its life.
    State {
        /// Served from where it should be.
        Normal = "normal",
        /// Served, but not as well or as safely as it should be.
        Degraded = "degraded",
        /// On its way to another site.
        FailingOver = "failing-over",
        /// Served from another site than the preferred one.
        FailedOver = "failed-over",
        /// On its way back.
        FailingBack = "failing-back",
    }

    /// Who may start a move.
    Autonomy {
        /// By itself.
        Automatic = "automatic",
        /// By itself where nothing promised is lost, else ask.
        SemiAutomatic = "semi-automatic",
        /// Always ask.
        Manual = "manual",
    }

    /// What a database node is.
    Role { Primary = "primary", Replica = "replica", Unknown = "unknown" }

    /// How loud a message is.
    Severity { Info = "info", Warning = "warning", Critical = "critical" }
}

impl Outcome {
    /// A vote that the service works: `ok` and `slow`.
    pub fn is_good(self) -> bool {
        matches!(self, Outcome::Ok | Outcome::Slow)
    }

    /// A vote that it does not. What is neither good nor bad is no vote.
    pub fn is_bad(self) -> bool {
        use Outcome::{Corrupt, Partial, Refused, TimedOut, WriteFailed};
        matches!(self, Refused | TimedOut | Partial | WriteFailed | Corrupt)
    }
}

contract! {
    /// Room to grow: a stable key, a value in the key's own documented form.
    #[derive(Eq, Hash)]
    struct Fact { pub key: String, pub value: String }

    /// Why a plugin, or the host, says what it says: a stable code for machines, a sentence for people.
    #[derive(Eq, Hash)]
    struct Reason { pub code: String, pub text: String }

    /// What the business can bear for one service.
    #[derive(Eq, Copy)]
    struct Objectives {
        pub rto: Millis,
        pub rpo: Millis,
        pub mtpd: Option<Millis>,
    }

    /// How a capability call fails. `unknown-outcome` is the only one after which the world may have changed.
    #[derive(Eq)]
    enum Failure {
        Denied(String),
        NotFound(String),
        Invalid(String),
        Busy(Millis),
        Rejected(String),
        Stale(Epoch),
        UnknownOutcome(String),
    }

    /// The newest word of one vantage point.
    #[derive(Eq)]
    struct Observation {
        pub vantage: String,
        pub outcome: Outcome,
        pub latency: Option<Millis>,
        pub age: Millis,
        pub consecutive: u32,
        pub good: u32,
        pub bad: u32,
        pub detail: String,
    }

    /// What the vantage points say together, counted in failure domains.
    #[derive(Eq, Copy)]
    struct Consensus {
        pub status: Status,
        pub agreeing: u32,
        pub voting: u32,
        pub expected: u32,
        pub held: Millis,
    }

    /// Who tried to reach a database node.
    #[derive(Eq)]
    struct Sighting { pub vantage: String, pub reached: bool, pub attempt_age: Millis, pub success_age: Option<Millis> }

    /// Why a node is known to be unable to acknowledge a write.
    #[derive(Eq)]
    struct Proof { pub kind: String, pub position: Option<u64>, pub survives_restart: bool, pub facts: Vec<Fact> }

    /// One node of a database cluster.
    #[derive(Eq)]
    struct Node {
        pub id: String,
        pub site: String,
        pub role: Role,
        pub seen_by: Vec<Sighting>,
        pub writable: Option<bool>,
        pub fenced: Option<Proof>,
        pub identity: Option<String>,
        pub timeline: Option<u64>,
        pub forked_at: Option<u64>,
        pub received: Option<u64>,
        pub replayed: Option<u64>,
        pub lag_bytes: Option<u64>,
        pub lag_at_contact: Option<Millis>,
        pub contact_age: Option<Millis>,
        pub upstream: Option<String>,
        pub upstream_heard: Option<Millis>,
        pub priority: u32,
        pub facts: Vec<Fact>,
    }

    /// The replicas of which `wait_for` must have a commit before it is acknowledged, as published.
    #[derive(Eq)]
    struct SyncSet { pub nodes: Vec<String>, pub wait_for: u32, pub epoch: Epoch }

    /// A database cluster as last seen.
    #[derive(Eq)]
    struct Cluster { pub name: String, pub published: Option<SyncSet>, pub nodes: Vec<Node>, pub facts: Vec<Fact> }

    /// Where a name leads, for one site.
    #[derive(Eq)]
    struct Endpoint { pub site: String, pub target: String, pub weight: u32 }

    /// Where a name leads.
    #[derive(Eq)]
    struct Route {
        pub name: String,
        pub ttl_seconds: u32,
        pub endpoints: Vec<Endpoint>,
        pub written_by: Option<Epoch>,
        pub age: Millis,
        pub facts: Vec<Fact>,
    }

    /// One vantage point, as a policy sees it.
    #[derive(Eq)]
    struct VantageView { pub name: String, pub failure_domain: String, pub sound: bool, pub fresh: bool }

    /// One site, as a policy sees it.
    #[derive(Eq)]
    struct SiteView {
        pub site: String,
        pub failure_domain: String,
        pub rank: u32,
        pub capacity: u32,
        pub share: u32,
        pub consensus: Consensus,
        pub observations: Vec<Observation>,
        pub services_unhealthy: u32,
        pub services_total: u32,
        pub facts: Vec<Fact>,
    }

    /// A service that this one needs.
    #[derive(Eq)]
    struct Dependency { pub service: String, pub status: Status, pub active_site: String }

    /// A finished move.
    #[derive(Eq)]
    struct PastMove { pub finished_ago: Millis, pub from_site: String, pub to_site: String, pub succeeded: bool, pub automatic: bool }

    /// A number that a policy may weigh.
    struct SignalValue { pub name: String, pub site: Option<String>, pub value: f64, pub age: Millis }

    /// All that a failover policy is told.
    struct Situation {
        pub now: Timestamp,
        pub time_zone: String,
        pub epoch: Epoch,
        pub service: String,
        pub tier: Tier,
        pub objectives: Objectives,
        pub strategy: Strategy,
        pub failover: Autonomy,
        pub failback: Autonomy,
        pub state: State,
        pub state_held: Millis,
        pub active_site: String,
        pub preferred_site: String,
        pub vantages: Vec<VantageView>,
        pub sites: Vec<SiteView>,
        pub route: Option<Route>,
        pub cluster: Option<Cluster>,
        pub dependencies: Vec<Dependency>,
        pub moves: Vec<PastMove>,
        pub in_maintenance: bool,
        pub warming_up: bool,
        pub signals: Vec<SignalValue>,
        pub memo: String,
        pub settings: String,
        pub facts: Vec<Fact>,
    }

    /// Traffic for the new site in per cent, held that long and found good before the next.
    #[derive(Eq, Copy)]
    struct Shift { pub share: u32, pub hold: Millis }

    /// A move that a policy wants.
    #[derive(Eq)]
    struct Move { pub to_site: String, pub promote: Vec<String>, pub shifts: Vec<Shift>, pub expected_loss: Option<Millis> }

    /// A site's part of the traffic.
    #[derive(Eq)]
    struct Share { pub site: String, pub per_cent: u32 }

    /// Something to look at again.
    #[derive(Eq)]
    struct Look { pub site: String, pub node: Option<String> }

    /// A decision that a person is to make.
    #[derive(Eq)]
    struct Question { pub text: String, pub options: Vec<Move>, pub expires_in: Millis }

    /// A runbook that the fleet file lists for a service.
    #[derive(Eq)]
    struct Invocation { pub runbook: String, pub arguments: Vec<Fact> }

    /// What a failover policy says.
    #[derive(Eq)]
    enum Verdict {
        Hold,
        ProbeMore(Vec<Look>),
        SwitchOver(Move),
        FailOver(Move),
        FailBack(Move),
        Rebalance(Vec<Share>),
        Fence(Vec<String>),
        Run(Invocation),
        Ask(Question),
    }

    /// What a veto is about.
    #[derive(Eq)]
    enum Candidate { Site(String), Node(String) }

    /// Why a candidate was not chosen.
    #[derive(Eq)]
    struct Veto { pub candidate: Candidate, pub reason: Reason }

    /// A verdict, and why.
    #[derive(Eq)]
    struct Decision {
        pub verdict: Verdict,
        pub analysis: String,
        pub reasons: Vec<Reason>,
        pub vetoes: Vec<Veto>,
        pub would_change_if: Vec<Reason>,
        pub ask_again_in: Option<Millis>,
        pub memo: String,
        pub facts: Vec<Fact>,
    }

    /// Comes with every call that changes something.
    #[derive(Eq)]
    struct Call { pub epoch: Epoch, pub key: String, pub timeout: Millis }

    /// What one look found.
    #[derive(Eq)]
    struct Finding { pub outcome: Outcome, pub latency: Option<Millis>, pub detail: String }

    /// What an action did.
    #[derive(Eq)]
    struct Done { pub text: String, pub receipt: String }

    /// Something to tell people.
    #[derive(Eq)]
    struct Message { pub severity: Severity, pub subject: String, pub body: String, pub at: Timestamp, pub facts: Vec<Fact> }

    /// What a plugin wants to be granted.
    #[derive(Eq, Hash)]
    enum Want { Connect(String), Secret(String), Directory(String), Command(String) }

    /// What every plugin tells about itself.
    #[derive(Eq)]
    struct Manifest {
        pub name: String,
        pub version: String,
        pub summary: String,
        pub settings_schema: String,
        pub wants: Vec<Want>,
        pub memo_format: String,
    }

    /// What is wrong with a plugin's settings.
    #[derive(Eq)]
    struct Problem { pub at: String, pub text: String }

    /// What a declared command printed, and how it ended.
    #[derive(Eq)]
    struct Output { pub status: i32, pub stdout: Vec<u8>, pub stderr: Vec<u8> }
}

impl Reason {
    /// A reason from its code and its sentence.
    pub fn new(code: impl Into<String>, text: impl Into<String>) -> Self {
        Reason { code: code.into(), text: text.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Denied(what) => write!(f, "denied: {what}"),
            Failure::NotFound(what) => write!(f, "not found: {what}"),
            Failure::Invalid(what) => write!(f, "invalid request: {what}"),
            Failure::Busy(wait) => write!(f, "busy; try again in {wait} ms"),
            Failure::Rejected(what) => write!(f, "rejected: {what}"),
            Failure::Stale(epoch) => write!(f, "stale: epoch {epoch} has acted since"),
            Failure::UnknownOutcome(what) => write!(f, "outcome unknown: {what}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Verdict {
    /// Every verdict's name, in the contract's order.
    pub const NAMES: [&'static str; 9] =
        ["hold", "probe-more", "switch-over", "fail-over", "fail-back", "rebalance", "fence", "run", "ask"];

    /// The verdict's name in the contract.
    pub fn name(&self) -> &'static str {
        let [hold, probe_more, switch_over, fail_over, fail_back, rebalance, fence, run, ask] = Self::NAMES;
        match self {
            Verdict::Hold => hold,
            Verdict::ProbeMore(_) => probe_more,
            Verdict::SwitchOver(_) => switch_over,
            Verdict::FailOver(_) => fail_over,
            Verdict::FailBack(_) => fail_back,
            Verdict::Rebalance(_) => rebalance,
            Verdict::Fence(_) => fence,
            Verdict::Run(_) => run,
            Verdict::Ask(_) => ask,
        }
    }

    /// Whether traffic or data would change place.
    pub fn moves(&self) -> bool {
        matches!(self, Verdict::SwitchOver(_) | Verdict::FailOver(_) | Verdict::FailBack(_) | Verdict::Rebalance(_))
    }
}
