//! A policy of retention, tiering or cost that breaks one rule for each word in its settings; without one it changes nothing.
//!
//! Knows nothing of backups, objects or money.

#![cfg(target_arch = "wasm32")]

#[cfg(feature = "cost")]
wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "cost" });
#[cfg(feature = "retention")]
wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "retention" });
#[cfg(feature = "tiering")]
wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "tiering" });

use exports::tidegate::dr::plugin::{Guest as Plugin, Manifest, Problem};
use std::hint::black_box;
use tidegate::dr::{storage, types::Reason};

struct Hostile;
export!(Hostile);

impl Plugin for Hostile {
    fn describe() -> Manifest {
        Manifest {
            name: "hostile-adviser".into(),
            version: "0.1.0".into(),
            summary: "Breaks rules".into(),
            settings_schema: "{}".into(),
            wants: vec![],
            memo_format: String::new(),
        }
    }

    fn check_settings(_: String) -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

/// What it does, whatever it is asked about: a reason of each of its answers, or none at all.
fn reasons(settings: &str) -> Result<Vec<Reason>, String> {
    let said = match word(settings) {
        "loop" => forever(),
        "panic" => panic!("on purpose"),
        "decline" => return Err("I would rather not".into()),
        "file" => format!("{:?}", std::fs::read("/etc/passwd").is_err()),
        "look" => {
            let listed = storage::list_objects("elsewhere", "a/", None, 7);
            format!("{listed:?}, {:?}", storage::stat("elsewhere", "b"))
        }
        "shout" => return Ok(vec![Reason { code: "NOT KEBAB".into(), text: String::new() }]),
        "surroundings" => surroundings(),
        other => other.into(),
    };
    Ok(vec![Reason { code: "said".into(), text: said }])
}

/// `{"do":"loop"}` → `loop`
fn word(settings: &str) -> &str {
    settings.split('"').nth(3).unwrap_or_default()
}

fn forever() -> String {
    let mut n = 0_u64;
    while black_box(n) != u64::MAX {
        n = black_box(n) & 0xffff;
        n += 1;
    }
    n.to_string()
}

/// What a pure function must not see, as it sees it.
fn surroundings() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let random: std::collections::HashSet<u32> = (0..20).collect();
    format!("{} {random:?}", now.as_millis())
}

#[cfg(feature = "retention")]
impl exports::tidegate::dr::retention_policy::Guest for Hostile {
    fn select(
        request: exports::tidegate::dr::retention_policy::Request,
    ) -> Result<Vec<exports::tidegate::dr::retention_policy::Choice>, String> {
        let reasons = reasons(&request.settings)?;
        let choice =
            |id: String| exports::tidegate::dr::retention_policy::Choice { id, keep: true, reasons: reasons.clone() };
        let mut choices: Vec<_> = request.backups.into_iter().map(|backup| choice(backup.id)).collect();
        match word(&request.settings) {
            "reorder" => choices.reverse(),
            "forget" => drop(choices.pop()),
            _ => {}
        }
        Ok(choices)
    }
}

#[cfg(feature = "tiering")]
impl exports::tidegate::dr::tiering_policy::Guest for Hostile {
    fn place(
        request: exports::tidegate::dr::tiering_policy::Request,
    ) -> Result<Vec<exports::tidegate::dr::tiering_policy::Choice>, String> {
        use exports::tidegate::dr::tiering_policy::{Choice, Placement};
        let reasons = reasons(&request.settings)?;
        let choice = |key| Choice { key, placement: Placement::Stay, saves: 0, reasons: reasons.clone() };
        let mut choices: Vec<_> = request.items.into_iter().map(|item| choice(item.object.key)).collect();
        match word(&request.settings) {
            "reorder" => choices.reverse(),
            "forget" => drop(choices.pop()),
            _ => {}
        }
        Ok(choices)
    }
}

#[cfg(feature = "cost")]
impl exports::tidegate::dr::cost_policy::Guest for Hostile {
    fn advise(
        request: exports::tidegate::dr::cost_policy::Request,
    ) -> Result<exports::tidegate::dr::cost_policy::Advice, String> {
        use exports::tidegate::dr::cost_policy::{Advice, Assignment};
        let reasons = reasons(&request.settings)?;
        if word(&request.settings) == "look" {
            let clusters = tidegate::dr::replication::topology("db");
            return Err(format!("{clusters:?}"));
        }
        let mut assignments: Vec<_> = request
            .services
            .into_iter()
            .map(|service| Assignment {
                service: service.service,
                strategy: service.current,
                monthly: 0,
                avoided_loss_yearly: 0,
                meets_objectives: true,
                reasons: reasons.clone(),
            })
            .collect();
        if word(&request.settings) == "twice" {
            assignments.extend_from_within(..);
        }
        Ok(Advice { assignments, savings: vec![], monthly: 0, avoided_loss_yearly: 0, warnings: vec![] })
    }
}
