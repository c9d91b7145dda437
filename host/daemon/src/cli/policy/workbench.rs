//! A policy at hand without a host: its component found, compiled and made ready to be asked on this machine.
//!
//! Knows neither what it is asked nor what its answers are for.

use std::path::Path;

use tidegate_engine::inspect::{self, MAX_FILE};
use tidegate_engine::limits::Size;
use tidegate_engine::{
    Engine, EngineConfig, Inspected, LimitSettings, Limits, PolicySlot, PolicyWorker, Refusal, RevisionSpec, World,
};
use tidegate_kernel::contract::Situation;

use crate::cli::failed::Failed;
use crate::cli::plugins::{component, refused};

/// An engine of its own, with nothing in service.
#[derive(Debug)]
pub struct Workbench {
    engine: Engine,
}

/// Which policy, and how.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A component's file, or `builtin:NAME`.
    pub plugin: String,
    /// Its settings; null = none.
    pub settings: serde_json::Value,
    /// What it may use up, where that differs from the defaults.
    pub limits: LimitSettings,
    /// What it has to answer before anything else.
    pub cases: Vec<Situation>,
}

impl Workbench {
    /// Starts an engine with so many workers: one for each thread that will ask.
    pub async fn start(workers: usize) -> Result<Self, Failed> {
        Workbench::start_cached(workers, None).await
    }

    /// The same, keeping compiled code in a directory: a large component is compiled once.
    pub async fn start_cached(workers: usize, cache: Option<&Path>) -> Result<Self, Failed> {
        let config =
            EngineConfig { policy_workers: workers, cache: cache.map(Path::to_owned), ..EngineConfig::default() };
        let engine = Engine::start(config).await.map_err(|refusal| refused(&refusal, "the engine"))?;
        Ok(Workbench { engine })
    }

    /// Finds, compiles and tries a failover policy; what does not fit is refused by name.
    pub async fn ready(&self, wanted: Wanted) -> Result<PolicySlot, Failed> {
        let bytes = component(&wanted.plugin)?;
        self.stage(World::Failover, bytes, wanted).await.map(|(slot, _)| slot)
    }

    /// The same with a policy of whatever kind, and what it is, seen from outside.
    pub async fn ready_of_any_kind(&self, wanted: Wanted) -> Result<(PolicySlot, Inspected), Failed> {
        let bytes = component(&wanted.plugin)?;
        // Whether it is too large for its slot is said when it is staged; what cannot be looked at, and what is no policy, is refused
        // there as the wrong thing for a policy's slot.
        let any = Limits { memory: Size(u64::MAX), table_elements: u32::MAX, ..Limits::policy() };
        let seen = inspect::inspect(&bytes, MAX_FILE, |_| any).map(|seen| seen.world);
        let world = seen.ok().filter(|world| world.is_policy()).unwrap_or(World::Failover);
        self.stage(world, bytes, wanted).await
    }

    async fn stage(&self, world: World, bytes: Vec<u8>, wanted: Wanted) -> Result<(PolicySlot, Inspected), Failed> {
        let Wanted { plugin, settings, limits, cases } = wanted;
        let spec = RevisionSpec {
            slot: format!("{}/workbench", world.slot_prefix()),
            source: plugin.clone(),
            bytes,
            settings: if settings.is_null() { serde_json::json!({}) } else { settings },
            limits,
            cases,
            ..RevisionSpec::default()
        };
        let unusable = |refusal: Refusal| unusable(&refusal, &plugin);
        let staged = self.engine.stage(spec).await.map_err(unusable)?;
        let seen = staged.inspected().clone();
        Ok((PolicySlot::install(staged).map_err(unusable)?, seen))
    }

    /// One for each thread that asks.
    pub fn workers(&self) -> Vec<PolicyWorker> {
        self.engine.workers()
    }
}

/// What a slot would say, without the slot: there is none here.
fn unusable(refusal: &Refusal, plugin: &str) -> Failed {
    Failed::usage(format!("no host would take this policy: {}", refusal.why)).at(plugin).next(&refusal.next)
}
