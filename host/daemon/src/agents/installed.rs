//! What the vantage points are to work by: what was last installed, and how far each probe's newest revision has come.
//!
//! Knows which agent stands in which failure domain; what a plan holds is `plan`'s, and when a revision goes on `rollout`'s.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;

use anyhow::Result;
use bytes::Bytes;
use tidegate_kernel::contract::Millis;
use tidegate_kernel::fleet::{Fleet, Vantage, VantageId};

use super::rollout::{Moved, RolloutView, Rollouts};
use super::roster::{Member, Roster};
use super::trial::{Sight, Verdict, place};
use super::{Installation, lock, plan};
use crate::prober::Target;

/// The newest installation.
pub(super) struct Installed {
    /// As it was brought; its components have gone to `components`.
    pub(super) installation: Installation,
    /// Those that somebody still works by as well.
    pub(super) components: HashMap<String, Bytes>,
    pub(super) rollouts: Rollouts,
}

impl Installed {
    pub(super) fn new(mut installation: Installation, before: Option<&Installed>, now: Millis) -> Self {
        let mut rollouts = before.map(|before| before.rollouts.clone()).unwrap_or_default();
        let mut components = before.map(|before| before.components.clone()).unwrap_or_default();
        let fleet = installation.fleet.clone();
        rollouts.aim(&installation.slots, &domains(&fleet), |slot| interval(&fleet, slot), now);
        components.extend(std::mem::take(&mut installation.components));
        let named = rollouts.digests();
        components.retain(|digest, _| named.contains(digest.as_str()));
        Installed { installation, components, rollouts }
    }

    /// Who may speak, and what each agent works by now.
    pub(super) fn roster(&self, key: &[u8], before: &Roster) -> Result<Roster> {
        Roster::new(self, key, before)
    }

    /// Tells the vantage points of the failure domains under trial what counts now, and the others that nothing does.
    pub(super) fn set_trials(&self, roster: &Roster, own: &Mutex<Sight>, now: Millis) {
        for member in roster.members() {
            let (slots, plan) = (self.under_trial(&member.domain), member.plan.borrow().clone());
            set_trial(&mut lock(&member.post.sight), &plan.version, &slots, &plan.targets);
        }
        let fleet = &self.installation.fleet;
        let Some((id, vantage)) = own_vantage(fleet) else { return };
        let slots = self.under_trial(&vantage.failure_domain);
        let number = |slot: &String| format!("{slot} {}", self.installation.slots[slot].revision);
        let version = slots.iter().map(number).collect::<Vec<_>>().join(", ");
        let (mut own, targets) = (lock(own), if slots.is_empty() { Vec::new() } else { plan::targets(fleet, id) });
        set_trial(&mut own, &version, &slots, &targets);
        // The host's own slot has been swapped before anything was installed.
        own.works_by(&version, &[], now);
    }

    /// What the failure domains under trial have shown.
    pub(super) fn judge(&mut self, roster: &Roster, own: &Mutex<Sight>, now: Millis) -> Vec<Moved> {
        let fleet = self.installation.fleet.clone();
        let trying = self.rollouts.trying().into_iter();
        let judge = |(slot, domain): (String, String)| {
            let verdict = verdict(&fleet, roster, own, &domain);
            self.rollouts.judge(&slot, verdict, interval(&fleet, &slot), now)
        };
        trying.filter_map(judge).collect()
    }

    pub(super) fn view(&self, slot: &str) -> Option<RolloutView> {
        self.rollouts.view(slot)
    }

    fn under_trial(&self, domain: &str) -> BTreeSet<String> {
        let trying = self.rollouts.trying().into_iter();
        trying.filter(|(_, trying)| trying == domain).map(|(slot, _)| slot).collect()
    }
}

/// The host itself, where it looks from its own site.
pub(super) fn own_vantage(fleet: &Fleet) -> Option<(VantageId, &Vantage)> {
    let own = |vantage: &Vantage| vantage.token.is_none() && vantage.site == fleet.host.site;
    let at = fleet.vantages.iter().position(own)?;
    Some((VantageId(at as u16), &fleet.vantages[at]))
}

fn set_trial(sight: &mut Sight, version: &str, slots: &BTreeSet<String>, targets: &[Target]) {
    if slots.is_empty() {
        return sight.end();
    }
    let tried = targets.iter().filter(|target| slots.contains(&*target.slot));
    sight.begin(version, tried.map(|target| place(&target.service, &target.site)));
}

/// Every vantage point of the failure domain has to work well; the first that does not is named.
fn verdict(fleet: &Fleet, roster: &Roster, own: &Mutex<Sight>, domain: &str) -> Verdict {
    let is_own = own_vantage(fleet).is_some_and(|(_, vantage)| vantage.failure_domain == domain);
    let own = is_own.then(|| ("the host itself".to_owned(), lock(own).verdict()));
    let of_member = |member: &Member| (format!("agent {}", member.name), lock(&member.post.sight).verdict());
    let agents = roster.members().filter(|member| &*member.domain == domain).map(of_member);
    let mut waits = None;
    for (who, verdict) in own.into_iter().chain(agents) {
        match verdict {
            Verdict::Bad(why) => return Verdict::Bad(format!("{who}: {why}")),
            Verdict::Waits(what) => drop(waits.get_or_insert(format!("{who}: {what}"))),
            Verdict::Well => {}
        }
    }
    waits.map_or(Verdict::Well, Verdict::Waits)
}

/// The host's own comes first, because its slot is swapped first; then the fleet file's order.
fn domains(fleet: &Fleet) -> Vec<String> {
    let own = own_vantage(fleet).map(|(_, vantage)| vantage);
    let mut domains: Vec<String> = Vec::new();
    for vantage in own.into_iter().chain(&fleet.vantages) {
        if !domains.contains(&vantage.failure_domain) {
            domains.push(vantage.failure_domain.clone());
        }
    }
    domains
}

/// The longest from one look by this slot to the next.
fn interval(fleet: &Fleet, slot: &str) -> Millis {
    let probes = fleet.services.iter().map(|service| &service.probe);
    probes.filter(|probe| probe.slot == slot).map(|probe| probe.interval).max().unwrap_or_default()
}
