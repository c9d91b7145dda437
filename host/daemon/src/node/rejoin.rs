//! Has a node follow a primary again: as it is where its log is the primary's, else rewound to where the two parted.
//!
//! Asks the primary before it touches anything. Barred all the while; while `pg_rewind` rewrites the data, by permissions
//! with which PostgreSQL refuses to start at all, because the bar itself is among the files that are rewritten.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::conninfo::Primary;
use super::control::{Control, position};
use super::start::{self, Role, Running};
use super::stop::{self, Mode};
use super::{Node, control, log, processes, programs, settings, wait_for};

/// PostgreSQL starts in no directory that others may enter; the files in it stay closed to them.
const CLOSED: u32 = 0o701;
const OPEN: u32 = 0o700;

/// A node that follows its primary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Followed {
    /// It runs, as a standby.
    #[serde(flatten)]
    pub running: Running,
    /// By which way it came there.
    pub how: How,
}

/// Ways to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Its data was as the primary's had been.
    Streamed,
    /// What the primary does not have was taken back.
    Rewound,
    /// Its data was copied anew.
    Rebuilt,
}

/// What a primary says of itself.
pub(super) struct Source {
    system: String,
    timeline: u64,
    position: u64,
}

/// Stops the node and has it follow `primary`. What never reached that one is given up.
pub fn rejoin(node: &Node, primary: &Primary, patience: Duration) -> Result<Followed> {
    let source = Source::ask(node, primary)?;
    let ours = control::read(node)?;
    source.check_same_cluster(&ours)?;
    stop_for_certain(node, patience)?;
    let how = if can_stream(node, primary, &source, patience)? {
        How::Streamed
    } else {
        rewind(node, primary, &source)?;
        How::Rewound
    };
    follow(node, primary, how, patience)
}

/// The node is stopped and barred, or nothing more is done to it.
pub(super) fn stop_for_certain(node: &Node, patience: Duration) -> Result<()> {
    let stopped = stop::stop(node, Mode::Fast, patience)?;
    ensure!(
        stopped.is_proof(),
        "{} processes of the node are left\n  unchanged: its data\n  next: look at `tidegate node status`",
        stopped.left
    );
    Ok(())
}

/// Starts the node as a standby of `primary`, and waits until it streams.
pub(super) fn follow(node: &Node, primary: &Primary, how: How, patience: Duration) -> Result<Followed> {
    primary.follow(node)?;
    let running = start::start(node, Role::Standby, patience)?;
    let streams = wait_for(patience, || Ok(processes::streams(&processes::of(&node.data)?).then_some(())))?;
    streams.with_context(|| {
        format!(
            "the node runs as a standby and does not stream from {}:{}\n  unchanged: it is barred\n  next: read the server's \
             log; if the primary no longer has the log that it needs, rebuild it",
            primary.host, primary.port
        )
    })?;
    Ok(Followed { running, how })
}

/// Whether everything in the node's log is in the primary's too.
fn can_stream(node: &Node, primary: &Primary, source: &Source, patience: Duration) -> Result<bool> {
    let mut ours = control::read(node)?;
    if !ours.is_clean() {
        recover(node, patience)?;
        ours = control::read(node)?;
    }
    let Some(end) = log::end(node, &ours)? else { return Ok(false) };
    if ours.timeline == source.timeline {
        return Ok(end <= source.position);
    }
    Ok(source.parted(node, primary, ours.timeline)?.is_some_and(|parted| end <= parted))
}

/// After a crash: replays what is in the log and ends in order, as a standby that nobody else reaches.
fn recover(node: &Node, patience: Duration) -> Result<()> {
    eprintln!("the server did not end in order: its log is replayed first");
    let private = tempfile::tempdir().context("make a directory for a socket")?;
    let socket = private.path().to_string_lossy();
    let alone = [
        ("listen_addresses", ""),
        ("unix_socket_directories", &*socket),
        ("primary_conninfo", ""),
        ("restore_command", ""),
    ];
    start::launch_with(node, &alone, patience).context("replay the node's log")?;
    stop_for_certain(node, patience)
}

