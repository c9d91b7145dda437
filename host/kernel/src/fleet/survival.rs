//! For each service and each site that could be lost: does it survive by itself, or will a person be asked, and why.
//!
//! Reads the fleet file only. What is unwell today is the business of `what-if`, which asks the running host.

use std::collections::BTreeSet;

use super::data::Data;
use super::{Fleet, Mode, Place, Service, ServiceId, SiteId};
use crate::contract::{Autonomy, Strategy};

/// What the loss of a site would mean for a service.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Survival {
    /// The service.
    pub service: ServiceId,
    /// The site that is lost, and with it whatever shares its failure domain.
    pub site: SiteId,
    /// What becomes of the service.
    pub outlook: Outlook,
    /// Why, or by what proof, for people.
    pub reason: String,
}

/// What becomes of a service when a site is lost.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// It goes on where it is.
    Untouched,
    /// It moves there by itself.
    Moves(Vec<SiteId>),
    /// It could move, and waits for a person.
    Asks,
    /// There is nowhere to move it.
    Lost,
}

/// Every service against the loss of every site where it is declared; the most critical first for each site, since they
/// take the capacity first.
pub fn survivals(fleet: &Fleet) -> Vec<Survival> {
    let sites = (0..fleet.sites.len()).map(|site| SiteId(site as u16));
    sites.flat_map(|site| Loss::of(fleet, site).survivals()).collect()
}

/// One site's loss, and how far the others have been filled by it.
struct Loss<'a> {
    fleet: &'a Fleet,
    site: SiteId,
    gone: BTreeSet<SiteId>,
    /// Failure domains with a vantage point: all, and those left.
    expected: u32,
    left: u32,
    /// Load of each site, in hundredths of a per cent of what it can take.
    load: Vec<u32>,
}

const FULL: u32 = 100 * 100;

