//! What `policy check` asks a policy: a few plain requests of its kind, enough to see it at work.

use std::sync::Arc;

use tidegate_engine::{Question, Request, World, neutral};
use tidegate_kernel::contract::storage::StorageClass;
use tidegate_kernel::contract::{
    Millis, Outcome, PastMove, SiteView, Situation, State, Status, cost, retention, tiering,
};

const DAY: Millis = 86_400_000;

/// Each with what it is about.
pub(super) fn of(world: World) -> Vec<(&'static str, Request)> {
    match neutral::request(world) {
        Some(Request::Failover(quiet)) => failover(&quiet.situation),
        Some(Request::Retention(quiet)) => retention(&quiet),
        Some(Request::Tiering(quiet)) => tiering(&quiet),
        Some(Request::Cost(quiet)) => cost(&quiet),
        None => Vec::new(),
    }
}

/// A service of two sites, on five days.
fn failover(quiet: &Situation) -> Vec<(&'static str, Request)> {
    let on = |name, change: &dyn Fn(&mut Situation)| {
        let mut situation = quiet.clone();
        change(&mut situation);
        (name, Request::Failover(Arc::new(Question::new(situation))))
    };
    let see_all = |sites: &mut [SiteView]| {
        sites.iter_mut().for_each(|site| see(site, Status::Unhealthy, Outcome::TimedOut));
    };
    vec![
        on("all is well", &|_| {}),
        on("the active site is lost", &|of| see(&mut of.sites[0], Status::Unhealthy, Outcome::TimedOut)),
        on("nothing is known of the active site", &|of| see(&mut of.sites[0], Status::Unknown, Outcome::Error)),
        on("everything is lost", &|of| see_all(&mut of.sites)),
        on("it was moved, and home is well again", &moved),
    ]
}

/// Every vantage point agrees, and has for a minute.
fn see(site: &mut SiteView, status: Status, outcome: Outcome) {
    site.consensus.status = status;
    site.consensus.held = 60_000;
    for look in &mut site.observations {
        (look.outcome, look.latency) = (outcome, None);
        (look.good, look.bad) = (0, if outcome.is_bad() { look.consecutive } else { 0 });
    }
}

/// To the second site, an hour ago.
fn moved(situation: &mut Situation) {
    (situation.state, situation.active_site) = (State::FailedOver, situation.sites[1].site.clone());
    (situation.sites[0].share, situation.sites[1].share) = (0, 100);
    situation.moves.push(PastMove {
        finished_ago: situation.state_held,
        from_site: situation.preferred_site.clone(),
        to_site: situation.active_site.clone(),
        succeeded: true,
        automatic: true,
    });
}

/// Three backups, and what may not go of them.
fn retention(quiet: &retention::Request) -> Vec<(&'static str, Request)> {
    let on = |name, change: &dyn Fn(&mut retention::Request)| {
        let mut request = quiet.clone();
        change(&mut request);
        (name, Request::Retention(Arc::new(request)))
    };
    vec![
        on("an old backup that nothing needs", &|_| {}),
        on("there are none", &|of| of.backups.clear()),
        on("all of them are a year older", &|of| {
            of.backups.iter_mut().for_each(|backup| backup.taken_at -= 365 * DAY);
        }),
        on("the old one is locked", &|of| of.backups[0].locked_until = Some(of.now + DAY)),
        on("what the newest one needs is gone", &|of| drop(of.backups.remove(1))),
    ]
}

/// Two objects, and what may not happen to them.
fn tiering(quiet: &tiering::Request) -> Vec<(&'static str, Request)> {
    let on = |name, change: &dyn Fn(&mut tiering::Request)| {
        let mut request = quiet.clone();
        change(&mut request);
        (name, Request::Tiering(Arc::new(request)))
    };
    vec![
        on("one is read, one is not", &|_| {}),
        on("there are none", &|of| of.items.clear()),
        on("nothing is promised of restores", &|of| of.rto = None),
        on("no restore has been proven from another", &|of| {
            of.items.iter_mut().for_each(|item| item.only_verified_copy = true);
        }),
        on("no price is known but that of today", &|of| {
            of.prices.retain(|price| price.stored_as == StorageClass::Hot);
        }),
    ]
}

/// A service, and what its protection may cost.
fn cost(quiet: &cost::Request) -> Vec<(&'static str, Request)> {
    let on = |name, change: &dyn Fn(&mut cost::Request)| {
        let mut request = quiet.clone();
        change(&mut request);
        (name, Request::Cost(Arc::new(request)))
    };
    vec![
        on("it pays for more than it needs", &|_| {}),
        on("there are no services", &|of| of.services.clear()),
        on("nothing may be lost", &|of| of.services[0].objectives.rpo = 0),
        on("no offer is quick enough", &|of| of.services[0].objectives.rto = 1_000),
        on("there is next to no budget", &|of| of.monthly_budget = Some(1_000_000)),
    ]
}

#[cfg(test)]
mod tests {
    use tidegate_engine::{World, neutral};

    use super::of;

    #[test]
    fn each_kind_is_asked_five_different_things_the_quiet_one_first() {
        for world in [World::Failover, World::Retention, World::Tiering, World::Cost] {
            let all = of(world);
            assert_eq!((all.len(), Some(&all[0].1)), (5, neutral::request(world).as_ref()));
            for (at, (name, request)) in all.iter().enumerate() {
                assert!(all[..at].iter().all(|(_, other)| other != request), "{world}: {name}");
            }
        }
        assert!(of(World::Dns).is_empty());
    }
}
