//! Builds the guests of the engine's tests and benches for `wasm32-wasip2`, in a target directory of their own.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Crate, feature, and the name of the variable that holds the component's path.
const GUESTS: [(&str, &str, &str); 11] = [
    ("hostile-policy", "", "HOSTILE_POLICY"),
    ("hostile-policy", "loop-in-describe", "LOOPS_IN_DESCRIBE"),
    ("hostile-policy", "loop-in-start", "LOOPS_IN_START"),
    ("hostile-provider", "", "HOSTILE_PROVIDER"),
    ("hostile-signal", "", "HOSTILE_SIGNAL"),
    ("hostile-adviser", "retention", "HOSTILE_RETENTION"),
    ("hostile-adviser", "tiering", "HOSTILE_TIERING"),
    ("hostile-adviser", "cost", "HOSTILE_COST"),
    ("echo-replication", "", "ECHO_REPLICATION"),
    ("starttls-probe", "", "STARTTLS_PROBE"),
    ("failover-quorum", "", "FAILOVER_QUORUM"),
];

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let root = here.ancestors().nth(3).expect("three levels below the workspace").to_owned();
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo"));
    for (guest, ..) in GUESTS.iter().filter(|(guest, ..)| here.join("..").join(guest).exists()) {
        println!("cargo:rerun-if-changed={}", here.join("..").join(guest).display());
    }
    for ingredient in ["wit", "sdk/src", "sdk/wit", "plugins/failover-quorum/src", ".cargo/config.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(ingredient).display());
    }
    for (guest, feature, variable) in GUESTS {
        let built = build(&root, &guests_target(&out), guest, feature);
        let kept = out.join(format!("{variable}.wasm"));
        fs::copy(&built, &kept).unwrap_or_else(|error| panic!("copy {}: {error}", built.display()));
        println!("cargo:rustc-env={variable}={}", kept.display());
    }
}

/// Beside the target directory that this build uses: the outer build holds the lock on its own.
fn guests_target(out: &Path) -> PathBuf {
    let target = out.ancestors().find(|path| path.join("CACHEDIR.TAG").exists()).unwrap_or(out);
    target.join("guests")
}

fn build(root: &Path, target: &Path, guest: &str, feature: &str) -> PathBuf {
    let mut cargo = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2", "-p", guest]);
    cargo.arg("--target-dir").arg(target);
    if !feature.is_empty() {
        cargo.args(["--features", feature]);
    }
    // The outer build's flags are for the host.
    for flag in
        ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER"]
    {
        cargo.env_remove(flag);
    }
    let status = cargo.status().expect("run cargo");
    assert!(status.success(), "{guest} {feature} does not build; is the target there? rustup target add wasm32-wasip2");
    target.join("wasm32-wasip2/guest").join(format!("{}.wasm", guest.replace('-', "_")))
}
