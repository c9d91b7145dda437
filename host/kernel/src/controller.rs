//! When a policy is asked, and what its answer counts for.
//!
//! One ticket per service at a time. An answer to an older version of the service, or by another revision than the slot's,
//! counts for nothing, nor does one that looked up what its picture lacked: the policy is asked again. A policy that fails holds, with an alarm, and is asked again soon with an
//! empty memo.

use std::sync::Arc;

use crate::contract::{self, Decision, Millis, Situation, Status, Verdict};
use crate::desk::{Asked, Timer, Turn, TurnedBad};
use crate::event::{Answered, Effect, Moment, Revision, Ticket};
use crate::fleet::{ServiceId, SiteId, VantageId};
use crate::guard::{Judged, Kind, Proposal};
use crate::kernel::Kernel;
use crate::record::{Cause, Change, Decided, Sensed, Stored};
use crate::rules;
use crate::sensing::Edge;
use crate::service::Trigger;
use crate::state::{Freeze, Ruling, Said, Tripped, content_hash, no_decision};

/// A cluster that is about to be looked at is waited for so long, then the policy is asked all the same.
const AWAITED_PAUSE: Millis = 1_000;
/// After a failed decision; doubled with each further one.
const FAULT_PAUSE: Millis = 2_000;
const FAULT_PAUSE_MAX: Millis = 60_000;
/// However often a policy wants to be asked, not more often than this.
const ASK_PAUSE_MIN: Millis = 100;
/// After `probe-more`, if the looks change nothing that anybody would notice.
const PROBE_PAUSE: Millis = 1_000;
/// A probe that was swapped within this time is a likelier cause than two domains failing together.
const SWAP_WINDOW: Millis = 600_000;

impl Kernel {
    /// Sensing saw a change.
    pub(crate) fn sensed(&mut self, edge: Edge, now: Moment, effects: &mut Vec<Effect>) {
        let mut turn = Turn::new(now);
        match edge {
            Edge::Consensus { service, site, to, .. } => self.consensus_changed(&mut turn, service, site, to),
            Edge::Votes { service, .. } if !self.sensing.warming_up(now) => {
                self.ask(&mut turn, service);
                self.ask_lookers(&mut turn, service);
            }
            Edge::Votes { .. } => {}
            Edge::Vantage { vantage, sound, .. } => self.vantage_changed(&mut turn, vantage, sound),
        }
        let cause = self.sensed_cause(edge);
        turn.finish(|| Cause::Sensed(cause), effects);
    }

    fn consensus_changed(&mut self, turn: &mut Turn, service: ServiceId, site: SiteId, to: Status) {
        if to == Status::Unhealthy && !self.sensing.warming_up(turn.now) {
            self.turned_bad(turn, site);
        }
        self.judge_health(turn, service);
        self.ask(turn, service);
        self.ask_lookers(turn, service);
        self.drive_service(turn, service);
    }

    /// Two failure domains at once are more likely our own blindness than two disasters.
    fn turned_bad(&mut self, turn: &mut Turn, site: SiteId) {
        let (at, domain) = (turn.now.mono, self.fleet.sites[site.at()].failure_domain.clone());
        let together = self.fleet.host.brake.together;
        let since = match self.desk.probe_swapped {
            Some(swapped) if at.saturating_sub(swapped) <= SWAP_WINDOW => swapped.min(at.saturating_sub(together)),
            _ => at.saturating_sub(together),
        };
        self.desk.turned_bad.retain(|bad| bad.failure_domain != domain && bad.at >= since);
        self.desk.turned_bad.push_back(TurnedBad { at, failure_domain: domain });
        if self.desk.turned_bad.len() < 2 {
            return;
        }
        let domains: Vec<&str> = self.desk.turned_bad.iter().map(|bad| bad.failure_domain.as_str()).collect();
        let text = format!("targets in {} turned bad together", domains.join(" and "));
        self.freeze(turn, text);
    }

    fn vantage_changed(&mut self, turn: &mut Turn, vantage: VantageId, sound: bool) {
        if sound {
            self.desk.seen_sound.insert(vantage);
        }
        let views = self.sensing.vantages(&self.fleet, turn.now);
        let lost = |at: usize| self.desk.seen_sound.contains(&VantageId(at as u16));
        let blind = views.iter().enumerate().filter(|(at, view)| view.fresh && !view.sound && lost(*at));
        let mut blind: Vec<&str> = blind.map(|(_, view)| view.failure_domain.as_str()).collect();
        blind.sort_unstable();
        blind.dedup();
        if blind.len() >= 2 && !self.sensing.warming_up(turn.now) {
            let text = format!("the control targets fail from {}", blind.join(" and "));
            self.freeze(turn, text);
        }
        if !sound {
            let name = self.fleet.vantages[vantage.at()].name.clone();
            let text = format!("{name} does not reach its control targets: its word does not count until it does");
            self.tell_fleet(turn, &format!("cut-off/{name}/{}", turn.now.mono), contract::Severity::Warning, &text);
        }
    }

