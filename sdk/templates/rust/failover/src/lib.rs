//! Leaves a site that is lost, for the best one that works, and stays put as long as anything is unclear.

use std::time::Duration;

use tidegate_sdk::prelude::*;

/// What an operator can set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Policy {
    /// How long a site has to be found unhealthy before it is left.
    patience_seconds: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { patience_seconds: 10 }
    }
}

impl Settings for Policy {
    fn check(&self) -> Vec<Problem> {
        let patient = self.patience_seconds <= 3_600;
        if patient { Vec::new() } else { vec![Problem::new("/patience-seconds", "at most 3600")] }
    }
}

impl FailoverPolicy for Policy {
    fn decide(&self, situation: &Situation) -> Result<Decision, String> {
        let active = situation.active().ok_or("the active site is not among the sites")?;
        let (at, lost_for, patience) = (&active.site, active.consensus.held, self.patience_seconds * 1_000);
        if active.consensus.status != Status::Unhealthy {
            let until = format!("{at} is found unhealthy for {} s", self.patience_seconds);
            return Ok(Decision::hold("in-place", format!("{at} is not lost")).would_change_if("lost", until));
        }
        if lost_for < patience {
            let wait = Duration::from_millis(patience - lost_for);
            return Ok(Decision::hold("not-yet-sure", format!("{at} may yet come back")).ask_again_in(wait));
        }
        let (works, fails): (Vec<&SiteView>, Vec<&SiteView>) =
            situation.others().into_iter().partition(|site| site.is_healthy());
        let decision = match works.first() {
            Some(to) => Decision::fail_over(Move::to(&to.site), "lost", format!("{at} is lost, {} works", to.site)),
            None => Decision::hold("nowhere-to-go", format!("{at} is lost, and no other site is known to work")),
        };
        let passed_over =
            |decision: Decision, site: &&SiteView| decision.veto(&site.site, "not-healthy", "it is not known to work");
        Ok(fails.iter().fold(decision, passed_over))
    }
}

tidegate_sdk::failover_policy!(Policy);
