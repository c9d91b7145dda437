//! Reads what the commands print: the status document, and the journal's lines.

use serde_json::Value;
use tidegate_kernel::contract::Decision;
use tidegate_kernel::event::Moment;
use tidegate_kernel::record::{Cause, Record};

/// The service's part of a status.
pub(super) fn service<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    named(&status["services"], name)
}

/// Where the service is served.
pub(super) fn active_site<'a>(status: &'a Value, name: &str) -> Option<&'a str> {
    service(status, name)?["active-site"].as_str()
}

/// Where the service is in its life.
pub(super) fn state<'a>(status: &'a Value, name: &str) -> Option<&'a str> {
    service(status, name)?["state"].as_str()
}

/// The name leads elsewhere than the host thinks it should.
pub(super) fn is_adrift(status: &Value, name: &str) -> bool {
    service(status, name).is_some_and(|service| !service["drift"].is_null())
}

/// The vantage point reaches its control targets.
pub(super) fn is_sound(status: &Value, vantage: &str) -> bool {
    named(&status["vantages"], vantage).is_some_and(|vantage| vantage["sound"] == true && vantage["fresh"] == true)
}

/// The newest decision of these records that moved the service.
pub(super) fn moving_decision<'a>(records: &'a [Record], service: &str) -> Option<(Moment, &'a Decision)> {
    records.iter().rev().find_map(|record| match &record.cause {
        Cause::Decided(decided) if decided.service == service => match &decided.result {
            Ok(decision) if decision.verdict.moves() => Some((record.at, decision)),
            _ => None,
        },
        _ => None,
    })
}

/// Name of the newest run that moved the service.
pub(super) fn moving_run(runs: &Value, service: &str) -> Option<String> {
    let runs = runs.as_array().or_else(|| runs["runs"].as_array())?;
    let run = runs.iter().find(|run| run["service"] == service && run["kind"] == "fail-over")?;
    Some(format!("r{}", run["id"].as_u64()?))
}

/// What a run's promotion rested on, in the host's words: the kind of proof, a colon, and what was proven.
pub(super) fn proof(run: &Value) -> Option<&str> {
    run["steps"].as_array()?.iter().find(|step| step["name"] == "proof")?["text"].as_str()
}

/// Why the service's policy gave no decision, each kind of misdeed once.
pub(super) fn faults(records: &[Record], service: &str) -> Vec<String> {
    let mut faults: Vec<String> = records
        .iter()
        .filter_map(|record| match &record.cause {
            Cause::Decided(decided) if decided.service == service => decided.result.as_ref().err().cloned(),
            _ => None,
        })
        .collect();
    faults.sort();
    faults.dedup();
    faults
}

/// Every vantage point votes, and every service is healthy at every site.
pub(super) fn all_is_well(status: &Value) -> bool {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let votes = |vantage: &Value| vantage["sound"] == true && vantage["fresh"] == true;
    let places = list(&status["services"]).iter().flat_map(|service| list(&service["places"])).collect::<Vec<_>>();
    let healthy = |place: &Value| place["consensus"]["status"] == "healthy" && place["consensus"]["voting"] == 3;
    list(&status["vantages"]).iter().all(votes) && !places.is_empty() && places.iter().all(healthy)
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|one| one["name"] == name)
}
