//! Copies a node's data anew from its primary, and puts the copy in the place of what was there.
//!
//! What was there is kept until the copy streams; a copy that fails leaves it as it is, stopped and barred.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::conninfo::Primary;
use super::rejoin::{Followed, How, Source, follow, stop_for_certain};
use super::{Node, bar, programs, settings};

/// Stops the node, copies the primary's data, and has the copy follow it under this node's own settings.
pub fn rebuild(node: &Node, primary: &Primary, patience: Duration) -> Result<Followed> {
    Source::ask(node, primary)?;
    stop_for_certain(node, patience)?;
    let (fresh, before) = (node.beside(".fresh"), node.beside(".before"));
    let kept = settings::keep(node)?;
    remove(&fresh)?;
    copy(node, primary, &fresh)?;
    settings::restore(&kept, &fresh)?;
    swap(node, &fresh, &before)?;
    let followed = follow(node, primary, How::Rebuilt, patience)?;
    remove(&before)?;
    Ok(followed)
}

fn copy(node: &Node, primary: &Primary, fresh: &Path) -> Result<()> {
    std::fs::create_dir(fresh)
        .and_then(|()| std::fs::set_permissions(fresh, Permissions::from_mode(0o700)))
        .with_context(|| format!("make {}", fresh.display()))?;
    let way = primary.way("")?;
    let mut command = node.programs.command("pg_basebackup");
    command.args(["--checkpoint=fast", "--wal-method=stream", "--no-password", "-d", way.text(), "-D"]).arg(fresh);
    way.show(&mut command);
    eprintln!("copies the data of {}:{}", primary.host, primary.port);
    programs::printed("pg_basebackup", &mut command).with_context(|| {
        format!("copy the primary's data\n  unchanged: {}, which is stopped and barred", node.data.display())
    })?;
    Ok(())
}

/// At no moment is there no data directory, or half of one.
fn swap(node: &Node, fresh: &Path, before: &Path) -> Result<()> {
    remove(before)?;
    renameat_with(CWD, fresh, CWD, &node.data, RenameFlags::EXCHANGE).with_context(|| {
        format!(
            "put the copy in the place of {}\n  unchanged: what was there\n  next: if it is a mount point, put the data \
             directory into a directory below it",
            node.data.display()
        )
    })?;
    std::fs::rename(fresh, before).with_context(|| format!("keep what was there as {}", before.display()))?;
    let parent = node.data.parent().unwrap_or(Path::new("/"));
    bar::sync(parent).with_context(|| format!("make the change of {} durable", parent.display()))
}

fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
