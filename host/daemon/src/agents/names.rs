//! From the names that vantage points speak in to the fleet's numbers, and so to the kernel's events.
//!
//! What names a service, site or vantage point that the fleet no longer has is dropped: it was said before a reload.

use std::collections::HashMap;

use tidegate_kernel::event::{Event, Look};
use tidegate_kernel::fleet::{Fleet, ServiceId, SiteId, VantageId};

use super::Word;

/// The numbers of one fleet file's names.
#[derive(Debug, Default)]
pub struct Names {
    services: HashMap<String, ServiceId>,
    sites: HashMap<String, SiteId>,
    vantages: HashMap<String, VantageId>,
}

impl Names {
    /// Of this fleet.
    pub fn of(fleet: &Fleet) -> Names {
        let services =
            fleet.services.iter().enumerate().map(|(at, service)| (service.name.clone(), ServiceId(at as u32)));
        let sites = fleet.sites.iter().enumerate().map(|(at, site)| (site.name.clone(), SiteId(at as u16)));
        let vantages =
            fleet.vantages.iter().enumerate().map(|(at, vantage)| (vantage.name.clone(), VantageId(at as u16)));
        Names { services: services.collect(), sites: sites.collect(), vantages: vantages.collect() }
    }

    /// What the kernel is to be told: that the vantage point was heard, then what it saw.
    pub fn events(&self, word: Word) -> Vec<Event> {
        let Some(&vantage) = self.vantages.get(&*word.vantage) else { return Vec::new() };
        let look = |seen: super::Sighting| {
            Some(Event::Look(Look {
                vantage,
                service: *self.services.get(&*seen.service)?,
                site: *self.sites.get(&*seen.site)?,
                outcome: seen.outcome,
                latency: seen.latency,
                not_before: seen.not_before,
                detail: seen.detail,
            }))
        };
        let heard = Event::Heard { vantage, sound: word.sound };
        std::iter::once(heard).chain(word.looks.into_iter().filter_map(look)).collect()
    }
}
