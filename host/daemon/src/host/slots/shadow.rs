//! A candidate that decides beside the active policy, on the same questions, and of whose word nothing comes.
//!
//! It has an engine, a thread, a memo and a budget of its own. What the active policy was asked is offered to it and never waits
//! for it: while it is behind, questions are skipped and counted.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tidegate_engine::{Answer, Engine, EngineConfig, PolicySlot, Question, Staged};
use tidegate_kernel::contract::{Decision, Reason, Timestamp};
use tidegate_kernel::event::Answered;
use tokio::sync::mpsc;

use super::spec::Wanted;
use crate::said::{self, Said};

/// Questions that may wait for it.
const WAITING: usize = 32;
/// Differences that are kept to be looked at.
const KEPT: usize = 50;

/// A shadow at work; it ends with this. Cheap to drop, as the last to hold it may be a decision of the active policy.
pub(super) struct Shadow {
    offers: mpsc::Sender<Offer>,
    tally: Arc<Mutex<Tally>>,
    /// What decides, made ready for the slot itself: a promotion puts this into service and nothing else.
    ready: Mutex<Option<(Wanted, Staged)>>,
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

impl Shadow {
    /// Starts an engine for it, and has it wait for the first question.
    pub(super) async fn start(name: &str, ready: (Wanted, Staged), against: u64) -> anyhow::Result<Self> {
        let engine = Engine::start(EngineConfig { policy_workers: 1, ..EngineConfig::default() }).await?;
        let slot = PolicySlot::install(engine.stage(ready.0.spec(name)?).await?)?;
        let tally = Tally { digest: slot.revision().digest.clone(), against, ..Tally::default() };
        let tally = Arc::new(Mutex::new(tally));
        let (offers, waiting) = mpsc::channel(WAITING);
        tokio::spawn(follow(engine, slot, waiting, tally.clone()));
        Ok(Shadow { offers, tally, ready: Mutex::new(Some(ready)) })
    }

    /// Offers a question that the active policy has answered; never waits.
    pub(super) fn offer(&self, question: Arc<Question>, active: &Answered) {
        self.with(|tally| tally.hold_against(active.revision.number));
        if self.offers.try_send(Offer { question, active: active.clone() }).is_err() {
            self.with(|tally| tally.skipped += 1);
        }
    }

    /// What it showed so far beside that active revision.
    pub(super) fn tally(&self, active: u64) -> Tally {
        self.with(|tally| {
            tally.hold_against(active);
            tally.clone()
        })
    }

