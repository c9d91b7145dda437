//! Builds every plugin beside this crate for WebAssembly, and lists the components for `src/lib.rs` to embed.
//!
//! Runs cargo a second time, in a target directory of its own: the outer cargo holds the lock on its own.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

const TARGET: &str = "wasm32-wasip2";
const PROFILE: &str = "guest";

/// Built besides the plugins: for the demonstration to let loose, and for the tests to run.
const EXAMPLES: [&str; 3] = ["policy-follow-the-sun", "policy-hostile", "provider-fresh-file"];

/// What a component is made of besides the plugins' own directories, seen from the workspace.
const INGREDIENTS: [&str; 9] = [
    "sdk/src",
    "sdk/wit",
    "sdk/build.rs",
    "sdk/Cargo.toml",
    "wit/v0.1.0",
    ".cargo/config.toml",
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
];

/// Set for this script by the outer cargo, or by the user for a host's build: wrong for a guest's. With `RUSTFLAGS` set,
/// cargo would even ignore the guests' stack size in `.cargo/config.toml`.
const LEAKS: [&str; 12] = [
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CLIPPY_ARGS",
    "TARGET",
    "HOST",
];

fn main() -> Result<()> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().context("finding the workspace")?;
    let plugins = plugins(&workspace)?;
    watch(&workspace, &plugins);
    require_target()?;
    let components = build(&workspace, &plugins)?;
    for example in EXAMPLES {
        embed(&components, example)?;
    }
    list(&components, &plugins)
}

/// Every crate beside this one is a plugin.
fn plugins(workspace: &Path) -> Result<Vec<String>> {
    let beside = workspace.join("plugins");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&beside).with_context(|| format!("reading {}", beside.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "bundle" && entry.path().join("Cargo.toml").exists() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn watch(workspace: &Path, plugins: &[String]) {
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    for ingredient in INGREDIENTS {
        println!("cargo::rerun-if-changed={}", workspace.join(ingredient).display());
    }
    let beside = plugins.iter().map(|plugin| workspace.join("plugins").join(plugin));
    for home in beside.chain(EXAMPLES.map(|example| workspace.join("examples").join(example))) {
        println!("cargo::rerun-if-changed={}", home.join("src").display());
        println!("cargo::rerun-if-changed={}", home.join("Cargo.toml").display());
    }
}

fn require_target() -> Result<()> {
    let rustc = std::env::var_os("RUSTC").context("cargo sets RUSTC for build scripts")?;
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    ensure!(
        output.status.success() && library.is_dir(),
        "the plugins are WebAssembly, and Rust's {TARGET} target is not installed; type: rustup target add {TARGET}"
    );
    Ok(())
}

/// Builds all plugins in one go; returns the directory of the components.
fn build(workspace: &Path, plugins: &[String]) -> Result<PathBuf> {
    let target_dir = target_dir(workspace).join("guests");
    let cargo = std::env::var_os("CARGO").context("cargo sets CARGO for build scripts")?;
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--locked", "--profile", PROFILE, "--target", TARGET]);
    command.arg("--target-dir").arg(&target_dir);
    for plugin in plugins.iter().map(String::as_str).chain(EXAMPLES) {
        command.args(["--package", plugin]);
    }
    for leak in LEAKS {
        command.env_remove(leak);
    }
    let status = command.status().context("running cargo for the plugins")?;
    ensure!(
        status.success(),
        "building the plugins failed (see above); to see it alone: cargo build --profile {PROFILE} --target {TARGET} -p {}",
        plugins.join(" -p ")
    );
    Ok(target_dir.join(TARGET).join(PROFILE))
}

fn target_dir(workspace: &Path) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace.join(dir),
        None => workspace.join("target"),
    }
}

fn out_dir() -> Result<PathBuf> {
    Ok(PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR for build scripts")?))
}

/// Copies a component to where `src/lib.rs` includes it from, so that a later build cannot change it under it.
fn embed(components: &Path, plugin: &str) -> Result<PathBuf> {
    let file = components.join(plugin.replace('-', "_")).with_extension("wasm");
    let copy = out_dir()?.join(plugin).with_extension("wasm");
    std::fs::copy(&file, &copy).with_context(|| format!("copying {}", file.display()))?;
    Ok(copy)
}

fn list(components: &Path, plugins: &[String]) -> Result<()> {
    let mut list = String::from("&[");
    for plugin in plugins {
        let copy = embed(components, plugin)?;
        let path: &OsStr = copy.as_os_str();
        write!(list, "Builtin {{ name: {plugin:?}, bytes: include_bytes!({path:?}) }},")?;
    }
    list.push(']');
    std::fs::write(out_dir()?.join("builtins.rs"), list).context("writing the list of plugins")
}
