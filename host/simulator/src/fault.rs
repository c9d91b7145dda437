//! Everything that can break in the simulated world: one closed list, in the words of scenario files.
//!
//! Says what is broken, not what follows from it: that is the world's.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_kernel::fleet::Fleet;

/// The place outside of every site: clients, name servers and control targets are there.
pub const INTERNET: &str = "internet";

/// Something that breaks, for a while or for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Everything at a site is dead: services, databases, its agents, and the host if it stands there.
    SiteDown(String),
    /// Everything at a site stands still, and goes on later as though no time had passed.
    SiteFrozen(String),
    /// Nothing gets through between places: sites, or `internet`.
    Cut(Between),
    /// So many per cent of what is asked between places stay without an answer; streams send again what is lost.
    Loss(Lossy),
    /// Whatever is sent between places is so many milliseconds later.
    Delay(Late),
    /// Nothing listens where the service should be.
    ServiceDown(At),
    /// It takes connections and says nothing.
    ServiceHangs(At),
    /// It answers later than it may.
    ServiceSlow(At),
    /// So many per cent of its answers are errors.
    ServiceFlaky(Flaky),
    /// Reads work, writes do not.
    ServiceReadOnly(At),
    /// The agent of that name is dead.
    AgentDown(String),
    /// The agent of that name reaches nothing beyond its site but the host: it knows that by its control targets.
    AgentBlind(String),
    /// Every fourth look of the agent of that name takes too long.
    AgentSlow(String),
    /// A database server is dead.
    NodeDown(NodeOf),
    /// A database server stands still, its machine does not.
    NodeHangs(NodeOf),
    /// Its disk is full: reads work, nothing can be written.
    NodeFull(NodeOf),
    /// A standby applies what it gets so many milliseconds late.
    NodeLags(Lagging),
    /// A standby receives nothing, and says nothing of its lag.
    NodeStalled(NodeOf),
    /// The enforcer above a database server was never armed.
    NodeUnguarded(NodeOf),
    /// Declared commands of a site fail.
    CommandsFail(String),
    /// The name servers do not answer.
    NamesDown,
    /// The name servers do what they are told, and the answer is lost.
    NamesForgetful,
    /// Somebody else changes where a service's name leads.
    NamesChanged(At),
    /// The provider in that slot crashes at every call, at the host and at every agent: nothing is done.
    ProviderCrashes(String),
    /// … half-way through: half of the calls have taken effect.
    ProviderCrashesMidway(String),
    /// The provider in that slot does what it is told, and answers only when its call has been cut off.
    ProviderSlow(String),
    /// The host is dead.
    HostDown,
    /// The host's wall clock jumps by so many milliseconds.
    ClockJumps(i64),
}

/// Both ways, or one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Between {
    /// Places on the one side.
    pub from: Vec<String>,
    /// Places on the other.
    pub to: Vec<String>,
    /// Only from `from` to `to`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

/// As [`Between`], with how much is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lossy {
    /// Places on the one side.
    pub from: Vec<String>,
    /// Places on the other.
    pub to: Vec<String>,
    /// 1 to 100.
    pub per_cent: u32,
    /// Only from `from` to `to`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

/// As [`Between`], with how much later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Late {
    /// Places on the one side.
    pub from: Vec<String>,
    /// Places on the other.
    pub to: Vec<String>,
    /// Milliseconds, each way.
    pub by: u64,
    /// Only from `from` to `to`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

/// A service at a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct At {
    /// Its name.
    pub service: String,
    /// The site's name.
    pub site: String,
}

/// A service at a site that answers with errors now and then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Flaky {
    /// Its name.
    pub service: String,
    /// The site's name.
    pub site: String,
    /// 1 to 100.
    pub per_cent: u32,
}

/// A node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeOf {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
}

/// A node of a cluster, and how far it is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lagging {
    /// The cluster's name.
    pub cluster: String,
    /// The node's name.
    pub node: String,
    /// Milliseconds.
    pub by: u64,
}

/// The slots whose providers may crash or be slow: those for names, databases and probes that a fleet uses.
pub(crate) fn slots(fleet: &Fleet) -> BTreeSet<&str> {
    let names = fleet.services.iter().filter_map(|service| service.route.as_ref()).map(|route| route.slot.as_str());
    let databases = fleet.clusters.iter().map(|cluster| cluster.slot.as_str());
    let probes = fleet.services.iter().map(|service| service.probe.slot.as_str());
    names.chain(databases).chain(probes).collect()
}

