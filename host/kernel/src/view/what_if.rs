//! What would become of the fleet if a site were lost: the policies' own verdicts on a supposed picture, weighed by the
//! guard, in the order of dependencies, with the capacity that the earlier ones have taken. Changes nothing.

use std::collections::BTreeMap;

use crate::capacity;
use crate::contract::{Decision, Millis, Reason, Share};
use crate::event::Moment;
use crate::fleet::{ServiceId, SiteId};
use crate::guard::Proposal;
use crate::kernel::Kernel;
use crate::runbook::{endpoints, targets};
use crate::view::Judgement;

impl Kernel {
    /// Judges what the policies said of [`Kernel::hypothetical`].
    pub fn judge(&self, lose: SiteId, decisions: &[(ServiceId, Decision)], now: Moment) -> Vec<Judgement> {
        let mut taken: BTreeMap<SiteId, u64> = BTreeMap::new();
        let mut ordered: Vec<(u32, &(ServiceId, Decision))> =
            decisions.iter().map(|said| (self.depth(said.0), said)).collect();
        ordered.sort_by_key(|(depth, (id, _))| (*depth, self.fleet.services[id.at()].tier, id.0));
        ordered.into_iter().map(|(depth, said)| self.judge_one(lose, said, depth, &mut taken, now)).collect()
    }

    fn judge_one(
        &self,
        lose: SiteId,
        (id, decision): &(ServiceId, Decision),
        depth: u32,
        taken: &mut BTreeMap<SiteId, u64>,
        now: Moment,
    ) -> Judgement {
        let service = &self.fleet.services[id.at()];
        let known = self.service_state(*id);
        let proposal = known.and_then(|known| Proposal::of(&decision.verdict, *id, known, service.strategy));
        let mut blockers = match &proposal {
            Some(proposal) => self.blockers(lose, proposal, now),
            None => vec![Reason::new("verdict", format!("its policy says {}", decision.verdict.name()))],
        };
        if let Some(proposal) = &proposal {
            blockers.extend(self.take_room(proposal, taken));
        }
        let moves = proposal.filter(|_| blockers.is_empty());
        Judgement {
            service: service.name.clone(),
            tier: service.tier,
            verdict: decision.verdict.clone(),
            reasons: decision.reasons.clone(),
            order: moves.as_ref().map(|_| depth),
            to: moves.as_ref().map(|proposal| proposal.to.clone()),
            loss: self.loss_if(*id, lose, moves.as_ref()),
            blockers,
        }
    }

    fn blockers(&self, lose: SiteId, proposal: &Proposal, now: Moment) -> Vec<Reason> {
        let lost = &self.fleet.sites[lose.at()].name;
        if proposal.shares.iter().any(|share| share.site == *lost && share.per_cent > 0) {
            return vec![Reason::new("target-well", format!("it would lead to {lost}, which is supposed to be lost"))];
        }
        let mut blockers = self.guard_supposing_loss(proposal, now).reasons();
        if let Some(readiness) = self.service_state(proposal.service).and_then(|known| known.readiness.as_ref()) {
            blockers.extend(readiness.blockers.iter().cloned());
        }
        blockers.extend(self.plan_steps(proposal).err());
        blockers
    }

    /// What goes earlier takes its room first.
    pub(crate) fn take_room(&self, proposal: &Proposal, taken: &mut BTreeMap<SiteId, u64>) -> Option<Reason> {
        let service = &self.fleet.services[proposal.service.at()];
        for share in &proposal.shares {
            let Some(site) = self.site_id(&share.site) else { continue };
            let Some(place) = service.place(site) else { continue };
            let load = u64::from(place.load) * u64::from(share.per_cent);
            let used = self.capacity.without(site, proposal.service.at());
            let earlier = taken.entry(site).or_default();
            if used + *earlier + load > capacity::FULL {
                let text = format!("{} would be full: what goes first has taken its room", share.site);
                return Some(Reason::new("capacity", text));
            }
            *earlier += load;
        }
        None
    }

    fn loss_if(&self, id: ServiceId, lose: SiteId, moves: Option<&Proposal>) -> String {
        let service = &self.fleet.services[id.at()];
        let lost = &self.fleet.sites[lose.at()].name;
        let part = self.service_state(id).map_or(0, |known| known.life.share(lost));
        match moves {
            Some(proposal) => {
                let ttl = service.route.as_ref().map_or(0, |route| route.ttl_seconds);
                let data = proposal.expected_loss.map_or(String::new(), |loss: Millis| format!(", {loss} ms of data"));
                let to = targets(&endpoints(&self.fleet, service, &proposal.shares));
                format!("{part} % of the traffic until detection and {ttl} s of caches{data}; then {to}")
            }
            None => format!("{part} % of the traffic until a person acts or {lost} is back"),
        }
    }

    /// 1 = needs nothing that would move; else one more than the latest of what it needs.
    pub(crate) fn depth(&self, id: ServiceId) -> u32 {
        let needs = &self.fleet.services[id.at()].depends_on;
        1 + needs.iter().map(|on| self.depth(*on)).max().unwrap_or(0)
    }

    /// Active-active: the shares if one site were lost.
    pub(crate) fn shares_spared(&self, id: ServiceId, lost: &str, now: Moment) -> Option<Vec<Share>> {
        let shares = self.shares_without_the_bad(id, now)?;
        let staying: Vec<Share> = shares.into_iter().filter(|share| share.site != lost).collect();
        crate::orders::scaled(&staying)
    }
}
