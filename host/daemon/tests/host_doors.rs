//! A host's doors to people: orders over TLS by token, the dead-man's heartbeat, and the channels by which people are told.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "support/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
mod stage;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use stage::*;
use tidegate::api::Listening;
use tidegate::tls;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const PEOPLE: [(&str, &str); 3] = [("vic", "viewer"), ("otto", "operator"), ("ada", "approver")];

/// A certificate for 127.0.0.1 that only this file vouches for.
fn certificate(directory: &Path, name: &str) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(directory.join(format!("{name}.pem")), signed.cert.pem()).unwrap();
    fs::write(directory.join(format!("{name}.key")), signed.signing_key.serialize_pem()).unwrap();
}

/// Orders over TLS as well, from three people with a token and a role each; nothing moves unasked.
fn guarded(directory: &Path, fleet: &str) -> String {
    certificate(directory, "ours");
    certificate(directory, "strange");
    let tls = "tls = { certificate = \"ours.pem\", key = \"ours.key\" }\nwarm-up";
    let fleet = fleet.replace("host.sock\"]", "host.sock\", \"127.0.0.1:0\"]").replace("warm-up", tls);
    let mut fleet = fleet.replace("failover = \"automatic\"", "failover = \"manual\"");
    fs::write(directory.join("nobody.token"), "nobody-0123456789abcdef\n").unwrap();
    for (name, role) in PEOPLE {
        fs::write(directory.join(format!("{name}.token")), format!("{name}-0123456789abcdef\n")).unwrap();
        fleet = fleet.replace("[secret]", &format!("[secret]\n{name}-token = {{ file = \"{name}.token\" }}"));
        fleet += &format!("[person.{name}]\nroles = \"{role}\"\ntoken = \"{name}-token\"\n");
    }
    fleet
}

/// Where a host takes orders over TLS, and who asks there.
struct Door<'a> {
    directory: &'a Path,
    address: String,
}

impl Door<'_> {
    async fn asked(&self, who: &str, arguments: &[&str]) -> Output {
        let token = format!("{who}.token");
        let way = ["--host", &self.address, "--ca", "ours.pem", "--token-file", &token];
        let way = if who.is_empty() { &way[..4] } else { &way };
        tidegate(self.directory, &[arguments, way].concat()).await
    }
}

