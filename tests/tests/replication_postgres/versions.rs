//! The provider on the major versions that Debian does not have here: what it sees of a cluster, and the primary's way from
//! one node to another; what rights it needs; and the version that it refuses.
//!
//! These programs have neither `pg_basebackup` nor `pg_rewind`. So a cluster begins as cold copies of one server, and what
//! needs a rewind or a new copy is tried on Debian's version only.

use serde_json::json;
use tidegate_sdk::{Cluster, Failure, Provider as _, Replication as _, Role};
use tidegate_tests::postgres_versions::programs;
use tidegate_tests::servers_postgres::{PASSWORD, Postgres, wait_for};

use super::{Bench, as_plain, call, fact, node, set, the_rights_in_the_manual_are_enough_for};

#[test]
fn moves_the_primary_of_version_13() {
    moves_the_primary_of("13");
}

#[test]
fn moves_the_primary_of_version_14() {
    moves_the_primary_of("14");
}

#[test]
fn moves_the_primary_of_version_16() {
    moves_the_primary_of("16");
}

#[test]
fn moves_the_primary_of_version_17() {
    moves_the_primary_of("17");
}

#[test]
fn moves_the_primary_of_version_18() {
    moves_the_primary_of("18");
}

#[test]
fn wants_a_superuser_of_version_13() {
    wants_a_superuser_of("13");
}

#[test]
fn wants_a_superuser_of_version_14() {
    wants_a_superuser_of("14");
}

#[test]
fn the_rights_in_the_manual_are_enough_for_version_16() {
    the_rights_in_the_manual_are_enough_for_version("16");
}

#[test]
fn the_rights_in_the_manual_are_enough_for_version_17() {
    the_rights_in_the_manual_are_enough_for_version("17");
}

#[test]
fn the_rights_in_the_manual_are_enough_for_version_18() {
    the_rights_in_the_manual_are_enough_for_version("18");
}

#[test]
fn refuses_version_12_and_says_why() {
    let Some(postgres) = servers("12", &["a"]) else { return };
    let bench = Bench::of(postgres, &["a"], &json!({}), &|_| json!({}));
    let too_old = |cluster: &Cluster| fact(node(cluster, "a"), "too-old").starts_with("12.");
    let seen = bench.see_until("its version is told", too_old);
    assert_eq!((node(&seen, "a").role, node(&seen, "a").priority), (Role::Unknown, 0));
    let ready = bench.provider.ready("orders").unwrap_err();
    let promoted = bench.provider.promote("orders", "a", &call(1, "run/1")).unwrap_err();
    for (failure, said) in [(ready, "a: PostgreSQL 12."), (promoted, "nothing was changed")] {
        let told = |text: &str| text.contains(said) && text.contains("13 and newer are supported");
        assert!(matches!(&failure, Failure::Rejected(text) if told(text)), "{failure:?}");
    }
}

/// Servers of that version; none where there is no npm, which was said.
fn servers(major: &str, names: &[&str]) -> Option<Postgres> {
    programs(major).map(|programs| Postgres::cluster_of(programs, names).unwrap())
}

fn the_rights_in_the_manual_are_enough_for_version(major: &str) {
    let Some(postgres) = servers(major, &["a", "b"]) else { return };
    the_rights_in_the_manual_are_enough_for(&as_plain(postgres));
}

fn wants_a_superuser_of(major: &str) {
    let Some(postgres) = servers(major, &["a", "b"]) else { return };
    let bench = as_plain(postgres);
    let rights = "GRANT pg_monitor, pg_signal_backend TO plain";
    bench.query("a", &format!("CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'; {rights}"));
    let failure = bench.provider.ready("orders").unwrap_err();
    assert!(
        matches!(&failure, Failure::Rejected(text) if text.contains("a: has to be a superuser, as before version 15")),
        "{failure:?}"
    );
    bench.query("a", "ALTER ROLE plain SUPERUSER");
    let ready = || bench.provider.ready("orders").map(|_| true).map_err(|failure| anyhow::anyhow!("{failure:?}"));
    wait_for("the standby has the role too", ready).unwrap();
}

/// From `a`, of which `b` has less than `c`, to `b`; then the others follow it.
fn moves_the_primary_of(major: &str) {
    let Some(postgres) = servers(major, &["a", "b", "c"]) else { return };
    // The others have none, so that they have all the time to do what a word to them does.
    let commands = |name: &str| if name == "a" { json!({"stop": "stop", "rejoin": "return"}) } else { json!({}) };
    let bench = Bench::of(postgres, &["a", "b", "c"], &json!({}), &commands);
    tells_of_every_node(&bench, major);
    proves_the_life_of_an_idle_primary(&bench);
    publishes_the_set_that_was_set(&bench);
    stops_the_primary_of_which_one_standby_has_less(&bench);
    promotes_it_once_it_has_caught_up(&bench);
    has_the_others_follow(&bench);
}

