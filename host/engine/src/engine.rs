//! The engine: workers for policies, an engine for providers, limits that were tried before anything is served.
//!
//! Knows no slot by name: whoever holds it makes revisions of plugins and puts them into slots.

use crate::{
    cache::Cache,
    grants::{Resolver, SystemResolver},
    http,
    inspect::{self, Inspected, MAX_FILE},
    limits::{LimitSettings, Size},
    metrics::{Counters, Snapshot},
    policy::{PolicyWorker, workers::Workers},
    provider::host::Outside,
    refusal::Refusal,
    selftest,
    slot::Shared,
    stage::{self, RevisionSpec, Staged, limits},
    ticker::Ticker,
};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    thread::available_parallelism,
};
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How the engine is set up.
#[derive(Clone)]
pub struct EngineConfig {
    /// Threads that ask policies; 0 = one for each core.
    pub policy_workers: usize,
    /// Questions that may wait for a worker; one more is answered "unavailable".
    pub policy_queue: usize,
    /// Memory that any policy's `memory` limit may allow: the pool is laid out for it.
    pub policy_memory: Size,
    /// The stack of a guest, per call. One for all: an engine has one.
    pub stack: Size,
    /// The largest plugin file.
    pub plugin_size: Size,
    /// Where compiled code is kept; none = compiled at each start.
    pub cache: Option<PathBuf>,
    /// Who turns names into addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Where secrets and commands come from.
    pub outside: Outside,
    /// Certificates (DER) of the operator's own authorities, besides the machine's.
    pub extra_roots: Vec<Vec<u8>>,
}

/// Runs plugins. A clone is another handle to the same.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Shared,
    pub(crate) providers: wasmtime::Engine,
    pub(crate) plugin_size: Size,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) outside: Outside,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    cache: Option<Cache>,
    _ticker: Ticker,
}

/// Instances of one worker that may be alive at once: one at work, and a few for staging.
const POOL: u32 = 8;
/// Memories, and tables, that one policy may have at most. The runtime deals places from 128 on out to threads, and then
/// what staging has warmed on its own thread is cold for the one that decides first: eight times this is less.
const PLACES: u32 = 15;
/// The whole memory of a policy with a small stack: what stays resident needs no system call.
const RESIDENT: usize = 256 << 10;

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            policy_workers: 0,
            policy_queue: 4_096,
            policy_memory: Size(64 << 20),
            stack: Size(512 << 10),
            plugin_size: MAX_FILE,
            cache: None,
            resolver: Arc::new(SystemResolver),
            outside: Outside::default(),
            extra_roots: Vec::new(),
        }
    }
}

impl Engine {
    /// Starts the threads and tries the limits; an engine whose limits do not hold does not start.
    pub async fn start(config: EngineConfig) -> Result<Engine, Refusal> {
        let inner = tokio::task::spawn_blocking(move || Inner::start(config)).await;
        let inner = inner
            .map_err(|error| not_started(&error.to_string()))?
            .map_err(|error| not_started(&format!("{error:#}")))?;
        for worker in &inner.shared.workers.workers {
            selftest::policies(worker)?;
        }
        selftest::providers(&inner.providers, &inner.tls).await?;
        Ok(Engine { inner: Arc::new(inner) })
    }

    /// What a file is, without running or compiling it.
    pub fn inspect(&self, bytes: &[u8]) -> Result<Inspected, Refusal> {
        inspect::inspect(bytes, self.inner.plugin_size, |world| limits(world, &LimitSettings::default()))
    }

    /// Reads a plugin's file; one that is too large is not read at all.
    pub fn read(&self, path: &std::path::Path) -> Result<Vec<u8>, Refusal> {
        inspect::read(path, self.inner.plugin_size)
    }

    /// Makes a revision ready to serve, without touching anything that serves.
    pub async fn stage(&self, spec: RevisionSpec) -> Result<Staged, Refusal> {
        let staged = stage::stage(&self.inner, spec).await;
        staged.inspect_err(|_| self.inner.shared.counters.refusals.add())
    }

    /// The policy workers, for whoever decides on a thread of its own.
    pub fn workers(&self) -> Vec<PolicyWorker> {
        self.inner.shared.workers.workers.clone()
    }

    /// What has been counted so far.
    pub fn metrics(&self) -> Snapshot {
        self.inner.shared.counters.snapshot(self.inner.shared.workers.waiting())
    }
}