impl Fault {
    /// Whether a look may find something else than the one before, though nothing else has changed: then no time is skipped.
    pub fn is_unsteady(&self) -> bool {
        matches!(
            self,
            Fault::Loss(_)
                | Fault::ServiceFlaky(_)
                | Fault::AgentSlow(_)
                | Fault::ProviderCrashes(_)
                | Fault::ProviderCrashesMidway(_)
                | Fault::ProviderSlow(_)
        )
    }

    /// Whether it is over as soon as it has happened.
    pub fn is_a_moment(&self) -> bool {
        matches!(self, Fault::NamesChanged(_) | Fault::ClockJumps(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::SiteDown(site) => write!(f, "everything at {site} dies"),
            Fault::SiteFrozen(site) => write!(f, "everything at {site} freezes"),
            Fault::Cut(Between { from, to, one_way: false }) => {
                write!(f, "the link between {} and {} is cut", from.join(", "), to.join(", "))
            }
            Fault::Cut(Between { from, to, one_way: true }) => {
                write!(f, "nothing gets from {} to {}", from.join(", "), to.join(", "))
            }
            Fault::Loss(Lossy { from, to, per_cent, one_way: false }) => {
                write!(f, "{per_cent} % are lost between {} and {}", from.join(", "), to.join(", "))
            }
            Fault::Loss(Lossy { from, to, per_cent, one_way: true }) => {
                write!(f, "{per_cent} % are lost from {} to {}", from.join(", "), to.join(", "))
            }
            Fault::Delay(Late { from, to, by, one_way: false }) => {
                write!(f, "{} and {} are {by} ms further apart", from.join(", "), to.join(", "))
            }
            Fault::Delay(Late { from, to, by, one_way: true }) => {
                write!(f, "what gets from {} to {} is {by} ms later", from.join(", "), to.join(", "))
            }
            Fault::ServiceDown(At { service, site }) => write!(f, "{service} at {site} dies"),
            Fault::ServiceHangs(At { service, site }) => write!(f, "{service} at {site} hangs"),
            Fault::ServiceSlow(At { service, site }) => write!(f, "{service} at {site} is slow"),
            Fault::ServiceFlaky(Flaky { service, site, per_cent }) => {
                write!(f, "{per_cent} % of the answers of {service} at {site} are errors")
            }
            Fault::ServiceReadOnly(At { service, site }) => write!(f, "{service} at {site} only reads"),
            Fault::AgentDown(agent) => write!(f, "the agent {agent} dies"),
            Fault::AgentBlind(agent) => write!(f, "the agent {agent} is cut off from what it looks at"),
            Fault::AgentSlow(agent) => write!(f, "every fourth look of the agent {agent} takes too long"),
            Fault::NodeDown(NodeOf { cluster, node }) => write!(f, "node {node} of {cluster} dies"),
            Fault::NodeHangs(NodeOf { cluster, node }) => write!(f, "node {node} of {cluster} hangs"),
            Fault::NodeFull(NodeOf { cluster, node }) => write!(f, "the disk of node {node} of {cluster} is full"),
            Fault::NodeLags(Lagging { cluster, node, by }) => write!(f, "node {node} of {cluster} is {by} ms behind"),
            Fault::NodeStalled(NodeOf { cluster, node }) => {
                write!(f, "node {node} of {cluster} receives nothing and says nothing of its lag")
            }
            Fault::NodeUnguarded(NodeOf { cluster, node }) => write!(f, "node {node} of {cluster} has no enforcer"),
            Fault::CommandsFail(site) => write!(f, "the declared commands of {site} fail"),
            Fault::NamesDown => f.write_str("the name servers do not answer"),
            Fault::NamesForgetful => f.write_str("the name servers' answers to writes are lost"),
            Fault::NamesChanged(At { service, site }) => {
                write!(f, "somebody else leads the name of {service} to {site}")
            }
            Fault::ProviderCrashes(slot) => write!(f, "the provider in {slot} crashes at every call"),
            Fault::ProviderCrashesMidway(slot) => {
                write!(f, "the provider in {slot} crashes half-way through every call")
            }
            Fault::ProviderSlow(slot) => write!(f, "the provider in {slot} does what it is told, and answers too late"),
            Fault::HostDown => f.write_str("the host dies"),
            Fault::ClockJumps(by) => write!(f, "the host's wall clock jumps by {by} ms"),
        }
    }
}
