//! The components `replication-postgres` and `probe-tcp` in the real engine, on real PostgreSQL: that what they are granted
//! is enough for them, and what is not granted is not reached.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{Engine, EngineConfig, Grants, LimitSettings, Outside, ProviderSlot, RevisionSpec, SecretSource};
use tidegate_kernel::contract::{Call, Cluster, Fact, Failure, Outcome, Role, SyncSet};
use tidegate_tests::servers_postgres::{
    PASSWORD, Postgres, REPLICATION_PASSWORD, REPLICATION_USER, Shown, USER, wait_for,
};

/// The two secrets that there are.
struct Password;

impl SecretSource for Password {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        let password = if name == "pg-replication" { REPLICATION_PASSWORD } else { PASSWORD };
        Box::pin(async move { Ok(format!("{password}\n").into_bytes()) })
    }
}

async fn engine() -> Engine {
    engine_that_trusts(Vec::new()).await
}

async fn engine_that_trusts(extra_roots: Vec<Vec<u8>>) -> Engine {
    let outside = Outside { secrets: Arc::new(Password), ..Outside::default() };
    let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let config = EngineConfig { policy_workers: 1, outside, cache, extra_roots, ..EngineConfig::default() };
    Engine::start(config).await.unwrap()
}

async fn slot(engine: &Engine, slot: &str, plugin: &str, addresses: &[String], declared: Vec<Fact>) -> ProviderSlot {
    let grants = Grants {
        connect: addresses.iter().map(|address| format!("tcp://{address}").parse().unwrap()).collect(),
        secrets: ["pg-password", "pg-replication"].map(str::to_owned).into(),
        ..Grants::default()
    };
    let staged = engine.stage(RevisionSpec {
        slot: slot.into(),
        source: "built in".into(),
        bytes: tidegate_plugins::find(plugin).unwrap().bytes.to_vec(),
        settings: json!({}),
        grants,
        limits: LimitSettings::default(),
        declared,
        cases: Vec::new(),
    });
    ProviderSlot::install(staged.await.unwrap()).unwrap()
}

fn orders(names: &[&str], addresses: &[String]) -> Vec<Fact> {
    declare(names, addresses, &json!({}), &json!({}))
}

