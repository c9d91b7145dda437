//! The leases that this host renews, and the word of each agent's enforcer: what is needed to say when a lease has ended.
//!
//! The rules are in [`crate::lease`]. What outlives this process is in the state directory: by whom each node was last held, who
//! last led, and the key by which agents know each other.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::crypto::ring::default_provider;
use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Epoch, Millis};
use tokio::sync::watch;
use tokio::time::timeout;

use super::protocol::{Leader, Renewal, Renewed};
use super::roster::{Member, Places, Roster};
use super::{Clock, lock};
use crate::enforcer::line::Held;
use crate::lease::{Granted, acknowledgements_needed};

/// For a majority of the agents to acknowledge; the kernel asks again.
const ACKNOWLEDGED: Duration = Duration::from_secs(1);
const KEY: usize = 32;

/// All leases of a host.
pub(super) struct Leases {
    clock: Clock,
    started: Millis,
    book: Mutex<Book>,
    /// Counts what was acknowledged.
    heard: watch::Sender<u64>,
}

#[derive(Default)]
struct Book {
    granted: BTreeMap<String, Granted>,
    kept: Kept,
    directory: Option<PathBuf>,
    key: Vec<u8>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Kept {
    /// Cluster → who last led it.
    led: BTreeMap<String, String>,
    /// What each agent last said of each node that it holds.
    holds: Vec<HeldAt>,
}

/// A node and the agent whose enforcer holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HeldAt {
    /// The agent's name.
    pub agent: String,
    /// Its word.
    #[serde(flatten)]
    pub held: Held,
}

impl Leases {
    pub(super) fn new(clock: Clock) -> Leases {
        let started = clock();
        Leases { clock, started, book: Mutex::default(), heard: watch::Sender::default() }
    }

    pub(super) fn keep_in(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let mut book = lock(&self.book);
        book.key = kept_key(&directory.join("peers.key"))?;
        book.kept = kept(&directory.join("leases.json"))?;
        book.directory = Some(directory.to_owned());
        Ok(())
    }

    /// By which agents know each other.
    pub(super) fn key(&self) -> Result<Vec<u8>> {
        let mut book = lock(&self.book);
        if book.key.is_empty() {
            book.key = fresh_key()?;
        }
        Ok(book.key.clone())
    }

    pub(super) fn lead(&self, cluster: &str, primary: Option<&str>, epoch: Epoch) {
        let now = (self.clock)();
        let mut book = lock(&self.book);
        book.granted(cluster, self.started).lead(primary, epoch, now);
        if let Some(primary) = book.granted(cluster, self.started).leader().map(str::to_owned) {
            let mut kept = book.kept.clone();
            kept.led.insert(cluster.to_owned(), primary);
            book.keep(kept);
        }
    }

    pub(super) fn stop(&self, cluster: &str, epoch: Epoch) {
        lock(&self.book).granted(cluster, self.started).end(epoch);
    }

    /// An agent asks for its site's leases.
    pub(super) fn renew(&self, roster: &Roster, member: &Member, renewal: Renewal) -> Renewed {
        let now = (self.clock)();
        let mut book = lock(&self.book);
        for known in &renewal.known {
            book.granted(&known.cluster, self.started).acknowledge(&member.name, known, now);
        }
        book.hear(&member.name, &renewal.holds);
        let leader = |places: &Places| {
            let own = renewal.holds.iter().filter(|held| held.cluster == places.cluster);
            let mut own = own.filter(|held| places.sites.get(&held.node).is_some_and(|site| *site == *member.site));
            let granted = book.granted(&places.cluster, self.started);
            Leader {
                renewed: places.guarded && own.any(|held| granted.renew(&held.node, now)),
                cluster: places.cluster.clone(),
                primary: granted.leader().map(str::to_owned),
                epoch: granted.newest(),
                guarded: places.guarded,
            }
        };
        let clusters = roster.clusters.iter().map(leader).collect();
        drop(book);
        self.heard.send_modify(|count| *count += 1);
        Renewed { clusters, peers: member.peers.clone() }
    }

    /// When the last lease of an older epoch has ended, once enough agents have acknowledged.
    pub(super) async fn ended(&self, roster: &Roster, cluster: &str, epoch: Epoch) -> Result<Millis, String> {
        let agents: Vec<String> = roster.members().map(|member| member.name.to_string()).collect();
        let holder = self.holder(cluster)?;
        let needed = acknowledgements_needed(agents.len())
            .ok_or("there is one agent only: it confirms its own lease, which so never ends for certain")?;
        let mut heard = self.heard.subscribe();
        let ends = || lock(&self.book).granted(cluster, self.started).ends(epoch, &holder, &agents);
        let mut found = None;
        let enough = heard.wait_for(|_| {
            found = ends();
            found.is_some()
        });
        let _ = timeout(ACKNOWLEDGED, enough).await;
        found.ok_or_else(|| {
            format!(
                "fewer than {needed} of the agents besides {holder} have acknowledged epoch {epoch} of {cluster}: a lease could \
                 still be confirmed"
            )
        })
    }

