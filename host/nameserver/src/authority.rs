//! The one zone that is served now, and the one way to change it: make the next, keep it, then show it.
//!
//! Does not know messages or who may change the zone.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::{Context, Result};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::Record;
use tracing::{error, info};

use crate::zone::Zone;
use crate::{NameserverConfig, state, update};

pub(crate) struct Authority {
    /// Replaced as a whole, so that every answer comes from one moment.
    current: RwLock<Arc<Zone>>,
    /// Held from the check of the prerequisites until the change is shown. Never held across an await.
    writing: Mutex<()>,
    state: Option<PathBuf>,
}

impl Authority {
    /// Continues from the state file; without one, begins with the records of the configuration and writes them down.
    pub(crate) fn open(config: &NameserverConfig) -> Result<Self> {
        let origin = config.origin()?;
        let first = config.first_zone()?;
        let kept = config.state.as_deref().map(|path| state::read(path, &origin)).transpose()?.flatten();
        if let (Some(path), None) = (&config.state, &kept) {
            state::write(path, &first).context("the name server needs a place for its zone")?;
        }
        let current = RwLock::new(Arc::new(kept.unwrap_or(first)));
        Ok(Self { current, writing: Mutex::new(()), state: config.state.clone() })
    }

    pub(crate) fn current(&self) -> Arc<Zone> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Blocks until the change is on disk. Whatever it answers but `NOERROR`, nothing has changed.
    pub(crate) fn update(&self, prerequisites: &[Record], updates: &[Record]) -> ResponseCode {
        let _writing = self.lock_writing();
        let next = match update::apply(&self.current(), prerequisites, updates) {
            Ok(Some(next)) => next,
            Ok(None) => return ResponseCode::NoError,
            Err(code) => return code,
        };
        if let Some(Err(error)) = self.state.as_deref().map(|path| state::write(path, &next)) {
            error!("update refused, the zone stays as it was: {error:#}");
            return ResponseCode::ServFail;
        }
        info!(zone = %next.origin(), serial = next.soa().map(|soa| soa.serial), "zone updated");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        ResponseCode::NoError
    }

    /// Returns once no update is under way.
    pub(crate) fn settle(&self) {
        drop(self.lock_writing());
    }

    /// A panic while it was held has left the shown zone whole, so the lock is as good as before.
    fn lock_writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
