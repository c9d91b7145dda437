//! Fills in what `status` shows.

use crate::contract::{State, Status, Strategy};
use crate::event::{Moment, RunId};
use crate::fleet::{Service, ServiceId, SiteId};
use crate::guard::{Judged, Kind, Proposal};
use crate::kernel::Kernel;
use crate::runbook::describe;
use crate::runs::words;
use crate::saga;
use crate::state::{Question, RouteState, Run, ServiceState, Step, whole_move};
use crate::view::{FleetStatus, Movable, PlaceStatus, RouteStatus, RunView, ServiceStatus, SiteStatus, StepView};

impl Kernel {
    /// The whole fleet, worst first.
    pub fn status(&self, now: Moment) -> FleetStatus {
        let mut services: Vec<ServiceStatus> = self.service_ids().filter_map(|id| self.status_of(id, now)).collect();
        services.sort_by_key(badness);
        FleetStatus {
            now: now.wall,
            time_zone: self.fleet.host.time_zone.clone(),
            mode: self.fleet.host.mode,
            warming_up: self.sensing.warming_up(now),
            paused: self.state.paused.clone(),
            brake: self.state.brake.clone(),
            freeze: self.state.freeze.clone(),
            sites: (0..self.fleet.sites.len() as u16).map(|at| self.site_status(SiteId(at))).collect(),
            vantages: self.sensing.vantages(&self.fleet, now),
            services,
            questions: self.state.open_questions().cloned().collect(),
            runs: self.state.open_runs().map(view_run).collect(),
            evacuation: self.state.open_evacuation().or(self.state.evacuations.values().next_back()).cloned(),
            incidents: self.recent_incidents(now).cloned().collect(),
            messages_waiting: self.state.notices.len(),
        }
    }

    /// One service by its name.
    pub fn service_status(&self, name: &str, now: Moment) -> Option<ServiceStatus> {
        self.status_of(self.service_id(name)?, now)
    }

    /// Runs under way and the latest that have ended, newest first.
    pub fn runs(&self, _: Moment) -> Vec<RunView> {
        self.state.runs.values().rev().map(view_run).collect()
    }

    /// One run, while the state still has it.
    pub fn run(&self, id: RunId, _: Moment) -> Option<RunView> {
        self.state.runs.get(&id).map(view_run)
    }

    fn site_status(&self, id: SiteId) -> SiteStatus {
        let site = &self.fleet.sites[id.at()];
        let (services_unhealthy, services_total) = self.sensing.unhealthy_at(id);
        SiteStatus {
            name: site.name.clone(),
            failure_domain: site.failure_domain.clone(),
            services_unhealthy,
            services_total,
            load: u32::try_from(self.capacity.at(id) / 100).unwrap_or(u32::MAX),
        }
    }

    fn status_of(&self, id: ServiceId, now: Moment) -> Option<ServiceStatus> {
        let (service, known) = (&self.fleet.services[id.at()], self.service_state(id)?);
        let active = self.site_id(&known.life.active);
        let status = active.map_or(Status::Unknown, |site| self.sensing.consensus(id, site, now).status);
        Some(ServiceStatus {
            name: service.name.clone(),
            tier: service.tier,
            strategy: service.strategy,
            state: known.life.state,
            since: known.life.since.wall,
            state_held: now.mono.saturating_sub(known.life.since.mono),
            active_site: known.life.active.clone(),
            preferred_site: known.life.home_site().to_owned(),
            epoch: known.life.epoch,
            status,
            shares: known.life.shares.clone(),
            places: service
                .places
                .iter()
                .map(|place| self.place_status(id, place.site, &place.endpoint, now))
                .collect(),
            movable: self.movable(id, now),
            database: self.database_status(id, now),
            route: route_status(service, known.route.as_ref()),
            drift: known.drift.clone(),
            readiness: known.readiness.clone(),
            paused: known.pause.clone().or_else(|| self.state.paused.clone()),
            in_maintenance: self.in_maintenance(id, now),
            decision: known.last.clone(),
            repeated: known.last.as_ref().map_or(0, |last| last.repeated) + self.desk.services[id.at()].uncounted,
            questions: self.questions_of(&service.name),
            run: self.run_of(known, &service.name).map(view_run),
        })
    }

    fn place_status(&self, id: ServiceId, site: SiteId, endpoint: &str, now: Moment) -> PlaceStatus {
        PlaceStatus {
            site: self.fleet.sites[site.at()].name.clone(),
            endpoint: endpoint.to_owned(),
            consensus: self.sensing.consensus(id, site, now),
            observations: self.sensing.observations(&self.fleet, id, site, now),
        }
    }

    fn questions_of(&self, service: &str) -> Vec<Question> {
        self.state.open_questions().filter(|question| question.service == service).cloned().collect()
    }

    fn run_of(&self, known: &ServiceState, service: &str) -> Option<&Run> {
        let open = known.run.and_then(|run| self.state.runs.get(&run));
        open.or_else(|| self.state.runs.values().rev().find(|run| run.service == service))
    }

