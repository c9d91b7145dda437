//! What the journal stores: each record holds what happened and the transitions that came of it.
//!
//! Recovery applies transitions and runs no rule. Every field that a later version adds has a default, so that a newer
//! host reads every older journal.

#![expect(missing_docs, reason = "fields whose name and type say it all")]

use serde::{Deserialize, Serialize};

use crate::event::Moment;

/// One entry of the journal, without the chain's hashes, which are the store's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    pub at: Moment,
}
