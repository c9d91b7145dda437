//! The score card of a storm: what all its disasters were like, and which of them to look at again.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tidegate_kernel::contract::Millis;

use crate::simulation::Ended;

/// What a storm showed.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Card {
    /// Of the first disaster.
    pub seed: u64,
    /// Disasters.
    pub runs: u64,
    /// Hours of the simulated worlds.
    pub sim_hours: f64,
    /// Seconds of this machine.
    pub wall_s: f64,
    /// Events that the kernels were told.
    pub events: u64,
    /// Times that an invariant did not hold.
    pub checker_hits: u64,
    /// Moves away from where everything was well.
    pub false_moves: u64,
    /// Outages that a move would have ended, and about which nobody did anything for a minute.
    pub missed_moves: u64,
    /// Outages of services that were moved, from the first client not served to the last served again.
    pub rto_s: Spread,
    /// By disaster: what clients went without, all services together, weighted by how many went without.
    pub downtime_s: Spread,
    /// Acknowledged rows that are gone.
    pub lost_writes: u64,
    /// Acknowledged rows that clients looked for and did not find, because they are gone or because they read at a node that had been
    /// replaced; each counted when it was first missed.
    pub missed_rows: u64,
    /// Seconds in which two nodes of a cluster acknowledged.
    pub split_brain_s: f64,
    /// Seconds in which clients read at a node that had been replaced.
    pub stale_reads_s: f64,
    /// Moves begun by themselves.
    pub moves: u64,
    /// Incidents that the hosts counted.
    pub incidents: u64,
    /// Moves for each incident.
    pub moves_per_incident: f64,
    /// Questions asked of people.
    pub questions: u64,
    /// Each disaster in which something was not as it should be, by its seed.
    pub bad: Vec<Bad>,
    /// Analysis, reason and veto codes that the policy gave.
    pub codes: BTreeSet<String>,
    // Counted whole, so that the order in which threads end changes no digit.
    #[serde(skip)]
    simulated: Millis,
    #[serde(skip)]
    split: Millis,
    #[serde(skip)]
    stale: Millis,
    #[serde(skip)]
    rto: Vec<f64>,
    #[serde(skip)]
    downtime: BTreeMap<u64, f64>,
}

/// A disaster to look at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bad {
    /// Replays it.
    pub seed: u64,
    /// A checker's name, `false-move` or `missed-move`.
    pub kind: String,
    /// In one sentence.
    pub text: String,
}

/// How a figure is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half are no greater.
    pub p50: f64,
    /// Nine of ten are no greater.
    pub p90: f64,
    /// Ninety-nine of a hundred are no greater.
    pub p99: f64,
}

impl Card {
    /// One more disaster.
    pub(super) fn add(&mut self, seed: u64, ended: &Ended) {
        self.runs += 1;
        self.simulated += ended.simulated;
        self.events += ended.events;
        self.checker_hits += ended.hits.len() as u64;
        self.false_moves += ended.false_moves.len() as u64;
        self.missed_moves += ended.missed_moves.len() as u64;
        self.lost_writes += ended.lost_writes.values().sum::<u64>();
        self.missed_rows += ended.missed_rows.values().sum::<u64>();
        self.split += ended.split_brain;
        self.stale += ended.stale_reads;
        self.moves += u64::from(ended.moves);
        self.incidents += u64::from(ended.incidents);
        self.questions += u64::from(ended.questions);
        self.codes.extend(ended.codes.iter().cloned());
        let moved = ended.services.values().filter(|service| service.moved);
        self.rto.extend(moved.flat_map(|service| &service.outages).map(|outage| *outage as f64 / 1_000.0));
        let down: f64 = ended.services.values().map(|service| service.down).sum();
        self.downtime.insert(seed, down / 1_000.0);
        let bad = |kind: &str, text: &String| Bad { seed, kind: kind.to_owned(), text: text.clone() };
        self.bad.extend(ended.hits.iter().map(|hit| bad(hit.checker.name(), &hit.text)));
        self.bad.extend(ended.false_moves.iter().map(|text| bad("false-move", text)));
        self.bad.extend(ended.missed_moves.iter().map(|text| bad("missed-move", text)));
    }

    /// Both together.
    pub(super) fn with(mut self, mut other: Card) -> Card {
        self.runs += other.runs;
        self.simulated += other.simulated;
        self.events += other.events;
        self.checker_hits += other.checker_hits;
        self.false_moves += other.false_moves;
        self.missed_moves += other.missed_moves;
        self.lost_writes += other.lost_writes;
        self.missed_rows += other.missed_rows;
        self.split += other.split;
        self.stale += other.stale;
        self.moves += other.moves;
        self.incidents += other.incidents;
        self.questions += other.questions;
        self.codes.append(&mut other.codes);
        self.rto.append(&mut other.rto);
        self.downtime.append(&mut other.downtime);
        self.bad.append(&mut other.bad);
        self
    }

    /// Everything has been added.
    pub(super) fn close(&mut self, seed: u64) {
        self.seed = seed;
        self.sim_hours = self.simulated as f64 / 3_600_000.0;
        self.split_brain_s = self.split as f64 / 1_000.0;
        self.stale_reads_s = self.stale as f64 / 1_000.0;
        self.bad.sort_by(|a, b| (a.seed, &a.kind, &a.text).cmp(&(b.seed, &b.kind, &b.text)));
        self.rto_s = Spread::of(&mut self.rto);
        self.downtime_s = Spread::of(&mut self.downtime());
        self.moves_per_incident = if self.incidents == 0 { 0.0 } else { self.moves as f64 / self.incidents as f64 };
    }

    /// Seconds, by disaster, in the order of their seeds.
    pub fn downtime(&self) -> Vec<f64> {
        self.downtime.values().copied().collect()
    }

    /// Seconds, of every outage of a service that was moved; sorted.
    pub fn rto(&self) -> &[f64] {
        &self.rto
    }
}

impl Spread {
    fn of(values: &mut [f64]) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |per_cent: usize| {
            let rank = (values.len() * per_cent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(0.0)
        };
        Spread { p50: at(50), p90: at(90), p99: at(99) }
    }
}
