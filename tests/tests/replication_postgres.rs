//! The provider `replication-postgres` against real PostgreSQL: what it sees, and what each control call does and proves.
//!
//! Natively, with a site's commands played by the test; what has come of a call is asked by SQL, never by the provider.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

/// Whose programs come built for nothing else.
#[cfg(target_arch = "x86_64")]
#[path = "replication_postgres/versions.rs"]
mod versions;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use replication_postgres::ReplicationPostgres;
use replication_postgres::host::Host;
use serde_json::{Value, json};
use tidegate_sdk::{
    Call, Cluster, Declared, Fact, Failure, Node, Output, Provider as _, Replication as _, Role, SyncSet,
};
use tidegate_tests::servers::CutOff;
use tidegate_tests::servers_postgres::{PASSWORD, Postgres, REPLICATION_PASSWORD, REPLICATION_USER, USER, wait_for};

/// A site whose commands do what the test says, and remember that they were run.
#[derive(Clone)]
struct Site {
    postgres: Rc<RefCell<Postgres>>,
    password: Rc<RefCell<String>>,
    ran: Rc<RefCell<Vec<String>>>,
}

impl Host for Site {
    fn secret(&self, name: &str) -> Result<String, Failure> {
        match name {
            "pg-password" => Ok(self.password.borrow().clone()),
            "pg-replication" => Ok(REPLICATION_PASSWORD.to_owned()),
            _ => Err(Failure::Denied(format!("the secret {name} is not granted"))),
        }
    }

    fn run(
        &self,
        site: &str,
        name: &str,
        arguments: &[(String, String)],
        key: &str,
        _: Duration,
    ) -> Result<Output, Failure> {
        let (argument, value) = arguments.first().cloned().unwrap_or_default();
        self.ran.borrow_mut().push(format!("{name} {argument}={value} {key} at {site}"));
        let node = site.strip_prefix("site-").unwrap();
        let said = match name {
            "stop" => self.stop(node),
            "stop-but-leave-two" => json!({"stopped": true, "left": 2, "barred": true}).to_string(),
            "start" => self.start(node),
            "rejoin" => self.rewind(node, &value),
            "return" => self.start_barred(node),
            "rebuild-in-vain" => json!({"running": false, "role": "standby"}).to_string(),
            "babble" => "everything went well".to_owned(),
            _ => return Err(Failure::Denied(format!("the command {name} is not granted"))),
        };
        Ok(Output { status: 0, stdout: format!("log line\n{said}\n").into_bytes(), stderr: Vec::new() })
    }
}

impl Site {
    fn stop(&self, node: &str) -> String {
        let mut postgres = self.postgres.borrow_mut();
        let _ = postgres.stop(node);
        std::fs::write(postgres.data(node).join("standby.signal"), "").unwrap();
        json!({"stopped": true, "left": 0, "barred": true, "clean": true, "position": 77, "timeline": 1}).to_string()
    }

    fn start(&self, node: &str) -> String {
        let mut postgres = self.postgres.borrow_mut();
        std::fs::remove_file(postgres.data(node).join("standby.signal")).unwrap();
        postgres.start(node).unwrap();
        json!({"running": true, "role": "primary"}).to_string()
    }

    /// Stopped in good order, with a standby that has everything, a primary need not be rewound.
    fn start_barred(&self, node: &str) -> String {
        self.postgres.borrow_mut().start(node).unwrap();
        json!({"running": true, "role": "standby", "how": "started"}).to_string()
    }

    fn rewind(&self, node: &str, primary: &str) -> String {
        let mut postgres = self.postgres.borrow_mut();
        let _ = postgres.kill(node);
        let (host, port) = primary.split_once(':').unwrap();
        let source = format!("host={host} port={port} user={USER} dbname=postgres");
        let mut rewind = postgres.program("pg_rewind");
        rewind.args(["--no-sync", "--source-server", &source, "-D"]).arg(postgres.data(node));
        let output = rewind.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        std::fs::write(postgres.data(node).join("standby.signal"), "").unwrap();
        postgres.start(node).unwrap();
        json!({"running": true, "role": "standby", "how": "rewound"}).to_string()
    }
}

/// A cluster "orders", the provider that watches it, and the site that runs its commands.
struct Bench {
    site: Site,
    provider: ReplicationPostgres,
}

impl Bench {
    fn new(names: &[&str]) -> Self {
        Self::with(names, &json!({}), &|_| json!({}))
    }

