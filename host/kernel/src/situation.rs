//! What a failover policy is told of one service: everything known, frozen at one moment.
//!
//! Decides nothing. Ages grow by themselves and are never journaled for that; the same picture with one site taken away
//! is what `what-if` asks about.

use crate::contract::{
    Consensus, Dependency, Fact, Observation, Outcome, PastMove, Route, SiteView, Situation, Status, VantageView,
};
use crate::event::Moment;
use crate::fleet::{Place, Service, ServiceId, SiteId};
use crate::kernel::Kernel;
use crate::picture::Picture;
use crate::state::{RouteState, ServiceState};

/// How long a site that is only supposed to be lost counts as lost: longer than any policy's window.
const SUPPOSED_HELD: u64 = 24 * 3_600_000;

/// What is looked at: the world, or the world without a site.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lens {
    pub(crate) now: Moment,
    pub(crate) lost: Option<SiteId>,
}

impl Kernel {
    /// What the policy of a service would be told now; none before the service is known.
    pub fn situation(&self, service: ServiceId, now: Moment) -> Option<Situation> {
        self.situation_through(service, Lens { now, lost: None })
    }

    /// The situations of all services that `lose` would touch, if it were lost: those with a part of their traffic there.
    pub fn hypothetical(&self, lose: SiteId, now: Moment) -> Vec<(ServiceId, Situation, Picture)> {
        let name = &self.fleet.sites[lose.at()].name;
        let touched = self.service_ids().filter(|&id| self.service_state(id).is_some_and(|s| s.life.share(name) > 0));
        let lens = Lens { now, lost: Some(lose) };
        touched.filter_map(|id| Some((id, self.situation_through(id, lens)?, self.picture_through(id, lens)))).collect()
    }

    pub(crate) fn service_ids(&self) -> impl Iterator<Item = ServiceId> + use<> {
        (0..self.fleet.services.len() as u32).map(ServiceId)
    }

    /// What the vantage points say together, or would.
    pub(crate) fn consensus_through(&self, service: ServiceId, site: SiteId, lens: Lens) -> Consensus {
        let seen = self.sensing.consensus(service, site, lens.now);
        if lens.lost != Some(site) {
            return seen;
        }
        let voting = seen.expected.saturating_sub(1).max(1);
        Consensus { status: Status::Unhealthy, agreeing: voting, voting, expected: seen.expected, held: SUPPOSED_HELD }
    }

    fn situation_through(&self, id: ServiceId, lens: Lens) -> Option<Situation> {
        let (service, known) = (&self.fleet.services[id.at()], self.service_state(id)?);
        let mut places: Vec<&Place> = service.places.iter().collect();
        places.sort_by_key(|place| self.fleet.sites[place.site.at()].rank);
        Some(Situation {
            now: lens.now.wall,
            time_zone: self.fleet.host.time_zone.clone(),
            epoch: known.life.epoch,
            service: service.name.clone(),
            tier: service.tier,
            objectives: service.objectives,
            strategy: service.strategy,
            failover: service.failover,
            failback: service.failback,
            state: known.life.state,
            state_held: lens.now.mono.saturating_sub(known.life.since.mono),
            active_site: known.life.active.clone(),
            preferred_site: known.life.home_site().to_owned(),
            vantages: self.vantages_through(lens),
            sites: places.into_iter().map(|place| self.site_view(id, place, known, lens)).collect(),
            route: known.route.as_ref().map(|route| told_route(service, known, route, lens.now)),
            cluster: self.cluster_picture(id, lens),
            dependencies: service.depends_on.iter().filter_map(|on| self.dependency(*on, lens)).collect(),
            moves: past_moves(known, lens.now),
            in_maintenance: self.in_maintenance(id, lens.now),
            warming_up: self.sensing.warming_up(lens.now),
            signals: Vec::new(),
            memo: self.memo_for(service, known),
            settings: String::new(),
            facts: facts(service, known),
        })
    }

    fn vantages_through(&self, lens: Lens) -> Vec<VantageView> {
        let mut views = self.sensing.vantages(&self.fleet, lens.now);
        for (view, vantage) in views.iter_mut().zip(&self.fleet.vantages) {
            view.fresh &= lens.lost != Some(vantage.site);
        }
        views
    }

