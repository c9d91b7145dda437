//! Providers: what a revision of one is, and how an instance of it is made and asked.
//!
//! Knows no schedule and no slot; how many instances there are, and when one is given up, is `pool`'s business.

pub(crate) mod host;
mod lookup;
pub(crate) mod pool;
pub mod supervision;
mod tls;

use crate::{
    bindings::providers::exports::tidegate::dr::{
        action, dns, dns_control, notify, plugin, probe, provider, replication, replication_control, signal, storage,
        storage_control,
    },
    grants::{BoxFuture, Gate},
    http::Sender,
    limits::Limits,
    log::last_words,
    refusal::Refusal,
    translate,
    world::World,
};
use host::{Outside, ProviderHost};
use std::{sync::Arc, time::Instant};
use tidegate_kernel::contract::{Fact, Failure, Manifest, Problem};
use wasmtime::{
    Store,
    component::{Component, InstancePre, Linker},
};

/// One provider, linked.
pub(crate) struct ProviderCode {
    instance: InstancePre<ProviderHost>,
    world: World,
}

/// One provider with its settings, limits and grants: immutable, and numbered.
#[derive(Debug)]
pub(crate) struct ProviderRevision {
    /// Grows with every installation, swap and rollback.
    pub number: u64,
    /// Of the plugin's file.
    pub digest: String,
    /// Of the settings.
    pub settings_hash: String,
    /// JSON, as the plugin accepted it.
    pub settings: String,
    /// What the fleet file declares for it.
    pub declared: Vec<Fact>,
    /// What it may use up.
    pub limits: Limits,
    /// What it says of itself.
    pub manifest: Manifest,
    pub(crate) slot: Arc<str>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) outside: Outside,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) code: Arc<ProviderCode>,
}

/// A live instance and what it exports. Given up after any trap and any call cut short.
pub(crate) struct Live {
    pub(crate) store: Store<ProviderHost>,
    pub(crate) exports: Exports,
}

pub(crate) struct Exports {
    pub(crate) plugin: plugin::Guest,
    pub(crate) provider: provider::Guest,
    pub(crate) work: Work,
}

/// The interfaces of one world.
pub(crate) enum Work {
    Probe(probe::Guest),
    Signal(signal::Guest),
    Replication(replication::Guest, replication_control::Guest),
    Dns(dns::Guest, dns_control::Guest),
    Storage,
    Action(action::Guest),
    Notify(notify::Guest),
}

/// What a call of a guest returns: a trap, the provider's own failure, or an answer.
pub(crate) type Answered<'a, R> = BoxFuture<'a, wasmtime::Result<Result<R, Failure>>>;

impl ProviderCode {
    /// Links a component that `inspect` has found to be a provider; an import that does not fit is named in the error.
    pub(crate) fn link(engine: &wasmtime::Engine, component: &Component, world: World) -> wasmtime::Result<Self> {
        let instance = linker(engine)?.instantiate_pre(component)?;
        Ok(ProviderCode { instance, world })
    }

    fn exports(
        &self,
        store: &mut Store<ProviderHost>,
        live: &wasmtime::component::Instance,
    ) -> wasmtime::Result<Exports> {
        macro_rules! load {
            ($interface:ident) => {
                $interface::GuestIndices::new(&self.instance)?.load(&mut *store, live)?
            };
        }
        let work = match self.world {
            World::Probe => Work::Probe(load!(probe)),
            World::Signal => Work::Signal(load!(signal)),
            World::Replication => Work::Replication(load!(replication), load!(replication_control)),
            World::Dns => Work::Dns(load!(dns), load!(dns_control)),
            World::Storage => {
                load!(storage);
                load!(storage_control);
                Work::Storage
            }
            World::Action => Work::Action(load!(action)),
            World::Notify => Work::Notify(load!(notify)),
            World::Failover | World::Retention | World::Tiering | World::Cost => {
                wasmtime::bail!("a policy is no provider")
            }
        };
        Ok(Exports { plugin: load!(plugin), provider: load!(provider), work })
    }
}

impl std::fmt::Debug for ProviderCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderCode").field("world", &self.world).finish_non_exhaustive()
    }
}

