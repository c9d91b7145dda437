//! The real program, told by signals and by files: to take over what was changed, and to stop.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "support/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
mod stage;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use stage::*;
use tidegate::client::{Address, Client};
use tidegate::journal;

const OLD: &str = "ada-0123456789abcdef";
const NEW: &str = "ada-fedcba9876543210";

/// A door on loopback for Ada, who may only look.
fn with_a_door(directory: &Path, fleet: &str) -> String {
    fs::write(directory.join("ada.token"), OLD).unwrap();
    let fleet = fleet.replace("host.sock\"]", "host.sock\", \"127.0.0.1:0\"]");
    let fleet = fleet.replace("[secret]", "[secret]\nada-token = { file = \"ada.token\" }");
    fleet + "[person.ada]\nroles = \"viewer\"\ntoken = \"ada-token\"\n"
}

/// Ada at that door, with this token.
fn ada(host: &Process, token: &str) -> Client {
    let log = host.log();
    let (_, port) = log.split_once("host.sock, 127.0.0.1:").unwrap();
    let port = port.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap();
    Client::new(Address::Plain("127.0.0.1".to_owned(), port), Some(token.to_owned()), None)
}

async fn may_look(host: &Process, token: &str) -> bool {
    ada(host, token).get::<Value>("/v1/status").await.is_ok()
}

async fn may_order(host: &Process, token: &str) -> bool {
    let pause = json!({"command": "pause", "service": "shop", "reason": "a try"});
    ada(host, token).post::<Value>("/v1/orders", &pause).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_over_a_changed_fleet_file_and_a_changed_secret_by_itself_and_on_a_hangup() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| with_a_door(directory, &fleet(directory, left, right, dns.local_addr())));
    let host = stage.start_process().await;
    assert!(may_look(&host, OLD).await && !may_look(&host, NEW).await && !may_order(&host, OLD).await);

    fs::write(stage.directory.path().join("ada.token"), NEW).unwrap();
    until("the new token counts", || may_look(&host, NEW)).await;
    assert!(!may_look(&host, OLD).await, "the old token still counts");

    let written = fs::read_to_string(stage.fleet_file()).unwrap();
    fs::write(stage.fleet_file(), written.replace("\"viewer\"", "\"operator\"")).unwrap();
    until("Ada may order", || may_order(&host, NEW)).await;

    let times = || async { stage.journal().await.matches("\"fleet-changed\"").count() };
    let before = times().await;
    host.signal(Signal::SIGHUP);
    until("it was read again although nothing has changed", || async { times().await == before + 1 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_what_it_had_when_what_is_written_is_bad_and_says_why() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| with_a_door(directory, &fleet(directory, left, right, dns.local_addr())));
    let host = stage.start_process().await;
    let (fleet_file, token) = (stage.fleet_file(), stage.directory.path().join("ada.token"));
    let good = fs::read_to_string(&fleet_file).unwrap();
    let kept = "the host goes on with the one that it had";

    fs::write(&fleet_file, good.replace("\"viewer\"", "\"emperor\"")).unwrap();
    host.signal(Signal::SIGHUP);
    host.says("emperor").await;
    let log = host.log();
    assert!(log.contains(kept) && log.contains("fleet.toml:"), "{log}");
    assert!(may_look(&host, OLD).await);
    fs::write(&fleet_file, good).unwrap();

    fs::remove_file(&token).unwrap();
    host.says("secret ada-token: ").await;
    assert!(host.log().matches(kept).count() >= 2, "{}", host.log());
    assert!(may_look(&host, OLD).await, "the secret that is gone still counts");

    fs::write(&token, NEW).unwrap();
    until("the next good one counts", || may_look(&host, NEW)).await;
}

/// The last step of a planned move says that it has begun, and ends when it is let go.
fn with_a_long_step(directory: &Path, fleet: &str) -> String {
    let at = directory.display();
    let steps = format!(
        r#"
[runbook.careful]
[[runbook.careful.step]]
name = "traffic"
route = true
[[runbook.careful.step]]
name = "drain"
command = "drain"
site = "left"
[command.drain]
argv = ["/bin/sh", "-c", "echo begun >> $0; until test -e $1; do sleep 0.05; done; echo done >> $0", "{at}/ran", "{at}/go"]
"#
    );
    fleet.replace("[service.shop]", "[service.shop]\nrunbooks = { switch-over = \"careful\" }") + &steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_for_a_step_under_way_when_it_is_told_to_stop_and_leaves_nothing_over() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| with_a_long_step(directory, &fleet(directory, left, right, dns.local_addr())));
    let mut host = stage.start_process().await;
    until("a move would work", || async {
        let shop: Value = stage.client.get("/v1/services/shop").await.unwrap();
        shop["movable"] == json!({"yes": "right"}) && !shop["readiness"].is_null()
    })
    .await;
    let order = json!({"command": "switchover", "service": "shop", "to": "right"});
    stage.client.post::<Value>("/v1/orders", &order).await.unwrap();
    let ran = || fs::read_to_string(stage.directory.path().join("ran")).unwrap_or_default();
    until("the step is under way", || async { ran() == "begun\n" }).await;

    host.signal(Signal::SIGTERM);
    host.says("stopping: no more orders are taken").await;
    assert!(stage.client.post::<Value>("/v1/orders", &order).await.is_err(), "an order was taken while it stops");
    assert!(host.child.try_wait().unwrap().is_none(), "it did not wait for the step");
    fs::write(stage.directory.path().join("go"), "").unwrap();
    assert!(host.child.wait().await.unwrap().success(), "{}", host.log());
    assert!(host.log().contains("the journal is closed"), "{}", host.log());
    let verified = journal::verify(&journal::directory(&stage.state())).unwrap();
    assert!(verified.torn.is_none(), "{verified:?}");

    let host = stage.start_process().await;
    let runs: Vec<Value> = stage.client.get("/v1/runs").await.unwrap();
    assert!(runs.len() == 1 && runs[0]["end"] == "done", "{runs:?}");
    let journal = stage.journal().await;
    assert!(journal.contains("\"run-closed\"") && !journal.contains("\"rule\":78"), "a step was cut short");
    assert_eq!(ran(), "begun\ndone\n");
    drop(host);
}
