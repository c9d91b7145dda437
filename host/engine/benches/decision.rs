//! What a decision and a swap cost: the real contract, the built-in policy, a fresh instance with every limit armed,
//! beside the same policy called natively in the same process. Prints one JSON object for each figure.
//!
//! Knows no goal: whoever reads the figures compares them.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use failover_quorum::{FailoverQuorum, decide::decide as native};
use serde_json::json;
use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tidegate_engine::{Engine, EngineConfig, PolicySlot, PolicyWorker, Question, RevisionSpec};
use tidegate_kernel::contract as plain;
use tidegate_sdk as sdk;

const ROUNDS: usize = 20;
const PER_ROUND: usize = 500;
const SWAPS: usize = 20;

#[path = "../tests/engine/situation.rs"]
mod situation;

#[tokio::main]
async fn main() {
    let home = tempfile::tempdir().unwrap();
    let config =
        EngineConfig { policy_workers: 2, cache: Some(home.path().join("compiled")), ..EngineConfig::default() };
    let engine = Engine::start(config).await.unwrap();
    let slot = Arc::new(PolicySlot::install(engine.stage(spec(0)).await.unwrap()).unwrap());
    let question = Arc::new(Question::new(situation::situation()));
    decisions(&engine, &slot, &question);
    throughput(&engine, &slot, &question);
    swaps(&engine, &slot, &question).await;
    beside_a_shadow(&slot, &question).await;
}

/// Each with settings of its own, so that each is another revision.
fn spec(number: usize) -> RevisionSpec {
    RevisionSpec {
        slot: "failover/bench".into(),
        source: "failover-quorum".into(),
        bytes: tidegate_test_guests::failover_quorum().to_vec(),
        settings: json!({ "bad-looks": 2 + number % 2 }),
        cases: vec![situation::situation()],
        ..RevisionSpec::default()
    }
}

fn decisions(engine: &Engine, slot: &PolicySlot, question: &Arc<Question>) {
    let worker = &engine.workers()[0];
    let settings = FailoverQuorum::default();
    let same = translated(&question.situation);
    let guest = slot.decide_on(worker, question).result.unwrap();
    let host = native(&settings, &same).unwrap();
    assert_eq!((guest.analysis.as_str(), guest.reasons.len()), (host.analysis.as_str(), host.reasons.len()));
    let (mut fresh, mut called) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        fresh.push(median(PER_ROUND, || drop(black_box(slot.decide_on(worker, question)))));
        called.push(median(PER_ROUND, || drop(black_box(native(&settings, black_box(&same))))));
    }
    let ratio = middle(&mut fresh.clone()) / middle(&mut called.clone());
    figure("decision-native", "us", &mut called, None);
    figure("decision", "us", &mut fresh, Some(ratio));
}

/// Half a second of decisions on one thread and on two, each thread with a worker of its own.
fn throughput(engine: &Engine, slot: &Arc<PolicySlot>, question: &Arc<Question>) {
    let workers = engine.workers();
    let rate = |workers: &[PolicyWorker]| -> f64 {
        let each = |worker: &PolicyWorker| {
            let (worker, slot, question) = (worker.clone(), slot.clone(), question.clone());
            std::thread::spawn(move || count(&slot, &worker, &question, Duration::from_millis(500)))
        };
        let threads: Vec<_> = workers.iter().map(each).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    };
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        one.push(rate(&workers[..1]));
        two.push(rate(&workers[..2]));
    }
    let ratio = middle(&mut two.clone()) / middle(&mut one.clone());
    figure("decisions-one-thread", "1/s", &mut one, None);
    figure("decisions-two-threads", "1/s", &mut two, Some(ratio));
}

fn count(slot: &PolicySlot, worker: &PolicyWorker, question: &Arc<Question>, span: Duration) -> f64 {
    let started = Instant::now();
    let mut decided = 0.0;
    while started.elapsed() < span {
        black_box(slot.decide_on(worker, question));
        decided += 1.0;
    }
    decided / started.elapsed().as_secs_f64()
}