    /// Whether the service could be moved by itself now, if its active site were lost.
    pub(crate) fn movable(&self, id: ServiceId, now: Moment) -> Movable {
        let Some(known) = self.service_state(id) else { return Movable::No(Vec::new()) };
        if let Some(readiness) = known.readiness.as_ref().filter(|readiness| !readiness.blockers.is_empty()) {
            return Movable::No(readiness.blockers.clone());
        }
        let mut fewest: Option<Judged> = None;
        for (to, proposal) in self.supposed_moves(id, known, now) {
            let judged = self.guard_supposing_loss(&proposal, now);
            let planned = self.plan_steps(&proposal);
            match (&judged, planned) {
                (Judged::Go, Ok(_)) => return Movable::Yes(to),
                (Judged::Go, Err(reason)) => return Movable::No(vec![reason]),
                _ => {}
            }
            if fewest.as_ref().is_none_or(|best| judged.reasons().len() < best.reasons().len()) {
                fewest = Some(judged);
            }
        }
        let nowhere = || vec![crate::contract::Reason::new("no-target", "it has no other place")];
        Movable::No(fewest.map_or_else(nowhere, |judged| judged.reasons()))
    }

    /// The moves that a loss of the active site could bring, by rank.
    fn supposed_moves(&self, id: ServiceId, known: &ServiceState, now: Moment) -> Vec<(String, Proposal)> {
        let service = &self.fleet.services[id.at()];
        if service.strategy == Strategy::ActiveActive && known.life.shares.len() > 1 {
            let shares = self.shares_spared(id, &known.life.active, now);
            let sharing = |shares: Vec<_>| Proposal::blank(id, known).sharing(&shares, &known.life.home);
            return shares.map(sharing).map(|proposal| (proposal.to.clone(), proposal)).into_iter().collect();
        }
        let mut places: Vec<SiteId> = service.places.iter().map(|place| place.site).collect();
        places.sort_by_key(|site| self.fleet.sites[site.at()].rank);
        let names = places.into_iter().map(|site| self.fleet.sites[site.at()].name.clone());
        let others = names.filter(|name| *name != known.life.active);
        let moving = |to: &str| Proposal::blank(id, known).moving(Kind::FailOver, &whole_move(to));
        others.map(|to| (to.clone(), self.with_data(moving(&to), now))).collect()
    }

    /// The guard's word without the rules that ask whether the active site really is lost: here it is supposed to be.
    pub(crate) fn guard_supposing_loss(&self, proposal: &Proposal, now: Moment) -> Judged {
        let rules = crate::guard::GUARDS.iter().filter(|guard| !matches!(guard.name, "evidence" | "dependency-order"));
        crate::guard::weigh(rules.filter_map(|guard| self.object(guard, proposal, now)).collect())
    }
}

/// The worst first: a person is needed, something moves, something is not well, then by name.
fn badness(service: &ServiceStatus) -> (u8, String) {
    let state = match service.state {
        _ if !service.questions.is_empty() => 0,
        State::FailingOver | State::FailingBack => 1,
        State::Degraded => 2,
        State::FailedOver => 3,
        State::Normal if service.drift.is_some() => 4,
        State::Normal if matches!(service.movable, Movable::No(_)) => 5,
        State::Normal => 6,
    };
    (state, service.name.clone())
}

fn route_status(service: &Service, route: Option<&RouteState>) -> Option<RouteStatus> {
    let spec = service.route.as_ref()?;
    let changed = route.and_then(|route| route.changed).map(|at| at.wall);
    let old_ttl = route.map_or(0, |route| u64::from(route.old_ttl_seconds) * 1_000);
    Some(RouteStatus {
        name: spec.name.clone(),
        endpoints: route.map_or_else(Vec::new, |route| route.endpoints.clone()),
        ttl_seconds: route.map_or(spec.ttl_seconds, |route| route.ttl_seconds),
        dns_changed_at: changed,
        last_cache_lets_go_at: changed.map(|at| at + old_ttl),
    })
}

fn view_run(run: &Run) -> RunView {
    RunView {
        id: run.id,
        service: run.service.clone(),
        kind: run.kind.clone(),
        runbook: run.runbook.clone(),
        from: run.from.clone(),
        to: run.to.clone(),
        shares: run.shares.clone(),
        epoch: run.epoch,
        by: run.by.clone(),
        opened: run.opened,
        closed: run.closed,
        heading: run.heading,
        past_point_of_no_return: saga::passed(&run.shapes(), &run.states()),
        end: run.end.clone(),
        steps: view_steps(&run.steps),
        words: words(run),
    }
}

pub(super) fn view_steps(steps: &[Step]) -> Vec<StepView> {
    let view = |step: &Step| StepView {
        name: step.name.clone(),
        what: describe(&step.action),
        needs: step.needs.iter().map(|need| steps[*need].name.clone()).collect(),
        point_of_no_return: step.point_of_no_return,
        undo: step.undo.as_ref().map(describe),
        manual: step.manual.clone(),
        status: step.state.status,
        attempt: step.state.attempt,
        started: step.state.started,
        ended: step.state.ended,
        text: step.state.text.clone(),
    };
    steps.iter().map(view).collect()
}