    /// `own` are keys of the cluster, `commands` those of a node.
    fn with(names: &[&str], own: &Value, commands: &dyn Fn(&str) -> Value) -> Self {
        Self::of(Postgres::cluster(names).unwrap(), names, own, commands)
    }

    /// As `with`, of servers that are there.
    fn of(postgres: Postgres, names: &[&str], own: &Value, commands: &dyn Fn(&str) -> Value) -> Self {
        let nodes = names.iter().map(|name| (*name, postgres.address(name).unwrap())).collect::<Vec<_>>();
        Self::over(postgres, &nodes, own, commands)
    }

    fn over(postgres: Postgres, nodes: &[(&str, String)], own: &Value, commands: &dyn Fn(&str) -> Value) -> Self {
        let site = Site {
            postgres: Rc::new(RefCell::new(postgres)),
            password: Rc::new(RefCell::new(PASSWORD.to_owned())),
            ran: Rc::default(),
        };
        let provider = ReplicationPostgres::with_host(&declare(nodes, own, commands), Box::new(site.clone())).unwrap();
        Bench { site, provider }
    }

    /// What it sees, looking again where a look was late: a busy machine is no fault of a node that answers.
    fn see(&self) -> Cluster {
        self.provider.topology("orders").unwrap()
    }

    fn see_until(&self, what: &str, mut is_so: impl FnMut(&Cluster) -> bool) -> Cluster {
        let mut seen = self.see();
        let last = wait_for(what, || {
            seen = self.see();
            Ok(is_so(&seen))
        });
        last.unwrap_or_else(|error| panic!("{error}: {seen:#?}"));
        seen
    }

    fn query(&self, node: &str, text: &str) {
        self.site.postgres.borrow().query(node, text).unwrap();
    }

    fn value(&self, node: &str, text: &str) -> String {
        self.site.postgres.borrow().value(node, text).unwrap()
    }

    fn ran(&self) -> Vec<String> {
        self.site.ran.borrow().clone()
    }
}

fn declare(nodes: &[(&str, String)], own: &Value, commands: &dyn Fn(&str) -> Value) -> Declared {
    let node = |(name, address): &(&str, String)| json!({"name": name, "site": format!("site-{name}"), "priority": 100, "address": address, "commands": commands(name)});
    let mut all = json!({
        "user": USER, "password": "pg-password", "timeout": "5s", "synchronous": 0,
        "replication-user": REPLICATION_USER, "replication-password": "pg-replication",
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
    });
    all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    Declared::new(vec![Fact::new("orders", all.to_string())])
}

fn call(epoch: u64, key: &str) -> Call {
    Call { epoch, key: key.to_owned(), timeout: 60_000 }
}

fn node<'a>(cluster: &'a Cluster, name: &str) -> &'a Node {
    cluster.nodes.iter().find(|node| node.id == name).unwrap()
}

fn fact<'a>(node: &'a Node, key: &str) -> &'a str {
    node.facts.iter().find(|fact| fact.key == key).map(|fact| fact.value.as_str()).unwrap_or_default()
}

fn set(nodes: &[&str], wait_for: u32, epoch: u64) -> SyncSet {
    SyncSet { nodes: nodes.iter().map(|name| (*name).to_owned()).collect(), wait_for, epoch }
}

#[test]
fn tells_of_every_node_what_it_says_of_itself() {
    let bench = Bench::new(&["a", "b", "c"]);
    bench.query("a", "CREATE TABLE numbers AS SELECT generate_series(1, 1000)");
    let caught_up = |cluster: &Cluster| cluster.nodes[1..].iter().all(|node| node.lag_bytes == Some(0));
    let seen = bench.see_until("both standbys have everything", caught_up);
    let identity = bench.value("a", "SELECT system_identifier FROM pg_control_system()");
    let (a, b) = (node(&seen, "a"), node(&seen, "b"));
    assert_eq!((a.role, a.writable, b.role, b.writable), (Role::Primary, Some(true), Role::Replica, Some(false)));
    assert_eq!((a.identity.as_ref(), b.identity.as_ref()), (Some(&identity), Some(&identity)));
    assert_eq!((a.timeline, b.timeline, b.upstream.as_deref()), (Some(1), Some(1), Some("a")));
    assert!(b.received.is_some() && b.replayed.is_some() && b.upstream_heard.is_some());
    assert_eq!((b.lag_at_contact, b.contact_age, b.site.as_str()), (Some(0), Some(0), "site-b"));
    assert!(a.seen_by[0].reached && a.seen_by[0].success_age.is_some());
    assert_eq!(fact(a, "standbys"), "b streaming async, c streaming async");
    assert_eq!(seen.published, Some(set(&[], 0, 0)));
}

