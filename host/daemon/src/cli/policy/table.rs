//! Tables for `policy test`: one situation, or one request of another kind of policy, and in each case what is different in it and
//! what the policy has to say.
//!
//! Knows no world and no time: each case is one question.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tidegate_engine::{Decided, PolicyFault, PolicySlot, Reply, Request, neutral};
use tidegate_kernel::contract::Decision;
use tidegate_simulator::scenario::Failure;
use toml::Spanned;

use super::kind::Kind;
use super::{input, replies};
use crate::cli::failed::Failed;
use crate::said;

/// A file of cases that was read.
#[derive(Debug)]
pub(super) struct Table {
    /// Its file.
    pub file: PathBuf,
    /// In one line.
    pub title: String,
    /// Which policies it asks.
    pub kind: Kind,
    /// Given to the policy, unless the command line names others.
    pub settings: Option<Value>,
    /// In their order.
    pub rows: Vec<Row>,
}

/// One case, checked.
#[derive(Debug)]
pub(super) struct Row {
    line: u32,
    kind: Kind,
    request: String,
    case: Case,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    title: String,
    #[serde(default)]
    kind: Kind,
    #[serde(alias = "request")]
    situation: Option<PathBuf>,
    settings: Option<toml::Table>,
    case: Vec<Spanned<Case>>,
}

/// What is different, and what the decision has to be; what is not named may be anything.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    set: toml::Table,
    /// What nobody knows in it: JSON pointers to what becomes null, which TOML has no word for.
    #[serde(default)]
    unset: Vec<String>,
    verdict: Option<String>,
    to: Option<String>,
    analysis: Option<String>,
    reason: Option<String>,
    veto: Option<String>,
    /// By JSON pointer into the answer, as `policy eval` prints it.
    #[serde(default)]
    answer: toml::Table,
    #[serde(default)]
    declines: bool,
}

impl Table {
    /// Whether that file is one, and no scenario: it has cases. What is no TOML at all is neither.
    pub(super) fn is_one(text: &str) -> bool {
        toml::from_str::<toml::Table>(text).is_ok_and(|document| document.contains_key("case"))
    }

    /// Reads one; the situation that it names is seen from it, and without one it is what `policy eval --example KIND` prints.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Table, Failed> {
        let at = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| at(span.start));
            Failed::usage(error.message().trim_end().to_owned()).at(format!("{}:{line}", file.display()))
        })?;
        let kind = document.kind;
        let base = base(file, kind, document.situation.as_deref())?;
        let row = |case: Spanned<Case>| {
            let line = u32::try_from(at(case.span().start)).unwrap_or(0);
            let case = case.into_inner();
            let here = |failed: Failed| failed.at(format!("{}:{line}", file.display()));
            case.fits(kind).map_err(here)?;
            let request = changed(&base, &case).map_err(here)?;
            // Read once now, so that what is misspelt is known before anything is asked.
            input::request(&request, kind.world(), "").map_err(here)?;
            Ok(Row { line, kind, request, case })
        };
        let rows = document.case.into_iter().map(row).collect::<Result<Vec<_>, Failed>>()?;
        let settings = document.settings.and_then(|settings| serde_json::to_value(settings).ok());
        Ok(Table { file: file.to_owned(), title: document.title, kind, settings, rows })
    }
}

fn base(file: &Path, kind: Kind, named: Option<&Path>) -> Result<Value, Failed> {
    let Some(named) = named else {
        let example = match neutral::request(kind.world()) {
            Some(Request::Failover(question)) => serde_json::to_value(&question.situation),
            request => serde_json::to_value(request),
        };
        return example.map_err(|error| Failed::new(format!("the example: {error}")));
    };
    let path = file.parent().unwrap_or(Path::new("")).join(named);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failed::usage(format!("what it asks cannot be read: {error}")).at(path.display()))?;
    serde_json::from_str(&text).map_err(|error| Failed::usage(format!("this is not JSON: {error}")).at(path.display()))
}

/// The situation with other values at those JSON pointers; what holds them has to be there.
fn changed(base: &Value, case: &Case) -> Result<String, Failed> {
    let mut situation = base.clone();
    for (pointer, value) in &case.set {
        let value = serde_json::to_value(value).map_err(|error| Failed::usage(format!("{pointer}: {error}")))?;
        *place(&mut situation, pointer)? = value;
    }
    for pointer in &case.unset {
        *place(&mut situation, pointer)? = Value::Null;
    }
    Ok(situation.to_string())
}

