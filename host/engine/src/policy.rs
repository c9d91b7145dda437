//! Asks a policy: a fresh instance for each question, everything about it bounded, nothing about it trusted.
//!
//! Synchronous and free of shared state, so that the simulator and the benches decide on their own thread exactly as
//! the host does. Does not know slots: a revision is handed in, a result is handed out.

mod check;
mod choices;
pub(crate) mod host;
mod kinds;
pub(crate) mod wasi;
pub(crate) mod workers;

use crate::{
    bindings::policies::exports::tidegate::dr::{failover_policy, plugin},
    limits::Limits,
    log::last_words,
    meter::NotForPolicies,
    metrics::Counters,
    question::{Decided, PolicyFault, Question},
    request::{Reply, Request},
    ticker::ticks,
    translate::{self, situation::Situation},
};
use host::PolicyHost;
use kinds::Entry;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};
use tidegate_kernel::contract::{Decision, Manifest, Problem};
use wasmtime::{
    Store, Trap,
    component::{Component, Instance, InstancePre, Linker, TypedFunc},
};

/// One policy, bound to one worker's engine.
pub(crate) struct PolicyCode {
    instance: InstancePre<PolicyHost>,
    plugin: plugin::GuestIndices,
    entry: Entry,
}

/// One policy with its settings and limits: immutable, and numbered.
#[derive(Debug)]
pub struct PolicyRevision {
    /// Grows with every installation, swap and rollback.
    pub number: u64,
    /// Of the plugin's file.
    pub digest: String,
    /// Of the settings.
    pub settings_hash: String,
    /// JSON, as the plugin accepted it.
    pub settings: String,
    /// What it may use up.
    pub limits: Limits,
    /// What it says of itself.
    pub manifest: Manifest,
    /// By worker.
    pub(crate) code: Arc<Vec<PolicyCode>>,
}

/// A thread's own engine and pool of instances. Nothing in it is shared with another worker, which is what makes two
/// of them twice as fast as one.
#[derive(Clone)]
pub struct PolicyWorker {
    pub(crate) index: usize,
    pub(crate) engine: wasmtime::Engine,
    pub(crate) counters: Arc<Counters>,
}

/// What one call of a guest left behind.
struct Ran<R> {
    result: Result<R, PolicyFault>,
    host: Option<PolicyHost>,
    fuel: u64,
}

/// What `decide` takes, and what it returns.
type Asked<'a> = (Situation<'a>,);
type Said = (Result<failover_policy::Decision, String>,);

impl PolicyRevision {
    /// The plugin's own name and version.
    pub fn plugin(&self) -> String {
        format!("{} {}", self.manifest.name, self.manifest.version)
    }
}

impl PolicyCode {
    /// Links a component that `inspect` has found to be a policy; an import that does not fit is named in the error.
    pub(crate) fn link(engine: &wasmtime::Engine, component: &Component) -> wasmtime::Result<Self> {
        let instance = instance_pre(engine, component)?;
        let plugin = plugin::GuestIndices::new(&instance)?;
        let entry = Entry::of(component, &instance)?;
        Ok(PolicyCode { instance, plugin, entry })
    }
}

impl std::fmt::Debug for PolicyCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyCode").finish_non_exhaustive()
    }
}

impl PolicyWorker {
    /// Asks the revision, a failover policy. Whatever goes wrong is a fault, never a verdict, and never a panic.
    pub fn decide(&self, revision: &PolicyRevision, question: &Arc<Question>) -> Decided {
        let entry = &revision.code[self.index].entry;
        self.put(
            revision,
            Request::Failover(question.clone()),
            |store, instance| decide(entry, revision, question, store, instance),
            |decision| check::check(decision, &question.situation),
        )
    }

    /// Asks the revision, a policy of any kind: the same, for what is asked too seldom to be lent.
    pub fn ask(&self, revision: &PolicyRevision, request: &Request) -> Decided<Reply> {
        if let Request::Failover(question) = request {
            return self.decide(revision, question).map(Reply::Failover);
        }
        let entry = &revision.code[self.index].entry;
        self.put(
            revision,
            request.clone(),
            |store, instance| entry.ask(request, &revision.settings, store, instance),
            |reply| choices::check(reply, request),
        )
    }

    fn put<R>(
        &self,
        revision: &PolicyRevision,
        request: Request,
        call: impl FnOnce(&mut Store<PolicyHost>, &Instance) -> wasmtime::Result<Result<R, String>>,
        check: impl FnOnce(&R) -> Result<(), String>,
    ) -> Decided<R> {
        let started = Instant::now();
        let mut ran = self.run(&revision.code[self.index].instance, &revision.limits, Some(request), call);
        let result = ran.result.and_then(|said| said.map_err(PolicyFault::Declined)).and_then(|said| {
            check(&said).map_err(PolicyFault::Invalid)?;
            Ok(said)
        });
        self.counters.decided(&result);
        Decided {
            revision: revision.number,
            digest: revision.digest.clone(),
            settings_hash: revision.settings_hash.clone(),
            result,
            answers: ran.host.as_mut().map(|host| std::mem::take(&mut host.answers)).unwrap_or_default(),
            fuel: ran.fuel,
            took: u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            memory: ran.host.as_ref().map_or(0, |host| host.meter.memory()),
            log: ran.host.as_mut().map(PolicyHost::lines).unwrap_or_default(),
        }
    }

    /// What the plugin says of itself; also checks that what it is asked by has the contract's type.
    pub(crate) fn describe(&self, code: &PolicyCode, limits: &Limits) -> Result<Manifest, PolicyFault> {
        let ran = self.run(&code.instance, limits, None, |store, instance| {
            code.entry.check_type(store, instance)?;
            code.plugin.load(&mut *store, instance)?.call_describe(store)
        });
        ran.result.map(Into::into)
    }

