//! What a provider finds behind its imports: everything goes through the gate.
//!
//! Does not know what the provider does with it, nor where secrets and commands come from.

use super::tls::Tls;
use crate::{
    bindings::providers::tidegate::dr::{command, log, secrets, types},
    grants::{BoxFuture, Gate, Scheme},
    http::Sender,
    limits::Limits,
    log::{Level, Line, Log},
    meter::{Hit, Meter},
    ticker::TICK,
};
use bytes::Bytes;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tidegate_kernel::contract::{Failure, Millis, Output};
use tokio::io::AsyncWrite;
use wasmtime::{
    StoreContextMut, UpdateDeadline,
    component::{HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{
    FsPerms, WasiCtx, WasiCtxView, WasiView,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
    sockets::SocketAddrUse,
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_tls::{WasiTlsCtx, WasiTlsCtxBuilder, WasiTlsCtxView, WasiTlsView};

/// Where secrets come from. Asked for each time, so that today's value is the one that counts.
pub trait SecretSource: Send + Sync {
    /// The secret's bytes; the gate has already allowed it.
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>>;
}

/// Runs commands that the operator has declared, on the site concerned.
pub trait CommandRunner: Send + Sync {
    /// Runs it and waits for its end; the gate has already allowed it.
    fn run<'a>(&'a self, run: CommandRun) -> BoxFuture<'a, Result<Output, Failure>>;
}

/// One run of a declared command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRun {
    /// Whose provider asks.
    pub slot: String,
    /// Where.
    pub site: String,
    /// Which.
    pub name: String,
    /// Name and value of each argument.
    pub arguments: Vec<(String, String)>,
    /// The same key of the same slot is run once; none = a look, run each time.
    pub key: Option<String>,
    /// For how long at most.
    pub timeout: Millis,
}

/// There are no secrets and no commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

/// What the daemon lends to every provider.
#[derive(Clone)]
pub struct Outside {
    /// Where secrets come from.
    pub secrets: Arc<dyn SecretSource>,
    /// Who runs commands.
    pub commands: Arc<dyn CommandRunner>,
}

/// The state of one instance.
pub(crate) struct ProviderHost {
    pub(crate) meter: Meter,
    log: Arc<Mutex<Log>>,
    pub(super) table: ResourceTable,
    pub(super) gate: Arc<Gate>,
    slot: Arc<str>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    tls: WasiTlsCtx,
    sender: Sender,
    outside: Outside,
    limits: Limits,
    /// Ticks since the guest last called the host.
    spinning: u32,
    calls_at_tick: u32,
}

impl SecretSource for Nothing {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        Box::pin(async move { Err(Failure::NotFound(format!("secret {name}"))) })
    }
}

impl CommandRunner for Nothing {
    fn run<'a>(&'a self, run: CommandRun) -> BoxFuture<'a, Result<Output, Failure>> {
        Box::pin(async move { Err(Failure::NotFound(format!("command {}", run.name))) })
    }
}

impl Default for Outside {
    fn default() -> Self {
        Outside { secrets: Arc::new(Nothing), commands: Arc::new(Nothing) }
    }
}

impl std::fmt::Debug for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl ProviderHost {
    pub(crate) fn new(
        slot: &Arc<str>,
        gate: &Arc<Gate>,
        sender: Sender,
        outside: &Outside,
        limits: &Limits,
    ) -> wasmtime::Result<Self> {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources as usize);
        let log = Arc::new(Mutex::new(Log::new(limits.log.0)));
        Ok(ProviderHost {
            meter: Meter::new(*limits),
            wasi: wasi(gate, &log)?,
            log,
            table,
            gate: gate.clone(),
            slot: slot.clone(),
            http: WasiHttpCtx::new(),
            tls: WasiTlsCtxBuilder::new().provider(Box::new(Tls(sender.tls.clone()))).build(),
            sender,
            outside: outside.clone(),
            limits: *limits,
            spinning: 0,
            calls_at_tick: 0,
        })
    }

    /// Before each call, which ends by then: what the last one used up is forgotten.
    pub(crate) fn restart(&mut self, until: Instant) {
        self.meter.restart();
        self.sender.until = until;
        self.spinning = 0;
        self.calls_at_tick = 0;
    }

    /// Lets others run; stops a guest that has only computed for too long.
    pub(crate) fn tick(mut store: StoreContextMut<'_, ProviderHost>) -> wasmtime::Result<UpdateDeadline> {
        let host = store.data_mut();
        let calls = host.meter.host_calls();
        // The tick itself is a crossing to the host.
        let computing = calls <= host.calls_at_tick + 1;
        host.spinning = if computing { host.spinning + 1 } else { 0 };
        host.calls_at_tick = calls;
        if TICK * host.spinning > host.limits.cpu.0 {
            return Err(host.meter.stop(Hit::Cpu(host.limits.cpu)));
        }
        Ok(UpdateDeadline::Yield(1))
    }

    /// Hands the lines of a finished call to the host's own log, and returns them.
    pub(crate) fn flush_log(&mut self) -> Vec<Line> {
        let lines = lock(&self.log).take(self.limits.log.0);
        for line in &lines {
            match line.level {
                Level::Debug => tracing::debug!(slot = %self.slot, "{}", line.text),
                Level::Info => tracing::info!(slot = %self.slot, "{}", line.text),
                Level::Warn => tracing::warn!(slot = %self.slot, "{}", line.text),
                Level::Error => tracing::error!(slot = %self.slot, "{}", line.text),
            }
        }
        lines
    }
}

