//! From the templates of a runbook to the steps of one run: shifts, checks and approvals become steps of their own.

use std::collections::BTreeMap;

use super::{Action, CallTemplate, Fact, Invocation, Millis, Occasion, Problem, Share, Shift, Step, StepState};
use super::{Template, Undo, duration, mix, route_to};
use crate::state::largest;

/// A step that says nothing gets this long.
const TIMEOUT: Millis = 60_000;

/// All steps, with names resolved and placeholders filled in.
pub(super) fn unfold(templates: &[Template], occasion: &Occasion) -> Result<Vec<Step>, Problem> {
    let mut unfolding = Unfolding { occasion, steps: Vec::new(), ends: BTreeMap::new() };
    let mut before: Vec<usize> = Vec::new();
    for template in templates {
        before = unfolding.one(template, before)?;
    }
    Ok(unfolding.steps)
}

struct Unfolding<'a> {
    occasion: &'a Occasion<'a>,
    steps: Vec<Step>,
    /// Template → the steps that end it.
    ends: BTreeMap<String, Vec<usize>>,
}

impl Unfolding<'_> {
    /// One template: its approval, itself, its check. Returns what the next template needs by default.
    fn one(&mut self, template: &Template, before: Vec<usize>) -> Result<Vec<usize>, Problem> {
        let mut needs = match &template.needs {
            Some(named) => named.iter().filter_map(|name| self.ends.get(name)).flatten().copied().collect(),
            None => before,
        };
        if template.approval {
            let text = format!("May the step {} of {} begin?", template.name, self.occasion.service.name);
            needs = vec![self.push(&format!("{}-approval", template.name), Action::Confirm { text }, needs, 0)];
        }
        if template.route {
            needs = self.shifts(template, needs);
        } else if let Some(part) = template.data {
            needs = self.data(template, part, needs);
        } else {
            needs = vec![self.itself(template, needs)?];
        }
        if let Some(verify) = &template.verify {
            let action = self.call(verify, &template.name)?;
            let step = self.push(&format!("{}-check", template.name), action, needs, timeout(template));
            needs = vec![step];
        }
        self.ends.insert(template.name.clone(), needs.clone());
        Ok(needs)
    }

    /// One step for each node that this part concerns; where it concerns none, whatever needs it needs what it would have.
    fn data(&mut self, template: &Template, part: super::data::Part, needs: Vec<usize>) -> Vec<usize> {
        let Some(occasion) = self.occasion.data else { return needs };
        let several = super::data::steps(part, &occasion);
        let alone = several.len() == 1;
        let mut ends = Vec::new();
        for call in several {
            let name = if alone { template.name.clone() } else { format!("{}-{}", template.name, call.node) };
            let at = self.push(&name, call.action, needs.clone(), timeout(template));
            let step = &mut self.steps[at];
            (step.retries, step.undo) = (template.retries, call.undo);
            step.optional = template.optional || call.optional;
            step.point_of_no_return = template.point_of_no_return;
            ends.push(at);
        }
        if ends.is_empty() { needs } else { ends }
    }

    fn push(&mut self, name: &str, action: Action, needs: Vec<usize>, timeout: Millis) -> usize {
        self.steps.push(Step {
            name: name.to_owned(),
            manual: by_hand(self.occasion, &action),
            action,
            needs,
            timeout,
            retries: 0,
            undo: None,
            point_of_no_return: false,
            optional: false,
            state: StepState::default(),
        });
        self.steps.len() - 1
    }

    fn itself(&mut self, template: &Template, needs: Vec<usize>) -> Result<usize, Problem> {
        let action = self.action(template)?;
        let waits = matches!(action, Action::Confirm { .. }) && template.timeout.is_none();
        let timeout = if waits { 0 } else { timeout(template) };
        let undo = self.undo(template, &action)?;
        let at = self.push(&template.name, action, needs, timeout);
        let step = &mut self.steps[at];
        step.retries = template.retries;
        step.undo = undo;
        step.point_of_no_return = template.point_of_no_return;
        step.optional = template.optional;
        if let Some(manual) = &template.manual {
            step.manual = fill(manual, self.occasion);
        }
        Ok(at)
    }

    fn action(&self, template: &Template) -> Result<Action, Problem> {
        let service = self.occasion.service.name.clone();
        let to = largest(self.occasion.after).to_owned();
        Ok(if template.check_ready {
            Action::CheckReady { service, to }
        } else if template.await_healthy {
            Action::AwaitHealthy { service, site: to }
        } else if template.hold.is_some() {
            Action::Hold { duration: duration(template.hold.as_ref(), 0) }
        } else if let Some(text) = &template.confirm {
            Action::Confirm { text: fill(text, self.occasion) }
        } else {
            let call = CallTemplate {
                action: template.action.clone(),
                command: template.command.clone(),
                arguments: template.arguments.clone(),
                site: template.site.clone(),
            };
            self.call(&call, &template.name)?
        })
    }

    fn undo(&self, template: &Template, action: &Action) -> Result<Option<Action>, Problem> {
        match (&template.undo, action) {
            (Some(Undo::Call(call)), _) => self.call(call, &template.name).map(Some),
            (Some(Undo::Itself(true)), Action::PerformAction { slot, name, .. }) => {
                Ok(Some(Action::UndoAction { slot: slot.clone(), name: name.clone(), receipt: None }))
            }
            _ => Ok(None),
        }
    }

    fn call(&self, call: &CallTemplate, step: &str) -> Result<Action, Problem> {
        let arguments = call.arguments.iter().map(|(key, value)| (key.clone(), fill(value, self.occasion)));
        if let Some(name) = &call.action {
            let declared = self.occasion.fleet.actions.get(name).ok_or_else(|| undeclared(step, "action", name))?;
            let arguments: serde_json::Map<_, _> = arguments.map(|(key, value)| (key, value.into())).collect();
            let arguments = serde_json::Value::Object(arguments).to_string();
            return Ok(Action::PerformAction { slot: declared.slot.clone(), name: name.clone(), arguments });
        }
        let name = call.command.clone().unwrap_or_default();
        if !self.occasion.fleet.commands.contains_key(&name) {
            return Err(undeclared(step, "command", &name));
        }
        let site = call.site.as_deref().unwrap_or("{to}");
        let arguments = arguments.map(|(key, value)| Fact { key, value }).collect();
        Ok(Action::RunCommand { site: fill(site, self.occasion), invocation: Invocation { runbook: name, arguments } })
    }

    /// One route step for each shift, with a hold between two; the last one may be the point of no return.
    fn shifts(&mut self, template: &Template, mut needs: Vec<usize>) -> Vec<usize> {
        let whole = [Shift { share: 100, hold: 0 }];
        let shifts = if self.occasion.shifts.is_empty() { &whole } else { self.occasion.shifts };
        let mut shares = self.occasion.before.to_vec();
        for (nth, shift) in shifts.iter().enumerate() {
            let last = nth + 1 == shifts.len();
            let name = if last { template.name.clone() } else { format!("{}-{}", template.name, shift.share) };
            let to = mix(self.occasion.before, self.occasion.after, shift.share);
            let Some(step) = self.shift(template, &name, &shares, &to, needs.clone()) else { return needs };
            self.steps[step].point_of_no_return = template.point_of_no_return && last;
            needs = vec![step];
            if shift.hold > 0 {
                needs = vec![self.push(&format!("{name}-hold"), Action::Hold { duration: shift.hold }, needs, 0)];
            }
            shares = to;
        }
        needs
    }

    fn shift(
        &mut self,
        template: &Template,
        name: &str,
        from: &[Share],
        to: &[Share],
        needs: Vec<usize>,
    ) -> Option<usize> {
        let (action, undo) = (route_to(self.occasion, to)?, route_to(self.occasion, from)?);
        let step = self.push(name, action, needs, timeout(template));
        self.steps[step].retries = template.retries;
        self.steps[step].undo = Some(undo);
        Some(step)
    }
}