impl<'a> Loss<'a> {
    fn of(fleet: &'a Fleet, site: SiteId) -> Loss<'a> {
        let domain = &fleet.sites[site.at()].failure_domain;
        let shares_domain = |(_, other): &(usize, &super::Site)| other.failure_domain == *domain;
        let gone: BTreeSet<SiteId> =
            fleet.sites.iter().enumerate().filter(shares_domain).map(|(at, _)| SiteId(at as u16)).collect();
        let domains: BTreeSet<&str> = fleet.vantages.iter().map(|vantage| vantage.failure_domain.as_str()).collect();
        let alive =
            fleet.vantages.iter().filter(|vantage| !gone.contains(&vantage.site) && vantage.failure_domain != *domain);
        let left: BTreeSet<&str> = alive.map(|vantage| vantage.failure_domain.as_str()).collect();
        let mut loss =
            Loss { fleet, site, gone, expected: domains.len() as u32, left: left.len() as u32, load: Vec::new() };
        loss.load = loss.load_before();
        loss
    }

    fn load_before(&self) -> Vec<u32> {
        let mut load = vec![0; self.fleet.sites.len()];
        for service in &self.fleet.services {
            for place in &service.places {
                load[place.site.at()] += place.load * share_at_start(service, place);
            }
        }
        load
    }

    fn survivals(mut self) -> Vec<Survival> {
        let services = &self.fleet.services;
        let mut ids: Vec<usize> = (0..services.len()).filter(|at| services[*at].place(self.site).is_some()).collect();
        ids.sort_by_key(|at| services[*at].tier);
        ids.into_iter().map(|at| self.survival(ServiceId(at as u32))).collect()
    }

    fn survival(&mut self, id: ServiceId) -> Survival {
        let service = &self.fleet.services[id.at()];
        let (outlook, reason) = self.outlook(service);
        Survival { service: id, site: self.site, outlook, reason }
    }

    fn outlook(&mut self, service: &Service) -> (Outlook, String) {
        if !self.serves(service) {
            let reason = format!("served from {}; it has one place less to go to", self.name(service.active_at_start));
            return (Outlook::Untouched, reason);
        }
        let shares = match self.new_shares(service) {
            Ok(shares) => shares,
            Err(reason) => return (Outlook::Lost, reason),
        };
        let data = self.data(service, &shares);
        let unproven = data.as_ref().and_then(|proof| proof.as_ref().err().cloned());
        if let Some(reason) = self.why_ask(service).or_else(|| self.overload(&shares)).or(unproven) {
            return (Outlook::Asks, reason);
        }
        for (place, share) in &shares {
            self.load[place.site.at()] += place.load * share;
        }
        let to = shares.iter().map(|(place, _)| place.site).collect();
        let proven = data.and_then(Result::ok).map_or_else(String::new, |proof| format!("; {proof}"));
        (Outlook::Moves(to), self.proof(service) + &proven)
    }

    /// By which proof its data would be promoted there, if it has any.
    fn data(&self, service: &Service, shares: &[(&Place, u32)]) -> Option<Result<String, String>> {
        let (place, _) = shares.first()?;
        Some(Data::of(self.fleet, service)?.proof(&self.gone, place.site, self.expected))
    }

    fn serves(&self, service: &Service) -> bool {
        let here = |place: &&Place| self.gone.contains(&place.site);
        service.places.iter().filter(here).any(|place| share_at_start(service, place) > 0)
    }

    /// What each remaining place has to take on, in per cent.
    fn new_shares(&self, service: &'a Service) -> Result<Vec<(&'a Place, u32)>, String> {
        let places: Vec<&Place> = service.places.iter().filter(|place| self.may_take(service, place)).collect();
        if places.is_empty() {
            return Err(
                "it is declared at no other site in another failure domain and an allowed jurisdiction".to_owned()
            );
        }
        if service.strategy != Strategy::ActiveActive {
            return Ok(places.into_iter().take(1).map(|place| (place, 100)).collect());
        }
        let lost: u32 = 100 - places.iter().map(|place| place.share).sum::<u32>().min(100);
        let among = places.len() as u32;
        Ok(places.into_iter().map(|place| (place, lost.div_ceil(among))).collect())
    }

    fn may_take(&self, service: &Service, place: &Place) -> bool {
        !self.gone.contains(&place.site) && is_allowed(self.fleet, service, place)
    }

    fn why_ask(&self, service: &Service) -> Option<String> {
        let name = if service.strategy == Strategy::ActiveActive { "rebalance" } else { "fail-over" };
        if self.gone.contains(&self.fleet.host.site) {
            Some("this host stands there: nobody is left to decide".to_owned())
        } else if self.fleet.host.mode == Mode::Observe {
            Some("host.mode is \"observe\": what would be done is only noted".to_owned())
        } else if service.failover == Autonomy::Manual {
            Some("its failover is manual".to_owned())
        } else if service.approval.iter().any(|approval| approval == name) {
            Some(format!("`{name}` waits for an approval"))
        } else if service.route.is_none() && !service.runbooks.contains_key(name) {
            Some(format!("it has neither a route nor a runbook for `{name}`: nothing here can move it"))
        } else {
            self.why_unseen(service)
        }
    }

    /// The rule of consensus, applied to the vantage points that would be left.
    fn why_unseen(&self, service: &Service) -> Option<String> {
        let Loss { expected, left, .. } = *self;
        let seen = (left >= 2 && 2 * left > expected) || (service.one_domain_suffices && left >= 1);
        let of = format!("{left} of {expected} failure domains with a vantage point would be left");
        (!seen).then(|| format!("{of}: too few to be sure that it is down"))
    }

    fn overload(&self, shares: &[(&Place, u32)]) -> Option<String> {
        shares.iter().find_map(|(place, share)| {
            let site = &self.fleet.sites[place.site.at()];
            if place.share + share > site.capacity {
                let name = &site.name;
                return Some(format!(
                    "{name} would get {} % of it and can take {} %",
                    place.share + share,
                    site.capacity
                ));
            }
            let load = self.load[place.site.at()] + place.load * share;
            (load > FULL).then(|| format!("{} would be loaded to {} %", site.name, load.div_ceil(100)))
        })
    }

    fn proof(&self, service: &Service) -> String {
        let alone = self.left < 2 || 2 * self.left <= self.expected;
        let seen = format!("{} of {} failure domains are left to see it", self.left, self.expected);
        if service.one_domain_suffices && alone { format!("{seen}; for this service one suffices") } else { seen }
    }

    fn name(&self, site: SiteId) -> &str {
        &self.fleet.sites[site.at()].name
    }
}

/// Whether the service may be served there at all.
pub(super) fn is_allowed(fleet: &Fleet, service: &Service, place: &Place) -> bool {
    let jurisdiction = fleet.sites[place.site.at()].jurisdiction.as_ref();
    service.jurisdictions.is_empty() || jurisdiction.is_some_and(|here| service.jurisdictions.contains(here))
}

fn share_at_start(service: &Service, place: &Place) -> u32 {
    match service.strategy {
        Strategy::ActiveActive => place.share,
        _ if place.site == service.active_at_start => 100,
        _ => 0,
    }
}
