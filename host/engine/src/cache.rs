//! Compiled code on disk, so that a known plugin loads in a fraction of a millisecond.
//!
//! Compiled code is trusted code, so only what this host wrote itself is ever loaded: each entry carries an HMAC under
//! a key that the host made, in a directory that nobody else can enter. What does not verify is compiled again. Does
//! not know what the code is for.

use anyhow::{Context as _, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    hash::{Hash as _, Hasher},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

const MAC_BYTES: usize = 32;

/// One directory of compiled components.
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; MAC_BYTES],
}

impl Cache {
    /// Opens the directory, or makes it, with a new key if there is none.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let at = || format!("open the code cache {}", directory.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(at)?;
        private(directory).with_context(at)?;
        let key = key(&directory.join("key")).with_context(at)?;
        Ok(Cache { directory: directory.to_owned(), key })
    }

    /// The compiled code of the component, if this host has compiled it for an engine like this one and nobody has
    /// touched it since.
    pub(crate) fn get(&self, digest: &str, engine: &wasmtime::Engine) -> Option<Vec<u8>> {
        let name = entry(digest, engine);
        let mut bytes = fs::read(self.directory.join(&name)).ok()?;
        if bytes.len() < MAC_BYTES {
            return None;
        }
        let code = bytes.split_off(MAC_BYTES);
        if self.mac(&name, &code).verify_slice(&bytes).is_err() {
            tracing::warn!(entry = name, "a compiled component in the cache does not verify; it is compiled again");
            return None;
        }
        Some(code)
    }

    /// Keeps compiled code; a full disk costs time, not service, so failing is only logged by the caller.
    pub(crate) fn put(&self, digest: &str, engine: &wasmtime::Engine, code: &[u8]) -> anyhow::Result<()> {
        let name = entry(digest, engine);
        let unfinished = self.directory.join(format!("{name}.{}", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&self.mac(&name, code).finalize().into_bytes())?;
        file.write_all(code)?;
        fs::rename(&unfinished, self.directory.join(&name)).context("publish a compiled component in the cache")
    }

    /// Over the entry's name too, so that one entry cannot stand in for another.
    fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(name.as_bytes());
        mac.update(code);
        mac
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// By content, by this crate's wasmtime and by everything in the engine's configuration that the code depends on.
fn entry(digest: &str, engine: &wasmtime::Engine) -> String {
    let mut hasher = ContentHasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.0.update(digest);
    let mut name = String::new();
    for byte in hasher.0.finalize() {
        use std::fmt::Write as _;
        let _ = write!(name, "{byte:02x}");
    }
    name + ".compiled"
}

/// Feeds what std would hash in 64 bits into a hash that cannot collide by accident.
struct ContentHasher(Sha256);

impl Hasher for ContentHasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

fn private(path: &Path) -> anyhow::Result<()> {
    let metadata = fs::metadata(path)?;
    let mode = metadata.permissions().mode() & 0o777;
    ensure!(mode & 0o077 == 0, "{} is open to others (mode {mode:o}); run: chmod go= {0}", path.display());
    let me = fs::metadata("/proc/self").map(|me| me.uid()).unwrap_or(metadata.uid());
    ensure!(metadata.uid() == me, "{} belongs to user {}, not to this host's", path.display(), metadata.uid());
    Ok(())
}

/// The key that is there, else a new one. Two hosts may start on one cache at once: the first whole key is everybody's.
fn key(path: &Path) -> anyhow::Result<[u8; MAC_BYTES]> {
    if !path.exists() {
        make_key(path)?;
    }
    private(path)?;
    let bytes = fs::read(path)?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("{} is no key; delete it, and the host makes one", path.display()))
}

/// Written beside its place and linked into it, so that nobody ever reads half a key.
fn make_key(path: &Path) -> anyhow::Result<()> {
    let mut key = [0; MAC_BYTES];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let draft = path.with_extension(format!("{}-{:?}", std::process::id(), std::thread::current().id()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&key)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}
