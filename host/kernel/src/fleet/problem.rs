//! What is wrong with a fleet file, where, and what to do about it; and the list that collects it.
//!
//! Knows no key and no rule of the fleet file.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

/// How bad a problem or a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The fleet file cannot be used.
    Error,
    /// It can, and somebody should know.
    Warning,
}

/// One thing that is wrong with a fleet file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// As the operator named it.
    pub file: PathBuf,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub todo: String,
    /// Whether the file can be used all the same.
    pub severity: Level,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.severity == Level::Warning { "warning: " } else { "" };
        let Problem { file, line, column, what, todo, .. } = self;
        write!(f, "{}:{line}:{column}: {kind}{what}\n  do: {todo}", file.display())
    }
}

/// A place in one of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) file: usize,
    /// In bytes.
    pub(super) offset: usize,
}

/// One file that was read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The files that were read and the problems found in them, all of them in one go.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) sources: Vec<Source>,
    problems: RefCell<Vec<Problem>>,
}

impl Report {
    pub(super) fn error(&self, at: Spot, what: impl Into<String>, todo: impl Into<String>) {
        let (line, column) = self.position(at);
        let file = self.sources.get(at.file).map(|source| source.path.clone()).unwrap_or_default();
        let problem = Problem { file, line, column, what: what.into(), todo: todo.into(), severity: Level::Error };
        let mut problems = self.problems.borrow_mut();
        // A wrong value in the defaults would be told once for each service.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// In the order of the files, top to bottom.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let order = |problem: &Problem| {
            let file = self.sources.iter().position(|source| source.path == problem.file);
            (file, problem.line, problem.column)
        };
        let mut problems = self.problems.take();
        problems.sort_by_key(order);
        problems
    }

    /// `FILE:LINE`, to refer to another place.
    pub(super) fn place(&self, at: Spot) -> String {
        let file = self.sources.get(at.file).map(|source| source.path.display().to_string()).unwrap_or_default();
        format!("{file}:{}", self.position(at).0)
    }

    fn position(&self, at: Spot) -> (u32, u32) {
        let text = self.sources.get(at.file).map_or("", |source| source.text.as_str());
        let before = text.get(..at.offset.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        (line as u32, column as u32)
    }
}

/// " (did you mean `NAME`?)" if one of the known names is close, else nothing.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let length = name.chars().count();
    let allowed = (length / 3).max(if length < 4 { 1 } else { 2 });
    let distances = known.into_iter().map(|known| (distance(name, known), known));
    let nearest = distances.filter(|(distance, _)| *distance <= allowed).min();
    nearest.map(|(_, nearest)| format!(" (did you mean `{nearest}`?)")).unwrap_or_default()
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other_letter) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other_letter);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
