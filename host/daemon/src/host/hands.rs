//! From the kernel's effects to the work that they ask for, and back to the kernel with what came of it.
//!
//! Waits for nothing itself: each effect becomes a task of its own when its kind has room for one. Decides nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Call, Decision, Failure, Message, Reason, Route, Situation};
use tidegate_kernel::event::{Action, Answered, Effect, Event, RunId, StepOutcome, Ticket};
use tidegate_kernel::fleet::{ClusterId, Mode, ServiceId};
use tidegate_kernel::picture::Picture;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::core::Hands;
use super::{Host, metrics, steps};

/// Decisions under way; the engine's own queue is as long.
const DECISIONS: usize = 256;

/// Questions to providers under way (routes, readiness), so that a fleet that starts does not ask everything at once.
const QUESTIONS: usize = 32;

/// Messages under way.
const MESSAGES: usize = 32;

/// Carries effects out as tasks of the runtime.
pub(super) struct Tasks {
    host: Arc<Host>,
    runtime: Handle,
    decisions: Lane,
    questions: Lane,
    messages: Lane,
}

/// Work of one kind that waits for its turn. Only what has its turn is a task: those who wait take little more than what they are
/// about, and after a start they are as many as there are services.
struct Lane(mpsc::UnboundedSender<Job>);

type Job = Box<dyn FnOnce() -> Task + Send>;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Lane {
    /// With at most `most` under way.
    fn open(most: usize) -> Self {
        let (sender, waiting) = mpsc::unbounded_channel();
        tokio::spawn(lead(waiting, Arc::new(Semaphore::new(most))));
        Lane(sender)
    }
}

/// Until nobody can bring work any more.
async fn lead(mut waiting: mpsc::UnboundedReceiver<Job>, room: Arc<Semaphore>) {
    while let Some(job) = waiting.recv().await {
        // The semaphore is never closed.
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let task = job();
        tokio::spawn(async move {
            task.await;
            drop(place);
        });
    }
}

impl Tasks {
    pub(super) fn new(host: Arc<Host>) -> Self {
        Tasks {
            host,
            runtime: Handle::current(),
            decisions: Lane::open(DECISIONS),
            questions: Lane::open(QUESTIONS),
            messages: Lane::open(MESSAGES),
        }
    }

    /// Does the work that `begin` begins when the lane has room for it, and tells the kernel what came of it.
    fn queue<W, E>(&self, lane: &Lane, begin: impl FnOnce() -> W + Send + 'static)
    where
        W: Future<Output = E> + Send + 'static,
        E: FnOnce(&Kernel) -> Vec<Event> + Send + 'static,
    {
        let host = self.host.clone();
        // A lane ends only with its runtime.
        let _ = lane.0.send(Box::new(move || Box::pin(finish(host, begin()))));
    }
}

/// A kernel that has stopped asks afresh after the next start.
async fn finish<E>(host: Arc<Host>, work: impl Future<Output = E> + Send)
where
    E: FnOnce(&Kernel) -> Vec<Event> + Send + 'static,
{
    let events = work.await;
    let _ = host.core().tell_as_known(events).await;
}

impl Hands for Tasks {
    /// Services are named here, on the kernel's thread: by the time a task is done, the fleet file may number them otherwise.
    fn carry_out(&mut self, effect: Effect) {
        let (host, live) = (self.host.clone(), self.host.live());
        let name = |service: ServiceId| live.fleet.services.get(service.at()).map(|service| service.name.clone());
        match effect {
            Effect::Decide { ticket, service, slot, situation, picture } => {
                let Some(service) = name(service) else { return };
                self.queue(&self.decisions, move || decide(host, ticket, service, slot, (situation, picture)));
            }
            Effect::Perform { run, step, action, call } => self.perform(run, step, action, call),
            Effect::ReadRoute { service } => {
                let Some(service) = name(service) else { return };
                self.queue(&self.questions, move || read_route(host, service));
            }
            Effect::CheckReady { service } => {
                let Some(service) = name(service) else { return };
                self.queue(&self.questions, move || check_ready(host, service));
            }
            Effect::Probe { service, site } => host.look_now(service, site),
            Effect::Sample { cluster } => {
                let Some(cluster) = cluster_name(&live, cluster) else { return };
                self.queue(&self.questions, move || sample(host, cluster));
            }
            Effect::Lead { cluster, primary, epoch } => {
                let Some(cluster) = cluster_name(&live, cluster) else { return };
                host.agents().lead(&cluster, primary.as_deref(), epoch);
            }
            Effect::EndLease { run, cluster, epoch } => {
                let Some(cluster) = cluster_name(&live, cluster) else { return };
                // A run waits for it: it waits for nobody's place.
                self.runtime.spawn(finish(host.clone(), end_lease(host, run, cluster, epoch)));
            }
            Effect::Notify { key, channel, message } => {
                self.queue(&self.messages, move || notify(host, key, channel, message));
            }
            Effect::Append(_) | Effect::Reply { .. } => {
                debug_assert!(false, "the kernel's thread keeps these for itself");
            }
        }
    }
}

impl Tasks {
    /// Steps are few, and none waits for another's place. While the host stops none is begun: it stands in the journal as
    /// started, and the next start reads it back and repeats it.
    fn perform(&self, run: RunId, step: usize, action: Action, call: Call) {
        let host = self.host.clone();
        let Some(under_way) = host.begin_step() else {
            tracing::info!(run = run.0, step, "the host is stopping: the step is left for the next start");
            return;
        };
        self.runtime.spawn(finish(self.host.clone(), async move {
            let outcome = match host.live().fleet.host.mode {
                Mode::Act => steps::perform(&host, action, call).await,
                Mode::Observe => {
                    StepOutcome::Failed(Failure::Denied("the host only observes ([host] mode)".to_owned()))
                }
            };
            host.metrics().count(metrics::STEPS, &[outcome_name(&outcome)]);
            move |_: &Kernel| {
                // Until the kernel has it, the host does not count the step as done.
                drop(under_way);
                vec![Event::Stepped { run, step, outcome }]
            }
        }));
    }
}

fn cluster_name(live: &super::live::Live, cluster: ClusterId) -> Option<String> {
    live.fleet.clusters.get(cluster.at()).map(|cluster| cluster.name.clone())
}

async fn sample(host: Arc<Host>, cluster: String) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    // A kernel that has stopped asks afresh after the next start.
    let _ = super::clusters::sample(&host, &cluster).await;
    |_: &Kernel| Vec::new()
}