#[test]
fn proves_the_life_of_an_idle_primary_by_a_write_a_second() {
    let bench = Bench::new(&["a", "b"]);
    let before = node(&bench.see(), "a").received;
    let grew = |cluster: &Cluster| node(cluster, "a").received > before && node(cluster, "b").lag_bytes == Some(0);
    bench.see_until("the log of an idle primary grows, also at its standby", grew);
}

#[test]
fn a_hanging_primary_keeps_no_standby_from_answering() {
    let bench = Bench::with(&["a", "b", "c"], &json!({"timeout": "1s"}), &|_| json!({}));
    bench.see_until("all answer", |cluster| cluster.nodes.iter().all(|node| node.seen_by[0].reached));
    bench.site.postgres.borrow().hang("a").unwrap();
    for _ in 0..3 {
        let silent = |cluster: &Cluster| fact(node(cluster, "a"), "error") == "timed out";
        let seen = bench.see_until("the primary is silent and the others answer", |cluster| {
            silent(cluster) && cluster.nodes[1..].iter().all(|node| node.seen_by[0].reached)
        });
        let (a, b) = (node(&seen, "a"), node(&seen, "b"));
        assert_eq!((a.role, a.writable, a.received), (Role::Unknown, None, None));
        assert!(a.seen_by[0].success_age.is_some(), "it did answer once");
        assert_eq!((b.upstream.as_deref(), b.lag_bytes, b.contact_age), (Some("a"), None, None));
        assert_eq!(seen.published, None);
    }
    bench.site.postgres.borrow().resume("a").unwrap();
    bench.see_until("the primary is back", |cluster| node(cluster, "a").role == Role::Primary);
}

/// A site that is cut off, and a server that takes a second from the right password to its readiness for questions.
fn cut_off_and_slow(timeout: &str) -> (CutOff, Bench) {
    let (gone, postgres) = (CutOff::open().unwrap(), Postgres::cluster(&["b"]).unwrap());
    postgres.query("b", "ALTER SYSTEM SET post_auth_delay = 1").unwrap();
    postgres.query("b", "SELECT pg_reload_conf()").unwrap();
    let nodes = [("a", gone.address().to_string()), ("b", postgres.address("b").unwrap())];
    let bench = Bench::over(postgres, &nodes, &json!({"timeout": timeout}), &|_| json!({}));
    (gone, bench)
}

#[test]
fn a_node_that_is_cut_off_leaves_the_others_the_time_to_let_us_in() {
    let (_gone, bench) = cut_off_and_slow("6s");
    let seen = bench.see();
    assert_eq!(fact(node(&seen, "a"), "error"), "timed out");
    assert_eq!(node(&seen, "b").role, Role::Primary, "{seen:#?}");
}

#[test]
fn a_node_that_is_slow_to_let_us_in_answers_a_later_look() {
    let (_gone, bench) = cut_off_and_slow("700ms");
    bench.see_until("it has let us in", |cluster| node(cluster, "b").role == Role::Primary);
}

#[test]
fn tells_a_wrong_password_from_an_unreachable_node() {
    let postgres = Postgres::cluster(&["a"]).unwrap();
    let nodes = [("a", postgres.address("a").unwrap()), ("gone", "127.0.0.1:1".to_owned())];
    let bench = Bench::over(postgres, &nodes, &json!({}), &|_| json!({}));
    *bench.site.password.borrow_mut() = "something else".to_owned();
    let seen = bench.see();
    assert_eq!(fact(node(&seen, "a"), "error"), format!("wrong password for {USER}"));
    assert_eq!(fact(node(&seen, "gone"), "error"), "connection refused");
    let failure = bench.provider.ready("orders").unwrap_err();
    assert!(matches!(failure, Failure::Rejected(text) if text.contains("a: wrong password")));
    let failure = bench.provider.promote("orders", "a", &call(1, "run/1")).unwrap_err();
    assert!(
        matches!(failure, Failure::Rejected(text) if text.contains("wrong password") && text.contains("nothing was changed"))
    );
    *bench.site.password.borrow_mut() = PASSWORD.to_owned();
    assert_eq!(node(&bench.see(), "a").role, Role::Primary, "a new password counts at once");
}

