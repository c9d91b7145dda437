//! From the fleet file's sections to [`Fleet`]: every key, its default and its range, and what one says of another.
//!
//! Says all that is wrong in one go. Whether a sound file is also a wise one is the business of [`super::check`].

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::document::{Fields, load};
use super::names::Names;
use super::problem::{Problem, Report};
use super::section::Section;
use super::{Fleet, clusters, declarations, hosts, services, slots};

/// Every section of the fleet file, for unknown ones.
const SECTIONS: [&str; 13] = [
    "host", "site", "agent", "slot", "service", "cluster", "command", "action", "channel", "runbook", "secret",
    "person", "defaults",
];

/// Reads the fleet file and what it includes. `read` is asked for each file by its path: `entry` as it is, an include
/// relative to the file that names it.
pub fn parse(entry: &Path, read: &dyn Fn(&Path) -> io::Result<String>) -> Result<Fleet, Vec<Problem>> {
    let (fields, report) = load(entry, read);
    if !report.is_empty() {
        return Err(report.into_problems());
    }
    let fleet = fleet(&report, &fields);
    if report.is_empty() { Ok(fleet) } else { Err(report.into_problems()) }
}

fn fleet(report: &Report, fields: &Fields) -> Fleet {
    refuse_unknown_sections(report, fields);
    let none = Fields::new();
    let part = |name: &str| match fields.get(name) {
        Some(field) => Section::of(report, name.to_owned(), field.key_at, &field.node),
        None => Some(Section::empty(report, name, &none)),
    };
    let all = |name: &str| {
        let sections = part(name).map(|mut section| section.sections()).unwrap_or_default();
        sections.iter().for_each(|(name, section)| refuse_odd_name(name, section));
        sections
    };
    let sites = hosts::sites(report, all("site"));
    let names = Names::new(report, fields, &sites);
    let (host, own_voice) = hosts::host(report, &names, fields.contains_key("host").then(|| part("host")).flatten());
    let clusters = clusters::clusters(&names, all("cluster"));
    let services = services::services(report, &names, fields, &clusters);
    Fleet {
        vantages: hosts::vantages(&names, &sites, &host, own_voice, all("agent")),
        slots: slots::slots(&names, all("slot"), &services, &clusters),
        commands: declarations::commands(&names, all("command")),
        actions: declarations::actions(&names, all("action")),
        channels: declarations::channels(&names, all("channel")),
        runbooks: runbooks(all("runbook")),
        secrets: part("secret").map(declarations::secrets).unwrap_or_default(),
        people: declarations::people(&names, all("person")),
        host,
        services,
        clusters,
        sites: sites.clone(),
    }
}

/// A runbook's steps are read by the runbooks' own module.
fn runbooks(sections: Vec<(&str, Section<'_>)>) -> BTreeMap<String, toml::Table> {
    let table = |section: Section<'_>| {
        let entries = section.entries();
        entries.map(|(key, field)| (key.clone(), field.node.value.to_toml())).collect()
    };
    sections.into_iter().map(|(name, section)| (name.to_owned(), table(section))).collect()
}

/// Names stand in journals, addresses and commands.
fn refuse_odd_name(name: &str, section: &Section<'_>) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
        let todo = "use 1 to 63 letters, digits, `-`, `_` and `.`";
        section.report.error(section.at, format!("\"{name}\" cannot be a name"), todo);
    }
}

fn refuse_unknown_sections(report: &Report, fields: &Fields) {
    for (name, field) in fields.iter().filter(|(name, _)| !SECTIONS.contains(&name.as_str())) {
        let meant = super::problem::did_you_mean(name, SECTIONS);
        let todo = format!("take it out, or use one of: {}", SECTIONS.join(", "));
        report.error(field.key_at, format!("unknown section `{name}`{meant}"), todo);
    }
}
