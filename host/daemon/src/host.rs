//! The host: the kernel, and everything around it that sees, keeps, asks, acts and answers.
//!
//! This file puts the parts together and takes them apart again. What is decided is the kernel's; how plugins run is the
//! engine's. The parts, in the order in which an event passes them: `agents` and the host's own looks, [`core`] with the
//! journal, `hands`, `steps` and `slots`; beside them `live`, `reload`, `readiness`, `heartbeat` and the API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use serde::Serialize;
use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Call, Decision, Failure, Message, Reason, Severity, Situation, Verdict};
use tidegate_kernel::event::{Command, Event, Moment};
use tidegate_kernel::fleet::{ServiceId, SiteId};
use tidegate_kernel::picture::Picture;
use tidegate_kernel::view::{FleetStatus, Judgement};
use tokio::sync::{mpsc, watch};

use self::clock::Clock;
use self::core::{Core, Ordered, Stopped};
use self::live::Live;
use self::metrics::Metrics;
use self::slots::{Change, Demotion, Exercised, PluginView, Requirement, Slots, Stopped as StoppedPolicy};
use crate::agents::{AgentView, Agents, OwnVantage, Word, plan};
use crate::journal::Head;

pub mod clock;
mod clusters;
pub mod core;
mod hands;
mod heartbeat;
pub mod live;
mod memory;
pub mod metrics;
mod plans;
mod readiness;
mod recheck;
mod reload;
mod rollout;
mod run;
pub mod slots;
mod steps;

pub use run::{Options, Serving, run};

/// How long a message to a channel may take.
const MESSAGE_TIME: u64 = 15_000;

/// Situations that a candidate has to decide before it may serve: enough to find what it chokes on, and soon done.
const CASES_MAX: usize = 64;

/// Everything that a running host is made of; shared by its tasks and its API.
pub struct Host {
    fleet_file: PathBuf,
    state: PathBuf,
    live: Arc<ArcSwap<Live>>,
    clock: Clock,
    core: Core,
    slots: Slots,
    agents: Arc<Agents>,
    /// None while an agent stands at the host's site.
    own: Mutex<Option<OwnVantage>>,
    words: mpsc::Sender<Word>,
    metrics: Arc<Metrics>,
    steps: watch::Sender<Steps>,
    /// Reloads and swaps happen one after the other; nothing that decides or acts waits for this.
    changing: tokio::sync::Mutex<()>,
}

/// Steps under way.
#[derive(Clone, Copy, Debug, Default)]
struct Steps {
    running: usize,
    closed: bool,
}

/// A step under way, until it is dropped.
struct UnderWay {
    steps: watch::Sender<Steps>,
}

/// What `status` shows: the kernel's picture, and what the shell knows beside it.
#[derive(Serialize)]
pub struct Status {
    /// The kernel's picture.
    #[serde(flatten)]
    pub fleet: FleetStatus,
    /// The agents as they last reported.
    pub agents: Vec<AgentView>,
    /// The newest durable record.
    pub journal: Head,
}

impl Host {
    fn new(parts: run::Parts, core: Core) -> Self {
        let run::Parts { fleet_file, state, live, clock, slots, agents, words, metrics } = parts;
        let (own, steps, changing) = (Mutex::default(), watch::Sender::default(), tokio::sync::Mutex::default());
        Host { fleet_file, state, live, clock, core, slots, agents, own, words, metrics, steps, changing }
    }

    /// The way to the kernel.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The newest sound reading of what the operator says.
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// The plugins.
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Every slot, with how far a probe's new revision has come.
    pub fn plugins(&self) -> Vec<PluginView> {
        self.slots.views().into_iter().map(|view| self.with_rollout(view)).collect()
    }

    /// One slot.
    pub fn plugin(&self, slot: &str) -> Option<PluginView> {
        self.slots.view(slot).map(|view| self.with_rollout(view))
    }

    fn with_rollout(&self, view: PluginView) -> PluginView {
        PluginView { rollout: self.agents.rollout(&view.slot), ..view }
    }

    /// The agents.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The file that this host serves.
    pub fn fleet_file(&self) -> &Path {
        &self.fleet_file
    }