    fn site_view(&self, id: ServiceId, place: &Place, known: &ServiceState, lens: Lens) -> SiteView {
        let site = &self.fleet.sites[place.site.at()];
        let (unhealthy, total) = self.sensing.unhealthy_at(place.site);
        let lost = lens.lost == Some(place.site);
        SiteView {
            site: site.name.clone(),
            failure_domain: site.failure_domain.clone(),
            rank: site.rank,
            capacity: site.capacity,
            share: known.life.share(&site.name),
            consensus: self.consensus_through(id, place.site, lens),
            observations: self.observations_through(id, place.site, lens),
            services_unhealthy: if lost { total } else { unhealthy },
            services_total: total,
            facts: vec![
                fact("load", place.load),
                fact("in-use", self.capacity.without(place.site, id.at()) / 100),
                fact("home-share", known.life.home.iter().find(|s| s.site == site.name).map_or(0, |s| s.per_cent)),
            ],
        }
    }

    pub(crate) fn observations_through(&self, id: ServiceId, site: SiteId, lens: Lens) -> Vec<Observation> {
        let mut seen = self.sensing.observations(&self.fleet, id, site, lens.now);
        let probe = &self.fleet.services[id.at()].probe;
        for observation in seen.iter_mut().filter(|_| lens.lost == Some(site)) {
            observation.outcome = Outcome::TimedOut;
            observation.consecutive = observation.consecutive.max(probe.bad);
            (observation.good, observation.bad) = (0, probe.window);
            observation.detail = "supposed to be lost".into();
        }
        seen
    }

    fn dependency(&self, on: ServiceId, lens: Lens) -> Option<Dependency> {
        let known = self.service_state(on)?;
        let status = self.site_id(&known.life.active).map(|site| self.consensus_through(on, site, lens).status);
        Some(Dependency {
            service: self.fleet.services[on.at()].name.clone(),
            status: status.unwrap_or(Status::Unknown),
            active_site: known.life.active.clone(),
        })
    }

    /// The memo of the slot's last decision, unless the decision failed or another format wrote it.
    fn memo_for(&self, service: &Service, known: &ServiceState) -> String {
        let format = self.desk.revisions.get(&service.policy).map(|revision| &revision.memo_format);
        let memo = known
            .memo
            .as_ref()
            .filter(|memo| memo.slot == service.policy && format.is_none_or(|format| *format == memo.format));
        memo.map_or_else(String::new, |memo| memo.text.clone())
    }
}

pub(crate) fn told_route(service: &Service, known: &ServiceState, route: &RouteState, now: Moment) -> Route {
    let changed = route.changed.unwrap_or(known.life.since);
    Route {
        name: service.route.as_ref().map_or_else(String::new, |spec| spec.name.clone()),
        ttl_seconds: route.ttl_seconds,
        endpoints: route.endpoints.clone(),
        written_by: route.changed.map(|_| known.life.epoch),
        age: now.mono.saturating_sub(changed.mono),
        facts: Vec::new(),
    }
}

fn past_moves(known: &ServiceState, now: Moment) -> Vec<PastMove> {
    let told = |past: &crate::state::PastMove| PastMove {
        finished_ago: now.mono.saturating_sub(past.finished.mono),
        from_site: past.from.clone(),
        to_site: past.to.clone(),
        succeeded: past.succeeded,
        automatic: past.automatic,
    };
    known.moves.iter().map(told).collect()
}

fn facts(service: &Service, known: &ServiceState) -> Vec<Fact> {
    let mut facts = vec![fact("cooldown-ms", service.cooldown), fact("hold-down-ms", service.hold_down)];
    if let Some(drift) = &known.drift {
        facts.push(fact("drift", &drift.text));
    }
    if let Some(readiness) = known.readiness.as_ref().filter(|readiness| !readiness.blockers.is_empty()) {
        let codes: Vec<&str> = readiness.blockers.iter().map(|blocker| blocker.code.as_str()).collect();
        facts.push(fact("not-ready", codes.join(" ")));
    }
    facts
}

fn fact(key: &str, value: impl ToString) -> Fact {
    Fact { key: key.into(), value: value.to_string() }
}
