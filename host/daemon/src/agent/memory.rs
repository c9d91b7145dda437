//! What an agent must not forget when it is started anew: the newest epoch of each cluster, and where the other agents are.
//!
//! Without a directory nothing is remembered, and then the agent neither confirms nor acknowledges anything.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::Epoch;

use crate::agents::protocol::Peers;

/// Remembered in a file, where there is one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    path: Option<PathBuf>,
    kept: Kept,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kept {
    epochs: BTreeMap<String, Epoch>,
    peers: Option<Peers>,
}

impl Memory {
    pub(super) fn open(directory: Option<&Path>) -> Result<Memory> {
        let Some(directory) = directory else { return Ok(Memory::default()) };
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let path = directory.join("leases.json");
        let kept = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Kept::default(),
            read => {
                let bytes = read.with_context(|| format!("read {}", path.display()))?;
                serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is not as it was written\n  unchanged: the file\n  next: move it away", path.display())
                })?
            }
        };
        Ok(Memory { path: Some(path), kept })
    }

    /// Whether anything is remembered.
    pub(super) fn is_durable(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn epochs(&self) -> &BTreeMap<String, Epoch> {
        &self.kept.epochs
    }

    pub(super) fn peers(&self) -> Option<&Peers> {
        self.kept.peers.as_ref()
    }

    /// Durable when it returns.
    pub(super) fn learn(&mut self, cluster: &str, epoch: Epoch) -> Result<()> {
        let mut kept = self.kept.clone();
        kept.epochs.insert(cluster.to_owned(), epoch);
        self.keep(kept)
    }

    /// Durable when it returns.
    pub(super) fn meet(&mut self, peers: Option<&Peers>) -> Result<()> {
        let kept = Kept { peers: peers.cloned(), ..self.kept.clone() };
        self.keep(kept)
    }

    fn keep(&mut self, kept: Kept) -> Result<()> {
        if kept != self.kept {
            if let Some(path) = &self.path {
                write(path, &serde_json::to_vec(&kept)?).with_context(|| format!("write {}", path.display()))?;
            }
            self.kept = kept;
        }
        Ok(())
    }
}

/// Whole or not at all; the key in it is nobody else's business.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_epochs_and_the_others_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let peers = Peers { key: vec![7], agents: 3, ..Peers::default() };
        let mut memory = Memory::open(Some(directory.path())).unwrap();
        memory.learn("orders", 5).unwrap();
        memory.meet(Some(&peers)).unwrap();
        let memory = Memory::open(Some(directory.path())).unwrap();
        assert_eq!((memory.epochs()["orders"], memory.peers()), (5, Some(&peers)));
        assert!(memory.is_durable() && !Memory::open(None).unwrap().is_durable());
    }
}
