//! Slots as people and programs are shown them.

use std::sync::atomic::Ordering;

use serde::Serialize;
use tidegate_engine::ProviderHealth;
use tidegate_kernel::event::Revision;

use super::spec::Wanted;
use super::{Held, Kind, Slots};
use crate::agents::RolloutView;

/// One slot.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PluginView {
    /// Its name.
    pub slot: String,
    /// `failover`, `probe`, `dns` …
    pub world: String,
    /// `builtin:NAME`, `file:PATH`, or that somebody brought it.
    pub plugin: String,
    /// What runs.
    pub revision: Revision,
    /// Of what runs.
    pub settings: serde_json::Value,
    /// What the operator gives it.
    pub grants: Vec<String>,
    /// What it wants and was not given.
    pub missing_grants: Vec<String>,
    /// Differs from what the fleet file says, until the next start.
    pub swapped: bool,
    /// Digest of what a rollback would bring back.
    pub previous: Option<String>,
    /// Loaded and not in service.
    pub candidate: Option<CandidateView>,
    /// The last swap, from the order to its acknowledgement, compilation included; none = not swapped yet.
    pub ready_ms: Option<f64>,
    /// A provider's instances.
    pub health: Option<ProviderHealth>,
    /// A probe's revision that has not reached every failure domain.
    pub rollout: Option<RolloutView>,
    /// A candidate that decides beside it.
    pub shadow: Option<ShadowView>,
}

/// A shadow, in short; `diff` has the rest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowView {
    /// Of the component.
    pub digest: String,
    /// Questions that both answered.
    pub decisions: u64,
    /// The part of them with another verdict.
    pub divergence: f64,
}

/// What a swap would put into service.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CandidateView {
    /// Where it came from.
    pub plugin: String,
    /// Of the component.
    pub digest: String,
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// With which it would run.
    pub settings: serde_json::Value,
}

impl Slots {
    /// Every slot.
    pub fn views(&self) -> Vec<PluginView> {
        self.shared.read().iter().map(|(name, held)| view(name, held)).collect()
    }

    /// One slot.
    pub fn view(&self, name: &str) -> Option<PluginView> {
        self.held(name).map(|held| view(name, &held))
    }
}

fn view(name: &str, held: &Held) -> PluginView {
    let revision = held.revision();
    let (missing, health) = match &held.kind {
        Kind::Policy(_) => (Vec::new(), None),
        Kind::Provider(slot) => (slot.missing_grants(), Some(slot.health())),
    };
    let notes = held.notes();
    let Wanted { slot, .. } = &notes.current;
    PluginView {
        slot: name.to_owned(),
        world: name.split('/').next().unwrap_or_default().to_owned(),
        plugin: slot.plugin.clone(),
        revision,
        settings: slot.settings.clone(),
        grants: slot.grants.clone(),
        missing_grants: missing.iter().map(want).collect(),
        swapped: notes.current != notes.declared,
        previous: notes.previous.as_ref().map(|previous| previous.digest.clone()),
        candidate: notes.candidate.as_ref().map(|(wanted, staged)| CandidateView {
            plugin: wanted.slot.plugin.clone(),
            digest: wanted.digest.clone(),
            name: staged.manifest().name.clone(),
            version: staged.manifest().version.clone(),
            settings: wanted.slot.settings.clone(),
        }),
        ready_ms: ready_ms(held),
        health,
        // The agents know it.
        rollout: None,
        shadow: held.shadow.load_full().map(|shadow| {
            let tally = shadow.tally(held.revision().number);
            ShadowView { digest: tally.digest, decisions: tally.decisions, divergence: tally.divergence }
        }),
    }
}

fn ready_ms(held: &Held) -> Option<f64> {
    match held.changed_in_us.load(Ordering::Relaxed) {
        0 => None,
        micros => Some(micros as f64 / 1_000.0),
    }
}

/// In the words of the fleet file's grants.
fn want(want: &tidegate_kernel::contract::Want) -> String {
    use tidegate_kernel::contract::Want;
    match want {
        Want::Connect(to) => to.clone(),
        Want::Secret(name) => format!("secret:{name}"),
        Want::Directory(name) => format!("directory:{name}"),
        Want::Command(name) => format!("command:{name}"),
    }
}
