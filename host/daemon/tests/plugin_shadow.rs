//! A candidate beside the active policy of a real host: compared, promoted, and put back when it turns out to be no good.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

#[path = "support/stage.rs"]
#[allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the stage")]
mod stage;

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use stage::*;

const SLOT: &str = "/v1/plugins/failover%2Fdefault";

/// A host with one service, its two sites, and what has to live as long as they.
struct Scene {
    stage: Stage,
    host: Host,
    left: tokio::task::JoinHandle<()>,
    _right: tokio::task::JoinHandle<()>,
    _dns: tidegate_nameserver::Running,
}

impl Scene {
    async fn start() -> Scene {
        Scene::start_with(|fleet| fleet).await
    }

    async fn start_with(edit: impl FnOnce(String) -> String) -> Scene {
        let (left, left_alive) = service(Ipv4Addr::new(127, 0, 0, 1)).await;
        let (right, right_alive) = service(Ipv4Addr::new(127, 0, 0, 2)).await;
        let dns = nameserver().await;
        let stage = Stage::new(|directory| edit(fleet(directory, left, right, dns.local_addr())));
        let host = stage.start().await;
        Scene { stage, host, left: left_alive, _right: right_alive, _dns: dns }
    }

    async fn get(&self, path: &str) -> Value {
        self.stage.client.get(&format!("{SLOT}{path}")).await.unwrap()
    }

    async fn typed(&self, arguments: &[&str]) -> std::process::Output {
        let host = format!("unix:{}", self.stage.directory.path().join("host.sock").display());
        let all = [&["plugin"], arguments, &["--host", &host]].concat();
        tidegate(self.stage.directory.path(), &all).await
    }

    /// Each change of a pause has the policies asked anew.
    async fn stir(&self) {
        let pause = json!({ "command": "pause", "service": "shop", "reason": "to stir" });
        let _: Value = self.stage.client.post("/v1/orders", &pause).await.unwrap();
        let resume = json!({ "command": "resume", "service": "shop" });
        let _: Value = self.stage.client.post("/v1/orders", &resume).await.unwrap();
    }

    /// A figure of the slot.
    async fn figure(&self, name: &str) -> f64 {
        let mut lines = self.stage.client.lines("/metrics").await.unwrap();
        let start = format!("{name}{{slot=\"failover/default\"}} ");
        while let Some(line) = lines.next().await.unwrap() {
            if let Some(number) = line.strip_prefix(&start) {
                return number.parse().unwrap();
            }
        }
        0.0
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.stage.directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }

