//! Tables for `policy test`: one situation, and in each case what is different in it and what the policy has to say.
//!
//! Knows no world and no time: each case is one question.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use tidegate_engine::{Decided, PolicyFault, PolicySlot, Question, neutral};
use tidegate_kernel::contract::Decision;
use tidegate_simulator::scenario::Failure;
use toml::Spanned;

use super::input;
use crate::cli::failed::Failed;
use crate::said;

/// A file of cases that was read.
#[derive(Debug)]
pub(super) struct Table {
    /// Its file.
    pub file: PathBuf,
    /// In one line.
    pub title: String,
    /// Given to the policy, unless the command line names others.
    pub settings: Option<Value>,
    /// In their order.
    pub rows: Vec<Row>,
}

/// One case, checked.
#[derive(Debug)]
pub(super) struct Row {
    line: u32,
    situation: String,
    case: Case,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    title: String,
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
    #[serde(default)]
    declines: bool,
}

impl Table {
    /// Whether that file is one, and no scenario: it has cases. What is no TOML at all is neither.
    pub(super) fn is_one(text: &str) -> bool {
        toml::from_str::<toml::Table>(text).is_ok_and(|document| document.contains_key("case"))
    }

    /// Reads one; the situation that it names is seen from it, and without one it is the quiet one that `policy eval --example` prints.
    pub(super) fn parse(file: &Path, text: &str) -> Result<Table, Failed> {
        let at = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| at(span.start));
            Failed::usage(error.message().trim_end().to_owned()).at(format!("{}:{line}", file.display()))
        })?;
        let base = base(file, document.situation.as_deref())?;
        let row = |case: Spanned<Case>| {
            let line = u32::try_from(at(case.span().start)).unwrap_or(0);
            let case = case.into_inner();
            let here = |failed: Failed| failed.at(format!("{}:{line}", file.display()));
            let situation = changed(&base, &case).map_err(here)?;
            // Read once now, so that what is misspelt is known before anything is asked.
            input::question(&situation, "").map_err(here)?;
            Ok(Row { line, situation, case })
        };
        let rows = document.case.into_iter().map(row).collect::<Result<Vec<_>, Failed>>()?;
        let settings = document.settings.and_then(|settings| serde_json::to_value(settings).ok());
        Ok(Table { file: file.to_owned(), title: document.title, settings, rows })
    }
}

fn base(file: &Path, named: Option<&Path>) -> Result<Value, Failed> {
    let Some(named) = named else {
        return serde_json::to_value(neutral::situation())
            .map_err(|error| Failed::new(format!("the example situation: {error}")));
    };
    let path = file.parent().unwrap_or(Path::new("")).join(named);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failed::usage(format!("the situation cannot be read: {error}")).at(path.display()))?;
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
        let question: Question = input::question(&self.situation, &slot.revision().manifest.memo_format)?;
        let decided = slot.decide(Arc::new(question)).await;
        let codes = decided.result.as_ref().map(codes).unwrap_or_default();
        let failure = |text| Failure { line: self.line, text };
        Ok((self.case.missed(&decided).into_iter().map(failure).collect(), codes))
    }
}

impl Case {
    fn missed(&self, decided: &Decided) -> Vec<String> {
        let decision = match (&decided.result, self.declines) {
            (Ok(decision), false) => decision,
            (Err(PolicyFault::Declined(_)), true) => return Vec::new(),
            (Ok(decision), true) => return vec![format!("it decides, {}", said::verdict(&decision.verdict))],
            (Err(fault), _) => return vec![format!("there is no decision: {fault}")],
        };
        let to = said::destination(&decision.verdict).unwrap_or("nowhere");
        let one = |what: &str, wanted: &Option<String>, is: &str| {
            let wanted = wanted.as_deref().filter(|wanted| *wanted != is)?;
            Some(format!("the {what} is {is}, not {wanted}"))
        };
        let among = |what: &str, wanted: &Option<String>, all: Vec<&str>| {
            let wanted = wanted.as_deref().filter(|wanted| !all.contains(wanted))?;
            Some(format!("{wanted} is no {what} of it; it has: {}", all.join(", ")))
        };
        let reasons = decision.reasons.iter().map(|reason| reason.code.as_str()).collect();
        let vetoes = decision.vetoes.iter().map(|veto| veto.reason.code.as_str()).collect();
        let missed = [
            one("verdict", &self.verdict, decision.verdict.name()),
            one("destination", &self.to, to),
            one("analysis", &self.analysis, &decision.analysis),
            among("reason", &self.reason, reasons),
            among("veto", &self.veto, vetoes),
        ];
        missed.into_iter().flatten().collect()
    }
}

fn codes(decision: &Decision) -> Vec<String> {
    let reasons = decision.reasons.iter().map(|reason| &reason.code);
    let vetoes = decision.vetoes.iter().map(|veto| &veto.reason.code);
    std::iter::once(&decision.analysis).chain(reasons).chain(vetoes).cloned().collect()
}
