//! `[command.*]`, `[action.*]`, `[channel.*]`, `[secret]` and `[person.*]`: what may be run, called, told, read, and by whom.

use std::collections::{BTreeMap, BTreeSet};

use super::document::Field;
use super::names::Names;
use super::section::{Section, beside, choose, text_of};
use super::{Channel, Declared, DeclaredCommand, Person, SecretSource, SiteId};
use crate::contract::Severity;

const SEVERITIES: [(&str, Severity); 3] =
    [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

const ROLES: [(&str, &str); 3] = [("viewer", "viewer"), ("operator", "operator"), ("approver", "approver")];

type Sections<'a> = Vec<(&'a str, Section<'a>)>;

pub(super) fn commands(names: &Names<'_>, sections: Sections<'_>) -> BTreeMap<String, DeclaredCommand> {
    sections.into_iter().map(|(name, section)| (name.to_owned(), command(names, section))).collect()
}

fn command(names: &Names<'_>, mut section: Section<'_>) -> DeclaredCommand {
    const ARGV: &str = "write the program and its arguments: argv = [\"/usr/bin/systemctl\", \"stop\", \"{unit}\"]";
    section.need("argv", ARGV);
    let argv = section.texts("argv");
    let arguments = section.section("arguments").map(patterns).unwrap_or_default();
    tell_odd_arguments(&section, &argv, &arguments);
    let sites = section.words("sites").unwrap_or_default();
    let command = DeclaredCommand {
        argv,
        arguments,
        run_as: section.text("run-as"),
        timeout: section.duration("timeout", 30_000),
        output_max: u64::from(section.number("output-max", 0..=16_777_216, 65_536)),
        sites: sites.iter().filter_map(|word| names.site(word)).collect::<Vec<SiteId>>(),
    };
    section.finish();
    command
}

fn patterns(section: Section<'_>) -> BTreeMap<String, String> {
    let report = section.report;
    let pattern = |(name, field): (&String, &Field)| Some((name.clone(), text_of(report, name, &field.node)?.text));
    section.entries().filter_map(pattern).collect()
}

/// No argument without a pattern, no pattern without an argument, and the program itself is never one.
fn tell_odd_arguments(section: &Section<'_>, argv: &[String], arguments: &BTreeMap<String, String>) {
    let used: BTreeSet<&str> = argv.iter().flat_map(|word| placeholders(word)).collect();
    for name in used.iter().filter(|name| !arguments.contains_key(**name)) {
        let todo = format!("declare what it may be: arguments = {{ {name} = \"[a-z0-9-]+\" }}");
        section.report.error(section.spot("argv"), format!("`{{{name}}}` has no pattern"), todo);
    }
    for name in arguments.keys().filter(|name| !used.contains(name.as_str())) {
        let what = format!("the argument `{name}` is not used");
        section.report.error(section.spot("arguments"), what, format!("write {{{name}}} in argv, or take it out"));
    }
    if argv.first().is_some_and(|program| !program.starts_with('/') || !placeholders(program).is_empty()) {
        let todo = "write its absolute path, without arguments in it";
        section.report.error(section.spot("argv"), format!("\"{}\" is no fixed program", argv[0]), todo);
    }
}

fn placeholders(word: &str) -> Vec<&str> {
    let after_brace = word.split('{').skip(1);
    after_brace.filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}

pub(super) fn actions(names: &Names<'_>, sections: Sections<'_>) -> BTreeMap<String, Declared> {
    sections.into_iter().map(|(name, section)| (name.to_owned(), action(names, section))).collect()
}

fn action(names: &Names<'_>, mut section: Section<'_>) -> Declared {
    let slot = section.needed_word("slot", "name the action provider's slot: slot = \"action/…\"");
    slot.iter().for_each(|word| names.slot("action", word));
    Declared { slot: slot.map(|word| word.text).unwrap_or_default(), declared: section.rest() }
}

pub(super) fn channels(names: &Names<'_>, sections: Sections<'_>) -> BTreeMap<String, Channel> {
    sections.into_iter().map(|(name, section)| (name.to_owned(), channel(names, section))).collect()
}

fn channel(names: &Names<'_>, mut section: Section<'_>) -> Channel {
    let slot = section.needed_word("slot", "name the notify provider's slot: slot = \"notify/…\"");
    slot.iter().for_each(|word| names.slot("notify", word));
    let severity = section.choice("severity", &SEVERITIES, Severity::Info);
    Channel { slot: slot.map(|word| word.text).unwrap_or_default(), severity, declared: section.rest() }
}

/// `NAME = { file = "…" }`, `{ env = "…" }` or `{ credential = "…" }`.
pub(super) fn secrets(mut section: Section<'_>) -> BTreeMap<String, SecretSource> {
    let sources = section.sections().into_iter();
    sources.filter_map(|(name, section)| Some((name.to_owned(), secret(section)?))).collect()
}

fn secret(mut section: Section<'_>) -> Option<SecretSource> {
    let file = section.word("file").map(|word| SecretSource::File(beside(section.report, &word)));
    let variable = section.text("env").map(SecretSource::Environment);
    let credential = section.text("credential").map(SecretSource::Credential);
    let mut sources: Vec<SecretSource> = [file, variable, credential].into_iter().flatten().collect();
    if sources.len() != 1 {
        let what = format!("the secret has {} sources", if sources.is_empty() { "no" } else { "several" });
        let todo = "name one: { file = \"PATH\" }, { env = \"VARIABLE\" } or { credential = \"NAME\" }";
        section.report.error(section.at, what, todo);
    }
    section.finish();
    sources.pop()
}

pub(super) fn people(names: &Names<'_>, sections: Sections<'_>) -> BTreeMap<String, Person> {
    sections.into_iter().map(|(name, section)| (name.to_owned(), person(names, section))).collect()
}

fn person(names: &Names<'_>, mut section: Section<'_>) -> Person {
    section.need("roles", "say what they may do: roles = [\"viewer\"], and \"operator\", \"approver\"");
    let roles = section.words("roles").unwrap_or_default();
    let roles = roles.iter().filter_map(|word| choose(section.report, "roles", word, &ROLES)).map(str::to_owned);
    let roles = roles.collect();
    let token = section.word("token");
    token.iter().for_each(|word| names.secret(word));
    section.finish();
    Person { roles, token: token.map(|word| word.text) }
}
