//! The components `action-http` and `action-command` in the real engine: one against a real server, the other with a
//! runner that remembers what it was asked.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{
    CommandRun, CommandRunner, Engine, EngineConfig, Grants, Outside, ProviderSlot, RevisionSpec, SecretSource,
};
use tidegate_kernel::contract::{Call, Fact, Failure, Output};
use tidegate_tests::servers_http::HttpServer;

/// The one secret, and a machine on which nothing runs yet, and `fail` does.
#[derive(Default)]
struct Site(Mutex<Vec<CommandRun>>);

impl SecretSource for Site {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        Box::pin(async { Ok(b"open sesame\n".to_vec()) })
    }
}

impl CommandRunner for Site {
    fn run<'a>(&'a self, run: CommandRun) -> BoxFuture<'a, Result<Output, Failure>> {
        let status = i32::from(["unit-runs", "fail"].contains(&run.name.as_str()));
        self.0.lock().unwrap().push(run);
        Box::pin(async move { Ok(Output { status, stdout: b"3 of 3\n".into(), stderr: b"not yet\n".into() }) })
    }
}

async fn slot(site: &Arc<Site>, plugin: &str, declared: &[(&str, Value)], grants: Grants) -> ProviderSlot {
    let outside = Outside { secrets: site.clone(), commands: site.clone() };
    let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let config = EngineConfig { policy_workers: 1, outside, cache, ..EngineConfig::default() };
    let engine = Engine::start(config).await.unwrap();
    let staged = engine.stage(RevisionSpec {
        slot: "action/default".into(),
        source: "built in".into(),
        bytes: tidegate_plugins::find(plugin).unwrap().bytes.to_vec(),
        settings: json!({}),
        grants,
        declared: declared.iter().map(|(key, value)| Fact { key: (*key).into(), value: value.to_string() }).collect(),
        ..RevisionSpec::default()
    });
    ProviderSlot::install(staged.await.unwrap()).unwrap()
}

fn call(key: &str) -> Call {
    Call { epoch: 7, key: key.to_owned(), timeout: 5_000 }
}

