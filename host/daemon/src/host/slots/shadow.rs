//! A candidate that decides beside the active policy, on the same questions, and of whose word nothing comes.
//!
//! It has an engine, a thread, a memo and a budget of its own. What the active policy was asked is offered to it and never waits
//! for it: while it is behind, questions are skipped and counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tidegate_engine::{Answer, Engine, EngineConfig, PolicySlot, Question, RevisionSpec};
use tidegate_kernel::contract::{Decision, Reason, Timestamp, Verdict};
use tidegate_kernel::event::{Answered, Revision};
use tokio::sync::mpsc;

/// Questions that may wait for it.
const WAITING: usize = 32;
/// Differences that are kept to be looked at.
const KEPT: usize = 50;
/// As for the active policy.
const MEMO_MAX: usize = 4_096;

/// A shadow at work; it ends with this.
pub(super) struct Shadow {
    offers: mpsc::Sender<Offer>,
    tally: Arc<Mutex<Tally>>,
    /// Its threads end with it.
    _engine: Engine,
}

/// What the active policy was asked and said.
struct Offer {
    question: Arc<Question>,
    active: Answered,
}

/// What a shadow showed so far.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// The candidate's digest.
    pub digest: String,
    /// Number of the active revision that it is held against; the counts begin anew with each one.
    pub against: u64,
    /// Questions that both answered.
    pub decisions: u64,
    /// … with another verdict.
    pub different: u64,
    /// `different` of `decisions`; 0 where there is none yet.
    pub divergence: f64,
    /// … with the same verdict and another analysis.
    pub other_analysis: u64,
    /// Questions to which it gave no decision.
    pub faults: u64,
    /// Questions that it was too busy for.
    pub skipped: u64,
    /// Questions that it could only have answered with more than the active policy was shown.
    pub cannot_tell: u64,
    /// Microseconds that its decisions took, all together, and the active policy's.
    pub took_us: (u64, u64),
    /// Units of work, all together, and the active policy's.
    pub fuel: (u64, u64),
    /// The newest differences, the newest last.
    pub differences: VecDeque<Difference>,
}

/// One question on which they do not agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// The question's time.
    pub at: Timestamp,
    /// Of which service.
    pub service: String,
    /// What the active policy says.
    pub active: Said,
    /// What the candidate says.
    pub shadow: Said,
}

