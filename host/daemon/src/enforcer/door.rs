//! How `tidegate node` speaks to the enforcer that holds a node, if one does: one line asked, one line answered.
//!
//! The socket is named after the data directory, in a directory where only root makes files; the enforcer answers root and the
//! data directory's owner.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::node::start::Role;
use crate::node::wait_for;

/// Where enforcers listen.
pub(super) const PLACE: &str = "/run/tidegate";
/// An enforcer does nothing that takes long; one that hangs must not keep a node from being stopped.
const ANSWER: Duration = Duration::from_millis(500);
/// A lease is renewed twice a second: by then its host would have said so.
const PERMISSION: Duration = Duration::from_secs(3);

/// What is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Ask {
    /// Do not start the node by yourself.
    Rest,
    /// Start it.
    Start(Role),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// It is so, or begun.
    Done,
    /// It is not, and why.
    Refused(String),
}

/// The socket for a data directory.
pub(super) fn socket(data: &Path) -> PathBuf {
    let digest = Sha256::digest(data.as_os_str().as_encoded_bytes());
    let name: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Path::new(PLACE).join(format!("{name}.sock"))
}

/// The node is about to be stopped. Goes on without an answer: it is barred, so whoever starts it gets a standby.
pub fn ask_to_rest(data: &Path) {
    if let Err(error) = ask(data, Ask::Rest) {
        eprintln!("the enforcer does not answer: {error:#}");
    }
}

/// Has the enforcer start the node; false = none holds it.
pub fn ask_to_start(data: &Path, role: Role) -> Result<bool> {
    let mut refusal = String::new();
    let begun = wait_for(PERMISSION, || match ask(data, Ask::Start(role))? {
        None => Ok(Some(false)),
        Some(Answer::Done) => Ok(Some(true)),
        Some(Answer::Refused(why)) => {
            refusal = why;
            Ok(None)
        }
    })?;
    match begun {
        Some(begun) => Ok(begun),
        None => bail!(
            "the enforcer does not start the node: {refusal}\n  unchanged: the node\n  next: see `tidegate status`"
        ),
    }
}

/// None = nobody listens there.
fn ask(data: &Path, ask: Ask) -> Result<Option<Answer>> {
    let Ok(mut stream) = UnixStream::connect(socket(data)) else { return Ok(None) };
    stream.set_read_timeout(Some(ANSWER)).context("limit the wait for an answer")?;
    stream.write_all(format!("{}\n", serde_json::to_string(&ask)?).as_bytes()).context("ask the enforcer")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("hear the enforcer's answer")?;
    Ok(Some(serde_json::from_str(&answer).context("understand the enforcer's answer")?))
}
