//! What a sound fleet file does not keep: promises that its own services, sites and vantage points cannot hold.
//!
//! Knows the fleet file only; whether plugins, secrets and servers answer is checked by whoever can reach them.

use std::collections::BTreeSet;

use super::data::Data;
use super::duration::write_duration;
use super::problem::Level;
use super::survival::{Outlook, Survival, is_allowed, survivals};
use super::{Fleet, Mode, Service};
use crate::contract::{Autonomy, Millis};

/// Something that the operator should know before the night in which it matters.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// An error breaks one of the guard's own rules: what it is about will never be done.
    pub severity: Level,
    /// Stable, for machines.
    pub code: String,
    /// What it is about: a service's name, or "fleet".
    pub about: String,
    /// What is the matter.
    pub what: String,
    /// What to do.
    pub todo: String,
}

/// Everything that the fleet promises and cannot keep; errors first.
pub fn check(fleet: &Fleet) -> Vec<Finding> {
    let mut findings = Vec::new();
    check_fleet(fleet, &mut findings);
    for service in &fleet.services {
        check_jurisdictions(fleet, service, &mut findings);
        check_dependencies(fleet, service, &mut findings);
        check_speed(service, &mut findings);
        Data::of(fleet, service).iter().for_each(|data| data.findings(&mut findings));
    }
    let survivals = survivals(fleet);
    findings.extend(survivals.iter().filter_map(|survival| check_survival(fleet, survival)));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

pub(super) fn warning(code: &str, about: &str, what: String, todo: impl Into<String>) -> Finding {
    let (code, about) = (code.to_owned(), about.to_owned());
    Finding { severity: Level::Warning, code, about, what, todo: todo.into() }
}

fn check_fleet(fleet: &Fleet, findings: &mut Vec<Finding>) {
    if fleet.host.mode == Mode::Observe {
        let what = "host.mode is \"observe\": everything is decided and recorded, and nothing is done".to_owned();
        findings.push(warning(
            "observe-only",
            "fleet",
            what,
            "set mode = \"act\" when its decisions have earned your trust",
        ));
    }
    let domains: BTreeSet<&str> = fleet.vantages.iter().map(|vantage| vantage.failure_domain.as_str()).collect();
    if domains.len() < 3 {
        let what = format!(
            "services are looked at from {} failure domain(s): the loss of one leaves no majority",
            domains.len()
        );
        findings.push(warning("few-vantages", "fleet", what, "run agents at sites in three failure domains"));
    }
    for vantage in fleet.vantages.iter().filter(|vantage| vantage.control_targets.is_empty()) {
        let what =
            format!("vantage point {} has no control targets: cut off, it would blame the services", vantage.name);
        let todo = "give it control-targets = [\"tcp://ADDRESS:PORT\"]: things that answer unless it is cut off itself";
        findings.push(warning("no-control-targets", "fleet", what, todo));
    }
    if fleet.channels.is_empty() {
        let what = "there is no channel: nobody would be told".to_owned();
        findings.push(warning("nobody-told", "fleet", what, "declare one: [channel.NAME] slot = \"notify/…\""));
    }
    check_operators(fleet, findings);
}

fn check_operators(fleet: &Fleet, findings: &mut Vec<Finding>) {
    let over_tcp = fleet.host.listen.iter().any(|address| !address.starts_with("unix:"));
    if over_tcp && !fleet.people.values().any(|person| person.token.is_some()) {
        let what = "the host listens on an address, and nobody has a token for it".to_owned();
        findings.push(warning("nobody-admitted", "fleet", what, "give a person a token: [person.NAME] token = \"…\""));
    }
}

fn check_jurisdictions(fleet: &Fleet, service: &Service, findings: &mut Vec<Finding>) {
    for place in service.places.iter().filter(|place| !is_allowed(fleet, service, place)) {
        let site = &fleet.sites[place.site.at()];
        let there = site.jurisdiction.as_deref().unwrap_or("none declared");
        let allowed = service.jurisdictions.join(", ");
        findings.push(Finding {
            severity: Level::Error,
            code: "outside-jurisdiction".to_owned(),
            about: service.name.clone(),
            what: format!("{} is outside its jurisdictions (there: {there}; allowed: {allowed})", site.name),
            todo: "take the place out, or allow its jurisdiction".to_owned(),
        });
    }
}

fn check_dependencies(fleet: &Fleet, service: &Service, findings: &mut Vec<Finding>) {
    for needed in service.depends_on.iter().map(|id| &fleet.services[id.at()]) {
        let (ours, theirs) = (service.objectives.rto, needed.objectives.rto);
        if ours < theirs {
            let (ours, theirs) = (write_duration(ours), write_duration(theirs));
            let what = format!("promised back in {ours}, and needs {}, promised in {theirs} only", needed.name);
            let todo = format!("raise its rto, or lower that of {}", needed.name);
            findings.push(warning("promised-better-than-needed", &service.name, what, todo));
        }
        if service.tier < needed.tier {
            let what = format!("is {}, and needs {}, which is only {}", service.tier, needed.name, needed.tier);
            let todo = format!("give {} the same tier", needed.name);
            findings.push(warning("promised-better-than-needed", &service.name, what, todo));
        }
    }
}

/// Detection and the caches alone may take longer than promised.
fn check_speed(service: &Service, findings: &mut Vec<Finding>) {
    let probe = &service.probe;
    let detection = probe.interval * Millis::from(probe.bad) + probe.timeout;
    let caches = service.route.as_ref().map_or(0, |route| Millis::from(route.ttl_seconds) * 1_000);
    if service.failover != Autonomy::Manual && detection + caches > service.objectives.rto {
        let (seen, caches) = (write_duration(detection), write_duration(caches));
        let what = format!("its rto of {} is over before it can be met", write_duration(service.objectives.rto));
        let what = format!("{what}: {seen} to see a loss, {caches} until caches let go");
        findings.push(warning(
            "rto-out-of-reach",
            &service.name,
            what,
            "look more often, shorten the ttl, or promise less",
        ));
    }
}

/// A loss that was meant to be survived without a person, and is not. In observe mode one finding says it for all.
fn check_survival(fleet: &Fleet, survival: &Survival) -> Option<Finding> {
    let service = &fleet.services[survival.service.at()];
    let by_itself = service.failover != Autonomy::Manual && fleet.host.mode == Mode::Act;
    let site = &fleet.sites[survival.site.at()].name;
    let because = &survival.reason;
    match survival.outlook {
        Outlook::Lost => {
            let what = format!("would not survive the loss of {site}: {because}");
            Some(warning(
                "loss-not-survived",
                &service.name,
                what,
                "declare it at a site that does not fail together with it",
            ))
        }
        Outlook::Asks if by_itself => {
            let what = format!("is to move by itself, and would ask a person at the loss of {site}: {because}");
            Some(warning("never-by-itself", &service.name, what, "remove the cause, or set failover = \"manual\""))
        }
        Outlook::Asks | Outlook::Untouched | Outlook::Moves(_) => None,
    }
}
