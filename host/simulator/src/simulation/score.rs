//! What a run was like for those who depend on it: outages, moves that were right and wrong, what was asked and lost.
//!
//! Judges by the truth of the world, never by what the kernel believed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidegate_kernel::Kernel;
use tidegate_kernel::contract::{Autonomy, Millis, Share};
use tidegate_kernel::event::RunId;
use tidegate_kernel::fleet::{Fleet, Mode, SiteId};
use tidegate_kernel::record::{Change, Record, Transition};
use tidegate_kernel::state::{About, DataMove, Run, ServiceState};

use crate::checkers::{Checker, Hit};
use crate::world::{Outage, ROW, World};

/// A move away from where everything had been well for this long was a false one.
const WELL_FOR: Millis = 10_000;
/// An outage that somebody could have ended is missed if for this long nothing moved and nobody was asked.
const PATIENCE: Millis = 60_000;
/// A run that has not changed for this long is stuck.
const STUCK: Millis = 120_000;

/// How a run of the simulation ended.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ended {
    /// Invariants that did not hold.
    pub hits: Vec<Hit>,
    /// Milliseconds of the simulated world.
    pub simulated: Millis,
    /// Events that the kernel was told.
    pub events: u64,
    /// By service.
    pub services: BTreeMap<String, ServiceEnd>,
    /// Moves begun by themselves.
    pub moves: u32,
    /// Incidents that the host counted.
    pub incidents: u32,
    /// Questions asked of people.
    pub questions: u32,
    /// Moves away from where everything was well.
    pub false_moves: Vec<String>,
    /// Outages that a move would have ended and about which neither anything was moved nor anybody asked.
    pub missed_moves: Vec<String>,
    /// By cluster: acknowledged rows that nobody has any more.
    pub lost_writes: BTreeMap<String, u64>,
    /// By cluster: acknowledged rows that clients looked for and did not find, each counted when it was first missed.
    pub missed_rows: BTreeMap<String, u64>,
    /// Milliseconds in which two nodes of a cluster acknowledged.
    pub split_brain: Millis,
    /// Milliseconds in which clients read at a node that had been replaced.
    pub stale_reads: Millis,
    /// Analysis, reason and veto codes that the policies gave.
    pub codes: BTreeSet<String>,
    /// What happened, if it was kept.
    #[serde(skip)]
    pub timeline: Vec<String>,
    /// What the host wrote down.
    #[serde(skip)]
    pub journal: Vec<Record>,
}

/// What the clients of a service went without.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceEnd {
    /// Milliseconds without an answer, weighted by how many clients went without.
    pub down: f64,
    /// From the first client that was not served to the last that was again, in milliseconds; one that never ended counts until
    /// the end.
    pub outages: Vec<Millis>,
    /// A move of it was begun.
    pub moved: bool,
}

/// Everything that the end is told from.
pub(super) struct Over<'a> {
    pub(super) world: &'a World,
    pub(super) fleet: &'a Fleet,
    pub(super) length: Millis,
    pub(super) events: u64,
}

/// What is counted on the way.
#[derive(Clone, Debug)]
pub(super) struct Score {
    /// By service: since when it is well where it is served, and since when somebody could have ended its outage.
    well_since: Vec<Option<Millis>>,
    idle_since: Vec<Option<Millis>>,
    missed: Vec<bool>,
    moved: Vec<bool>,
    moves: u32,
    incidents: u32,
    questions: u32,
    false_moves: Vec<String>,
    missed_moves: Vec<String>,
}

impl Score {
    pub(super) fn new(fleet: &Fleet) -> Self {
        let services = fleet.services.len();
        Score {
            well_since: vec![Some(0); services],
            idle_since: vec![None; services],
            missed: vec![false; services],
            moved: vec![false; services],
            moves: 0,
            incidents: 0,
            questions: 0,
            false_moves: Vec::new(),
            missed_moves: Vec::new(),
        }
    }

