//! Serves each hour from the site where people are awake, and leaves a site that is lost.

use tidegate_sdk::prelude::*;

/// Which site serves from which hour (UTC) on: `[[0, "singapore"], [8, "dublin"], [16, "oregon"]]`.
#[derive(Deserialize, JsonSchema)]
pub struct FollowTheSun {
    shifts: Vec<(u64, String)>,
}

impl Settings for FollowTheSun {}

impl FailoverPolicy for FollowTheSun {
    fn decide(&self, situation: &Situation) -> Result<Decision, String> {
        let hour = situation.now / 3_600_000 % 24;
        let shift = self.shifts.iter().rev().find(|(from, _)| *from <= hour).or(self.shifts.last());
        let sunny = shift.and_then(|(_, site)| situation.site(site)).ok_or("no site for this hour")?;
        let active = situation.active().ok_or("the active site is not among the sites")?;
        let healthy = |site: &&SiteView| site.consensus.status == Status::Healthy;
        let at = &active.site;
        Ok(match (active.consensus.status, [sunny].into_iter().chain(&situation.sites).find(healthy)) {
            (Status::Unhealthy, Some(to)) => Decision::fail_over(Move::to(&to.site), "lost", format!("{at} is lost")),
            (Status::Healthy, Some(to)) if to.site == sunny.site && to.site != active.site => {
                Decision::switch_over(Move::to(&to.site), "sunrise", format!("the day begins at {}", to.site))
            }
            _ => Decision::hold("in-place", format!("{at} serves")).would_change_if("sunrise", "the next shift begins"),
        }
        .ask_again_in(std::time::Duration::from_mins(60 - situation.now / 60_000 % 60)))
    }
}
tidegate_sdk::failover_policy!(FollowTheSun);