/// `cluster` and `node` are keys of the cluster and of each node, beside those that all have.
fn declare(names: &[&str], addresses: &[String], cluster: &Value, node: &Value) -> Vec<Fact> {
    let with = |mut value: Value, more: &Value| {
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    let node =
        |(name, address): (&&str, &String)| with(json!({"name": name, "site": "west", "address": address}), node);
    let nodes: Vec<Value> = names.iter().zip(addresses).map(node).collect();
    let declared = json!({"user": USER, "password": "pg-password", "timeout": "5s", "nodes": nodes});
    let declared = with(declared, cluster);
    vec![Fact { key: "orders".into(), value: declared.to_string() }]
}

/// An authority that vouches for servers of the name `db.test`, in whatever form it is wanted.
struct Authority {
    root: Vec<u8>,
    shown: Shown,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate for its own issuer where both have the same name.
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["db.test".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let shown = Shown { certificate: certificate.pem(), key: key.serialize_pem(), root: issuer.pem() };
        Authority { root: issuer.der().to_vec(), shown }
    }
}

/// What is said of the one node of a cluster that is looked at in TLS, by this name.
async fn looked_at_in_tls(engine: &Engine, postgres: &Postgres, name: &str) -> Cluster {
    let addresses = [postgres.address("a").unwrap()];
    let declared = declare(&["a"], &addresses, &json!({"tls": "verify-full"}), &json!({"tls-name": name}));
    let slot = slot(engine, "replication/postgres", "replication-postgres", &addresses, declared).await;
    slot.topology("orders").await.unwrap()
}

fn call(key: &str) -> Call {
    Call { key: key.into(), epoch: 3, timeout: 60_000 }
}

fn roles(cluster: &Cluster) -> Vec<Role> {
    cluster.nodes.iter().map(|node| node.role).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sees_a_cluster_from_within_the_engine() {
    let postgres = Postgres::cluster(&["a", "b"]).unwrap();
    let addresses = ["a", "b"].map(|name| postgres.address(name).unwrap());
    let engine = engine().await;
    let declared = orders(&["a", "b"], &addresses);
    let granted = slot(&engine, "replication/postgres", "replication-postgres", &addresses, declared.clone()).await;
    for _ in 0..3 {
        assert_eq!(roles(&granted.topology("orders").await.unwrap()), [Role::Primary, Role::Replica]);
    }
    assert!(granted.ready("orders").await.unwrap().iter().any(|fact| fact.key == "node/b"));
    let half = slot(&engine, "replication/half", "replication-postgres", &addresses[..1], declared).await;
    let seen = half.topology("orders").await.unwrap();
    assert_eq!(roles(&seen), [Role::Primary, Role::Unknown]);
    assert!(seen.nodes[1].facts[0].value.contains("not granted"), "{:?}", seen.nodes[1].facts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_the_port_tells_a_server_that_hangs_from_one_that_is_gone() {
    let mut postgres = Postgres::cluster(&["a"]).unwrap();
    let address = postgres.address("a").unwrap();
    let engine = engine().await;
    let probe = slot(&engine, "probe/tcp", "probe-tcp", std::slice::from_ref(&address), Vec::new()).await;
    let target = json!({"address": address, "speaks": "postgres"}).to_string();
    assert_eq!(probe.check("west", &target, 5_000).await.unwrap().outcome, Outcome::Ok);
    postgres.hang("a").unwrap();
    assert_eq!(probe.check("west", &target, 300).await.unwrap().outcome, Outcome::Partial);
    postgres.resume("a").unwrap();
    assert_eq!(probe.check("west", &target, 5_000).await.unwrap().outcome, Outcome::Ok);
    postgres.kill("a").unwrap();
    // The kernel closes a killed process's sockets a moment after the process is gone.
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        while probe.check("west", &target, 5_000).await.unwrap().outcome != Outcome::Refused {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(refused.await.is_ok(), "nobody listens there any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_tls_with_whom_the_host_trusts_by_the_name_that_is_declared_and_with_nobody_else() {
    let authority = Authority::new();
    let postgres = Postgres::secured(&["a"], &authority.shown).unwrap();
    let clear = Postgres::cluster(&["a"]).unwrap();
    let trusting = engine_that_trusts(vec![authority.root]).await;
    let wary = engine().await;
    assert_eq!(roles(&looked_at_in_tls(&trusting, &postgres, "db.test").await), [Role::Primary]);
    for (engine, postgres, name, reason) in [
        (&trusting, &postgres, "other.test", "not valid for name"),
        (&wary, &postgres, "db.test", "UnknownIssuer"),
        (&trusting, &clear, "db.test", "has no TLS"),
    ] {
        let seen = looked_at_in_tls(engine, postgres, name).await;
        assert_eq!(roles(&seen), [Role::Unknown], "{reason}");
        let said = &seen.nodes[0].facts[0].value;
        assert!(said.contains(reason), "expected “{reason}”: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_before_tls_keeps_no_other_from_answering() {
    let authority = Authority::new();
    let postgres = Postgres::secured(&["a", "b"], &authority.shown).unwrap();
    let addresses = ["a", "b"].map(|name| postgres.address(name).unwrap());
    postgres.hang("b").unwrap();
    let cluster = json!({"tls": "verify-full", "timeout": "1s"});
    let declared = declare(&["a", "b"], &addresses, &cluster, &json!({"tls-name": "db.test"}));
    let engine = engine_that_trusts(vec![authority.root]).await;
    let slot = slot(&engine, "replication/postgres", "replication-postgres", &addresses, declared).await;
    wait_until(&slot, "a answers, b does not", |seen| roles(seen) == [Role::Primary, Role::Unknown]).await;
    postgres.resume("b").unwrap();
    wait_until(&slot, "both answer", |seen| roles(seen) == [Role::Primary, Role::Replica]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_the_primary_from_within_the_engine_with_all_that_is_said_in_tls() {
    let authority = Authority::new();
    let postgres = Postgres::secured(&["a", "b"], &authority.shown).unwrap();
    let addresses = ["a", "b"].map(|name| postgres.address(name).unwrap());
    let cluster = json!({
        "tls": "verify-full", "replication-tls-root": postgres.root(),
        "replication-user": REPLICATION_USER, "replication-password": "pg-replication",
    });
    let declared = declare(&["a", "b"], &addresses, &cluster, &json!({"tls-name": "db.test"}));
    let engine = engine_that_trusts(vec![authority.root]).await;
    let slot = slot(&engine, "replication/postgres", "replication-postgres", &addresses, declared).await;
    assert!(slot.ready("orders").await.unwrap().iter().any(|fact| fact.key == "node/b"));

    let set = SyncSet { nodes: vec!["b".into()], wait_for: 1, epoch: 3 };
    slot.set_synchronous("orders", "a", &set, &call("set")).await.unwrap();
    assert_eq!(postgres.value("a", "SHOW synchronous_standby_names").unwrap(), r#"ANY 1 ("b")"#);
    slot.detach("orders", "b", &call("detach")).await.unwrap();
    assert_eq!(postgres.value("b", "SELECT count(*) FROM pg_stat_wal_receiver").unwrap(), "0");

    let rejoined = slot.rejoin("orders", "b", "a", &call("rejoin")).await;
    assert_eq!(rejoined, Ok(()), "{}", postgres.log_end());
    let conninfo = postgres.value("b", "SHOW primary_conninfo").unwrap();
    assert!(conninfo.contains("host='db.test'") && conninfo.contains("sslmode='verify-full'"), "{conninfo}");
    let secured =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid) WHERE ssl AND state = 'streaming'";
    assert_eq!(postgres.value("a", secured).unwrap(), "1");
    let seen = wait_until(&slot, "b follows", |seen| seen.nodes[1].upstream.is_some()).await;
    assert_eq!(seen.nodes[1].upstream.as_deref(), Some("a"), "by the name in its certificate");
    let beats = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE ssl AND application_name = 'tidegate' AND state = 'idle' AND query LIKE 'BEGIN; %emit_message%'";
    let beat = |_: &Cluster| postgres.value("a", beats).is_ok_and(|count| count == "1");
    wait_until(&slot, "the write that proves life went through TLS", beat).await;

    slot.detach("orders", "b", &call("detach-again")).await.unwrap();
    slot.promote("orders", "b", &call("promote")).await.unwrap();
    assert_eq!(postgres.value("b", "SELECT pg_is_in_recovery()").unwrap(), "f");
    assert_eq!(slot.health().recent_traps, 0);
}

/// Looks again and again: a look that is late on a busy machine is no answer.
async fn wait_until(slot: &ProviderSlot, what: &str, is_so: impl Fn(&Cluster) -> bool) -> Cluster {
    let mut last = None;
    let found = wait_for(what, || {
        let look = async { slot.topology("orders").await };
        let seen = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(look))?;
        let found = is_so(&seen);
        last = Some(seen);
        Ok(found)
    });
    found.unwrap_or_else(|error| panic!("{error}: {last:#?}"));
    last.unwrap()
}
