//! Why a plugin, a revision or a swap was refused: what, where, what stayed unchanged, what to do next.
//!
//! Does not know how any of it was found out.

use std::fmt;

/// A refusal in the words of an operator; `code` is for machines and never changes its meaning.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// Stable: "not-wasm", "wrong-world", "unknown-import", "settings", "self-test" …
    pub code: &'static str,
    /// What could not be done, and where: "cannot load failover/default".
    pub what: String,
    /// Why, in one sentence.
    pub why: String,
    /// What is as it was.
    pub unchanged: String,
    /// What to do now.
    pub next: String,
}

impl Refusal {
    /// A refusal of a plugin; the slot's name is added by whoever knows it.
    pub fn new(code: &'static str, why: impl Into<String>, next: impl Into<String>) -> Self {
        Refusal {
            code,
            what: "cannot load the plugin".into(),
            why: why.into(),
            unchanged: "nothing was loaded".into(),
            next: next.into(),
        }
    }

    /// The same refusal, named after the slot and the file that it is about.
    pub fn for_slot(mut self, slot: &str, source: &str) -> Self {
        self.what = format!("cannot load {source} into slot {slot}");
        self.unchanged = format!("slot {slot} keeps the revision that it had");
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  unchanged: {}\n  next: {}", self.what, self.why, self.unchanged, self.next)
    }
}

impl std::error::Error for Refusal {}
