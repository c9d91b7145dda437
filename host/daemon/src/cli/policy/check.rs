//! `tidegate policy check`: would a host take this component, what does it reach for, and does it always decide the same?
//!
//! Whether what it decides is wise is for its own tests, `policy eval` and the guard.

use std::time::Instant;

use clap::Args;
use serde::Serialize;
use tidegate_engine::{Decided, Inspected, PolicyFault, PolicySlot, PolicyWorker, Reply, Request, World};
use tidegate_kernel::contract::Manifest;

use super::{With, replies, trials};
use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Table, Tone, cell, facts, one_line, paint};

/// A policy is asked in so many engines, so often each.
const ENGINES: usize = 2;
const TIMES: usize = 2;

/// `policy check PLUGIN`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate policy check policy.wasm
  tidegate policy check policy.wasm --settings settings.json --limit memory=64MiB
  tidegate policy check builtin:failover-quorum --json | jq '.imports[].name'

Exit codes: 0 a host would take it, 1 it crashes or does not always decide the same, 2 no host would take it.")]
pub struct Check {
    /// A component's file, or builtin:NAME.
    pub plugin: String,
    /// What it would be asked with.
    #[command(flatten)]
    pub with: With,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// What it is for.
    pub world: World,
    /// The version of the contract that it was built against.
    pub contract: String,
    /// Of the file.
    pub digest: String,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes of memory that it starts with.
    pub initial_memory: u64,
    /// What it imports, and what a host answers.
    pub imports: Vec<Import>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// The settings that it accepted.
    pub settings: serde_json::Value,
    /// Until it was compiled, linked and tried.
    pub ready_ms: u64,
    /// What it says to a few plain situations, or requests, of its kind.
    pub situations: Vec<Asked>,
    /// The same question had the same answer, whenever and wherever it was asked.
    pub deterministic: bool,
}

/// One import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Import {
    /// Its name in the component.
    pub name: String,
    /// What a policy finds behind it.
    pub answer: &'static str,
    /// A policy that relies on it is in for a surprise.
    pub beware: bool,
}

/// One situation, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Asked {
    /// What it is about.
    pub situation: &'static str,
    /// None = a host would hold.
    pub decision: Option<Reply>,
    /// Why there is none.
    pub fault: Option<PolicyFault>,
    /// What it cost.
    pub fuel: u64,
    /// The same, each time and in each engine: the decision, what was looked up, what was logged, the fuel.
    pub same: bool,
}

/// Checks, and prints.
pub async fn run(console: &Console, asked: &Check) -> Result<Exit, Failed> {
    let bench = asked.with.bench(ENGINES).await?;
    console.progress("compiling it");
    let started = Instant::now();
    let (slot, seen) = bench.ready_of_any_kind(asked.with.wanted(&asked.plugin)?).await?;
    let ready_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let report = report(seen, &slot, &bench.workers(), ready_ms);
    console.show(&report, |report, _| page(report))?;
    Ok(if report.situations.iter().all(is_sound) { Exit::Done } else { Exit::Failed })
}

/// To decline is an answer, a crash is none.
fn is_sound(asked: &Asked) -> bool {
    asked.same && matches!(asked.fault, None | Some(PolicyFault::Declined(_)))
}

fn report(seen: Inspected, slot: &PolicySlot, workers: &[PolicyWorker], ready_ms: u64) -> Report {
    let revision = slot.revision();
    let ask = |(name, request): (_, Request)| ask(slot, workers, name, &request);
    let situations: Vec<Asked> = trials::of(seen.world).into_iter().map(ask).collect();
    Report {
        world: seen.world,
        contract: seen.contract,
        digest: seen.digest,
        size: seen.size,
        initial_memory: seen.initial_memory,
        imports: seen.imports.into_iter().map(import).collect(),
        manifest: revision.manifest.clone(),
        settings: serde_json::from_str(&revision.settings).unwrap_or_default(),
        ready_ms,
        deterministic: situations.iter().all(|asked| asked.same),
        situations,
    }
}

fn ask(slot: &PolicySlot, workers: &[PolicyWorker], name: &'static str, request: &Request) -> Asked {
    let askings = workers.iter().flat_map(|worker| std::iter::repeat_n(worker, TIMES));
    let said: Vec<Decided<Reply>> = askings.map(|worker| slot.ask_on(worker, request)).collect();
    let same = said.windows(2).all(|pair| same(&pair[0], &pair[1]));
    let Decided { result, fuel, .. } = said.into_iter().next().expect("it was asked in every engine");
    let (decision, fault) = match result {
        Ok(decision) => (Some(decision), None),
        Err(fault) => (None, Some(fault)),
    };
    Asked { situation: name, decision, fault, fuel, same }
}

/// Everything but the time that it took.
fn same(one: &Decided<Reply>, other: &Decided<Reply>) -> bool {
    let said = |decided: &Decided<Reply>| (decided.result.clone(), decided.answers.clone(), decided.log.clone());
    said(one) == said(other) && one.fuel == other.fuel
}

/// What a host answers to each import of a policy, by the beginning of its name; and whether to beware of it.
const ANSWERS: [(&str, &str, bool); 17] = [
    ("tidegate:dr/types", "types only", false),
    ("tidegate:dr/log", "kept with the decision", false),
    ("tidegate:dr/", "answered from the picture of the request's moment", false),
    ("wasi:clocks/", "reads a clock: it stands still at the request's `now`, and waiting stops the decision", true),
    ("wasi:random/", "reads randomness: the same bytes for the same request", true),
    ("wasi:cli/environment", "empty", false),
    ("wasi:cli/exit", "stops the decision", false),
    ("wasi:cli/stdin", "empty", false),
    ("wasi:cli/stdout", "goes to the log", false),
    ("wasi:cli/stderr", "goes to the log", false),
    ("wasi:cli/terminal", "there is none", false),
    ("wasi:io/", "streams that end in the log, and nothing to wait for", false),
    ("wasi:filesystem/preopens", "no directory", false),
    ("wasi:filesystem/types", "types only: any call stops the decision", false),
    ("wasi:sockets/", "types only: any call stops the decision", false),
    ("wasi:cli/", "types only", false),
    ("", "unknown to this program, yet accepted by its engine", true),
];