    /// What is to take the active revision's place; only once.
    pub(super) fn take(&self) -> Option<(Wanted, Staged)> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn with<R>(&self, look: impl FnOnce(&mut Tally) -> R) -> R {
        look(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers what is offered, in turn, until nobody offers any more.
async fn follow(engine: Engine, slot: PolicySlot, mut waiting: mpsc::Receiver<Offer>, tally: Arc<Mutex<Tally>>) {
    let mut memos: HashMap<String, String> = HashMap::new();
    while let Some(Offer { question, active }) = waiting.recv().await {
        if waiting.is_closed() {
            // It has been ended: nobody will ask what it would have said.
            break;
        }
        let mut own = (*question).clone();
        own.memo_format = slot.revision().manifest.memo_format.clone();
        let service = own.situation.service.clone();
        Arc::make_mut(&mut own.situation).memo = memos.get(&service).cloned().unwrap_or_default();
        let own = Arc::new(own);
        let decided = slot.decide(own.clone()).await;
        memos.insert(service, said::remembered(&decided.result).to_owned());
        let unknown = decided.answers.iter().any(|answer| !is_known(&own, answer));
        let shadow = slot.answered(decided);
        tally.lock().unwrap_or_else(PoisonError::into_inner).count(&own, &active, &shadow, unknown);
    }
    // Its thread is waited for, and its memory unmapped, where nobody else waits.
    drop(tokio::task::spawn_blocking(move || drop((slot, engine))));
}

/// The question itself holds what was read, as it does for the active policy.
pub(super) fn is_known(question: &Question, answer: &Answer) -> bool {
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
    /// A newer active revision: what was counted says nothing of it. An answer of an older one comes too late to count.
    fn hold_against(&mut self, active: u64) {
        if self.against < active {
            *self = Tally { digest: std::mem::take(&mut self.digest), against: active, ..Tally::default() };
        }
    }

    /// What came of the questions, by name.
    pub(super) fn results(&self) -> [(&'static str, u64); 5] {
        [
            ("same", self.decisions - self.different),
            ("different", self.different),
            ("fault", self.faults),
            ("skipped", self.skipped),
            ("cannot-tell", self.cannot_tell),
        ]
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
        let differs = match (&shadow.result, &active.result) {
            (Ok(is), Ok(was)) => self.compare(is, was),
            (is, was) => is.is_err() != was.is_err(),
        };
        if differs {
            if self.differences.len() == KEPT {
                self.differences.pop_front();
            }
            let (at, service) = (question.situation.now, question.situation.service.clone());
            let (active, shadow) = (Said::of(&active.result), Said::of(&shadow.result));
            self.differences.push_back(Difference { at, service, active, shadow });
        }
    }

    fn compare(&mut self, is: &Decision, was: &Decision) -> bool {
        let same = said::same(&is.verdict, &was.verdict);
        self.decisions += 1;
        self.different += u64::from(!same);
        self.other_analysis += u64::from(same && is.analysis != was.analysis);
        self.divergence = self.different as f64 / self.decisions as f64;
        !same
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
        if self.divergence.is_some() && tally.decisions == 0 {
            unmet
                .push(Reason::new("nothing-compared", "no decision was compared yet, so nobody knows how they differ"));
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
    use tidegate_kernel::fleet::Slot;

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

    #[test]
    fn where_nothing_was_compared_no_bound_of_divergence_is_met() {
        let requirement: Requirement = "divergence<=1".parse().unwrap();
        let unmet = requirement.unmet(&Tally::default());
        assert_eq!(unmet.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), ["nothing-compared"]);
    }

    #[test]
    fn a_newer_active_revision_begins_anew_and_an_older_one_comes_too_late() {
        let mut tally = Tally { digest: "d".into(), against: 3, decisions: 7, ..Tally::default() };
        tally.hold_against(2);
        assert_eq!((tally.against, tally.decisions), (3, 7));
        tally.hold_against(4);
        assert_eq!((tally.digest.as_str(), tally.against, tally.decisions), ("d", 4, 0));
    }

    /// One thread, and no wait while the questions are offered: whatever is offered beyond the room is skipped at once, whatever
    /// the shadow does meanwhile. Were an offer ever to wait for it, this would never end.
    #[tokio::test]
    async fn an_offer_never_waits_for_a_shadow_that_is_behind() {
        let engine = Engine::start(EngineConfig { policy_workers: 1, ..EngineConfig::default() }).await.unwrap();
        let bytes = bytes::Bytes::from_static(tidegate_test_guests::hostile_policy());
        let slot = Slot {
            plugin: "file:guest.wasm".into(),
            digest: None,
            settings: serde_json::json!({ "do": "loop-when-lost" }),
            grants: Vec::new(),
            limits: serde_json::json!({}),
        };
        let wanted = Wanted {
            declared: Vec::new(),
            limits: serde_json::json!({}),
            digest: tidegate_engine::inspect::digest(&bytes),
            slot,
            bytes,
        };
        let staged = engine.stage(wanted.spec("failover/default").unwrap()).await.unwrap();
        let shadow = Shadow::start("failover/default", (wanted, staged), 1).await.unwrap();
        let mut situation = tidegate_engine::neutral::situation();
        situation.sites[0].consensus.status = tidegate_kernel::contract::Status::Unhealthy;
        let question = Arc::new(Question::new(situation));
        let active = answered_by(1);
        for _ in 0..1_000 {
            shadow.offer(question.clone(), &active);
        }
        let at_once = shadow.tally(1);
        assert_eq!((at_once.skipped, at_once.faults), (1_000 - WAITING as u64, 0));
        while shadow.tally(1).faults < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shadow.tally(1).skipped, 1_000 - WAITING as u64);
    }

    fn answered_by(number: u64) -> Answered {
        let empty = String::new;
        let (digest, settings, name, version, memo_format) = (empty(), empty(), empty(), empty(), empty());
        let revision = tidegate_kernel::event::Revision { number, digest, settings, name, version, memo_format };
        let result = Err("nothing that matters here".to_owned());
        Answered { revision, settings: empty(), result, reads: Vec::new(), fuel: 0, took_us: 0 }
    }
}
