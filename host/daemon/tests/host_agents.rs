//! A host and an agent, each the real thing: what the host tells people of what its agent has seen.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "support/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
mod stage;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use stage::*;
use tidegate::journal;
use tokio::process::Child;
use tokio::sync::mpsc;

/// An agent at the right site, and a channel for what is critical.
fn with_an_agent(directory: &Path, fleet: &str, hook: SocketAddr) -> String {
    fs::write(directory.join("agent.token"), "right-0123456789abcdef").unwrap();
    let fleet = fleet.replace("warm-up", "agents-listen = \"127.0.0.1:0\"\nwarm-up");
    let fleet = fleet.replace("[secret]", "[secret]\nagent-token = { file = \"agent.token\" }");
    let more = format!(
        "[agent.right]\nsite = \"right\"\ntoken = \"agent-token\"\n\
         [slot.\"notify/webhook\"]\nplugin = \"builtin:notify-webhook\"\ngrants = \"http://{hook}\"\n\
         [channel.on-call]\nslot = \"notify/webhook\"\nseverity = \"critical\"\nurl = \"http://{hook}/on-call\"\n"
    );
    fleet + &more
}

/// The real program, killed when this is dropped.
fn agent(directory: &Path, host: &str) -> Child {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["agent", "--site", "right", "--host", host, "--token-file"]).arg(directory.join("agent.token"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

async fn until_the_agent_works(stage: &Stage) {
    until("the agent works by its plan", || async {
        let status: Value = stage.client.get("/v1/status").await.unwrap();
        status["agents"][0]["plan-current"] == true
    })
    .await;
}

/// The next critical message's subject.
async fn told(messages: &mut mpsc::UnboundedReceiver<Seen>) -> String {
    let seen = tokio::time::timeout(PATIENCE, messages.recv()).await.unwrap().unwrap();
    let message: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(message["severity"], "critical");
    message["subject"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_was_cut_while_the_host_was_away_is_told_of() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let (dns, (hook, mut messages)) = (nameserver().await, receiver().await);
    let stage =
        Stage::new(|directory| with_an_agent(directory, &fleet(directory, left, right, dns.local_addr()), hook));
    let host = stage.start().await;
    let address = host.serving.agents.unwrap().to_string();
    let _agent = agent(stage.directory.path(), &address);
    until_the_agent_works(&stage).await;
    host.stop().await;

    let segment = journal::directory(&stage.state()).join("journal-0000000000000001.jsonl");
    let whole = fs::read_to_string(&segment).unwrap();
    // A record less is a journal that is sound in itself.
    let first = whole.split_inclusive('\n').next().unwrap();
    fs::write(&segment, first).unwrap();
    assert_eq!(journal::verify(&journal::directory(&stage.state())).unwrap().head.n, 1);
    let written = fs::read_to_string(stage.fleet_file()).unwrap();
    fs::write(
        stage.fleet_file(),
        written.replace("agents-listen = \"127.0.0.1:0\"", &format!("agents-listen = \"{address}\"")),
    )
    .unwrap();

    let host = stage.start().await;
    let subject = told(&mut messages).await;
    assert!(subject.contains("The journal was changed or cut: agent right remembers record"), "{subject}");
    until("it is on record", || async {
        stage.journal().await.contains("\"cause\":{\"rewritten\":{\"agent\":\"right\"")
    })
    .await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_that_does_not_work_stays_where_it_was_tried_and_is_told_of() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let (dns, (hook, mut messages)) = (nameserver().await, receiver().await);
    let stage =
        Stage::new(|directory| with_an_agent(directory, &fleet(directory, left, right, dns.local_addr()), hook));
    let host = stage.start().await;
    let _agent = agent(stage.directory.path(), &host.serving.agents.unwrap().to_string());
    until_the_agent_works(&stage).await;
    let slot = "/v1/plugins/probe%2Fhttp";
    let rollout = || async { stage.client.get::<Value>(slot).await.unwrap()["rollout"].clone() };

    // A sound plugin of the right world that can make nothing of these targets.
    let wrong = json!({ "plugin": "builtin:probe-tcp" });
    let swapped: Value = stage.client.post(&format!("{slot}/swap"), &wrong).await.unwrap();
    assert_eq!((&swapped["rollout"]["reached"], &swapped["rollout"]["to-come"]), (&json!(["left"]), &json!(["right"])));
    let subject = told(&mut messages).await;
    let words =
        "probe/http misbehaved: its new revision goes no further than failure domain left: the host itself: shop at";
    assert!(subject.contains(words), "{subject}");
    let stopped = rollout().await;
    assert_eq!((&stopped["to-come"], &stopped["trying"]), (&json!(["right"]), &Value::Null), "{stopped}");
    let socket = format!("unix:{}", stage.directory.path().join("host.sock").display());
    let listed = tidegate(stage.directory.path(), &["plugin", "list", "--host", &socket]).await;
    assert!(said(&listed).contains("stopped after 1 of 2 failure domains"), "{}", said(&listed));
    let shown = tidegate(stage.directory.path(), &["plugin", "inspect", "probe/http", "--host", &socket]).await;
    assert!(said(&shown).contains("failure domain left: the host itself: shop at"), "{}", said(&shown));

    stage.client.post::<Value>(&format!("{slot}/rollback"), &Value::Null).await.unwrap();
    until("everybody has the one before", || async { rollout().await.is_null() }).await;
    stage
        .client
        .post::<Value>(&format!("{slot}/swap"), &json!({ "plugin": "builtin:probe-http", "settings": {} }))
        .await
        .unwrap();
    assert_eq!(rollout().await, Value::Null, "the same code with the same settings is nothing new");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_command_that_an_agent_could_not_run_is_named_before_it_is_needed() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let (dns, (hook, _messages)) = (nameserver().await, receiver().await);
    let commands = "[command.there]\nargv = [\"/bin/true\"]\n[command.gone]\nargv = [\"/no/such/program\"]\n\
                    [command.nobody]\nargv = [\"/bin/true\"]\nrun-as = \"no-such-user\"\n";
    let stage = Stage::new(|directory| {
        with_an_agent(directory, &fleet(directory, left, right, dns.local_addr()), hook) + commands
    });
    let host = stage.start().await;
    let _agent = agent(stage.directory.path(), &host.serving.agents.unwrap().to_string());
    until("the agent has said what is missing", || async {
        let status: Value = stage.client.get("/v1/status").await.unwrap();
        status["agents"][0]["missing"]["nobody"].is_string()
    })
    .await;
    let socket = format!("unix:{}", stage.directory.path().join("host.sock").display());
    let checked = tidegate(stage.directory.path(), &["check", "--online", "--host", &socket]).await;
    let page = said(&checked);
    for words in ["there is no program /no/such/program", "there is no user no-such-user"] {
        assert!(page.contains(words), "{page}");
    }
    assert!(!page.lines().any(|line| line.starts_with("there ")), "{page}");
    assert_eq!(checked.status.code(), Some(1), "{page}");
    host.stop().await;
}
