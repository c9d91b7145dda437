//! Every name that the fleet file declares, so that each reference to one can be looked up.
//!
//! Knows names only, not what they stand for.

use std::collections::BTreeSet;

use super::document::{Fields, Value};
use super::problem::{Report, did_you_mean};
use super::section::Word;
use super::slots::BUILT_IN;
use super::{ClusterId, ServiceId, Site, SiteId};

pub(super) struct Names<'a> {
    report: &'a Report,
    sites: Vec<&'a str>,
    /// In the order of the file: a service's position is its id.
    services: Vec<&'a str>,
    agents: BTreeSet<&'a str>,
    slots: BTreeSet<&'a str>,
    secrets: BTreeSet<&'a str>,
    commands: BTreeSet<&'a str>,
    channels: BTreeSet<&'a str>,
    runbooks: BTreeSet<&'a str>,
    /// In the order of the file: a cluster's position is its id.
    clusters: Vec<&'a str>,
}

impl<'a> Names<'a> {
    pub(super) fn new(report: &'a Report, fields: &'a Fields, sites: &'a [Site]) -> Names<'a> {
        let set = |section| in_order(fields, section).into_iter().collect();
        let mut slots: BTreeSet<&str> = set("slot");
        slots.extend(BUILT_IN.iter().map(|(name, _)| *name));
        Names {
            report,
            sites: sites.iter().map(|site| site.name.as_str()).collect(),
            services: in_order(fields, "service"),
            agents: set("agent"),
            slots,
            secrets: set("secret"),
            commands: set("command"),
            channels: set("channel"),
            runbooks: set("runbook"),
            clusters: in_order(fields, "cluster"),
        }
    }

    pub(super) fn site(&self, word: &Word) -> Option<SiteId> {
        let at = self.sites.iter().position(|name| *name == word.text);
        self.tell_missing(at.is_some(), "site", word, &self.sites);
        at.map(|at| SiteId(at as u16))
    }

    pub(super) fn service(&self, word: &Word) -> Option<ServiceId> {
        let at = self.services.iter().position(|name| *name == word.text);
        self.tell_missing(at.is_some(), "service", word, &self.services);
        at.map(|at| ServiceId(at as u32))
    }

    pub(super) fn cluster(&self, word: &Word) -> Option<ClusterId> {
        let at = self.clusters.iter().position(|name| *name == word.text);
        self.tell_missing(at.is_some(), "cluster", word, &self.clusters);
        at.map(|at| ClusterId(at as u16))
    }

    pub(super) fn site_name(&self, site: SiteId) -> &'a str {
        self.sites.get(site.at()).copied().unwrap_or_default()
    }

    pub(super) fn refuse(&self, word: &Word, what: String, todo: &str) {
        self.report.error(word.at, what, todo);
    }

    /// A slot that holds a plugin of this kind.
    pub(super) fn slot(&self, kind: &str, word: &Word) {
        let of_kind = |name: &&&str| name.split('/').next() == Some(kind);
        let known: Vec<&str> = self.slots.iter().filter(of_kind).copied().collect();
        if self.slots.contains(word.text.as_str()) && !known.contains(&word.text.as_str()) {
            let todo = format!("name a slot \"{kind}/…\"");
            self.report.error(word.at, format!("slot \"{}\" is of another kind than \"{kind}\"", word.text), todo);
        } else {
            self.tell_missing(known.contains(&word.text.as_str()), "slot", word, &known);
        }
    }

    pub(super) fn agent(&self, word: &Word) {
        self.look_up("agent", &self.agents, word);
    }

    pub(super) fn secret(&self, word: &Word) {
        self.look_up("secret", &self.secrets, word);
    }

    pub(super) fn command(&self, word: &Word) {
        self.look_up("command", &self.commands, word);
    }

    pub(super) fn channel(&self, word: &Word) {
        self.look_up("channel", &self.channels, word);
    }

    pub(super) fn runbook(&self, word: &Word) {
        self.look_up("runbook", &self.runbooks, word);
    }

    fn look_up(&self, kind: &str, known: &BTreeSet<&'a str>, word: &Word) {
        let names: Vec<&str> = known.iter().copied().collect();
        self.tell_missing(known.contains(word.text.as_str()), kind, word, &names);
    }

    fn tell_missing(&self, found: bool, kind: &str, word: &Word, known: &[&str]) {
        if found {
            return;
        }
        let meant = did_you_mean(&word.text, known.iter().copied());
        let todo = match (kind, known) {
            ("secret", _) => format!("declare it: [secret] {} = {{ file = \"…\" }}", word.text),
            ("slot", _) => format!("declare it: [slot.\"{}\"] plugin = \"…\"", word.text),
            (_, []) => format!("declare it: [{kind}.{}]", word.text),
            (_, known) => format!("declare [{kind}.{}], or use one of: {}", word.text, known.join(", ")),
        };
        self.report.error(word.at, format!("there is no {kind} \"{}\"{meant}", word.text), todo);
    }
}

/// The names in a section, in the order of the file.
fn in_order<'a>(fields: &'a Fields, section: &str) -> Vec<&'a str> {
    let Some(Value::Table(fields)) = fields.get(section).map(|field| &field.node.value) else { return Vec::new() };
    let mut names: Vec<_> = fields.iter().map(|(name, field)| (field.key_at, name.as_str())).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}