#[test]
fn a_cluster_of_one_node_is_seen_and_goes_nowhere() {
    let bench = Bench::new(&["a"]);
    let seen = bench.see();
    assert_eq!((seen.nodes.len(), node(&seen, "a").role), (1, Role::Primary));
    let nowhere = bench.provider.rejoin("orders", "a", "a", &call(1, "run/1"));
    assert!(matches!(nowhere, Err(Failure::Invalid(_))));
    let nobody = bench.provider.promote("orders", "b", &call(1, "run/2"));
    assert!(matches!(nobody, Err(Failure::NotFound(text)) if text.contains("no node b")));
    assert!(matches!(bench.provider.topology("other"), Err(Failure::NotFound(_))));
}

#[test]
fn a_node_of_another_cluster_is_foreign_and_is_left_alone() {
    let other = Postgres::cluster(&["x"]).unwrap();
    let postgres = Postgres::cluster(&["a", "b"]).unwrap();
    let mut nodes: Vec<(&str, String)> = ["a", "b"].map(|name| (name, postgres.address(name).unwrap())).to_vec();
    nodes.push(("x", other.address("x").unwrap()));
    let commands = |_: &str| json!({"rejoin": "rejoin", "rebuild": "rejoin"});
    let bench = Bench::over(postgres, &nodes, &json!({}), &commands);
    let seen = bench.see();
    let x = node(&seen, "x");
    assert_eq!((x.role, x.priority, node(&seen, "a").role), (Role::Unknown, 0, Role::Primary));
    assert!(
        fact(x, "foreign").contains(&other.value("x", "SELECT system_identifier FROM pg_control_system()").unwrap())
    );
    let failure = bench.provider.rejoin("orders", "x", "a", &call(1, "run/1")).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(text) if text.contains("another cluster's data")));
    assert_eq!(bench.ran(), Vec::<String>::new(), "nobody's data is overwritten");
}

#[test]
fn two_primaries_are_told_as_they_are() {
    let bench = Bench::new(&["a", "b", "c"]);
    bench.query("b", "SELECT pg_promote()");
    let seen = bench.see_until("b is promoted", |cluster| node(cluster, "b").role == Role::Primary);
    assert_eq!((node(&seen, "a").role, seen.published.as_ref()), (Role::Primary, None));
    assert_eq!((seen.facts[0].key.as_str(), seen.facts[0].value.as_str()), ("primaries", "a, b"));
    assert_eq!((node(&seen, "b").timeline, node(&seen, "b").forked_at.is_some()), (Some(2), true));
    assert_eq!(node(&seen, "c").lag_bytes, None, "behind whom?");
}

#[test]
fn a_write_that_fails_is_told_of_a_primary_that_answers() {
    let bench = Bench::with(&["a"], &json!({"user": "watcher"}), &|_| json!({}));
    let role = format!("CREATE ROLE watcher LOGIN PASSWORD '{PASSWORD}'; GRANT pg_monitor TO watcher");
    bench.query("a", &role);
    bench.query("a", "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM public");
    let failed = |cluster: &Cluster| fact(node(cluster, "a"), "write-failed").contains("permission denied");
    let seen = bench.see_until("the write fails", failed);
    assert_eq!(node(&seen, "a").writable, Some(true), "what it says of itself");
    bench.query("a", "GRANT EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) TO public");
    bench.see_until("the write succeeds", |cluster| fact(node(cluster, "a"), "write-failed").is_empty());
}

