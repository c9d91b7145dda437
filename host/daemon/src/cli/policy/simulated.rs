//! What `test`, `storm` and `replay` share: the policy for every slot of a fleet, on as many threads as asked for.
//!
//! Knows no scenario and no score.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tidegate_engine::LimitSettings;
use tidegate_engine::limits::Span;
use tidegate_kernel::fleet::{self, Fleet};
use tidegate_simulator::{Compiled, fleets};

use super::{Wanted, Workbench};
use crate::cli::failed::Failed;
use crate::cli::plugins::read_settings;

/// Work is counted; only time, which is this machine's and not the simulated world's, has to be generous.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every simulation plays with.
#[derive(Args, Clone, Debug)]
pub struct WithPolicy {
    /// The policy: a component's file, or builtin:NAME.
    #[arg(long, value_name = "PLUGIN", default_value = "builtin:failover-quorum")]
    pub policy: String,
    /// Its settings, a JSON file [default: the scenario's, or the fleet file's].
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

impl WithPolicy {
    /// The settings that were named, if any were.
    pub fn named_settings(&self) -> Result<Option<serde_json::Value>, Failed> {
        self.settings.as_deref().map(read_settings).transpose()
    }
}

/// The policy in every slot that a service of the fleet asks, one decider for each worker of the bench. Settings that were
/// named go before the fleet file's.
pub(super) async fn deciders(
    bench: &Workbench,
    policy: &str,
    fleet: &Fleet,
    settings: Option<&serde_json::Value>,
) -> Result<Vec<Compiled>, Failed> {
    let asked: BTreeSet<&String> = fleet.services.iter().map(|service| &service.policy).collect();
    let mut slots = BTreeMap::new();
    for name in asked {
        let declared = || fleet.slots.get(name).map(|slot| slot.settings.clone());
        let settings = settings.cloned().or_else(declared).unwrap_or_default();
        let limits = LimitSettings { wall_clock: Some(Span(PATIENCE)), ..LimitSettings::default() };
        let wanted = Wanted { plugin: policy.to_owned(), settings, limits, ..Wanted::default() };
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
