//! The program itself, as it is typed: help, completions, exit codes, and a fleet file that passes its own check.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn tidegate(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for variable in ["TIDEGATE_HOST", "TIDEGATE_FLEET", "TIDEGATE_TOKEN_FILE", "TIDEGATE_CA"] {
        command.env_remove(variable);
    }
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(std::process::Stdio::null())
        .output()
        .expect("the program was built")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every command without further ones below it.
fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        let path = format!("{path} {}", below.get_name());
        found.push((path.clone(), below.clone()));
        leaves(below, &path, found);
    }
}

#[test]
fn the_tree_of_commands_is_sound() {
    tidegate::cli::tree().debug_assert();
}

#[test]
fn every_command_has_examples_that_name_it() {
    let mut found = Vec::new();
    leaves(&tidegate::cli::tree(), "tidegate", &mut found);
    assert!(found.len() >= 40, "{}", found.len());
    for (path, mut command) in found {
        let help = command.render_long_help().to_string();
        let examples = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{path} has no examples")).1;
        // `adopt` and `reapply` share theirs.
        let family = [path.as_str(), "tidegate adopt", "openssl"];
        assert!(family.iter().any(|name| examples.contains(name)), "{path} does not show how it is typed:\n{examples}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    let directory = tempfile::tempdir().unwrap();
    for (shell, marker) in [("bash", "_tidegate"), ("zsh", "#compdef tidegate"), ("fish", "complete -c tidegate")] {
        let output = tidegate(directory.path(), &["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        let script = said(&output);
        assert!(script.contains(marker) && script.contains("what-if"), "{shell}");
    }
}

#[test]
fn what_init_writes_passes_the_check() {
    let table: [&[&str]; 3] = [
        &[
            "--site",
            "us-east",
            "--site",
            "eu-west",
            "--site",
            "ap-south",
            "--service",
            "shop=https://{site}.shop.example/up",
        ],
        &[
            "--site",
            "a=region-1",
            "--site",
            "b=region-1",
            "--service",
            "pay=http://10.0.1.5:8080/",
            "--service",
            "pay=http://10.0.2.5:8080/",
        ],
        &[
            "--site",
            "a",
            "--site",
            "b",
            "--site",
            "c",
            "--service",
            "x=http://{site}.example:80/",
            "--zone",
            "example.com",
            "--dns-server",
            "10.0.0.53:53",
        ],
    ];
    for flags in table {
        let directory = tempfile::tempdir().unwrap();
        let output = tidegate(directory.path(), &[&["init"], flags].concat());
        assert_eq!(code(&output), 0, "{flags:?}: {}", said(&output));
        let written = std::fs::read_to_string(directory.path().join("fleet.toml")).unwrap();
        assert!(written.contains("mode = \"observe\""));
        let checked = tidegate(directory.path(), &["check", "--json"]);
        assert_eq!(code(&checked), 0, "{flags:?}: {}\n{written}", said(&checked));
        let report: Value = serde_json::from_slice(&checked.stdout).unwrap();
        assert_eq!((&report["usable"], &report["problems"]), (&json!(true), &json!([])));
    }
}

#[test]
fn init_makes_a_token_for_each_agent_that_only_its_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let flags = ["init", "--site", "a", "--site", "b", "--here", "b", "--service", "x=http://{site}/"];
    assert_eq!(code(&tidegate(directory.path(), &flags)), 0);
    let token = directory.path().join("secrets/agent-a.token");
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&token).unwrap().trim().len(), 64);
    assert!(!directory.path().join("secrets/agent-b.token").exists(), "the host needs none");
}

#[test]
fn init_refuses_what_it_cannot_write_and_writes_nothing() {
    let table: [(&[&str], &str); 6] = [
        (&[], "--site"),
        (&["--site", "a"], "--service"),
        (&["--site", "a", "--site", "b", "--service", "x=http://1.2.3.4/"], "{site}"),
        (&["--site", "A b", "--service", "x=http://1.2.3.4/"], "lower-case"),
        (&["--site", "a", "--service", "x=ftp://1.2.3.4/"], "http://"),
        (&["--site", "a", "--here", "b", "--service", "x=http://1.2.3.4/"], "no --site"),
    ];
    for (flags, hint) in table {
        let directory = tempfile::tempdir().unwrap();
        let output = tidegate(directory.path(), &[&["init"], flags].concat());
        assert_eq!(code(&output), 2, "{flags:?}: {}", said(&output));
        assert!(said(&output).contains(hint), "{flags:?}: {}", said(&output));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "{flags:?}");
    }
}

#[test]
fn init_never_writes_over_a_fleet_file_unasked() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("fleet.toml"), "# mine").unwrap();
    let flags = ["init", "--site", "a", "--service", "x=http://1.2.3.4/"];
    let output = tidegate(directory.path(), &flags);
    assert_eq!(code(&output), 2);
    assert_eq!(std::fs::read_to_string(directory.path().join("fleet.toml")).unwrap(), "# mine");
    assert_eq!(code(&tidegate(directory.path(), &[&flags[..], &["--force"]].concat())), 0);
}

