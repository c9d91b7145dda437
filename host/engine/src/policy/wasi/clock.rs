//! Clocks that stand still, and randomness that repeats itself.
//!
//! Knows only the request; a plugin that merely describes itself finds the epoch and zeroes.

use super::{super::host::PolicyHost, refuse};
use crate::request::Request;
use sha2::{Digest as _, Sha256};
use wasmtime::{Result, bail, component::Resource};
use wasmtime_wasi::p2::{
    DynPollable,
    bindings::{
        clocks::{monotonic_clock, wall_clock},
        random::{insecure, insecure_seed, random},
    },
};

/// The same bytes for the same request: SHA-256 of the request and a counter.
#[derive(Debug, Default)]
pub(crate) struct Random {
    seed: Option<[u8; 32]>,
    counter: u64,
}

impl PolicyHost {
    fn now_ms(&self) -> u64 {
        self.request.as_ref().map_or(0, Request::now)
    }

    fn seed(&self) -> Result<[u8; 32]> {
        let text = self.request.as_ref().map(Request::seed).transpose()?.unwrap_or_else(|| b"null".to_vec());
        Ok(Sha256::digest(text).into())
    }

    fn random(&mut self, length: u64) -> Result<Vec<u8>> {
        if length > 1 << 16 {
            bail!("it asked for {length} random bytes at once; 65536 are the most");
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend_from_slice(&self.block()?);
        }
        bytes.truncate(usize::try_from(length)?);
        Ok(bytes)
    }

    fn block(&mut self) -> Result<[u8; 32]> {
        let seed = match self.random.seed {
            Some(seed) => seed,
            None => {
                let seed = self.seed()?;
                *self.random.seed.insert(seed)
            }
        };
        self.random.counter += 1;
        Ok(Sha256::new().chain_update(seed).chain_update(self.random.counter.to_le_bytes()).finalize().into())
    }

    fn number(&mut self) -> Result<u64> {
        let [a, b, c, d, e, f, g, h, ..] = self.block()?;
        Ok(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
    }
}

impl wall_clock::Host for PolicyHost {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        let now = self.now_ms();
        Ok(wall_clock::Datetime { seconds: now / 1_000, nanoseconds: u32::try_from(now % 1_000)? * 1_000_000 })
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}

impl monotonic_clock::Host for PolicyHost {
    fn now(&mut self) -> Result<u64> {
        Ok(self.now_ms().saturating_mul(1_000_000))
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(1_000_000)
    }

    fn subscribe_instant(&mut self, _: u64) -> Result<Resource<DynPollable>> {
        Err(refuse("waiting (wasi:clocks/monotonic-clock#subscribe-instant)"))
    }

    fn subscribe_duration(&mut self, _: u64) -> Result<Resource<DynPollable>> {
        Err(refuse("waiting (wasi:clocks/monotonic-clock#subscribe-duration)"))
    }
}

impl random::Host for PolicyHost {
    fn get_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        self.random(len)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        self.number()
    }
}

impl insecure::Host for PolicyHost {
    fn get_insecure_random_bytes(&mut self, len: u64) -> Result<Vec<u8>> {
        self.random(len)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.number()
    }
}

impl insecure_seed::Host for PolicyHost {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((self.number()?, self.number()?))
    }
}