#[tokio::test]
async fn an_http_action_is_done_and_undone_at_a_real_server() {
    let server = HttpServer::start(|asked| if asked.line.starts_with("PUT") { (202, "scaling") } else { (200, "me") });
    let server = server.await.unwrap();
    let url = format!("{}/deployments/{{deployment}}/scale", server.url());
    let scale = json!({
        "url": url, "method": "PUT", "headers": { "content-type": "application/json" },
        "body": "{\"replicas\": {replicas}}", "expect": [202], "bearer-secret": "api-token",
        "undo": { "url": url, "method": "PUT", "body": "{\"replicas\": 1}" },
        "ready": { "url": format!("{}/whoami", server.url()), "method": "GET" },
    });
    let grants = Grants {
        connect: vec![server.url().parse().unwrap()],
        secrets: ["api-token".to_owned()].into(),
        ..Grants::default()
    };
    let slot = slot(&Arc::default(), "action-http", &[("scale", scale)], grants).await;
    slot.ready("scale").await.unwrap();
    let arguments = r#"{"deployment": "shop/eu", "replicas": 3}"#;
    let done = slot.perform("scale", arguments, &call("run-1/scale")).await.unwrap();
    assert_eq!(done.text, "scale: 202 scaling");
    slot.undo("scale", Some(&done.receipt), &call("run-1/scale")).await.unwrap();
    let seen = server.take();
    let told: Vec<_> = seen.iter().map(|asked| (asked.line.as_str(), asked.header("idempotency-key"))).collect();
    let path = "PUT /deployments/shop%2Feu/scale";
    assert_eq!(told, [("GET /whoami", ""), (path, "run-1/scale"), (path, "run-1/scale/undo")]);
    assert!(seen.iter().all(|asked| asked.header("authorization") == "Bearer open sesame"), "{seen:?}");
    let bodies = [1, 2].map(|n: usize| String::from_utf8_lossy(&seen[n].body).into_owned());
    assert_eq!(bodies, [r#"{"replicas": 3}"#, r#"{"replicas": 1}"#]);
}

#[tokio::test]
async fn an_http_action_tells_what_went_wrong_and_what_may_have_been_done() {
    let server = HttpServer::start(|asked| match asked.line.as_str() {
        "POST /conflict" => (409, "somebody else was faster"),
        "POST /throttled" => (429, ""),
        _ => (500, "halfway"),
    });
    let server = server.await.unwrap();
    let at = |path: &str| json!({ "url": format!("{}/{path}", server.url()) });
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let declared = [
        ("conflict", at("conflict")),
        ("throttled", at("throttled")),
        ("broken", at("broken")),
        ("nobody", json!({ "url": format!("http://{free}/") })),
        ("elsewhere", json!({ "url": "http://127.0.0.1:9/" })),
    ];
    let connect = [server.url(), format!("http://{free}")].iter().map(|url| url.parse().unwrap()).collect();
    let slot = slot(&Arc::default(), "action-http", &declared, Grants { connect, ..Grants::default() }).await;
    let perform = async |name: &str| slot.perform(name, "{}", &call("key")).await.unwrap_err();
    assert_eq!(perform("conflict").await, Failure::Rejected("409 somebody else was faster".into()));
    assert_eq!(perform("throttled").await, Failure::Busy(1_000));
    assert_eq!(perform("broken").await, Failure::UnknownOutcome("500 halfway".into()));
    assert!(matches!(perform("nobody").await, Failure::Rejected(_)), "nothing listens, so nothing was done");
    assert!(matches!(perform("elsewhere").await, Failure::Denied(_)));
    assert!(matches!(perform("unheard-of").await, Failure::NotFound(_)));
}

#[tokio::test]
async fn a_command_action_looks_first_runs_once_under_its_key_and_undoes_under_another() {
    let at = |command: &str| json!({ "site": "{site}", "command": command, "arguments": { "unit": "{unit}" } });
    let start = json!({ "run": at("start-unit"), "undo": at("stop-unit"), "done": at("unit-runs") });
    let failing = json!({ "run": { "site": "west", "command": "fail" } });
    let foreign = json!({ "run": { "site": "west", "command": "reboot" } });
    let commands = ["start-unit", "stop-unit", "unit-runs", "fail"].map(str::to_owned).into();
    let site = Arc::<Site>::default();
    let declared = [("start", start), ("failing", failing), ("foreign", foreign)];
    let slot = slot(&site, "action-command", &declared, Grants { commands, ..Grants::default() }).await;
    let done = slot.perform("start", r#"{"site": "west", "unit": "shop; reboot"}"#, &call("run-1/2")).await.unwrap();
    assert_eq!(done.text, "start: 3 of 3");
    slot.undo("start", Some(&done.receipt), &call("run-1/2")).await.unwrap();
    let run = |name: &str, key: Option<&str>| CommandRun {
        slot: "action/default".into(),
        site: "west".into(),
        name: name.into(),
        arguments: vec![("unit".into(), "shop; reboot".into())],
        key: key.map(str::to_owned),
        timeout: 5_000,
    };
    let expected = [run("unit-runs", None), run("start-unit", Some("run-1/2")), run("stop-unit", Some("run-1/2/undo"))];
    assert_eq!(std::mem::take(&mut *site.0.lock().unwrap()), expected);
    let failure = slot.perform("failing", "{}", &call("k")).await.unwrap_err();
    assert_eq!(failure, Failure::UnknownOutcome("failing: it ended with status 1: not yet".into()));
    assert!(matches!(slot.perform("foreign", "{}", &call("k")).await, Err(Failure::Denied(_))));
    assert_eq!(site.0.lock().unwrap().len(), 1, "what was not granted did not run");
}
