//! The one function by which each kind of policy is asked: found in a component, and called.
//!
//! A failover policy's is called by `policy` itself, which lends it its situation.

use super::{Asked, Said, host::PolicyHost};
use crate::{
    bindings::policies::exports::tidegate::dr::{cost_policy, failover_policy, retention_policy, tiering_policy},
    meter::NotForPolicies,
    request::{Reply, Request},
    translate::{list, requests},
    world::{CONTRACT, World},
};
use wasmtime::{
    Store,
    component::{Component, ComponentExportIndex, Instance, InstancePre},
};

/// By the world that the component belongs to.
pub(super) enum Entry {
    Failover(ComponentExportIndex),
    Retention(retention_policy::GuestIndices),
    Tiering(tiering_policy::GuestIndices),
    Cost(cost_policy::GuestIndices),
}

impl Entry {
    pub(super) fn of(component: &Component, instance: &InstancePre<PolicyHost>) -> wasmtime::Result<Self> {
        let exported = |kind: &str| component.get_export_index(None, &*format!("tidegate:dr/{kind}-policy@{CONTRACT}"));
        if let Some(interface) = exported("failover") {
            failover_policy::GuestIndices::new(instance)?;
            let decide = component.get_export_index(Some(&interface), "decide");
            return decide.map(Entry::Failover).ok_or_else(|| wasmtime::format_err!("it exports no decide"));
        }
        if exported("retention").is_some() {
            return retention_policy::GuestIndices::new(instance).map(Entry::Retention);
        }
        if exported("tiering").is_some() {
            return tiering_policy::GuestIndices::new(instance).map(Entry::Tiering);
        }
        cost_policy::GuestIndices::new(instance).map(Entry::Cost)
    }

    pub(super) fn world(&self) -> World {
        match self {
            Entry::Failover(_) => World::Failover,
            Entry::Retention(_) => World::Retention,
            Entry::Tiering(_) => World::Tiering,
            Entry::Cost(_) => World::Cost,
        }
    }

    /// A failover policy's `decide`.
    pub(super) fn failover(&self) -> wasmtime::Result<&ComponentExportIndex> {
        match self {
            Entry::Failover(decide) => Ok(decide),
            other => Err(other.not_asked(World::Failover)),
        }
    }

    /// Checks the function's type against ours, once, so that every call may rely on it.
    pub(super) fn check_type(&self, store: &mut Store<PolicyHost>, instance: &Instance) -> wasmtime::Result<()> {
        match self {
            Entry::Failover(decide) => instance.get_typed_func::<Asked<'_>, Said>(store, decide).map(|_| ()),
            Entry::Retention(policy) => policy.load(store, instance).map(|_| ()),
            Entry::Tiering(policy) => policy.load(store, instance).map(|_| ()),
            Entry::Cost(policy) => policy.load(store, instance).map(|_| ()),
        }
    }

    /// Asks a policy of retention, tiering or cost.
    pub(super) fn ask(
        &self,
        request: &Request,
        settings: &str,
        store: &mut Store<PolicyHost>,
        instance: &Instance,
    ) -> wasmtime::Result<Result<Reply, String>> {
        match (self, request) {
            (Entry::Retention(policy), Request::Retention(asked)) => {
                let asked = requests::retention(asked, settings);
                let said = policy.load(&mut *store, instance)?.call_select(store, &asked)?;
                Ok(said.map(|choices| Reply::Retention(list(choices))))
            }
            (Entry::Tiering(policy), Request::Tiering(asked)) => {
                let asked = requests::tiering(asked, settings);
                let said = policy.load(&mut *store, instance)?.call_place(store, &asked)?;
                Ok(said.map(|choices| Reply::Tiering(list(choices))))
            }
            (Entry::Cost(policy), Request::Cost(asked)) => {
                let asked = requests::cost(asked, settings);
                let said = policy.load(&mut *store, instance)?.call_advise(store, &asked)?;
                Ok(said.map(|advice| Reply::Cost(advice.into())))
            }
            (policy, request) => Err(policy.not_asked(request.world())),
        }
    }

    fn not_asked(&self, about: World) -> wasmtime::Error {
        wasmtime::Error::new(NotForPolicies(format!("a question about {about}, to a policy of {}", self.world())))
    }
}