    fn freeze(&mut self, turn: &mut Turn, text: String) {
        if self.state.freeze.is_some() {
            return;
        }
        let key = format!("freeze/{}", turn.now.mono);
        self.tell_fleet(turn, &key, contract::Severity::Critical, &format!("Automatic moves are frozen: {text}."));
        self.set(turn, rules::FREEZE, Change::Freeze { freeze: Some(Freeze { since: turn.now, text }) });
    }

    fn sensed_cause(&self, edge: Edge) -> Sensed {
        let service = |id: ServiceId| self.fleet.services[id.at()].name.clone();
        let site = |id: SiteId| self.fleet.sites[id.at()].name.clone();
        match edge {
            Edge::Consensus { service: of, site: at, from, to } => {
                Sensed::Consensus { service: service(of), site: site(at), from, to }
            }
            Edge::Votes { service: of, site: at } => Sensed::Votes { service: service(of), site: site(at) },
            Edge::Vantage { vantage, sound, fresh } => {
                Sensed::Vantage { vantage: self.fleet.vantages[vantage.at()].name.clone(), sound, fresh }
            }
        }
    }

    /// Whether the service is well where it is served: only what is seen counts, and unknown is neither.
    pub(crate) fn judge_health(&mut self, turn: &mut Turn, id: ServiceId) {
        let Some(known) = self.service_state(id) else { return };
        let served = known.life.shares.iter().filter(|share| share.per_cent > 0);
        let seen: Vec<Status> = served
            .filter_map(|share| self.site_id(&share.site))
            .map(|site| self.sensing.consensus(id, site, turn.now).status)
            .collect();
        if seen.iter().any(|status| matches!(status, Status::Unhealthy | Status::Degraded)) {
            self.live_on(turn, id, Trigger::Worse);
        } else if !seen.is_empty() && seen.iter().all(|status| *status == Status::Healthy) {
            self.live_on(turn, id, Trigger::Better);
        }
    }

    /// Asks the policy of a service, now; if it is being asked, then again when it has answered.
    pub(crate) fn ask(&mut self, turn: &mut Turn, id: ServiceId) {
        let desk = self.desk.service(id);
        desk.version += 1;
        if desk.asked.is_some() {
            return;
        }
        // A look is on its way that says who leads now: until then there is nothing to decide on.
        let awaited =
            self.cluster_of(id).is_some_and(|(cluster, _)| self.clusters.watch(cluster).is_awaited(turn.now.mono));
        match awaited {
            true => self.ask_in(id, turn.now, AWAITED_PAUSE),
            false => self.put_to_policy(turn, id),
        }
    }

    fn put_to_policy(&mut self, turn: &mut Turn, id: ServiceId) {
        let Some(situation) = self.situation(id, turn.now) else { return };
        let (situation, picture) = (Arc::new(situation), self.picture(id, turn.now));
        let ticket = self.desk.ticket();
        let slot = self.fleet.services[id.at()].policy.clone();
        let desk = self.desk.service(id);
        if let Some(due) = desk.ask_at.take() {
            self.desk.timers.remove(&(due, Timer::Ask(id)));
        }
        let desk = self.desk.service(id);
        desk.asked = Some(Asked { ticket, version: desk.version, situation: situation.clone() });
        turn.effect(Effect::Decide { ticket, service: id, slot, situation, picture });
    }

    /// Asks again no later than in `pause`.
    pub(crate) fn ask_in(&mut self, id: ServiceId, now: Moment, pause: Millis) {
        let due = now.mono.saturating_add(pause.max(ASK_PAUSE_MIN));
        let desk = self.desk.service(id);
        if desk.ask_at.is_some_and(|earlier| earlier <= due) {
            return;
        }
        if let Some(later) = desk.ask_at.replace(due) {
            self.desk.timers.remove(&(later, Timer::Ask(id)));
        }
        self.desk.at(due, Timer::Ask(id));
    }

