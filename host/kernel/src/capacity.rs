//! How much of each site's capacity is in use, or reserved by moves under way.
//!
//! Derived from the state, service by service, so that asking costs nothing however large the fleet is. Loads are in
//! hundredths of a per cent of the site's capacity.

use crate::fleet::{Fleet, Service, SiteId};
use crate::state::{ServiceState, State};

/// A whole site.
pub(crate) const FULL: u64 = 10_000;

/// The load of each site, and each service's part of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capacity {
    sites: Vec<u64>,
    parts: Vec<Vec<(SiteId, u64)>>,
}

impl Capacity {
    /// Counted afresh.
    pub(crate) fn count(fleet: &Fleet, state: &State) -> Self {
        let parts = vec![Vec::new(); fleet.services.len()];
        let mut capacity = Capacity { sites: vec![0; fleet.sites.len()], parts };
        for (at, service) in fleet.services.iter().enumerate() {
            capacity.recount(at, service, fleet, state);
        }
        capacity
    }

    /// One service has changed.
    pub(crate) fn recount(&mut self, at: usize, service: &Service, fleet: &Fleet, state: &State) {
        for (site, load) in std::mem::take(&mut self.parts[at]) {
            self.sites[site.at()] -= load;
        }
        let Some(known) = state.services.get(&service.name) else { return };
        let part = part(service, known, fleet, state);
        part.iter().for_each(|(site, load)| self.sites[site.at()] += load);
        self.parts[at] = part;
    }

    /// Load of a site.
    pub(crate) fn at(&self, site: SiteId) -> u64 {
        self.sites[site.at()]
    }

    /// Load of a site without that of one service.
    pub(crate) fn without(&self, site: SiteId, service: usize) -> u64 {
        let own: u64 = self.parts[service].iter().filter(|(at, _)| *at == site).map(|(_, load)| load).sum();
        self.at(site) - own
    }
}

/// While a move is under way both ends are reserved.
fn part(service: &Service, known: &ServiceState, fleet: &Fleet, state: &State) -> Vec<(SiteId, u64)> {
    let run = known.run.and_then(|run| state.runs.get(&run));
    let share = |site: &str| {
        let after = run.and_then(|run| run.shares.iter().find(|share| share.site == site));
        known.life.share(site).max(after.map_or(0, |share| share.per_cent))
    };
    let loads = service.places.iter().map(|place| {
        let share = share(&fleet.sites[place.site.at()].name);
        (place.site, u64::from(place.load) * u64::from(share))
    });
    loads.filter(|(_, load)| *load > 0).collect()
}