/// A host that gives every request the same answer, as long as the test lives.
fn host_that_answers(directory: &Path, status: &'static str, body: Value) -> String {
    let socket = directory.join("host.sock");
    let listener = UnixListener::bind(&socket).expect("the directory is new");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("somebody connects");
            let body = body.to_string();
            let _ = stream.read(&mut [0; 8192]);
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    format!("unix:{}", socket.display())
}

#[test]
fn exit_codes_say_how_it_ended() {
    let refused = |by_guard: bool| json!({ "by-guard": by_guard, "reasons": [{ "code": "cooldown", "text": "the cooldown is not over" }] });
    let accepted = |run: Value, question: Value| json!({ "text": "taken", "run": run, "question": question });
    let blocked = json!([{ "service": "shop", "blockers": [{ "code": "full", "text": "eu-west is full" }] }]);
    let error = json!({ "error": { "what": "there is no service chop", "where": "chop", "unchanged": "", "next": "see status" } });
    let table: [(&[&str], &'static str, Value, i32, &str); 12] = [
        (&["pause", "shop"], "200 OK", accepted(json!(null), json!(null)), 0, "taken"),
        (&["ready"], "200 OK", json!([{ "service": "shop", "blockers": [] }]), 0, "1 of 1 ready"),
        (&["ready"], "200 OK", blocked, 1, "eu-west is full"),
        (&["status", "chop"], "404 Not Found", error.clone(), 2, "there is no service chop"),
        (&["status"], "500 Internal Server Error", error, 1, "there is no service chop"),
        (&["failover", "shop"], "200 OK", json!({}), 2, "--yes"),
        (&["failover", "shop", "--yes"], "409 Conflict", refused(true), 3, "the cooldown is not over"),
        (&["failover", "shop", "--yes"], "409 Conflict", refused(false), 2, "the cooldown is not over"),
        (&["failover", "shop", "--yes"], "200 OK", accepted(json!(3), json!(null)), 0, "r3"),
        (&["failover", "shop", "--yes"], "200 OK", accepted(json!(null), json!(7)), 4, "tidegate approve q7"),
        (&["questions"], "200 OK", json!([]), 0, "nothing waits"),
        (&["approve", "r7"], "200 OK", json!([]), 2, "run r7 waits for nobody's answer"),
    ];
    for (arguments, status, body, expected, words) in table {
        let directory = tempfile::tempdir().unwrap();
        let host = host_that_answers(directory.path(), status, body);
        let output = tidegate(directory.path(), &[arguments, &["--host", &host]].concat());
        assert_eq!(code(&output), expected, "{arguments:?} {status}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?} {status}: {}", said(&output));
    }
}

#[test]
fn bad_usage_and_an_absent_host_have_their_own_codes() {
    let directory = tempfile::tempdir().unwrap();
    let table: [(&[&str], i32, &str); 8] = [
        (&["fly"], 2, "unrecognized subcommand"),
        (&["run", "show", "three"], 2, "r3"),
        (&["approve", "seven"], 2, "q3"),
        (&["status", "--host", "http://10.0.0.1:80"], 2, "in the clear"),
        (&["check"], 2, "there is no fleet file"),
        (&["journal", "verify", "--state", "."], 2, "there is no journal"),
        (&["plugin", "inspect", "builtin:nothing"], 2, "failover-quorum"),
        (&["status", "--host", "unix:none.sock"], 1, "tidegate run"),
    ];
    for (arguments, expected, words) in table {
        let output = tidegate(directory.path(), arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_failure_is_one_json_document_where_json_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let output = tidegate(directory.path(), &["status", "--host", "unix:none.sock", "--json"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["error"]["what"].as_str().unwrap().contains("none.sock"));
    assert!(document["error"]["next"].as_str().unwrap().contains("tidegate run"));
}

#[test]
fn a_newer_hosts_words_pass_through_json_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let body = json!([{ "service": "shop", "blockers": [], "since-a-later-version": { "kept": [1, 2] } }]);
    let host = host_that_answers(directory.path(), "200 OK", body.clone());
    let output = tidegate(directory.path(), &["ready", "--json", "--host", &host]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), body);
}

#[test]
fn a_pipe_gets_no_colour_unless_it_asks_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let host = host_that_answers(directory.path(), "200 OK", json!([{ "service": "shop", "blockers": [] }]));
    let plain = tidegate(directory.path(), &["ready", "--host", &host]);
    assert!(!plain.stdout.contains(&0x1b));
    let painted = tidegate(directory.path(), &["ready", "--host", &host, "--color", "always"]);
    assert!(painted.stdout.contains(&0x1b));
}

#[test]
fn a_built_in_plugin_is_inspected_without_a_host() {
    let directory = tempfile::tempdir().unwrap();
    let output = tidegate(directory.path(), &["plugin", "inspect", "builtin:failover-quorum", "--json"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let outline: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&outline["world"], &outline["manifest"]["name"]), (&json!("failover"), &json!("failover-quorum")));
    let file = directory.path().join("not.wasm");
    std::fs::write(&file, "not WebAssembly").unwrap();
    let refused = tidegate(directory.path(), &["plugin", "inspect", "not.wasm"]);
    assert_eq!(code(&refused), 2);
    assert!(said(&refused).contains("this is not WebAssembly"), "{}", said(&refused));
}
