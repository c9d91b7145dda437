//! WASI as a policy sees it: empty, frozen and deterministic.
//!
//! Both clocks stand at the question's `now`; randomness comes from the question's content; environment, arguments,
//! files and sockets are empty; what is printed goes to the log. Whoever waits, or calls anything else, is stopped by
//! a trap that says so, because a decision waits for nothing.

mod clock;
mod environment;
mod io;

pub(crate) use clock::Random;

use super::host::PolicyHost;
use crate::meter::NotForPolicies;
use wasmtime::{
    Result,
    component::{Component, HasSelf, Linker, ResourceType, types::ComponentItem},
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, IoError,
    bindings::{
        cli, clocks,
        filesystem::{preopens, types::Descriptor},
        random,
        sync::io::{error, poll, streams},
    },
};

/// Interfaces of which a policy gets the types and none of the functions.
const EMPTY: [&str; 2] = ["wasi:filesystem/types", "wasi:sockets/"];

/// WASI's imports of every policy world; what the component imports beyond them traps by name.
pub(crate) fn add_to_linker(linker: &mut Linker<PolicyHost>, component: &Component) -> Result<()> {
    type Own = HasSelf<PolicyHost>;
    cli::environment::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::exit::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::stdin::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::stdout::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::stderr::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::terminal_input::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::terminal_output::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::terminal_stdin::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::terminal_stdout::add_to_linker::<_, Own>(linker, |host| host)?;
    cli::terminal_stderr::add_to_linker::<_, Own>(linker, |host| host)?;
    clocks::wall_clock::add_to_linker::<_, Own>(linker, |host| host)?;
    clocks::monotonic_clock::add_to_linker::<_, Own>(linker, |host| host)?;
    random::random::add_to_linker::<_, Own>(linker, |host| host)?;
    random::insecure::add_to_linker::<_, Own>(linker, |host| host)?;
    random::insecure_seed::add_to_linker::<_, Own>(linker, |host| host)?;
    error::add_to_linker::<_, Own>(linker, |host| host)?;
    poll::add_to_linker::<_, Own>(linker, |host| host)?;
    streams::add_to_linker::<_, Own>(linker, |host| host)?;
    preopens::add_to_linker::<_, Own>(linker, |host| host)?;
    trap_the_rest(linker, component)
}

fn trap_the_rest(linker: &mut Linker<PolicyHost>, component: &Component) -> Result<()> {
    let engine = linker.engine().clone();
    for (name, item) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
        if !EMPTY.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut linker = linker.instance(name)?;
        for (function, item) in instance.exports(&engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => {
                    let what = format!("{name}#{function}");
                    linker.func_new(function, move |_, _, _, _| Err(refuse(&what)))?;
                }
                ComponentItem::Resource(_) => linker.resource(function, resource(function), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// An interface may pass on another's resource, which has to be the same there and here; its own nobody ever gets.
fn resource(name: &str) -> ResourceType {
    match name {
        "descriptor" => ResourceType::host::<Descriptor>(),
        "input-stream" => ResourceType::host::<DynInputStream>(),
        "output-stream" => ResourceType::host::<DynOutputStream>(),
        "pollable" => ResourceType::host::<DynPollable>(),
        "error" => ResourceType::host::<IoError>(),
        _ => ResourceType::host::<()>(),
    }
}

fn refuse(what: &str) -> wasmtime::Error {
    wasmtime::Error::new(NotForPolicies(what.to_owned()))
}
