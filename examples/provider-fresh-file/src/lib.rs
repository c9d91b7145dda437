//! Looks whether a file was written lately: an export, a heartbeat, the last backup.
//!
//! Sees nothing but the directory that was granted to it as `files`.

use std::io::{ErrorKind, Result as IoResult};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tidegate_sdk::prelude::*;

/// The provider; it has nothing to remember between two looks.
pub struct FreshFile;

/// One file.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Below the directory `files`.
    pub path: String,
    /// An older one is bad.
    pub max_age: Period,
}

impl Settings for Target {}

impl Provider for FreshFile {
    type Settings = NoSettings;

    fn wants() -> Vec<Want> {
        vec![Want::Directory("files".to_owned())]
    }

    fn configure(_: NoSettings, _: Declared) -> Result<Self, Vec<Problem>> {
        Ok(FreshFile)
    }
}

impl Probe for FreshFile {
    type Target = Target;

    fn check(&self, target: Target, _: Duration) -> Result<Finding, Failure> {
        Ok(judge(&target, age(&Path::new("files").join(&target.path))))
    }
}

tidegate_sdk::probe_provider!(FreshFile);

/// How long ago the file was written; one from the future is new.
pub fn age(file: &Path) -> IoResult<Duration> {
    let written = std::fs::metadata(file)?.modified()?;
    Ok(SystemTime::now().duration_since(written).unwrap_or_default())
}

/// A file that is not there was not written; one that cannot be looked at says nothing.
pub fn judge(target: &Target, age: IoResult<Duration>) -> Finding {
    let (outcome, detail) = match age {
        Ok(age) if age <= target.max_age.into() => (Outcome::Ok, String::new()),
        Ok(age) => (Outcome::Corrupt, format!("{} is {} s old, not {}", target.path, age.as_secs(), target.max_age)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            (Outcome::Partial, format!("{} is not there", target.path))
        }
        Err(error) => (Outcome::Error, format!("{}: {error}", target.path)),
    };
    Finding { outcome, latency: None, detail }
}