impl ProviderRevision {
    /// A fresh instance, not yet configured. The caller bounds the time.
    async fn instantiate(&self) -> wasmtime::Result<Live> {
        let engine = self.code.instance.engine();
        let mut store = store(engine, &self.slot, &self.gate, &self.tls, &self.outside, &self.limits)?;
        let instance = self.code.instance.instantiate_async(&mut store).await?;
        let exports = self.code.exports(&mut store, &instance)?;
        Ok(Live { store, exports })
    }

    /// The same under another number.
    pub(crate) fn again(&self, number: u64) -> Self {
        ProviderRevision {
            number,
            digest: self.digest.clone(),
            settings_hash: self.settings_hash.clone(),
            settings: self.settings.clone(),
            declared: self.declared.clone(),
            limits: self.limits,
            manifest: self.manifest.clone(),
            slot: self.slot.clone(),
            gate: self.gate.clone(),
            outside: self.outside.clone(),
            tls: self.tls.clone(),
            code: self.code.clone(),
        }
    }

    /// A fresh instance, configured with this revision's settings.
    pub(crate) async fn start(&self) -> wasmtime::Result<Result<Live, Vec<Problem>>> {
        let mut live = self.instantiate().await?;
        let setup =
            provider::Setup { settings: self.settings.clone(), declared: translate::list(self.declared.clone()) };
        let configured = live.exports.provider.call_configure(&mut live.store, &setup).await?;
        live.store.data_mut().flush_log();
        Ok(configured.map(|()| live).map_err(translate::list))
    }

    /// What the plugin says of itself.
    pub(crate) async fn describe(&self) -> wasmtime::Result<Manifest> {
        let mut live = self.instantiate().await?;
        let manifest = live.exports.plugin.call_describe(&mut live.store).await?;
        live.store.data_mut().flush_log();
        Ok(manifest.into())
    }

    /// What the plugin finds wrong with the settings.
    pub(crate) async fn check_settings(&self) -> wasmtime::Result<Vec<Problem>> {
        let mut live = self.instantiate().await?;
        let checked = live.exports.plugin.call_check_settings(&mut live.store, &self.settings).await?;
        Ok(translate::list(checked.err().unwrap_or_default()))
    }
}

/// Everything that a provider may import.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<ProviderHost>> {
    let mut linker = Linker::new(engine);
    host::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// A store with every limit armed.
pub(crate) fn store(
    engine: &wasmtime::Engine,
    slot: &Arc<str>,
    gate: &Arc<Gate>,
    tls: &Arc<rustls::ClientConfig>,
    outside: &Outside,
    limits: &Limits,
) -> wasmtime::Result<Store<ProviderHost>> {
    let until = Instant::now() + limits.wall_clock.0;
    let sender = Sender { gate: gate.clone(), tls: tls.clone(), limits: *limits, until };
    let mut store = Store::new(engine, ProviderHost::new(slot, gate, sender, outside, limits)?);
    store.limiter(|host| &mut host.meter);
    store.call_hook(|mut store, hook| store.data_mut().meter.cross(hook));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(ProviderHost::tick);
    store.set_hostcall_fuel(usize::try_from(limits.output.0.max(limits.transfer.0)).unwrap_or(usize::MAX));
    Ok(store)
}

/// What stopped a provider, for the log and for people.
pub(crate) fn stopped(error: &wasmtime::Error, host: Option<&mut ProviderHost>) -> String {
    let hit = host.as_ref().and_then(|host| host.meter.hit).map(|hit| format!("it ran into a limit: {hit}"));
    let last = host.map(|host| last_words(&host.flush_log())).unwrap_or_default();
    hit.unwrap_or_else(|| format!("it crashed: {}{last}", error.root_cause()))
}

/// Settings that a plugin does not accept, in one refusal.
pub(crate) fn settings_refused(problems: &[Problem]) -> Refusal {
    let text: Vec<String> = problems
        .iter()
        .take(10)
        .map(|p| format!("{}: {}", if p.at.is_empty() { "/" } else { &p.at }, p.text))
        .collect();
    Refusal::new(
        "settings",
        format!("it does not accept its settings: {}", text.join("; ")),
        "correct the slot's settings in the fleet file",
    )
}
