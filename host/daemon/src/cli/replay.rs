//! `journal verify --replay`: the rules and the policies again, over what the journal says that they were told.
//!
//! What was seen is not journaled, so it is not seen again; what cannot be repeated is counted and said, never passed over.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidegate_engine::inspect::{self, MAX_FILE};
use tidegate_engine::limits::Span;
use tidegate_engine::{Engine, EngineConfig, LimitSettings, PolicyFault, PolicySlot, Question, Refusal, RevisionSpec};
use tidegate_kernel::event::Answered;
use tidegate_kernel::fleet::Fleet;
use tidegate_kernel::record::{Cause, Decided};
use tidegate_kernel::replay::Replay;

use crate::cli::failed::Failed;
use crate::cli::journal::broken_journal;
use crate::cli::text::{Tone, one_line, paint};
use crate::journal::Reader;
use crate::repeat::{self, Came};

/// More would not fit the one screen; `--json` has all.
const SHOWN: usize = 12;
/// The slot's own limits are not journaled: work is counted, so only time has to be generous.
const PATIENCE: Duration = Duration::from_secs(60);
/// How faults begin that come again with the same question; the others depend on limits and on the machine.
const REPEATING: [&str; 4] =
    ["the policy crashed", "the policy says", "the policy's answer makes no sense", "the policy asked for"];

/// What to do where a policy needs more here than it is given.
const GIVE_MORE: &str = "if its slot gives it more, say so with --fleet FILE or --limit NAME=VALUE";

/// What those that decided are asked with.
#[derive(Clone, Debug, Default)]
pub struct Means {
    /// Directories with policies that are not built in.
    pub plugins: Vec<PathBuf>,
    /// What they may use up; what is left out is as their slots say.
    pub limits: LimitSettings,
    /// Whose slots say it; none = a policy slot's defaults.
    pub fleet: Option<Fleet>,
    /// Where compiled code is kept.
    pub cache: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Replayed {
    /// Held against the rules.
    pub transitions: u64,
    /// Whose hash was compared.
    pub checkpoints: u64,
    /// Asked again of the same policy, with the same answer to the last unit of work.
    pub decisions: u64,
    /// Asked again of the same policy, with another answer: each is among the problems.
    pub differing: u64,
    /// Decisions that could not be asked again, by why.
    pub not_repeated: BTreeMap<String, u64>,
    /// What does not follow, in order.
    pub problems: Vec<Problem>,
}

/// One thing that does not follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Problem {
    /// Its record's number.
    pub record: u64,
    /// In one sentence.
    pub text: String,
}

/// What came of asking one decision again.
enum Repeated {
    Same,
    Differs(String),
    Not(String),
}

/// Policies at hand, and those that were made ready.
struct Policies {
    engine: Option<Engine>,
    cache: Option<PathBuf>,
    /// What they may use up, before anything else.
    given: LimitSettings,
    /// By service, what its slot gives.
    slots: HashMap<String, LimitSettings>,
    /// Components by digest.
    shelf: HashMap<String, Vec<u8>>,
    /// Settings by their hash.
    settings: HashMap<String, String>,
    /// Or why it cannot be asked.
    ready: HashMap<Key, Result<PolicySlot, String>>,
}

/// A policy's digest, the hash of its settings, and what it may use up.
type Key = (String, String, String);

/// Reads the journal in `directory` from its first record.
pub async fn replay(directory: &Path, means: Means) -> Result<Replayed, Failed> {
    let mut policies = Policies::at_hand(means)?;
    let (mut rules, mut found) = (Replay::default(), Replayed::default());
    for entry in Reader::open(directory)? {
        let entry = entry.map_err(|broken| broken_journal(&broken))?;
        let record = entry.record()?;
        let mut strange = rules.follow(&record);
        if let Cause::Decided(decided) = &record.cause {
            match policies.repeat(decided, rules.version()).await? {
                Repeated::Same => found.decisions += 1,
                Repeated::Differs(how) => {
                    found.differing += 1;
                    strange.push(how);
                }
                Repeated::Not(why) => *found.not_repeated.entry(why).or_default() += 1,
            }
        }
        found.problems.extend(strange.into_iter().map(|text| Problem { record: entry.n, text }));
    }
    (found.transitions, found.checkpoints) = (rules.transitions, rules.checkpoints);
    Ok(found)
}

impl Replayed {
    /// Whether every decision was asked again, and there was one, and each came to the same.
    pub fn is_proven(&self) -> bool {
        self.decisions > 0 && self.differing + self.not_repeated() == 0
    }

