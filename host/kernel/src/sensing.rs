//! Takes every look and heartbeat, keeps windows, ages and freshness, and says when the picture changed: edges.
//!
//! Not journaled, and knows nothing of states, policies and moves. Counts in [`Moment::mono`] only, so a clock that
//! jumps by a day changes nothing. A look that changes nothing allocates nothing and touches one point of one vantage
//! point; memory is one small record for each vantage point, service and site.

mod point;
mod timers;

use crate::consensus::{Ballot, Rule, Tally, Vote};
use crate::contract::{Consensus, Millis, Observation, Status, VantageView};
use crate::event::{Look, Moment};
use crate::fleet::{Fleet, Place, Service, ServiceId, SiteId, VantageId};

use point::Point;
use timers::{Timers, Watched};

/// The picture changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The vantage points together say something else than before.
    Consensus {
        /// The service looked at.
        service: ServiceId,
        /// Where it was looked at.
        site: SiteId,
        /// What they said before.
        from: Status,
        /// What they say now.
        to: Status,
    },
    /// Other domains, or more, or fewer, say so; together they say the same as before.
    Votes {
        /// The service looked at.
        service: ServiceId,
        /// Where it was looked at.
        site: SiteId,
    },
    /// A vantage point fell silent, came back, was cut off, or is no longer.
    Vantage {
        /// Which one.
        vantage: VantageId,
        /// It reaches its control targets.
        sound: bool,
        /// It has been heard lately.
        fresh: bool,
    },
}

/// What all vantage points saw lately, of every service at every site.
#[derive(Clone, Debug)]
pub struct Sensing {
    started: Millis,
    warm_up: Millis,
    expected: u32,
    site_count: usize,
    voices: Vec<Voice>,
    targets: Vec<Target>,
    /// (service, site) → position in `targets`.
    target_of: Vec<Option<u32>>,
    /// By vantage point, then target: a vantage point reports its looks together, so they lie together.
    points: Vec<Point>,
    sites: Vec<Census>,
    timers: Timers,
    /// Scratch space of [`Tally::count`].
    best: Vec<Option<Ballot>>,
}

/// One vantage point.
#[derive(Clone, Copy, Debug)]
struct Voice {
    domain: u16,
    heard_at: Option<Millis>,
    sound: bool,
    /// Looks from before do not vote: they may show only that the vantage point was cut off.
    sound_since: Millis,
    fresh: bool,
    due: Option<Millis>,
}

/// One service at one site.
#[derive(Clone, Copy, Debug)]
struct Target {
    service: ServiceId,
    site: SiteId,
    bad: u32,
    good: u32,
    /// A vote older than this does not count.
    patience: Millis,
    status: Status,
    since: Millis,
    tally: Tally,
    due: Option<Millis>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Census {
    unhealthy: u32,
    total: u32,
}

impl Sensing {
    /// Nothing seen yet: every status is unknown, and the warm-up begins.
    pub fn new(fleet: &Fleet, now: Moment) -> Sensing {
        let domains = failure_domains(fleet);
        let targets = targets(fleet, now.mono);
        Sensing {
            started: now.mono,
            warm_up: fleet.host.warm_up,
            expected: domains.iter().map(|domain| u32::from(*domain) + 1).max().unwrap_or(0),
            site_count: fleet.sites.len(),
            voices: domains.into_iter().map(Voice::unheard).collect(),
            target_of: index(fleet, &targets),
            points: vec![Point::default(); fleet.vantages.len() * targets.len()],
            sites: census(fleet, &targets),
            targets,
            timers: Timers::default(),
            best: Vec::new(),
        }
    }

