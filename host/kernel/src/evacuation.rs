//! Everything away from a site, in the order in which services need each other: one order, many runs, each phase begun only
//! when every run of the one before has arrived.
//!
//! Knows no way to move anything: each service leaves by a run as a person would have ordered it. An evacuation whose run is
//! undone, rests or is refused stops, and tells a person; ordered again it goes on with what is still there.

use std::collections::BTreeMap;

use crate::contract::{Reason, Severity, Strategy};
use crate::desk::Turn;
use crate::event::{Accepted, Command, Moment, Refused, RunId};
use crate::fleet::{ServiceId, SiteId};
use crate::guard::{Judged, Origin, Proposal};
use crate::kernel::Kernel;
use crate::questions::usage;
use crate::record::Change;
use crate::rules::{self, RuleNumber};
use crate::state::{Evacuation, EvacuationEnd, Leaving, RunEnd};
use crate::view::{EvacuationPlan, LeavingPlan};

/// What a person wants.
#[derive(Clone, Copy)]
struct Wish<'a> {
    site: &'a str,
    to: Option<&'a str>,
    by: &'a str,
    now: Moment,
}

/// What an evacuation would do with one service.
struct Leaver {
    id: ServiceId,
    depth: u32,
    /// A run that leads it away is under way already.
    under_way: Option<RunId>,
    proposal: Option<Proposal>,
    blockers: Vec<Reason>,
}

/// Everything of a site, and what cannot leave it.
struct Exodus {
    leavers: Vec<Leaver>,
    stays: Vec<String>,
}

impl Kernel {
    /// What an evacuation would do now. Refused only where there is nothing to plan: what stands in the way is in the plan.
    pub fn plan_evacuation(&self, site: &str, to: Option<&str>, now: Moment) -> Result<EvacuationPlan, Refused> {
        let exodus = self.exodus(Wish { site, to, by: "dry run", now })?;
        let plan = |leaver: &Leaver| {
            let planned = leaver.proposal.as_ref().map(|proposal| self.plan_of(proposal, now));
            let unsound = planned.as_ref().and_then(|planned| planned.as_ref().err()).cloned();
            LeavingPlan {
                service: self.fleet.services[leaver.id.at()].name.clone(),
                under_way: leaver.under_way,
                blockers: leaver.blockers.iter().cloned().chain(unsound).collect(),
                plan: planned.and_then(Result::ok),
            }
        };
        let phases = phases(&exodus.leavers).into_iter().map(|phase| phase.into_iter().map(plan).collect()).collect();
        Ok(EvacuationPlan { site: site.to_owned(), to: to.map(str::to_owned), phases, stays: exodus.stays })
    }

    /// Begins one, if every service could leave now: a person approves the whole, so the whole has to be possible.
    pub(crate) fn evacuate(
        &mut self,
        turn: &mut Turn,
        by: &str,
        site: &str,
        to: Option<&str>,
    ) -> Result<Accepted, Refused> {
        if let Some(open) = self.state.open_evacuation() {
            let text = format!("evacuation e{} of {} is under way", open.id, open.site);
            return Err(Refused { by_guard: true, reasons: vec![Reason::new("evacuation-under-way", text)] });
        }
        let exodus = self.exodus(Wish { site, to, by, now: turn.now })?;
        let blocked: Vec<Reason> = exodus.leavers.iter().flat_map(|leaver| self.blocked(leaver)).collect();
        if !blocked.is_empty() {
            return Err(Refused { by_guard: true, reasons: blocked });
        }
        let evacuation = Evacuation {
            id: self.state.evacuations.last_key_value().map_or(1, |(last, _)| last + 1),
            site: site.to_owned(),
            to: to.map(str::to_owned),
            by: by.to_owned(),
            opened: turn.now,
            phases: phases(&exodus.leavers)
                .into_iter()
                .map(|phase| phase.into_iter().map(|leaver| self.leaving(leaver)).collect())
                .collect(),
            phase: 0,
            stays: exodus.stays,
            end: None,
            closed: None,
        };
        let text = begun(&evacuation);
        let id = evacuation.id;
        self.tell_fleet(turn, &format!("evacuation/{id}"), Severity::Warning, &format!("{text}, on the word of {by}"));
        self.note_evacuation(turn, rules::EVACUATION_BEGUN, evacuation);
        self.begin_phase(turn, id);
        self.next_phases(turn, id);
        Ok(Accepted { text, run: None, question: None })
    }

