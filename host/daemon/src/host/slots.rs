//! The plugins of a fleet file in the engine's slots: asked by name, replaced while they work.
//!
//! Knows which slot holds what and what the fleet file says of it; what an answer means is for others to say.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use tidegate_engine::{
    Decided, Engine, EngineConfig, Outside, PolicyFault, PolicySlot, ProviderSlot, Question, RevisionSpec, Staged,
};
use tidegate_kernel::contract::{Failure, Reason, Situation};
use tidegate_kernel::event::{Answered, Event, Revision};
use tidegate_kernel::picture::Picture;

use super::live::Live;
use super::metrics::{self, Metrics};
use super::recheck::{Samples, Turns};
use super::run::Options;
use crate::agents::protocol::SlotPlan;
use crate::agents::{Agents, Installation};
use crate::prober::Looker;
use crate::tls;
use lent::Lent;
use shadow::Shadow;
use spec::Wanted;
use stops::Stops;

mod calls;
mod exercise;
mod lent;
mod replication;
mod shadow;
mod spec;
mod stops;
mod view;

pub use exercise::Exercised;
pub use shadow::{Requirement, Tally};
pub use spec::grants;
pub(crate) use stops::Stopped;
pub use view::{CandidateView, PluginView, ShadowView};

/// Policy workers unless the command line says otherwise: more than this help nobody's failover.
const WORKERS_MAX: usize = 2;

/// All slots of a host.
pub struct Slots {
    engine: Engine,
    metrics: Arc<Metrics>,
    samples: Samples,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Locked for a look-up or an insertion only, never while anything is asked.
    slots: RwLock<BTreeMap<String, Arc<Held>>>,
}

/// One slot with what is known of it beside the engine.
struct Held {
    kind: Kind,
    notes: Mutex<Notes>,
    /// Number of the newest revision whose swap was acknowledged.
    acknowledged: AtomicU64,
    /// From the order of the last change to its acknowledgement, in microseconds; 0 = none yet.
    changed_in_us: AtomicU64,
    /// A candidate that decides beside the active revision.
    shadow: ArcSwapOption<Shadow>,
    /// How often in a row the active revision was stopped, for each service.
    stops: Mutex<Stops>,
    /// Which decisions are asked about again.
    turns: Turns,
}

enum Kind {
    Policy(PolicySlot),
    Provider(ProviderSlot),
}

struct Notes {
    /// What the fleet file said when it was last taken over: a reload that says the same leaves a swapped slot alone.
    declared: Wanted,
    /// What runs now, and what ran before.
    current: Wanted,
    previous: Option<Wanted>,
    /// Loaded, and not in service.
    candidate: Option<(Wanted, Staged)>,
    /// What was put out of service for being stopped again and again: nothing goes back to it by itself.
    demoted: Vec<Wanted>,
}

/// Revisions that a reload has staged and nothing uses yet.
pub struct Changes {
    staged: Vec<(String, Wanted, Staged)>,
    gone: Vec<String>,
}

impl Slots {
    /// Starts the engine, which tries its limits, and stages and installs every slot of the fleet file.
    pub(super) async fn open(
        live: &Arc<ArcSwap<Live>>,
        agents: Arc<Agents>,
        metrics: Arc<Metrics>,
        samples: Samples,
        options: &Options,
    ) -> anyhow::Result<Self> {
        let reading = live.load_full();
        let lent = Arc::new(Lent::new(live.clone(), agents));
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
        let config = EngineConfig {
            policy_workers: options.workers.unwrap_or(processors.min(WORKERS_MAX)),
            cache: Some(options.cache.clone().unwrap_or_else(|| reading.fleet.host.state.join("compiled"))),
            outside: Outside { secrets: lent.clone(), commands: lent },
            extra_roots: tls::trusted(reading.fleet.host.trust.as_deref())?,
            ..EngineConfig::default()
        };
        let slots = Slots { engine: Engine::start(config).await?, metrics, samples, shared: Arc::default() };
        let changes = slots.prepare(&reading).await?;
        slots.commit(changes).await?;
        Ok(slots)
    }