impl Inner {
    fn start(config: EngineConfig) -> anyhow::Result<Self> {
        let counters = Arc::new(Counters::default());
        let threads = if config.policy_workers == 0 { available_parallelism()?.get() } else { config.policy_workers };
        let policies = policy_config(&config);
        let mut workers = Vec::new();
        for index in 0..threads {
            workers.push(PolicyWorker { index, engine: wasmtime_engine(&policies)?, counters: counters.clone() });
        }
        let providers = wasmtime_engine(&provider_config(&config))?;
        let ticker =
            Ticker::start(workers.iter().map(|worker| worker.engine.weak()).chain([providers.weak()]).collect())?;
        Ok(Inner {
            shared: Shared {
                workers: Arc::new(Workers::start(workers, config.policy_queue)?),
                counters,
                numbers: Arc::new(AtomicU64::new(0)),
            },
            providers,
            plugin_size: config.plugin_size,
            resolver: config.resolver,
            outside: config.outside,
            tls: http::tls(&config.extra_roots)?,
            cache: config.cache.as_deref().map(Cache::open).transpose()?,
            _ticker: ticker,
        })
    }

    /// The component's machine code for engines like this one: from the cache, or compiled now.
    pub(crate) fn compiled(&self, bytes: &[u8], digest: &str, engine: &wasmtime::Engine) -> Result<Vec<u8>, Refusal> {
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.get(digest, engine)) {
            return Ok(code);
        }
        let code = engine.precompile_component(bytes).map_err(|error| {
            Refusal::new(
                "damaged",
                format!("it does not compile: {error:#}"),
                "copy it again, and compare the digest with the publisher's",
            )
        })?;
        if let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.put(digest, engine, &code)) {
            tracing::warn!("compiled code could not be kept: {error:#}; the next start compiles again");
        }
        Ok(code)
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("shared", &self.shared).field("cache", &self.cache).finish_non_exhaustive()
    }
}

fn wasmtime_engine(config: &Config) -> anyhow::Result<wasmtime::Engine> {
    wasmtime::Engine::new(config).map_err(|error| anyhow::anyhow!("set up wasmtime: {error:#}"))
}

/// What both kinds of plugins have in common: no feature that one of them needs is missing, and no other is there.
fn common(config: &EngineConfig) -> Config {
    let mut common = Config::new();
    common.epoch_interruption(true);
    common.max_wasm_stack(usize::try_from(config.stack.0).unwrap_or(512 << 10));
    common.async_stack_size(usize::try_from(config.stack.0).unwrap_or(512 << 10) + (1 << 20));
    common.cranelift_nan_canonicalization(true);
    common.relaxed_simd_deterministic(true);
    common.shared_memory(false);
    common.wasm_memory64(false);
    common.concurrency_support(false);
    common
}

/// The fastest safe set-up for a fresh instance for each question (see `benches/decision.rs`).
fn policy_config(config: &EngineConfig) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(POOL);
    pool.total_core_instances(POOL * 64);
    pool.total_memories(POOL * PLACES);
    pool.total_tables(POOL * PLACES);
    pool.max_core_instances_per_component(64);
    pool.max_memories_per_component(PLACES);
    pool.max_tables_per_component(PLACES);
    pool.max_component_instance_size(1 << 20);
    pool.max_core_instance_size(1 << 20);
    pool.max_memory_size(usize::try_from(config.policy_memory.0).unwrap_or(usize::MAX));
    pool.table_elements(10_000);
    pool.linear_memory_keep_resident(RESIDENT);
    pool.table_keep_resident(8 << 10);
    // A page that was swapped out would be neither reset nor dropped.
    pool.pagemap_scan(Enabled::No);
    let mut policies = common(config);
    policies.consume_fuel(true);
    policies.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    policies
}

/// Instances of providers live long, so they are not pooled: how many there are is bounded per slot.
fn provider_config(config: &EngineConfig) -> Config {
    common(config)
}

fn not_started(why: &str) -> Refusal {
    Refusal {
        code: "host",
        what: "cannot start the plugin engine".into(),
        why: why.to_owned(),
        unchanged: "nothing was started".into(),
        next: "correct what is named and start the host again".into(),
    }
}

impl std::fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineConfig")
            .field("policy_workers", &self.policy_workers)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
