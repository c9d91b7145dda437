//! What the operator declared: sites, vantage points, services, routes, slots, commands, runbooks, channels, people.
//!
//! Plain data with public fields, made only by [`parse`] and found whole by [`check`]; knows nothing of what goes on in it.
//! Services, sites and vantage points are numbered, so that events and state carry small indices instead of names.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

mod calendar;
mod check;
mod clusters;
mod data;
mod declarations;
mod document;
mod duration;
mod hosts;
mod names;
mod parse;
mod problem;
mod section;
mod services;
mod slots;
mod survival;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::contract::{Autonomy, Millis, Objectives, Severity, Share, Strategy, Tier};

pub use calendar::{in_maintenance, local_time};
pub use check::{Finding, check};
pub use clusters::STOP;
pub use duration::{parse_duration, write_duration};
pub use parse::parse;
pub use problem::{Level, Problem, did_you_mean};
pub use survival::{Outlook, Survival, survivals};

macro_rules! index {
    ($($(#[$meta:meta])* $name:ident($inner:ty))*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name(pub $inner);

        impl $name {
            /// As a position in the fleet's list of these.
            pub fn at(self) -> usize { self.0 as usize }
        }
    )*};
}

index! {
    /// Position of a site in [`Fleet::sites`].
    SiteId(u16)
    /// Position of a vantage point in [`Fleet::vantages`].
    VantageId(u16)
    /// Position of a service in [`Fleet::services`].
    ServiceId(u32)
    /// Position of a cluster in [`Fleet::clusters`].
    ClusterId(u16)
}

/// The whole fleet file, includes merged and defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    pub host: Host,
    /// In order of rank.
    pub sites: Vec<Site>,
    /// Agents, and the host itself where no agent stands at its site.
    pub vantages: Vec<Vantage>,
    pub services: Vec<Service>,
    pub clusters: Vec<Cluster>,
    pub slots: BTreeMap<String, Slot>,
    pub commands: BTreeMap<String, DeclaredCommand>,
    /// Named actions and channels of action and notify providers: JSON that only the provider understands.
    pub actions: BTreeMap<String, Declared>,
    pub channels: BTreeMap<String, Channel>,
    pub runbooks: BTreeMap<String, toml::Table>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub people: BTreeMap<String, Person>,
}

impl Fleet {
    /// Where a service should be.
    pub fn home(&self, service: &Service) -> Vec<Share> {
        let site = |site: SiteId| self.sites[site.at()].name.clone();
        if service.strategy == Strategy::ActiveActive {
            return service
                .places
                .iter()
                .map(|place| Share { site: site(place.site), per_cent: place.share })
                .collect();
        }
        vec![Share { site: site(service.active_at_start), per_cent: 100 }]
    }
}

/// `[host]`: this host, and what holds for the whole fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    pub site: SiteId,
    pub state: PathBuf,
    /// Where operators' commands are taken: `unix:PATH` or `ADDRESS:PORT` (then with TLS and tokens).
    pub listen: Vec<String>,
    /// Where agents report: `ADDRESS:PORT`; off loopback only with TLS.
    pub agents_listen: Option<String>,
    pub tls: Option<Tls>,
    /// PEM: authorities that providers' TLS trusts besides the machine's.
    pub trust: Option<PathBuf>,
    pub mode: Mode,
    /// IANA name.
    pub time_zone: String,
    /// Silence is no evidence for this long after a start.
    pub warm_up: Millis,
    /// A vantage point whose newest word is older than this does not vote.
    pub freshness: Millis,
    /// Of the fresh domains, the part that has to say bad: from 0.5 (exclusive) to 1.
    pub bad_fraction: f64,
    pub brake: Brake,
    /// Told every `heartbeat_every` that this host lives.
    pub heartbeat_url: Option<String>,
    pub heartbeat_every: Millis,
    /// Directory of the plugins that `file:` refers to; relative to the fleet file.
    pub plugins: Option<PathBuf>,
}

/// Certificate and key, PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whether the host may act at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything is decided and recorded, nothing is done: a move becomes a note.
    Observe,
    Act,
}

/// `[host.brake]`: how much may happen by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Brake {
    /// Incidents at once, and within `window`, beyond which a person has to re-arm.
    pub incidents: u32,
    pub window: Millis,
    /// Targets that turn bad within this time count as "together".
    pub together: Millis,
}

/// `[site.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    pub name: String,
    pub failure_domain: String,
    pub jurisdiction: Option<String>,
    /// Per cent of the full load that it can take.
    pub capacity: u32,
    /// The operator's order of preference: 1 is the best.
    pub rank: u32,
}

/// `[agent.NAME]`, or the host where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Vantage {
    pub name: String,
    pub site: SiteId,
    /// Its site's, unless the file says otherwise.
    pub failure_domain: String,
    /// Name of the secret with the agent's token; none for the host itself.
    pub token: Option<String>,
    /// `tcp://ADDRESS:PORT`: reaching one of them shows that the vantage point is not itself cut off. None = always sound.
    pub control_targets: Vec<String>,
    /// `ADDRESS:PORT` where the other agents ask it whether it knows of a newer epoch; none = it is not asked.
    pub peers_listen: Option<String>,
}

/// `[cluster.NAME]`: a database and its copies.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    pub name: String,
    /// A replication provider's slot.
    pub slot: String,
    /// Standbys that a commit waits for; 0 = none: asynchronous.
    pub wait_for: u32,
    /// From one look at it to the next.
    pub interval: Millis,
    /// Asked of the data itself after a promotion, in the provider's own terms (PostgreSQL: SQL that answers `t`).
    pub verify: Vec<String>,
    /// In the order of the file.
    pub nodes: Vec<ClusterNode>,
    /// All of it in the provider's own words, JSON, with the nodes.
    pub declared: String,
}

