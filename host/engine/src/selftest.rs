//! Do the limits hold on this machine, now? A loop, a memory bomb and a sleeper are let loose at start, and each has
//! to be stopped by exactly the limit that is meant for it; else the host does not serve.
//!
//! Knows the limits' names, not how they work.

use crate::{
    grants::{Gate, Grants, SystemResolver},
    limits::{LimitSettings, Limits, Size, Span},
    policy::PolicyWorker,
    provider::{self, host::Outside},
    question::PolicyFault,
    refusal::Refusal,
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use wasmtime::component::Component;

const LOOP: &str = include_str!("selftest/loop.wat");
const BOMB: &str = include_str!("selftest/bomb.wat");
const SLEEPER: &str = include_str!("selftest/sleeper.wat");

const QUICK: Span = Span(Duration::from_millis(20));
/// Far more than any limit below needs; reached only by a limit that does not fire.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets them loose on a policy worker.
pub(crate) fn policies(worker: &PolicyWorker) -> Result<(), Refusal> {
    let small = Limits::policy().with(&LimitSettings { memory: Some(Size(1 << 20)), ..LimitSettings::default() });
    let timed =
        small.with(&LimitSettings { fuel: Some(u64::MAX / 2), wall_clock: Some(QUICK), ..LimitSettings::default() });
    let cases = [
        ("fuel", LOOP, small, "out-of-fuel"),
        ("wall-clock", LOOP, timed, "too-late"),
        ("memory", BOMB, small, "limit"),
        ("no waiting", SLEEPER, small, "not-for-policies"),
    ];
    for (limit, wat, limits, expected) in cases {
        let component =
            Component::new(&worker.engine, bytes(wat)?).map_err(|error| broken(limit, &error.to_string()))?;
        let found = worker.let_loose(&component, &limits);
        if kind(&found) != expected {
            return Err(broken(limit, &format!("a policy worker answered {found:?}")));
        }
    }
    Ok(())
}

/// Lets them loose on the providers' engine.
pub(crate) async fn providers(engine: &wasmtime::Engine, tls: &Arc<rustls::ClientConfig>) -> Result<(), Refusal> {
    let settings = LimitSettings { memory: Some(Size(1 << 20)), cpu: Some(QUICK), ..LimitSettings::default() };
    let limits = Limits::provider().with(&settings);
    for (limit, wat, expected) in [("cpu", LOOP, "cpu"), ("memory", BOMB, "memory")] {
        let found = timeout(PATIENCE, let_loose(engine, wat, &limits, tls)).await;
        match found {
            Ok(Err(text)) if text.contains(expected) => {}
            found => return Err(broken(limit, &format!("the providers' engine answered {found:?}"))),
        }
    }
    match timeout(QUICK.0, let_loose(engine, SLEEPER, &limits, tls)).await {
        Err(_) => Ok(()),
        Ok(found) => Err(broken("deadline", &format!("a sleeper was not there to be stopped: {found:?}"))),
    }
}

async fn let_loose(
    engine: &wasmtime::Engine,
    wat: &str,
    limits: &Limits,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<(), String> {
    let text = |error: wasmtime::Error| format!("{error:#}");
    let component = Component::new(engine, bytes(wat).map_err(|refusal| refusal.why)?).map_err(text)?;
    let gate =
        Gate::new("self-test", &[], Grants::default(), Arc::new(SystemResolver)).map_err(|refusal| refusal.why)?;
    let pre = provider::linker(engine).and_then(|linker| linker.instantiate_pre(&component)).map_err(text)?;
    let mut store = provider::store(engine, &"self-test".into(), &Arc::new(gate), tls, &Outside::default(), limits)
        .map_err(text)?;
    pre.instantiate_async(&mut store)
        .await
        .map(|_| ())
        .map_err(|error| provider::stopped(&error, Some(store.data_mut())))
}

fn bytes(wat: &str) -> Result<Vec<u8>, Refusal> {
    wat::parse_str(wat).map_err(|error| broken("the test itself", &error.to_string()))
}

fn kind(fault: &Result<(), PolicyFault>) -> &'static str {
    match fault {
        Err(PolicyFault::OutOfFuel(_)) => "out-of-fuel",
        Err(PolicyFault::TooLate(_)) => "too-late",
        Err(PolicyFault::Limit(_)) => "limit",
        Err(PolicyFault::NotForPolicies(_)) => "not-for-policies",
        _ => "something else",
    }
}

fn broken(limit: &str, found: &str) -> Refusal {
    Refusal {
        code: "self-test",
        what: "cannot start the plugin engine".into(),
        why: format!("the limit “{limit}” did not stop a plugin that breaks it on purpose: {found}"),
        unchanged: "nothing was started".into(),
        next: "do not run plugins on this machine; report this with the output of `tidegate --version` and `uname -a`"
            .into(),
    }
}
