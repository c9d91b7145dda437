//! What a fresh machine lacks: the guests' target, and Debian's packages for the tests.
//!
//! Installs only what is missing, and where it may not, says the one line to type.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The guests' compilation target.
const GUEST_TARGET: &str = "wasm32-wasip2";

/// What the tests need of the machine, most of it real servers: where it is found, and the package that brings it.
struct Need {
    program: &'static str,
    package: &'static str,
}

const NEEDS: &[Need] = &[
    Need { program: "knotd", package: "knot" },
    Need { program: "initdb", package: "postgresql" },
    Need { program: "ip", package: "iproute2" },
];

/// What the tests fetch their tools by, or run them with; how to see that it is there, and what is not tested without it.
const INTERPRETERS: [(&str, &[&str], &str); 3] = [
    ("python3", &["-c", "import ensurepip, venv"], "policies in Python"),
    ("node", &["--version"], "policies in JavaScript"),
    ("npm", &["--version"], "policies in JavaScript, and of replication-postgres on PostgreSQL's other versions,"),
];

/// Debian's PostgreSQL makes a cluster of its own while it is installed, unless it finds this.
const NO_CLUSTER: &str = "mkdir -p /etc/postgresql-common/createcluster.d && \
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/tidegate-tests.conf";

/// Makes sure that guests can be compiled.
pub(crate) fn guest_target() -> Result<()> {
    let output = Command::new("rustc").args(["--print", "target-libdir", "--target", GUEST_TARGET]).output();
    let installed = output.context("run rustc")?;
    let directory = PathBuf::from(String::from_utf8_lossy(&installed.stdout).trim());
    if installed.status.success() && directory.is_dir() {
        return Ok(());
    }
    succeed(Command::new("rustup").args(["target", "add", GUEST_TARGET]))
        .with_context(|| format!("install the guests' target; by hand: rustup target add {GUEST_TARGET}"))
}

/// Makes sure that the real servers of the tests are there.
pub(crate) fn debian_packages() -> Result<()> {
    let missing: Vec<&str> = NEEDS.iter().filter(|need| !is_installed(need.program)).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("sudo apt-get install --yes --no-install-recommends {}", missing.join(" "));
    println!("installing for the tests: {}", missing.join(" "));
    let prefix: &[&str] = match () {
        () if is_root() => &["env"],
        () if can_sudo() => &["sudo", "--non-interactive", "env"],
        () => bail!("the tests need {}, and this user may not install it; type: {by_hand}", missing.join(" ")),
    };
    let apt = |arguments: &[&str]| {
        // A package that starts its server while it is installed would take ports that are not ours to take.
        let mut command = Command::new(prefix[0]);
        command.args(&prefix[1..]).args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get", "--quiet"]);
        succeed(command.args(arguments))
    };
    if missing.contains(&"postgresql") {
        succeed(Command::new(prefix[0]).args(&prefix[1..]).args(["sh", "-c", NO_CLUSTER]))?;
    }
    apt(&["update"]).with_context(|| format!("by hand: {by_hand}"))?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install).with_context(|| format!("by hand: {by_hand}"))
}

/// Says what will not be tested on this machine.
pub(crate) fn interpreters() {
    for (program, try_it, untested) in INTERPRETERS {
        if !Command::new(program).args(try_it).output().is_ok_and(|output| output.status.success()) {
            println!("`{program} {}` fails: the tests of {untested} are SKIPPED", try_it.join(" "));
        }
    }
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain(debian_postgresql())
        .any(|dir| dir.join(program).is_file())
}

/// Debian keeps the programs of each version apart, and out of `$PATH`.
fn debian_postgresql() -> impl Iterator<Item = PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn can_sudo() -> bool {
    Command::new("sudo").args(["--non-interactive", "true"]).output().is_ok_and(|output| output.status.success())
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let output =
        cargo_command(&["metadata", "--no-deps", "--format-version", "1"]).output().context("run cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("read cargo's metadata")?;
    let directory = metadata["target_directory"].as_str().context("cargo's metadata names no target directory")?;
    Ok(PathBuf::from(directory))
}

/// A cargo command in the workspace's root.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

/// Runs a command in view.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}
