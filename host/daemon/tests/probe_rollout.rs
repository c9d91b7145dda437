//! A probe's new revision and real agents: it reaches one failure domain after the other, and stops where it does not work.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail with it")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tidegate::agent::ledger::Ledger;
use tidegate::agent::{self, Fitting, Outfit};
use tidegate::agents::protocol::SlotPlan;
use tidegate::agents::{Agents, Installation, Moved, Word};
use tidegate::prober::{Looker, Looking};
use tidegate_kernel::contract::{Finding, Outcome};
use tidegate_kernel::fleet::Fleet;
use tokio::sync::{mpsc, oneshot};

const SLOT: &str = "probe/tcp";
const PATIENCE: Duration = Duration::from_secs(60);
const SITES: [&str; 3] = ["west", "east", "north"];

/// Three sites with an agent each, and a service that each of them looks at.
fn fleet() -> Arc<Fleet> {
    let mut text =
        "[host]\nsite = \"west\"\nagents-listen = \"127.0.0.1:0\"\n[secret]\nt = { env = \"T\" }\n".to_owned();
    for site in SITES {
        text += &format!("[site.{site}]\n[agent.{site}]\nsite = \"{site}\"\ntoken = \"t\"\n");
    }
    text += "[service.shop]\nprobe = { slot = \"probe/tcp\", interval = \"100ms\", timeout = \"50ms\" }\n\
             at.west = { endpoint = \"192.0.2.1\", target = { address = \"192.0.2.1:80\" } }\n";
    let parsed = tidegate_kernel::fleet::parse(Path::new("fleet.toml"), &|_| Ok(text.clone()));
    Arc::new(parsed.unwrap_or_else(|problems| panic!("{problems:#?}")))
}

/// What the agents did, in order.
type Diary = Arc<Mutex<Vec<String>>>;

/// An agent whose revisions behave as they are called.
struct Eyes {
    name: &'static str,
    diary: Diary,
    code: Mutex<String>,
}

impl Eyes {
    fn note(&self, what: &str) {
        let entry = format!("{} {what} {}", self.name, self.code.lock().unwrap());
        let mut diary = self.diary.lock().unwrap();
        if !diary.contains(&entry) {
            diary.push(entry);
        }
    }
}

impl Looker for Eyes {
    fn look<'a>(&'a self, _: &'a str, _: &'a str, _: &'a str, _: Duration) -> Looking<'a> {
        Box::pin(async move {
            self.note("looks by");
            let blind = *self.code.lock().unwrap() == format!("blind at {}", self.name);
            let outcome = if blind { Outcome::Refused } else { Outcome::Ok };
            Ok(Finding { outcome, latency: Some(1), detail: "as called".to_owned() })
        })
    }
}

impl Outfit for Eyes {
    fn fit(&self, slots: BTreeMap<String, SlotPlan>, components: HashMap<String, Bytes>) -> Fitting<'_> {
        Box::pin(async move {
            let code = String::from_utf8(components[&slots[SLOT].digest].to_vec()).unwrap();
            if code == "not to be set up" {
                return vec![format!("slot {SLOT}: {code}")];
            }
            *self.code.lock().unwrap() = code;
            self.note("takes");
            Vec::new()
        })
    }
}

struct Stage {
    agents: Agents,
    diary: Diary,
    _directory: TempDir,
    _words: mpsc::Receiver<Word>,
    _stops: Vec<oneshot::Sender<()>>,
}

impl Stage {
    /// Three agents that work by `old`.
    async fn new() -> Stage {
        let started = std::time::Instant::now();
        let clock = Arc::new(move || 1_000 + started.elapsed().as_millis() as u64);
        let (sender, words) = mpsc::channel(100_000);
        let agents = Agents::start(Some("127.0.0.1:0"), None, clock, sender, Ledger::in_memory()).await.unwrap();
        let (directory, diary) = (tempfile::tempdir().unwrap(), Diary::default());
        let mut stage = Stage { agents, diary, _directory: directory, _words: words, _stops: Vec::new() };
        stage.install(1, "old");
        stage._stops = SITES.map(|site| stage.agent(site)).into();
        for site in SITES {
            stage.until(&format!("{site} looks by old")).await;
        }
        stage.diary.lock().unwrap().clear();
        stage
    }