/// The active policy as a host asks it, alone and while a candidate decides without pause: it has an engine of its own, as a shadow
/// in a host has.
async fn beside_a_shadow(slot: &Arc<PolicySlot>, question: &Arc<Question>) {
    let engine = Engine::start(EngineConfig { policy_workers: 1, ..EngineConfig::default() }).await.unwrap();
    let shadow = PolicySlot::install(engine.stage(spec(1)).await.unwrap()).unwrap();
    let (done, worker) = (Arc::new(AtomicBool::new(false)), engine.workers().remove(0));
    asked("decision-alone", slot, question).await;
    let busy = {
        let (done, question) = (done.clone(), question.clone());
        std::thread::spawn(move || {
            while !done.load(Ordering::SeqCst) {
                black_box(shadow.decide_on(&worker, &question));
            }
        })
    };
    asked("decision-beside-a-shadow", slot, question).await;
    done.store(true, Ordering::SeqCst);
    busy.join().unwrap();
}

/// Half and all but one in a hundred of the answers were there by then, the way to the worker and back included.
async fn asked(name: &str, slot: &PolicySlot, question: &Arc<Question>) {
    let (mut half, mut most) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut times = Vec::with_capacity(PER_ROUND);
        for _ in 0..PER_ROUND {
            let started = Instant::now();
            black_box(slot.decide(question.clone()).await);
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        half.push(middle(&mut times));
        most.push(times[PER_ROUND - 1 - PER_ROUND / 100]);
    }
    figure(&format!("{name}-p50"), "us", &mut half, None);
    figure(&format!("{name}-p99"), "us", &mut most, None);
}

/// One thread decides without pause while revisions are staged from the cache and swapped in.
async fn swaps(engine: &Engine, slot: &Arc<PolicySlot>, question: &Arc<Question>) {
    drop(engine.stage(spec(1)).await.unwrap());
    let done = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let thread = {
        let (slot, question, worker) = (slot.clone(), question.clone(), engine.workers().remove(0));
        let (done, acknowledged) = (done.clone(), acknowledged.clone());
        std::thread::spawn(move || watch(&slot, &worker, &question, &done, &acknowledged))
    };
    let mut ready = Vec::new();
    for number in 0..SWAPS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        let staged = engine.stage(spec(number)).await.unwrap();
        ready.push(started.elapsed().as_secs_f64() * 1e3);
        let swapped = slot.swap(staged).await.unwrap();
        acknowledged.store(swapped.to, Ordering::SeqCst);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    done.store(true, Ordering::SeqCst);
    let (mut gaps, mut first, stale) = thread.join().unwrap();
    figure("swap-longest-gap", "us", &mut gaps, None);
    figure("swap-first-decision", "us", &mut first, None);
    figure("swap-ready-from-cache", "ms", &mut ready, None);
    figure("swap-stale-decisions", "1", &mut [stale], None);
}

/// The longest time between two decisions around each swap, the first decision of each revision, and how many
/// decisions of an old one counted.
fn watch(
    slot: &PolicySlot,
    worker: &PolicyWorker,
    question: &Arc<Question>,
    done: &AtomicBool,
    acknowledged: &AtomicU64,
) -> (Vec<f64>, Vec<f64>, f64) {
    let (mut gaps, mut first, mut stale) = (Vec::new(), Vec::new(), 0.0);
    let (mut revision, mut longest, mut last) = (slot.revision().number, 0.0_f64, Instant::now());
    while !done.load(Ordering::SeqCst) {
        let before = acknowledged.load(Ordering::SeqCst);
        let decided = slot.decide_on(worker, question);
        decided.result.unwrap();
        let now = Instant::now();
        longest = longest.max((now - last).as_secs_f64() * 1e6);
        last = now;
        stale += if decided.revision < before { 1.0 } else { 0.0 };
        if decided.revision != revision {
            gaps.push(longest);
            first.push(decided.took as f64 / 1e3);
            (revision, longest) = (decided.revision, 0.0);
        }
    }
    (gaps, first, stale)
}