#[test]
fn publishes_the_set_that_was_set_and_refuses_older_runs() {
    let bench = Bench::new(&["a", "b", "c"]);
    let wanted = set(&["b", "c"], 1, 7);
    for _ in 0..2 {
        bench.provider.set_synchronous("orders", "a", wanted.clone(), &call(7, "run/set")).unwrap();
    }
    assert_eq!(bench.value("a", "SHOW synchronous_standby_names"), r#"ANY 1 ("b", "c")"#);
    assert_eq!(bench.see().published, Some(wanted));
    let older = bench.provider.set_synchronous("orders", "a", set(&[], 0, 6), &call(6, "old/set"));
    assert_eq!(older, Err(Failure::Stale(7)));
    bench.provider.set_synchronous("orders", "b", set(&["a", "c"], 1, 8), &call(8, "run/next")).unwrap();
    assert_eq!(bench.value("b", "SHOW synchronous_standby_names"), r#"ANY 1 ("a", "c")"#, "before its promotion");
    assert_eq!(bench.value("a", "SHOW synchronous_standby_names"), r#"ANY 1 ("b", "c")"#);
    let for_ever = bench.provider.set_synchronous("orders", "a", set(&["b"], 2, 9), &call(9, "run/more"));
    assert!(matches!(for_ever, Err(Failure::Invalid(_))));
}

#[test]
fn moves_the_primary_and_brings_the_old_one_back_by_a_command() {
    let bench =
        Bench::with(&["a", "b", "c"], &json!({}), &|_| json!({"stop": "stop", "start": "start", "rejoin": "rejoin"}));
    let provider = &bench.provider;
    bench.query("a", "CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n");
    let proof = provider.fence("orders", "a", &call(3, "run/1")).unwrap();
    assert_eq!((proof.kind.as_str(), proof.position, proof.survives_restart), ("stopped", Some(77), true));
    for name in ["b", "c"] {
        provider.detach("orders", name, &call(3, &format!("run/2-{name}"))).unwrap();
        provider.detach("orders", name, &call(3, &format!("run/2-{name}"))).unwrap();
        assert_eq!(bench.value(name, "SELECT count(*) FROM pg_stat_wal_receiver"), "0");
    }
    for _ in 0..2 {
        provider.promote("orders", "b", &call(3, "run/3")).unwrap();
    }
    assert_eq!(bench.value("b", "SELECT pg_is_in_recovery() || ' ' || count(*) FROM numbers"), "false 1000");
    bench.query("b", "INSERT INTO numbers VALUES (1001)");
    for _ in 0..2 {
        provider.rejoin("orders", "c", "b", &call(3, "run/4")).unwrap();
    }
    assert_eq!(bench.ran(), ["stop mode=fast run/1/stop-fast at site-a"], "a live standby needs no command");
    for _ in 0..2 {
        provider.rejoin("orders", "a", "b", &call(3, "run/5")).unwrap();
    }
    let address = bench.site.postgres.borrow().address("b").unwrap();
    assert_eq!(bench.ran()[1..], [format!("rejoin primary={address} run/5/rejoin at site-a")]);
    let caught_up = |cluster: &Cluster| cluster.nodes.iter().all(|node| node.lag_bytes == Some(0));
    let seen = bench.see_until("all have everything", caught_up);
    assert_eq!((node(&seen, "a").upstream.as_deref(), node(&seen, "c").upstream.as_deref()), (Some("b"), Some("b")));
    assert_eq!(fact(node(&seen, "b"), "standbys"), "a streaming async, c streaming async");
    assert_eq!(bench.value("a", "SELECT count(*) FROM numbers"), "1001");
}

/// The primary `a` is dead; `c` has everything of it, `b` was detached before the last of it came.
fn without_a_and_with_less_at_b() -> Bench {
    let bench = Bench::new(&["a", "b", "c"]);
    bench.provider.detach("orders", "b", &call(1, "run/1")).unwrap();
    bench.query("a", "CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n");
    bench.see_until("c has everything", |cluster| node(cluster, "c").lag_bytes == Some(0));
    bench.site.postgres.borrow_mut().kill("a").unwrap();
    bench
}

#[test]
fn a_standby_catches_up_from_the_one_that_has_more() {
    let bench = without_a_and_with_less_at_b();
    let provider = &bench.provider;
    provider.detach("orders", "c", &call(1, "run/2")).unwrap();
    let seen = bench.see();
    assert!(node(&seen, "b").received < node(&seen, "c").received);
    for _ in 0..2 {
        provider.catch_up("orders", "b", "c", &call(1, "run/3")).unwrap();
    }
    let seen = bench.see();
    assert_eq!(node(&seen, "b").received, node(&seen, "c").received);
    assert_eq!(bench.value("b", "SELECT count(*) FROM pg_stat_wal_receiver"), "0", "it is detached again");
    let dead = provider.catch_up("orders", "b", "a", &call(1, "run/4"));
    assert!(matches!(dead, Err(Failure::Rejected(text)) if text.contains("a gave no answer")));
    provider.promote("orders", "b", &call(1, "run/5")).unwrap();
    provider.rejoin("orders", "c", "b", &call(1, "run/6")).unwrap();
    let forked = provider.catch_up("orders", "c", "b", &call(1, "run/7"));
    assert_eq!(forked, Ok(()), "it follows b, and stays with it");
    assert_eq!(bench.value("c", "SELECT count(*) FROM pg_stat_wal_receiver"), "1");
}

#[test]
fn a_standby_that_has_more_than_the_new_primary_does_not_simply_follow() {
    let bench = without_a_and_with_less_at_b();
    let provider = &bench.provider;
    provider.promote("orders", "b", &call(1, "run/2")).unwrap();
    let seen = bench.see();
    assert_eq!(fact(node(&seen, "c"), "fork"), "on timeline 1, the primary is on 2");
    assert_eq!(node(&seen, "c").lag_bytes, None);
    let failure = provider.rejoin("orders", "c", "b", &call(1, "run/3")).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(text) if text.contains("neither `rejoin` nor `rebuild` is declared")));
}

#[test]
fn without_a_command_a_fence_is_advisory_and_can_be_lifted() {
    let bench = Bench::new(&["a", "b"]);
    for _ in 0..2 {
        let proof = bench.provider.fence("orders", "a", &call(2, "run/1")).unwrap();
        assert_eq!(proof.kind, "advisory");
    }
    let refused = bench.site.postgres.borrow().query("a", "CREATE TABLE numbers (n int)").unwrap_err();
    assert!(refused.to_string().contains("read-only transaction"), "{refused}");
    let seen = bench.see();
    assert_eq!(
        (node(&seen, "a").writable, node(&seen, "a").fenced.as_ref().unwrap().kind.as_str()),
        (Some(false), "advisory")
    );
    for _ in 0..2 {
        bench.provider.unfence("orders", "a", &call(2, "run/2")).unwrap();
    }
    bench.query("a", "CREATE TABLE numbers (n int)");
    assert_eq!(node(&bench.see(), "a").writable, Some(true));
    bench.site.postgres.borrow_mut().kill("a").unwrap();
    let dead = bench.provider.fence("orders", "a", &call(2, "run/3"));
    assert!(matches!(dead, Err(Failure::Rejected(text)) if text.contains("connection refused")));
}

#[test]
fn a_read_only_default_of_the_operator_is_not_lifted() {
    let bench = Bench::new(&["a"]);
    bench.query("a", "ALTER SYSTEM SET default_transaction_read_only = on");
    bench.query("a", "SELECT pg_reload_conf()");
    bench.see_until("it is read-only", |cluster| node(cluster, "a").writable == Some(false));
    let failure = bench.provider.unfence("orders", "a", &call(1, "run/1")).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(text) if text.contains("by its own configuration")));
}

