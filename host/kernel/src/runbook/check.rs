//! What is wrong with a runbook.

use super::{Fleet, Problem, Template, Undo};

/// Problems of the steps themselves: in doubt about order, two points of no return, an undo that nobody could do.
pub(super) fn problems(steps: &[Template]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = steps.iter().enumerate().flat_map(|(at, _)| of_step(steps, at)).collect();
    let finals: Vec<&Template> = steps.iter().filter(|step| step.point_of_no_return).collect();
    if let [_, second, ..] = finals[..] {
        problems.push(problem(second, "a runbook has one point of no return at most"));
    }
    problems
}

/// Commands and actions that the fleet file does not declare.
pub(super) fn undeclared(steps: &[Template], fleet: &Fleet) -> Vec<Problem> {
    let mut problems = Vec::new();
    for step in steps {
        for (action, command) in called(step) {
            if let Some(action) = action.filter(|name| !fleet.actions.contains_key(*name)) {
                problems.push(problem(step, &format!("no [action.{action}] is declared")));
            }
            if let Some(command) = command.filter(|name| !fleet.commands.contains_key(*name)) {
                problems.push(problem(step, &format!("no [command.{command}] is declared")));
            }
        }
    }
    problems
}

fn called(step: &Template) -> Vec<(Option<&String>, Option<&String>)> {
    let mut calls = vec![(step.action.as_ref(), step.command.as_ref())];
    let undo = match &step.undo {
        Some(Undo::Call(undo)) => Some(undo),
        _ => None,
    };
    calls.extend(step.verify.iter().chain(undo).map(|call| (call.action.as_ref(), call.command.as_ref())));
    calls
}

fn of_step(steps: &[Template], at: usize) -> Vec<Problem> {
    let step = &steps[at];
    let mut problems = Vec::new();
    if steps[..at].iter().any(|other| other.name == step.name) {
        problems.push(problem(step, "two steps have this name"));
    }
    for need in step.needs.iter().flatten() {
        // Only steps above can be needed, so a circle cannot be written.
        if !steps[..at].iter().any(|other| other.name == *need) {
            problems.push(problem(step, &format!("needs {need}, which is no step above it")));
        }
    }
    if kinds(step) != 1 {
        let all = "check-ready, route, await-healthy, data, hold, confirm, action, command";
        problems.push(problem(step, &format!("does exactly one of: {all}")));
    }
    problems.extend(of_durations(step));
    problems.extend(of_undo(step));
    problems
}

fn kinds(step: &Template) -> usize {
    let flags = [step.check_ready, step.route, step.await_healthy, step.hold.is_some(), step.confirm.is_some()];
    flags.iter().filter(|flag| **flag).count()
        + usize::from(step.action.is_some())
        + usize::from(step.command.is_some())
        + usize::from(step.data.is_some())
}

fn of_durations(step: &Template) -> Option<Problem> {
    let bad = [&step.timeout, &step.hold].into_iter().flatten().find(|t| crate::fleet::parse_duration(t).is_none())?;
    Some(problem(step, &format!("{bad} is no length of time; write 10s, 2m or 1h")))
}

fn of_undo(step: &Template) -> Option<Problem> {
    match &step.undo {
        Some(Undo::Itself(true)) if step.action.is_none() => {
            Some(problem(step, "only an action can undo itself; name a command or an action as the undo"))
        }
        Some(Undo::Call(call)) if call.action.is_some() == call.command.is_some() => {
            Some(problem(step, "the undo is either an action or a command"))
        }
        Some(_) if step.point_of_no_return => Some(problem(step, "what cannot be returned from has no undo")),
        _ => None,
    }
}

fn problem(step: &Template, text: &str) -> Problem {
    Problem { at: format!("step {}", step.name), text: text.to_owned() }
}
