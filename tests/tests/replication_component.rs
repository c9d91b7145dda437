//! The components `replication-postgres` and `probe-tcp` in the real engine, on real PostgreSQL: that what they are granted
//! is enough for them, and what is not granted is not reached.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{Engine, EngineConfig, Grants, LimitSettings, Outside, ProviderSlot, RevisionSpec, SecretSource};
use tidegate_kernel::contract::{Cluster, Fact, Failure, Outcome, Role};
use tidegate_tests::servers_postgres::{PASSWORD, Postgres, USER};

/// The one secret that there is.
struct Password;

impl SecretSource for Password {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        Box::pin(async { Ok(format!("{PASSWORD}\n").into_bytes()) })
    }
}

async fn engine() -> Engine {
    let outside = Outside { secrets: Arc::new(Password), ..Outside::default() };
    let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    Engine::start(EngineConfig { policy_workers: 1, outside, cache, ..EngineConfig::default() }).await.unwrap()
}

async fn slot(engine: &Engine, slot: &str, plugin: &str, addresses: &[String], declared: Vec<Fact>) -> ProviderSlot {
    let grants = Grants {
        connect: addresses.iter().map(|address| format!("tcp://{address}").parse().unwrap()).collect(),
        secrets: ["pg-password".to_owned()].into_iter().collect(),
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
    let node = |(name, address): (&&str, &String)| json!({"name": name, "site": "west", "address": address});
    let nodes: Vec<Value> = names.iter().zip(addresses).map(node).collect();
    let declared = json!({"user": USER, "password": "pg-password", "timeout": "5s", "nodes": nodes});
    vec![Fact { key: "orders".into(), value: declared.to_string() }]
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
    assert_eq!(probe.check("west", &target, 5_000).await.unwrap().outcome, Outcome::Refused);
}
