//! PostgreSQL's programs in the versions that Debian does not have here, fetched once by npm into the target folder.
//!
//! Knows where they are, not how a server is made of them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::tools::{NPM, fetched, npm_install, works};

/// The one place where their versions are written down.
const PINS: &str = include_str!("../postgres-versions/package.json");

/// A link that the package had before npm, which carries none, took it; both from the package's root.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// The programs of a major version; none where there is no npm, which is said.
pub fn programs(major: &str) -> Option<PathBuf> {
    let here = works(NPM, &format!("replication-postgres is not tested on PostgreSQL {major}"));
    here.then(|| tools().join("node_modules").join(format!("postgres-{major}")).join("native/bin"))
}

fn tools() -> &'static Path {
    static TOOLS: LazyLock<Result<PathBuf>> = LazyLock::new(|| {
        let fetch = |tools: &Path| npm_install(PINS.as_bytes(), tools).and_then(|()| restore_links(tools));
        fetched("postgres", PINS.as_bytes(), fetch)
    });
    // Each test that has to do without them says why, not only the first.
    TOOLS.as_ref().unwrap_or_else(|error| panic!("PostgreSQL's other versions cannot be installed: {error:?}"))
}

/// Without them the servers do not find their libraries.
fn restore_links(tools: &Path) -> Result<()> {
    for entry in std::fs::read_dir(tools.join("node_modules"))? {
        let package = entry?.path();
        // npm keeps a note of its own beside the packages.
        if package.is_dir() {
            restore_links_of(&package).with_context(|| format!("restore the links of {}", package.display()))?;
        }
    }
    Ok(())
}

fn restore_links_of(package: &Path) -> Result<()> {
    let listed: Vec<Link> = serde_json::from_slice(&std::fs::read(package.join("native/pg-symlinks.json"))?)?;
    for Link { source, target } in listed {
        let beside = source.file_name().context("a link leads to a file")?;
        symlink(beside, package.join(target))?;
    }
    Ok(())
}
