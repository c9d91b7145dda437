//! `[cluster.*]`: databases, where their copies stand, and how many of them a commit waits for.
//!
//! Knows nothing of what a database is: what a provider wants to be told stays in the provider's own words.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::Field;
use super::names::Names;
use super::section::{Section, Word, text_of};
use super::{Cluster, ClusterNode, Service, SiteId};

/// A provider's word for the command that stops a node for certain.
pub const STOP: &str = "stop";
/// How often a cluster is looked at unless the file says otherwise.
const INTERVAL: u64 = 250;

pub(super) fn clusters(names: &Names<'_>, sections: Vec<(&str, Section<'_>)>) -> Vec<Cluster> {
    sections.into_iter().map(|(name, section)| cluster(names, name, section)).collect()
}

fn cluster(names: &Names<'_>, name: &str, mut section: Section<'_>) -> Cluster {
    let slot = section.word("slot");
    slot.iter().for_each(|word| names.slot("replication", word));
    let interval = section.duration("interval", INTERVAL);
    if interval < 100 {
        section.report.error(section.spot("interval"), "`interval` is shorter than 100ms", "look every 100ms at most");
    }
    section.need("node", &format!("declare where its copies stand: [cluster.{name}.node.NAME]"));
    let nodes: Vec<ClusterNode> = match section.section("node") {
        Some(mut nodes) => nodes.sections().into_iter().map(|(name, section)| node(names, name, section)).collect(),
        None => Vec::new(),
    };
    let wait_for = section.number("synchronous", 0..=64, 0);
    if wait_for as usize >= nodes.len().max(1) {
        let what = format!("a commit would wait for {wait_for} standbys, and {} can have it", nodes.len().max(1) - 1);
        section.report.error(section.spot("synchronous"), what, "declare more nodes, or wait for fewer");
    }
    let (verify, slot) = (section.texts("verify"), slot.map(|word| word.text));
    let own = section.rest();
    Cluster {
        name: name.to_owned(),
        slot: slot.unwrap_or_else(|| "replication/postgres".to_owned()),
        wait_for,
        interval,
        verify,
        declared: declared(&own, wait_for, names, &nodes),
        nodes,
    }
}

fn node(names: &Names<'_>, name: &str, mut section: Section<'_>) -> ClusterNode {
    let site = section.needed_word("site", "name the site where it stands: site = \"…\"");
    let commands = section.section("commands").map(|section| commands(names, section)).unwrap_or_default();
    ClusterNode {
        name: name.to_owned(),
        site: site.and_then(|word| names.site(&word)).unwrap_or(SiteId(0)),
        priority: section.number("priority", 0..=1_000, 100),
        commands,
        declared: section.rest(),
    }
}

/// What the provider has the site's agent run: its own word for it → `[command.NAME]`.
fn commands(names: &Names<'_>, section: Section<'_>) -> BTreeMap<String, String> {
    let command = |(role, field): (&String, &Field)| {
        let word = text_of(section.report, role, &field.node)?;
        names.command(&word);
        Some((role.clone(), word.text))
    };
    section.entries().filter_map(command).collect()
}

/// All of it as the provider is told it.
fn declared(own: &str, wait_for: u32, names: &Names<'_>, nodes: &[ClusterNode]) -> String {
    let mut all: Value = serde_json::from_str(own).unwrap_or_default();
    let node = |node: &ClusterNode| {
        let mut told: Value = serde_json::from_str(&node.declared).unwrap_or_default();
        told["name"] = json!(node.name);
        told["site"] = json!(names.site_name(node.site));
        told["priority"] = json!(node.priority);
        told["commands"] = json!(node.commands);
        told
    };
    all["synchronous"] = json!(wait_for);
    all["nodes"] = nodes.iter().map(node).collect();
    all.to_string()
}

/// A cluster moves with its service, so it has one at most, and a node where each of the service's places is.
pub(super) fn refuse_odd_owners(names: &Names<'_>, services: &[Service], clusters: &[Cluster], words: &[Word]) {
    let mut seen = Vec::new();
    for word in words {
        if seen.contains(&word.text.as_str()) {
            let todo = "let the services that share it depend on one service that has it";
            names.refuse(word, format!("a second service has the cluster \"{}\"", word.text), todo);
        }
        seen.push(&word.text);
    }
    for service in services {
        let Some(cluster) = service.cluster.and_then(|id| clusters.get(id.at())) else { continue };
        let word = words.iter().find(|word| word.text == cluster.name);
        if let Some(word) = word.filter(|_| service.one_domain_suffices) {
            let what = format!("`one-domain-suffices` is not for a service with data, and {} has some", service.name);
            names.refuse(word, what, "take one-domain-suffices out: data moves only where three failure domains look");
        }
        let bare = service.places.iter().find(|place| !cluster.nodes.iter().any(|node| node.site == place.site));
        if let (Some(place), Some(word)) = (bare, word) {
            let what = format!("{} has no node at {}", cluster.name, names.site_name(place.site));
            names.refuse(word, what, "declare a node there, or take the place out: its data could not go there");
        }
    }
}
