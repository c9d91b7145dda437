//! Compiled policies on workers of this thread's own.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_engine::limits::Span;
use tidegate_engine::{Engine, EngineConfig, LimitSettings, PolicySlot, RevisionSpec};
use tidegate_kernel::fleet::Fleet;
use tidegate_simulator::Compiled;

/// The built-in policy.
pub(crate) fn compiled(fleet: &Fleet, workers: usize) -> Vec<Compiled> {
    let quorum = tidegate_plugins::find("failover-quorum").expect("it is built in");
    compiled_from(quorum.bytes, &serde_json::json!({}), fleet, workers)
}

/// The policy of these bytes in every slot of a fleet.
pub(crate) fn compiled_from(
    bytes: &[u8],
    settings: &serde_json::Value,
    fleet: &Fleet,
    workers: usize,
) -> Vec<Compiled> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let engine = EngineConfig { policy_workers: workers, ..EngineConfig::default() };
    let engine = runtime.block_on(Engine::start(engine)).expect("an engine");
    let policies: std::collections::BTreeSet<&String> = fleet.services.iter().map(|service| &service.policy).collect();
    let slots: BTreeMap<String, Arc<PolicySlot>> = policies
        .into_iter()
        .map(|slot| {
            let (bytes, settings) = (bytes.to_vec(), settings.clone());
            // Work is counted; only time, of which this machine may have little, has to be generous.
            let patience = Some(Span(std::time::Duration::from_secs(60)));
            let limits = LimitSettings { wall_clock: patience, ..LimitSettings::default() };
            let spec = RevisionSpec { slot: slot.clone(), bytes, settings, limits, ..RevisionSpec::default() };
            let staged = runtime.block_on(engine.stage(spec)).expect("a policy");
            (slot.clone(), Arc::new(PolicySlot::install(staged).expect("a slot")))
        })
        .collect();
    engine.workers().into_iter().map(|worker| Compiled::new(worker, slots.clone())).collect()
}
