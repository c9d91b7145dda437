//! The node's own settings, in files that PostgreSQL's programs overwrite with the primary's: kept aside and put back.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::conninfo::replace;
use super::{Node, bar};

/// What belongs to the data and not to the node.
const DATA: [&str; 10] = [
    "PG_VERSION",
    "postmaster.pid",
    "postmaster.opts",
    "backup_label",
    "backup_label.old",
    "tablespace_map",
    "tablespace_map.old",
    "backup_manifest",
    "current_logfiles",
    "start.log",
];
/// `ALTER SYSTEM` writes there; the last setting of a name counts.
const AUTO: &str = "postgresql.auto.conf";

/// Where Debian keeps `postgresql.conf`, if it is not in the data directory.
pub fn usual_place(data: &Path) -> Option<PathBuf> {
    let cluster = data.strip_prefix("/var/lib/postgresql").ok()?;
    let config = Path::new("/etc/postgresql").join(cluster).join("postgresql.conf");
    (!data.join("postgresql.conf").exists() && config.is_file()).then_some(config)
}

/// Sets one of the node's own settings, durable; takes effect when the server starts or reads its settings anew.
pub(super) fn set(data: &Path, name: &str, value: &str) -> Result<()> {
    let path = data.join(AUTO);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let text = with(&before, name, value);
    replace(data, AUTO, text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

/// Keeps this node's settings in a directory beside its data.
pub(super) fn keep(node: &Node) -> Result<PathBuf> {
    let kept = node.beside(".settings");
    copy(&node.data, &kept).with_context(|| format!("keep the node's settings in {}", kept.display()))?;
    Ok(kept)
}

/// Puts kept settings back into a data directory, the bar with them, and forgets them.
pub(super) fn restore(kept: &Path, data: &Path) -> Result<()> {
    for file in files(kept).with_context(|| format!("look into {}", kept.display()))? {
        let text = std::fs::read(kept.join(&file)).with_context(|| format!("read {file}"))?;
        replace(data, &file, &text).with_context(|| format!("put back {file}"))?;
    }
    bar::put(data)?;
    std::fs::remove_dir_all(kept).with_context(|| format!("remove {}", kept.display()))
}

/// A copy that was begun before and not put back is the one that counts: what is in the data directory may be the primary's.
fn copy(data: &Path, kept: &Path) -> std::io::Result<()> {
    if kept.exists() {
        return Ok(());
    }
    let draft = kept.with_extension("settings-draft");
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    std::fs::create_dir(&draft)?;
    std::fs::set_permissions(&draft, Permissions::from_mode(0o700))?;
    for file in files(data)? {
        std::fs::copy(data.join(&file), draft.join(&file))?;
        std::fs::File::open(draft.join(&file))?.sync_all()?;
    }
    bar::sync(&draft)?;
    std::fs::rename(&draft, kept)
}

/// The plain files at the top of a directory that are the node's own.
fn files(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !DATA.contains(&name.as_str()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The file with one setting changed, the others as they are.
fn with(text: &str, name: &str, value: &str) -> String {
    let sets = |line: &&str| line.split(['=', ' ', '\t']).next().is_some_and(|key| key.eq_ignore_ascii_case(name));
    let mut lines: Vec<String> = text.lines().filter(|line| !sets(line)).map(str::to_owned).collect();
    let escaped = value.replace('\\', "\\\\").replace('\'', "''");
    lines.push(format!("{name} = '{escaped}'\n"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_one_setting_and_no_other() {
        let before = "# by ALTER SYSTEM\nprimary_conninfo = 'old'\nport = '1'\nprimary_conninfo_x = 'y'\n";
        let after = "# by ALTER SYSTEM\nport = '1'\nprimary_conninfo_x = 'y'\nprimary_conninfo = 'host=''a'''\n";
        assert_eq!(with(before, "primary_conninfo", "host='a'"), after);
        assert_eq!(with(after, "primary_conninfo", "host='a'"), after, "however often");
    }

    #[test]
    fn puts_the_nodes_own_settings_back_and_the_bar() {
        let (data, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let kept = kept.path().join("kept");
        std::fs::write(data.path().join("postgresql.conf"), "port = 1").unwrap();
        std::fs::write(data.path().join("PG_VERSION"), "15").unwrap();
        copy(data.path(), &kept).unwrap();
        std::fs::write(data.path().join("postgresql.conf"), "port = 2").unwrap();
        std::fs::write(data.path().join("PG_VERSION"), "16").unwrap();
        copy(data.path(), &kept).unwrap();
        restore(&kept, data.path()).unwrap();
        assert_eq!(std::fs::read_to_string(data.path().join("postgresql.conf")).unwrap(), "port = 1");
        assert_eq!(std::fs::read_to_string(data.path().join("PG_VERSION")).unwrap(), "16");
        assert!(bar::is_put(data.path()) && !kept.exists());
    }
}
