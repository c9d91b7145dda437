//! Slots over the API: shown, loaded, swapped and rolled back. Each change names who made it.

use std::path::{Component as Part, Path};
use std::sync::Arc;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use tidegate_engine::Refusal;

use tidegate_kernel::event::Refused;

use super::answer::{Answer, Told, document, refused};
use super::routes::{Question, bad_request};
use crate::host::Host;
use crate::host::slots::{Change, Component, Requirement};

/// Carries the settings of a component that is sent as its bytes.
const SETTINGS: &str = "tidegate-settings";
/// Carries its limits.
const LIMITS: &str = "tidegate-limits";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Candidate {
    plugin: String,
    settings: Option<Value>,
    limits: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Promotion {
    #[serde(default)]
    require: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Exercise {
    decisions: u64,
}

/// `plugins`, `plugins/SLOT` and what can be done with one.
pub(super) async fn answer(host: &Arc<Host>, path: &[&str], question: &Question) -> Answer {
    match (question.method(), path) {
        ("GET", []) => document(&host.plugins()),
        ("GET", [slot]) => show(host, slot),
        ("POST", [slot, "exercise"]) => exercise(host, slot, question).await,
        ("GET", [slot, "diff"]) => diff(host, slot),
        ("POST", [slot, "unshadow"]) => unshadow(host, slot, question),
        ("POST", [slot, "promote"]) => promote(host, slot, question).await,
        ("POST", [slot, change @ ("load" | "shadow" | "swap" | "rollback")]) => {
            host.slots().view(slot).ok_or_else(|| no_slot(slot))?;
            tracing::info!(by = question.caller.name, slot, change, "plugin change ordered");
            // Goes on to its end also when whoever asked hangs up: a swap is whole or not at all.
            let (owner, slot_name, change_name) = (host.clone(), (*slot).to_owned(), (*change).to_owned());
            let candidate = if *change == "rollback" { None } else { candidate(question)? };
            let by = question.caller.name.clone();
            let work = tokio::spawn(async move { owner.change_plugin(&by, &slot_name, &change_name, candidate).await });
            match work.await {
                Ok(Ok(())) => show(host, slot),
                Ok(Err(error)) => Err(not_taken(slot, &error)),
                Err(error) => Err(Told::failed(&error.into(), slot)),
            }
        }
        _ => Err(question.no_such_path()),
    }
}

/// Changes nothing: it may be asked of any host at any time, and keeps its policy workers busy.
async fn exercise(host: &Arc<Host>, slot: &str, question: &Question) -> Answer {
    host.slots().view(slot).ok_or_else(|| no_slot(slot))?;
    let wanted: Exercise = question.json()?;
    tracing::info!(by = question.caller.name, slot, wanted.decisions, "exercise ordered");
    let exercised = host.exercise(slot, wanted.decisions).await;
    document(&exercised.map_err(|error| Told::failed(&error, slot))?)
}

/// What a shadow showed so far.
fn diff(host: &Host, slot: &str) -> Answer {
    host.slots().view(slot).ok_or_else(|| no_slot(slot))?;
    document(&host.slots().tally(slot).ok_or_else(|| no_shadow(slot))?)
}

fn unshadow(host: &Host, slot: &str, question: &Question) -> Answer {
    host.slots().view(slot).ok_or_else(|| no_slot(slot))?;
    let ended = host.slots().end_shadow(slot).map_err(|error| Told::failed(&error, slot))?;
    if !ended {
        return Err(no_shadow(slot));
    }
    tracing::info!(by = question.caller.name, slot, "shadow ended");
    show(host, slot)
}

/// A shadow that showed what is asked of it takes the active revision's place, as a swap does.
async fn promote(host: &Arc<Host>, slot: &str, question: &Question) -> Answer {
    host.slots().view(slot).ok_or_else(|| no_slot(slot))?;
    let wanted: Promotion = question.json()?;
    let requirement: Requirement =
        wanted.require.parse().map_err(|wrong: String| bad_request(wrong, "require", "correct it and ask again"))?;
    host.slots().tally(slot).ok_or_else(|| no_shadow(slot))?;
    let (owner, name, by) = (host.clone(), slot.to_owned(), question.caller.name.clone());
    // Goes on to its end also when whoever asked hangs up.
    let work = tokio::spawn(async move { owner.promote(&by, &name, &requirement).await });
    match work.await {
        Ok(Ok(Ok(()))) => show(host, slot),
        Ok(Ok(Err(reasons))) => refused(&Refused { by_guard: true, reasons }),
        Ok(Err(error)) => Err(not_taken(slot, &error)),
        Err(error) => Err(Told::failed(&error.into(), slot)),
    }
}

fn no_shadow(slot: &str) -> Told {
    let next = format!("begin one with `tidegate plugin shadow {slot} FILE`");
    Told::new(StatusCode::NOT_FOUND, format!("nothing decides beside the active revision of slot {slot}"), slot, next)
}

fn show(host: &Host, slot: &str) -> Answer {
    document(&host.plugin(slot).ok_or_else(|| no_slot(slot))?)
}

/// None = no body, or one that says nothing.
fn candidate(question: &Question) -> Result<Option<Change>, Told> {
    if [&b""[..], b"{}", b"null"].contains(&question.body.trim_ascii()) {
        return Ok(None);
    }
    let kind = question.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/wasm" | "application/octet-stream" => {
            let component = Component::Bytes(question.body.clone());
            Ok(Some(Change { component, settings: header(question, SETTINGS)?, limits: header(question, LIMITS)? }))
        }
        "application/json" => {
            let candidate: Candidate = question.json()?;
            stays_inside(&candidate.plugin)?;
            let Candidate { plugin, settings, limits } = candidate;
            Ok(Some(Change { component: Component::Named(plugin), settings, limits }))
        }
        _ => {
            let next = "send application/wasm with the component's bytes, or application/json with {\"plugin\": …}";
            Err(bad_request(format!("a candidate cannot be of the kind `{kind}`"), "header content-type", next))
        }
    }
}

