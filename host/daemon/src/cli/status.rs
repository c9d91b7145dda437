//! `tidegate status`: what is where, the worst first, and whether it could be moved.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use tidegate_kernel::contract::{Endpoint, Reason, Severity, State, Status};
use tidegate_kernel::fleet::Mode;
use tidegate_kernel::state::{Drift, Evacuation, EvacuationEnd, Ruling};
use tidegate_kernel::view::{FleetStatus, Movable, PlaceStatus, RouteStatus, ServiceStatus, question_name};

use crate::cli::console::Console;
use crate::cli::failed::{Exit, Failed};
use crate::cli::text::{Cell, Table, Tone, cell, facts, paint};
use crate::cli::times::{Times, length};
use crate::cli::{Common, database, evacuate, reach, runs};
use crate::client::{Fetched, encode};

/// Between two looks of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// `status [SERVICE]`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate status                                the fleet, the worst first
  tidegate status shop                           one service, with each site's votes
  tidegate status --watch
  tidegate status --json | jq '.services[] | select(.movable.no)'")]
pub struct StatusOf {
    /// One service [default: the whole fleet].
    pub service: Option<String>,
    /// Show it again every second, until interrupted.
    #[arg(long)]
    pub watch: bool,
}

/// Shows it once, or until interrupted.
pub async fn run(common: &Common, console: &Console, asked: &StatusOf) -> Result<Exit, Failed> {
    let client = reach::host(common)?;
    loop {
        match &asked.service {
            Some(name) => {
                let status = client.fetch(&format!("/v1/services/{}", encode(name))).await?;
                show(console, asked.watch, &status, service)?;
            }
            None => {
                let status = client.fetch("/v1/status").await?;
                show(console, asked.watch, &status, fleet)?;
            }
        }
        if !asked.watch {
            return Ok(Exit::Done);
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

fn show<T>(
    console: &Console,
    again: bool,
    status: &Fetched<T>,
    render: fn(&T, &Times) -> String,
) -> Result<(), Failed> {
    if again { console.redraw(status, render) } else { console.show_fetched(status, render) }
}

/// The whole fleet.
pub fn fleet(status: &FleetStatus, times: &Times) -> String {
    let times = times.moved_to(status.now);
    let mut text = alarms(status, &times);
    let mut table = Table::new(["service", "tier", "state", "served from", "health", "for", "movable"]);
    for service in &status.services {
        table.row([
            cell(&service.name, Tone::Title),
            service.tier.as_str().into(),
            cell(service.state.as_str(), state_tone(service.state)),
            served_from(service).into(),
            cell(service.status.as_str(), status_tone(service.status)),
            length(service.state_held).into(),
            movable(service),
        ]);
    }
    text += &table.render();
    for run in &status.runs {
        let _ = write!(text, "\n{}", runs::line(run, &times));
    }
    // One that is over is worth a word only if it stopped.
    let told = |evacuation: &&Evacuation| evacuation.end != Some(EvacuationEnd::Done);
    if let Some(evacuation) = status.evacuation.as_ref().filter(told) {
        let _ = write!(text, "\n{}", evacuate::block(evacuation, &times));
    }
    for question in &status.questions {
        let name = question_name(question.id);
        let title = paint(format!("question {name}"), Tone::Warning);
        let words = paint(format!("tidegate approve {name}, or tidegate reject {name}"), Tone::Quiet);
        let _ = writeln!(text, "\n{title} {}: {}\n  {words}", question.service, question.text);
    }
    text + "\n" + &paint(totals(status, &times), Tone::Quiet) + "\n"
}

/// One service, with what each site's vantage points say.
pub fn service(status: &ServiceStatus, times: &Times) -> String {
    let mut text = format!(
        "{} is {} at {}, and {} there\n\n",
        paint(&status.name, Tone::Title),
        paint(status.state.as_str(), state_tone(status.state)),
        served_from(status),
        paint(status.status.as_str(), status_tone(status.status)),
    );
    text += &facts(service_facts(status, times));
    text.push('\n');
    text += &places(&status.places);
    if let Some(database) = &status.database {
        let _ = write!(text, "\n{}", database::nodes(database));
    }
    if let Some(run) = &status.run {
        let _ = write!(text, "\n{}", runs::line(run, times));
    }
    text
}

/// What each site's vantage points say, one line for each site.
pub fn places(places: &[PlaceStatus]) -> String {
    let mut table = Table::new(["site", "endpoint", "health", "domains", "looks"]);
    for place in places {
        let consensus = &place.consensus;
        let looks =
            place.observations.iter().map(|look| format!("{} {}", look.vantage, look.outcome)).collect::<Vec<_>>();
        table.row([
            place.site.as_str().into(),
            place.endpoint.as_str().into(),
            cell(consensus.status.as_str(), status_tone(consensus.status)),
            format!("{} of {} agree, {} expected", consensus.agreeing, consensus.voting, consensus.expected).into(),
            looks.join(", ").into(),
        ]);
    }
    table.render()
}

/// What a status means for its reader.
pub fn status_tone(status: Status) -> Tone {
    match status {
        Status::Healthy => Tone::Good,
        Status::Degraded | Status::Unknown => Tone::Warning,
        Status::Unhealthy => Tone::Bad,
    }
}

/// What a state means for its reader.
pub fn state_tone(state: State) -> Tone {
    match state {
        State::Normal => Tone::Good,
        State::FailedOver | State::FailingBack | State::Degraded => Tone::Warning,
        State::FailingOver => Tone::Bad,
    }
}

/// `eu-west 10.0.2.5, us-east 10.0.1.5 (30 %)`.
pub fn endpoints(endpoints: &[Endpoint]) -> String {
    let total: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
    let one = |endpoint: &Endpoint| match endpoint.weight {
        weight if endpoints.len() > 1 && total > 0 => {
            format!("{} {} ({} %)", endpoint.site, endpoint.target, weight * 100 / total)
        }
        _ => format!("{} {}", endpoint.site, endpoint.target).trim_start().to_owned(),
    };
    match endpoints {
        [] => "nothing".to_owned(),
        some => some.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// What differs between the DNS servers and what was last written, in one sentence.
pub fn drift(drift: &Drift) -> String {
    match drift.expected.as_slice() {
        // Never ours: there is nothing to compare with.
        [] => drift.text.clone(),
        expected => format!("the DNS servers say {}, expected was {}", endpoints(&drift.found), endpoints(expected)),
    }
}

/// Sentences one after the other.
pub fn sentences(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
}

/// What stops the whole fleet, the worst first.
fn alarms(status: &FleetStatus, times: &Times) -> String {
    let mut lines = Vec::new();
    if let Some(freeze) = &status.freeze {
        lines.push((
            Tone::Bad,
            format!("frozen {}: {} (tidegate rearm)", times.distance(freeze.since.wall), freeze.text),
        ));
    }
    if let Some(brake) = &status.brake {
        lines.push((
            Tone::Bad,
            format!("the brake tripped {}: {} (tidegate rearm)", times.distance(brake.since.wall), brake.text),
        ));
    }
    if let Some(pause) = &status.paused {
        lines.push((
            Tone::Warning,
            format!("paused by {} {}: {} (tidegate resume)", pause.by, times.distance(pause.since.wall), pause.reason),
        ));
    }
    for vantage in status.vantages.iter().filter(|vantage| !vantage.sound || !vantage.fresh) {
        let why = if vantage.fresh { "is cut off from its control targets" } else { "is silent" };
        lines.push((Tone::Warning, format!("vantage point {} {why}: it does not vote", vantage.name)));
    }
    lines.extend(status.services.iter().flat_map(called_for));
    if status.warming_up {
        lines.push((Tone::Warning, "just started: silence is no evidence yet".to_owned()));
    }
    if status.mode == Mode::Observe {
        lines.push((Tone::Warning, "observe mode: everything is decided and recorded, nothing is moved".to_owned()));
    }
    let text: String = lines.iter().map(|(tone, line)| paint(line, *tone) + "\n").collect();
    if text.is_empty() { text } else { text + "\n" }
}

/// What people are to know of a service at once.
fn called_for(service: &ServiceStatus) -> Vec<(Tone, String)> {
    let name = &service.name;
    let mut lines = Vec::new();
    if let Some(failed) = service.database.as_ref().and_then(|database| database.unsound.as_ref()) {
        lines.push((Tone::Bad, format!("{name}: a check of its data failed: {failed}")));
    }
    if let Some((last, alarm)) = service.decision.as_ref().and_then(|last| Some((last, last.alarm?))) {
        let tone = if alarm == Severity::Critical { Tone::Bad } else { Tone::Warning };
        lines.push((tone, format!("{name}: {}: {}", last.analysis, sentences(&last.reasons))));
    }
    lines
}

fn totals(status: &FleetStatus, times: &Times) -> String {
    let yes = status.services.iter().filter(|service| matches!(service.movable, Movable::Yes(_))).count();
    let mut text = format!("{yes} of {} services movable, {}", status.services.len(), times.show(status.now));
    if status.messages_waiting > 0 {
        let _ = write!(text, ", {} messages not yet delivered", status.messages_waiting);
    }
    text
}

fn served_from(service: &ServiceStatus) -> String {
    let shares: Vec<_> = service.shares.iter().filter(|share| share.per_cent > 0).collect();
    match shares.as_slice() {
        [] | [_] => service.active_site.clone(),
        many => many.iter().map(|share| format!("{} {} %", share.site, share.per_cent)).collect::<Vec<_>>().join(", "),
    }
}

/// In a table there is room for one reason; the service's own page has them all.
fn movable(service: &ServiceStatus) -> Cell {
    match &service.movable {
        Movable::Yes(to) => cell(format!("yes: to {to}"), Tone::Good),
        Movable::No(because) => {
            let first = because.first().map_or("", |reason| &reason.text);
            let more = if because.len() > 1 { format!(" (and {} more)", because.len() - 1) } else { String::new() };
            cell(format!("no: {first}{more}"), Tone::Warning)
        }
    }
}

fn service_facts<'a>(status: &'a ServiceStatus, times: &Times) -> Vec<(&'a str, String)> {
    let mut facts = Vec::new();
    if let Some(found) = &status.drift {
        let next = paint("(tidegate adopt, or tidegate reapply)", Tone::Quiet);
        facts.push(("drift", format!("{} {next}", paint(drift(found), Tone::Bad))));
    }
    facts.push((
        "movable",
        match &status.movable {
            Movable::Yes(to) => paint(format!("yes: to {to}"), Tone::Good),
            Movable::No(because) => paint(format!("no: {}", sentences(because)), Tone::Warning),
        },
    ));
    if let Some(pause) = &status.paused {
        facts.push(("paused", format!("by {} {}: {}", pause.by, times.distance(pause.since.wall), pause.reason)));
    }
    facts.push(("since", format!("{}, {}", times.show(status.since), times.distance(status.since))));
    if status.active_site != status.preferred_site {
        facts.push(("prefers", status.preferred_site.clone()));
    }
    if status.in_maintenance {
        facts.push(("maintenance", "a window is open: nothing is moved by itself".to_owned()));
    }
    facts.extend(status.database.iter().flat_map(|database| database::lines(database, times)));
    facts.extend(status.route.iter().flat_map(|route| route_facts(route, times)));
    facts.extend(decision_fact(status, times));
    facts.push(("epoch", status.epoch.to_string()));
    facts
}

fn route_facts<'a>(route: &RouteStatus, times: &Times) -> Vec<(&'a str, String)> {
    let mut facts = vec![(
        "route",
        format!("{} leads to {}, TTL {} s", route.name, endpoints(&route.endpoints), route.ttl_seconds),
    )];
    if let Some(at) = route.dns_changed_at {
        facts.push(("answer changed", format!("{}, {}", times.show(at), times.distance(at))));
    }
    if let Some(at) = route.last_cache_lets_go_at {
        let text = if at > times.now() {
            "the last cache may keep the old answer until"
        } else {
            "the last cache let go of the old answer by"
        };
        facts.push(("caches", format!("{text} {}", times.show(at))));
    }
    facts
}

fn decision_fact<'a>(status: &ServiceStatus, times: &Times) -> Option<(&'a str, String)> {
    let last = status.decision.as_ref()?;
    let mut text = format!("{}, {}", last.verdict.name(), times.distance(last.at.wall));
    if status.repeated > 0 {
        let _ = write!(text, ", and {} times the same since", status.repeated);
    }
    let why = match &last.ruling {
        Ruling::Hold(because) | Ruling::Ask { because, .. } if !because.is_empty() => sentences(because),
        _ => last.fault.clone().unwrap_or_else(|| sentences(&last.reasons)),
    };
    Some(("decision", if why.is_empty() { text } else { format!("{text}: {why}") }))
}