    /// Stages whatever a new reading of the fleet file wants otherwise. Nothing that serves is touched.
    pub async fn prepare(&self, live: &Live) -> anyhow::Result<Changes> {
        let mut staged = Vec::new();
        for (name, slot) in &live.fleet.slots {
            let wanted = Wanted::read(&self.engine, &live.fleet, name, slot, live.plugin_directory())?;
            if self.held(name).is_some_and(|held| held.notes().declared == wanted) {
                continue;
            }
            let revision = self.engine.stage(wanted.spec(name)?).await?;
            say_what_is_missing(name, &revision);
            staged.push((name.clone(), wanted, revision));
        }
        let gone = self.names().into_iter().filter(|name| !live.fleet.slots.contains_key(name)).collect();
        Ok(Changes { staged, gone })
    }

    /// Puts staged revisions into service; tells what the kernel has to know of it.
    pub async fn commit(&self, changes: Changes) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        for name in changes.gone {
            self.shared.write().remove(&name);
        }
        for (name, wanted, staged) in changes.staged {
            match self.held(&name) {
                Some(held) => {
                    held.swap(staged).await?;
                    held.notes().take_over(wanted.clone());
                    held.notes().declared = wanted;
                    events.push(held.swapped(&name));
                }
                None => drop(self.shared.write().insert(name, Arc::new(Held::install(wanted, staged)?))),
            }
        }
        Ok(events)
    }

    /// Stages a candidate as a swap would, and keeps it beside the active revision.
    pub(crate) async fn load(
        &self,
        live: &Live,
        name: &str,
        change: Change,
        cases: Vec<Situation>,
    ) -> anyhow::Result<()> {
        let held = self.known(name)?;
        let (wanted, staged) = self.stage(live, name, &held, change, cases).await?;
        held.notes().candidate = Some((wanted, staged));
        Ok(())
    }

    /// Puts a candidate, or the loaded one, into service. Acknowledged by the engine when this returns.
    pub(crate) async fn swap(
        &self,
        live: &Live,
        name: &str,
        change: Option<Change>,
        cases: Vec<Situation>,
    ) -> anyhow::Result<Event> {
        let ordered = Instant::now();
        let held = self.known(name)?;
        let (wanted, staged) = match change {
            Some(change) => self.stage(live, name, &held, change, cases).await?,
            None => held.notes().candidate.take().ok_or_else(|| nothing_loaded(name))?,
        };
        held.put_into_service(wanted, staged, ordered).await?;
        Ok(held.swapped(name))
    }

    /// Puts the revision before back into service.
    pub(crate) async fn rollback(&self, name: &str) -> anyhow::Result<Event> {
        let held = self.known(name)?;
        match &held.kind {
            Kind::Policy(slot) => slot.rollback().await?,
            Kind::Provider(slot) => slot.rollback().await?,
        };
        held.acknowledged.store(held.revision().number, Ordering::Release);
        held.notes().go_back();
        Ok(held.swapped(name))
    }

    async fn stage(
        &self,
        live: &Live,
        name: &str,
        held: &Held,
        change: Change,
        cases: Vec<Situation>,
    ) -> anyhow::Result<(Wanted, Staged)> {
        let mut slot = held.notes().current.slot.clone();
        // The digest in the fleet file pins what the fleet file names; who brings another plugin is named in the journal.
        slot.digest = None;
        if let Some(settings) = change.settings {
            slot.settings = settings;
        }
        if let Some(limits) = change.limits {
            spec::replace_limits(name, &mut slot, limits)?;
        }
        let bytes = match change.component {
            Component::Bytes(bytes) => {
                slot.plugin = "brought over the API".to_owned();
                bytes
            }
            Component::Named(plugin) => {
                let bytes = spec::component(&self.engine, &plugin, live.plugin_directory())?;
                slot.plugin = plugin;
                bytes
            }
        };
        let wanted = Wanted::of_bytes(&live.fleet, name, slot, bytes)?;
        let staged = self.engine.stage(RevisionSpec { cases, ..wanted.spec(name)? }).await?;
        say_what_is_missing(name, &staged);
        Ok((wanted, staged))
    }

    /// Asks a policy. Whatever goes wrong is an answer without a decision, which the kernel takes as a hold.
    pub async fn decide(&self, slot: &str, situation: Arc<Situation>, picture: Picture) -> Answered {
        let Some(held) = self.held(slot) else { return unanswered(format!("there is no slot {slot}")) };
        let Kind::Policy(policy) = &held.kind else { return unanswered(format!("slot {slot} holds no policy")) };
        // The kernel has already left out a memo of another format.
        let memo_format = policy.revision().manifest.memo_format.clone();
        let question = Arc::new(Question { situation, memo_format, picture });
        let decided = policy.decide(question.clone()).await;
        for line in &decided.log {
            tracing::debug!(slot, digest = decided.digest, "the policy says: {}", line.text);
        }
        held.stops().note(&question.situation.service, &decided);
        let comes_again = comes_again(&decided);
        // Who looks further than the question is asked once more, and only that answer counts.
        let settled = decided.answers.iter().all(|answer| shadow::is_known(&question, answer));
        let answered = policy.answered(decided);
        if let Some(shadow) = held.shadow.load_full().filter(|_| settled) {
            shadow.offer(question.clone(), &answered);
        }
        if held.turns.come() && comes_again {
            self.samples.offer(slot, question, &answered);
        }
        answered
    }

    /// Asks the active revision of a policy something again; nothing comes of it. None = it could not be asked just now.
    pub(super) async fn ask_again(&self, slot: &str, question: Arc<Question>) -> Option<Answered> {
        let held = self.held(slot)?;
        let Kind::Policy(policy) = &held.kind else { return None };
        // Who waits for a decision comes first.
        if self.engine.metrics().policy_queue > 0 {
            return None;
        }
        let decided = policy.decide(question).await;
        comes_again(&decided).then(|| policy.answered(decided))
    }

    /// Has a candidate decide beside the active policy. What is loaded stays loaded.
    pub(crate) async fn shadow(
        &self,
        live: &Live,
        name: &str,
        change: Change,
        cases: Vec<Situation>,
    ) -> anyhow::Result<()> {
        let held = self.known(name)?;
        anyhow::ensure!(
            matches!(held.kind, Kind::Policy(_)),
            "slot {name} holds a provider, and only policies have shadows"
        );
        let ready = self.stage(live, name, &held, change, cases).await?;
        let shadow = Shadow::start(name, ready, held.revision().number).await?;
        held.shadow.store(Some(Arc::new(shadow)));
        Ok(())
    }

    /// Puts a shadow, and what was compared is what it is, into service; or tells what of the requirement is not met.
    pub(crate) async fn promote_shadow(
        &self,
        name: &str,
        requirement: &Requirement,
    ) -> anyhow::Result<Result<Event, Vec<Reason>>> {
        let ordered = Instant::now();
        let held = self.known(name)?;
        let none = || anyhow::anyhow!("nothing decides beside the active revision of slot {name}");
        let shadow = held.shadow.load_full().ok_or_else(none)?;
        let unmet = requirement.unmet(&shadow.tally(held.revision().number));
        if !unmet.is_empty() {
            return Ok(Err(unmet));
        }
        let (wanted, staged) = shadow.take().ok_or_else(none)?;
        held.put_into_service(wanted, staged, ordered).await?;
        Ok(Ok(held.swapped(name)))
    }

    /// Ends a shadow; false = there was none.
    pub(crate) fn end_shadow(&self, name: &str) -> anyhow::Result<bool> {
        Ok(self.known(name)?.shadow.swap(None).is_some())
    }

    /// What a slot's shadow showed so far; none = there is none.
    pub fn tally(&self, name: &str) -> Option<Tally> {
        let held = self.held(name)?;
        Some(held.shadow.load_full()?.tally(held.revision().number))
    }

    /// The active policy, once, if it was stopped too often in a row for some service.
    pub(crate) fn stopped_too_often(&self, name: &str) -> Option<Stopped> {
        self.held(name)?.stops().too_often()
    }

    /// Goes back from a revision that was stopped too often. To be called while nobody else changes a slot.
    pub(crate) async fn demote(&self, name: &str, stopped: &Stopped) -> anyhow::Result<Demotion> {
        let held = self.known(name)?;
        if held.revision().number != stopped.revision {
            return Ok(Demotion::Overtaken);
        }
        if !held.notes().may_go_back() {
            return Ok(Demotion::NowhereToGo);
        }
        let event = self.rollback(name).await?;
        Ok(Demotion::WentBack(event))
    }

    /// Why nothing can be asked of a slot now.
    pub fn fault(&self, slot: &str) -> Option<String> {
        match self.held(slot) {
            Some(held) => held.provider().ok()?.health().quarantined,
            None => Some("there is no such slot".to_owned()),
        }
    }

    /// Every slot that nothing can be asked of now, and why.
    pub(super) fn faults(&self) -> BTreeMap<String, String> {
        self.names().into_iter().filter_map(|name| self.fault(&name).map(|why| (name, why))).collect()
    }

    /// How the host's own vantage point looks.
    pub fn looker(&self) -> Arc<dyn Looker> {
        self.shared.clone()
    }

    /// What the agents work by.
    pub(super) fn installation(&self, live: &Live) -> Installation {
        let mut components = HashMap::new();
        let mut slots = BTreeMap::new();
        for (name, held) in self.shared.read().iter().filter(|(name, _)| name.starts_with("probe/")) {
            let revision = held.revision();
            let wanted = held.notes().current.clone();
            components.insert(wanted.digest.clone(), wanted.bytes.clone());
            slots.insert(name.clone(), plan(live, &wanted, revision.number));
        }
        Installation { fleet: live.fleet.clone(), tokens: live.agent_tokens(), slots, components }
    }

    /// As if the slot had just been swapped.
    pub(super) fn as_swapped(&self, name: &str) -> Option<Event> {
        Some(self.held(name)?.swapped(name))
    }

    /// What only looking can tell.
    pub(super) fn measure(&self, figures: &Metrics) {
        figures.clear(metrics::SLOT_REVISION);
        figures.clear(metrics::PROVIDER_POOL);
        figures.clear(metrics::SHADOW);
        for (name, held) in self.shared.read().iter() {
            let revision = held.revision();
            figures.set(metrics::SLOT_REVISION, &[name, &revision.name, &revision.digest], revision.number as f64);
            if let Some(shadow) = held.shadow.load_full() {
                for (result, number) in shadow.tally(revision.number).results() {
                    figures.set(metrics::SHADOW, &[name, result], number as f64);
                }
            }
            if let Ok(provider) = held.provider() {
                let health = provider.health();
                figures.set(metrics::PROVIDER_POOL, &[name, "busy"], health.busy as f64);
                figures.set(
                    metrics::PROVIDER_POOL,
                    &[name, "idle"],
                    health.instances.saturating_sub(health.busy) as f64,
                );
            }
        }
        let engine = self.engine.metrics();
        figures.set(metrics::POLICY_QUEUE, &[], engine.policy_queue as f64);
    }

    fn names(&self) -> Vec<String> {
        self.shared.read().keys().cloned().collect()
    }

    fn held(&self, slot: &str) -> Option<Arc<Held>> {
        self.shared.held(slot)
    }

    fn known(&self, slot: &str) -> anyhow::Result<Arc<Held>> {
        self.held(slot).ok_or_else(|| anyhow::anyhow!("there is no slot {slot}"))
    }

    fn provider(&self, slot: &str) -> Result<Arc<Held>, Failure> {
        self.held(slot).ok_or_else(|| Failure::NotFound(format!("slot {slot}")))
    }
}

