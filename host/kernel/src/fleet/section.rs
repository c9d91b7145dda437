//! Reads one table key by key: each value in its type and range, and in the end whatever nobody asked for.
//!
//! Knows no key by name. What is wrong is reported and replaced by the default, so that one mistake hides no other.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::document::{Field, Fields, Node, Value, fields_to_json};
use super::duration::parse_duration;
use super::problem::{Report, Spot, did_you_mean};
use crate::contract::Millis;

const DURATION_TODO: &str = "write a number and a unit: \"800ms\", \"30s\", \"5m\", \"2h\", \"1d\"";

pub(super) struct Section<'a> {
    pub(super) report: &'a Report,
    /// As the file writes it: "[service.shop.probe]".
    pub(super) name: String,
    pub(super) at: Spot,
    fields: &'a Fields,
    asked: Vec<&'static str>,
}

/// One word of a list or a value, with its place.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) at: Spot,
    pub(super) text: String,
}

impl<'a> Section<'a> {
    /// None, and a problem, if the value is no table.
    pub(super) fn of(report: &'a Report, name: String, at: Spot, node: &'a Node) -> Option<Section<'a>> {
        match &node.value {
            Value::Table(fields) => Some(Section { report, name, at, fields, asked: Vec::new() }),
            other => {
                let what = format!("`{name}` is {}, not a table", other.kind());
                report.error(node.at, what, format!("write [{name}] and its keys below"));
                None
            }
        }
    }

    /// A table that the file leaves out.
    pub(super) fn empty(report: &'a Report, name: &str, fields: &'a Fields) -> Section<'a> {
        Section { report, name: name.to_owned(), at: Spot::default(), fields, asked: Vec::new() }
    }

    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        self.fields.get(key).map(|field| &field.node)
    }

    /// As [`Section::get`], and a problem if it is missing.
    pub(super) fn need(&mut self, key: &'static str, todo: &str) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            self.report.error(self.at, format!("[{}] has no `{key}`", self.name), todo);
        }
        node
    }

    pub(super) fn word(&mut self, key: &'static str) -> Option<Word> {
        let node = self.get(key)?;
        text_of(self.report, key, node)
    }

    pub(super) fn needed_word(&mut self, key: &'static str, todo: &str) -> Option<Word> {
        let node = self.need(key, todo)?;
        text_of(self.report, key, node)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.word(key).map(|word| word.text)
    }

    pub(super) fn needed_text(&mut self, key: &'static str, todo: &str) -> String {
        self.needed_word(key, todo).map(|word| word.text).unwrap_or_default()
    }

    /// A path; a relative one starts at the file that names it.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let word = self.word(key)?;
        Some(beside(self.report, &word))
    }

    /// A list of strings; a single string is a list of one.
    pub(super) fn words(&mut self, key: &'static str) -> Option<Vec<Word>> {
        let node = self.get(key)?;
        let report = self.report;
        Some(match &node.value {
            Value::List(nodes) => nodes.iter().filter_map(|node| text_of(report, key, node)).collect(),
            _ => text_of(report, key, node).into_iter().collect(),
        })
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.words(key).unwrap_or_default().into_iter().map(|word| word.text).collect()
    }

    /// Longer than nothing.
    pub(super) fn duration(&mut self, key: &'static str, default: Millis) -> Millis {
        self.some_duration(key).unwrap_or(default)
    }

    pub(super) fn some_duration(&mut self, key: &'static str) -> Option<Millis> {
        let length = self.duration_or_zero(key)?;
        if length == 0 {
            let at = self.spot(key);
            self.report.error(at, format!("`{key}` is no time at all"), "write a length of time longer than 0");
            return None;
        }
        Some(length)
    }

    pub(super) fn duration_or_zero(&mut self, key: &'static str) -> Option<Millis> {
        const LONGEST: Millis = 3_650 * 86_400_000;
        let node = self.get(key)?;
        let (what, todo) = match &node.value {
            Value::Text(text) => match parse_duration(text) {
                Some(length) if length <= LONGEST => return Some(length),
                Some(_) => (format!("`{key}` is longer than ten years: \"{text}\""), "write a shorter time"),
                None => (format!("`{key}` is no length of time: \"{text}\""), DURATION_TODO),
            },
            other => (format!("`{key}` is {}, not a length of time", other.kind()), DURATION_TODO),
        };
        self.report.error(node.at, what, todo);
        None
    }

    pub(super) fn number(&mut self, key: &'static str, range: RangeInclusive<i64>, default: u32) -> u32 {
        self.some_number(key, range).unwrap_or(default)
    }

    pub(super) fn some_number(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<u32> {
        let node = self.get(key)?;
        let (low, high) = (range.start(), range.end());
        let todo = format!("write a whole number from {low} to {high}");
        match node.value {
            Value::Integer(number) if range.contains(&number) => return u32::try_from(number).ok(),
            Value::Integer(number) => self.report.error(node.at, format!("`{key}` is {number}"), todo),
            ref other => self.report.error(node.at, format!("`{key}` is {}, not an integer", other.kind()), todo),
        }
        None
    }

    pub(super) fn fraction(&mut self, key: &'static str, range: RangeInclusive<f64>, default: f64) -> f64 {
        let Some(node) = self.get(key) else { return default };
        let todo = format!("write a number from {} to {}", range.start(), range.end());
        let number = match node.value {
            Value::Float(number) => number,
            Value::Integer(number) => number as f64,
            ref other => {
                self.report.error(node.at, format!("`{key}` is {}, not a number", other.kind()), todo);
                return default;
            }
        };
        if range.contains(&number) {
            return number;
        }
        self.report.error(node.at, format!("`{key}` is {number}"), todo);
        default
    }

    pub(super) fn yes(&mut self, key: &'static str) -> bool {
        let Some(node) = self.get(key) else { return false };
        if let Value::Boolean(yes) = node.value {
            return yes;
        }
        self.report.error(
            node.at,
            format!("`{key}` is {}, not true or false", node.value.kind()),
            "write true or false",
        );
        false
    }

    /// One of the known words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, known: &[(&str, T)], default: T) -> T {
        let Some(word) = self.word(key) else { return default };
        choose(self.report, key, &word, known).unwrap_or(default)
    }

    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        self.asked.push(key);
        let name = format!("{}.{key}", self.name);
        let field = self.fields.get(key)?;
        Section::of(self.report, name, field.key_at, &field.node)
    }

    /// A list of tables: `KEY = [{ … }, { … }]`, or `[[NAME.KEY]]`.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Value::List(nodes) = &node.value else {
            let what = format!("`{key}` is {}, not a list", node.value.kind());
            self.report.error(node.at, what, format!("write {key} = [{{ … }}]"));
            return Vec::new();
        };
        let name = format!("{}.{key}", self.name);
        nodes.iter().filter_map(|node| Section::of(self.report, name.clone(), node.at, node)).collect()
    }

    /// The tables in it, in the order of the file: `[NAME.one]`, `[NAME.two]`.
    pub(super) fn sections(&mut self) -> Vec<(&'a str, Section<'a>)> {
        let mut fields: Vec<_> = self.fields.iter().collect();
        fields.sort_by_key(|(_, field)| field.key_at);
        let section = |(key, field): (&'a String, &'a Field)| {
            let name = format!("{}.{}", self.name, quoted(key));
            Some((key.as_str(), Section::of(self.report, name, field.key_at, &field.node)?))
        };
        fields.into_iter().filter_map(section).collect()
    }

    /// Every key with its value, in the order of the names.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Field)> + use<'a> {
        self.fields.iter()
    }

    /// What nobody asked for, in the provider's own words.
    pub(super) fn rest(self) -> String {
        let Section { fields, asked, .. } = self;
        fields_to_json(fields.iter().filter(move |(key, _)| !asked.contains(&key.as_str()))).to_string()
    }

    /// All of it, in the words of whoever reads it.
    pub(super) fn json(&self) -> serde_json::Value {
        fields_to_json(self.fields.iter())
    }

    /// What nobody asked for is a mistake.
    pub(super) fn finish(self) {
        for (key, field) in self.fields {
            if !self.asked.contains(&key.as_str()) {
                let meant = did_you_mean(key, self.asked.iter().copied());
                let mut known = self.asked.clone();
                known.sort_unstable();
                known.dedup();
                let todo = format!("take it out, or use one of: {}", known.join(", "));
                self.report.error(field.key_at, format!("unknown key `{key}`{meant}"), todo);
            }
        }
    }

    /// Where the key's value is, or the section where it is left out.
    pub(super) fn spot(&self, key: &str) -> Spot {
        self.fields.get(key).map_or(self.at, |field| field.node.at)
    }
}