    /// The directory with the journal.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The whole picture.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let fleet = self.core.look(|kernel, now| kernel.status(now)).await?;
        Ok(Status { fleet, agents: self.agents.views(), journal: self.core.head() })
    }

    /// What would become of each service if a site were lost: its policy's verdict on that picture, weighed by the kernel. Changes
    /// nothing. None = there is no such site.
    pub async fn what_if(&self, site: &str) -> Result<Option<Vec<Judgement>>, Stopped> {
        let named = site.to_owned();
        let Some((lost, supposed)) = self.core.look(move |kernel, now| suppose_lost(kernel, &named, now)).await? else {
            return Ok(None);
        };
        let mut decisions = Vec::new();
        for (service, slot, situation, picture) in supposed {
            let answer = self.slots.decide(&slot, situation.into(), picture).await;
            decisions.push((service, answer.result.unwrap_or_else(no_decision)));
        }
        Ok(Some(self.core.look(move |kernel, now| kernel.judge(lost, &decisions, now)).await?))
    }

    /// Brings a person's order to the kernel; not while the host stops.
    pub async fn order(&self, by: &str, command: Command) -> Result<Ordered, Stopped> {
        if self.steps.borrow().closed {
            return Err(Stopped);
        }
        tracing::info!(by, ?command, "order");
        self.core.order(by.to_owned(), command).await
    }

    /// Checks now what a move of the service, or of each service, would need, and tells the kernel.
    pub async fn check_ready(&self, service: Option<&str>) -> Result<Vec<(String, Vec<Reason>)>, Stopped> {
        let live = self.live();
        let mut checked = Vec::new();
        for declared in live.fleet.services.iter().filter(|declared| service.is_none_or(|name| name == declared.name)) {
            let blockers = readiness::blockers(self, &live, declared).await;
            let (name, found) = (declared.name.clone(), blockers.clone());
            let told = move |kernel: &Kernel| {
                let service = kernel.service_id(&name);
                service.map(|service| Event::ReadyChecked { service, blockers: found }).into_iter().collect()
            };
            self.core.tell_as_known(told).await?;
            checked.push((declared.name.clone(), blockers));
        }
        Ok(checked)
    }

    /// What a service that is ready still lacks for the loss of a site, or has.
    pub fn ready_notes(&self, service: &str) -> Vec<Reason> {
        let live = self.live();
        live.service(service).map_or_else(Vec::new, |declared| readiness::notes(self, &live, declared))
    }

    /// Sends a message that says who tries the channel.
    pub async fn test_channel(&self, channel: &str, by: &str) -> Result<(), Failure> {
        let now = self.clock.now();
        let message = message(
            Severity::Info,
            "Tidegate: a try",
            format!("{by} tries the channel {channel}. Nothing is wrong."),
            now,
        );
        self.send(channel, message, format!("test/{channel}/{}", now.mono)).await
    }

    /// Reads fleet file and secrets again; an error has changed nothing.
    pub async fn reload(self: &Arc<Self>) -> anyhow::Result<()> {
        reload::reload(self).await
    }

    /// Prometheus' text, with what is only known by looking.
    pub async fn figures(&self) -> Result<String, Stopped> {
        let states = self.core.look(|kernel, _| count_states(kernel)).await?;
        self.metrics.set(metrics::INBOX, &[], self.core.waiting() as f64);
        self.metrics.set(metrics::JOURNAL_HEAD, &[], self.core.head().n as f64);
        self.metrics.clear(metrics::SERVICES);
        for (state, services) in states {
            self.metrics.set(metrics::SERVICES, &[&state], services as f64);
        }
        self.metrics.clear(metrics::AGENT_SILENCE);
        for agent in self.agents.views() {
            if let Some(ago) = agent.heard_ago {
                self.metrics.set(metrics::AGENT_SILENCE, &[&agent.name], ago as f64 / 1_000.0);
            }
        }
        self.slots.measure(&self.metrics);
        Ok(self.metrics.render())
    }

    /// Sends a message to a channel, once for its key.
    async fn send(&self, channel: &str, message: Message, key: String) -> Result<(), Failure> {
        let live = self.live();
        let declared = live.fleet.channels.get(channel);
        let declared = declared.ok_or_else(|| Failure::NotFound(format!("channel {channel}")))?;
        let call = Call { epoch: 0, key, timeout: MESSAGE_TIME };
        let result = self.slots.send(&declared.slot, channel, &message, &call).await;
        self.metrics.count(metrics::MESSAGES, &[channel, if result.is_ok() { "sent" } else { "failed" }]);
        result
    }

    /// Tells every channel what the kernel can no longer tell, and waits a while for it.
    async fn alarm(&self, text: &str) {
        tracing::error!("{text}");
        let now = self.clock.now();
        let live = self.live();
        let sends = live.fleet.channels.keys().map(|channel| {
            let message = message(Severity::Critical, "Tidegate has stopped acting", text.to_owned(), now);
            self.send(channel, message, format!("alarm/{channel}/{}", now.mono))
        });
        for send in sends {
            if let Err(failure) =
                tokio::time::timeout(Duration::from_millis(MESSAGE_TIME), send).await.unwrap_or(Ok(()))
            {
                tracing::error!("the alarm was not sent: {failure}");
            }
        }
    }

    /// Has everybody look at once.
    fn look_now(&self, service: ServiceId, site: SiteId) {
        let live = self.live();
        let service = live.fleet.services.get(service.at()).map(|service| service.name.as_str());
        let site = live.fleet.sites.get(site.at()).map(|site| site.name.as_str());
        let (Some(service), Some(site)) = (service, site) else { return };
        self.agents.look_now(service, site);
        if let Some(own) = &*self.own() {
            own.look_now(service, site);
        }
    }

    /// Puts a new reading in the place of the one before. The kernel and everybody who speaks to it change at the same
    /// moment, on its thread, because the two readings may number the services otherwise.
    async fn take_over(self: &Arc<Self>, fresh: Arc<Live>) -> anyhow::Result<()> {
        let before = self.live();
        let (host, taken) = (self.clone(), fresh.clone());
        let change = move |_: &Kernel| {
            let event = Event::FleetChanged(taken.fleet.clone());
            host.live.store(taken);
            vec![event]
        };
        self.core.tell_as_known(change).await?;
        self.install_agents(&fresh)?;
        self.install_own_looks(&before, &fresh);
        Ok(())
    }

    /// Gives the agents their plans; an error has changed none of them.
    fn install_agents(&self, live: &Live) -> anyhow::Result<()> {
        self.agents.install(self.slots.installation(live)).context("the agents cannot be told what to do")
    }

    /// Loads, swaps or rolls back a plugin for a person. A swap is done when neither the engine nor the kernel lets a result of the
    /// revision before count any more.
    pub(crate) async fn change_plugin(
        &self,
        by: &str,
        slot: &str,
        change: &str,
        wanted: Option<Change>,
    ) -> anyhow::Result<()> {
        let _alone = self.alone().await;
        let live = self.live();
        // A candidate has to decide what the active revision could be asked at this moment.
        let cases: Vec<_> = self.situations(slot).await?.into_iter().take(CASES_MAX).collect();
        let swapped = match (change, wanted) {
            ("load", Some(wanted)) => return self.slots.load(&live, slot, wanted, cases).await,
            ("shadow", Some(wanted)) => return self.slots.shadow(&live, slot, wanted, cases).await,
            ("load" | "shadow", None) => bail!("there is nothing to load: the request has no body"),
            ("rollback", _) => self.slots.rollback(slot).await?,
            (_, wanted) => self.slots.swap(&live, slot, wanted, cases).await?,
        };
        self.announce(&live, slot, swapped).await?;
        tracing::info!(by, slot, change, "plugin changed");
        Ok(())
    }

    /// Has a shadow take the active policy's place, as a swap would; or tells why it may not.
    pub(crate) async fn promote(
        &self,
        by: &str,
        slot: &str,
        requirement: &Requirement,
    ) -> anyhow::Result<Result<(), Vec<Reason>>> {
        let _alone = self.alone().await;
        let swapped = match self.slots.promote_shadow(slot, requirement).await? {
            Ok(swapped) => swapped,
            Err(unmet) => return Ok(Err(unmet)),
        };
        self.announce(&self.live(), slot, swapped).await?;
        tracing::info!(by, slot, "shadow promoted");
        Ok(Ok(()))
    }

    /// Tells everybody who runs in the slot now.
    async fn announce(&self, live: &Live, slot: &str, swapped: Event) -> anyhow::Result<()> {
        self.install_agents(live)?;
        self.core.tell(swapped).await?;
        // The answer comes after all that was told before it.
        self.core.look(|_, _| ()).await?;
        // Whatever was a shadow has been promoted, or is held against something that no longer runs.
        self.slots.end_shadow(slot)?;
        Ok(())
    }

    /// Puts the revision before back in the place of one that was stopped again and again, and tells people.
    pub(crate) async fn demote(&self, slot: &str, stopped: &StoppedPolicy) -> anyhow::Result<()> {
        let _alone = self.alone().await;
        let StoppedPolicy { digest, service, why, .. } = stopped;
        let what =
            format!("{digest} crashed or ran into a limit three times in a row for {service}, the last time: {why}");
        let text = match self.slots.demote(slot, stopped).await? {
            Demotion::Overtaken => return Ok(()),
            Demotion::WentBack(swapped) => {
                self.announce(&self.live(), slot, swapped).await?;
                self.metrics().count(metrics::DEMOTIONS, &[slot]);
                let runs = self.plugin(slot).map_or_else(String::new, |view| view.revision.digest);
                format!(
                    "{what}. It was put out of service, and {runs} decides again. Mend it, and try it with \
                     `tidegate plugin shadow {slot}` before it decides again"
                )
            }
            Demotion::NowhereToGo => format!(
                "{what}. There is nothing to go back to, so it stays, and each question that it fails is a hold. \
                 Put another in its place with `tidegate plugin swap {slot}`"
            ),
        };
        tracing::error!(slot, "{text}");
        self.core.tell(Event::PluginFault { slot: slot.to_owned(), text }).await?;
        Ok(())
    }

    /// Has a policy decide the situations of the moment, `decisions` times in all; nothing comes of it.
    pub(crate) async fn exercise(&self, slot: &str, decisions: u64) -> anyhow::Result<Exercised> {
        self.slots.exercise(slot, self.situations(slot).await?, decisions).await
    }

    /// What a policy would be told now of the services that ask it.
    async fn situations(&self, slot: &str) -> Result<Vec<Situation>, Stopped> {
        let asked = slot.to_owned();
        let look = move |kernel: &Kernel, now| {
            let of_slot = kernel.fleet().services.iter().enumerate().filter(|(_, service)| service.policy == asked);
            of_slot.filter_map(|(at, _)| kernel.situation(ServiceId(at as u32), now)).collect()
        };
        self.core.look(look).await
    }

    fn install_own_looks(&self, before: &Live, fresh: &Live) {
        let voice = |live: &Live| live.own_vantage().map(|(_, own)| (own.name.clone(), own.control_targets.clone()));
        let mut own = self.own();
        if own.is_none() || voice(before) != voice(fresh) {
            let (clock, looker) = (self.clock, self.slots.looker());
            *own = voice(fresh).map(|(name, control_targets)| {
                let (clock, sight) = (Arc::new(move || clock.mono()), self.agents.own_sight());
                OwnVantage::start(&name, looker, clock, control_targets, self.words.clone(), sight)
            });
        }
        if let (Some(own), Some((id, _))) = (&*own, fresh.own_vantage()) {
            own.set_targets(plan::targets(&fresh.fleet, id));
        }
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Option<OwnVantage>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps reloads and swaps apart while it is held.
    pub(crate) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// None while the host stops: then no step is begun.
    fn begin_step(&self) -> Option<UnderWay> {
        let begun = self.steps.send_if_modified(|steps| {
            steps.running += usize::from(!steps.closed);
            !steps.closed
        });
        begun.then(|| UnderWay { steps: self.steps.clone() })
    }

    /// Begins no more steps, and waits for those under way; false = some were not done in time.
    async fn finish_steps(&self, patience: Duration) -> bool {
        self.steps.send_modify(|steps| steps.closed = true);
        let mut steps = self.steps.subscribe();
        tokio::time::timeout(patience, steps.wait_for(|steps| steps.running == 0)).await.is_ok()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.steps.send_modify(|steps| steps.running -= 1);
    }
}

