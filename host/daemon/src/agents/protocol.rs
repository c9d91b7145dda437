//! What hosts and agents say to each other: JSON over HTTP/1.1, the agent always asking.
//!
//! | request | what for |
//! |---|---|
//! | `POST /agent/v1/report` | [`Report`] → [`Heard`]: looks and soundness for a heartbeat; at least twice a second |
//! | `POST /agent/v1/renew` | [`Renewal`] → [`Renewed`]: who leads which cluster, and the leases of this site; twice a second where a database is held |
//! | `GET /agent/v1/plan?version=V` | [`Plan`], as soon as its version is not V: what to look at and what may be run |
//! | `GET /agent/v1/plugin/DIGEST` | the bytes of a component that the agent's plan names |
//! | `GET /agent/v1/work?after=N&host=H` | [`Work`], as soon as there is more than the N items that this host's H has given |
//! | `POST /agent/v1/done` | [`Done`]: what became of a command |
//!
//! Each request carries `authorization: Bearer TOKEN`, which belongs to one agent, and [`AGENT`], [`SITE`] and [`SESSION`], which
//! must fit it: words in another agent's or another site's name are refused. The clocks of two machines are never compared:
//! an agent hands back the host's own heartbeat, so the host knows an upper bound of each look's age by its own clock.
//!
//! An agent trusts its host with what it looks at and with the declarations of commands, which come from the fleet file; it
//! holds each command's arguments against their patterns once more before it runs anything. A host trusts an agent with what
//! it saw, and with nothing about any other agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Epoch, Fact, Failure, Millis, Outcome, Output};
use tidegate_kernel::event::JournalHead;

use crate::enforcer::line::Held;
use crate::lease::Known;
use crate::prober::{Counters, Target};

/// Header with the agent's name.
pub const AGENT: &str = "tidegate-agent";
/// Header with its site's name.
pub const SITE: &str = "tidegate-site";
/// Header with a number that the agent's process drew at its start.
pub const SESSION: &str = "tidegate-session";

/// What a host sends and an agent hands back, unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// A number that the host's process drew at its start; 0 = none heard yet.
    pub host: u64,
    /// `mono` of the host as it sent this.
    pub sent: Millis,
}

/// How far the host's journal has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Number of the newest durable entry.
    pub number: u64,
    /// Its hash.
    pub hash: String,
}

/// The host has shown a head that does not follow from an earlier one: somebody changed its journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewritten {
    /// What the agent remembers.
    pub seen: ChainHead,
    /// What it was shown later.
    pub shown: ChainHead,
}

impl From<ChainHead> for JournalHead {
    fn from(head: ChainHead) -> Self {
        JournalHead { number: head.number, hash: head.hash }
    }
}

/// An agent's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The last heartbeat that the agent heard.
    pub heartbeat: Heartbeat,
    /// It reaches its control targets.
    pub sound: bool,
    /// Number in this session of the first of `looks`; the others follow. A look that is sent twice counts once.
    pub first: u64,
    /// What it saw, in order.
    pub looks: Vec<Look>,
    /// Version of the plan that it works by.
    pub plan: Option<String>,
    /// What it could not do of that plan.
    pub problems: Vec<String>,
    /// Declared commands that could not be run there, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub missing: BTreeMap<String, String>,
    /// The newest chain head that it was shown and believed.
    pub chain: Option<ChainHead>,
    /// A head that it was shown and did not believe.
    pub rewritten: Option<Rewritten>,
    /// What has become of its looks.
    pub counters: Counters,
}

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Look {
    /// The service's name.
    pub service: String,
    /// The name of the site that was looked at.
    pub site: String,
    /// What was found.
    pub outcome: Outcome,
    /// How long the answer took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Millis>,
    /// For people, when bad.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The last heartbeat heard as the look began.
    pub heartbeat: Heartbeat,
}

/// The host's answer to a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Heard {
    /// To be handed back with the next report, and with each look that begins from now on.
    pub heartbeat: Heartbeat,
    /// How far the journal has come.
    pub chain: Option<ChainHead>,
    /// Version of the agent's plan.
    pub plan: String,
}