    /// A run has ended: an evacuation that waited for it goes on, or stops.
    pub(crate) fn evacuate_on(&mut self, turn: &mut Turn, run: RunId, arrived: bool) {
        let Some(mut evacuation) = self.evacuation_by(run) else { return };
        if !arrived {
            return self.stop_evacuation(turn, evacuation, format!("run r{} was undone", run.0));
        }
        let id = evacuation.id;
        evacuation.leaving_mut().filter(|leaving| leaving.run == Some(run)).for_each(|leaving| leaving.gone = true);
        self.note_evacuation(turn, rules::EVACUATION_WENT_ON, evacuation);
        self.next_phases(turn, id);
    }

    /// A run can go neither on nor back: neither can what waits for it.
    pub(crate) fn evacuation_rests(&mut self, turn: &mut Turn, run: RunId) {
        if let Some(evacuation) = self.evacuation_by(run) {
            self.stop_evacuation(turn, evacuation, format!("run r{} rests", run.0));
        }
    }

    fn evacuation_by(&self, run: RunId) -> Option<Evacuation> {
        let open = self.state.open_evacuation()?;
        open.phases.iter().flatten().any(|leaving| leaving.run == Some(run) && !leaving.gone).then(|| open.clone())
    }

    fn blocked(&self, leaver: &Leaver) -> Vec<Reason> {
        let name = &self.fleet.services[leaver.id.at()].name;
        let unsound = leaver.proposal.as_ref().and_then(|proposal| self.plan_steps(proposal).err());
        let all = leaver.blockers.iter().cloned().chain(unsound);
        all.map(|reason| Reason { text: format!("{name}: {}", reason.text), ..reason }).collect()
    }

    fn leaving(&self, leaver: &Leaver) -> Leaving {
        let under_way = leaver.under_way.and_then(|run| self.state.runs.get(&run)).map(|run| run.to.clone());
        let to = leaver.proposal.as_ref().map(|proposal| proposal.to.clone()).or(under_way).unwrap_or_default();
        Leaving { service: self.fleet.services[leaver.id.at()].name.clone(), to, run: None, gone: false }
    }

    /// Phases that are over are followed by the next, until there is something to wait for.
    fn next_phases(&mut self, turn: &mut Turn, id: u64) {
        while let Some(open) = self.state.open_evacuation().filter(|open| open.id == id && open.phase_is_over()) {
            let mut evacuation = open.clone();
            if evacuation.phase + 1 == evacuation.phases.len() {
                return self.end_evacuation(turn, evacuation);
            }
            evacuation.phase += 1;
            self.note_evacuation(turn, rules::EVACUATION_WENT_ON, evacuation);
            self.begin_phase(turn, id);
        }
    }

    fn begin_phase(&mut self, turn: &mut Turn, id: u64) {
        let length = self.state.open_evacuation().and_then(|open| open.phases.get(open.phase)).map_or(0, Vec::len);
        for at in 0..length {
            let Some(mut evacuation) = self.state.open_evacuation().filter(|open| open.id == id).cloned() else {
                return;
            };
            let phase = evacuation.phase;
            let (service, to) = (evacuation.phases[phase][at].service.clone(), evacuation.phases[phase][at].to.clone());
            match self.leave(turn, &evacuation.by, &evacuation.site, &service, &to) {
                Ok(run) => {
                    let leaving = &mut evacuation.phases[phase][at];
                    (leaving.run, leaving.gone) = (run, run.is_none());
                    self.note_evacuation(turn, rules::EVACUATION_WENT_ON, evacuation);
                    self.settle_at_once(turn, run);
                }
                Err(refused) => {
                    let why: Vec<&str> = refused.reasons.iter().map(|reason| reason.text.as_str()).collect();
                    return self.stop_evacuation(
                        turn,
                        evacuation,
                        format!("{service} was refused: {}", why.join("; ")),
                    );
                }
            }
        }
    }

    /// A run that needed nothing has ended, or rests, before it was noted.
    fn settle_at_once(&mut self, turn: &mut Turn, run: Option<RunId>) {
        let Some(known) = run.and_then(|run| self.state.runs.get(&run)) else { return };
        let (id, resting) = (known.id, known.heading == crate::saga::Heading::Resting);
        match known.end.clone() {
            Some(end) => self.evacuate_on(turn, id, end != RunEnd::Undone),
            None if resting => self.evacuation_rests(turn, id),
            None => {}
        }
    }

