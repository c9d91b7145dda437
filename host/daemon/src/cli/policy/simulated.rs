//! What `test`, `storm` and `replay` share: the policy for every slot of a fleet, on as many threads as asked for.
//!
//! Knows no scenario and no score.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tidegate_kernel::fleet::{self, Fleet};
use tidegate_simulator::{Compiled, fleets};

use super::{Wanted, With, Workbench};
use crate::cli::failed::Failed;

/// What decides where nothing else is named.
pub(super) const BUILT_IN: &str = "builtin:failover-quorum";

/// What every simulation plays with.
#[derive(Args, Clone, Debug)]
pub struct WithPolicy {
    /// The policy: a component's file, or builtin:NAME.
    #[arg(long, value_name = "PLUGIN", default_value = BUILT_IN)]
    pub policy: String,
    /// How it is asked; settings that are not named here are the scenario's, or the fleet file's.
    #[command(flatten)]
    pub with: With,
}

/// `wanted` in every slot that a service of the fleet asks, one decider for each worker of the bench. Where it names no settings
/// those of the fleet file hold.
pub(super) async fn deciders(bench: &Workbench, fleet: &Fleet, wanted: &Wanted) -> Result<Vec<Compiled>, Failed> {
    let asked: BTreeSet<&String> = fleet.services.iter().map(|service| &service.policy).collect();
    let mut slots = BTreeMap::new();
    for name in asked {
        let mut wanted = wanted.clone();
        if wanted.settings.is_null() {
            wanted.settings = fleet.slots.get(name).map(|slot| slot.settings.clone()).unwrap_or_default();
        }
        slots.insert(name.clone(), Arc::new(bench.ready(wanted).await?));
    }
    Ok(bench.workers().into_iter().map(|worker| Compiled::new(worker, slots.clone())).collect())
}

/// A fleet by its name: `builtin:NAME`, or a file seen from `directory`.
pub(super) fn fleet_of(name: &str, directory: &Path) -> Result<Fleet, String> {
    if let Some(name) = name.strip_prefix("builtin:") {
        return fleets::builtin(name);
    }
    let path = directory.join(name);
    fleet::parse(&path, &|path| std::fs::read_to_string(path)).map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        told.join("\n")
    })
}

/// One for each processor.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