/// In microseconds.
fn median(n: usize, mut once: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..n)
        .map(|_| {
            let started = Instant::now();
            once();
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    middle(&mut times)
}

fn middle(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn figure(name: &str, unit: &str, values: &mut [f64], ratio: Option<f64>) {
    let median = middle(values);
    let (min, max) = (values[0], values[values.len() - 1]);
    println!(
        "{}",
        json!({ "name": name, "unit": unit, "median": median, "min": min, "max": max, "n": values.len(), "ratio": ratio })
    );
}

/// The same situation in the plugin's own types.
fn translated(from: &plain::Situation) -> sdk::Situation {
    from.sites
        .iter()
        .fold(sdk::Situation::builder(&from.service), |builder, view| builder.site(site(view)))
        .with(|to| {
            to.now = from.now;
            to.objectives.rto = from.objectives.rto;
            to.objectives.rpo = from.objectives.rpo;
            to.objectives.mtpd = from.objectives.mtpd;
            to.active_site.clone_from(&from.active_site);
            to.preferred_site.clone_from(&from.preferred_site);
            to.state_held = from.state_held;
            to.memo.clone_from(&from.memo);
            to.cluster = from.cluster.as_ref().map(cluster);
            to.vantages = from.vantages.iter().map(vantage).collect();
        })
        .build()
}

fn vantage(from: &plain::VantageView) -> sdk::VantageView {
    sdk::VantageView {
        name: from.name.clone(),
        failure_domain: from.failure_domain.clone(),
        sound: from.sound,
        fresh: from.fresh,
    }
}

fn site(from: &plain::SiteView) -> sdk::SiteView {
    let status =
        if from.consensus.status == plain::Status::Healthy { sdk::Status::Healthy } else { sdk::Status::Unhealthy };
    let mut to = sdk::SiteView::seen(&from.site, status, from.consensus.agreeing, from.consensus.held);
    to.consensus.voting = from.consensus.voting;
    to.consensus.expected = from.consensus.expected;
    to.rank = from.rank;
    to.capacity = from.capacity;
    to.share = from.share;
    to.services_unhealthy = from.services_unhealthy;
    to.services_total = from.services_total;
    to.observations = from.observations.iter().map(observation).collect();
    to
}

fn observation(from: &plain::Observation) -> sdk::Observation {
    sdk::Observation {
        vantage: from.vantage.clone(),
        outcome: if from.outcome == plain::Outcome::Ok { sdk::Outcome::Ok } else { sdk::Outcome::TimedOut },
        latency: from.latency,
        age: from.age,
        consecutive: from.consecutive,
        good: from.good,
        bad: from.bad,
        detail: from.detail.clone(),
    }
}

fn cluster(from: &plain::Cluster) -> sdk::Cluster {
    sdk::Cluster {
        name: from.name.clone(),
        published: None,
        nodes: from.nodes.iter().map(node).collect(),
        facts: from.facts.iter().map(fact).collect(),
    }
}

fn node(from: &plain::Node) -> sdk::Node {
    sdk::Node {
        id: from.id.clone(),
        site: from.site.clone(),
        role: role(from.role),
        seen_by: from.seen_by.iter().map(sighting).collect(),
        writable: from.writable,
        fenced: None,
        identity: from.identity.clone(),
        timeline: from.timeline,
        forked_at: from.forked_at,
        received: from.received,
        replayed: from.replayed,
        lag_bytes: from.lag_bytes,
        lag_at_contact: from.lag_at_contact,
        contact_age: from.contact_age,
        upstream: from.upstream.clone(),
        upstream_heard: from.upstream_heard,
        priority: from.priority,
        facts: from.facts.iter().map(fact).collect(),
    }
}

fn role(from: plain::Role) -> sdk::Role {
    match from {
        plain::Role::Primary => sdk::Role::Primary,
        plain::Role::Replica => sdk::Role::Replica,
        plain::Role::Unknown => sdk::Role::Unknown,
    }
}

fn sighting(from: &plain::Sighting) -> sdk::Sighting {
    sdk::Sighting {
        vantage: from.vantage.clone(),
        reached: from.reached,
        attempt_age: from.attempt_age,
        success_age: from.success_age,
    }
}

fn fact(from: &plain::Fact) -> sdk::Fact {
    sdk::Fact { key: from.key.clone(), value: from.value.clone() }
}
