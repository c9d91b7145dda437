//! The providers of the host and of each agent, under the supervision of production: what becomes of a call of one that crashes
//! or is slow.
//!
//! Does not know what a call is for. Places of a bulkhead are counted by the engine's limits, for calls that are cut off at their
//! deadline only: what is answered within milliseconds is in nobody's way.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_engine::supervision::{self, Quarantine, Supervision};
use tidegate_engine::{LimitSettings, Limits};
use tidegate_kernel::contract::{Failure, Millis};
use tidegate_kernel::fleet::Fleet;

use super::World;
use crate::fault::slots;

/// A call is refused about so soon, and an instance crashes.
const REFUSED: Millis = 1;
const CRASHED: Millis = 5;

/// Whose process makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Host,
    /// An agent's, or the host's where it is its own vantage point.
    Vantage(usize),
}

/// What is the matter with the plugin in a slot, in whichever process it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    #[default]
    Nothing,
    Slow,
    /// Half of what it is told is done.
    CrashesMidway,
    Crashes,
}

/// One call, named and bounded as the engine's slots do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    name: &'static str,
    /// The bulkhead.
    key: &'a str,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Look(Option<Millis>),
    Change(Millis),
}

/// A provider that has just been quarantined.
#[derive(Clone, Debug)]
pub(crate) struct Quarantined {
    /// The vantage point of an agent's; none = the host's.
    pub(crate) agent: Option<usize>,
    pub(crate) slot: String,
    pub(crate) quarantine: Quarantine,
}

/// All of them, by the process that they live in.
#[derive(Clone, Debug)]
pub(crate) struct Providers {
    host: Process,
    /// None = the host's own vantage point.
    vantages: Vec<Option<Process>>,
    quarantined: Vec<Quarantined>,
}

/// By slot.
type Process = BTreeMap<String, Provider>;

/// One revision in one process.
#[derive(Clone, Debug)]
struct Provider {
    limits: Limits,
    supervision: Supervision,
    /// Calls that will be cut off: the key of each, and until when it keeps its places.
    held: Vec<(String, Millis)>,
    /// Looks that will be cut off have come back by then.
    looking_until: Millis,
}

impl<'a> Ask<'a> {
    /// A look; without a time of its own it has the slot's.
    pub(crate) fn look(name: &'static str, key: &'a str, timeout: Option<Millis>) -> Self {
        Ask { name, key, bound: Bound::Look(timeout) }
    }

    /// A change has the time that its runbook gives it.
    pub(crate) fn change(name: &'static str, key: &'a str, timeout: Millis) -> Self {
        Ask { name, key, bound: Bound::Change(timeout) }
    }

    fn deadline(&self, limits: &Limits) -> Duration {
        match self.bound {
            Bound::Look(timeout) => supervision::deadline_of_look(limits, timeout.map(Duration::from_millis)),
            Bound::Change(timeout) => supervision::deadline_of_change(Duration::from_millis(timeout)),
        }
    }
}

impl Providers {
    /// Nobody has been asked anything yet.
    pub(crate) fn new(fleet: &Fleet) -> Self {
        let process = || slots(fleet).into_iter().map(|slot| (slot.to_owned(), Provider::new(limits(fleet, slot))));
        let vantages = fleet.vantages.iter().map(|vantage| vantage.token.is_some().then(|| process().collect()));
        Providers { host: process().collect(), vantages: vantages.collect(), quarantined: Vec::new() }
    }

    /// A process that starts again remembers nothing of its providers.
    pub(crate) fn start_anew(&mut self, caller: Caller) {
        self.process(caller).values_mut().for_each(|provider| *provider = Provider::new(provider.limits));
    }

    /// Who was quarantined since this was last asked.
    pub(crate) fn take_quarantined(&mut self) -> Vec<Quarantined> {
        std::mem::take(&mut self.quarantined)
    }

    /// Whether a process is still to find out how its providers are: one is quarantined, or has a look under way that is cut off.
    pub(crate) fn is_unsettled(&self, caller: Caller, now: Millis) -> bool {
        let unsettled = |one: &Provider| one.supervision.quarantine().is_some() || now < one.looking_until;
        self.known(caller).values().any(unsettled)
    }

    /// Whether a call would be let through now.
    pub(crate) fn admits(&self, caller: Caller, slot: &str, now: Millis) -> bool {
        let quarantine = self.known(caller).get(slot).and_then(|provider| provider.supervision.quarantine());
        quarantine.is_none_or(|quarantine| quarantine.until <= Duration::from_millis(now))
    }