/// From the last time that an asynchronous primary's lease was renewed until it has ended for certain.
pub const LEASE_ENDS: Millis = 2_250;

/// `[cluster.NAME.node.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterNode {
    pub name: String,
    pub site: SiteId,
    /// The larger the better; 0 = never promote.
    pub priority: u32,
    /// What the provider has the site's agent run: its own word for it (PostgreSQL: `stop`, `start`, `rejoin`, `rebuild`) →
    /// `[command.NAME]`.
    pub commands: BTreeMap<String, String>,
    /// What else is said of it, in the provider's own words, JSON.
    pub declared: String,
}

impl Cluster {
    /// Its node of that name.
    pub fn node(&self, name: &str) -> Option<&ClusterNode> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// How long its primary may go on acknowledging while a run proves that it does not. Where a commit waits for standbys, it
    /// ends with them; else it ends with the lease.
    pub fn until_proof(&self) -> Millis {
        if self.wait_for == 0 { LEASE_ENDS } else { 0 }
    }
}

/// `[service.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    pub name: String,
    pub tier: Tier,
    pub objectives: Objectives,
    pub strategy: Strategy,
    pub failover: Autonomy,
    pub failback: Autonomy,
    /// A failover policy's slot.
    pub policy: String,
    pub probe: Probe,
    pub route: Option<RouteSpec>,
    pub places: Vec<Place>,
    pub depends_on: Vec<ServiceId>,
    /// Moving by itself on the word of a single failure domain is allowed (services without data only).
    pub one_domain_suffices: bool,
    /// Jurisdictions that it may be served from; empty = any.
    pub jurisdictions: Vec<String>,
    /// After the end of a move, none by itself for this long.
    pub cooldown: Millis,
    /// Before a failback, the preferred site has to have been well for this long.
    pub hold_down: Millis,
    pub maintenance: Vec<Window>,
    /// A person has to approve these before they start: `fail-over`, `switch-over`, `fail-back`, `rebalance`, `run`.
    pub approval: Vec<String>,
    /// Own runbooks instead of the built-in ones: verdict's name → name in `[runbook.*]`.
    pub runbooks: BTreeMap<String, String>,
    /// Channels told of what happens to it; empty = every channel.
    pub notify: Vec<String>,
    pub active_at_start: SiteId,
    /// Its data, which moves with it.
    pub cluster: Option<ClusterId>,
}

impl Service {
    /// Its place at `site`.
    pub fn place(&self, site: SiteId) -> Option<&Place> {
        self.places.iter().find(|place| place.site == site)
    }
}

/// `[service.NAME.probe]`: how it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    pub slot: String,
    pub interval: Millis,
    pub timeout: Millis,
    /// Bad looks in a row that make a vantage point vote bad, and good ones that make it vote good again.
    pub bad: u32,
    pub good: u32,
    /// Looks that `good` and `bad` of an observation are counted over.
    pub window: u32,
}

/// `[service.NAME.at.SITE]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub site: SiteId,
    /// Address or name that the route leads to.
    pub endpoint: String,
    /// What the probe is told, JSON.
    pub target: String,
    /// What it is told instead at these vantage points, which see the place by another address.
    pub from: BTreeMap<String, String>,
    /// Normal share of the traffic in per cent; active-active only.
    pub share: u32,
    /// Part of the site's capacity, in per cent of it, that the whole service needs.
    pub load: u32,
}

impl Place {
    /// What the probe is told at this vantage point, JSON.
    pub fn target_from(&self, vantage: &Vantage) -> &str {
        self.from.get(&vantage.name).unwrap_or(&self.target)
    }
}

/// `[service.NAME.route]`: the name that clients resolve.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSpec {
    /// A DNS provider's slot.
    pub slot: String,
    pub name: String,
    pub ttl_seconds: u32,
    /// The provider's own words about it (record type, …), JSON.
    pub declared: String,
}

/// A recurring maintenance window: weekdays (0 = Monday), from and to in milliseconds of the local day; `to` < `from` ends the next day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub days: Vec<u8>,
    pub hours: RangeInclusive<Millis>,
}

/// `[slot."KIND/NAME"]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// `builtin:NAME` or `file:PATH`.
    pub plugin: String,
    /// Refused if the code's digest is another one.
    pub digest: Option<String>,
    pub settings: serde_json::Value,
    pub grants: Vec<String>,
    /// As the engine reads them.
    pub limits: serde_json::Value,
}

/// `[command.NAME]`: run by an agent, never by a shell.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclaredCommand {
    /// `{name}` is replaced by the argument of that name.
    pub argv: Vec<String>,
    /// Argument → regular expression that the whole value has to match.
    pub arguments: BTreeMap<String, String>,
    pub run_as: Option<String>,
    pub timeout: Millis,
    pub output_max: u64,
    /// Sites whose agents may run it; empty = all.
    pub sites: Vec<SiteId>,
}

/// `[action.NAME]`: a named action of an action provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    pub slot: String,
    /// JSON in the provider's own terms.
    pub declared: String,
}

/// `[channel.NAME]`: where people are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    pub slot: String,
    pub declared: String,
    /// Nothing less severe is sent.
    pub severity: Severity,
}

/// `[secret]`: where a secret is read, again at every reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    Environment(String),
    /// A systemd credential of this name.
    Credential(String),
}

/// `[person.NAME]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// `viewer`, `operator`, `approver`.
    pub roles: Vec<String>,
    /// Name of the secret with their token; none = only over the Unix socket.
    pub token: Option<String>,
}
