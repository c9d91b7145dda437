//! The dry run: what an order would do, which guards it passes, and what it might lose. Changes nothing.

use crate::contract::{Reason, Share};
use crate::event::{Command, Moment, Refused};
use crate::fleet::Service;
use crate::guard::{GUARDS, Proposal};
use crate::kernel::Kernel;
use crate::runbook::{endpoints, targets};
use crate::state::{ServiceState, Step};
use crate::view::status::view_steps;
use crate::view::{DataPlan, GuardView, PlanView};

impl Kernel {
    /// What `failover`, `switchover`, `failback` or `reapply` would do now. Refused only where there is nothing to plan: a guard's no is
    /// shown in the plan.
    pub fn plan(&self, command: &Command, now: Moment) -> Result<PlanView, Refused> {
        let proposal = self.proposal_of(command, "dry run", now)?;
        self.plan_of(&proposal, now).map_err(|reason| Refused { by_guard: true, reasons: vec![reason] })
    }

    /// What a proposal would do now; or why it comes to no steps.
    pub(crate) fn plan_of(&self, proposal: &Proposal, now: Moment) -> Result<PlanView, Reason> {
        let (runbook, steps) = self.plan_steps(proposal)?;
        let service = &self.fleet.services[proposal.service.at()];
        let known = self.service_state(proposal.service);
        let data = self.data_plan(proposal, now);
        let loss = loss(service, proposal, data.as_ref());
        let markdown = markdown(service, proposal, &runbook, &steps, &loss);
        Ok(PlanView {
            service: service.name.clone(),
            kind: proposal.kind.name().to_owned(),
            runbook,
            from: known.map_or_else(String::new, |known| known.life.active.clone()),
            to: proposal.to.clone(),
            shares: proposal.shares.clone(),
            steps: view_steps(&steps),
            guards: self.guard_views(proposal, now),
            differences: known.map_or_else(Vec::new, |known| self.differences(service, known, proposal)),
            loss,
            data,
            markdown,
        })
    }

    fn guard_views(&self, proposal: &Proposal, now: Moment) -> Vec<GuardView> {
        let view = |guard: &crate::guard::Guard| GuardView {
            number: guard.number,
            name: guard.name.to_owned(),
            objections: self.object(guard, proposal, now).map(|objection| objection.reason).into_iter().collect(),
        };
        GUARDS.iter().map(view).collect()
    }

    fn differences(&self, service: &Service, known: &ServiceState, proposal: &Proposal) -> Vec<String> {
        let mut lines = vec![format!("traffic: {} → {}", shown(&known.life.shares), shown(&proposal.shares))];
        if let Some(route) = &service.route {
            let now = match (&known.drift, &known.route) {
                (Some(drift), _) => targets(&drift.found),
                (None, Some(written)) => targets(&written.endpoints),
                (None, None) => "not read yet".to_owned(),
            };
            lines.push(format!(
                "{}: {now} → {}",
                route.name,
                targets(&endpoints(&self.fleet, service, &proposal.shares))
            ));
        }
        lines
    }
}

fn loss(service: &Service, proposal: &Proposal, data: Option<&DataPlan>) -> String {
    let caches = service.route.as_ref().map_or_else(String::new, |route| {
        format!("; caches may lead clients to the old place for {} s more", route.ttl_seconds)
    });
    match (data, proposal.expected_loss) {
        (Some(data), _) => format!("{}{caches}", data.loss),
        (None, Some(loss)) => format!("up to {loss} ms of data{caches}"),
        (None, None) => format!("no data: traffic only{caches}"),
    }
}

fn shown(shares: &[Share]) -> String {
    let one = |share: &Share| format!("{} {} %", share.site, share.per_cent);
    shares.iter().filter(|share| share.per_cent > 0).map(one).collect::<Vec<_>>().join(", ")
}

fn markdown(service: &Service, proposal: &Proposal, runbook: &str, steps: &[Step], loss: &str) -> String {
    let mut page = format!(
        "# {}: {} to {}\n\nRunbook `{runbook}`. May lose: {loss}.\n",
        service.name,
        proposal.kind.name(),
        proposal.to
    );
    for (nth, step) in steps.iter().enumerate() {
        page += &format!("\n{}. **{}**: {}\n", nth + 1, step.name, crate::runbook::describe(&step.action));
        if step.point_of_no_return {
            page += "   - Point of no return: from here only forward.\n";
        }
        if !step.manual.is_empty() {
            page += &format!("   - By hand: `{}`\n", step.manual);
        }
        if let Some(undo) = &step.undo {
            page += &format!("   - Undo: {}\n", crate::runbook::describe(undo));
        }
    }
    page
}