    /// None = there is nothing of it at the site any more.
    fn leave(&mut self, turn: &mut Turn, by: &str, site: &str, name: &str, to: &str) -> Result<Option<RunId>, Refused> {
        let Some(id) = self.service_id(name).filter(|id| self.is_at(*id, site)) else { return Ok(None) };
        if let Some(run) = self.run_away(id, site) {
            return Ok(Some(run));
        }
        let proposal = self.departure(id, site, to, by, turn.now)?;
        self.begin(turn, &proposal).map(|accepted| accepted.run)
    }

    /// It has traffic there, or its primary.
    fn is_at(&self, id: ServiceId, site: &str) -> bool {
        let traffic = self.service_state(id).is_some_and(|known| known.life.share(site) > 0);
        let leads = self.cluster_of(id).and_then(|(_, cluster)| cluster.node(&self.held(&cluster.name)?.primary));
        traffic || leads.is_some_and(|node| self.fleet.sites[node.site.at()].name == site)
    }

    /// Its run under way, if that leads everything away from the site.
    fn run_away(&self, id: ServiceId, site: &str) -> Option<RunId> {
        let run = self.state.runs.get(&self.service_state(id)?.run?)?;
        let none_left = run.shares.iter().all(|share| share.site != site || share.per_cent == 0);
        (run.moves() && none_left && run.heading == crate::saga::Heading::Forward).then_some(run.id)
    }

    /// All services at a site, what is needed first, with the room that those before have taken.
    fn exodus(&self, wish: Wish) -> Result<Exodus, Refused> {
        let site = wish.site;
        self.known_site(site)?;
        if let Some(to) = wish.to {
            self.known_site(to)?;
            if to == site {
                return Err(usage("to", &format!("{site} cannot be evacuated to itself")));
            }
        }
        let mut ids: Vec<(u32, ServiceId)> = self.service_ids().map(|id| (self.depth(id), id)).collect();
        ids.retain(|(_, id)| self.is_at(*id, site));
        ids.sort_by_key(|(depth, id)| (*depth, self.fleet.services[id.at()].tier, id.0));
        let (mut taken, mut leavers, mut stays) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (depth, id) in ids {
            match self.leaver(wish, id, depth, &mut taken) {
                Some(leaver) => leavers.push(leaver),
                None => stays.push(self.fleet.services[id.at()].name.clone()),
            }
        }
        if leavers.is_empty() {
            let why =
                if stays.is_empty() { "nothing is served from there" } else { "what is there has no other place" };
            return Err(usage("nothing-there", &format!("{site} has nothing to move: {why}")));
        }
        Ok(Exodus { leavers, stays })
    }

    fn known_site(&self, name: &str) -> Result<SiteId, Refused> {
        self.site_id(name).ok_or_else(|| usage("site", &format!("no site {name} is declared")))
    }

    /// None = it is declared nowhere else. Where nothing is possible, what stands against the best place is told.
    fn leaver(&self, wish: Wish, id: ServiceId, depth: u32, taken: &mut BTreeMap<SiteId, u64>) -> Option<Leaver> {
        let under_way = self.run_away(id, wish.site);
        if under_way.is_some() {
            return Some(Leaver { id, depth, under_way, proposal: None, blockers: Vec::new() });
        }
        let mut first = None;
        for to in self.refuges(id, wish) {
            let (proposal, blockers) = self.attempt(wish, id, &to, taken);
            let leaver = Leaver { id, depth, under_way, proposal, blockers };
            if leaver.blockers.is_empty() {
                return Some(leaver);
            }
            first = first.or(Some(leaver));
        }
        first
    }

    fn attempt(
        &self,
        wish: Wish,
        id: ServiceId,
        to: &str,
        taken: &mut BTreeMap<SiteId, u64>,
    ) -> (Option<Proposal>, Vec<Reason>) {
        let proposal = match self.departure(id, wish.site, to, wish.by, wish.now) {
            Ok(proposal) => proposal,
            Err(refused) => return (None, refused.reasons),
        };
        let mut blockers = self.reasons_against(&proposal, wish.now);
        if blockers.is_empty() {
            blockers.extend(self.take_room(&proposal, taken));
        }
        (Some(proposal), blockers)
    }