fn tcp(host: &Host) -> String {
    let mut addresses = host.serving.listening.iter();
    let address = addresses.find_map(|at| if let Listening::Tcp(address) = at { Some(*address) } else { None });
    format!("https://{}", address.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_opens_what_its_persons_role_allows_and_no_other_does() {
    let (left, left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    let stage = Stage::new(|directory| guarded(directory, &fleet(directory, left, right, dns.local_addr())));
    let host = stage.start().await;
    let door = Door { directory: stage.directory.path(), address: tcp(&host) };
    until("both sites are seen well", || async {
        let shop: Value = stage.client.get("/v1/services/shop").await.unwrap();
        (0..2).all(|at| shop["places"][at]["consensus"]["status"] == "healthy") && !shop["readiness"].is_null()
    })
    .await;
    let table: [(&str, &[&str], i32, &str); 9] = [
        ("vic", &["status"], 0, "shop"),
        ("otto", &["status"], 0, "shop"),
        ("", &["status"], 2, "nobody known asks"),
        ("nobody", &["status"], 2, "nobody known asks"),
        ("vic", &["pause", "shop", "--reason", "a try"], 2, "vic does not have the role operator"),
        ("ada", &["pause", "shop", "--reason", "a try"], 2, "ada does not have the role operator"),
        ("vic", &["channel", "test", "any"], 2, "vic does not have the role operator"),
        ("otto", &["pause", "shop", "--reason", "a try"], 0, "shop"),
        ("otto", &["resume", "shop"], 0, "shop"),
    ];
    for (who, arguments, code, words) in table {
        let output = door.asked(who, arguments).await;
        assert_eq!(output.status.code(), Some(code), "{who:?} {arguments:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{who:?} {arguments:?}: {}", said(&output));
    }

    left_alive.abort();
    until("somebody is asked", || async { !stage.client.get::<Vec<Value>>("/v1/questions").await.unwrap().is_empty() })
        .await;
    for who in ["vic", "otto", "nobody", ""] {
        assert_eq!(door.asked(who, &["approve", "q0"]).await.status.code(), Some(2), "{who:?} approved");
    }
    assert_eq!(shop_leads_to(dns.local_addr()).await, [Ipv4Addr::new(127, 0, 0, 1)]);
    let approved = door.asked("ada", &["approve", "q0"]).await;
    assert_eq!(approved.status.code(), Some(0), "{}", said(&approved));
    until("the name leads elsewhere", || async {
        shop_leads_to(dns.local_addr()).await == [Ipv4Addr::new(127, 0, 0, 2)]
    })
    .await;
    assert!(stage.journal().await.contains(r#""by":"ada""#), "the journal names who approved");
    host.stop().await;
}

#[tokio::test]
async fn a_host_with_a_strange_certificate_gets_no_token() {
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "ours");
    certificate(directory.path(), "strange");
    fs::write(directory.path().join("ada.token"), "ada-0123456789abcdef").unwrap();
    let file = |name: &str| directory.path().join(name);
    for (name, trusted) in [("strange", false), ("ours", true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let tls = tls::server(&file(&format!("{name}.pem")), &file(&format!("{name}.key"))).unwrap();
        let stranger = tokio::spawn(overhear(listener, tls));
        let output = Door { directory: directory.path(), address }.asked("ada", &["status"]).await;
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(said(&output).contains("certificate"), !trusted, "{}", said(&output));
        assert_eq!(stranger.await.unwrap().contains("ada-0123456789abcdef"), trusted, "{name}");
    }
}

/// What one caller says before this hangs up.
async fn overhear(listener: TcpListener, tls: Arc<rustls::ServerConfig>) -> String {
    let (stream, _) = listener.accept().await.unwrap();
    let Ok(mut stream) = tokio_rustls::TlsAcceptor::from(tls).accept(stream).await else { return String::new() };
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") && stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {}
    String::from_utf8(heard).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_heartbeat_beats_as_long_as_the_host_lives_and_says_whose_it_is() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let (dns, (watch, mut beats)) = (nameserver().await, receiver().await);
    let heart = format!("heartbeat-url = \"http://{watch}/beat?host=7\"\nheartbeat-every = \"100ms\"\nwarm-up");
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()).replace("warm-up", &heart));
    let host = stage.start().await;
    for _ in 0..3 {
        let beat = beats.recv().await.unwrap();
        assert_eq!(
            (beat.line.as_str(), &beat.headers["tidegate-site"]),
            ("GET /beat?host=7", &"left".parse().unwrap())
        );
        assert!(beat.headers["user-agent"].to_str().unwrap().starts_with("tidegate/"), "{beat:?}");
    }
    host.stop().await;
    while beats.try_recv().is_ok() {}
    assert!(beats.is_empty() && !beats.is_closed(), "the receiver listens, and nobody beats");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tried_channel_reaches_its_receiver_and_a_dead_one_is_told_of() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let (dns, (hook, mut told)) = (nameserver().await, receiver().await);
    let channels = format!(
        "[slot.\"notify/webhook\"]\nplugin = \"builtin:notify-webhook\"\ngrants = \"http://{hook}\"\n\
         [channel.on-call]\nslot = \"notify/webhook\"\nseverity = \"critical\"\nurl = \"http://{hook}/on-call\"\n\
         [channel.elsewhere]\nslot = \"notify/webhook\"\nseverity = \"critical\"\nurl = \"http://127.0.0.1:1/\"\n"
    );
    let stage = Stage::new(|directory| fleet(directory, left, right, dns.local_addr()) + &channels);
    let host = stage.start().await;
    let socket = format!("unix:{}", stage.directory.path().join("host.sock").display());
    let tried =
        async |channel| tidegate(stage.directory.path(), &["channel", "test", channel, "--host", &socket]).await;

    let output = tried("on-call").await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let seen = told.recv().await.unwrap();
    assert_eq!(seen.line, "POST /on-call");
    let message: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!((&message["channel"], &message["subject"]), (&"on-call".into(), &"Tidegate: a try".into()), "{message}");
    let words = message["body"].as_str().unwrap();
    assert!(words.ends_with("tries the channel on-call. Nothing is wrong."), "{words}");

    for (channel, words) in [("elsewhere", "not sent"), ("nowhere", "there is no channel")] {
        let output = tried(channel).await;
        assert!(!output.status.success() && said(&output).contains(words), "{channel}: {}", said(&output));
    }
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_goes_over_tls_to_whom_the_fleet_file_trusts_and_to_no_stranger() {
    let (left, _left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
    let (right, _right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
    let dns = nameserver().await;
    for (trust, trusted) in [("trust = \"ours.pem\"\nwarm-up", true), ("warm-up", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let channel = format!(
            "[slot.\"notify/webhook\"]\nplugin = \"builtin:notify-webhook\"\ngrants = \"{url}\"\n\
             [channel.on-call]\nslot = \"notify/webhook\"\nseverity = \"critical\"\nurl = \"{url}/on-call\"\n"
        );
        let stage = Stage::new(|directory| {
            certificate(directory, "ours");
            fleet(directory, left, right, dns.local_addr()).replace("warm-up", trust) + &channel
        });
        let file = |name: &str| stage.directory.path().join(name);
        let receiver = tokio::spawn(overhear(listener, tls::server(&file("ours.pem"), &file("ours.key")).unwrap()));
        let host = stage.start().await;
        let socket = format!("unix:{}", file("host.sock").display());
        tidegate(stage.directory.path(), &["channel", "test", "on-call", "--host", &socket]).await;
        let heard = receiver.await.unwrap();
        assert_eq!(heard.starts_with("POST /on-call"), trusted, "{heard}");
        host.stop().await;
    }
}

#[tokio::test]
async fn neither_host_nor_agent_starts_when_what_it_is_to_trust_cannot_be_read() {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let stage = Stage::new(|directory| {
        fleet(directory, nowhere, nowhere, nowhere).replace("warm-up", "trust = \"gone.pem\"\nwarm-up")
    });
    let directory = stage.directory.path();
    fs::write(directory.join("token"), "west-0123456789abcdef\n").unwrap();
    fs::write(directory.join("empty.pem"), "no certificate\n").unwrap();
    let agent = ["agent", "--site", "west", "--host", "127.0.0.1:1", "--token-file", "token", "--trust"];
    for (arguments, file) in [
        (["run", "--fleet", "fleet.toml"].as_slice(), "gone.pem"),
        (&[agent.as_slice(), &["gone.pem"]].concat(), "gone.pem"),
        (&[agent.as_slice(), &["empty.pem"]].concat(), "empty.pem"),
    ] {
        let output = tidegate(directory, arguments).await;
        assert!(!output.status.success(), "{arguments:?}");
        let said = said(&output);
        for words in [file, "is to be trusted", "unchanged: nothing was started", "next: write the authorities"] {
            assert!(said.contains(words), "{arguments:?}, expected “{words}”: {said}");
        }
    }
}
