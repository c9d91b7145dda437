//! Makes a revision: verify, compile, ask what it is, check its settings, test it, warm it. Nothing that serves is
//! touched, and everything slow happens on a thread for slow things.
//!
//! Does not know how a revision comes into service (`slot`).

use crate::{
    engine::Inner,
    grants::{Gate, Grants},
    inspect::{self, Inspected},
    limits::{LimitSettings, Limits},
    metrics::Counters,
    neutral,
    policy::{PolicyCode, PolicyRevision, PolicyWorker},
    provider::{ProviderCode, ProviderRevision, pool::unpanicking, settings_refused, stopped},
    question::{PolicyFault, Question},
    refusal::Refusal,
    slot::Shared,
    world::World,
};
use std::{future::Future, sync::Arc};
use tidegate_kernel::contract::{Fact, Manifest, Situation, Want};
use tokio::time::timeout;
use wasmtime::component::Component;

/// What to do about a policy that ran into a limit.
const GIVE_MORE: &str = "if it needs that, give it more: `limits = { memory = \"64MiB\" }` in its slot, or --limit memory=64MiB; else \
                         tell the plugin's author";
/// A policy with more memory than this loses the resident pages that make a fresh instance cheap.
const RESIDENT: u64 = 256 << 10;

/// What is to become a slot's next revision.
#[derive(Clone, Debug, Default)]
pub struct RevisionSpec {
    /// "failover/default": the part before the slash says which world the slot takes.
    pub slot: String,
    /// Where the bytes come from, for people: a path, or "built in".
    pub source: String,
    /// The component.
    pub bytes: Vec<u8>,
    /// The plugin's settings.
    pub settings: serde_json::Value,
    /// What the operator gives to it.
    pub grants: Grants,
    /// What it may use up, where that differs from the defaults.
    pub limits: LimitSettings,
    /// What the fleet file declares for a provider: name → JSON.
    pub declared: Vec<Fact>,
    /// Situations that a policy has to answer before it may serve.
    pub cases: Vec<Situation>,
}

/// A revision that has passed everything and waits for its slot.
#[derive(Debug)]
pub struct Staged {
    slot: String,
    source: String,
    inspected: Inspected,
    missing: Vec<Want>,
    shared: Shared,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Policy(PolicyRevision),
    Provider(ProviderRevision),
}

impl Staged {
    /// What the plugin says of itself.
    pub fn manifest(&self) -> &Manifest {
        match &self.kind {
            Kind::Policy(revision) => &revision.manifest,
            Kind::Provider(revision) => &revision.manifest,
        }
    }

    /// What the component is, seen from outside.
    pub fn inspected(&self) -> &Inspected {
        &self.inspected
    }

    /// What the plugin wants and the operator has not given.
    pub fn missing_grants(&self) -> &[Want] {
        &self.missing
    }

    pub(crate) fn into_policy(self) -> Result<(String, PolicyRevision, Shared), Refusal> {
        match self.kind {
            Kind::Policy(revision) => Ok((self.slot, revision, self.shared)),
            Kind::Provider(_) => Err(Refusal::new(
                "wrong-slot",
                "it is a provider, and the slot takes a policy",
                "use a provider's slot",
            )
            .for_slot(&self.slot, &self.source)),
        }
    }

    pub(crate) fn into_provider(self) -> Result<(String, ProviderRevision, Shared), Refusal> {
        match self.kind {
            Kind::Provider(revision) => Ok((self.slot, revision, self.shared)),
            Kind::Policy(_) => {
                Err(Refusal::new("wrong-slot", "it is a policy, and the slot takes a provider", "use a policy's slot")
                    .for_slot(&self.slot, &self.source))
            }
        }
    }
}

/// Makes the revision, or says why not.
pub(crate) async fn stage(inner: &Arc<Inner>, spec: RevisionSpec) -> Result<Staged, Refusal> {
    let (slot, source) = (spec.slot.clone(), spec.source.clone());
    let inspected = admitted(inner, &spec)?;
    let world = inspected.world;
    let made = if world.is_policy() {
        let (inner, inspected) = (inner.clone(), inspected.clone());
        let staging = move || policy(&inner, &spec, &inspected);
        flatten(tokio::task::spawn_blocking(staging).await).map(|revision| (Kind::Policy(revision), Vec::new()))
    } else {
        provider(inner, spec, &inspected).await.map(|revision| {
            let missing = revision.gate.missing();
            (Kind::Provider(revision), missing)
        })
    };
    let (kind, missing) = made.map_err(|refusal| refusal.for_slot(&slot, &source))?;
    Ok(Staged { slot, source, inspected, missing, shared: inner.shared.clone(), kind })
}