fn import(name: String) -> Import {
    let (_, answer, beware) = ANSWERS.iter().find(|(prefix, ..)| name.starts_with(prefix)).expect("the last fits all");
    Import { answer, beware: *beware, name }
}

fn page(report: &Report) -> String {
    let Report { world, contract, digest, size, initial_memory, manifest, settings, ready_ms, .. } = report;
    let lines = vec![
        ("policy", format!("{} {}", paint(&manifest.name, Tone::Title), one_line(&manifest.version))),
        ("", one_line(&manifest.summary)),
        ("world", format!("{world}, contract {contract}")),
        ("digest", digest.clone()),
        ("size", format!("{} KiB; it starts with {} KiB of memory", size.div_ceil(1024), initial_memory >> 10)),
        ("ready", format!("after {ready_ms} ms: compiled, linked and tried, in {ENGINES} engines")),
        ("takes", settings_known(&manifest.settings_schema)),
        ("settings", format!("accepted: {settings}")),
        ("decides", sameness(report)),
    ];
    [facts(lines), import_table(&report.imports), situation_table(&report.situations)].join("\n")
}

/// The names of its settings; the schema itself is for programs.
fn settings_known(schema: &str) -> String {
    let schema: serde_json::Value = serde_json::from_str(schema).unwrap_or_default();
    let known = schema["properties"].as_object().map(|known| known.keys().map(String::as_str).collect::<Vec<_>>());
    one_line(&known.filter(|known| !known.is_empty()).map_or("no settings".to_owned(), |known| known.join(", ")))
}

fn import_table(imports: &[Import]) -> String {
    let mut table = Table::new(["import", "a host's answer"]);
    for Import { name, answer, beware } in imports {
        table.row([name.as_str().into(), cell(*answer, if *beware { Tone::Warning } else { Tone::Quiet })]);
    }
    table.render()
}

fn sameness(report: &Report) -> String {
    match report.deterministic {
        true => format!("always the same, at the same fuel: asked {TIMES} times in each of {ENGINES} engines"),
        false => paint("not always the same: no journal of it could be replayed", Tone::Bad),
    }
}

fn situation_table(situations: &[Asked]) -> String {
    let mut table = Table::new(["situation", "verdict", "because", "fuel", ""]);
    for asked in situations {
        let (verdict, because) = match (&asked.decision, &asked.fault) {
            (Some(reply), _) => {
                let (said, codes) = replies::short(reply);
                (cell(said, Tone::Plain), codes)
            }
            (None, fault) => {
                (cell("no decision", Tone::Bad), fault.as_ref().map_or(String::new(), ToString::to_string))
            }
        };
        let differs = if asked.same { "" } else { "differs" };
        let fuel = asked.fuel.to_string();
        table.row([asked.situation.into(), verdict, because.into(), fuel.into(), cell(differs, Tone::Bad)]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use tidegate_engine::{Decided, PolicyFault, Reply};
    use tidegate_kernel::contract::Decision;

    use super::{Asked, import, is_sound, same};

    fn decided(fuel: u64, analysis: &str) -> Decided<Reply> {
        let mut decision: Decision = serde_json::from_value(serde_json::json!({
            "verdict": "hold", "analysis": "", "reasons": [], "vetoes": [], "would-change-if": [],
            "ask-again-in": null, "memo": "", "facts": [],
        }))
        .unwrap();
        decision.analysis = analysis.to_owned();
        Decided {
            revision: 1,
            digest: String::new(),
            settings_hash: String::new(),
            result: Ok(Reply::Failover(decision)),
            answers: Vec::new(),
            fuel,
            took: fuel,
            memory: 0,
            log: Vec::new(),
        }
    }

    #[test]
    fn the_same_is_the_same_answer_at_the_same_fuel_and_nothing_less() {
        assert!(same(&decided(7, "well"), &Decided { took: 9, ..decided(7, "well") }));
        assert!(!same(&decided(7, "well"), &decided(8, "well")));
        assert!(!same(&decided(7, "well"), &decided(7, "lost")));
    }

    #[test]
    fn a_policy_that_crashes_or_changes_its_mind_is_not_sound_and_one_that_declines_is() {
        let asked = |fault, same| Asked { situation: "", decision: None, fault, fuel: 0, same };
        let declined = Some(PolicyFault::Declined("no price".to_owned()));
        assert!(is_sound(&asked(None, true)) && is_sound(&asked(declined, true)));
        assert!(!is_sound(&asked(Some(PolicyFault::Trapped("unreachable".to_owned())), true)));
        assert!(!is_sound(&asked(None, false)));
    }

    #[test]
    fn clocks_and_randomness_are_pointed_out_and_no_other_import_is() {
        let cases = [
            ("wasi:clocks/wall-clock@0.2.6", true, "`now`"),
            ("wasi:random/insecure-seed@0.2.0", true, "same bytes"),
            ("tidegate:dr/health@0.1.0", false, "picture"),
            ("wasi:filesystem/types@0.2.6", false, "stops"),
            ("wasi:cli/stdout@0.2.6", false, "log"),
        ];
        for (name, beware, answer) in cases {
            let told = import(name.to_owned());
            assert!(told.beware == beware && told.answer.contains(answer), "{told:?}");
        }
    }
}
