//! What the demonstration did and what came of it, as a scenario: `tidegate policy test` plays it again in the simulator.
//!
//! Times are those of the host's journal, from its first record on.

use std::fmt::Write as _;

use tidegate_kernel::contract::Decision;
use tidegate_kernel::record::{Cause, Change, Record};

use super::stage::{CUT_OFF, DOOMED, now};

/// A machine under load may have seen it so much later than the simulator does.
const LATE: u64 = 10_000;
/// The simulator has the policies of the fleet file in every slot, and in this one something hostile was let loose.
const LET_LOOSE: &str = "lab";

/// What broke, in the order in which it did. Times are milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Script {
    broken: Vec<Broken>,
}

#[derive(Debug)]
struct Broken {
    from: u64,
    to: Option<u64>,
    /// As a scenario says it.
    fault: String,
}

impl Script {
    /// A vantage point no longer reaches what it looks at.
    pub(super) fn cut_off(&mut self) {
        self.breaks(format!("{{ agent-blind = {CUT_OFF:?} }}"));
    }

    /// Services and agent of a site die, or stand still.
    pub(super) fn site_lost(&mut self, services: &[&str], hang: bool) {
        let how = if hang { "service-hangs" } else { "service-down" };
        for service in services {
            self.breaks(format!("{{ {how} = {{ service = {service:?}, site = {DOOMED:?} }} }}"));
        }
        self.breaks(format!("{{ agent-down = {DOOMED:?} }}"));
    }

    /// The database server of a site dies.
    pub(super) fn database_lost(&mut self, cluster: &str) {
        self.breaks(format!("{{ node-down = {{ cluster = {cluster:?}, node = {DOOMED:?} }} }}"));
    }

    /// Whatever is broken is mended.
    pub(super) fn mended(&mut self) {
        let now = now();
        self.broken.iter_mut().filter(|broken| broken.to.is_none()).for_each(|broken| broken.to = Some(now));
    }

    fn breaks(&mut self, fault: String) {
        self.broken.push(Broken { from: now(), to: None, fault });
    }

    /// The scenario: what broke, and every verdict that moved something.
    pub(super) fn scenario(&self, records: &[Record]) -> String {
        let begun = records.first().map_or(0, |record| record.at.wall);
        let since = |wall: u64| wall.saturating_sub(begun);
        let mut text = format!(
            "# What `tidegate demo` did, and what the host decided. `tidegate policy test` plays it again in the simulator.\n\
             title = \"The demonstration, as it was recorded\"\nfleet = \"fleet.toml\"\nlength = \"{}ms\"\n",
            since(now()) + LATE
        );
        for Broken { from, to, fault } in &self.broken {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n[[event]]\nat = \"{}ms\"\n", since(*from));
            if let Some(to) = to {
                let _ = writeln!(text, "lasts = \"{}ms\"", to.saturating_sub(*from));
            }
            let _ = writeln!(text, "break = {fault}");
        }
        let mut moves = 0;
        for (at, service, decision) in records.iter().filter_map(moved) {
            moves += 1;
            if service == LET_LOOSE {
                continue;
            }
            let from = self.broken.iter().flat_map(|broken| [Some(broken.from), broken.to]).flatten();
            let from = from.filter(|from| *from <= at).max().map_or(0, since);
            let (by, verdict) = (since(at) + LATE, decision.verdict.name());
            let _ = write!(
                text,
                "\n[[must]]\nfrom = \"{from}ms\"\nby = \"{by}ms\"\nservice = {service:?}\nverdict = {verdict:?}\n"
            );
        }
        let _ = write!(text, "\n[at-most]\nmoves = {moves}\n");
        text
    }
}

/// A decision with which a run began that moves something.
fn moved(record: &Record) -> Option<(u64, &str, &Decision)> {
    let Cause::Decided(decided) = &record.cause else { return None };
    let decision = decided.result.as_ref().ok().filter(|decision| decision.verdict.moves())?;
    let begun = record.transitions.iter().any(|transition| matches!(transition.change, Change::RunOpened { .. }));
    begun.then_some((record.at.wall, decided.service.as_str(), decision))
}