    /// One that crashes as soon as a service is lost.
    async fn put_in_a_dying_policy(&self) {
        let guest = self.file("guest.wasm", tidegate_test_guests::hostile_policy());
        let settings = self.file("settings.json", br#"{ "do": "panic-when-lost" }"#);
        let swapped = self.typed(&["swap", "failover/default", &guest, "--settings", &settings]).await;
        assert!(swapped.status.success(), "{}", said(&swapped));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_is_compared_and_takes_over_only_if_it_showed_what_is_required() {
    let scene = Scene::start().await;
    let before = scene.get("").await;
    let none = scene.typed(&["diff", "failover/default"]).await;
    assert!(said(&none).contains("nothing decides beside the active revision"), "{}", said(&none));
    let provider = scene.typed(&["shadow", "dns/primary", "builtin:dns-rfc2136"]).await;
    assert!(said(&provider).contains("only policies have shadows"), "{}", said(&provider));

    // It waits for ten minutes where the active one moves at once.
    let patient = scene.file("patient.json", br#"{ "unhealthy-for": "10m" }"#);
    let begun = scene.typed(&["shadow", "failover/default", "builtin:failover-quorum", "--settings", &patient]).await;
    assert!(begun.status.success(), "{}", said(&begun));
    let beside = || async {
        scene.stir().await;
        scene.get("/diff").await["decisions"].as_u64() > Some(2)
    };
    until("it has decided beside the other", beside).await;
    assert_eq!(scene.get("/diff").await["different"], 0);
    until("the other site is seen well", || async {
        let shop: Value = scene.stage.client.get("/v1/services/shop").await.unwrap();
        shop["movable"] == json!({ "yes": "right" })
    })
    .await;
    scene.left.abort();
    let moves = |found: &&Value| found["active"]["verdict"].as_str().unwrap().starts_with("fail over to right");
    until("they do not agree", || async {
        scene.get("/diff").await["differences"].as_array().unwrap().iter().any(|found| moves(&found))
    })
    .await;
    let tally = scene.get("/diff").await;
    let difference = tally["differences"].as_array().unwrap().iter().find(moves).unwrap();
    assert_eq!(difference["shadow"]["verdict"], "hold", "{tally}");
    assert!(!difference["shadow"]["reasons"].as_array().unwrap().is_empty(), "{tally}");
    let page = said(&scene.typed(&["diff", "failover/default"]).await);
    assert!(page.contains("active: fail over to right") && page.contains("shadow: hold"), "{page}");

    let many = scene.typed(&["promote", "failover/default", "--require", "divergence<=0,decisions>=1"]).await;
    assert_eq!(many.status.code(), Some(3), "{}", said(&many));
    assert!(said(&many).contains("verdicts differ"), "{}", said(&many));
    let wrong = scene.typed(&["promote", "failover/default", "--require", "luck>=1"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert!(said(&wrong).contains("decisions>=N"), "{}", said(&wrong));
    assert_eq!(scene.get("").await["revision"], before["revision"]);

    let promoted = scene.typed(&["promote", "failover/default", "--require", "decisions>=1"]).await;
    assert!(promoted.status.success(), "{}", said(&promoted));
    let after = scene.get("").await;
    assert_eq!(after["settings"]["unhealthy-for"], "10m", "{after}");
    assert_eq!(after["shadow"], Value::Null);
    assert!(scene.typed(&["rollback", "failover/default"]).await.status.success());
    assert_eq!(scene.get("").await["revision"]["settings"], before["revision"]["settings"]);
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_misbehaves_costs_the_active_policy_nothing() {
    let scene = Scene::start().await;
    let hostile = scene.file("hostile.wasm", tidegate_plugins::examples::policy_hostile());
    assert!(scene.typed(&["shadow", "failover/default", &hostile]).await.status.success());
    let stirred = || async {
        scene.stir().await;
        scene.get("/diff").await["faults"].as_u64() > Some(2)
    };
    until("it has misbehaved", stirred).await;
    let decided: Value =
        scene.stage.client.post(&format!("{SLOT}/exercise"), &json!({ "decisions": 500 })).await.unwrap();
    assert_eq!((&decided["decisions"], &decided["dropped"]), (&json!(500), &json!(0)), "{decided}");
    let shop: Value = scene.stage.client.get("/v1/services/shop").await.unwrap();
    assert_eq!(shop["active-site"], "left", "{shop}");
    assert!(!scene.stage.journal().await.contains("plugin-fault"), "what a shadow does is nobody's alarm");
    let ended = scene.typed(&["shadow", "failover/default", "--end"]).await;
    assert!(ended.status.success(), "{}", said(&ended));
    assert_eq!(scene.get("").await["shadow"], Value::Null);
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_stopped_again_and_again_goes_back_to_the_one_before() {
    let scene = Scene::start().await;
    let before = scene.get("").await["revision"]["digest"].clone();
    scene.put_in_a_dying_policy().await;
    scene.left.abort();
    let demoted = || async { scene.get("").await["revision"]["digest"] == before };
    until("it is put out of service", demoted).await;
    until("people are told", || async { scene.stage.journal().await.contains("three times in a row") }).await;
    let moved = || async {
        let shop: Value = scene.stage.client.get("/v1/services/shop").await.unwrap();
        shop["active-site"] == "right"
    };
    until("the one before does what has to be done", moved).await;
    assert_eq!(scene.stage.journal().await.matches(r#""cause":{"swapped""#).count(), 2, "there and back, and no more");
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_promoted_is_what_was_compared() {
    let scene = Scene::start().await;
    let patient = scene.file("patient.json", br#"{ "unhealthy-for": "10m" }"#);
    let other = scene.file("other.json", br#"{ "unhealthy-for": "7m" }"#);
    let quorum = "builtin:failover-quorum";
    let begun = scene.typed(&["shadow", "failover/default", quorum, "--settings", &patient]).await;
    assert!(begun.status.success(), "{}", said(&begun));
    let loaded = scene.typed(&["load", "failover/default", quorum, "--settings", &other]).await;
    assert!(loaded.status.success(), "{}", said(&loaded));
    let promoted = scene.typed(&["promote", "failover/default"]).await;
    assert!(promoted.status.success(), "{}", said(&promoted));
    let after = scene.get("").await;
    assert_eq!(after["settings"]["unhealthy-for"], "10m", "{after}");
    assert_eq!(after["candidate"]["settings"]["unhealthy-for"], "7m", "what was loaded stays so: {after}");
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_services_at_once_demote_a_policy_once() {
    let scene = Scene::start_with(|fleet| fleet.clone() + &more_services(&fleet)).await;
    let before = scene.get("").await["revision"]["digest"].clone();
    scene.put_in_a_dying_policy().await;
    scene.left.abort();
    until("people are told", || async { scene.stage.journal().await.contains("three times in a row") }).await;
    let moved = || async {
        let shop: Value = scene.stage.client.get("/v1/services/shop").await.unwrap();
        shop["active-site"] == "right"
    };
    until("the one before does what has to be done", moved).await;
    let journal = scene.stage.journal().await;
    assert_eq!(journal.matches(r#""cause":{"swapped""#).count(), 2, "there and back, and no more");
    assert_eq!(journal.matches(r#""cause":{"plugin-fault""#).count(), 1, "told once");
    assert!(journal.contains("just when it is needed"), "the alarm says why");
    assert_eq!(scene.get("").await["revision"]["digest"], before);
    scene.host.stop().await;
}

/// Twenty more services that are lost together with the first.
fn more_services(fleet: &str) -> String {
    let (_, shop) = fleet.split_once("[service.shop]").unwrap();
    let shop = format!("[service.shop]{shop}");
    let without_route: String =
        shop.lines().filter(|line| !line.starts_with("route")).map(|line| format!("{line}\n")).collect();
    (0..20).map(|n| without_route.replace("service.shop", &format!("service.more-{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_with_nothing_before_it_stays_and_people_are_told_once() {
    let scene = Scene::start_with(|fleet| {
        let at = fleet.split_once("state = \"").unwrap().1.split_once("/state\"").unwrap().0.to_owned();
        std::fs::write(format!("{at}/guest.wasm"), tidegate_test_guests::hostile_policy()).unwrap();
        format!("{fleet}\n[slot.\"failover/default\"]\nplugin = \"file:{at}/guest.wasm\"\nsettings = {{ do = \"panic-when-lost\" }}\n")
    })
    .await;
    let before = scene.get("").await["revision"].clone();
    scene.left.abort();
    let told = || async {
        scene.stir().await;
        scene.stage.journal().await.contains("nothing to go back to")
    };
    until("people are told", told).await;
    let at_first = scene.figure("tidegate_decision_faults_total").await;
    until("it has been stopped three times more", || async {
        scene.stir().await;
        scene.figure("tidegate_decision_faults_total").await >= at_first + 3.0
    })
    .await;
    let journal = scene.stage.journal().await;
    assert_eq!(journal.matches(r#""cause":{"plugin-fault""#).count(), 1, "told once");
    assert_eq!(scene.get("").await["revision"], before);
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_plugin_with_other_settings_is_another_revision() {
    let scene = Scene::start().await;
    let guest = scene.file("guest.wasm", tidegate_test_guests::hostile_policy());
    let quiet = scene.file("quiet.json", br#"{ "do": "nothing" }"#);
    let bad = scene.file("bad.json", br#"{ "do": "panic-when-lost" }"#);
    let swap = async |settings: &str| {
        let swapped = scene.typed(&["swap", "failover/default", &guest, "--settings", settings]).await;
        assert!(swapped.status.success(), "{}", said(&swapped));
    };
    swap(&quiet).await;
    swap(&bad).await;
    scene.left.abort();
    let quiet_again = || async {
        scene.stir().await;
        scene.get("").await["settings"]["do"] == "nothing"
    };
    until("it goes back to its other settings", quiet_again).await;
    // A swap would find it out now; a person who rolls back knows what they do.
    assert!(scene.typed(&["rollback", "failover/default"]).await.status.success());
    assert_eq!(scene.get("").await["settings"]["do"], "panic-when-lost");
    until("it goes back once more", quiet_again).await;
    scene.host.stop().await;
}

/// It answers for the other as often as anybody likes, before and between: that makes nothing good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_fails_one_service_of_two_goes_back_to_the_one_before() {
    let scene = Scene::start_with(|fleet| {
        let (_, shop) = fleet.split_once("[service.shop]").unwrap();
        let (settings, places) = shop.split_once("[service.shop.at.left]").unwrap();
        // It stays where both find it well: nothing of it is at the site that dies.
        let right = places.split_once("[service.shop.at.right]").unwrap().1;
        let without_route: Vec<&str> = settings.lines().filter(|line| !line.starts_with("route")).collect();
        format!("{fleet}\n[service.steady]{}\n[service.steady.at.right]{right}", without_route.join("\n"))
    })
    .await;
    let before = scene.get("").await["revision"]["digest"].clone();
    let guest = scene.file("guest.wasm", tidegate_test_guests::hostile_policy());
    let settings = scene.file("settings.json", br#"{ "do": "panic-when-lost" }"#);
    let swapped = scene.typed(&["swap", "failover/default", &guest, "--settings", &settings]).await;
    assert!(swapped.status.success(), "{}", said(&swapped));
    scene.left.abort();
    let demoted = || async {
        let pause = json!({ "command": "pause", "service": "steady", "reason": "to stir" });
        let _: Value = scene.stage.client.post("/v1/orders", &pause).await.unwrap();
        let resume = json!({ "command": "resume", "service": "steady" });
        let _: Value = scene.stage.client.post("/v1/orders", &resume).await.unwrap();
        scene.get("").await["revision"]["digest"] == before
    };
    until("it is put out of service", demoted).await;
    until("people are told", || async { scene.stage.journal().await.contains("three times in a row for shop") }).await;
    scene.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_needs_more_than_its_slot_gives_is_refused_and_taken_with_more() {
    let scene = Scene::start().await;
    let guest = scene.file("guest.wasm", tidegate_test_guests::hostile_policy());
    let settings = scene.file("settings.json", br#"{ "do": "roomy" }"#);
    for change in ["shadow", "load", "swap"] {
        let ask = [change, "failover/default", &guest, "--settings", &settings];
        let refused = scene.typed(&ask).await;
        assert!(!refused.status.success() && said(&refused).contains("--limit memory=64MiB"), "{}", said(&refused));
        let taken = scene.typed(&[&ask[..], &["--limit", "memory=32MiB"]].concat()).await;
        assert!(taken.status.success(), "{change}: {}", said(&taken));
    }
    assert_eq!(scene.get("").await["settings"]["do"], "roomy");
    // What is not named stays as it is.
    let kept = scene.typed(&["swap", "failover/default", &guest, "--settings", &settings]).await;
    assert!(kept.status.success(), "{}", said(&kept));
    let wrong = scene.typed(&["swap", "failover/default", &guest, "--limit", "memmory=1MiB"]).await;
    assert!(wrong.status.code() == Some(2) && said(&wrong).contains("`memory`"), "{}", said(&wrong));
    let builtin = ["shadow", "failover/default", "builtin:failover-quorum", "--limit", "fuel=7"];
    let refused = scene.typed(&builtin).await;
    assert!(said(&refused).contains("used up its work budget (fuel 7)"), "{}", said(&refused));
    scene.host.stop().await;
}