    fn reasons_against(&self, proposal: &Proposal, now: Moment) -> Vec<Reason> {
        match self.guard(proposal, now) {
            Judged::Go => Vec::new(),
            judged => judged.reasons(),
        }
    }

    /// Where it may go, the best first: the site that was named, if it has a place there; where its traffic is already.
    fn refuges(&self, id: ServiceId, Wish { site, to, .. }: Wish) -> Vec<String> {
        let service = &self.fleet.services[id.at()];
        let mut places: Vec<SiteId> = service.places.iter().map(|place| place.site).collect();
        places.sort_by_key(|site| self.fleet.sites[site.at()].rank);
        let names = places.into_iter().map(|at| self.fleet.sites[at.at()].name.clone());
        let others: Vec<String> = names.filter(|name| name != site).collect();
        let known = self.service_state(id);
        let active = known.map(|known| known.life.active.as_str()).filter(|active| *active != site);
        match active.or(to).and_then(|wanted| others.iter().find(|name| *name == wanted)) {
            Some(wanted) => vec![wanted.clone()],
            None => others,
        }
    }

    /// As a person would order it: shares shifted, else moved whole, by a planned move where both sides are well.
    fn departure(&self, id: ServiceId, site: &str, to: &str, by: &str, now: Moment) -> Result<Proposal, Refused> {
        let service = &self.fleet.services[id.at()];
        let known = self.service_state(id).ok_or_else(|| usage("service", "it is not known yet"))?;
        if service.strategy == Strategy::ActiveActive {
            let shares = self.shares_spared(id, site, now);
            let shares =
                shares.ok_or_else(|| usage("no-target", &format!("nothing of {} is well elsewhere", service.name)))?;
            let blank = Proposal {
                origin: Origin::Person(by.into()),
                cause: "evacuation".into(),
                ..Proposal::blank(id, known)
            };
            return Ok(blank.sharing(&shares, &known.life.home));
        }
        let order = Command::Failover { service: service.name.clone(), to: Some(to.to_owned()), accept_loss: None };
        self.proposal_of(&order, by, now)
    }

    fn end_evacuation(&mut self, turn: &mut Turn, evacuation: Evacuation) {
        let text = format!("{} is evacuated{}", evacuation.site, staying(&evacuation));
        let key = format!("evacuation/{}/over", evacuation.id);
        self.tell_fleet(turn, &key, Severity::Info, &text);
        let over = Evacuation { end: Some(EvacuationEnd::Done), closed: Some(turn.now), ..evacuation };
        self.note_evacuation(turn, rules::EVACUATION_ENDED, over);
    }

    /// Runs under way go on; nothing more is begun.
    fn stop_evacuation(&mut self, turn: &mut Turn, evacuation: Evacuation, why: String) {
        let text = format!(
            "The evacuation of {} has stopped: {why}. Nothing more is begun; `tidegate evacuate {}` goes on with what is still \
             there",
            evacuation.site, evacuation.site
        );
        let key = format!("evacuation/{}/stopped", evacuation.id);
        self.tell_fleet(turn, &key, Severity::Critical, &text);
        let over = Evacuation { end: Some(EvacuationEnd::Stopped(why)), closed: Some(turn.now), ..evacuation };
        self.note_evacuation(turn, rules::EVACUATION_ENDED, over);
    }

    fn note_evacuation(&mut self, turn: &mut Turn, rule: RuleNumber, evacuation: Evacuation) {
        self.set(turn, rule, Change::Evacuation { evacuation: Box::new(evacuation) });
    }
}

/// Leavers by their depth; what is side by side needs nothing of each other.
fn phases(leavers: &[Leaver]) -> Vec<Vec<&Leaver>> {
    let mut phases: BTreeMap<u32, Vec<&Leaver>> = BTreeMap::new();
    for leaver in leavers {
        phases.entry(leaver.depth).or_default().push(leaver);
    }
    phases.into_values().collect()
}

fn begun(evacuation: &Evacuation) -> String {
    let (services, phases) = (evacuation.phases.iter().flatten().count(), evacuation.phases.len());
    let (id, site) = (evacuation.id, &evacuation.site);
    format!("evacuation e{id} of {site} has begun: {services} services in {phases} phases{}", staying(evacuation))
}

fn staying(evacuation: &Evacuation) -> String {
    match evacuation.stays.as_slice() {
        [] => String::new(),
        some => format!("; without another place, there stay {}", some.join(", ")),
    }
}