    /// What the plugin finds wrong with the settings.
    pub(crate) fn check_settings(
        &self,
        code: &PolicyCode,
        limits: &Limits,
        settings: &str,
    ) -> Result<Vec<Problem>, PolicyFault> {
        let ran = self.run(&code.instance, limits, None, |store, instance| {
            code.plugin.load(&mut *store, instance)?.call_check_settings(store, settings)
        });
        ran.result.map(|found| translate::list(found.err().unwrap_or_default()))
    }

    /// Starts a component that need not be a plugin, and tells what stopped it.
    pub(crate) fn let_loose(&self, component: &Component, limits: &Limits) -> Result<(), PolicyFault> {
        let instance =
            instance_pre(&self.engine, component).map_err(|error| PolicyFault::Unavailable(format!("{error:#}")))?;
        self.run(&instance, limits, None, |_, _| Ok(())).result
    }

    /// A fresh instance, one call, thrown away: a store that has seen a trap is never used again.
    fn run<R>(
        &self,
        instance: &InstancePre<PolicyHost>,
        limits: &Limits,
        request: Option<Request>,
        call: impl FnOnce(&mut Store<PolicyHost>, &Instance) -> wasmtime::Result<R>,
    ) -> Ran<R> {
        let guarded = catch_unwind(AssertUnwindSafe(|| {
            let mut store = self.store(limits, request)?;
            let result = instance.instantiate(&mut store).and_then(|instance| call(&mut store, &instance));
            let fuel = limits.fuel - store.get_fuel().unwrap_or_default().min(limits.fuel);
            let mut host = store.into_data();
            let result = result.map_err(|error| fault(&error, &mut host, limits));
            Ok::<_, wasmtime::Error>(Ran { result, host: Some(host), fuel })
        }));
        match guarded {
            Ok(Ok(ran)) => ran,
            Ok(Err(error)) => Ran { result: Err(PolicyFault::Unavailable(format!("{error:#}"))), host: None, fuel: 0 },
            Err(panic) => {
                self.counters.host_panics.add();
                let text = format!("the host failed while it served the policy: {}", panic_text(&*panic));
                Ran { result: Err(PolicyFault::Unavailable(text)), host: None, fuel: 0 }
            }
        }
    }

    fn store(&self, limits: &Limits, request: Option<Request>) -> wasmtime::Result<Store<PolicyHost>> {
        let mut store = Store::new(&self.engine, PolicyHost::new(limits, request));
        store.limiter(|host| &mut host.meter);
        store.call_hook(|mut store, hook| store.data_mut().meter.cross(hook));
        store.set_fuel(limits.fuel)?;
        store.set_epoch_deadline(ticks(limits.wall_clock.0));
        store.set_hostcall_fuel(usize::try_from(limits.output.0.max(limits.transfer.0)).unwrap_or(usize::MAX));
        Ok(store)
    }
}

impl std::fmt::Debug for PolicyWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicyWorker").field("index", &self.index).finish_non_exhaustive()
    }
}

fn instance_pre(engine: &wasmtime::Engine, component: &Component) -> wasmtime::Result<InstancePre<PolicyHost>> {
    let mut linker = Linker::new(engine);
    host::add_to_linker(&mut linker)?;
    wasi::add_to_linker(&mut linker, component)?;
    linker.instantiate_pre(component)
}

fn decide(
    entry: &Entry,
    revision: &PolicyRevision,
    question: &Question,
    store: &mut Store<PolicyHost>,
    instance: &Instance,
) -> wasmtime::Result<Result<Decision, String>> {
    let index = entry.failover()?;
    let func = instance.get_func(&mut *store, index).ok_or_else(|| wasmtime::format_err!("it exports no decide"))?;
    #[expect(unsafe_code, reason = "checking a hundred fields for each decision costs more than the decision")]
    // SAFETY: `describe` runs `check_type` on every component before a revision of it exists, and the type of a
    // component's export is the same in each of its instances.
    let func: TypedFunc<Asked<'_>, Said> = unsafe { TypedFunc::new_unchecked(func) };
    let memo =
        if question.memo_format == revision.manifest.memo_format { question.situation.memo.as_str() } else { "" };
    let situation = Situation::lend(&question.situation, memo, &revision.settings);
    let (said,) = func.call(store, (situation,))?;
    Ok(said.map(Into::into))
}

/// What stopped the guest, most telling first.
fn fault(error: &wasmtime::Error, host: &mut PolicyHost, limits: &Limits) -> PolicyFault {
    if let Some(hit) = host.meter.hit {
        return PolicyFault::Limit(hit.to_string());
    }
    if let Some(asked) = error.downcast_ref::<NotForPolicies>() {
        return PolicyFault::NotForPolicies(asked.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return PolicyFault::OutOfFuel(limits.fuel),
        Some(Trap::Interrupt) => return PolicyFault::TooLate(limits.wall_clock.as_millis()),
        Some(Trap::StackOverflow) => return PolicyFault::Limit("stack (of the engine)".into()),
        _ => {}
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return PolicyFault::Unavailable("the instance pool is exhausted".into());
    }
    let cause = error.root_cause().to_string();
    // wasmtime keeps the type of this one to itself.
    if cause.contains("fuel allocated for hostcalls") {
        return PolicyFault::Limit(format!("output: {}, or transfer: {}", limits.output, limits.transfer));
    }
    PolicyFault::Trapped(format!("{cause}{}", last_words(&host.lines())))
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without words")
}