/// What became of a policy that was stopped too often.
pub(crate) enum Demotion {
    /// The one before decides again.
    WentBack(Event),
    /// There is none before it, or one that was no better.
    NowhereToGo,
    /// Somebody had already put another in its place.
    Overtaken,
}

/// What somebody wants in a slot.
pub(crate) struct Change {
    pub(crate) component: Component,
    /// None = as they are.
    pub(crate) settings: Option<serde_json::Value>,
    /// Those that are named take the place of the slot's present ones.
    pub(crate) limits: Option<serde_json::Value>,
}

/// Which code.
pub(crate) enum Component {
    /// `builtin:NAME` or `file:PATH`.
    Named(String),
    Bytes(Bytes),
}

impl Shared {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, slot: &str) -> Option<Arc<Held>> {
        self.read().get(slot).cloned()
    }
}

impl Held {
    fn install(wanted: Wanted, staged: Staged) -> anyhow::Result<Self> {
        let kind = match staged.inspected().world.is_policy() {
            true => Kind::Policy(PolicySlot::install(staged)?),
            false => Kind::Provider(ProviderSlot::install(staged)?),
        };
        let notes =
            Notes { declared: wanted.clone(), current: wanted, previous: None, candidate: None, demoted: Vec::new() };
        Ok(Held {
            kind,
            notes: Mutex::new(notes),
            acknowledged: AtomicU64::new(0),
            changed_in_us: AtomicU64::new(0),
            shadow: ArcSwapOption::empty(),
            stops: Mutex::default(),
            turns: Turns::default(),
        })
    }

