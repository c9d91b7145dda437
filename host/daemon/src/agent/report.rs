//! Tells the host what was seen: at once what is bad or has changed, everything else within half a second.
//!
//! While the host is away the newest looks are kept; each is bounded by the heartbeat that it began after, so that none
//! passes for newer than it is.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tidegate_kernel::contract::Outcome;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::Agent;
use super::backoff::Backoff;
use super::link::Link;
use crate::agents::lock;
use crate::agents::protocol::{Heard, Look, Report};
use crate::prober::Seen;
use crate::prober::control::Control;

/// At least that often the host hears of this agent, and it of the host.
const EVERY: Duration = Duration::from_millis(500);
/// A thousand bad looks are no reason for a thousand reports.
const APART: Duration = Duration::from_millis(10);
/// After which the connection counts as lost.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks kept while the host is away; the oldest go first.
const BACKLOG_MAX: usize = 16_384;
/// Looks in one report.
const REPORT_MAX: usize = 4_096;

/// Reports as long as the agent lives.
pub(super) async fn run(agent: Arc<Agent>, mut seen: mpsc::Receiver<Seen>) -> Infallible {
    let (mut backlog, mut backoff) = (Backlog::default(), Backoff::default());
    let mut link = Link::new(agent.address.clone(), "reports");
    let mut post = Watchman::new(agent.clone());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut earliest = Instant::now();
    loop {
        let mut looks = Vec::new();
        let urgent = tokio::select! {
            _ = seen.recv_many(&mut looks, BACKLOG_MAX) => backlog.add(looks),
            () = post.changed() => true,
            _ = ticks.tick() => true,
        };
        if !urgent {
            continue;
        }
        sleep_until(earliest).await;
        earliest = Instant::now() + APART;
        let mut looks = Vec::new();
        while let Ok(look) = seen.try_recv() {
            looks.push(look);
        }
        backlog.add(looks);
        match report(&agent, &mut link, &backlog, post.sound()).await {
            Ok(taken) => {
                backlog.taken(taken);
                backoff.reset();
            }
            Err(_) => backoff.wait().await,
        }
    }
}

/// One report. Says how many looks it took along.
async fn report(agent: &Agent, link: &mut Link, backlog: &Backlog, sound: bool) -> Result<usize> {
    let applied = agent.applied();
    let (chain, rewritten) = lock(&agent.chain).told();
    let report = Report {
        heartbeat: *agent.heard.borrow(),
        sound,
        first: backlog.first,
        looks: backlog.looks.iter().take(REPORT_MAX).cloned().collect(),
        plan: applied.version,
        problems: applied.problems,
        missing: agent.missing.borrow().clone(),
        chain,
        rewritten,
        counters: agent.prober.counters(),
    };
    let answer = link.post("report", serde_json::to_vec(&report)?, PATIENCE).await?;
    let heard: Heard =
        serde_json::from_slice(&answer).context("the host's answer to a report is of another version")?;
    agent.heard.send_replace(heard.heartbeat);
    if let Some(head) = heard.chain {
        lock(&agent.chain).show(head);
    }
    Ok(report.looks.len())
}

/// The control targets of the plan that is in force; without a plan the agent does not know whether it is cut off.
struct Watchman {
    agent: Arc<Agent>,
    targets: Option<Vec<String>>,
    control: Option<Control>,
}

impl Watchman {
    fn new(agent: Arc<Agent>) -> Watchman {
        Watchman { agent, targets: None, control: None }
    }

    /// When the soundness changes; without control targets, never.
    async fn changed(&mut self) {
        let changed = match &mut self.control {
            Some(control) => control.changed().await,
            None => false,
        };
        if !changed {
            std::future::pending().await
        }
    }

    fn sound(&mut self) -> bool {
        let applied = self.agent.applied();
        let targets = applied.version.map(|_| applied.control_targets);
        if targets != self.targets {
            // Other targets say nothing new until the first round: a new fleet file blinds nobody.
            let until_then = self.control.as_ref().is_some_and(Control::sound);
            self.control = targets.clone().map(|targets| Control::start(targets, until_then));
            self.targets = targets;
        }
        self.control.as_ref().is_some_and(Control::sound)
    }
}

/// Looks that the host has not taken yet.
#[derive(Default)]
struct Backlog {
    /// Number of the first of them in this session.
    first: u64,
    looks: VecDeque<Look>,
    last: HashMap<(Arc<str>, Arc<str>), Outcome>,
}

impl Backlog {
    /// Whether one of them should be told at once.
    fn add(&mut self, looks: Vec<Seen>) -> bool {
        let mut urgent = false;
        for seen in looks {
            let before = self.last.insert((seen.service.clone(), seen.site.clone()), seen.outcome);
            urgent |= !seen.outcome.is_good() || before != Some(seen.outcome);
            self.looks.push_back(Look::from(seen));
        }
        let too_many = self.looks.len().saturating_sub(BACKLOG_MAX);
        self.taken(too_many);
        urgent
    }

    fn taken(&mut self, count: usize) {
        self.looks.drain(..count);
        self.first += count as u64;
    }
}

impl From<Seen> for Look {
    fn from(seen: Seen) -> Self {
        Look {
            service: seen.service.to_string(),
            site: seen.site.to_string(),
            outcome: seen.outcome,
            latency: seen.latency,
            detail: seen.detail,
            heartbeat: seen.heartbeat,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::protocol::Heartbeat;

    fn seen(outcome: Outcome) -> Seen {
        Seen {
            service: "shop".into(),
            site: "west".into(),
            outcome,
            latency: None,
            detail: String::new(),
            heartbeat: Heartbeat::default(),
        }
    }

    #[test]
    fn hurries_with_what_is_bad_or_new_and_with_nothing_else() {
        let mut backlog = Backlog::default();
        for (outcome, urgent) in [
            (Outcome::Ok, true),
            (Outcome::Ok, false),
            (Outcome::Refused, true),
            (Outcome::Refused, true),
            (Outcome::Ok, true),
            (Outcome::Ok, false),
            (Outcome::Slow, true),
        ] {
            assert_eq!(backlog.add(vec![seen(outcome)]), urgent, "{outcome}");
        }
    }

    #[test]
    fn keeps_the_newest_looks_while_nobody_takes_them() {
        let mut backlog = Backlog::default();
        backlog.add(vec![seen(Outcome::Ok); BACKLOG_MAX]);
        backlog.add(vec![seen(Outcome::Refused); 3]);
        assert_eq!((backlog.first, backlog.looks.len()), (3, BACKLOG_MAX));
        assert_eq!(backlog.looks.back().map(|look| look.outcome), Some(Outcome::Refused));
    }
}