fn header(question: &Question, name: &str) -> Result<Option<Value>, Told> {
    let Some(header) = question.headers.get(name) else { return Ok(None) };
    let parsed = serde_json::from_slice(header.as_bytes());
    parsed.map(Some).map_err(|error| bad_request(format!("it is no JSON: {error}"), name, "send one JSON object"))
}

/// Over the API only what lies in the plugin directory can be named: the host may read more than whoever asks.
fn stays_inside(plugin: &str) -> Result<(), Told> {
    let Some(path) = plugin.strip_prefix("file:") else { return Ok(()) };
    if Path::new(path).components().all(|part| matches!(part, Part::Normal(_) | Part::CurDir)) {
        return Ok(());
    }
    let next = "put the component into the fleet file's plugin directory and name it from there, or send its bytes";
    Err(bad_request(format!("`{path}` does not lie in the plugin directory"), "plugin", next))
}

fn no_slot(slot: &str) -> Told {
    Told::no_such("slot", slot, "`tidegate plugin list` shows them all")
}

fn not_taken(slot: &str, error: &anyhow::Error) -> Told {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Told {
            status: StatusCode::UNPROCESSABLE_ENTITY.as_u16(),
            what: format!("{}: {}", refusal.what, refusal.why),
            at: format!("slot {slot}"),
            unchanged: refusal.unchanged.clone(),
            next: refusal.next.clone(),
        };
    }
    Told {
        status: StatusCode::UNPROCESSABLE_ENTITY.as_u16(),
        what: format!("{error:#}"),
        at: format!("slot {slot}"),
        unchanged: format!("slot {slot} keeps the revision that it had"),
        next: "correct what is named and try again; `tidegate plugin inspect` shows what the host sees in a file"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_lies_in_the_plugin_directory() {
        for (plugin, inside) in [
            ("builtin:failover-quorum", true),
            ("file:follow-the-sun.wasm", true),
            ("file:./team/policy.wasm", true),
            ("file:../policy.wasm", false),
            ("file:team/../../policy.wasm", false),
            ("file:/etc/shadow", false),
        ] {
            assert_eq!(stays_inside(plugin).is_ok(), inside, "{plugin}");
        }
    }
}
