//! Slots: named places that hold one immutable revision, replaced in one step while calls go on.
//!
//! The order of a swap: a staged revision (verified, compiled, tested, warm) takes the place of the active one by one
//! atomic replacement; then the swap waits until whoever was just committing a result of the old one is done; then it
//! returns. That return is the acknowledgement: no result of the old revision counts after it, because a result is
//! committed only while its revision is still the active one, and is otherwise decided again. The old revision stays
//! warm for `rollback`. Does not know how a revision is made (`stage`) or asked (`policy`, `provider`).

mod policy;
mod provider;

pub use policy::PolicySlot;
pub use provider::ProviderSlot;

use crate::{metrics::Counters, policy::workers::Workers, provider::ProviderRevision, refusal::Refusal};
use serde::Serialize;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What a swap replaced, acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Swapped {
    /// The slot.
    pub slot: String,
    /// The revision that no longer counts.
    pub from: u64,
    /// The revision that does.
    pub to: u64,
    /// Of its plugin.
    pub digest: String,
}

/// What every slot of one engine shares.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) workers: Arc<Workers>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) numbers: Arc<AtomicU64>,
}

impl Shared {
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Which revision a slot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RevisionName {
    /// Grows with every installation, swap and rollback.
    pub number: u64,
    /// Of the plugin's file.
    pub digest: String,
    /// Of its settings.
    pub settings_hash: String,
    /// The plugin's own name and version.
    pub plugin: String,
}

impl RevisionName {
    pub(crate) fn of(revision: &ProviderRevision) -> Self {
        RevisionName {
            number: revision.number,
            digest: revision.digest.clone(),
            settings_hash: revision.settings_hash.clone(),
            plugin: format!("{} {}", revision.manifest.name, revision.manifest.version),
        }
    }
}

pub(crate) fn other_slot(own: &str, staged: &str) -> Result<(), Refusal> {
    if own == staged {
        return Ok(());
    }
    let why = format!("the revision was staged for slot {staged}, and this is slot {own}");
    Err(Refusal::new("other-slot", why, format!("stage it for {own}")).for_slot(own, "the revision"))
}

pub(crate) fn nothing_before(slot: &str) -> Refusal {
    let why = format!("slot {slot} has had no other revision since the host started");
    Refusal::new("nothing-before", why, "load the wanted plugin with `tidegate plugin swap`")
        .for_slot(slot, "the revision before")
}