    fn not_repeated(&self) -> u64 {
        self.not_repeated.values().sum()
    }
}

/// For people: how much of it is proven, and what to do about the rest.
pub fn proof(replayed: &Replayed) -> String {
    let (Replayed { decisions, differing, .. }, not) = (replayed, replayed.not_repeated());
    if replayed.is_proven() {
        let same = "those that decided say the same again, to the last byte";
        return format!("{} all {decisions} decisions: {same}\n", paint("PROVEN", Tone::Good));
    }
    let all = decisions + differing + not;
    let head = paint("NOT PROVEN", Tone::Bad);
    if all == 0 {
        return format!("{head} there is no decision in it\nnext: name a journal in which something was decided\n");
    }
    let mut text = format!("{head} {decisions} of {all} decisions are proven, {differing} came out otherwise, ");
    text += &format!("{not} could not be asked again\n");
    // What is said of most of them helps most.
    if let Some((why, count)) = replayed.not_repeated.iter().max_by_key(|(_, count)| **count) {
        text += &format!("next: of {count}: {}\n", one_line(why));
    }
    text
}

/// For people.
pub fn page(replayed: &Replayed) -> String {
    let Replayed { transitions, checkpoints, decisions, not_repeated, problems, .. } = replayed;
    let mut text = match problems.len() {
        0 => format!("{} every record follows from those before it\n", paint("replayed", Tone::Good)),
        many => format!("{} {many} things in it do not follow\n", paint("REPLAYED", Tone::Bad)),
    };
    text += &format!(
        "{transitions} changes held against the rules, {checkpoints} checkpoints compared, {decisions} decisions repeated\n"
    );
    for (why, count) in not_repeated {
        text += &paint(format!("{count} decisions not repeated: {}\n", one_line(why)), Tone::Warning);
    }
    for problem in problems.iter().take(SHOWN) {
        text += &format!("{} record {}: {}\n", paint("!!", Tone::Bad), problem.record, one_line(&problem.text));
    }
    if problems.len() > SHOWN {
        text += &format!("and {} more; --json has all\n", problems.len() - SHOWN);
    }
    if !problems.is_empty() {
        text += "next: keep this journal as evidence, and compare it with the chain's head that the agents keep\n";
    }
    text
}

impl Policies {
    fn at_hand(means: Means) -> Result<Self, Failed> {
        let Means { plugins, limits: given, fleet, cache } = means;
        let slots = fleet.as_ref().map(slots).transpose()?.unwrap_or_default();
        let builtins = tidegate_plugins::all().iter().map(|builtin| builtin.bytes.to_vec());
        let mut shelf: HashMap<String, Vec<u8>> = builtins.map(|bytes| (inspect::digest(&bytes), bytes)).collect();
        for directory in &plugins {
            for path in components(directory)? {
                let bytes = inspect::read(&path, MAX_FILE).map_err(|refusal| {
                    Failed::usage(format!("{}: {}", refusal.what, refusal.why)).at(path.display()).next(refusal.next)
                })?;
                shelf.insert(inspect::digest(&bytes), bytes);
            }
        }
        Ok(Policies { engine: None, cache, given, slots, shelf, settings: HashMap::new(), ready: HashMap::new() })
    }

    async fn repeat(&mut self, decided: &Decided, version: &str) -> Result<Repeated, Failed> {
        use PolicyFault::{Limit, OutOfFuel, TooLate, Unavailable};
        if let Some(settings) = &decided.settings {
            self.settings.insert(inspect::digest(settings.as_bytes()), settings.clone());
        }
        if decided.result.as_ref().is_err_and(|fault| !REPEATING.iter().any(|start| fault.starts_with(start))) {
            let why = "the policy was stopped by a limit, or could not be asked; what stopped it is not in the record";
            return Ok(Repeated::Not(format!("{why}, so nobody can repeat it")));
        }
        let Some(situation) = &decided.situation.body else {
            let why =
                "the record does not hold the situation; `tidegate policy backtest` finds it in an earlier record";
            return Ok(Repeated::Not(format!("{why}, and decides it, but does not prove it")));
        };
        let slot = match self.slot(decided).await? {
            Ok(slot) => slot,
            Err(why) => return Ok(Repeated::Not(why.clone())),
        };
        let format = decided.revision.memo_format.clone();
        let question = match Question::recorded((**situation).clone(), format, &decided.reads) {
            Ok(question) => question,
            Err(error) => {
                return Ok(Repeated::Differs(format!("what {} read is none of it: {error}", decided.service)));
            }
        };
        let again = slot.decide(Arc::new(question)).await;
        if let Err(stopped @ (Limit(_) | OutOfFuel(_) | TooLate(_) | Unavailable(_))) = &again.result {
            return Ok(Repeated::Not(format!("here {stopped}; {GIVE_MORE}")));
        }
        Ok(compare(decided, &slot.answered(again), version == env!("CARGO_PKG_VERSION")))
    }

