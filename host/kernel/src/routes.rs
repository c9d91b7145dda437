//! Where names lead: read-backs of route steps, and drift: what changed without us.
//!
//! Knows the servers' answer only as endpoints; a provider that cannot tell weights says the same for all.

use crate::contract::{Endpoint, Failure, Millis, Route, Severity, Share};
use crate::desk::{Timer, Turn};
use crate::event::{Action, Effect, Moment, RunId};
use crate::fleet::ServiceId;
use crate::kernel::Kernel;
use crate::readiness::spread;
use crate::record::{Cause, Change};
use crate::rules;
use crate::runbook::{endpoints, targets};
use crate::saga::{self, Heading, StepEvent, StepStatus};
use crate::state::{Drift, RouteState, Step, same_shares};

/// How often the servers are asked whether the name still leads where it should.
const READ_EVERY: Millis = 60_000;
/// … and while a run rests there.
const READ_FOR_A_RUN_EVERY: Millis = 10_000;
/// Weights that a provider rounded differ by less than this, in per cent.
const ROUNDING: u32 = 5;

impl Kernel {
    /// Asks the servers now, and from then on every so often.
    pub(crate) fn read_route(&mut self, turn: &mut Turn, id: ServiceId) {
        if self.fleet.services[id.at()].route.is_none() {
            return;
        }
        let epoch = self.service_state(id).map(|known| known.life.epoch);
        self.desk.service(id).route_asked = epoch;
        let every = if self.rests_at_route(id).is_some() { READ_FOR_A_RUN_EVERY } else { READ_EVERY + spread(id) };
        self.desk.service_timer(id, Timer::ReadRoute(id), turn.now.mono + every);
        turn.effect(Effect::ReadRoute { service: id });
    }

    /// Asks the servers for a step whose outcome is unknown.
    pub(crate) fn read_route_now(&mut self, turn: &mut Turn, service: &str) {
        if let Some(id) = self.service_id(service) {
            self.read_route(turn, id);
        }
    }

    /// The servers answered.
    pub(crate) fn route_read(
        &mut self,
        id: ServiceId,
        result: Result<Route, Failure>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        if id.at() >= self.fleet.services.len() {
            return;
        }
        let answered = is_answer(&result);
        let again = self.desk.service(id).route_answered.replace(answered) != Some(true) && answered;
        if let Some((run, step)) = self.step_in_doubt(id) {
            self.resolve(&mut turn, run, step, &result);
        } else if let Some((run, step)) = self.rests_at_route(id).filter(|_| again) {
            self.try_route_again(&mut turn, run, step);
        } else {
            self.compare(&mut turn, id, &result);
        }
        let service = self.fleet.services[id.at()].name.clone();
        turn.finish(|| Cause::RouteRead { service, result }, effects);
    }

    /// A route step that is being read back.
    fn step_in_doubt(&self, id: ServiceId) -> Option<(RunId, usize)> {
        let run = self.state.runs.get(&self.service_state(id)?.run?)?;
        let step = run.steps.iter().position(|step| {
            step.state.status == StepStatus::Running
                && step.state.unknowns > 0
                && matches!(step.action, Action::PointRoute { .. })
        })?;
        Some((run.id, step))
    }

    /// A run that rests because leading the name somewhere failed, and from which there is no way back.
    fn rests_at_route(&self, id: ServiceId) -> Option<(RunId, usize)> {
        let run = self.state.runs.get(&self.service_state(id)?.run?)?;
        let resting = run.heading == Heading::Resting && saga::passed(&run.shapes(), &run.states());
        let given_up = |step: &Step| {
            matches!(step.action, Action::PointRoute { .. })
                && matches!(step.state.status, StepStatus::Failed | StepStatus::Unknown)
        };
        run.steps.iter().position(given_up).filter(|_| resting).map(|step| (run.id, step))
    }