/// The contract's imports of every provider world, WASI, HTTP, and TLS.
pub(crate) fn add_to_linker(linker: &mut Linker<ProviderHost>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    super::tls::add_to_linker(linker)?;
    log::add_to_linker::<_, HasSelf<ProviderHost>>(linker, |host| host)?;
    secrets::add_to_linker::<_, HasSelf<ProviderHost>>(linker, |host| host)?;
    command::add_to_linker::<_, HasSelf<ProviderHost>>(linker, |host| host)?;
    super::lookup::add_to_linker(linker)
}

/// An empty environment, the granted directories, and sockets behind the gate.
fn wasi(gate: &Arc<Gate>, log: &Arc<Mutex<Log>>) -> wasmtime::Result<WasiCtx> {
    let mut wasi = WasiCtx::builder();
    wasi.stdout(Printed(log.clone())).stderr(Printed(log.clone()));
    for (name, directory) in gate.directories() {
        let perms = if directory.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(&directory.path, name, perms)?;
    }
    let gate = gate.clone();
    wasi.allow_tcp(true).allow_udp(true).socket_addr_check(move |address, usage| {
        let allowed = admit(&gate, address, usage);
        Box::pin(async move { allowed })
    });
    Ok(wasi.build())
}

/// Standard output and error: both are the provider talking.
struct Printed(Arc<Mutex<Log>>);

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Printed(self.0.clone()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        lock(&self.0).print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

fn admit(gate: &Gate, address: SocketAddr, usage: SocketAddrUse) -> bool {
    match usage {
        // Every connection binds to a free port of its own first; a port that others could find is not for plugins.
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind if address.port() == 0 => true,
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind | SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => {
            gate.serve(address);
            false
        }
        SocketAddrUse::TcpConnect => gate.socket(Scheme::Tcp, address).is_ok(),
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => gate.socket(Scheme::Udp, address).is_ok(),
    }
}

impl WasiView for ProviderHost {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for ProviderHost {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.sender }
    }
}

impl WasiTlsView for ProviderHost {
    fn tls(&mut self) -> WasiTlsCtxView<'_> {
        WasiTlsCtxView { ctx: &mut self.tls, table: &mut self.table }
    }
}

impl types::Host for ProviderHost {}

impl log::Host for ProviderHost {
    fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        lock(&self.log).line(Level::from(level), text);
        Ok(())
    }
}

impl secrets::Host for ProviderHost {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<Vec<u8>, types::Failure>> {
        if let Err(denied) = self.gate.secret(&name) {
            return Ok(Err(Failure::from(denied).into()));
        }
        Ok(self.outside.secrets.get(&name).await.map_err(Into::into))
    }
}

impl command::Host for ProviderHost {
    async fn run(
        &mut self,
        site: String,
        name: String,
        arguments: Vec<(String, String)>,
        key: Option<String>,
        timeout: u64,
    ) -> wasmtime::Result<Result<command::Output, types::Failure>> {
        if let Err(denied) = self.gate.command(&name) {
            return Ok(Err(Failure::from(denied).into()));
        }
        let slot = self.slot.to_string();
        let run = CommandRun { slot, site, name, arguments, key, timeout };
        Ok(self.outside.commands.run(run).await.map(Into::into).map_err(Into::into))
    }
}
