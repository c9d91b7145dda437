//! Where an agent gets a plugin's code from: its own binary, its directory, or its host; by digest, and verified each time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::link::Link;

/// For a large component over a slow line.
const PATIENCE: Duration = Duration::from_secs(120);

/// Components by digest.
pub(super) struct Components {
    built_in: HashMap<String, Bytes>,
    directory: Option<PathBuf>,
}

impl Components {
    pub(super) fn new(directory: Option<PathBuf>) -> Components {
        let built_in =
            tidegate_plugins::all().iter().map(|plugin| (digest(plugin.bytes), Bytes::from_static(plugin.bytes)));
        Components { built_in: built_in.collect(), directory }
    }

    /// The component with this digest.
    pub(super) async fn get(&mut self, wanted: &str, link: &mut Link) -> Result<Bytes> {
        if let Some(bytes) = self.built_in.get(wanted) {
            return Ok(bytes.clone());
        }
        let kept = self.directory.as_deref().map(|directory| file(directory, wanted)).transpose()?;
        if let Some(path) = &kept
            && let Ok(bytes) = tokio::fs::read(path).await
            && digest(&bytes) == wanted
        {
            return Ok(bytes.into());
        }
        let bytes = link.get(&format!("plugin/{wanted}"), PATIENCE).await?;
        ensure!(digest(&bytes) == wanted, "the host sent another component than {wanted}; it is not used");
        if let Some(path) = kept {
            keep(&path, &bytes).await?;
        }
        Ok(bytes)
    }
}

/// Nothing but a digest becomes a file's name.
fn file(directory: &Path, digest: &str) -> Result<PathBuf> {
    let hex = digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let hex = hex.with_context(|| format!("the plan names {digest:?}, which is no digest"))?;
    Ok(directory.join(format!("{hex}.wasm")))
}

/// Whole or not at all.
async fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = path.with_extension("draft");
    let write = async {
        tokio::fs::write(&draft, bytes).await?;
        tokio::fs::rename(&draft, path).await
    };
    write.await.with_context(|| format!("keep a component as {}", path.display()))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_no_file_name_of_anything_but_a_digest() {
        let good = digest(b"code");
        assert!(file(Path::new("/kept"), &good).is_ok());
        for bad in ["", "sha256:", "sha256:../../etc/passwd", "sha1:abc", &good[7..], &format!("{good}0")] {
            assert!(file(Path::new("/kept"), bad).is_err(), "{bad:?}");
        }
    }
}
