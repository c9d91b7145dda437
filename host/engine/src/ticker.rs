//! Advances the epoch of every engine at a steady pace, from an operating-system thread of its own.
//!
//! Not on the async runtime: a guest that spins there would also stop the clock that is to stop it. Knows no deadline;
//! each store sets its own, relative to now.

use anyhow::Context as _;
use std::{
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};
use wasmtime::EngineWeak;

/// One tick: fine enough for a limit of 10 ms, coarse enough to cost nothing.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engines: Vec<EngineWeak>) -> anyhow::Result<Self> {
        let (stop, stopped) = channel();
        let run = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                for engine in engines.iter().filter_map(EngineWeak::upgrade) {
                    engine.increment_epoch();
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("epoch-ticker".into()).spawn(run).context("start the epoch ticker")?;
        Ok(Ticker { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many ticks from now give a guest at least that long.
pub(crate) fn ticks(span: Duration) -> u64 {
    let whole = span.as_millis().div_ceil(TICK.as_millis());
    // The running tick may be nearly over.
    u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1)
}