    /// The truth of this moment.
    pub(super) fn look(&mut self, world: &World, kernel: &Kernel, fleet: &Fleet) {
        for service in 0..fleet.services.len() {
            let served = world.clients[service].since.is_none();
            self.well_since[service] = served.then(|| self.well_since[service].unwrap_or(world.now));
            if served {
                (self.idle_since[service], self.missed[service]) = (None, false);
                continue;
            }
            let idle = could_be_moved(world, kernel, fleet, service);
            self.idle_since[service] = idle.then(|| self.idle_since[service].unwrap_or(world.now));
            let long = self.idle_since[service].is_some_and(|since| world.now - since >= PATIENCE);
            if long && !std::mem::replace(&mut self.missed[service], true) {
                let name = &fleet.services[service].name;
                let last = kernel.state().services.get(name).and_then(|known| known.last.as_ref());
                let said = last.map_or("nothing", |last| last.analysis.as_str());
                self.missed_moves
                    .push(format!("{name} was down for a minute that a move would have ended; its policy said {said}"));
            }
        }
    }

    /// What the host did.
    pub(super) fn note(&mut self, world: &World, fleet: &Fleet, transition: &Transition) {
        match &transition.change {
            Change::Asked { .. } => self.questions += 1,
            Change::Incident { .. } => self.incidents += 1,
            // Repairs and what is written again move nobody.
            Change::RunOpened { run } if !matches!(run.kind.as_str(), "run" | "fence" | "reapply") => {
                self.note_move(world, fleet, run);
            }
            _ => {}
        }
    }

    fn note_move(&mut self, world: &World, fleet: &Fleet, run: &Run) {
        let Some(at) = fleet.services.iter().position(|service| service.name == run.service) else { return };
        self.moved[at] = true;
        if run.by.is_some() {
            return;
        }
        self.moves += 1;
        let long_well = self.well_since[at].is_some_and(|since| world.now - since >= WELL_FOR || since == 0);
        if run.kind == "fail-over" && long_well && world.is_well(at, &run.from) {
            self.false_moves.push(format!("{} was moved from {}, where all was well", run.service, run.from));
        }
    }

    pub(super) fn end(self, over: Over<'_>, hits: Vec<Hit>, codes: BTreeSet<String>) -> Ended {
        let Over { world, fleet, length, events } = over;
        let service = |(at, service): (usize, &tidegate_kernel::fleet::Service)| {
            let clients = &world.clients[at];
            let open = clients.since.map(|began| Outage { began, lasted: length.saturating_sub(began) });
            let outages = clients.outages.iter().chain(&open).map(|outage| outage.lasted).collect();
            (service.name.clone(), ServiceEnd { down: clients.down, outages, moved: self.moved[at] })
        };
        Ended {
            hits,
            simulated: length,
            events,
            services: fleet.services.iter().enumerate().map(service).collect(),
            moves: self.moves,
            incidents: self.incidents,
            questions: self.questions,
            false_moves: self.false_moves,
            missed_moves: self.missed_moves,
            lost_writes: world.lost().into_iter().map(|(cluster, rows, _)| (cluster, rows)).collect(),
            missed_rows: world.missed().map(|(cluster, rows)| (cluster.to_owned(), rows)).collect(),
            split_brain: world.split(),
            stale_reads: world.stale_reads(),
            codes,
            timeline: Vec::new(),
            journal: Vec::new(),
        }
    }
}

/// The host could have ended the outage by itself.
fn could_be_moved(world: &World, kernel: &Kernel, fleet: &Fleet, service: usize) -> bool {
    fleet.services[service].failover == Autonomy::Automatic && could_be_served(world, kernel, fleet, service)
}

/// A service that is not served could be, by the host or by a person whom it asks: it sees enough, may act, another place works,
/// and nothing is under way.
pub(super) fn could_be_served(world: &World, kernel: &Kernel, fleet: &Fleet, service: usize) -> bool {
    let declared = &fleet.services[service];
    let Some(known) = may_be_moved(world, kernel, fleet, service) else { return false };
    if !world.is_seen(service) {
        return false;
    }
    let active = |site: SiteId| fleet.sites[site.at()].name == known.life.active;
    let here = declared.places.iter().any(|place| active(place.site) && world.serves(service, place.site.at()));
    !here && declared.places.iter().any(|place| !active(place.site) && world.could_serve(service, place.site.at()))
}

