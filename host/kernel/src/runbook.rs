//! Runbooks: what is done for a verdict, step by step, as data that a person can read, print and bring along.
//!
//! A runbook becomes the steps of a run by [`Runbook::steps`]; which of them may start and what follows is
//! [`crate::saga`]'s. Knows nothing of providers beyond the name of the slot that a step calls.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::contract::{Endpoint, Epoch, Fact, Invocation, Millis, Problem, Route, Share, Shift};
use crate::event::Action;
use crate::fleet::{Cluster, Fleet, Service};
use crate::guard::Kind;
use crate::saga::StepState;
use crate::state::Step;

mod check;
mod data;
mod unfold;

pub use data::REJOIN;

/// Steps with what they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Runbook {
    /// What it is for.
    pub summary: String,
    pub(crate) steps: Vec<Template>,
}

/// For what a runbook becomes steps.
#[derive(Clone, Copy, Debug)]
pub struct Occasion<'a> {
    /// The whole fleet file.
    pub fleet: &'a Fleet,
    /// The service that the run is of.
    pub service: &'a Service,
    /// Where it is served, by share.
    pub before: &'a [Share],
    /// Where it will be.
    pub after: &'a [Share],
    /// In how many steps; empty = one.
    pub shifts: &'a [Shift],
    /// Its route's time to live.
    pub ttl_seconds: u32,
    /// Arguments of a `run` verdict: placeholders beside `service`, `from` and `to`.
    pub arguments: &'a [Fact],
    /// What is to be done to its database.
    pub data: Option<DataOccasion<'a>>,
}

/// For what a runbook's steps on a database are.
#[derive(Clone, Copy, Debug)]
pub struct DataOccasion<'a> {
    /// As declared.
    pub cluster: &'a Cluster,
    /// The node that is held to be the primary.
    pub primary: &'a str,
    /// The node to promote; none = the primary stays.
    pub candidate: Option<&'a str>,
    /// The primary is stopped cleanly, and becomes a standby at once.
    pub planned: bool,
    /// The nodes to stop, or to make standbys again.
    pub nodes: &'a [String],
    /// Nodes of which nothing is expected.
    pub outside: &'a [String],
    /// The run's.
    pub epoch: Epoch,
}

/// A step as the file has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Template {
    name: String,
    /// None = the step before it.
    needs: Option<Vec<String>>,
    #[serde(default)]
    check_ready: bool,
    #[serde(default)]
    route: bool,
    #[serde(default)]
    await_healthy: bool,
    data: Option<data::Part>,
    hold: Option<String>,
    confirm: Option<String>,
    action: Option<String>,
    command: Option<String>,
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    /// Where a command runs; none = at the target.
    site: Option<String>,
    timeout: Option<String>,
    #[serde(default)]
    retries: u32,
    verify: Option<CallTemplate>,
    #[serde(default)]
    approval: bool,
    undo: Option<Undo>,
    #[serde(default)]
    point_of_no_return: bool,
    #[serde(default)]
    optional: bool,
    manual: Option<String>,
}

/// `undo = true` for an action that can undo itself, or another call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Undo {
    Itself(bool),
    Call(CallTemplate),
}

/// A call within a step: its check or its undo.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct CallTemplate {
    action: Option<String>,
    command: Option<String>,
    #[serde(default)]
    arguments: BTreeMap<String, String>,
    site: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    summary: String,
    step: Vec<Template>,
}

impl Runbook {
    /// Reads `[runbook.NAME]`, and finds every problem that can be found without the rest of the fleet file.
    pub fn parse(table: &toml::Table) -> Result<Runbook, Vec<Problem>> {
        let file: File = toml::Value::Table(table.clone())
            .try_into()
            .map_err(|error: toml::de::Error| vec![Problem { at: String::new(), text: error.message().to_owned() }])?;
        let runbook = Runbook { summary: file.summary, steps: file.step };
        let problems = check::problems(&runbook.steps);
        if problems.is_empty() { Ok(runbook) } else { Err(problems) }
    }