    async fn swap(&self, staged: Staged) -> anyhow::Result<()> {
        match &self.kind {
            Kind::Policy(slot) => slot.swap(staged).await?,
            Kind::Provider(slot) => slot.swap(staged).await?,
        };
        self.acknowledged.store(self.revision().number, Ordering::Release);
        Ok(())
    }

    async fn put_into_service(&self, wanted: Wanted, staged: Staged, ordered: Instant) -> anyhow::Result<()> {
        self.swap(staged).await?;
        self.changed_in_us.store(ordered.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.notes().take_over(wanted);
        Ok(())
    }

    /// Held for plain arithmetic only.
    fn stops(&self) -> MutexGuard<'_, Stops> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn provider(&self) -> Result<&ProviderSlot, Failure> {
        match &self.kind {
            Kind::Provider(slot) => Ok(slot),
            Kind::Policy(slot) => Err(Failure::Invalid(format!("slot {} holds a policy", slot.name()))),
        }
    }

    fn revision(&self) -> Revision {
        match &self.kind {
            Kind::Policy(slot) => {
                let revision = slot.revision();
                Revision {
                    number: revision.number,
                    digest: revision.digest.clone(),
                    settings: revision.settings_hash.clone(),
                    name: revision.manifest.name.clone(),
                    version: revision.manifest.version.clone(),
                    memo_format: revision.manifest.memo_format.clone(),
                }
            }
            Kind::Provider(slot) => {
                let revision = slot.revision();
                let (name, version) = revision.plugin.split_once(' ').unwrap_or((&revision.plugin, ""));
                Revision {
                    number: revision.number,
                    name: name.to_owned(),
                    version: version.to_owned(),
                    digest: revision.digest,
                    settings: revision.settings_hash,
                    memo_format: String::new(),
                }
            }
        }
    }