fn place<'a>(situation: &'a mut Value, pointer: &str) -> Result<&'a mut Value, Failed> {
    let (holder, key) = pointer.rsplit_once('/').unwrap_or_default();
    let place = match situation.pointer_mut(holder) {
        Some(Value::Object(fields)) => Some(fields.entry(key).or_insert(Value::Null)),
        Some(Value::Array(items)) => key.parse().ok().and_then(|at: usize| items.get_mut(at)),
        _ => None,
    };
    place.ok_or_else(|| {
        Failed::usage(format!("{pointer} is nowhere in the situation"))
            .next("write a JSON pointer to what is to be different, as \"/sites/0/consensus/status\"")
    })
}

impl Row {
    /// What it shows.
    pub(super) fn name(&self) -> &str {
        &self.case.name
    }

    /// Asks the policy. Returns what was not as it has to be, and the codes that it gave.
    pub(super) async fn play(&self, slot: &PolicySlot) -> Result<(Vec<Failure>, Vec<String>), Failed> {
        let request = input::request(&self.request, self.kind.world(), &slot.revision().manifest.memo_format)?;
        let decided = slot.ask(request).await;
        let codes = decided.result.as_ref().map(replies::codes).unwrap_or_default();
        let failure = |text| Failure { line: self.line, text };
        Ok((self.case.missed(&decided).into_iter().map(failure).collect(), codes))
    }
}

impl Case {
    /// Only a failover policy gives a verdict.
    fn fits(&self, kind: Kind) -> Result<(), Failed> {
        let verdicts = [&self.verdict, &self.to, &self.analysis, &self.veto];
        if kind == Kind::Failover || verdicts.iter().all(|key| key.is_none()) {
            return Ok(());
        }
        let why = format!("a policy of {} gives no verdict, destination, analysis or veto", kind.world());
        Err(Failed::usage(why)
            .next("say what its answer has to be: answer = { \"/0/keep\" = true }, or reason = \"CODE\""))
    }

    fn missed(&self, decided: &Decided<Reply>) -> Vec<String> {
        let reply = match (&decided.result, self.declines) {
            (Ok(reply), false) => reply,
            (Err(PolicyFault::Declined(_)), true) => return Vec::new(),
            (Ok(reply), true) => return vec![format!("it decides, {}", replies::short(reply).0)],
            (Err(fault), _) => return vec![format!("there is no decision: {fault}")],
        };
        let mut missed = match reply {
            Reply::Failover(decision) => self.missed_in(decision),
            _ => among("reason", self.reason.as_deref(), &replies::codes(reply)).into_iter().collect(),
        };
        let answer = serde_json::to_value(reply).unwrap_or_default();
        missed.extend(self.answer.iter().filter_map(|(pointer, wanted)| differs(&answer, pointer, wanted)));
        missed
    }

    fn missed_in(&self, decision: &Decision) -> Vec<String> {
        let to = said::destination(&decision.verdict).unwrap_or("nowhere");
        let one = |what: &str, wanted: &Option<String>, is: &str| {
            let wanted = wanted.as_deref().filter(|wanted| *wanted != is)?;
            Some(format!("the {what} is {is}, not {wanted}"))
        };
        let reasons: Vec<&str> = decision.reasons.iter().map(|reason| reason.code.as_str()).collect();
        let vetoes: Vec<&str> = decision.vetoes.iter().map(|veto| veto.reason.code.as_str()).collect();
        let missed = [
            one("verdict", &self.verdict, decision.verdict.name()),
            one("destination", &self.to, to),
            one("analysis", &self.analysis, &decision.analysis),
            among("reason", self.reason.as_deref(), &reasons),
            among("veto", self.veto.as_deref(), &vetoes),
        ];
        missed.into_iter().flatten().collect()
    }
}

fn among(what: &str, wanted: Option<&str>, all: &[impl AsRef<str>]) -> Option<String> {
    let wanted = wanted.filter(|wanted| all.iter().all(|known| known.as_ref() != *wanted))?;
    let all: Vec<&str> = all.iter().map(AsRef::as_ref).collect();
    Some(format!("{wanted} is no {what} of it; it has: {}", all.join(", ")))
}

fn differs(answer: &Value, pointer: &str, wanted: &toml::Value) -> Option<String> {
    let wanted = serde_json::to_value(wanted).unwrap_or_default();
    match answer.pointer(pointer) {
        Some(is) if *is == wanted => None,
        Some(is) => Some(format!("{pointer} of its answer is {is}, not {wanted}")),
        None => Some(format!("{pointer} is nowhere in its answer")),
    }
}