    /// What it names that the fleet file does not have.
    pub fn undeclared(&self, fleet: &Fleet) -> Vec<Problem> {
        check::undeclared(&self.steps, fleet)
    }

    /// The runbook that a service uses for a kind of change: its own, else the built-in one, which is another for services with
    /// a database.
    pub fn for_service(fleet: &Fleet, service: &Service, kind: Kind) -> Result<(String, Runbook), Vec<Problem>> {
        match service.runbooks.get(kind.name()) {
            Some(own) => Ok((own.clone(), Runbook::named(fleet, own)?)),
            None => Ok((kind.name().to_owned(), Runbook::built_in(kind, service.cluster.is_some())?)),
        }
    }

    /// A runbook of the fleet file; or the built-in one that makes a node a standby again.
    pub fn named(fleet: &Fleet, name: &str) -> Result<Runbook, Vec<Problem>> {
        if name == REJOIN && !fleet.runbooks.contains_key(name) {
            return Runbook::of_text(name, include_str!("runbook/rejoin.toml"));
        }
        let missing = || vec![Problem { at: name.to_owned(), text: "the fleet file has no such runbook".into() }];
        Runbook::parse(fleet.runbooks.get(name).ok_or_else(missing)?)
    }

    /// The default for a kind of change.
    pub fn built_in(kind: Kind, data: bool) -> Result<Runbook, Vec<Problem>> {
        let text = match kind {
            Kind::FailOver if data => include_str!("runbook/fail-over-data.toml"),
            Kind::SwitchOver | Kind::FailBack if data => include_str!("runbook/switch-over-data.toml"),
            Kind::Fence => include_str!("runbook/fence.toml"),
            Kind::FailOver => include_str!("runbook/fail-over.toml"),
            Kind::SwitchOver => include_str!("runbook/switch-over.toml"),
            Kind::FailBack => include_str!("runbook/fail-back.toml"),
            Kind::Rebalance => include_str!("runbook/rebalance.toml"),
            Kind::Reapply => include_str!("runbook/reapply.toml"),
            Kind::Run => "step = []",
        };
        Runbook::of_text(kind.name(), text)
    }

    fn of_text(name: &str, text: &str) -> Result<Runbook, Vec<Problem>> {
        let table: toml::Table =
            text.parse().map_err(|error| vec![Problem { at: name.into(), text: format!("{error}") }])?;
        Runbook::parse(&table)
    }

    /// The steps of a run.
    pub fn steps(&self, occasion: &Occasion) -> Result<Vec<Step>, Problem> {
        unfold::unfold(&self.steps, occasion)
    }

    /// Whether it changes anything outside: a plan of waits alone moves nothing.
    pub fn acts(&self, service: &Service) -> bool {
        self.steps.iter().any(|step| {
            step.action.is_some()
                || step.command.is_some()
                || step.data.is_some()
                || step.route && service.route.is_some()
        })
    }

    /// Whether it leads traffic elsewhere.
    pub fn routes(&self) -> bool {
        self.steps.iter().any(|step| step.route)
    }
}

/// Where the name leads when the traffic is shared out like this.
pub fn endpoints(fleet: &Fleet, service: &Service, shares: &[Share]) -> Vec<Endpoint> {
    let place = |share: &Share| {
        let at = service.places.iter().find(|place| fleet.sites[place.site.at()].name == share.site)?;
        Some(Endpoint { site: share.site.clone(), target: at.endpoint.clone(), weight: share.per_cent })
    };
    shares.iter().filter(|share| share.per_cent > 0).filter_map(place).collect()
}