fn flatten<T>(joined: Result<Result<T, Refusal>, tokio::task::JoinError>) -> Result<T, Refusal> {
    joined.unwrap_or_else(|error| {
        Err(Refusal::new("host", format!("the host failed while it staged the plugin: {error}"), "report this"))
    })
}

/// The file is a component of the world that the slot takes.
fn admitted(inner: &Inner, spec: &RevisionSpec) -> Result<Inspected, Refusal> {
    let named = |refusal: Refusal| refusal.for_slot(&spec.slot, &spec.source);
    let wanted = World::of_slot(&spec.slot).ok_or_else(|| {
        let kinds: Vec<&str> = World::ALL.iter().map(|world| world.slot_prefix()).collect();
        named(Refusal::new(
            "no-slot",
            format!("“{}” is no slot's name", spec.slot),
            format!("name it KIND/NAME, KIND being one of: {}", kinds.join(", ")),
        ))
    })?;
    let limits = |world| limits(world, &spec.limits);
    let inspected = inspect::inspect(&spec.bytes, inner.plugin_size, limits).map_err(named)?;
    if inspected.world != wanted {
        let why = format!("it is a {} and the slot takes a {wanted}", inspected.world);
        let next = format!("load it into a slot named {}/…", inspected.world.slot_prefix());
        return Err(named(Refusal::new("wrong-world", why, next)));
    }
    Ok(inspected)
}

pub(crate) fn limits(world: World, settings: &LimitSettings) -> Limits {
    if world.is_policy() { Limits::policy().with(settings) } else { Limits::provider().with(settings) }
}

fn policy(inner: &Inner, spec: &RevisionSpec, inspected: &Inspected) -> Result<PolicyRevision, Refusal> {
    let limits = limits(inspected.world, &spec.limits);
    let workers = quiet(&inner.shared.workers.workers);
    let compiled = inner.compiled(&spec.bytes, &inspected.digest, &workers[0].engine)?;
    let code: Vec<PolicyCode> = workers.iter().map(|worker| link(worker, &compiled)).collect::<Result<_, _>>()?;
    let settings = spec.settings.to_string();
    let manifest = workers[0].describe(&code[0], &limits).map_err(|fault| failed("describe", &fault))?;
    let problems =
        workers[0].check_settings(&code[0], &limits, &settings).map_err(|fault| failed("check-settings", &fault))?;
    if !problems.is_empty() {
        return Err(settings_refused(&problems));
    }
    let revision = PolicyRevision {
        number: inner.shared.number(),
        digest: inspected.digest.clone(),
        settings_hash: inspect::digest(settings.as_bytes()),
        settings,
        limits,
        manifest,
        code: Arc::new(code),
    };
    test(&workers, &revision, inspected.world, &spec.cases)?;
    Ok(revision)
}

/// The same engines, counted apart: a test is not a decision.
fn quiet(workers: &[PolicyWorker]) -> Vec<PolicyWorker> {
    let apart = |worker: &PolicyWorker| PolicyWorker { counters: Arc::new(Counters::default()), ..worker.clone() };
    workers.iter().map(apart).collect()
}

fn link(worker: &PolicyWorker, compiled: &[u8]) -> Result<PolicyCode, Refusal> {
    let component = loaded(&worker.engine, compiled)?;
    if let Some(memory) = component.resources_required().and_then(|needs| needs.max_initial_memory_size)
        && memory > RESIDENT
    {
        tracing::warn!(
            memory,
            "the policy starts with more than {RESIDENT} bytes of memory: each decision costs about twice as much"
        );
    }
    PolicyCode::link(&worker.engine, &component).map_err(|error| unlinked(&error))
}

