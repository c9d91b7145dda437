//! What a policy can look up beside its situation: other services, as they are at the same moment.
//!
//! Nothing is drawn that nobody looks at. A policy that asks for another service is asked once more with that service in its
//! picture, and from then on it is there at once, until a decision no longer asks for it: who never asks costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::contract::{Cluster, Consensus, Observation, Route};
use crate::desk::Turn;
use crate::event::{Answered, Moment, Read};
use crate::fleet::ServiceId;
use crate::kernel::Kernel;
use crate::situation::{Lens, told_route};

/// What lies beyond these is not in the picture: however many a policy asks for, a decision stays cheap for the kernel.
const OTHERS_MAX: usize = 64;

/// Other services, clusters and routes. What is missing here is looked up in the situation, and what is missing there is not
/// known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Picture {
    /// By service, then by site.
    pub health: BTreeMap<String, BTreeMap<String, Health>>,
    /// By name.
    pub clusters: BTreeMap<String, Cluster>,
    /// By name.
    pub routes: BTreeMap<String, Route>,
}

/// One service at one site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Health {
    /// The newest word of each vantage point.
    pub observations: Vec<Observation>,
    /// What they say together.
    pub consensus: Consensus,
}

impl Kernel {
    /// What the policy of a service would be shown now of the services that it last looked up.
    pub fn picture(&self, service: ServiceId, now: Moment) -> Picture {
        self.picture_through(service, Lens { now, lost: None })
    }

    pub(crate) fn picture_through(&self, id: ServiceId, lens: Lens) -> Picture {
        let mut picture = Picture::default();
        for other in &self.desk.services[id.at()].looked_up {
            self.draw(&mut picture, *other, lens);
        }
        picture
    }

    fn draw(&self, picture: &mut Picture, id: ServiceId, lens: Lens) {
        let service = &self.fleet.services[id.at()];
        let at = |place: &crate::fleet::Place| {
            let health = Health {
                observations: self.observations_through(id, place.site, lens),
                consensus: self.consensus_through(id, place.site, lens),
            };
            (self.fleet.sites[place.site.at()].name.clone(), health)
        };
        picture.health.insert(service.name.clone(), service.places.iter().map(at).collect());
        if let Some(known) = self.service_state(id)
            && let Some(route) = &known.route
        {
            let route = told_route(service, known, route, lens.now);
            picture.routes.insert(route.name.clone(), route);
        }
    }

    /// Whether an answer rests on a picture that lacked what it asked for: then it does not count, and the policy is asked
    /// again with a fuller one.
    pub(crate) fn looks_further(&mut self, id: ServiceId, answer: &Answered) -> bool {
        let before = &self.desk.services[id.at()].looked_up;
        if answer.reads.is_empty() && before.is_empty() {
            return false;
        }
        let named: BTreeSet<ServiceId> =
            answer.reads.iter().filter_map(|read| self.subject(read)).filter(|other| *other != id).collect();
        let room = OTHERS_MAX.saturating_sub(before.len());
        let further: BTreeSet<ServiceId> = named.difference(before).copied().take(room).collect();
        let next = if !further.is_empty() {
            before.union(&further).copied().collect()
        } else if answer.result.is_ok() {
            named.intersection(before).copied().collect()
        } else {
            return false;
        };
        self.desk.look_up(id, next);
        !further.is_empty()
    }

    /// The service that was asked for, by its own name or by the name that leads to it.
    fn subject(&self, read: &Read) -> Option<ServiceId> {
        let arguments: Vec<String> = serde_json::from_str(&read.arguments).ok()?;
        let name = arguments.first()?;
        match read.capability.as_str() {
            "health.observations" | "health.agreed" => self.service_id(name),
            "dns.resolve" => self.leads_to(name),
            _ => None,
        }
    }

    /// Somebody's picture has changed: those who looked at it are asked again.
    pub(crate) fn ask_lookers(&mut self, turn: &mut Turn, seen: ServiceId) {
        let lookers = self.desk.lookers.get(&seen).cloned().unwrap_or_default();
        lookers.into_iter().for_each(|looker| self.ask(turn, looker));
    }
}