fn rewind(node: &Node, primary: &Primary, source: &Source) -> Result<()> {
    ensure!(
        control::read(node)?.rewindable,
        "the node's log parted from the primary's, and pg_rewind cannot tell what changed: neither wal_log_hints nor data \
         checksums are on\n  unchanged: its data; it is stopped and barred\n  next: rebuild it; set wal_log_hints = on, so that \
         the next time it can be rewound"
    );
    source.have_checkpoint(node, primary)?;
    let kept = settings::keep(node)?;
    set_mode(node, CLOSED)?;
    let way = primary.way(&format!("dbname='{}'", primary.database))?;
    let mut command = node.programs.command("pg_rewind");
    way.show(command.args(["--no-ensure-shutdown", "--source-server", way.text(), "-D"]).arg(&node.data));
    let done = programs::printed("pg_rewind", &mut command);
    if let Err(error) = done {
        // It may have changed nothing or half of it: only a rebuild or another rewind makes the directory good again.
        return Err(error.context(format!(
            "rewind {}\n  unchanged: nothing starts there; its settings are kept in {}\n  next: try again, or rebuild it",
            node.data.display(),
            kept.display()
        )));
    }
    settings::restore(&kept, &node.data)?;
    set_mode(node, OPEN)
}

fn set_mode(node: &Node, mode: u32) -> Result<()> {
    let changed = std::fs::set_permissions(&node.data, Permissions::from_mode(mode));
    changed
        .and_then(|()| super::bar::sync(&node.data))
        .with_context(|| format!("change the permissions of {}", node.data.display()))
}

impl Source {
    /// Over a connection for replication, which every primary that can be followed allows.
    pub(super) fn ask(node: &Node, primary: &Primary) -> Result<Source> {
        let answer = psql(node, primary, "replication=true", "IDENTIFY_SYSTEM").with_context(|| {
            format!("ask the primary at {}:{} who it is\n  unchanged: this node", primary.host, primary.port)
        })?;
        let fields: Vec<&str> = answer.trim().split('|').collect();
        let [system, timeline, at, ..] = fields[..] else { bail!("the primary says {answer:?} of itself") };
        Ok(Source {
            system: system.to_owned(),
            timeline: timeline.parse().context("the primary's timeline")?,
            position: position(at).context("the primary's position")?,
        })
    }

    fn check_same_cluster(&self, ours: &Control) -> Result<()> {
        ensure!(
            self.system == ours.system,
            "the node is of another cluster: its system identifier is {}, the primary's {}\n  unchanged: everything\n  \
             next: if the node's data may be lost, rebuild it",
            ours.system,
            self.system
        );
        Ok(())
    }

    /// Where the primary's log left a timeline; none = it never was on it.
    fn parted(&self, node: &Node, primary: &Primary, timeline: u64) -> Result<Option<u64>> {
        let history = psql(node, primary, "replication=true", &format!("TIMELINE_HISTORY {}", self.timeline))?;
        let history = history.split_once('|').map_or("", |(_, content)| content);
        Ok(parted(history, timeline))
    }

    /// A rewind goes by the primary's control file, which knows of a promotion only after a checkpoint.
    fn have_checkpoint(&self, node: &Node, primary: &Primary) -> Result<()> {
        let database = format!("dbname='{}'", primary.database);
        let known = psql(node, primary, &database, "select timeline_id from pg_control_checkpoint()")?;
        if known.trim().parse() != Ok(self.timeline) {
            psql(node, primary, &database, "checkpoint").context(
                "have the primary make the checkpoint that pg_rewind needs after a promotion\n  unchanged: this node's data",
            )?;
        }
        Ok(())
    }
}

fn psql(node: &Node, primary: &Primary, way: &str, asked: &str) -> Result<String> {
    let way = primary.way(way)?;
    let mut command = node.programs.command("psql");
    command.args(["-XAtqw", "-F", "|", "-v", "ON_ERROR_STOP=1", "-c", asked, "-d", way.text()]);
    way.show(&mut command);
    programs::printed("psql", &mut command)
}

/// A timeline's history: its number, where it was left, why.
fn parted(history: &str, timeline: u64) -> Option<u64> {
    history.lines().find_map(|line| {
        let mut fields = line.split('\t');
        let same = fields.next()?.trim().parse() == Ok(timeline);
        same.then(|| position(fields.next()?.trim())).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_a_timeline_was_left() {
        let history = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tno recovery target specified\n";
        assert_eq!([1, 2, 3].map(|timeline| parted(history, timeline)), [Some(0x300_0148), Some(0x500_0000), None]);
    }
}
