//! Carries out one step of a runbook and says definitely how it ended, or that nobody knows yet.
//!
//! Knows no order of steps and no retry: those are the kernel's. Every call carries its epoch and its key, so that
//! whoever is called can refuse the outdated and do the repeated only once.

use tidegate_kernel::contract::{Call, Cluster, Done, Failure, Node, Output, Proof, Route};
use tidegate_kernel::event::{Action, StepOutcome};

use super::hands::arguments;
use super::{Host, readiness};
use crate::agents::protocol::Order;

/// Of a command's output, what a person gets to see in a step.
const OUTPUT_SHOWN: usize = 2_000;

/// Carries out `action`.
pub(super) async fn perform(host: &Host, action: Action, call: Call) -> StepOutcome {
    match action {
        Action::PointRoute { slot, route } => point_route(host, &slot, route, call).await,
        Action::CheckReady { service, to } => check_ready(host, &service, &to).await,
        Action::PerformAction { slot, name, arguments } => {
            outcome(host.slots().perform(&slot, &name, &arguments, &call).await)
        }
        Action::UndoAction { slot, name, receipt } => {
            outcome(host.slots().undo(&slot, &name, receipt.as_deref(), &call).await)
        }
        Action::RunCommand { site, invocation } => {
            let order = Order {
                key: call.key,
                command: invocation.runbook,
                arguments: arguments(invocation.arguments),
                timeout: call.timeout,
            };
            command_outcome(host.agents().run_command(&site, order).await)
        }
        Action::AwaitProof { .. } | Action::AwaitHealthy { .. } | Action::Hold { .. } | Action::Confirm { .. } => {
            StepOutcome::Failed(Failure::Invalid("the kernel itself waits for this".to_owned()))
        }
        data => on_data(host, data, call).await,
    }
}

/// What a step does to a database, through the slot of its cluster's provider.
async fn on_data(host: &Host, action: Action, call: Call) -> StepOutcome {
    let live = host.live();
    let Some(cluster) = action.cluster().and_then(|name| live.fleet.clusters.iter().find(|c| c.name == name)) else {
        return StepOutcome::Failed(Failure::NotFound("the step's cluster is no longer declared".to_owned()));
    };
    let (slots, slot, name) = (host.slots(), cluster.slot.as_str(), cluster.name.as_str());
    let plain = |result: Result<(), Failure>| outcome(result.map(|()| blank("done")));
    match &action {
        Action::Fence { node, .. } => outcome(slots.fence(slot, name, node, &call).await.map(proven)),
        Action::Unfence { node, .. } => plain(slots.unfence(slot, name, node, &call).await),
        Action::Detach { node, .. } => plain(slots.detach(slot, name, node, &call).await),
        Action::ReadPositions { .. } => outcome(slots.topology(slot, name).await.map(|seen| read(&seen))),
        Action::CatchUp { node, source, .. } if node == source => StepOutcome::Done(blank("it is the most advanced")),
        Action::CatchUp { node, source, .. } => plain(slots.catch_up(slot, name, node, source, &call).await),
        Action::Promote { node, .. } => plain(slots.promote(slot, name, node, &call).await),
        Action::Rejoin { node, primary, .. } => plain(slots.rejoin(slot, name, node, primary, &call).await),
        Action::SetSynchronous { node, set, .. } => plain(slots.set_synchronous(slot, name, node, set, &call).await),
        Action::VerifyData { node, checks, .. } => {
            outcome(slots.verify(slot, name, node, checks, &call).await.and_then(|answers| judged(checks, &answers)))
        }
        _ => StepOutcome::Failed(Failure::Invalid("this is no step on a database".to_owned())),
    }
}

fn blank(text: &str) -> Done {
    Done { text: text.to_owned(), receipt: String::new() }
}

fn proven(proof: Proof) -> Done {
    let at = proof.position.map_or(String::new(), |position| format!(" at {position}"));
    Done { text: format!("{}{at}", proof.kind), receipt: as_json(&proof) }
}

fn read(seen: &Cluster) -> Done {
    let position = |node: &Node| Some(format!("{} {}", node.id, node.received.or(node.replayed)?));
    let positions: Vec<String> = seen.nodes.iter().filter_map(position).collect();
    Done { text: positions.join(", "), receipt: as_json(seen) }
}

fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A check holds if the data answers `t`; the first that does not is told.
fn judged(checks: &[String], answers: &[String]) -> Result<Done, Failure> {
    let failed = checks.iter().zip(answers).find(|(_, answer)| !matches!(answer.as_str(), "t" | "true"));
    match failed {
        Some((check, answer)) => Err(Failure::Rejected(format!("`{check}` answered {answer:?}"))),
        None => Ok(blank(&format!("{} checks hold", checks.len()))),
    }
}

