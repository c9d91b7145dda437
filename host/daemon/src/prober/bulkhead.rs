//! How many looks at one site may be under way at once: as many as it needs when it is a black hole, and no more.
//!
//! A site gets what rate × timeout asks for, so that the looks that wait for it never take another site's place.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Target;

/// Room for a burst at a site with few targets.
const ROOM_MIN: f64 = 16.0;
/// More sockets than this at once toward one site help nobody.
const ROOM_MAX: f64 = 8_192.0;
/// Looks are spread by a hash, not perfectly: some moments have more than the average.
const SPREAD: f64 = 1.25;

/// The bulkheads of all sites.
pub(super) struct Bulkheads(HashMap<Arc<str>, Place>);

/// One site's bulkhead.
#[derive(Clone)]
pub(super) struct Place(Arc<Semaphore>);

impl Bulkheads {
    pub(super) fn for_targets(targets: &[Target]) -> Bulkheads {
        let room = room(targets.iter());
        Bulkheads(room.into_iter().map(|(site, room)| (site, Place(Arc::new(Semaphore::new(room))))).collect())
    }

    pub(super) fn place(&mut self, site: &Arc<str>) -> Place {
        self.0[site].clone()
    }
}

impl Place {
    /// Room for one look, if there is any.
    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_owned().ok()
    }
}

/// How many looks each site of these targets may need at once.
pub fn room<'a>(targets: impl Iterator<Item = &'a Target>) -> HashMap<Arc<str>, usize> {
    let mut need: HashMap<Arc<str>, f64> = HashMap::new();
    for target in targets {
        *need.entry(target.site.clone()).or_default() += under_way(target);
    }
    need.into_iter().map(|(site, need)| (site, (need * SPREAD + ROOM_MIN).min(ROOM_MAX) as usize)).collect()
}

/// How much of the time a look at this target is under way if it never answers; there is never more than one.
fn under_way(target: &Target) -> f64 {
    (target.timeout as f64 / target.interval.max(1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(count: usize, interval: u64, timeout: u64) -> Vec<Target> {
        let target = |number: usize| Target {
            service: format!("service-{number}").into(),
            site: "west".into(),
            slot: "probe/tcp".into(),
            target: "{}".into(),
            interval,
            timeout,
        };
        (0..count).map(target).collect()
    }

    #[test]
    fn has_room_for_every_look_that_a_black_hole_keeps_waiting() {
        for (count, interval, timeout, at_least) in
            [(1, 1_000, 1_000, 1), (3_333, 5_000, 2_000, 1_334), (3_333, 5_000, 10_000, 3_333)]
        {
            let site: Arc<str> = "west".into();
            let place = Bulkheads::for_targets(&targets(count, interval, timeout)).place(&site);
            let held: Vec<_> = (0..at_least).map(|_| place.enter()).collect();
            assert!(held.iter().all(Option::is_some), "{count} targets every {interval} ms, {timeout} ms each");
        }
    }

    #[test]
    fn is_full_at_some_point() {
        let site: Arc<str> = "west".into();
        let place = Bulkheads::for_targets(&targets(1, 1_000, 1_000)).place(&site);
        let held: Vec<_> = std::iter::from_fn(|| place.enter()).take(1_000).collect();
        assert!(held.len() < 1_000);
        assert!(place.enter().is_none());
    }
}