    fn swapped(&self, name: &str) -> Event {
        Event::Swapped { slot: name.to_owned(), revision: self.revision(), probe: name.starts_with("probe/") }
    }

    /// Held for plain assignments only.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// Notes that what runs now is no good; whether there is something before it that has not been found to be so.
    fn may_go_back(&mut self) -> bool {
        self.demoted.push(self.current.clone());
        let known = |wanted: &Wanted| self.demoted.iter().any(|demoted| demoted.runs_as(wanted));
        self.previous.as_ref().is_some_and(|previous| !known(previous))
    }

    fn take_over(&mut self, wanted: Wanted) {
        self.previous = Some(std::mem::replace(&mut self.current, wanted));
    }

    fn go_back(&mut self) {
        if let Some(previous) = &mut self.previous {
            std::mem::swap(previous, &mut self.current);
        }
    }
}

fn plan(live: &Live, wanted: &Wanted, revision: u64) -> SlotPlan {
    let secrets = spec::granted_secrets(&wanted.slot);
    let secrets = secrets.filter_map(|name| Some((name.to_owned(), live.secrets.get(name)?.bytes().to_vec())));
    SlotPlan {
        digest: wanted.digest.clone(),
        revision,
        settings: wanted.slot.settings.clone(),
        grants: wanted.slot.grants.clone(),
        limits: wanted.slot.limits.clone(),
        declared: wanted.declared.clone(),
        secrets: secrets.collect(),
    }
}

/// What the machine was too slow or too busy for may be answered the next time.
fn comes_again(decided: &Decided) -> bool {
    !decided.result.as_ref().is_err_and(PolicyFault::is_of_the_machine)
}

fn unanswered(why: String) -> Answered {
    let nobody = String::new;
    let revision = Revision {
        number: 0,
        digest: nobody(),
        settings: nobody(),
        name: nobody(),
        version: nobody(),
        memo_format: nobody(),
    };
    Answered { revision, settings: nobody(), result: Err(why), reads: Vec::new(), fuel: 0, took_us: 0 }
}

fn nothing_loaded(name: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "nothing was loaded into slot {name}; it keeps its revision. Load a candidate first, or send one with the swap"
    )
}

fn say_what_is_missing(slot: &str, staged: &Staged) {
    for want in staged.missing_grants() {
        tracing::info!(slot, ?want, "the plugin wants this and was not granted it");
    }
}
