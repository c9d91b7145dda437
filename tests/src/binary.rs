//! The binary `tidegate`, built as the tests were: whole-system tests start it as people do.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// Where the binary is; built on first use, so that no test runs an old one.
pub fn tidegate() -> &'static PathBuf {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "tidegate", "--message-format", "json"]);
        let output = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo starts");
        assert!(output.status.success(), "the binary does not build: {}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).expect("cargo prints text");
        let artifact = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let executable = artifact.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back();
        executable.expect("cargo names the binary")
    });
    &BINARY
}
