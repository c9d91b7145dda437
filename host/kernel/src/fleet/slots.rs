//! `[slot."KIND/NAME"]`: which plugin works where, with which settings, grants and limits.
//!
//! Knows nothing of what a plugin wants; grants and limits are read in full by the engine.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Fields;
use super::names::Names;
use super::section::{Section, Word};
use super::{Cluster, Service, Slot};

/// Slots that need no declaration: name and plugin. A declared slot of the same name replaces it.
pub(super) const BUILT_IN: [(&str, &str); 4] = [
    ("failover/default", "builtin:failover-quorum"),
    ("probe/http", "builtin:probe-http"),
    ("probe/tcp", "builtin:probe-tcp"),
    ("replication/postgres", "builtin:replication-postgres"),
];

/// Where a cluster names the secrets that its built-in provider logs in with.
const SECRET_KEYS: [&str; 2] = ["password", "replication-password"];

const KINDS: [&str; 11] = [
    "failover",
    "retention",
    "tiering",
    "cost",
    "probe",
    "dns",
    "replication",
    "storage",
    "action",
    "signal",
    "notify",
];

/// What a grant names after its colon; the others are addresses.
const CONNECT_SCHEMES: [&str; 4] = ["tcp", "udp", "http", "https"];

pub(super) fn slots(
    names: &Names<'_>,
    sections: Vec<(&str, Section<'_>)>,
    services: &[Service],
    clusters: &[Cluster],
) -> BTreeMap<String, Slot> {
    let mut slots: BTreeMap<String, Slot> =
        sections.into_iter().map(|(name, section)| (name.to_owned(), slot(names, name, section))).collect();
    for (name, plugin) in BUILT_IN {
        let used = services.iter().any(|service| service.policy == name || service.probe.slot == name)
            || clusters.iter().any(|cluster| cluster.slot == name);
        if used && !slots.contains_key(name) {
            let grants =
                if name.starts_with("replication/") { reached(name, clusters) } else { looked_at(name, services) };
            slots.insert(name.to_owned(), built_in(plugin, grants));
        }
    }
    slots
}

fn slot(names: &Names<'_>, name: &str, mut section: Section<'_>) -> Slot {
    let (kind, own_name) = name.split_once('/').unwrap_or((name, ""));
    if !KINDS.contains(&kind) || own_name.is_empty() {
        let todo = format!("call it [slot.\"KIND/NAME\"] with one of these kinds: {}", KINDS.join(", "));
        section.report.error(section.at, format!("\"{name}\" is no slot's name"), todo);
    }
    let plugin = section.needed_word("plugin", "name its code: plugin = \"builtin:NAME\" or \"file:PATH\"");
    plugin.iter().for_each(|word| check_plugin(&section, word));
    let digest = section.word("digest");
    digest.iter().for_each(|word| check_digest(&section, word));
    let grants = section.words("grants").unwrap_or_default();
    grants.iter().for_each(|word| check_grant(names, &section, word));
    let none = Fields::new();
    let mut json =
        |key| section.section(key).map_or_else(|| Section::empty(section.report, key, &none).json(), |s| s.json());
    let (settings, limits) = (json("settings"), json("limits"));
    section.finish();
    let text = |word: Option<Word>| word.map(|word| word.text);
    Slot {
        plugin: text(plugin).unwrap_or_default(),
        digest: text(digest),
        settings,
        grants: grants.into_iter().map(|word| word.text).collect(),
        limits,
    }
}

fn check_plugin(section: &Section<'_>, word: &Word) {
    let known =
        ["builtin:", "file:"].iter().any(|prefix| word.text.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()));
    if !known {
        let todo = "write \"builtin:NAME\" for a plugin that comes with the host, or \"file:PATH\"";
        section.report.error(word.at, format!("`plugin` cannot be \"{}\"", word.text), todo);
    }
}

fn check_digest(section: &Section<'_>, word: &Word) {
    let hex = word.text.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
        let todo = "write \"sha256:\" and 64 hexadecimal digits, as `tidegate plugin inspect` prints it";
        section.report.error(word.at, "`digest` is no SHA-256 digest", todo);
    }
}

fn check_grant(names: &Names<'_>, section: &Section<'_>, word: &Word) {
    let named = |rest: &str| Word { at: word.at, text: rest.to_owned() };
    match word.text.split_once(':') {
        Some(("secret", name)) => names.secret(&named(name)),
        Some(("command", name)) => names.command(&named(name)),
        Some(("directory", path)) if !path.is_empty() => {}
        Some((scheme, rest)) if CONNECT_SCHEMES.contains(&scheme) && rest.len() > 2 && rest.starts_with("//") => {}
        _ => {
            let todo = "write \"tcp://HOST:PORT\" (or udp, http, https, tls), \"secret:NAME\", \"directory:NAME=PATH\" or \"command:NAME\"";
            section.report.error(word.at, format!("\"{}\" is no grant", word.text), todo);
        }
    }
}

/// A built-in probe may reach what the services that use it declare as their targets, and nothing else.
fn looked_at(name: &str, services: &[Service]) -> BTreeSet<String> {
    let users = services.iter().filter(|service| service.probe.slot == name);
    let targets =
        users.flat_map(|service| &service.places).flat_map(|place| place.from.values().chain([&place.target]));
    targets.filter_map(|target| origin(target)).collect()
}

/// The built-in replication provider may reach the nodes of the clusters that use it, run what they declare, and log in with
/// the secrets that they name.
fn reached(name: &str, clusters: &[Cluster]) -> BTreeSet<String> {
    let users = clusters.iter().filter(|cluster| cluster.slot == name);
    let grants = users.flat_map(|cluster| {
        let own: serde_json::Value = serde_json::from_str(&cluster.declared).unwrap_or_default();
        let secrets = SECRET_KEYS.iter().filter_map(|key| Some(format!("secret:{}", own.get(key)?.as_str()?)));
        let addresses = cluster.nodes.iter().filter_map(|node| origin(&node.declared));
        let commands =
            cluster.nodes.iter().flat_map(|node| node.commands.values().map(|name| format!("command:{name}")));
        secrets.collect::<Vec<_>>().into_iter().chain(addresses).chain(commands).collect::<Vec<_>>()
    });
    grants.collect()
}

fn built_in(plugin: &str, grants: BTreeSet<String>) -> Slot {
    Slot {
        plugin: plugin.to_owned(),
        digest: None,
        settings: serde_json::json!({}),
        grants: grants.into_iter().collect(),
        limits: serde_json::json!({}),
    }
}

/// Of `{"url": "http://shop:8080/health"}` "http://shop:8080", of `{"address": "db:5432"}` "tcp://db:5432".
fn origin(target: &str) -> Option<String> {
    let target: serde_json::Value = serde_json::from_str(target).ok()?;
    if let Some(address) = target.get("address").and_then(|address| address.as_str()) {
        return Some(format!("tcp://{address}"));
    }
    let (scheme, rest) = target.get("url")?.as_str()?.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{authority}"))
}