#[test]
fn what_a_command_does_not_prove_is_no_proof() {
    let commands = |name: &str| match name {
        "a" => json!({"stop": "stop-but-leave-two"}),
        "b" => json!({"stop": "babble", "rejoin": "babble", "rebuild": "rebuild-in-vain"}),
        _ => json!({"stop": "forbidden"}),
    };
    let bench = Bench::with(&["a", "b", "c"], &json!({}), &commands);
    let fence = |node: &str| bench.provider.fence("orders", node, &call(1, &format!("run/{node}"))).unwrap_err();
    assert!(matches!(fence("a"), Failure::UnknownOutcome(text) if text.contains("2 processes left")));
    assert_eq!(
        bench.ran(),
        [
            "stop-but-leave-two mode=fast run/a/stop-fast at site-a",
            "stop-but-leave-two mode=immediate run/a/stop-immediate at site-a"
        ]
    );
    assert!(matches!(fence("b"), Failure::UnknownOutcome(text) if text.contains("everything went well")));
    assert!(matches!(fence("c"), Failure::Denied(_)));
    bench.query("b", "SELECT pg_promote()");
    let failure = bench.provider.rejoin("orders", "b", "a", &call(1, "run/r")).unwrap_err();
    assert!(matches!(failure, Failure::Rejected(text) if text.contains("rebuild-in-vain says: running false")));
}

#[test]
fn a_primary_that_hangs_is_stopped_at_once() {
    let bench = Bench::with(&["a", "b"], &json!({"timeout": "1s"}), &|_| json!({"stop": "babble"}));
    bench.see_until("all answer", |cluster| cluster.nodes.iter().all(|node| node.seen_by[0].reached));
    bench.site.postgres.borrow().hang("a").unwrap();
    let failure = bench.provider.fence("orders", "a", &call(1, "run/1")).unwrap_err();
    assert!(matches!(failure, Failure::UnknownOutcome(_)));
    assert_eq!(bench.ran(), ["babble mode=immediate run/1/stop-immediate at site-a"]);
}