/// The provider reads back after it has written; what it answers is what the servers say.
async fn point_route(host: &Host, slot: &str, route: Route, call: Call) -> StepOutcome {
    let name = route.name.clone();
    match host.slots().point_route(slot, route.clone(), call).await {
        Ok(read) if leads_the_same(&read, &route) => {
            let text = format!("{name} leads to {}", targets(&read));
            StepOutcome::Done(Done { text, receipt: String::new() })
        }
        Ok(read) => {
            StepOutcome::Unknown(format!("{name} was to lead to {}, and reads {}", targets(&route), targets(&read)))
        }
        Err(failure) => failed(failure),
    }
}

async fn check_ready(host: &Host, service: &str, to: &str) -> StepOutcome {
    let live = host.live();
    let Some(service) = live.service(service) else {
        return StepOutcome::Failed(Failure::NotFound(format!("service {service}")));
    };
    let blockers = readiness::blockers(host, &live, service).await;
    if blockers.is_empty() {
        let text = format!("all that {} needs at {to} works", service.name);
        return StepOutcome::Done(Done { text, receipt: String::new() });
    }
    let texts: Vec<_> = blockers.into_iter().map(|blocker| blocker.text).collect();
    StepOutcome::Failed(Failure::Rejected(texts.join("; ")))
}

fn outcome(result: Result<Done, Failure>) -> StepOutcome {
    result.map_or_else(failed, StepOutcome::Done)
}

/// Only one kind of failure leaves open what happened.
fn failed(failure: Failure) -> StepOutcome {
    match failure {
        Failure::UnknownOutcome(why) => StepOutcome::Unknown(why),
        failure => StepOutcome::Failed(failure),
    }
}

fn command_outcome(result: Result<Output, Failure>) -> StepOutcome {
    match result {
        Ok(output) if output.status == 0 => {
            StepOutcome::Done(Done { text: shown(&output.stdout), receipt: String::new() })
        }
        Ok(output) => {
            let text = format!("the command ended with status {}: {}", output.status, shown(&output.stderr));
            StepOutcome::Failed(Failure::Rejected(text))
        }
        Err(failure) => failed(failure),
    }
}

fn shown(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.trim().chars().take(OUTPUT_SHOWN).collect()
}

/// Weights are rounded to what a server can express, so only who gets traffic and who does not is compared.
fn leads_the_same(read: &Route, meant: &Route) -> bool {
    let live = |route: &Route| {
        let mut targets: Vec<_> = route.endpoints.iter().filter(|endpoint| endpoint.weight > 0).cloned().collect();
        targets.sort_by(|a, b| a.target.cmp(&b.target));
        targets.into_iter().map(|endpoint| endpoint.target).collect::<Vec<_>>()
    };
    live(read) == live(meant)
}

fn targets(route: &Route) -> String {
    let with_traffic = route.endpoints.iter().filter(|endpoint| endpoint.weight > 0);
    let targets: Vec<_> = with_traffic.map(|endpoint| endpoint.target.as_str()).collect();
    if targets.is_empty() { "nothing".to_owned() } else { targets.join(", ") }
}

#[cfg(test)]
mod tests {
    use tidegate_kernel::contract::Endpoint;

    use super::*;

    fn route(endpoints: &[(&str, u32)]) -> Route {
        let endpoint = |(target, weight): &(&str, u32)| Endpoint {
            site: String::new(),
            target: (*target).to_owned(),
            weight: *weight,
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        Route { name: "shop.test".into(), ttl_seconds: 5, endpoints, written_by: None, age: 0, facts: Vec::new() }
    }

    #[test]
    fn a_route_is_what_was_meant_if_the_same_targets_get_traffic() {
        let meant = route(&[("10.0.0.1", 33), ("10.0.0.2", 67), ("10.0.0.3", 0)]);
        for (read, same) in [
            (route(&[("10.0.0.2", 1), ("10.0.0.1", 1)]), true),
            (route(&[("10.0.0.1", 1)]), false),
            (route(&[("10.0.0.1", 1), ("10.0.0.2", 1), ("10.0.0.3", 1)]), false),
            (route(&[]), false),
        ] {
            assert_eq!(leads_the_same(&read, &meant), same, "{}", targets(&read));
        }
    }

    #[test]
    fn only_a_command_that_ended_well_is_done_and_only_silence_is_unknown() {
        let ended = |status| Ok(Output { status, stdout: b" started \n".to_vec(), stderr: b"no such unit".to_vec() });
        assert_eq!(
            command_outcome(ended(0)),
            StepOutcome::Done(Done { text: "started".to_owned(), receipt: String::new() })
        );
        let text = "the command ended with status 5: no such unit".to_owned();
        assert_eq!(command_outcome(ended(5)), StepOutcome::Failed(Failure::Rejected(text)));
        let silent = Failure::UnknownOutcome("no answer".to_owned());
        assert_eq!(command_outcome(Err(silent)), StepOutcome::Unknown("no answer".to_owned()));
        let denied = Failure::Denied("not granted".to_owned());
        assert_eq!(command_outcome(Err(denied.clone())), StepOutcome::Failed(denied));
    }
}
