//! Situations: what a policy often looks for in one, and, for tests, quiet ones to start from.
//!
//! The builder is for native unit tests of policies; a host never builds a situation here.

use crate::contract::{
    Autonomy, Cluster, Consensus, Dependency, Objectives, Observation, Outcome, PastMove, SiteView, Situation, State,
    Status, Strategy, Tier, VantageView,
};
use crate::time::NOW;

impl Situation {
    /// A quiet situation to start from.
    pub fn builder(service: &str) -> SituationBuilder {
        SituationBuilder(Situation {
            now: NOW,
            time_zone: "UTC".to_owned(),
            epoch: 1,
            service: service.to_owned(),
            tier: Tier::Tier2,
            objectives: Objectives { rto: 60_000, rpo: 0, mtpd: None },
            strategy: Strategy::ActivePassive,
            failover: Autonomy::Automatic,
            failback: Autonomy::Automatic,
            state: State::Normal,
            state_held: 3_600_000,
            active_site: String::new(),
            preferred_site: String::new(),
            vantages: Vec::new(),
            sites: Vec::new(),
            route: None,
            cluster: None,
            dependencies: Vec::new(),
            moves: Vec::new(),
            in_maintenance: false,
            warming_up: false,
            signals: Vec::new(),
            memo: String::new(),
            settings: String::new(),
            facts: Vec::new(),
        })
    }

    /// A site by its name.
    pub fn site(&self, name: &str) -> Option<&SiteView> {
        self.sites.iter().find(|site| site.site == name)
    }

    /// The site that serves now.
    pub fn active(&self) -> Option<&SiteView> {
        self.site(&self.active_site)
    }

    /// Every site but the active one, in the operator's order of preference.
    pub fn others(&self) -> Vec<&SiteView> {
        let mut others: Vec<&SiteView> = self.sites.iter().filter(|site| site.site != self.active_site).collect();
        others.sort_by_key(|site| site.rank);
        others
    }
}

/// Builds a [`Situation`]. The first site is the active and the preferred one, unless said otherwise.
pub struct SituationBuilder(Situation);

impl SituationBuilder {
    /// One more site; its rank is its place in the order of calls. Every site is a vantage point too.
    pub fn site(mut self, mut site: SiteView) -> Self {
        if self.0.sites.is_empty() {
            (self.0.active_site, self.0.preferred_site) = (site.site.clone(), site.site.clone());
            site.share = 100;
        }
        site.rank = self.0.sites.len() as u32 + 1;
        self.0.vantages.push(VantageView {
            name: site.site.clone(),
            failure_domain: site.failure_domain.clone(),
            sound: true,
            fresh: true,
        });
        self.0.sites.push(site);
        self
    }

    /// The site that serves now, with all of the traffic.
    pub fn active(mut self, name: &str) -> Self {
        self.0.active_site = name.to_owned();
        for site in &mut self.0.sites {
            site.share = if site.site == name { 100 } else { 0 };
        }
        self
    }

    /// Where the service is in its life, and for how long (ms).
    pub fn state(mut self, state: State, held: u64) -> Self {
        (self.0.state, self.0.state_held) = (state, held);
        self
    }

    /// A move that has ended, newest first.
    pub fn moved(mut self, from: &str, to: &str, finished_ago: u64) -> Self {
        self.0.moves.push(PastMove {
            finished_ago,
            from_site: from.to_owned(),
            to_site: to.to_owned(),
            succeeded: true,
            automatic: true,
        });
        self
    }

    /// A service that this one needs.
    pub fn needs(mut self, service: &str, status: Status, active_site: &str) -> Self {
        self.0.dependencies.push(Dependency {
            service: service.to_owned(),
            status,
            active_site: active_site.to_owned(),
        });
        self
    }

    /// The service's database.
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.0.cluster = Some(cluster);
        self
    }

    /// Anything else, by changing the record itself.
    pub fn with(mut self, change: impl FnOnce(&mut Situation)) -> Self {
        change(&mut self.0);
        self
    }

    /// The situation.
    pub fn build(self) -> Situation {
        self.0
    }
}

impl SiteView {
    /// Whether the vantage points agree that it works.
    pub fn is_healthy(&self) -> bool {
        self.consensus.status == Status::Healthy
    }

    /// A site that all three vantage points have found healthy for an hour.
    pub fn healthy(name: &str) -> Self {
        SiteView::seen(name, Status::Healthy, 3, 3_600_000)
    }

    /// A site that all three vantage points have found unhealthy for ten seconds.
    pub fn unhealthy(name: &str) -> Self {
        SiteView::seen(name, Status::Unhealthy, 3, 10_000)
    }

    /// A site as `agreeing` of three vantage points have seen it for that long (ms).
    pub fn seen(name: &str, status: Status, agreeing: u32, held: u64) -> Self {
        SiteView {
            site: name.to_owned(),
            failure_domain: name.to_owned(),
            rank: 1,
            capacity: 100,
            share: 0,
            consensus: Consensus { status, agreeing, voting: 3, expected: 3, held },
            observations: Vec::new(),
            services_unhealthy: 0,
            services_total: 1,
            facts: Vec::new(),
        }
    }

    /// One vantage point's word: that outcome, that many times in a row, each a second after the last.
    pub fn observed(mut self, vantage: &str, outcome: Outcome, consecutive: u32) -> Self {
        let good = matches!(outcome, Outcome::Ok | Outcome::Slow);
        self.observations.push(Observation {
            vantage: vantage.to_owned(),
            outcome,
            latency: good.then_some(5),
            age: 500,
            consecutive,
            good: if good { consecutive } else { 0 },
            bad: if good { 0 } else { consecutive },
            detail: String::new(),
        });
        self
    }

    /// How much of the full load it can take, in per cent.
    pub fn capacity(mut self, per_cent: u32) -> Self {
        self.capacity = per_cent;
        self
    }

    /// How much of the traffic it has, in per cent.
    pub fn share(mut self, per_cent: u32) -> Self {
        self.share = per_cent;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{SiteView, Situation};

    #[test]
    fn the_other_sites_come_in_the_operators_order() {
        let fleet = Situation::builder("shop").site(SiteView::healthy("a")).site(SiteView::unhealthy("b"));
        let fleet = fleet.site(SiteView::healthy("c")).active("b").with(|situation| situation.sites.reverse()).build();
        let names: Vec<&str> = fleet.others().iter().map(|site| site.site.as_str()).collect();
        assert_eq!((names, fleet.others().iter().all(|site| site.is_healthy())), (vec!["a", "c"], true));
        assert!(!fleet.active().unwrap().is_healthy());
    }
}