/// A service, its policy's slot, and what the policy would be told and shown.
type Supposed = (ServiceId, String, Situation, Picture);

/// What is supposed where a site is lost; none = there is no such site.
fn suppose_lost(kernel: &Kernel, site: &str, now: Moment) -> Option<(SiteId, Vec<Supposed>)> {
    let lost = kernel.site_id(site)?;
    let supposed = kernel.hypothetical(lost, now).into_iter();
    let slot = |id: ServiceId| kernel.fleet().services[id.at()].policy.clone();
    Some((lost, supposed.map(|(id, situation, picture)| (id, slot(id), situation, picture)).collect()))
}

/// A policy that cannot decide holds.
fn no_decision(why: String) -> Decision {
    Decision {
        verdict: Verdict::Hold,
        analysis: "no-decision".to_owned(),
        reasons: vec![Reason::new("policy-failed", why)],
        vetoes: Vec::new(),
        would_change_if: Vec::new(),
        ask_again_in: None,
        memo: String::new(),
        facts: Vec::new(),
    }
}

fn message(severity: Severity, subject: &str, body: String, now: Moment) -> Message {
    Message { severity, subject: subject.to_owned(), body, at: now.wall, facts: Vec::new() }
}

fn count_states(kernel: &Kernel) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for service in kernel.state().services.values() {
        *states.entry(service.life.state.to_string()).or_default() += 1;
    }
    states
}
