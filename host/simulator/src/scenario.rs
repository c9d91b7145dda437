//! Scenarios: a readable file that says what breaks when, and what must and must not happen by when.
//!
//! Reads and checks the file, and judges a run by it. Knows no file system: whoever reads the files brings their text.

mod document;
mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate_kernel::contract::{Millis, State};
use tidegate_kernel::fleet::{Fleet, Problem};

use crate::decide::Decider;
use crate::simulation::{Ended, Script, Seen, Simulation};

/// A scenario, checked against its fleet.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it was read.
    pub file: PathBuf,
    /// In one line.
    pub title: String,
    /// Where it happened for real, if it did.
    pub source: Option<String>,
    /// Whose fleet it is.
    pub fleet: Fleet,
    /// What is to happen.
    pub script: Script,
    /// Decides what chance decides.
    pub seed: u64,
    /// Given to the policy instead of those in the fleet file.
    pub settings: Option<serde_json::Value>,
    must: Vec<Expectation>,
    must_not: Vec<Expectation>,
    at_most: AtMost,
}

/// What is to be so, and when. All that is named has to hold in the same moment.
#[derive(Clone, Debug, Default)]
struct Expectation {
    line: u32,
    from: Millis,
    to: Option<Millis>,
    service: Option<String>,
    active: Option<String>,
    state: Option<State>,
    verdict: Option<String>,
    analysis: Option<String>,
    reason: Option<String>,
    told: Option<String>,
    primary: Option<String>,
    run: Option<bool>,
    asks: Option<bool>,
    frozen: Option<bool>,
    braked: Option<bool>,
}

/// What may be gone without at most.
#[derive(Clone, Debug, Default)]
struct AtMost {
    lost_writes: BTreeMap<String, u64>,
    moves: Option<u32>,
    downtime: Vec<(String, Millis)>,
}

/// How a scenario went.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Judged {
    /// What was not as it should have been; empty = passed.
    pub failures: Vec<Failure>,
    /// What the run was like.
    #[serde(flatten)]
    pub ended: Ended,
}

/// One expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// Line of the scenario; 0 = it holds in every scenario.
    pub line: u32,
    /// In one sentence.
    pub text: String,
}

impl Scenario {
    /// Reads a scenario. `fleet` brings the fleet that it names, or says why not.
    pub fn parse(
        file: &Path,
        text: &str,
        fleet: &dyn Fn(&str) -> Result<Fleet, String>,
    ) -> Result<Scenario, Vec<Problem>> {
        document::read(file, text, fleet)
    }

    /// Plays it with a policy, and says what was not as it should have been.
    pub fn play(&self, decider: &mut dyn Decider) -> Judged {
        let mut judge = judge::Judge::new(self);
        let mut watch = |now, kernel: &tidegate_kernel::Kernel, seen: Seen<'_>| judge.look(now, kernel, seen);
        let simulation = Simulation::new(&self.fleet, self.script.clone(), self.seed);
        let ended = simulation.with_timeline().watched_by(&mut watch, self.moments()).run(decider);
        let failures = judge.judge(self, &ended);
        Judged { failures, ended }
    }

    /// What its expectations name: each is looked at then, whatever happens or does not.
    fn moments(&self) -> BTreeSet<Millis> {
        let all = self.must.iter().chain(&self.must_not);
        all.flat_map(|expectation| [Some(expectation.from), expectation.to]).flatten().collect()
    }
}
