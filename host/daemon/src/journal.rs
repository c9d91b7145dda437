//! The journal: what happened and what was decided, as a hash chain of lines in segment files, durable before anything
//! acts on it.
//!
//! Does not know what a record means: to it a body is JSON. Who appends, and what has to wait for it, is the host's matter.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_kernel::record::Record;

mod chain;
mod file;
mod read;

pub use chain::GENESIS;
pub use file::{FileJournal, Opening, SEGMENT_BYTES};
pub use read::{Reader, Torn, Verified, verify};

/// Where the records go. One writer; what it has appended is durable when `append` returns.
pub trait Store: Send {
    /// Appends `bodies` in order and makes them durable together. After an error the store takes nothing more: what
    /// is on the disk is then unknown until it has been opened again.
    fn append(&mut self, bodies: Vec<Box<RawValue>>) -> anyhow::Result<()>;

    /// The newest durable record.
    fn head(&self) -> &Head;

    /// Everything after record `after` up to the head, without holding more than one record in memory.
    fn read(&self, after: u64) -> anyhow::Result<Reader>;
}

/// The newest record's number and hash: whoever has kept one notices when the chain is rewritten behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Head {
    /// 0 = the journal is empty.
    pub n: u64,
    /// SHA-256 in hexadecimal.
    pub hash: String,
}

/// The journal's directory within a host's state.
pub fn directory(state: &Path) -> PathBuf {
    state.join("journal")
}

impl Head {
    /// Of an empty journal.
    pub fn empty() -> Self {
        Head { n: 0, hash: GENESIS.to_owned() }
    }
}

impl Default for Head {
    fn default() -> Self {
        Head::empty()
    }
}

/// One line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1, without gaps, across segments.
    pub n: u64,
    /// Hash of the entry before.
    pub prev: String,
    /// The record, byte for byte as it was hashed.
    pub body: Box<RawValue>,
    /// Over `n`, `prev` and `body`.
    pub hash: String,
}

impl Entry {
    /// The body as what it is.
    pub fn record(&self) -> anyhow::Result<Record> {
        serde_json::from_str(self.body.get()).with_context(|| {
            format!("record {} of the journal is intact, but not of a form that this version knows", self.n)
        })
    }
}

/// Why a journal cannot be trusted from one line on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Broken {
    /// The segment.
    pub file: PathBuf,
    /// Counts from 1.
    pub line: u64,
    /// The number that this record should have.
    pub n: u64,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { file, line, n, what } = self;
        write!(f, "{}:{line}: record {n}: {what}", file.display())
    }
}
