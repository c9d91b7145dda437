//! The name servers, and the resolvers that keep what they were told until its time to live is over.
//!
//! Knows no service: a name leads to endpoints.

use std::collections::BTreeMap;

use tidegate_kernel::contract::{Endpoint, Epoch, Millis, Route};
use tidegate_kernel::fleet::Fleet;
use tidegate_kernel::runbook::endpoints;

/// Resolvers that clients ask, each with a cache of its own that was filled at another moment.
pub(crate) const RESOLVERS: u64 = 4;

/// What the servers hold of one name.
#[derive(Clone, Debug)]
struct Entry {
    endpoints: Vec<Endpoint>,
    ttl_seconds: u32,
    written_by: Option<Epoch>,
    changed: Millis,
    /// Somebody else has changed it, and nobody has written it since.
    meddled: bool,
    /// What each resolver holds, and until when.
    cached: Vec<(Vec<Endpoint>, Millis)>,
}

/// The zone and the caches.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    entries: BTreeMap<String, Entry>,
}

/// Another epoch has written since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outdated(pub(crate) Epoch);

impl Names {
    /// The servers hold what the fleet file says at the start.
    pub(crate) fn new(fleet: &Fleet, now: Millis) -> Self {
        let mut entries = BTreeMap::new();
        for service in &fleet.services {
            let Some(route) = &service.route else { continue };
            let endpoints = endpoints(fleet, service, &fleet.home(service));
            let ttl = u64::from(route.ttl_seconds) * 1_000;
            let cached = (0..RESOLVERS).map(|at| (endpoints.clone(), now + ttl * (at + 1) / RESOLVERS)).collect();
            let ttl_seconds = route.ttl_seconds;
            let entry = Entry { endpoints, ttl_seconds, written_by: None, changed: now, meddled: false, cached };
            entries.insert(route.name.clone(), entry);
        }
        Names { entries }
    }

    /// A write by an epoch: an older one than the last is refused.
    pub(crate) fn write(&mut self, route: &Route, epoch: Epoch, now: Millis) -> Result<(), Outdated> {
        let Some(entry) = self.entries.get_mut(&route.name) else { return Ok(()) };
        if let Some(newer) = entry.written_by.filter(|written_by| *written_by > epoch) {
            return Err(Outdated(newer));
        }
        (entry.written_by, entry.ttl_seconds, entry.meddled) = (Some(epoch), route.ttl_seconds, false);
        entry.lead(route.endpoints.clone(), now);
        Ok(())
    }

    /// Somebody else changes it.
    pub(crate) fn meddle(&mut self, name: &str, endpoints: Vec<Endpoint>, now: Millis) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        entry.meddled = true;
        entry.lead(endpoints, now);
    }

    /// What somebody else has changed last.
    pub(crate) fn meddled(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(_, entry)| entry.meddled).map(|(name, _)| name.as_str())
    }

    /// As the authoritative servers say.
    pub(crate) fn read(&self, name: &str, now: Millis) -> Option<Route> {
        self.entries.get(name).map(|entry| Route {
            name: name.to_owned(),
            ttl_seconds: entry.ttl_seconds,
            endpoints: entry.endpoints.clone(),
            written_by: entry.written_by,
            age: now.saturating_sub(entry.changed),
            facts: Vec::new(),
        })
    }

    /// Resolvers whose answers are too old ask the servers, if those answer.
    pub(crate) fn ask(&mut self, servers_answer: bool, now: Millis) {
        for Entry { endpoints, ttl_seconds, cached, .. } in self.entries.values_mut() {
            let ttl = u64::from(*ttl_seconds) * 1_000;
            for (held, until) in cached.iter_mut().filter(|(_, until)| *until <= now) {
                if !servers_answer {
                    held.clear();
                    continue;
                }
                if held != endpoints {
                    held.clone_from(endpoints);
                }
                // A resolver keeps to its own rhythm, so that the caches do not all let go in the same moment.
                let late = now - *until;
                *until = now + ttl.saturating_sub(late.checked_rem(ttl).unwrap_or(0)).max(1);
            }
        }
    }

    /// What the resolver of that number answers.
    pub(crate) fn held(&self, name: &str, resolver: u64) -> &[Endpoint] {
        self.entries.get(name).map_or(&[], |entry| &entry.cached[resolver as usize].0)
    }

    /// When the next resolver lets go of something that is no longer so, or that nobody could tell it anew.
    pub(crate) fn next_change(&self, servers_answer: bool, now: Millis) -> Option<Millis> {
        let due = |entry: &Entry| {
            let tells = |(held, until): &&(Vec<Endpoint>, Millis)| {
                *until > now && !(servers_answer && *held == entry.endpoints)
            };
            entry.cached.iter().filter(tells).map(|(_, until)| *until).min()
        };
        self.entries.values().filter_map(due).min()
    }
}

impl Entry {
    fn lead(&mut self, endpoints: Vec<Endpoint>, now: Millis) {
        if self.endpoints != endpoints {
            (self.endpoints, self.changed) = (endpoints, now);
        }
    }
}
