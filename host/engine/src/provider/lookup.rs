//! `wasi:sockets/ip-name-lookup` through the gate: only granted names resolve, and only to admitted addresses.
//!
//! Takes the place of the runtime's own, which knows only "all names" and "none". The look-up is done when it is
//! asked for, so that there is nothing left to wait for afterwards.

use super::host::ProviderHost;
use std::{net::IpAddr, vec};
use tidegate_kernel::contract::Failure;
use wasmtime::{
    Result, StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::p2::{
    DynPollable, Network, Pollable,
    bindings::sockets::network::{ErrorCode, IpAddress},
    subscribe,
};

const INTERFACE: &str = "wasi:sockets/ip-name-lookup@0.2.12";

/// The addresses of one look-up, handed out one by one.
struct Found(vec::IntoIter<IpAddr>);

#[wasmtime_wasi::async_trait]
impl Pollable for Found {
    async fn ready(&mut self) {}
}

type Host<'a> = StoreContextMut<'a, ProviderHost>;

pub(super) fn add_to_linker(linker: &mut Linker<ProviderHost>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut instance = linker.instance(INTERFACE)?;
    instance.resource("resolve-address-stream", ResourceType::host::<Found>(), |mut host, index| {
        host.data_mut().table.delete(Resource::<Found>::new_own(index))?;
        Ok(())
    })?;
    instance.func_wrap_async("resolve-addresses", |host, (_, name): (Resource<Network>, String)| {
        Box::new(async move { Ok((resolve(host, name).await?,)) })
    })?;
    instance
        .func_wrap("[method]resolve-address-stream.resolve-next-address", |host, (found,)| Ok((next(host, found)?,)))?;
    instance.func_wrap("[method]resolve-address-stream.subscribe", |host, (found,)| Ok((wait(host, found)?,)))?;
    linker.allow_shadowing(false);
    Ok(())
}

async fn resolve(mut host: Host<'_>, name: String) -> Result<std::result::Result<Resource<Found>, ErrorCode>> {
    let gate = host.data().gate.clone();
    let addresses = match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        // Not a look-up; the connection itself is checked.
        Ok(address) => Ok(vec![address]),
        Err(_) => gate.resolve(&name).await,
    };
    match addresses {
        Ok(addresses) => Ok(Ok(host.data_mut().table.push(Found(addresses.into_iter()))?)),
        Err(Failure::Denied(_)) => Ok(Err(ErrorCode::AccessDenied)),
        Err(_) => Ok(Err(ErrorCode::NameUnresolvable)),
    }
}

fn next(mut host: Host<'_>, found: Resource<Found>) -> Result<std::result::Result<Option<IpAddress>, ErrorCode>> {
    Ok(Ok(host.data_mut().table.get_mut(&found)?.0.next().map(Into::into)))
}

fn wait(mut host: Host<'_>, found: Resource<Found>) -> Result<Resource<DynPollable>> {
    subscribe(&mut host.data_mut().table, found)
}