    /// The servers had been silent, and answer: what failed for that may not fail again. Whatever else it was rests once more.
    fn try_route_again(&mut self, turn: &mut Turn, run: RunId, step: usize) {
        self.step_event(turn, run, step, StepEvent::Retried, "the name servers answer again", rules::RUN_GOES_ON);
        self.go_on(turn, run, rules::RUN_GOES_ON, Heading::Forward);
    }

    /// Read back: it is there, or it is not, or that is still unknown.
    fn resolve(&mut self, turn: &mut Turn, id: RunId, step: usize, result: &Result<Route, Failure>) {
        let run = &self.state.runs[&id];
        let Action::PointRoute { route: wanted, .. } = &run.steps[step].action else { return };
        match result {
            Ok(found) if leads(&found.endpoints, &wanted.endpoints) => {
                self.end_step(turn, id, step, StepEvent::Succeeded, "read back: it had been written");
                self.route_written(turn, id, step, false);
            }
            Ok(_) | Err(Failure::NotFound(_)) => {
                self.end_step(turn, id, step, StepEvent::Failed, "read back: it had not been written");
            }
            Err(failure) => self.end_step(turn, id, step, StepEvent::OutcomeUnknown, &failure.to_string()),
        }
        self.drive(turn, id);
    }

    fn compare(&mut self, turn: &mut Turn, id: ServiceId, result: &Result<Route, Failure>) {
        let Some(known) = self.service_state(id) else { return };
        // An answer from before the last move says nothing about now.
        if known.run.is_some() || self.desk.services[id.at()].route_asked != Some(known.life.epoch) {
            return;
        }
        let (found, ttl_seconds) = match result {
            Ok(route) => (route.endpoints.clone(), route.ttl_seconds),
            Err(Failure::NotFound(_)) => (Vec::new(), 0),
            Err(_) => return,
        };
        let found = self.named(id, found);
        let written = known.route.clone();
        let expected = match &written {
            Some(route) => route.endpoints.clone(),
            None => endpoints(&self.fleet, &self.fleet.services[id.at()], &known.life.shares),
        };
        if leads(&found, &expected) {
            self.as_expected(turn, id, written.is_none(), found, ttl_seconds);
        } else {
            let expected = written.map_or_else(Vec::new, |route| route.endpoints);
            self.drifted(turn, id, expected, found, ttl_seconds);
        }
    }

    fn as_expected(&mut self, turn: &mut Turn, id: ServiceId, first: bool, found: Vec<Endpoint>, ttl_seconds: u32) {
        self.desk.service(id).route_doubted = false;
        let service = self.fleet.services[id.at()].name.clone();
        if first {
            let route = RouteState { endpoints: found, ttl_seconds, changed: None, old_ttl_seconds: ttl_seconds };
            self.set(turn, rules::ROUTE_SEEN, Change::Route { service: service.clone(), route });
        }
        if self.service_state(id).is_some_and(|known| known.drift.is_some()) {
            self.set(turn, rules::ROUTE_SEEN, Change::Drift { service: service.clone(), drift: None });
            let subject = format!("{service}: its name leads again where we last wrote");
            self.tell(turn, id, &format!("drift-over/{service}/{}", turn.now.mono), Severity::Info, &subject, "");
            self.ask(turn, id);
        }
    }

    fn drifted(
        &mut self,
        turn: &mut Turn,
        id: ServiceId,
        expected: Vec<Endpoint>,
        found: Vec<Endpoint>,
        ttl_seconds: u32,
    ) {
        let known = self.service_state(id).and_then(|known| known.drift.as_ref());
        if known.is_some_and(|drift| drift.found == found) {
            return;
        }
        // Looked at twice: an answer may have been on its way while a run was ending.
        if !std::mem::replace(&mut self.desk.service(id).route_doubted, true) {
            return self.read_route(turn, id);
        }
        let service = self.fleet.services[id.at()].name.clone();
        let name = self.fleet.services[id.at()].route.as_ref().map_or("", |route| &route.name);
        let text = if expected.is_empty() {
            format!("{name} has not been ours yet, and leads to {}", targets(&found))
        } else {
            format!("{name} leads to {}, and we last wrote {}", targets(&found), targets(&expected))
        };
        let body = format!(
            "Nothing was changed, and automatic moves of {service} are held. If the servers are right, say `tidegate adopt \
             {service}`; if we are, `tidegate reapply {service}`."
        );
        let drift = Drift { since: turn.now, expected, found, ttl_seconds, text: text.clone() };
        self.set(turn, rules::ROUTE_SEEN, Change::Drift { service: service.clone(), drift: Some(drift) });
        self.tell(turn, id, &format!("drift/{service}/{}", turn.now.mono), Severity::Critical, &text, &body);
        self.ask(turn, id);
    }