    fn agent(&self, site: &'static str) -> oneshot::Sender<()> {
        let token_file = self._directory.path().join(site);
        std::fs::write(&token_file, token(site)).unwrap();
        let options = agent::Options {
            site: site.into(),
            name: site.into(),
            host: self.agents.address().unwrap().to_string(),
            token_file,
            ca: None,
            trust: None,
            plugins: None,
            state: None,
            enforced: false,
        };
        let (sender, stop) = oneshot::channel();
        let outfit = Arc::new(Eyes { name: site, diary: self.diary.clone(), code: Mutex::default() });
        tokio::spawn(agent::run_until(options, outfit, async { drop(stop.await) }));
        sender
    }

    fn install(&self, revision: u64, code: &str) {
        let hex: String = Sha256::digest(code).iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        let plan = SlotPlan {
            digest: digest.clone(),
            revision,
            settings: serde_json::json!({}),
            grants: Vec::new(),
            limits: serde_json::json!({}),
            declared: Vec::new(),
            secrets: BTreeMap::new(),
        };
        let installation = Installation {
            fleet: fleet(),
            tokens: SITES.map(|site| (site.to_owned(), token(site))).into(),
            slots: [(SLOT.to_owned(), plan)].into(),
            components: [(digest, Bytes::from(code.to_owned()))].into(),
        };
        self.agents.install(installation).unwrap();
    }

    async fn until(&self, entry: &str) {
        let there = || self.diary.lock().unwrap().iter().any(|noted| noted == entry);
        let waited = tokio::time::timeout(PATIENCE, async {
            while !there() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain until {entry}: {:?}", self.diary);
    }

    /// Leads the revision on until it comes to an end, one way or the other.
    async fn advance(&self) -> Vec<Moved> {
        let mut all = Vec::new();
        let led = tokio::time::timeout(PATIENCE, async {
            while !matches!(all.last(), Some(Moved::Everywhere { .. } | Moved::Stopped { .. })) {
                all.extend(self.agents.advance());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(led.await.is_ok(), "it comes to no end: {all:?}, {:?}", self.agents.rollout(SLOT));
        all
    }

    fn diary(&self) -> Vec<String> {
        self.diary.lock().unwrap().clone()
    }
}

fn token(site: &str) -> String {
    format!("{site}-0123456789abcdef")
}

fn on(domain: &str) -> Moved {
    Moved::On { slot: SLOT.to_owned(), domain: domain.to_owned() }
}

#[tokio::test]
async fn each_failure_domain_gets_it_once_the_one_before_has_looked_by_it() {
    let stage = Stage::new().await;
    stage.install(2, "new");
    let view = stage.agents.rollout(SLOT).unwrap();
    assert_eq!((view.reached, view.to_come), (vec!["west".to_owned()], vec!["east".to_owned(), "north".to_owned()]));
    assert_eq!(stage.advance().await, [on("east"), on("north"), Moved::Everywhere { slot: SLOT.to_owned() }]);
    assert_eq!(stage.agents.rollout(SLOT), None);
    let new: Vec<String> = stage.diary().into_iter().filter(|entry| entry.ends_with("new")).collect();
    let expected = SITES.map(|site| [format!("{site} takes new"), format!("{site} looks by new")]);
    assert_eq!(new, expected.concat());
}

#[tokio::test]
async fn stops_where_the_looks_turn_bad_and_a_rollback_reaches_those_who_had_it() {
    let stage = Stage::new().await;
    stage.install(2, "blind at east");
    let moved = stage.advance().await;
    let [first, Moved::Stopped { text, .. }] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!(first, &on("east"));
    let why = "failure domain east: agent east: shop at west: refused 3 times in a row, as called";
    assert!(text.contains(why) && text.contains("kept in north"), "{text}");
    assert!(stage.agents.rollout(SLOT).unwrap().stopped.unwrap().contains("agent east"));

    stage.install(3, "old");
    assert_eq!(stage.advance().await, [on("east"), Moved::Everywhere { slot: SLOT.to_owned() }]);
    let taken = stage.diary().into_iter().filter(|entry| entry.contains("takes"));
    let expected =
        ["west takes blind at east", "east takes blind at east", "west takes old", "east takes old"].map(str::to_owned);
    assert_eq!(taken.collect::<Vec<_>>(), expected, "north was left alone");
}

#[tokio::test]
async fn stops_where_it_cannot_be_set_up() {
    let stage = Stage::new().await;
    stage.install(2, "not to be set up");
    let moved = stage.advance().await;
    let [Moved::Stopped { text, .. }] = &moved[..] else { panic!("{moved:?}") };
    assert!(text.contains("west: agent west: it cannot follow its plan: slot probe/tcp: not to be set up"), "{text}");
    assert!(stage.diary().iter().all(|entry| entry.ends_with("old")), "{:?}", stage.diary());
}