/// Everybody is told of the new epoch, and what they answer says when the last lease is over.
async fn end_lease(
    host: Arc<Host>,
    run: RunId,
    cluster: String,
    epoch: u64,
) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    let ends = host.agents().end_lease(&cluster, epoch).await;
    move |_: &Kernel| vec![Event::LeaseEnds { run, ends }]
}

/// An event of a service that the fleet file still has.
fn of_service(
    name: String,
    event: impl FnOnce(ServiceId) -> Event + Send,
) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    move |kernel| kernel.service_id(&name).map(event).into_iter().collect()
}

async fn decide(
    host: Arc<Host>,
    ticket: Ticket,
    name: String,
    slot: String,
    told: (Arc<Situation>, Picture),
) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    let begun = Instant::now();
    let answer = host.slots().decide(&slot, told.0, told.1).await;
    host.metrics().took(metrics::DECISION_SECONDS, &[&slot], begun.elapsed());
    count_decision(&host, &slot, &answer);
    if let Some(stopped) = host.slots().stopped_too_often(&slot) {
        let (host, slot) = (host.clone(), slot.clone());
        // Not in the way of this answer, which no longer counts once the other one runs.
        tokio::spawn(async move {
            if let Err(error) = host.demote(&slot, &stopped).await {
                tracing::error!(slot, digest = stopped.digest, "the policy cannot be put out of service: {error:#}");
            }
        });
    }
    of_service(name, move |service| Event::Decided { ticket, service, answer: Box::new(answer) })
}

fn count_decision(host: &Host, slot: &str, answer: &Answered) {
    match &answer.result {
        Ok(Decision { verdict, .. }) => host.metrics().count(metrics::DECISIONS, &[slot, verdict.name()]),
        Err(why) => {
            tracing::warn!(slot, digest = answer.revision.digest, "no decision: {why}");
            host.metrics().count(metrics::DECISION_FAULTS, &[slot]);
        }
    }
}

async fn read_route(host: Arc<Host>, name: String) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    let result = route_of(&host, &name).await;
    of_service(name, move |service| Event::RouteRead { service, result })
}

async fn route_of(host: &Host, service: &str) -> Result<Route, Failure> {
    let live = host.live();
    let route = live.service(service).and_then(|service| service.route.as_ref());
    let route = route.ok_or_else(|| Failure::NotFound("the service has no route".to_owned()))?;
    host.slots().read_route(&route.slot, &route.name).await
}

async fn check_ready(host: Arc<Host>, name: String) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    let live = host.live();
    let blockers = match live.service(&name) {
        Some(service) => super::readiness::blockers(&host, &live, service).await,
        None => vec![Reason::new("unknown-service", "the fleet file has just been changed")],
    };
    of_service(name, move |service| Event::ReadyChecked { service, blockers })
}

async fn notify(
    host: Arc<Host>,
    key: String,
    channel: String,
    message: Message,
) -> impl FnOnce(&Kernel) -> Vec<Event> + Send {
    let result = host.send(&channel, message, key.clone()).await;
    move |_: &Kernel| vec![Event::Sent { key, channel, result }]
}

fn outcome_name(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done(_) => "done",
        StepOutcome::Failed(_) => "failed",
        StepOutcome::Unknown(_) => "unknown",
    }
}

/// A declared command's arguments by name; the last of two with the same name counts.
pub(super) fn arguments(facts: Vec<tidegate_kernel::contract::Fact>) -> BTreeMap<String, String> {
    facts.into_iter().map(|fact| (fact.key, fact.value)).collect()
}
