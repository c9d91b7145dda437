//! A database's provider that answers with what it was asked, or does what a node's name says.
//!
//! Knows nothing of databases.

#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "replication-provider", generate_all });

use exports::tidegate::dr::{
    plugin::{Guest as Plugin, Manifest, Problem, Want},
    provider::{Guest as Provider, Setup},
    replication::{Cluster, Guest as Replication, Node, Role, Sighting},
    replication_control::{Call, Guest as Control, Proof, SyncSet},
};
use std::time::Duration;
use tidegate::dr::{
    command,
    types::{Fact, Failure},
};

struct Echo;
export!(Echo);

impl Plugin for Echo {
    fn describe() -> Manifest {
        Manifest {
            name: "echo-replication".into(),
            version: "0.1.0".into(),
            summary: "Answers with what it was asked".into(),
            settings_schema: "{}".into(),
            wants: vec![Want::Command("*".into())],
            memo_format: String::new(),
        }
    }

    fn check_settings(_: String) -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

impl Provider for Echo {
    fn configure(_: Setup) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn ready(_: String) -> Result<Vec<Fact>, Failure> {
        Ok(vec![])
    }
}

impl Replication for Echo {
    fn topology(name: String) -> Result<Cluster, Failure> {
        obey(&name)?;
        let set = SyncSet { nodes: vec!["b".into(), "c".into()], wait_for: 1, epoch: 7 };
        Ok(Cluster { published: Some(set), nodes: vec![full(&name), bare()], facts: vec![fact("k", "v")], name })
    }
}

impl Control for Echo {
    fn fence(cluster: String, node: String, call: Call) -> Result<Proof, Failure> {
        obey(&node)?;
        let facts = vec![fact("cluster", &cluster), fact("node", &node), fact("call", &said(&call))];
        Ok(Proof { kind: "stopped".into(), position: Some(u64::MAX), survives_restart: true, facts })
    }

    fn unfence(cluster: String, node: String, call: Call) -> Result<(), Failure> {
        tell("unfence", &[&cluster, &node], &call)
    }

    fn detach(cluster: String, node: String, call: Call) -> Result<(), Failure> {
        tell("detach", &[&cluster, &node], &call)
    }

    fn catch_up(cluster: String, node: String, source: String, call: Call) -> Result<(), Failure> {
        tell("catch-up", &[&cluster, &node, &source], &call)
    }

    fn promote(cluster: String, node: String, call: Call) -> Result<(), Failure> {
        tell("promote", &[&cluster, &node], &call)
    }

    fn rejoin(cluster: String, node: String, primary: String, call: Call) -> Result<(), Failure> {
        tell("rejoin", &[&cluster, &node, &primary], &call)
    }

    fn set_synchronous(cluster: String, node: String, set: SyncSet, call: Call) -> Result<(), Failure> {
        tell("set-synchronous", &[&cluster, &node, &format!("{:?} {} {}", set.nodes, set.wait_for, set.epoch)], &call)
    }

    fn verify(cluster: String, node: String, checks: Vec<String>, call: Call) -> Result<Vec<String>, Failure> {
        obey(&node)?;
        if node == "forgets" {
            return Ok(vec![]);
        }
        Ok(checks.iter().map(|check| format!("{cluster} {node} {check} {}", said(&call))).collect())
    }
}

/// What has no answer of its own answers as a failure, so that the host sees which arguments arrived.
fn tell(function: &str, arguments: &[&str], call: &Call) -> Result<(), Failure> {
    obey(arguments[1])?;
    match arguments[1] {
        "fine" => Ok(()),
        _ => Err(Failure::Rejected(format!("{function} {} {}", arguments.join(" "), said(call)))),
    }
}

fn said(call: &Call) -> String {
    format!("{} {} {}", call.epoch, call.key, call.timeout)
}

/// "sleep:300" waits, "run:NAME:KEY" runs a command, "denied:why" and its like fail; every other name means nothing.
fn obey(name: &str) -> Result<(), Failure> {
    let (word, rest) = name.split_once(':').unwrap_or((name, ""));
    let number = rest.parse().unwrap_or_default();
    match word {
        "sleep" => std::thread::sleep(Duration::from_millis(number)),
        "run" => return run(rest),
        "denied" => return Err(Failure::Denied(rest.into())),
        "not-found" => return Err(Failure::NotFound(rest.into())),
        "invalid" => return Err(Failure::Invalid(rest.into())),
        "busy" => return Err(Failure::Busy(number)),
        "rejected" => return Err(Failure::Rejected(rest.into())),
        "stale" => return Err(Failure::Stale(number)),
        "unknown-outcome" => return Err(Failure::UnknownOutcome(rest.into())),
        _ => {}
    }
    Ok(())
}

fn run(what: &str) -> Result<(), Failure> {
    let (name, key) = what.split_once(':').unwrap_or((what, ""));
    let key = (!key.is_empty()).then_some(key);
    let output = command::run("eu-west", name, &[("mode".into(), "fast".into())], key, 5_000)?;
    Err(Failure::Rejected(format!(
        "{} {} {}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}

fn fact(key: &str, value: &str) -> Fact {
    Fact { key: key.into(), value: value.into() }
}

/// Every field has a value of its own, so that two that change places are noticed.
fn full(name: &str) -> Node {
    let seen = Sighting { vantage: "v".into(), reached: true, attempt_age: 1, success_age: Some(2) };
    Node {
        id: "a".into(),
        site: "eu-west".into(),
        role: Role::Primary,
        seen_by: vec![seen],
        writable: Some(true),
        fenced: Some(Proof { kind: "stopped".into(), position: Some(3), survives_restart: true, facts: vec![] }),
        identity: Some(name.into()),
        timeline: Some(4),
        forked_at: Some(5),
        received: Some(6),
        replayed: Some(7),
        lag_bytes: Some(8),
        lag_at_contact: Some(9),
        contact_age: Some(10),
        upstream: Some("u".into()),
        upstream_heard: Some(11),
        priority: 12,
        facts: vec![fact("f", "g")],
    }
}

fn bare() -> Node {
    Node {
        id: "b".into(),
        site: "eu-east".into(),
        role: Role::Unknown,
        seen_by: vec![],
        writable: None,
        fenced: None,
        identity: None,
        timeline: None,
        forked_at: None,
        received: None,
        replayed: None,
        lag_bytes: None,
        lag_at_contact: None,
        contact_age: None,
        upstream: None,
        upstream_heard: None,
        priority: 0,
        facts: vec![],
    }
}