    /// The same picture for a changed fleet file: what is declared as before keeps its votes, what is new starts unknown.
    /// Everything is due at once, so the next [`Sensing::tick`] tells what the change made of it.
    pub fn carry_over(mut self, old: &Fleet, new: &Fleet, now: Moment) -> Sensing {
        let mut next = Sensing::new(new, now);
        next.started = self.started;
        let vantages = same_vantages(old, new);
        for (to, from) in &vantages {
            next.voices[*to] = Voice { domain: next.voices[*to].domain, due: None, ..self.voices[*from] };
        }
        for to in 0..next.targets.len() {
            if let Some(from) = self.same_target(old, new, next.targets[to]) {
                next.inherit(to, &mut self, from, &vantages);
            }
        }
        next.sites = census(new, &next.targets);
        next.everything_is_due(now.mono);
        next
    }

    /// A vantage point reported; the host itself, where it looks, reports as well.
    pub fn heard(&mut self, fleet: &Fleet, now: Moment, vantage: VantageId, sound: bool, edges: &mut Vec<Edge>) {
        let voice = &mut self.voices[vantage.at()];
        if sound && !(voice.sound && voice.is_fresh(fleet, now)) {
            voice.sound_since = now.mono;
        }
        let changed = (voice.sound, voice.fresh) != (sound, true);
        (voice.sound, voice.fresh, voice.heard_at) = (sound, true, Some(now.mono));
        if voice.due.is_none() {
            self.watch(Watched::Voice(vantage), voice_expiry(fleet, now.mono));
        }
        if changed {
            self.tell_vantage(fleet, now, vantage, edges);
        }
    }

    /// As though every vantage point had gone on seeing what it saw last, for a stretch of time in which nothing could change
    /// (a simulator's way over quiet time). What had stopped being seen stays unseen. The caller knows that each point has
    /// looked often enough since its last change: no streak may be about to turn a vote.
    pub fn pass_quietly(&mut self, fleet: &Fleet, now: Moment) {
        let Sensing { voices, points, targets, .. } = self;
        for (voice, points) in voices.iter_mut().zip(points.chunks_exact_mut(targets.len().max(1))) {
            if !voice.fresh {
                continue;
            }
            voice.heard_at = Some(now.mono);
            for (target, point) in targets.iter().zip(points) {
                let interval = fleet.services[target.service.at()].probe.interval.max(1);
                let rounds = now.mono.saturating_sub(point.taken_at()) / interval;
                point.repeat(rounds, point.taken_at() + rounds * interval);
            }
        }
    }

    /// A vantage point looked. One from before the newest that is known of it is too late to say anything.
    pub fn look(&mut self, fleet: &Fleet, now: Moment, look: &Look, edges: &mut Vec<Edge>) {
        let Some(at) = self.position(look.service, look.site) else { return };
        let taken_at = look.not_before.min(now.mono);
        let (target, voice) = (self.targets[at], self.voices[look.vantage.at()]);
        let point = &mut self.points[look.vantage.at() * self.targets.len() + at];
        if point.is_newer_than(taken_at) {
            return;
        }
        let before = voice.ballot(point, target.patience, now.mono);
        if !voice.continues(point, target.patience, now.mono) {
            point.start_anew();
        }
        point.take(look, taken_at, target.bad, target.good);
        let after = voice.ballot(point, target.patience, now.mono);
        if before != after {
            self.recount(fleet, now, at, edges);
        }
    }

    /// Time has passed: what is stale by now no longer votes.
    pub fn tick(&mut self, fleet: &Fleet, now: Moment, edges: &mut Vec<Edge>) {
        while let Some((due, watched)) = self.timers.pop_due(now.mono) {
            match watched {
                Watched::Voice(vantage) if self.voices[vantage.at()].due == Some(due) => {
                    self.voices[vantage.at()].due = None;
                    self.check_voice(fleet, now, vantage, edges);
                }
                Watched::Target(at) if self.targets[at as usize].due == Some(due) => {
                    self.targets[at as usize].due = None;
                    self.recount(fleet, now, at as usize, edges);
                }
                Watched::Voice(_) | Watched::Target(_) => {}
            }
        }
    }

