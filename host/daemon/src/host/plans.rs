//! Dry runs: the kernel's plan, with what only the host knows of it: whether an enforcer would end the primary with its lease.
//!
//! Changes nothing.

use tidegate_kernel::event::{Command, Refused};
use tidegate_kernel::view::{DataPlan, EvacuationPlan, PlanView};

use super::Host;
use super::core::Stopped;

impl Host {
    /// What an order would do now.
    pub async fn plan(&self, command: Command) -> Result<Result<PlanView, Refused>, Stopped> {
        let mut planned = self.core.look(move |kernel, now| kernel.plan(&command, now)).await?;
        if let Ok(plan) = &mut planned {
            plan.data.iter_mut().for_each(|data| self.tell_of_lease(data));
        }
        Ok(planned)
    }

    /// What an evacuation would do now.
    pub async fn plan_evacuation(
        &self,
        site: String,
        to: Option<String>,
    ) -> Result<Result<EvacuationPlan, Refused>, Stopped> {
        let mut planned = self.core.look(move |kernel, now| kernel.plan_evacuation(&site, to.as_deref(), now)).await?;
        if let Ok(plan) = &mut planned {
            let plans = plan.phases.iter_mut().flatten().filter_map(|leaving| leaving.plan.as_mut());
            plans.filter_map(|plan| plan.data.as_mut()).for_each(|data| self.tell_of_lease(data));
        }
        Ok(planned)
    }

    fn tell_of_lease(&self, data: &mut DataPlan) {
        let open = data.proofs.iter_mut().find(|proof| proof.kind == "lease" && proof.open);
        let Some(lease) = open else { return };
        match self.agents().lease_proves(&data.cluster) {
            Ok(agent) => lease.text = format!("{}: that of agent {agent} is", lease.text),
            Err(why) => (lease.open, lease.text) = (false, why),
        }
    }
}