    /// Why the host would ask nothing of a slot, as it tells whoever wants to know whether a service is ready.
    pub(crate) fn fault(&self, slot: &str) -> Option<&str> {
        let quarantine = self.host.get(slot)?.supervision.quarantine()?;
        Some(&quarantine.reason)
    }

    /// How long a call waits until it comes through; or how it failed, and after how long.
    fn begin(&mut self, caller: Caller, slot: &str, ask: &Ask<'_>, now: Millis) -> Result<Millis, (Failure, Millis)> {
        let provider = self.provider(caller, slot);
        provider.supervision.admit(slot, Duration::from_millis(now)).map_err(|refused| (refused, REFUSED))?;
        let deadline = ask.deadline(&provider.limits);
        let waits = provider.waits(ask.key, now);
        if waits >= in_millis(deadline) {
            return Err((supervision::busy(deadline), in_millis(deadline)));
        }
        Ok(waits)
    }

    /// A call crashes.
    fn crash(&mut self, caller: Caller, slot: &str, ask: &Ask<'_>, now: Millis) -> Failure {
        let why = "it crashed";
        let supervision = &mut self.provider(caller, slot).supervision;
        if let Some(quarantine) = supervision.crashed(why, Duration::from_millis(now)).cloned() {
            let agent = match caller {
                Caller::Vantage(at) if self.vantages[at].is_some() => Some(at),
                Caller::Vantage(_) | Caller::Host => None,
            };
            self.quarantined.push(Quarantined { agent, slot: slot.to_owned(), quarantine });
        }
        supervision::cut_short(ask.name, why)
    }

    /// What came of a call that would be answered after `took`: that, or it was cut off.
    fn end(
        &mut self,
        caller: Caller,
        slot: &str,
        ask: &Ask<'_>,
        took: Millis,
        now: Millis,
    ) -> Result<Millis, (Failure, Millis)> {
        let provider = self.provider(caller, slot);
        let deadline = ask.deadline(&provider.limits);
        if took < in_millis(deadline) {
            return Ok(took);
        }
        let until = now.saturating_add(in_millis(deadline));
        provider.held.push((ask.key.to_owned(), until));
        if matches!(ask.bound, Bound::Look(_)) {
            provider.looking_until = provider.looking_until.max(until);
        }
        Err((supervision::late(ask.name, deadline), in_millis(deadline)))
    }

    fn provider(&mut self, caller: Caller, slot: &str) -> &mut Provider {
        let provider = self.process(caller).get_mut(slot);
        provider.unwrap_or_else(|| panic!("slot {slot} was not checked against the fleet"))
    }

    fn process(&mut self, caller: Caller) -> &mut Process {
        match caller {
            Caller::Vantage(at) => self.vantages[at].as_mut().unwrap_or(&mut self.host),
            Caller::Host => &mut self.host,
        }
    }

    fn known(&self, caller: Caller) -> &Process {
        match caller {
            Caller::Vantage(at) => self.vantages[at].as_ref().unwrap_or(&self.host),
            Caller::Host => &self.host,
        }
    }
}

impl Provider {
    fn new(limits: Limits) -> Self {
        Provider { supervision: Supervision::new(&limits), limits, held: Vec::new(), looking_until: 0 }
    }

    /// For a place in the key's bulkhead, then for one in the pool.
    fn waits(&mut self, key: &str, now: Millis) -> Millis {
        if self.held.is_empty() {
            return 0;
        }
        self.held.retain(|(_, until)| now < *until);
        let own = self.held.iter().filter(|(of, _)| of == key).map(|(_, until)| *until);
        let own = free_at(own, self.limits.bulkhead, now);
        free_at(self.held.iter().map(|(_, until)| *until), self.limits.pool, own) - now
    }
}