    /// When [`Sensing::tick`] may have something to tell, if nothing is heard until then: never too late. It can be
    /// early by what was heard since, and then that tick costs a moment and tells nothing.
    pub fn next_edge(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// What the vantage points say together of a service at a site; unknown, by nobody, where it is not declared.
    pub fn consensus(&self, service: ServiceId, site: SiteId, now: Moment) -> Consensus {
        let Some(at) = self.position(service, site) else {
            return Consensus { status: Status::Unknown, agreeing: 0, voting: 0, expected: self.expected, held: 0 };
        };
        let Target { status, tally, since, .. } = self.targets[at];
        Consensus {
            status,
            agreeing: tally.agreeing(status),
            voting: tally.voting(),
            expected: self.expected,
            held: now.mono.saturating_sub(since),
        }
    }

    /// The newest word of each vantage point that ever looked there, stale ones included: their age says so.
    pub fn observations(&self, fleet: &Fleet, service: ServiceId, site: SiteId, now: Moment) -> Vec<Observation> {
        let Some(at) = self.position(service, site) else { return Vec::new() };
        let window = fleet.services[service.at()].probe.window;
        let points = self.points.chunks_exact(self.targets.len()).map(|of_one| &of_one[at]);
        let seen = fleet.vantages.iter().zip(points);
        seen.filter_map(|(vantage, point)| point.observation(&vantage.name, window, now.mono)).collect()
    }

    /// Every vantage point, with whether its word counts.
    pub fn vantages(&self, fleet: &Fleet, now: Moment) -> Vec<VantageView> {
        let view = |(vantage, voice): (&crate::fleet::Vantage, &Voice)| VantageView {
            name: vantage.name.clone(),
            failure_domain: vantage.failure_domain.clone(),
            sound: voice.sound,
            fresh: voice.is_fresh(fleet, now),
        };
        fleet.vantages.iter().zip(&self.voices).map(view).collect()
    }

    /// Of all services at a site, how many are unhealthy there: a dead service is not a dead site.
    pub fn unhealthy_at(&self, site: SiteId) -> (u32, u32) {
        let census = self.sites[site.at()];
        (census.unhealthy, census.total)
    }

    /// Whether the host started so lately that silence is no evidence.
    pub fn warming_up(&self, now: Moment) -> bool {
        now.mono < self.warm_at()
    }

    /// When the warm-up ends, or ended, on the monotonic clock.
    pub fn warm_at(&self) -> Millis {
        self.started + self.warm_up
    }

    fn position(&self, service: ServiceId, site: SiteId) -> Option<usize> {
        let at = self.target_of.get(service.at() * self.site_count + site.at())?;
        at.map(|at| at as usize)
    }

    fn check_voice(&mut self, fleet: &Fleet, now: Moment, vantage: VantageId, edges: &mut Vec<Edge>) {
        let voice = &mut self.voices[vantage.at()];
        let fresh = voice.is_fresh(fleet, now);
        if let Some(heard_at) = voice.heard_at.filter(|_| fresh) {
            self.watch(Watched::Voice(vantage), voice_expiry(fleet, heard_at));
        } else if voice.fresh {
            voice.fresh = false;
            self.tell_vantage(fleet, now, vantage, edges);
        }
    }

    fn tell_vantage(&mut self, fleet: &Fleet, now: Moment, vantage: VantageId, edges: &mut Vec<Edge>) {
        let Voice { sound, fresh, .. } = self.voices[vantage.at()];
        edges.push(Edge::Vantage { vantage, sound, fresh });
        for at in 0..self.targets.len() {
            self.recount(fleet, now, at, edges);
        }
    }

    fn recount(&mut self, fleet: &Fleet, now: Moment, at: usize, edges: &mut Vec<Edge>) {
        let Target { service, site, patience, status: from, tally: before, .. } = self.targets[at];
        let (tally, expiry) = self.count(at, now.mono);
        if let Some(expiry) = expiry {
            self.watch(Watched::Target(at as u32), expiry.saturating_add(patience + 1));
        }
        let to = tally.status(&self.rule(fleet, service));
        self.targets[at].tally = tally;
        if from != to {
            self.turn(at, to, now);
            edges.push(Edge::Consensus { service, site, from, to });
        } else if before != tally {
            edges.push(Edge::Votes { service, site });
        }
    }

    /// The votes, and when the oldest of them was taken.
    fn count(&mut self, at: usize, now: Millis) -> (Tally, Option<Millis>) {
        let Sensing { voices, points, targets, best, .. } = self;
        let patience = targets[at].patience;
        let points = points.chunks_exact(targets.len()).map(|of_one| &of_one[at]);
        let mut oldest = None;
        let votes = voices.iter().zip(points).map(|(voice, point)| {
            let ballot = voice.ballot(point, patience, now);
            if ballot.is_some() {
                oldest = Some(oldest.map_or(point.taken_at(), |oldest: Millis| oldest.min(point.taken_at())));
            }
            Vote { domain: voice.domain, ballot }
        });
        (Tally::count(votes, best), oldest)
    }

    fn rule(&self, fleet: &Fleet, service: ServiceId) -> Rule {
        Rule {
            expected: self.expected,
            bad_fraction: fleet.host.bad_fraction,
            one_domain_suffices: fleet.services[service.at()].one_domain_suffices,
        }
    }

    fn turn(&mut self, at: usize, to: Status, now: Moment) {
        let target = &mut self.targets[at];
        let census = &mut self.sites[target.site.at()];
        census.unhealthy -= u32::from(target.status == Status::Unhealthy);
        census.unhealthy += u32::from(to == Status::Unhealthy);
        (target.status, target.since) = (to, now.mono);
    }

    /// Only ever earlier: what is due later is found out when the earlier time has come.
    fn watch(&mut self, watched: Watched, at: Millis) {
        let due = match watched {
            Watched::Voice(vantage) => &mut self.voices[vantage.at()].due,
            Watched::Target(target) => &mut self.targets[target as usize].due,
        };
        if due.is_none_or(|due| at < due) {
            *due = Some(at);
            self.timers.push(at, watched);
        }
    }

    fn everything_is_due(&mut self, now: Millis) {
        for vantage in 0..self.voices.len() {
            self.watch(Watched::Voice(VantageId(vantage as u16)), now);
        }
        for target in 0..self.targets.len() {
            self.watch(Watched::Target(target as u32), now);
        }
    }

    fn same_target(&self, old: &Fleet, new: &Fleet, target: Target) -> Option<usize> {
        let (service, site) = (&new.services[target.service.at()], &new.sites[target.site.at()].name);
        let old_service = old.services.iter().position(|old| old.name == service.name)?;
        let old_site = old.sites.iter().position(|old| old.name == *site)?;
        let (old_service_id, old_site_id) = (ServiceId(old_service as u32), SiteId(old_site as u16));
        let looked_at_alike = looks_alike(&old.services[old_service], old_site_id, service, target.site);
        looked_at_alike.then(|| self.position(old_service_id, old_site_id)).flatten()
    }

    fn inherit(&mut self, to: usize, old: &mut Sensing, from: usize, vantages: &[(usize, usize)]) {
        let Target { status, since, tally, .. } = old.targets[from];
        let target = &mut self.targets[to];
        (target.status, target.since, target.tally) = (status, since, tally);
        for (to_vantage, from_vantage) in vantages {
            let point = &mut old.points[from_vantage * old.targets.len() + from];
            self.points[to_vantage * self.targets.len() + to] = std::mem::take(point);
        }
    }
}

impl Voice {
    fn unheard(domain: u16) -> Voice {
        Voice { domain, heard_at: None, sound: false, sound_since: 0, fresh: false, due: None }
    }