/// A verdict and why; or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// The verdict's name, with where it moves to.
    pub verdict: String,
    /// The analysis' code.
    pub analysis: String,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl Shadow {
    /// Starts an engine for it, and has it wait for the first question.
    pub(super) async fn start(spec: RevisionSpec, against: u64, config: EngineConfig) -> anyhow::Result<Self> {
        let engine = Engine::start(EngineConfig { policy_workers: 1, ..config }).await?;
        let slot = PolicySlot::install(engine.stage(spec).await?)?;
        let tally = Tally { digest: slot.revision().digest.clone(), against, ..Tally::default() };
        let tally = Arc::new(Mutex::new(tally));
        let (offers, waiting) = mpsc::channel(WAITING);
        tokio::spawn(follow(slot, waiting, tally.clone()));
        Ok(Shadow { offers, tally, _engine: engine })
    }

    /// Offers a question that the active policy has answered; never waits.
    pub(super) fn offer(&self, question: Arc<Question>, active: &Answered) {
        self.with(|tally| tally.hold_against(&active.revision));
        if self.offers.try_send(Offer { question, active: active.clone() }).is_err() {
            self.with(|tally| tally.skipped += 1);
        }
    }

    /// What it showed so far.
    pub(super) fn tally(&self) -> Tally {
        self.with(|tally| tally.clone())
    }

    fn with<R>(&self, look: impl FnOnce(&mut Tally) -> R) -> R {
        look(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers what is offered, in turn, until nobody offers any more.
async fn follow(slot: PolicySlot, mut waiting: mpsc::Receiver<Offer>, tally: Arc<Mutex<Tally>>) {
    let mut memos: HashMap<String, String> = HashMap::new();
    while let Some(Offer { question, active }) = waiting.recv().await {
        let mut own = (*question).clone();
        own.memo_format = slot.revision().manifest.memo_format.clone();
        let service = own.situation.service.clone();
        own.situation.memo = memos.get(&service).cloned().unwrap_or_default();
        let own = Arc::new(own);
        let decided = slot.decide(own.clone()).await;
        if let Ok(Decision { memo, .. }) = &decided.result {
            let fits = memo.len() <= MEMO_MAX;
            memos.insert(service, if fits { memo.clone() } else { String::new() });
        }
        let unknown = decided.answers.iter().any(|answer| !is_known(&own, answer));
        let shadow = slot.answered(decided);
        tally.lock().unwrap_or_else(PoisonError::into_inner).count(&own, &active, &shadow, unknown);
    }
}

/// The question itself holds what was read, as it does for the active policy.
fn is_known(question: &Question, answer: &Answer) -> bool {
    let (situation, picture) = (&question.situation, &question.picture);
    let argument = |at: usize| answer.arguments.get(at).map_or("", String::as_str);
    match answer.capability.as_str() {
        "replication.topology" => question.topology(argument(0)).is_ok(),
        "dns.resolve" => question.resolve(argument(0)).is_ok(),
        _ => {
            let own = argument(0) == situation.service && situation.sites.iter().any(|view| view.site == argument(1));
            own || picture.health.get(argument(0)).is_some_and(|sites| sites.contains_key(argument(1)))
        }
    }
}

impl Tally {
    /// Another active revision: what was counted says nothing of it.
    fn hold_against(&mut self, active: &Revision) {
        if self.against != active.number {
            *self = Tally { digest: std::mem::take(&mut self.digest), against: active.number, ..Tally::default() };
        }
    }

    fn count(&mut self, question: &Question, active: &Answered, shadow: &Answered, unknown: bool) {
        if active.revision.number != self.against {
            return;
        }
        if unknown {
            self.cannot_tell += 1;
            return;
        }
        self.took_us = (self.took_us.0 + shadow.took_us, self.took_us.1 + active.took_us);
        self.fuel = (self.fuel.0 + shadow.fuel, self.fuel.1 + active.fuel);
        self.faults += u64::from(shadow.result.is_err());
        let (is, was) = (Said::of(&shadow.result), Said::of(&active.result));
        if let (Ok(_), Ok(_)) = (&shadow.result, &active.result) {
            self.decisions += 1;
            self.different += u64::from(is.verdict != was.verdict);
            self.other_analysis += u64::from(is.verdict == was.verdict && is.analysis != was.analysis);
            self.divergence = self.different as f64 / self.decisions as f64;
        }
        if is.verdict != was.verdict {
            if self.differences.len() == KEPT {
                self.differences.pop_front();
            }
            let (at, service) = (question.situation.now, question.situation.service.clone());
            self.differences.push_back(Difference { at, service, active: was, shadow: is });
        }
    }
}

impl Said {
    fn of(result: &Result<Decision, String>) -> Said {
        match result {
            Ok(decision) => Said {
                verdict: words(&decision.verdict),
                analysis: decision.analysis.clone(),
                reasons: decision.reasons.clone(),
            },
            Err(fault) => Said { verdict: fault.clone(), analysis: String::new(), reasons: Vec::new() },
        }
    }
}

/// The verdict's name, and where it leads: two with the same words come to the same.
fn words(verdict: &Verdict) -> String {
    let name = verdict.name();
    match verdict {
        Verdict::FailOver(to) | Verdict::SwitchOver(to) | Verdict::FailBack(to) => format!("{name} to {}", to.to_site),
        Verdict::Rebalance(shares) => {
            let shares: Vec<String> =
                shares.iter().map(|share| format!("{} {} %", share.site, share.per_cent)).collect();
            format!("{name} to {}", shares.join(", "))
        }
        _ => name.to_owned(),
    }
}

/// What a promotion asks of a shadow: `divergence<=0.01,decisions>=1000,faults<=0`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirement {
    divergence: Option<f64>,
    decisions: Option<u64>,
    faults: Option<u64>,
}

impl std::str::FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = "there are: divergence<=X, decisions>=N, faults<=N, with commas between";
        let mut requirement = Requirement::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || format!("`{part}` is no requirement; {known}");
            if let Some(most) = part.strip_prefix("divergence<=") {
                let most: f64 = most.trim().parse().map_err(|_| wrong())?;
                requirement.divergence = Some(Some(most).filter(|most| (0.0..=1.0).contains(most)).ok_or_else(wrong)?);
            } else if let Some(least) = part.strip_prefix("decisions>=") {
                requirement.decisions = Some(least.trim().parse().map_err(|_| wrong())?);
            } else if let Some(most) = part.strip_prefix("faults<=") {
                requirement.faults = Some(most.trim().parse().map_err(|_| wrong())?);
            } else {
                return Err(wrong());
            }
        }
        Ok(requirement)
    }
}

impl Requirement {
    /// What of it is not met.
    pub fn unmet(&self, tally: &Tally) -> Vec<Reason> {
        let mut unmet = Vec::new();
        if let Some(least) = self.decisions.filter(|least| tally.decisions < *least) {
            let text = format!("{} decisions were compared, and {least} are asked for", tally.decisions);
            unmet.push(Reason::new("too-few-decisions", text));
        }
        if let Some(most) = self.divergence.filter(|most| tally.divergence > *most) {
            let Tally { divergence, different, decisions, .. } = tally;
            let text = format!("{different} of {decisions} verdicts differ ({divergence:.4}), and {most} is allowed");
            unmet.push(Reason::new("divergence", text));
        }
        if let Some(most) = self.faults.filter(|most| tally.faults > *most) {
            let text = format!("{} questions ended in a fault, and {most} may", tally.faults);
            unmet.push(Reason::new("faults", text));
        }
        unmet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_read_strictly() {
        let read: Requirement = "divergence<=0.01, decisions>=1000".parse().unwrap();
        assert_eq!(read, Requirement { divergence: Some(0.01), decisions: Some(1_000), faults: None });
        for wrong in ["divergence<0.01", "divergence<=2", "decisions>=many", "luck>=1"] {
            let told = wrong.parse::<Requirement>().unwrap_err();
            assert!(told.contains(wrong) && told.contains("faults<=N"), "{told}");
        }
    }

    #[test]
    fn what_is_not_met_is_said_with_its_figures() {
        let tally = Tally { decisions: 200, different: 4, divergence: 0.02, faults: 1, ..Tally::default() };
        let unmet = |text: &str| {
            let requirement: Requirement = text.parse().unwrap();
            requirement.unmet(&tally).into_iter().map(|reason| reason.code).collect::<Vec<_>>()
        };
        assert!(unmet("divergence<=0.02,decisions>=200,faults<=1").is_empty());
        assert_eq!(unmet("divergence<=0.01,decisions>=201,faults<=0"), ["too-few-decisions", "divergence", "faults"]);
        assert!(unmet("").is_empty());
    }
}