/// A service that is away from home goes home by itself, after a time: there all is well, and nobody holds it.
pub(super) fn will_go_home(world: &World, kernel: &Kernel, fleet: &Fleet, service: usize) -> bool {
    let declared = &fleet.services[service];
    let Some(known) = may_be_moved(world, kernel, fleet, service) else { return false };
    let works = |share: &Share| {
        let at = fleet.sites.iter().position(|site| site.name == share.site);
        share.per_cent == 0 || at.is_some_and(|at| world.could_serve(service, at))
    };
    declared.failback == Autonomy::Automatic && !known.life.is_home() && known.life.home.iter().all(works)
}

/// What is known of a service, if nothing stands in the way of the host, or of a person whom it asks.
fn may_be_moved<'a>(world: &World, kernel: &'a Kernel, fleet: &Fleet, service: usize) -> Option<&'a ServiceState> {
    let (name, state) = (&fleet.services[service].name, kernel.state());
    let known = state.services.get(name)?;
    let held = state.brake.is_some() || state.freeze.is_some() || state.paused.is_some() || known.pause.is_some();
    let asked = state.open_questions().any(|question| question.service == *name);
    let acts = world.host_runs() && fleet.host.mode != Mode::Observe;
    (acts && !held && !asked && known.run.is_none() && known.drift.is_none()).then_some(known)
}

/// What can only be told when everything is over.
pub(super) fn check_at_the_end(world: &mut World, kernel: &Kernel, fleet: &Fleet, journal: &[Record]) {
    check_losses(world, kernel, fleet, journal);
    for run in kernel.state().open_runs() {
        let asked = kernel.state().open_questions().any(|question| match question.about {
            About::Confirm { run: of, .. } | About::Rest { run: of, .. } => of == run.id,
            About::Move { .. } => false,
        });
        let newest = run.steps.iter().filter_map(|step| step.state.started).map(|at| at.mono).max();
        let idle = world.now.saturating_sub(newest.unwrap_or(run.opened.mono));
        if !asked && idle > STUCK && world.host_runs() {
            let text = format!(
                "run r{} of {} has stood still for {} s, and nobody is asked",
                run.id.0,
                run.service,
                idle / 1_000
            );
            world.hits.add(Checker::StuckSilently, world.now, text);
        }
    }
}

fn check_losses(world: &mut World, kernel: &Kernel, fleet: &Fleet, journal: &[Record]) {
    // The kernel knows how a run ended and forgets old ones; the journal forgets none.
    let opened =
        journal.iter().flat_map(|record| &record.transitions).filter_map(|transition| match &transition.change {
            Change::RunOpened { run } => Some((run.id, &**run)),
            _ => None,
        });
    let all: BTreeMap<RunId, &Run> = opened.chain(kernel.state().runs.iter().map(|(id, run)| (*id, run))).collect();
    for (cluster, rows, nothing_may_be) in world.lost() {
        if world.on_a_word(&cluster) {
            continue;
        }
        let runs = || all.values().filter_map(|run| Some((*run, run.data.as_ref()?)));
        let promoted = |data: &DataMove| data.cluster == cluster && data.to.is_some();
        let rpo = fleet
            .services
            .iter()
            .find(|service| service.cluster.is_some_and(|id| fleet.clusters[id.at()].name == cluster));
        let rpo = rpo.map_or(0, |service| service.objectives.rpo);
        let bound = |run: &Run, data: &DataMove| match run.kind.as_str() {
            // Planned: writes stop first, and nothing is lost.
            "switch-over" | "fail-back" => 0,
            _ => data.accept_loss.unwrap_or(rpo).max(data.beforehand().unwrap_or(0)),
        };
        let accepted = runs().filter(|(_, data)| promoted(data)).map(|(run, data)| bound(run, data));
        let accepted: Millis = accepted.fold(0, Millis::saturating_add);
        let by_a_person = runs().any(|(_, data)| promoted(data) && data.accept_loss.is_some());
        if nothing_may_be && rows > 0 && !by_a_person && world.is_missed(&cluster) {
            // It was told when the first client missed one.
        } else if nothing_may_be && rows > 0 && !by_a_person {
            let text = format!("{rows} acknowledged rows of {cluster} are gone");
            world.hits.add(Checker::WriteLost, world.now, text);
        } else if rows.saturating_mul(ROW) > accepted.saturating_add(2 * ROW) {
            let text =
                format!("{rows} rows of {cluster} are gone, and {accepted} ms of writing were said to be at risk");
            world.hits.add(Checker::LossBeyondBound, world.now, text);
        }
    }
}