fn test(workers: &[PolicyWorker], revision: &PolicyRevision, world: World, cases: &[Situation]) -> Result<(), Refusal> {
    for (number, case) in cases.iter().enumerate() {
        let question = Arc::new(Question::new(case.clone()));
        // In every worker, because a real case warms what a quiet situation does not touch.
        for worker in workers {
            if let Err(fault) = worker.decide(revision, &question).result {
                return Err(failed(&format!("case {} ({})", number + 1, case.service), &fault));
            }
        }
    }
    let Some(quiet) = neutral::request(world) else { return Ok(()) };
    for worker in workers {
        match worker.ask(revision, &quiet).result {
            // A policy may well decline what it does not know.
            Ok(_) | Err(PolicyFault::Declined(_)) => {}
            Err(fault) => return Err(failed("the quiet situation", &fault)),
        }
    }
    Ok(())
}

async fn provider(inner: &Arc<Inner>, spec: RevisionSpec, inspected: &Inspected) -> Result<ProviderRevision, Refusal> {
    let (compiling, digest, bytes) = (inner.clone(), inspected.digest.clone(), spec.bytes);
    let world = inspected.world;
    let link = move || {
        let compiled = compiling.compiled(&bytes, &digest, &compiling.providers)?;
        let component = loaded(&compiling.providers, &compiled)?;
        ProviderCode::link(&compiling.providers, &component, world).map_err(|error| unlinked(&error))
    };
    let code = flatten(tokio::task::spawn_blocking(link).await)?;
    let settings = spec.settings.to_string();
    let closed = Gate::new(&spec.slot, &[], Grants::default(), inner.resolver.clone())?;
    let mut revision = ProviderRevision {
        number: inner.shared.number(),
        digest: inspected.digest.clone(),
        settings_hash: inspect::digest(settings.as_bytes()),
        settings,
        declared: spec.declared,
        limits: limits(world, &spec.limits),
        manifest: nobody(),
        slot: spec.slot.as_str().into(),
        // Until the plugin has said what it wants, it gets nothing.
        gate: Arc::new(closed),
        outside: inner.outside.clone(),
        tls: inner.tls.clone(),
        code: Arc::new(code),
    };
    revision.manifest = bounded("describe", &revision, revision.describe()).await?;
    revision.gate = Arc::new(Gate::new(&spec.slot, &revision.manifest.wants, spec.grants, inner.resolver.clone())?);
    let problems = bounded("check-settings", &revision, revision.check_settings()).await?;
    if !problems.is_empty() {
        return Err(settings_refused(&problems));
    }
    bounded("configure", &revision, revision.start()).await?.map_err(|problems| settings_refused(&problems))?;
    Ok(revision)
}

fn nobody() -> Manifest {
    Manifest {
        name: String::new(),
        version: String::new(),
        summary: String::new(),
        settings_schema: String::new(),
        wants: Vec::new(),
        memo_format: String::new(),
    }
}

async fn bounded<T>(
    what: &str,
    revision: &ProviderRevision,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Refusal> {
    let why = match timeout(revision.limits.wall_clock.0, unpanicking(work)).await {
        Ok(Ok(Ok(done))) => return Ok(done),
        Ok(Ok(Err(error))) => stopped(&error, None),
        Ok(Err(panic)) => panic,
        Err(_) => format!("it gave no answer within {}", revision.limits.wall_clock),
    };
    Err(Refusal::new(
        "self-test",
        format!("{what} failed: {why}"),
        "tell the plugin's author, or keep the revision that works",
    ))
}

fn failed(what: &str, fault: &PolicyFault) -> Refusal {
    let next = match fault {
        PolicyFault::Limit(_) | PolicyFault::OutOfFuel(_) => GIVE_MORE,
        _ => "tell the plugin's author, or keep the revision that works",
    };
    Refusal::new("self-test", format!("{what} failed: {fault}"), next)
}

fn unlinked(error: &wasmtime::Error) -> Refusal {
    Refusal::new(
        "unknown-import",
        format!("it does not fit this host: {error:#}"),
        "build it against this host's contract and no other interfaces",
    )
}

/// Code that this host compiled, in an engine.
fn loaded(engine: &wasmtime::Engine, compiled: &[u8]) -> Result<Component, Refusal> {
    #[expect(unsafe_code, reason = "the only way to load compiled code")]
    // SAFETY: `compiled` comes from `Inner::compiled`, that is from this process's own compiler, or from a cache entry
    // that this host wrote and authenticated under a key that nobody else can read.
    let component = unsafe { Component::deserialize(engine, compiled) };
    component.map_err(|error| {
        Refusal::new(
            "host",
            format!("its compiled code does not load: {error:#}"),
            "delete the host's code cache and try again",
        )
    })
}