/// All that an agent works by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Names the content.
    pub version: String,
    /// What to look at.
    pub targets: Vec<Target>,
    /// Probe slots that the targets name.
    pub slots: BTreeMap<String, SlotPlan>,
    /// Commands that may be run at this agent's site.
    pub commands: BTreeMap<String, CommandPlan>,
    /// `tcp://ADDRESS:PORT`: reaching one of them shows that the agent is not itself cut off.
    pub control_targets: Vec<String>,
}

/// How agents ask each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Peers {
    /// What they know each other by; the same for all.
    pub key: Vec<u8>,
    /// Where this one answers; none = it is not asked.
    pub listen: Option<String>,
    /// How many agents there are, this one and those that cannot be asked included.
    pub agents: usize,
    /// Where the others answer, by name.
    pub others: BTreeMap<String, String>,
}

/// An agent asks for the leases of its site, and says what it holds and knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Renewal {
    /// The nodes that its enforcer holds; without an enforcer none.
    pub holds: Vec<Held>,
    /// The epochs that it will not forget.
    pub known: Vec<Known>,
}

/// The host's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Renewed {
    /// Every cluster.
    pub clusters: Vec<Leader>,
    /// Where the other agents are, for what they ask each other while no host answers; none = nobody asks.
    pub peers: Option<Peers>,
}

/// Who leads a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leader {
    /// The cluster's name.
    pub cluster: String,
    /// Its primary; none = nobody may be it now.
    pub primary: Option<String>,
    /// The newest epoch.
    pub epoch: Epoch,
    /// Asynchronous: its primary runs by a lease.
    pub guarded: bool,
    /// That lease is renewed by this answer, from the moment at which the agent asked.
    pub renewed: bool,
}

/// One probe slot's revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SlotPlan {
    /// "sha256:…" of the component.
    pub digest: String,
    /// Grows with each swap.
    pub revision: u64,
    /// The plugin's settings.
    pub settings: serde_json::Value,
    /// What the operator grants.
    pub grants: Vec<String>,
    /// As the engine reads them.
    pub limits: serde_json::Value,
    /// What the fleet file declares for this provider.
    pub declared: Vec<Fact>,
    /// The secrets that the grants name, and no others; they travel only over loopback or TLS.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// A declared command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CommandPlan {
    /// `{name}` is replaced by the argument of that name.
    pub argv: Vec<String>,
    /// Argument → regular expression that the whole value has to match.
    pub arguments: BTreeMap<String, String>,
    /// The user that it runs as; none = the agent's own.
    pub run_as: Option<String>,
    /// After which it is killed.
    pub timeout: Millis,
    /// Of each of stdout and stderr, in bytes; the rest is dropped.
    pub output_max: u64,
}

/// What an agent is to do besides its plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Work {
    /// The host's process; another one counts its items anew.
    pub host: u64,
    /// Version of the plan that they were given under.
    pub plan: String,
    /// In order of their numbers.
    pub items: Vec<WorkItem>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WorkItem {
    /// Counts up.
    pub number: u64,
    /// What it is.
    pub task: Task,
}

/// Kinds of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Look at one target at once.
    Look {
        /// The service's name.
        service: String,
        /// The site to look at.
        site: String,
    },
    /// Run a declared command, once for its key.
    Run(Order),
    /// A cluster has a newer epoch: to be remembered for good, and acknowledged at once by a [`Renewal`].
    Epoch {
        /// The cluster's name.
        cluster: String,
        /// Its epoch.
        epoch: Epoch,
    },
}

/// A declared command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Order {
    /// The same key is never run twice.
    pub key: String,
    /// The command's name.
    pub command: String,
    /// Argument → value.
    pub arguments: BTreeMap<String, String>,
    /// At most this long, and never longer than declared.
    pub timeout: Millis,
}

impl Order {
    /// Whether it asks for the same. Who repeats an order may have less time left for it than the first time.
    pub fn repeats(&self, other: &Order) -> bool {
        (&self.key, &self.command, &self.arguments) == (&other.key, &other.command, &other.arguments)
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Done {
    /// The order's.
    pub key: String,
    /// Its output, or why there is none.
    pub result: Result<Output, Failure>,
}