    /// Endpoints with the site that has the target, where the provider did not know it.
    fn named(&self, id: ServiceId, found: Vec<Endpoint>) -> Vec<Endpoint> {
        let places = &self.fleet.services[id.at()].places;
        let site = |target: &str| {
            let place = places.iter().find(|place| place.endpoint == target)?;
            Some(self.fleet.sites[place.site.at()].name.clone())
        };
        // What is declared and takes no traffic leads nowhere.
        let live = found.into_iter().filter(|endpoint| endpoint.weight > 0);
        live.map(|e| Endpoint { site: site(&e.target).unwrap_or(e.site), ..e }).collect()
    }

    /// The shares that endpoints mean; none if one of them is no declared place.
    pub(crate) fn shares_of(&self, id: ServiceId, found: &[Endpoint]) -> Option<Vec<Share>> {
        let places = &self.fleet.services[id.at()].places;
        let mut shares = Vec::new();
        for (endpoint, per_cent) in found.iter().zip(per_cents(found)) {
            let place = places.iter().find(|place| place.endpoint == endpoint.target)?;
            shares.push(Share { site: self.fleet.sites[place.site.at()].name.clone(), per_cent });
        }
        let whole: u32 = shares.iter().map(|share| share.per_cent).sum();
        shares.first_mut()?.per_cent += 100 - whole;
        let declared = &self.service_state(id)?.life.home;
        // A provider without weights says the same for all: then the declared shares are meant.
        let same_sites =
            declared.len() == shares.len() && declared.iter().all(|d| shares.iter().any(|s| s.site == d.site));
        let meant = if same_sites && even(found) { declared.clone() } else { shares };
        Some(if same_shares(&meant, declared) { declared.clone() } else { meant })
    }
}

/// The servers said something, be it that there is no such name.
pub(crate) fn is_answer(result: &Result<Route, Failure>) -> bool {
    matches!(result, Ok(_) | Err(Failure::NotFound(_)))
}

/// Whether what was found leads where it should: the same targets, with the same weights as far as the provider knows any.
pub(crate) fn leads(found: &[Endpoint], wanted: &[Endpoint]) -> bool {
    let live =
        |endpoints: &[Endpoint]| endpoints.iter().filter(|endpoint| endpoint.weight > 0).cloned().collect::<Vec<_>>();
    let of = |endpoints: &[Endpoint]| {
        let live = live(endpoints);
        let mut all: Vec<(String, u32)> = live.iter().map(|e| e.target.clone()).zip(per_cents(&live)).collect();
        all.sort();
        all
    };
    let (a, b) = (of(found), of(wanted));
    let same_targets = a.iter().map(|(target, _)| target).eq(b.iter().map(|(target, _)| target));
    let close = a.iter().zip(&b).all(|((_, x), (_, y))| x.abs_diff(*y) <= ROUNDING);
    same_targets && (close || even(&live(found)))
}

fn even(endpoints: &[Endpoint]) -> bool {
    endpoints.windows(2).all(|pair| pair[0].weight == pair[1].weight)
}

fn per_cents(endpoints: &[Endpoint]) -> Vec<u32> {
    let whole: u32 = endpoints.iter().map(|endpoint| endpoint.weight).sum();
    endpoints.iter().map(|endpoint| (endpoint.weight * 100).checked_div(whole).unwrap_or(0)).collect()
}