    /// Whether the answer to a ticket would count: nothing that it depends on has changed since its policy was asked. Whoever plays
    /// thousands of disasters need not work out one that would not.
    pub fn awaits(&self, ticket: Ticket, service: ServiceId) -> bool {
        let desk = self.desk.services.get(service.at());
        desk.is_some_and(|desk| {
            desk.asked.as_ref().is_some_and(|asked| asked.ticket == ticket && asked.version == desk.version)
        })
    }

    /// A policy answered, or could not.
    pub(crate) fn decided(
        &mut self,
        ticket: Ticket,
        id: ServiceId,
        answer: Box<Answered>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        let Some(asked) = self.take_ticket(ticket, id) else { return };
        let stale = asked.version != self.desk.service(id).version || !self.counts(id, &answer.revision);
        if self.looks_further(id, &answer) || stale {
            self.put_to_policy(&mut turn, id);
            return turn.finish(|| Cause::Due("asked again".into()), effects);
        }
        let slot = &self.fleet.services[id.at()].policy;
        if !self.desk.revisions.contains_key(slot) {
            self.desk.revisions.insert(slot.clone(), answer.revision.clone());
        }
        let Some(hash) = self.weigh_answer(&mut turn, id, &answer, &asked.situation) else {
            self.desk.service(id).uncounted += 1;
            return turn.finish(|| Cause::Due("as before".into()), effects);
        };
        let record = self.decision_record(id, *answer, asked, hash);
        turn.finish_recorded(Cause::Decided(Box::new(record)), effects);
    }

    fn take_ticket(&mut self, ticket: Ticket, id: ServiceId) -> Option<Asked> {
        let desk = self.desk.services.get_mut(id.at())?;
        desk.asked.take_if(|asked| asked.ticket == ticket)
    }

    /// Whether a revision's word counts: the slot's own does, and any while none has been announced.
    fn counts(&self, id: ServiceId, revision: &Revision) -> bool {
        let slot = &self.fleet.services[id.at()].policy;
        self.desk.revisions.get(slot).is_none_or(|active| active == revision)
    }

    /// None if the answer, and what was made of it, is the same as last time; else the situation's hash, as it was noted.
    fn weigh_answer(
        &mut self,
        turn: &mut Turn,
        id: ServiceId,
        answer: &Answered,
        situation: &Situation,
    ) -> Option<String> {
        let none;
        let (decision, fault) = match &answer.result {
            Ok(decision) => (decision, None),
            Err(fault) => {
                none = no_decision();
                (&none, Some(fault))
            }
        };
        self.ask_on(id, decision, fault.is_some(), turn.now);
        let ruling = match fault {
            Some(_) => Ruling::Nothing,
            None => self.rule_on(turn, id, decision, &answer.revision),
        };
        self.hold_over(turn, id, decision, fault.is_some());
        self.note_decision(turn, id, Said { revision: &answer.revision, decision, fault, ruling }, situation)
    }

    fn note_decision(
        &mut self,
        turn: &mut Turn,
        id: ServiceId,
        said: Said<'_>,
        situation: &Situation,
    ) -> Option<String> {
        let (service, slot) = (&self.fleet.services[id.at()].name, &self.fleet.services[id.at()].policy);
        let known = self.service_state(id);
        let last = known.and_then(|known| known.last.as_ref());
        let same = !turn.changed() && last.is_some_and(|last| last.says_the_same(&said));
        let memo = said.memo(slot);
        if same && known.is_some_and(|known| known.memo == memo) {
            return None;
        }
        // Only now: most answers are as before, and the hash costs more than all the rest.
        let hash = content_hash(situation);
        let before = last.map(|last| (last.analysis.clone(), last.alarm));
        let (service, last) = (service.clone(), said.noted(turn.now, hash.clone()));
        if last.fault.is_some() && !same {
            self.tell_fault(turn, id, &last);
        }
        if before != Some((last.analysis.clone(), last.alarm)) {
            self.tell_alarm(turn, id, &last);
        }
        self.count_holds(turn, id);
        self.set(turn, rules::DECISION, Change::Decision { service, last: Box::new(last), memo });
        Some(hash)
    }

    /// The decisions equal to the recorded one reach the journal together with the next different one.
    fn count_holds(&mut self, turn: &mut Turn, id: ServiceId) {
        let uncounted = std::mem::take(&mut self.desk.service(id).uncounted);
        if uncounted > 0 {
            let service = self.fleet.services[id.at()].name.clone();
            self.set(turn, rules::HOLDS_COUNTED, Change::Holds { counts: vec![(service, uncounted)] });
        }
    }