    fn is_fresh(&self, fleet: &Fleet, now: Moment) -> bool {
        self.heard_at.is_some_and(|heard_at| now.mono < voice_expiry(fleet, heard_at))
    }

    /// What counts of it: fresh, sound since before the look began, and the look not older than allowed.
    fn ballot(&self, point: &Point, patience: Millis, now: Millis) -> Option<Ballot> {
        let counts = self.sound && self.fresh && self.continues(point, patience, now);
        counts.then(|| point.ballot()).flatten()
    }

    /// Whether the next look follows on from this one, or a gap or a cut lies between them.
    fn continues(&self, point: &Point, patience: Millis, now: Millis) -> bool {
        point.taken_at() >= self.sound_since && now.saturating_sub(point.taken_at()) <= patience
    }
}

/// The first moment in which a vantage point heard of at `heard_at` is no longer fresh.
fn voice_expiry(fleet: &Fleet, heard_at: Millis) -> Millis {
    heard_at.saturating_add(fleet.host.freshness + 1)
}

/// Each vantage point's failure domain, numbered in order of appearance.
fn failure_domains(fleet: &Fleet) -> Vec<u16> {
    let mut names: Vec<&str> = Vec::new();
    let mut number = |name| match names.iter().position(|known| *known == name) {
        Some(at) => at as u16,
        None => {
            names.push(name);
            (names.len() - 1) as u16
        }
    };
    fleet.vantages.iter().map(|vantage| number(vantage.failure_domain.as_str())).collect()
}

fn targets(fleet: &Fleet, now: Millis) -> Vec<Target> {
    let of_service = |(number, service): (usize, &Service)| {
        let (probe, freshness) = (&service.probe, fleet.host.freshness);
        let target = Target {
            service: ServiceId(number as u32),
            site: SiteId(0),
            bad: probe.bad,
            good: probe.good,
            patience: freshness.max(probe.interval * 5 / 2 + probe.timeout),
            status: Status::Unknown,
            since: now,
            tally: Tally::default(),
            due: None,
        };
        service.places.iter().map(move |place: &Place| Target { site: place.site, ..target }).collect::<Vec<_>>()
    };
    fleet.services.iter().enumerate().flat_map(of_service).collect()
}

fn index(fleet: &Fleet, targets: &[Target]) -> Vec<Option<u32>> {
    let mut index = vec![None; fleet.services.len() * fleet.sites.len()];
    for (at, target) in targets.iter().enumerate() {
        index[target.service.at() * fleet.sites.len() + target.site.at()] = Some(at as u32);
    }
    index
}

fn census(fleet: &Fleet, targets: &[Target]) -> Vec<Census> {
    let mut sites = vec![Census::default(); fleet.sites.len()];
    for target in targets {
        let census = &mut sites[target.site.at()];
        census.total += 1;
        census.unhealthy += u32::from(target.status == Status::Unhealthy);
    }
    sites
}

/// Positions (new, old) of the vantage points that still stand where they stood.
fn same_vantages(old: &Fleet, new: &Fleet) -> Vec<(usize, usize)> {
    let stands_at = |fleet: &Fleet, at: usize| fleet.sites[fleet.vantages[at].site.at()].name.clone();
    let same = |(to, vantage): (usize, &crate::fleet::Vantage)| {
        let from = old.vantages.iter().position(|old| old.name == vantage.name)?;
        (stands_at(old, from) == stands_at(new, to)).then_some((to, from))
    };
    new.vantages.iter().enumerate().filter_map(same).collect()
}

/// Whether looks at the one say something of the other: the same plugin looks at the same target.
fn looks_alike(old: &Service, old_site: SiteId, new: &Service, new_site: SiteId) -> bool {
    let target = |service: &Service, site| service.place(site).map(|place| place.target.clone());
    old.probe.slot == new.probe.slot && target(old, old_site) == target(new, new_site)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_at_three_sites_seen_from_three_takes_less_than_two_kilobytes() {
        let timers = 3 * 2 * size_of::<(Millis, Watched)>();
        let index = 3 * size_of::<Option<u32>>();
        assert!(9 * size_of::<Point>() + 3 * size_of::<Target>() + timers + index <= 2 * 1024);
    }
}
