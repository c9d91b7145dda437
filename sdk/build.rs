//! Encodes the type of each of the contract's worlds, for the one macro that a plugin calls to put it into its component.
//!
//! The bindings are shared by all worlds (`src/bindings.rs`); which world a component is of, only the plugin's crate knows.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use wit_component::{StringEncoding, metadata};
use wit_parser::{Resolve, WorldId};

const CONTRACT: &str = "../wit/v0.1.0";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={CONTRACT}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR for build scripts")?);
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(CONTRACT).context("reading the contract")?;
    let worlds: Vec<WorldId> = resolve.packages[package].worlds.values().copied().collect();
    worlds.into_iter().try_for_each(|world| write_type(&resolve, world, &out))
}

fn write_type(resolve: &Resolve, world: WorldId, out: &Path) -> Result<()> {
    let name = &resolve.worlds[world].name;
    let bytes = metadata::encode(resolve, world, StringEncoding::UTF8, None)
        .with_context(|| format!("encoding world {name}"))?;
    std::fs::write(out.join(format!("{name}.component-type")), bytes)
        .with_context(|| format!("writing the type of world {name}"))
}
