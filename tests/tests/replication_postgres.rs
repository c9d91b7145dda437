//! The provider `replication-postgres` against real PostgreSQL: what it sees, and what each control call does and proves.
//!
//! Natively, with a site's commands played by the test; what has come of a call is asked by SQL, never by the provider.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use replication_postgres::ReplicationPostgres;
use replication_postgres::host::Host;
use serde_json::{Value, json};
use tidegate_sdk::{Call, Cluster, Declared, Fact, Failure, Node, Output, Provider, Replication, Role, SyncSet};
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
        let postgres = Postgres::cluster(names).unwrap();
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
    let node = |(name, address): &(&str, String)| {
        json!({"name": name, "site": format!("site-{name}"), "priority": 100, "address": address, "commands": commands(name)})
    };
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