/// What a step does, in a few words.
pub fn describe(action: &Action) -> String {
    match action {
        Action::PointRoute { route, .. } => format!("point {} at {}", route.name, targets(&route.endpoints)),
        Action::CheckReady { service, to } => format!("check that all that {service} needs at {to} works"),
        Action::PerformAction { name, arguments, .. } => format!("action {name} {arguments}"),
        Action::UndoAction { name, .. } => format!("undo action {name}"),
        Action::RunCommand { site, invocation } => format!("command {} at {site}", invocation.runbook),
        Action::Fence { cluster, node } => format!("stop node {node} of {cluster}, and prove it"),
        Action::Unfence { cluster, node } => format!("let node {node} of {cluster} serve again"),
        Action::Detach { cluster, node } => format!("stop node {node} of {cluster} from receiving"),
        Action::ReadPositions { cluster } => format!("read how far each node of {cluster} has come"),
        Action::CatchUp { cluster, node, source } if source.is_empty() => {
            format!("let node {node} of {cluster} catch up with the most advanced")
        }
        Action::CatchUp { cluster, node, source } => format!("let node {node} of {cluster} catch up with {source}"),
        Action::Promote { cluster, node } => format!("make node {node} the primary of {cluster}"),
        Action::Rejoin { cluster, node, primary } => format!("make node {node} of {cluster} follow {primary}"),
        Action::SetSynchronous { cluster, node, set } if set.wait_for == 0 => {
            format!("commits on node {node} of {cluster} wait for nobody")
        }
        Action::SetSynchronous { cluster, node, set } => {
            format!("commits on node {node} of {cluster} wait for {} of {}", set.wait_for, set.nodes.join(", "))
        }
        Action::VerifyData { cluster, node, checks } => format!("ask node {node} of {cluster} {} checks", checks.len()),
        Action::AwaitProof { cluster, node } => {
            format!("wait until it is proven that node {node} of {cluster} acknowledges nothing")
        }
        Action::AwaitHealthy { service, site } => format!("wait until {service} is healthy at {site}"),
        Action::Hold { duration } => format!("hold for {} s, then ask the policy again", duration / 1_000),
        Action::Confirm { text } => format!("ask a person: {text}"),
    }
}

/// "198.51.100.7 (west 90 %), 203.0.113.7 (east 10 %)".
pub fn targets(endpoints: &[Endpoint]) -> String {
    if endpoints.is_empty() {
        return "nothing".into();
    }
    let one = |e: &Endpoint| format!("{} ({} {} %)", e.target, if e.site.is_empty() { "?" } else { &e.site }, e.weight);
    endpoints.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The traffic's parts after a shift of so many per cent; they add up to 100.
fn mix(before: &[Share], after: &[Share], shifted: u32) -> Vec<Share> {
    let mut mixed: BTreeMap<&str, u32> = BTreeMap::new();
    for share in after {
        *mixed.entry(&share.site).or_default() += share.per_cent * shifted / 100;
    }
    for share in before {
        *mixed.entry(&share.site).or_default() += share.per_cent * (100 - shifted) / 100;
    }
    // What rounding left over goes to where the traffic is going.
    let missing = 100u32.saturating_sub(mixed.values().sum());
    if let Some(share) = mixed.get_mut(crate::state::largest(after)) {
        *share += missing;
    }
    mixed.into_iter().map(|(site, per_cent)| Share { site: site.to_owned(), per_cent }).collect()
}

fn duration(text: Option<&String>, default: Millis) -> Millis {
    text.and_then(|text| crate::fleet::parse_duration(text)).unwrap_or(default)
}

fn route_to(occasion: &Occasion, shares: &[Share]) -> Option<Action> {
    let spec = occasion.service.route.as_ref()?;
    let route = Route {
        name: spec.name.clone(),
        ttl_seconds: occasion.ttl_seconds,
        endpoints: endpoints(occasion.fleet, occasion.service, shares),
        written_by: None,
        age: 0,
        facts: vec![Fact { key: "declared".into(), value: spec.declared.clone() }],
    };
    Some(Action::PointRoute { slot: spec.slot.clone(), route })
}
