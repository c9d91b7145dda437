//! Secrets by name, read from files, the environment or systemd credentials, and read again at every reload.
//!
//! Does not know who may have which. A secret's content never reaches a log: its type cannot be printed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tidegate_kernel::fleet::SecretSource;

/// A key, a token or a password is shorter.
const BYTES_MAX: u64 = 64 << 10;

/// One secret's content.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// All secrets of a fleet file that could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    values: BTreeMap<String, Secret>,
}

/// A secret that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("secret {name}: {why}")]
pub struct Missing {
    /// Its name in the fleet file.
    pub name: String,
    /// Where it was looked for and what happened.
    pub why: String,
}

impl Secret {
    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The content, if it is text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secrets {
    /// Reads every source now; what could not be read is told beside what could.
    pub fn read(sources: &BTreeMap<String, SecretSource>) -> (Self, Vec<Missing>) {
        let mut secrets = Secrets::default();
        let mut missing = Vec::new();
        for (name, source) in sources {
            match read(source) {
                Ok(secret) => drop(secrets.values.insert(name.clone(), secret)),
                Err(why) => missing.push(Missing { name: name.clone(), why }),
            }
        }
        (secrets, missing)
    }

    /// A secret by its name in the fleet file.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.values.get(name)
    }

    /// Every secret that could be read.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.values.iter().map(|(name, secret)| (name.as_str(), secret))
    }
}

/// The files that secrets are read from, to be watched.
pub fn files(sources: &BTreeMap<String, SecretSource>) -> Vec<PathBuf> {
    sources.values().filter_map(file).collect()
}

fn file(source: &SecretSource) -> Option<PathBuf> {
    match source {
        SecretSource::File(path) => Some(path.clone()),
        SecretSource::Credential(name) => Some(Path::new(&std::env::var_os("CREDENTIALS_DIRECTORY")?).join(name)),
        SecretSource::Environment(_) => None,
    }
}

fn read(source: &SecretSource) -> Result<Secret, String> {
    let content = match source {
        SecretSource::Environment(variable) => std::env::var(variable)
            .map(String::into_bytes)
            .map_err(|_| format!("the environment has no variable {variable}"))?,
        SecretSource::File(_) | SecretSource::Credential(_) => {
            let path = file(source).ok_or("systemd passed no credentials to this process")?;
            read_file(&path).map_err(|error| format!("{}: {error}", path.display()))?
        }
    };
    if content.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret(content)) }
}

/// One line end at the end is the editor's, not the secret's.
fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o007 != 0 {
        tracing::warn!(file = %path.display(), "everybody on this machine can reach this secret; chmod o-rwx it");
    }
    let mut content = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > BYTES_MAX {
        return Err(std::io::Error::other(format!("is longer than {BYTES_MAX} bytes")));
    }
    let end = content.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line).len());
    content.truncate(end.unwrap_or(content.len()));
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(named: &[(&str, SecretSource)]) -> BTreeMap<String, SecretSource> {
        named.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect()
    }

    #[test]
    fn reads_what_is_there_and_names_what_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for (name, content) in [("line", "s3cret\n"), ("dos", "s3cret\r\n"), ("two", "a\n\n"), ("empty", "\n")] {
            std::fs::write(path(name), content).unwrap();
        }
        std::fs::write(path("huge"), vec![b'x'; BYTES_MAX as usize + 1]).unwrap();
        let source = |name: &str| (name.to_owned(), SecretSource::File(path(name)));
        let mut all: BTreeMap<_, _> = ["line", "dos", "two", "empty", "huge", "absent"].map(source).into();
        all.extend(sources(&[("variable", SecretSource::Environment("TIDEGATE_TEST_NOT_SET".to_owned()))]));
        let (secrets, missing) = Secrets::read(&all);
        let read: Vec<_> = secrets.iter().map(|(name, secret)| (name, secret.text().unwrap())).collect();
        assert_eq!(read, [("dos", "s3cret"), ("line", "s3cret"), ("two", "a\n")]);
        let names: Vec<_> = missing.iter().map(|missing| missing.name.as_str()).collect();
        assert_eq!(names, ["absent", "empty", "huge", "variable"]);
    }

    #[test]
    fn never_prints_a_secret() {
        let (secrets, _) = Secrets::read(&sources(&[("home", SecretSource::Environment("PATH".to_owned()))]));
        assert_eq!(secrets.iter().count(), 1);
        assert_eq!(format!("{secrets:?}"), r#"Secrets { values: {"home": Secret} }"#);
    }
}