    /// What the policy of a service may use up.
    fn limits(&self, service: &str) -> LimitSettings {
        let slot = self.slots.get(service).copied().unwrap_or_default();
        // Work is counted, and time is this machine's: what was decided then needs no bound of either.
        let (fuel, wall_clock) = (Some(u64::MAX >> 1), Some(Span(PATIENCE)));
        LimitSettings { fuel, wall_clock, ..self.given.or(&slot) }
    }

    /// The policy that decided, with the settings that it had.
    async fn slot(&mut self, decided: &Decided) -> Result<&Result<PolicySlot, String>, Failed> {
        let limits = self.limits(&decided.service);
        let key = (decided.revision.digest.clone(), decided.revision.settings.clone(), format!("{limits:?}"));
        if !self.ready.contains_key(&key) {
            let made = self.make(&key.0, &key.1, limits).await?;
            self.ready.insert(key.clone(), made);
        }
        Ok(&self.ready[&key])
    }

    async fn make(
        &mut self,
        digest: &str,
        settings: &str,
        limits: LimitSettings,
    ) -> Result<Result<PolicySlot, String>, Failed> {
        let Some(bytes) = self.shelf.get(digest).cloned() else {
            return Ok(Err(format!("policy {digest} is not at hand; name its directory with --plugins")));
        };
        let known = self.settings.get(settings).and_then(|text| serde_json::from_str(text).ok());
        let Some(settings) = known else {
            let next = "name a journal that goes back to where they were first decided with";
            return Ok(Err(format!("the journal does not hold the settings {settings}; {next}")));
        };
        let spec = RevisionSpec {
            slot: "failover/replay".to_owned(),
            source: digest.to_owned(),
            bytes,
            settings,
            limits,
            ..RevisionSpec::default()
        };
        let staged = self.engine().await?.stage(spec).await;
        let why = |refusal: Refusal| format!("{}: {}; {GIVE_MORE}", refusal.what, refusal.why);
        Ok(staged.and_then(PolicySlot::install).map_err(why))
    }

    /// Started for the first decision: a journal without one needs none.
    async fn engine(&mut self) -> Result<&Engine, Failed> {
        if self.engine.is_none() {
            let config = EngineConfig { policy_workers: 1, cache: self.cache.clone(), ..EngineConfig::default() };
            let started = Engine::start(config).await;
            self.engine = Some(started.map_err(|refusal| Failed::new(format!("{}: {}", refusal.what, refusal.why)))?);
        }
        self.engine.as_ref().ok_or_else(|| Failed::new("the engine did not start"))
    }
}

/// By service, what the slot of its policy says that one may use up.
fn slots(fleet: &Fleet) -> Result<HashMap<String, LimitSettings>, Failed> {
    let mut slots = HashMap::new();
    for service in &fleet.services {
        let Some(slot) = fleet.slots.get(&service.policy) else { continue };
        let limits = serde_json::from_value(slot.limits.clone()).map_err(|error| {
            let place = format!("[slot.\"{}\"] of the fleet file", service.policy);
            Failed::usage(format!("its limits cannot be used: {error}")).at(place).unchanged("nothing was asked again")
        })?;
        slots.insert(service.name.clone(), limits);
    }
    Ok(slots)
}

/// Where another version decided, the same work may be counted otherwise.
fn compare(then: &Decided, now: &Answered, same_version: bool) -> Repeated {
    let fuel = if same_version { now.fuel } else { then.fuel };
    match repeat::difference(Came::from(then), Came { fuel, ..Came::from(now) }) {
        Some(how) => Repeated::Differs(format!("asked again, the policy of {} {how}", then.service)),
        None => Repeated::Same,
    }
}

/// The components in a directory.
fn components(directory: &Path) -> Result<Vec<PathBuf>, Failed> {
    let unreadable =
        |error: std::io::Error| Failed::usage(format!("the plugins cannot be listed: {error}")).at(directory.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    Ok(found)
}
