//! What is this file? Reads a component's outside without running or compiling anything, and refuses by name.
//!
//! Does not know what the component does; what its functions look like in detail is checked when it is linked.

use crate::{
    limits::{Limits, Size},
    refusal::Refusal,
    world::{CONTRACT, PACKAGE, World},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::{fmt::Write as _, path::Path};
use wasmparser::{Encoding, Parser, Payload};

/// The largest file that is read, unless the operator says otherwise.
pub const MAX_FILE: Size = Size(32 << 20);

/// What a component is, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspected {
    /// What it is for.
    pub world: World,
    /// The version of the contract that it was built against.
    pub contract: String,
    /// "sha256:…" of the file.
    pub digest: String,
    /// The file's size in bytes.
    pub size: u64,
    /// Linear memory that it starts with, in bytes, all memories together.
    pub initial_memory: u64,
    /// What it imports, in its own order.
    pub imports: Vec<String>,
    /// What it exports; names that no world has are ignored by the host.
    pub exports: Vec<String>,
}

/// Reads a plugin's file, unless it is larger than `max`: the size is looked up before anything is read.
pub fn read(path: &Path, max: Size) -> Result<Vec<u8>, Refusal> {
    let unreadable = |error: std::io::Error| {
        Refusal::new("unreadable", format!("{}: {error}", path.display()), "check the path and the file's permissions")
    };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    too_large(size, max)?;
    std::fs::read(path).map_err(unreadable)
}

