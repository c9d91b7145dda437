//! Starts a node: as a standby with the bar put, as a primary with the bar lifted; by its enforcer where one holds it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::{Node, bar, control, processes, programs, wait_for};
use crate::enforcer::door;

/// In the data directory: what the server says before it has a log of its own.
pub const LOG: &str = "start.log";
/// The line of `postmaster.pid`, from 0, that tells the server's state.
const PID_FILE_STATE: usize = 7;

/// What a node comes up as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Takes no write.
    Standby,
    /// Takes writes.
    Primary,
}

/// A node that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// It answers.
    pub running: bool,
    /// As what.
    pub role: Role,
}

/// Starts the node, and waits until it takes connections. Safe to repeat; one that runs in the other role is left as it is.
pub fn start(node: &Node, role: Role, patience: Duration) -> Result<Running> {
    if !processes::of(&node.data)?.is_empty() {
        let is = role_of(node)?;
        ensure!(
            is == role,
            "the node runs as a {is:?} and was to be started as a {role:?}\n  unchanged: it goes on as it is\n  \
             next: stop it first, or promote it"
        );
        return Ok(Running { running: true, role });
    }
    match role {
        Role::Standby => bar::put(&node.data)?,
        Role::Primary => {}
    }
    if door::ask_to_start(&node.data, role)? {
        await_ready(node, patience)?;
    } else {
        if role == Role::Primary {
            bar::lift(&node.data)?;
        }
        launch(node, patience)?;
    }
    Ok(Running { running: true, role })
}

/// The server says in `postmaster.pid` when it takes connections.
fn await_ready(node: &Node, patience: Duration) -> Result<()> {
    let ready = wait_for(patience, || {
        let file = std::fs::read_to_string(node.data.join("postmaster.pid")).unwrap_or_default();
        let says = file.lines().nth(PID_FILE_STATE).map(str::trim);
        Ok((matches!(says, Some("ready" | "standby")) && !processes::of(&node.data)?.is_empty()).then_some(()))
    })?;
    ready.with_context(|| {
        let log = node.data.join(LOG);
        format!("the server is not ready after {} s\n  next: read {}", patience.as_secs(), log.display())
    })
}

/// What a running node is.
pub fn role_of(node: &Node) -> Result<Role> {
    match control::read(node)?.state.as_str() {
        "in archive recovery" | "shut down in recovery" => Ok(Role::Standby),
        "in production" => Ok(Role::Primary),
        // Recovering after a crash: what it is going to be is what its files say.
        _ if bar::is_put(&node.data) => Ok(Role::Standby),
        _ => Ok(Role::Primary),
    }
}

/// Starts the server by itself, without an enforcer, and waits until it takes connections.
pub(super) fn launch(node: &Node, patience: Duration) -> Result<()> {
    launch_with(node, &[], patience)
}

/// The same, with settings of its own for this once.
pub(super) fn launch_with(node: &Node, settings: &[(&str, &str)], patience: Duration) -> Result<()> {
    let log = node.data.join(LOG);
    let mut command = node.programs.command("pg_ctl");
    command.args(["start", "--wait", "--silent", "--timeout", &patience.as_secs().max(1).to_string(), "-D"]);
    command.arg(&node.data).arg("-l").arg(&log).arg("-o").arg(options(node, settings)?);
    programs::printed("pg_ctl", &mut command)
        .with_context(|| format!("start the server in {}\n  next: read {}", node.data.display(), log.display()))?;
    Ok(())
}

/// What the server is told besides where its data is.
pub fn arguments(config: Option<&Path>) -> impl Iterator<Item = String> {
    let setting = config.map(|config| format!("config_file={}", config.display()));
    setting.into_iter().flat_map(|setting| ["-c".to_owned(), setting])
}

/// `pg_ctl` hands this to a shell.
fn options(node: &Node, settings: &[(&str, &str)]) -> Result<String> {
    let own = settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    let mut text = String::new();
    for word in arguments(node.config.as_deref()).chain(own) {
        if word.contains('\'') {
            bail!("the path {word} has an apostrophe, which pg_ctl cannot be told");
        }
        text += &format!("'{word}' ");
    }
    Ok(text)
}
