//! The component `notify-webhook` in the real engine, against a real server.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tidegate_engine::grants::BoxFuture;
use tidegate_engine::{Engine, EngineConfig, Grants, Outside, ProviderSlot, RevisionSpec, SecretSource};
use tidegate_kernel::contract::{Call, Fact, Failure, Message, Severity};
use tidegate_tests::servers_http::HttpServer;

const SECRET: &[u8] = b"what only the receiver and we know";

struct Secrets;

impl SecretSource for Secrets {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<u8>, Failure>> {
        Box::pin(async { Ok(SECRET.to_vec()) })
    }
}

async fn slot(server: &HttpServer, channels: &[(&str, Value)]) -> ProviderSlot {
    let outside = Outside { secrets: Arc::new(Secrets), ..Outside::default() };
    let cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let config = EngineConfig { policy_workers: 1, outside, cache, ..EngineConfig::default() };
    let engine = Engine::start(config).await.unwrap();
    let staged = engine.stage(RevisionSpec {
        slot: "notify/default".into(),
        source: "built in".into(),
        bytes: tidegate_plugins::find("notify-webhook").unwrap().bytes.to_vec(),
        settings: json!({}),
        grants: Grants {
            connect: vec![server.url().parse().unwrap()],
            secrets: ["hook-key".to_owned()].into(),
            ..Grants::default()
        },
        declared: channels.iter().map(|(key, value)| Fact { key: (*key).into(), value: value.to_string() }).collect(),
        ..RevisionSpec::default()
    });
    ProviderSlot::install(staged.await.unwrap()).unwrap()
}

fn message() -> Message {
    Message {
        severity: Severity::Critical,
        subject: "shop failed over".into(),
        body: "west is lost".into(),
        at: 1_767_225_600_000,
        facts: vec![Fact { key: "to-site".into(), value: "east".into() }],
    }
}

fn call() -> Call {
    Call { epoch: 7, key: "run-1/told".into(), timeout: 5_000 }
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn a_message_arrives_signed_and_a_repetition_is_the_same_to_the_byte() {
    let server = HttpServer::start(|_| (204, "")).await.unwrap();
    let on_call = json!({ "url": format!("{}/on-call", server.url()), "signing-secret": "hook-key" });
    let slot = slot(&server, &[("on-call", on_call)]).await;
    for _ in 0..2 {
        slot.send("on-call", &message(), &call()).await.unwrap();
    }
    let seen = server.take();
    assert_eq!((seen.len(), &seen[0]), (2, &seen[1]));
    let told = &seen[0];
    assert_eq!((told.line.as_str(), told.header("idempotency-key")), ("POST /on-call", "run-1/told"));
    assert_eq!(told.header("x-tidegate-signature"), signature(&told.body));
    let document: Value = serde_json::from_slice(&told.body).unwrap();
    assert_eq!((&document["severity"], &document["facts"]["to-site"]), (&json!("critical"), &json!("east")));
    assert_eq!(document["text"], "shop failed over\nwest is lost");
}

#[tokio::test]
async fn a_message_that_was_not_taken_is_not_called_delivered() {
    let server = HttpServer::start(|asked| match asked.line.as_str() {
        "POST /busy" => (503, ""),
        "POST /gone" => (404, "no such hook"),
        _ => (500, "oops"),
    });
    let server = server.await.unwrap();
    let at = |path: &str| json!({ "url": format!("{}/{path}", server.url()) });
    let elsewhere = json!({ "url": "http://127.0.0.1:9/" });
    let channels = [("busy", at("busy")), ("gone", at("gone")), ("odd", at("odd")), ("elsewhere", elsewhere)];
    let slot = slot(&server, &channels).await;
    let send = async |channel: &str| slot.send(channel, &message(), &call()).await.unwrap_err();
    assert_eq!(send("busy").await, Failure::Busy(1_000));
    assert_eq!(send("gone").await, Failure::NotFound("404 no such hook".into()));
    assert_eq!(send("odd").await, Failure::UnknownOutcome("500 oops".into()));
    assert!(matches!(send("elsewhere").await, Failure::Denied(_)));
    assert!(matches!(send("unheard-of").await, Failure::NotFound(_)));
}
