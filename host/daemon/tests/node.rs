//! `tidegate node` on real PostgreSQL: what is stopped is stopped for certain, what is barred takes no write, and a node that has
//! parted from its primary comes back.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail with it")]

mod support;

use nix::sys::signal::Signal;
use serde_json::json;
use support::{Place, Server, await_that, last_line, send, text};

fn primary(place: &Place) -> Server {
    primary_with(place, "")
}

fn primary_with(place: &Place, settings: &str) -> Server {
    let server = place.server("a", settings);
    server.start("primary");
    server
}

/// A promoted standby, and the old primary with rows that never reached it.
fn parted(place: &Place, settings: &str) -> (Server, Server) {
    let old = primary_with(place, settings);
    let new = place.standby("b", &old);
    new.start("standby");
    await_that("streaming", || old.sql("select count(*) from pg_stat_replication").as_deref() == Some("1"));
    assert!(old.writes());
    new.sql("alter system set primary_conninfo = ''").unwrap();
    new.sql("select pg_reload_conf()").unwrap();
    await_that("the standby's detachment", || {
        old.sql("select count(*) from pg_stat_replication").as_deref() == Some("0")
    });
    assert_eq!(old.sql("insert into t values (2), (3)"), Some(String::new()));
    old.processes().iter().for_each(|process| send(process.pid, Signal::SIGKILL));
    assert_eq!(new.sql("select pg_promote()").as_deref(), Some("t"));
    assert!(new.writes());
    (old, new)
}

#[test]
fn a_stopped_node_says_where_its_log_ended_and_comes_up_as_a_standby_whoever_starts_it() {
    let place = Place::new();
    let server = primary(&place);
    assert!(server.writes());
    let stopped = server.stop("fast");
    let position = stopped["position"].as_u64().unwrap();
    assert_eq!(
        stopped,
        json!({"stopped": true, "left": 0, "barred": true, "clean": true, "position": position, "timeline": 1})
    );
    assert_eq!(server.stop("fast"), stopped, "it may be asked twice");
    let data = support::path(&server.data);
    support::as_postgres(
        &format!("{}/pg_ctl", support::BIN),
        &["start", "-w", "-D", data, "-l", &format!("{data}/start.log")],
    );
    assert!(server.is_standby() && !server.writes());
    let replayed = server.sql("select pg_last_wal_replay_lsn() - '0/0'::pg_lsn").unwrap();
    assert_eq!(replayed, position.to_string(), "the position is where the log ends");
    server.stop("immediate");
}

#[test]
fn a_standby_has_everything_that_a_primary_stopped_in_order_had_written() {
    let place = Place::new();
    let old = primary(&place);
    let new = place.standby("b", &old);
    new.start("standby");
    await_that("streaming", || old.sql("select count(*) from pg_stat_replication").as_deref() == Some("1"));
    assert!(old.writes());
    let position = old.stop("fast")["position"].as_u64().unwrap();
    let received = new.sql("select pg_last_wal_receive_lsn() - '0/0'::pg_lsn").unwrap();
    assert_eq!(received, position.to_string());
}

#[test]
fn no_orphan_outlives_a_stop() {
    let place = Place::new();
    let server = primary(&place);
    let port = server.port.to_string();
    let mut client = std::process::Command::new(format!("{}/psql", support::BIN))
        .args(["-Xq", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", "select pg_sleep(600)"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let backend = || server.processes().into_iter().find(|process| process.title.contains("SELECT"));
    await_that("the client's backend", || backend().is_some());
    let backend = backend().unwrap();
    send(backend.pid, Signal::SIGSTOP);
    send(server.postmaster().unwrap(), Signal::SIGKILL);
    await_that("the postmaster's end", || server.postmaster().is_none());
    assert!(server.processes().iter().any(|process| process.pid == backend.pid), "a stopped backend lingers");
    let stopped = server.stop("immediate");
    assert_eq!((&stopped["stopped"], &stopped["left"], &stopped["clean"]), (&json!(true), &json!(0), &json!(false)));
    assert_eq!(stopped["position"], json!(null), "nobody knows where the log of a crashed server ends for certain");
    assert!(server.processes().is_empty());
    client.wait().unwrap();
}

#[test]
fn a_hung_server_is_killed_when_its_time_is_over() {
    let place = Place::new();
    let server = primary(&place);
    server.processes().iter().for_each(|process| send(process.pid, Signal::SIGSTOP));
    let stopped = server.does(&["stop", "--mode", "fast", "--patience", "200ms"]);
    assert_eq!((&stopped["left"], &stopped["clean"]), (&json!(0), &json!(false)));
}

#[test]
fn a_node_that_missed_nothing_streams_again() {
    let place = Place::new();
    let a = primary(&place);
    let b = place.standby("b", &a);
    b.start("standby");
    await_that("streaming", || a.sql("select count(*) from pg_stat_replication").as_deref() == Some("1"));
    a.stop("fast");
    assert_eq!(b.sql("select pg_promote()").as_deref(), Some("t"));
    assert!(b.writes());
    let output = a.follow("rejoin", &b);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(last_line(&output), json!({"running": true, "role": "standby", "how": "streamed"}));
    await_that("the row", || a.sql("select count(*) from t").as_deref() == Some("1"));
    assert!(a.is_standby());
}

#[test]
fn a_node_whose_log_parted_is_rewound_and_keeps_its_own_settings() {
    let place = Place::new();
    let (old, new) = parted(&place, "");
    let output = old.follow("rejoin", &new);
    assert!(output.status.success(), "{}\n{}", text(&output), old.log());
    assert_eq!(last_line(&output), json!({"running": true, "role": "standby", "how": "rewound"}));
    await_that("the new primary's rows", || old.sql("select count(*) from t").as_deref() == Some("2"));
    assert!(old.is_standby(), "on its own port, too");
    let name = new.sql("select application_name from pg_stat_replication");
    assert_eq!(name.as_deref(), Some("a"));
}

#[test]
fn a_node_is_rebuilt_with_its_own_settings() {
    let place = Place::new();
    let (old, new) = parted(&place, "");
    let output = old.follow("rebuild", &new);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(last_line(&output), json!({"running": true, "role": "standby", "how": "rebuilt"}));
    assert!(old.is_standby());
    let left: Vec<_> =
        std::fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "nothing is left beside the two nodes: {left:?}");
}

#[test]
fn refuses_to_follow_a_stranger_or_nobody_and_changes_nothing() {
    let place = Place::new();
    let (server, stranger) = (primary(&place), place.server("x", ""));
    for (verb, reason) in [("rejoin", "who it is"), ("rebuild", "who it is")] {
        let output = server.follow(verb, &stranger);
        assert!(!output.status.success() && text(&output).contains(reason), "{}", text(&output));
    }
    stranger.start("primary");
    let output = server.follow("rejoin", &stranger);
    assert!(!output.status.success() && text(&output).contains("another cluster"), "{}", text(&output));
    assert!(server.writes() && !server.is_barred());
}

#[test]
fn says_that_a_node_without_hints_cannot_be_rewound() {
    let place = Place::new();
    let (old, new) = parted(&place, "wal_log_hints=off");
    let output = old.follow("rejoin", &new);
    assert!(!output.status.success() && text(&output).contains("wal_log_hints"), "{}", text(&output));
    assert!(old.is_barred() && old.processes().is_empty());
}