    fn ask_on(&mut self, id: ServiceId, decision: &Decision, fault: bool, now: Moment) {
        let desk = self.desk.service(id);
        if fault {
            let pause = FAULT_PAUSE.saturating_mul(1 << desk.faults.min(10)).min(FAULT_PAUSE_MAX);
            desk.faults += 1;
            return self.ask_in(id, now, pause);
        }
        desk.faults = 0;
        if let Some(pause) = decision.ask_again_in {
            self.ask_in(id, now, pause);
        }
    }

    /// What the host makes of a verdict. Only a verdict that wants something can become a run.
    fn rule_on(&mut self, turn: &mut Turn, id: ServiceId, decision: &Decision, revision: &Revision) -> Ruling {
        if let Verdict::ProbeMore(looks) = &decision.verdict {
            for site in looks.iter().filter_map(|look| self.site_id(&look.site)) {
                turn.effect(Effect::Probe { service: id, site });
            }
            self.ask_in(id, turn.now, PROBE_PAUSE);
        }
        if self.service_state(id).is_some_and(|known| known.run.is_some()) {
            return Ruling::Nothing;
        }
        if let Verdict::Ask(question) = &decision.verdict {
            return self.ask_for_policy(turn, id, question, decision, revision);
        }
        let strategy = self.fleet.services[id.at()].strategy;
        let wanted = self.service_state(id).and_then(|known| Proposal::of(&decision.verdict, id, known, strategy));
        match wanted {
            Some(proposal) => {
                self.rule_on_proposal(turn, Proposal { cause: decision.analysis.clone(), ..proposal }, revision)
            }
            None => {
                self.withdraw_moves(turn, id, "the policy no longer wants it");
                Ruling::Nothing
            }
        }
    }

    fn rule_on_proposal(&mut self, turn: &mut Turn, proposal: Proposal, revision: &Revision) -> Ruling {
        let id = proposal.service;
        match self.guard(&proposal, turn.now) {
            Judged::Go => match self.open_run(turn, &proposal) {
                Ok(run) => Ruling::Run(run),
                Err(problem) => Ruling::Hold(vec![problem]),
            },
            Judged::Ask(objections) => {
                let because: Vec<_> = objections.into_iter().map(|objection| objection.reason).collect();
                let question = self.ask_person(turn, &proposal, because.clone(), revision);
                Ruling::Ask { question, because }
            }
            judged => {
                self.trip(turn, &proposal, &judged);
                if let Some(wait) = judged.wait() {
                    self.ask_in(id, turn.now, wait);
                }
                Ruling::Hold(judged.reasons())
            }
        }
    }

    /// Only what nothing but the count of incidents stands in the way of trips the brake.
    fn trip(&mut self, turn: &mut Turn, proposal: &Proposal, judged: &Judged) {
        let Judged::Hold(objections) = judged else { return };
        let [only] = &objections[..] else { return };
        if only.reason.code != "brake" || self.state.brake.is_some() || proposal.kind == Kind::FailBack {
            return;
        }
        let text = format!("{}: {}", self.fleet.services[proposal.service.at()].name, only.reason.text);
        self.tell_fleet(
            turn,
            &format!("brake/{}", turn.now.mono),
            contract::Severity::Critical,
            &format!("The brake has tripped, and automatic moves stop until a person re-arms: {text}."),
        );
        self.set(turn, rules::BRAKE, Change::Brake { tripped: Some(Tripped { since: turn.now, text }) });
    }

    fn decision_record(&mut self, id: ServiceId, answer: Answered, asked: Asked, hash: String) -> Decided {
        let news = !answer.settings.is_empty() && self.desk.settings_kept.insert(answer.revision.settings.clone());
        Decided {
            service: self.fleet.services[id.at()].name.clone(),
            revision: answer.revision,
            settings: news.then_some(answer.settings),
            situation: Stored { hash, body: Some(Box::new(Arc::unwrap_or_clone(asked.situation))) },
            reads: answer.reads,
            fuel: answer.fuel,
            took_us: answer.took_us,
            result: answer.result,
        }
    }

    /// A slot's new revision has been acknowledged.
    pub(crate) fn swapped(
        &mut self,
        slot: String,
        revision: Revision,
        probe: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut turn = Turn::new(now);
        if probe {
            self.desk.probe_swapped = Some(now.mono);
        }
        let users: Vec<ServiceId> =
            self.service_ids().filter(|id| self.fleet.services[id.at()].policy == slot).collect();
        self.desk.revisions.insert(slot.clone(), revision.clone());
        for id in users {
            self.ask(&mut turn, id);
        }
        turn.finish_recorded(Cause::Swapped { slot, revision }, effects);
    }
}