impl World {
    /// Has the provider in a slot do some work, in the process of whoever asks: what it answers, or how that failed, and after how
    /// long either is known. Work that is cut off has been done all the same.
    pub(super) fn through<T>(
        &mut self,
        caller: Caller,
        slot: &str,
        ask: Ask<'_>,
        work: impl FnOnce(&mut World) -> (T, Millis),
    ) -> (Result<T, Failure>, Millis) {
        let (trouble, now) = (self.conditions.provider(slot), self.now);
        let waits = match self.providers.begin(caller, slot, &ask, now) {
            Ok(waits) => waits,
            Err((failure, took)) => return (Err(failure), took),
        };
        if matches!(trouble, Trouble::Crashes | Trouble::CrashesMidway) {
            // Nobody can tell how far it had come.
            if trouble == Trouble::CrashesMidway && self.chance.per_cent(50) {
                work(self);
            }
            return (Err(self.providers.crash(caller, slot, &ask, now)), waits + CRASHED);
        }
        let (answer, took) = work(self);
        let took = if trouble == Trouble::Slow { Millis::MAX } else { waits + took };
        match self.providers.end(caller, slot, &ask, took, now) {
            Ok(took) => (Ok(answer), took),
            Err((failure, took)) => (Err(failure), took),
        }
    }
}

/// A slot's limits. What the engine could not read counts for nothing: a host with it does not start.
fn limits(fleet: &Fleet, slot: &str) -> Limits {
    let settings = fleet.slots.get(slot).map(|slot| serde_json::from_value::<LimitSettings>(slot.limits.clone()));
    Limits::provider().with(&settings.and_then(Result::ok).unwrap_or_default())
}

/// When one of so many places is free, given out in the order in which they are asked for.
fn free_at(held: impl Iterator<Item = Millis>, places: u32, now: Millis) -> Millis {
    let mut ends: Vec<Millis> = held.filter(|until| now < *until).collect();
    ends.sort_unstable();
    match ends.len().checked_sub(places as usize) {
        None => now,
        Some(next) => ends.get(next).copied().unwrap_or(Millis::MAX),
    }
}

fn in_millis(time: Duration) -> Millis {
    Millis::try_from(time.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleets::three_sites;

    const DNS: &str = "dns/primary";

    fn world(limits: serde_json::Value) -> Providers {
        let mut fleet = three_sites().unwrap();
        fleet.slots.get_mut(DNS).unwrap().limits = limits;
        Providers::new(&fleet)
    }

    fn begin(providers: &mut Providers, ask: &Ask<'_>, now: Millis) -> Result<Millis, (Failure, Millis)> {
        providers.begin(Caller::Host, DNS, ask, now)
    }

    /// A call that nobody answers.
    fn hang(providers: &mut Providers, ask: &Ask<'_>, now: Millis) {
        assert!(providers.end(Caller::Host, DNS, ask, Millis::MAX, now).is_err());
    }

    #[test]
    fn who_finds_no_place_until_its_deadline_is_told_that_all_are_busy_and_other_keys_are_not() {
        let mut providers = world(serde_json::json!({ "bulkhead": 2, "pool": 3, "wall-clock": "10s" }));
        let (one, other) = (Ask::look("dns.resolve", "one", None), Ask::look("dns.resolve", "other", None));
        for now in [0, 1_000] {
            assert_eq!(begin(&mut providers, &one, now), Ok(0));
            hang(&mut providers, &one, now);
        }
        // The first place is free again at ten seconds.
        let short = Ask::change("dns-control.apply", "one", 7_750);
        assert_eq!(begin(&mut providers, &short, 2_000), Err((Failure::Busy(8_000), 8_000)));
        assert_eq!(begin(&mut providers, &one, 2_000), Ok(8_000));
        assert_eq!(begin(&mut providers, &other, 2_000), Ok(0));
        hang(&mut providers, &other, 2_000);
        // Now the pool is full as well.
        assert_eq!(begin(&mut providers, &other, 3_000), Ok(7_000));
        assert_eq!(begin(&mut providers, &one, 12_000), Ok(0));
    }

    #[test]
    fn a_process_that_starts_again_knows_of_no_crash() {
        let mut providers = world(serde_json::json!({ "restarts": 1 }));
        let ask = Ask::look("dns.resolve", "", None);
        for _ in 0..2 {
            assert_eq!(begin(&mut providers, &ask, 0), Ok(0));
            assert!(matches!(providers.crash(Caller::Host, DNS, &ask, 0), Failure::UnknownOutcome(_)));
        }
        assert!(matches!(begin(&mut providers, &ask, 0), Err((Failure::Rejected(_), REFUSED))));
        assert!(providers.is_unsettled(Caller::Host, 0) && !providers.admits(Caller::Host, DNS, 4_999));
        assert!(!providers.is_unsettled(Caller::Vantage(0), 0), "an agent has a process of its own");
        providers.start_anew(Caller::Host);
        assert!(!providers.is_unsettled(Caller::Host, 0) && providers.fault(DNS).is_none());
        assert_eq!(providers.take_quarantined().len(), 1);
    }
}
