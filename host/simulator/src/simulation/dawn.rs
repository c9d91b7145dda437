//! What all disasters of a storm have in common: a host starts in a world in which everything is well, and comes to know it. That is
//! played once and copied.
//!
//! Exact: a disaster ends as if it had been played from its beginning. Where that would not be so, it is.

use tidegate_kernel::contract::Millis;
use tidegate_kernel::fleet::Fleet;

use super::{Ended, Script, Simulation};
use crate::chance::Chance;
use crate::decide::Decider;

/// A host that knows all that there is to see, of a script in which nothing happens.
pub(crate) struct Dawn(Simulation<'static>);

impl Dawn {
    /// Plays it, for those who play thousands; a policy that never comes to rest is played no further than `length`.
    pub(crate) fn of(fleet: &Fleet, length: Millis, decider: &mut dyn Decider) -> Self {
        let nothing = Script { length, ..Script::default() };
        let mut simulation = Simulation::new(fleet, nothing, 0).hurried();
        simulation.start();
        while let Some(now) = simulation.next_due().filter(|_| !simulation.is_settled()) {
            simulation.step(now, decider);
        }
        Dawn(simulation)
    }

    /// Plays a disaster that begins with it.
    pub(crate) fn play(&self, script: Script, seed: u64, decider: &mut dyn Decider) -> Ended {
        if !self.is_before(&script) {
            return Simulation::new(&self.0.fleet, script, seed).hurried().run(decider);
        }
        let mut simulation = self.0.clone();
        simulation.world.chance = Chance::new(seed);
        simulation.script = script;
        simulation.plan_script();
        simulation.pass_quiet_time();
        simulation.go_on(decider)
    }

    /// Whether nothing of a script had to happen by then.
    fn is_before(&self, script: &Script) -> bool {
        let later = |at: Millis| at > self.0.world.now;
        script.happenings.iter().all(|happening| later(happening.at))
            && later(script.length)
            && script.crash_at_record.is_none_or(|at| at > self.0.journal.len())
            && script.mutants.is_empty()
    }
}
