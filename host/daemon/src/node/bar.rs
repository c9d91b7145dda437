//! The bar: `standby.signal` in the data directory. Durable when a function returns.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::OFlags;

/// Whether whoever starts this node gets a standby.
pub fn is_put(data: &Path) -> bool {
    file(data).exists()
}

/// From now on the node comes up as a standby. A server that runs already is not touched by it.
pub fn put(data: &Path) -> Result<()> {
    let path = file(data);
    let put = || -> std::io::Result<()> {
        let owner = std::fs::metadata(data)?;
        // Root must not be led elsewhere by what the directory's owner put there.
        let here = OFlags::NOFOLLOW.bits() as i32;
        let bar = OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(here).open(&path)?;
        fchown(&bar, Some(owner.uid()), Some(owner.gid()))?;
        bar.sync_all()?;
        sync(data)
    };
    put().with_context(|| format!("bar the node with {}\n  unchanged: its server", path.display()))
}

/// From now on the node comes up as a primary.
pub fn lift(data: &Path) -> Result<()> {
    let path = file(data);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        removed => removed.with_context(|| format!("lift the bar {}", path.display()))?,
    }
    sync(data).with_context(|| format!("make the change of {} durable", data.display()))
}

/// What a directory holds is durable only then.
pub(super) fn sync(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

fn file(data: &Path) -> PathBuf {
    data.join("standby.signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_once_put_however_often_and_gone_once_lifted() {
        let data = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            put(data.path()).unwrap();
            assert!(is_put(data.path()));
        }
        for _ in 0..2 {
            lift(data.path()).unwrap();
            assert!(!is_put(data.path()));
        }
    }
}