    pub(super) fn holds(&self) -> Vec<HeldAt> {
        lock(&self.book).kept.holds.clone()
    }

    /// The agent whose enforcer ends the primary with its lease; without one the lease's end proves nothing.
    pub(super) fn holder(&self, cluster: &str) -> Result<String, String> {
        let book = lock(&self.book);
        let primary = book.kept.led.get(cluster).ok_or_else(|| format!("nobody is known to have led {cluster}"))?;
        let held = book.kept.holds.iter().find(|at| at.held.cluster == cluster && at.held.node == *primary);
        let at = held.ok_or_else(|| format!("no agent has said that its enforcer holds {primary} of {cluster}"))?;
        match at.held.armed {
            true => Ok(at.agent.clone()),
            false => {
                let why = at.held.why.as_deref().unwrap_or("no reason is given");
                Err(format!("the enforcer of agent {} is not armed for {primary} of {cluster}: {why}", at.agent))
            }
        }
    }
}

impl Book {
    fn granted(&mut self, cluster: &str, started: Millis) -> &mut Granted {
        self.granted.entry(cluster.to_owned()).or_insert_with(|| Granted::since(started))
    }

    fn hear(&mut self, agent: &str, holds: &[Held]) {
        let mut kept = self.kept.clone();
        let same =
            |at: &HeldAt| holds.iter().any(|held| (&held.cluster, &held.node) == (&at.held.cluster, &at.held.node));
        kept.holds.retain(|at| at.agent != agent && !same(at));
        kept.holds.extend(holds.iter().map(|held| HeldAt { agent: agent.to_owned(), held: held.clone() }));
        kept.holds.sort_by(|a, b| (&a.held.cluster, &a.held.node).cmp(&(&b.held.cluster, &b.held.node)));
        self.keep(kept);
    }

    /// On disk only what is new: agents repeat themselves twice a second.
    fn keep(&mut self, kept: Kept) {
        if self.kept == kept {
            return;
        }
        let written = self.directory.as_ref().map(|directory| {
            let path = directory.join("leases.json");
            write(&path, &serde_json::to_vec(&kept)?).with_context(|| format!("write {}", path.display()))
        });
        if let Some(Err(error)) = written {
            tracing::error!(%error, "who holds which node would be forgotten by a restart");
        }
        self.kept = kept;
    }
}

fn kept(path: &Path) -> Result<Kept> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Kept::default()),
        read => {
            let bytes = read.with_context(|| format!("read {}", path.display()))?;
            serde_json::from_slice(&bytes).with_context(|| {
                format!("{} is not as it was written\n  unchanged: the file\n  next: move it away", path.display())
            })
        }
    }
}

fn kept_key(path: &Path) -> Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = fresh_key()?;
            write(path, &key).with_context(|| format!("write {}", path.display()))?;
            Ok(key)
        }
        read => {
            let key = read.with_context(|| format!("read {}", path.display()))?;
            ensure!(
                key.len() == KEY,
                "{} holds no key\n  unchanged: the file\n  next: remove it; agents get a new one",
                path.display()
            );
            Ok(key)
        }
    }
}

fn fresh_key() -> Result<Vec<u8>> {
    let mut key = vec![0; KEY];
    let filled = default_provider().secure_random.fill(&mut key);
    filled.map_err(|error| anyhow::anyhow!("draw a key: {error:?}"))?;
    Ok(key)
}

/// Whole or not at all, for nobody else, durable.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = path.with_extension("draft");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(directory: &Path) -> Leases {
        let leases = Leases::new(std::sync::Arc::new(|| 1_000));
        leases.keep_in(directory).unwrap();
        leases
    }

    fn hear(leases: &Leases, holds: &[(&str, bool)]) {
        let held = |(node, armed): &(&str, bool)| Held {
            cluster: "orders".into(),
            node: (*node).into(),
            armed: *armed,
            ..Held::default()
        };
        lock(&leases.book).hear("west", &holds.iter().map(held).collect::<Vec<_>>());
    }

    #[test]
    fn a_leases_end_proves_nothing_without_an_armed_enforcer_and_a_restart_forgets_none() {
        let directory = tempfile::tempdir().unwrap();
        let leases = opened(directory.path());
        let refuses = |leases: &Leases, why: &str| {
            let refused = leases.holder("orders").unwrap_err();
            assert!(refused.contains(why), "{refused}");
        };
        refuses(&leases, "nobody is known");
        leases.lead("orders", Some("a"), 1);
        refuses(&leases, "no agent has said");
        hear(&leases, &[("b", true)]);
        refuses(&leases, "no agent has said");
        hear(&leases, &[("a", false)]);
        refuses(&leases, "not armed");
        hear(&leases, &[("a", true)]);
        leases.lead("orders", None, 2);
        assert_eq!(leases.holder("orders").as_deref(), Ok("west"), "it may still hold a lease");
        let key = leases.key().unwrap();
        let leases = opened(directory.path());
        assert_eq!((leases.holder("orders").as_deref(), leases.key().unwrap()), (Ok("west"), key));
        hear(&leases, &[]);
        refuses(&leases, "no agent has said");
    }
}