pub(super) fn text_of(report: &Report, key: &str, node: &Node) -> Option<Word> {
    match &node.value {
        Value::Text(text) if !text.trim().is_empty() => Some(Word { at: node.at, text: text.clone() }),
        Value::Text(_) => {
            report.error(node.at, format!("`{key}` is empty"), "write a value, or take the key out");
            None
        }
        other => {
            report.error(node.at, format!("`{key}` is {}, not a string", other.kind()), "write it in quotes");
            None
        }
    }
}

pub(super) fn choose<T: Copy>(report: &Report, key: &str, word: &Word, known: &[(&str, T)]) -> Option<T> {
    let found = known.iter().find(|(name, _)| *name == word.text).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let meant = did_you_mean(&word.text, names.iter().copied());
        let todo = format!("use one of: {}", names.join(", "));
        report.error(word.at, format!("`{key}` cannot be \"{}\"{meant}", word.text), todo);
    }
    found
}

/// The path in `word`; a relative one starts at the file that names it.
pub(super) fn beside(report: &Report, word: &Word) -> PathBuf {
    let file = report.sources.get(word.at.file).map(|source| source.path.as_path());
    file.and_then(|file| file.parent()).unwrap_or(std::path::Path::new("")).join(&word.text)
}

fn quoted(key: &str) -> String {
    let bare = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}