/// The name of a file by its content.
pub fn digest(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What the component is. Its world's limits bound what it may start with.
pub fn inspect(bytes: &[u8], max: Size, limits: impl Fn(World) -> Limits) -> Result<Inspected, Refusal> {
    too_large(bytes.len() as u64, max)?;
    header(bytes)?;
    let outside = Outside::read(bytes)?;
    check_versions(&outside)?;
    let world = world(&outside.exports)?;
    check_imports(world, &outside.imports)?;
    check_memory(outside.initial_memory, limits(world).memory)?;
    check_table(outside.largest_table, limits(world).table_elements)?;
    Ok(Inspected {
        world,
        contract: CONTRACT.to_owned(),
        digest: digest(bytes),
        size: bytes.len() as u64,
        initial_memory: outside.initial_memory,
        imports: outside.imports,
        exports: outside.exports,
    })
}

#[derive(Default)]
struct Outside {
    imports: Vec<String>,
    exports: Vec<String>,
    initial_memory: u64,
    largest_table: u64,
}

impl Outside {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut outside = Outside::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.map_err(truncated)? {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        let pages = memory.map_err(truncated)?.initial;
                        outside.initial_memory = outside.initial_memory.saturating_add(pages.saturating_mul(64 << 10));
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        outside.largest_table = outside.largest_table.max(table.map_err(truncated)?.ty.initial);
                    }
                }
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    for import in imports {
                        outside.imports.push(import.map_err(truncated)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    for export in exports {
                        outside.exports.push(export.map_err(truncated)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(outside)
    }
}

fn too_large(size: u64, max: Size) -> Result<(), Refusal> {
    if size <= max.0 {
        return Ok(());
    }
    let why = format!("the file has {size} bytes, more than the {max} that this host reads");
    Err(Refusal::new("too-large", why, "build it smaller (release, strip), or raise `plugin-size` of the host"))
}

fn header(bytes: &[u8]) -> Result<(), Refusal> {
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        let why = "this is precompiled machine code; the host runs only what it compiled itself";
        return Err(Refusal::new("precompiled", why, "give the component (.wasm) from which it was compiled"));
    }
    if bytes.is_empty() || !b"\0asm".starts_with(&bytes[..bytes.len().min(4)]) {
        let why = "this is not WebAssembly: it does not begin with \\0asm";
        return Err(Refusal::new(
            "not-wasm",
            why,
            "give the .wasm file that `cargo build --target wasm32-wasip2` wrote",
        ));
    }
    match Parser::new(0).parse(bytes, true) {
        Ok(wasmparser::Chunk::Parsed { payload: Payload::Version { encoding: Encoding::Module, .. }, .. }) => {
            let why = "this is a core WebAssembly module, and a plugin is a component";
            Err(Refusal::new("core-module", why, "build for wasm32-wasip2, or wrap it with `wasm-tools component new`"))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(truncated(error)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn truncated(error: wasmparser::BinaryReaderError) -> Refusal {
    let why = format!("the file is cut off or damaged: {error}");
    Refusal::new("damaged", why, "copy it again, and compare the digest with the publisher's")
}

/// `tidegate:dr/dns@0.1.0` → (`tidegate:dr`, `dns`, `0.1.0`)
fn split(name: &str) -> (&str, &str, &str) {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/').unwrap_or(("", path));
    (package, interface, version)
}

fn check_versions(outside: &Outside) -> Result<(), Refusal> {
    for name in outside.exports.iter().chain(&outside.imports) {
        let (package, _, version) = split(name);
        if package == PACKAGE && version != CONTRACT {
            let why = format!("it speaks version {version} of the contract ({name}), and this host speaks {CONTRACT}");
            return Err(Refusal::new(
                "contract-version",
                why,
                "update the host, or take the plugin's release for this contract",
            ));
        }
    }
    Ok(())
}

fn world(exports: &[String]) -> Result<World, Refusal> {
    let ours: Vec<&str> =
        exports.iter().map(|name| split(name)).filter(|(p, ..)| *p == PACKAGE).map(|(_, i, _)| i).collect();
    let fits = |world: &&World| world.exports().iter().all(|export| ours.contains(export));
    // The world that asks for most is the one meant: every provider exports more than `plugin`.
    let world = World::ALL.iter().filter(fits).max_by_key(|world| world.exports().len()).copied();
    world.ok_or_else(|| {
        let has = if ours.is_empty() { "nothing of the contract".to_owned() } else { ours.join(", ") };
        let worlds: Vec<&str> = World::ALL.iter().map(|world| world.as_str()).collect();
        let why = format!("it belongs to none of the contract's worlds: it exports {has}");
        Refusal::new("no-world", why, format!("build it against one of: {}", worlds.join(", ")))
    })
}

/// The WASI packages that a standard library or a provider may import; what is behind them is decided elsewhere.
const WASI: [&str; 6] = ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

fn check_imports(world: World, imports: &[String]) -> Result<(), Refusal> {
    match imports.iter().find(|name| !may_import(world, name)) {
        None => Ok(()),
        Some(name) => {
            let why = format!("it imports {name}, which the world {world} does not have");
            Err(Refusal::new(
                "unknown-import",
                why,
                "remove the dependency that needs it, or build against another world",
            ))
        }
    }
}

fn may_import(world: World, name: &str) -> bool {
    let (package, interface, version) = split(name);
    if package == PACKAGE {
        return world.imports().contains(&interface);
    }
    let reaches_out = ["wasi:http", "wasi:tls"].contains(&package) && !world.is_policy();
    (reaches_out || WASI.contains(&package)) && version.starts_with("0.2.")
}

fn check_memory(initial: u64, max: Size) -> Result<(), Refusal> {
    if initial <= max.0 {
        return Ok(());
    }
    let why = format!("it starts with {initial} bytes of memory, and its slot allows {max}");
    Err(Refusal::new(
        "too-much-memory",
        why,
        "link it with a smaller stack and heap, or give it more: `limits = { memory = \"64MiB\" }` in its slot, or --limit memory=64MiB",
    ))
}

fn check_table(initial: u64, max: u32) -> Result<(), Refusal> {
    if initial <= u64::from(max) {
        return Ok(());
    }
    let why = format!("it starts with a table of {initial} entries, and its slot allows table-elements: {max}");
    Err(Refusal::new("too-large-a-table", why, "build it with fewer functions, or raise the slot's `table-elements`"))
}