fn timeout(template: &Template) -> Millis {
    duration(template.timeout.as_ref(), TIMEOUT)
}

fn fill(text: &str, occasion: &Occasion) -> String {
    let mut filled = text
        .replace("{service}", &occasion.service.name)
        .replace("{from}", largest(occasion.before))
        .replace("{to}", largest(occasion.after));
    for argument in occasion.arguments {
        filled = filled.replace(&format!("{{{}}}", argument.key), &argument.value);
    }
    filled
}

/// What a person would do instead.
fn by_hand(occasion: &Occasion, action: &Action) -> String {
    match action {
        Action::PointRoute { route, .. } => {
            let targets: Vec<&str> = route.endpoints.iter().map(|endpoint| endpoint.target.as_str()).collect();
            format!("in the zone: {} {} IN → {}", route.name, route.ttl_seconds, targets.join(" "))
        }
        Action::CheckReady { service, .. } => format!("tidegate ready {service}"),
        Action::AwaitHealthy { service, .. } => format!("tidegate status {service} --watch"),
        Action::RunCommand { site, invocation } => {
            let declared = occasion.fleet.commands.get(&invocation.runbook);
            let argv = declared.map_or_else(String::new, |command| command.argv.join(" "));
            let filled = invocation
                .arguments
                .iter()
                .fold(argv, |argv, argument| argv.replace(&format!("{{{}}}", argument.key), &argument.value));
            format!("at {site}: {filled}")
        }
        other => super::describe(other),
    }
}

fn undeclared(step: &str, what: &str, name: &str) -> Problem {
    Problem { at: format!("step {step}"), text: format!("no [{what}.{name}] is declared") }
}