fn tells_of_every_node(bench: &Bench, major: &str) {
    bench.query("a", "CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n");
    let seen = bench.see_until("both standbys have everything", has_everything);
    let identity = bench.value("a", "SELECT system_identifier FROM pg_control_system()");
    let facts = bench.provider.ready("orders").unwrap();
    for (name, role, upstream) in
        [("a", Role::Primary, None), ("b", Role::Replica, Some("a")), ("c", Role::Replica, Some("a"))]
    {
        let it = node(&seen, name);
        assert_eq!((it.role, it.writable, it.upstream.as_deref()), (role, Some(role == Role::Primary), upstream));
        assert_eq!((it.timeline, it.forked_at, it.identity.as_ref()), (Some(1), None, Some(&identity)));
        assert!(it.received.is_some() && it.replayed.is_some() && it.upstream_heard.is_some() == upstream.is_some());
        assert_eq!((it.lag_at_contact, it.contact_age), (Some(0), Some(0)));
        let version = facts.iter().find(|fact| fact.key == format!("node/{name}")).unwrap();
        assert!(version.value.starts_with(&format!("PostgreSQL {major}.")), "{version:?}");
    }
    assert_eq!(fact(node(&seen, "a"), "standbys"), "b streaming async, c streaming async");
    assert_eq!(seen.published, Some(set(&[], 0, 0)));
}

fn proves_the_life_of_an_idle_primary(bench: &Bench) {
    let before = node(&bench.see_until("the primary answers", has_everything), "a").received;
    let grew = |cluster: &Cluster| {
        let a = node(cluster, "a");
        a.received > before && fact(a, "write-failed").is_empty() && has_everything(cluster)
    };
    bench.see_until("the log of an idle primary grows, also at its standbys", grew);
}

fn publishes_the_set_that_was_set(bench: &Bench) {
    let wanted = set(&["b", "c"], 1, 7);
    for _ in 0..2 {
        bench.provider.set_synchronous("orders", "a", wanted.clone(), &call(7, "run/set")).unwrap();
    }
    assert_eq!(bench.value("a", "SHOW synchronous_standby_names"), r#"ANY 1 ("b", "c")"#);
    let counts = |cluster: &Cluster| fact(node(cluster, "a"), "standbys") == "b streaming quorum, c streaming quorum";
    let seen = bench.see_until("both standbys count", counts);
    assert_eq!(seen.published, Some(wanted));
    let older = bench.provider.set_synchronous("orders", "a", set(&[], 0, 6), &call(6, "old/set"));
    assert_eq!(older, Err(Failure::Stale(7)));
}

fn stops_the_primary_of_which_one_standby_has_less(bench: &Bench) {
    let provider = &bench.provider;
    for _ in 0..2 {
        provider.detach("orders", "b", &call(7, "run/detach-b")).unwrap();
    }
    assert_eq!(bench.value("b", "SELECT count(*) FROM pg_stat_wal_receiver"), "0");
    // Acknowledged only once `c` has it.
    bench.query("a", "INSERT INTO numbers VALUES (1001)");
    let proof = provider.fence("orders", "a", &call(7, "run/fence")).unwrap();
    assert_eq!((proof.kind.as_str(), proof.survives_restart), ("stopped", true));
    provider.detach("orders", "c", &call(7, "run/detach-c")).unwrap();
    let less = |cluster: &Cluster| {
        let (b, c) = (node(cluster, "b").received, node(cluster, "c").received);
        b.is_some() && b < c
    };
    bench.see_until("b has less than c", less);
}

fn promotes_it_once_it_has_caught_up(bench: &Bench) {
    let provider = &bench.provider;
    for _ in 0..2 {
        provider.catch_up("orders", "b", "c", &call(7, "run/catch-up")).unwrap();
    }
    assert_eq!(bench.value("b", "SELECT count(*) FROM pg_stat_wal_receiver"), "0", "it is detached again");
    for _ in 0..2 {
        provider.promote("orders", "b", &call(7, "run/promote")).unwrap();
    }
    bench.query("b", "INSERT INTO numbers VALUES (1002)");
    let seen = bench.see_until("b is the primary", |cluster| node(cluster, "b").role == Role::Primary);
    assert_eq!((node(&seen, "b").timeline, node(&seen, "b").forked_at.is_some()), (Some(2), true));
    assert_eq!(node(&seen, "c").forked_at, None);
    let checks = ["SELECT count(*) = 1002 FROM numbers", "DELETE FROM numbers"].map(str::to_owned);
    let answers = provider.verify("orders", "b", &checks, &call(7, "run/verify")).unwrap();
    assert_eq!(answers[0], "t");
    assert!(answers[1].starts_with("error: ") && answers[1].contains("read-only transaction"), "{}", answers[1]);
}

fn has_the_others_follow(bench: &Bench) {
    for _ in 0..2 {
        bench.provider.rejoin("orders", "c", "b", &call(7, "run/rejoin-c")).unwrap();
        bench.provider.rejoin("orders", "a", "b", &call(7, "run/rejoin-a")).unwrap();
    }
    let address = bench.site.postgres.borrow().address("b").unwrap();
    let back = format!("return primary={address} run/rejoin-a/rejoin at site-a");
    assert_eq!(bench.ran(), ["stop mode=fast run/fence/stop-fast at site-a".to_owned(), back]);
    let seen = bench.see_until("both others have everything", has_everything);
    assert_eq!(fact(node(&seen, "b"), "standbys"), "a streaming async, c streaming async");
    for name in ["a", "c"] {
        let it = node(&seen, name);
        assert_eq!((it.role, it.timeline, it.upstream.as_deref()), (Role::Replica, Some(2), Some("b")));
        assert_eq!(bench.value(name, "SELECT count(*) FROM numbers"), "1002");
    }
}

/// Every node answers, and lacks nothing of what the primary of the same look has.
fn has_everything(cluster: &Cluster) -> bool {
    cluster.nodes.iter().all(|node| node.lag_bytes == Some(0))
}