#[test]
fn a_fence_by_command_is_lifted_by_command() {
    let bench = Bench::with(&["a", "b"], &json!({}), &|_| json!({"stop": "stop", "start": "start"}));
    bench.provider.fence("orders", "a", &call(1, "run/1")).unwrap();
    assert!(bench.site.postgres.borrow().query("a", "SELECT 1").is_err());
    for _ in 0..2 {
        bench.provider.unfence("orders", "a", &call(1, "run/2")).unwrap();
    }
    bench.query("a", "CREATE TABLE numbers (n int)");
    assert_eq!(bench.ran().len(), 2, "started once: {:?}", bench.ran());
}

#[test]
fn asks_the_data_and_lets_nothing_be_changed() {
    let bench = Bench::new(&["a"]);
    bench.query("a", "CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n");
    let checks = [
        "SELECT count(*) = 1000 FROM numbers",
        "SELECT n, 'x' FROM numbers ORDER BY n",
        "SELECT NULL",
        "SELECT nonsense",
        "DELETE FROM numbers",
        "SELECT 1; COMMIT; DELETE FROM numbers",
        "SELECT false",
    ]
    .map(str::to_owned);
    let answers = bench.provider.verify("orders", "a", &checks, &call(1, "run/1")).unwrap();
    assert_eq!(
        (answers[0].as_str(), answers[1].as_str(), answers[2].as_str(), answers[6].as_str()),
        ("t", "1", "", "f")
    );
    for (at, words) in [(3, "does not exist"), (4, "read-only transaction"), (5, "multiple commands")] {
        assert!(answers[at].starts_with("error: ") && answers[at].contains(words), "{}", answers[at]);
    }
    assert_eq!(bench.value("a", "SELECT count(*) FROM numbers"), "1000");
}

/// A provider that looks and acts as the role `plain`, which is not there yet.
fn as_plain(postgres: Postgres) -> Bench {
    Bench::of(postgres, &["a", "b"], &json!({"user": "plain"}), &|_| json!({}))
}

#[test]
fn the_rights_in_the_manual_are_enough() {
    the_rights_in_the_manual_are_enough_for(&as_plain(Postgres::cluster(&["a", "b"]).unwrap()));
}

/// The README's own SQL, so that it cannot be wrong.
fn the_rights_in_the_manual_are_enough_for(bench: &Bench) {
    let manual = include_str!("../../plugins/replication-postgres/README.md");
    let sql = manual.split("```sql").nth(1).unwrap().split("```").next().unwrap();
    let (plain, _) = sql.split_once("CREATE ROLE replicator").unwrap();
    let plain =
        plain.replace("tidegate LOGIN", "plain LOGIN").replace("TO tidegate", "TO plain").replace('…', PASSWORD);
    bench.query("a", &format!("CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'"));
    let lacking = bench.provider.ready("orders").unwrap_err();
    assert!(
        matches!(lacking, Failure::Rejected(text) if text.contains("a: has to be a member of pg_monitor") && text.contains("may not set primary_conninfo"))
    );
    bench.query("a", &plain.replace("CREATE ROLE", "ALTER ROLE"));
    let ready = || bench.provider.ready("orders").map(|_| true).map_err(|failure| anyhow::anyhow!("{failure:?}"));
    wait_for("the standby has the role too", ready).unwrap();
    let facts = bench.provider.ready("orders").unwrap();
    assert!(facts.iter().any(|fact| fact.key == "missing/a" && fact.value.contains("`stop`")));
    let provider = &bench.provider;
    provider.set_synchronous("orders", "a", set(&["b"], 1, 1), &call(1, "run/1")).unwrap();
    provider.set_synchronous("orders", "a", set(&[], 0, 1), &call(1, "run/2")).unwrap();
    assert_eq!(provider.fence("orders", "a", &call(1, "run/3")).unwrap().kind, "advisory");
    provider.detach("orders", "b", &call(1, "run/4")).unwrap();
    provider.promote("orders", "b", &call(1, "run/5")).unwrap();
    assert!(node(&bench.see(), "b").forked_at.is_some(), "it may read where its timeline comes from");
}
