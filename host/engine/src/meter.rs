//! Counts what a guest uses up and stops it with a named error: memory, tables, instances, host calls.
//!
//! Knows no store and no world; both kinds of store keep one of these.

use crate::limits::{Limits, Size};
use std::fmt;
use wasmtime::{CallHook, ResourceLimiter};

/// The limit that stopped a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    Memory(Size),
    TableElements(u32),
    HostCalls(u32),
    /// Uninterrupted computing, in a provider.
    Cpu(crate::limits::Span),
}

/// A guest asked for something that only exists outside of a decision.
#[derive(Clone, Debug)]
pub(crate) struct NotForPolicies(pub(crate) String);

/// The running count of one store.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    memory: u64,
    host_calls: u32,
    /// The first limit that was hit: a guest may swallow the error that told it so.
    pub(crate) hit: Option<Hit>,
}

impl Meter {
    pub(crate) fn new(limits: Limits) -> Self {
        Meter { limits, memory: 0, host_calls: 0, hit: None }
    }

    /// A new call begins; memory stays where it is.
    pub(crate) fn restart(&mut self) {
        self.host_calls = 0;
        self.hit = None;
    }

    /// Calls of the host since the call began; the runtime's own (growing memory, a tick) count too.
    pub(crate) fn host_calls(&self) -> u32 {
        self.host_calls
    }

    /// Bytes of all linear memories together, those that the instance began with included.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// For every crossing between guest and host.
    pub(crate) fn cross(&mut self, hook: CallHook) -> wasmtime::Result<()> {
        if !matches!(hook, CallHook::CallingHost) {
            return Ok(());
        }
        self.host_calls += 1;
        if self.host_calls > self.limits.host_calls {
            return Err(self.stop(Hit::HostCalls(self.limits.host_calls)));
        }
        Ok(())
    }

    pub(crate) fn stop(&mut self, hit: Hit) -> wasmtime::Error {
        self.hit.get_or_insert(hit);
        wasmtime::Error::new(hit)
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.memory = self.memory.saturating_add((desired - current) as u64);
        if self.memory > self.limits.memory.0 {
            return Err(self.stop(Hit::Memory(self.limits.memory)));
        }
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.limits.table_elements as usize {
            return Err(self.stop(Hit::TableElements(self.limits.table_elements)));
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances as usize
    }

    fn tables(&self) -> usize {
        self.limits.tables as usize
    }

    fn memories(&self) -> usize {
        self.limits.memories as usize
    }
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hit::Memory(limit) => write!(f, "memory: {limit}"),
            Hit::TableElements(limit) => write!(f, "table-elements: {limit}"),
            Hit::HostCalls(limit) => write!(f, "host-calls: {limit}"),
            Hit::Cpu(limit) => write!(f, "cpu: {limit}"),
        }
    }
}

impl std::error::Error for Hit {}

impl fmt::Display for NotForPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotForPolicies {}
