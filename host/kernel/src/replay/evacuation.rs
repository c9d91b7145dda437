//! Whether evacuations went as they were ordered: each service in its phase, no phase before the one ahead of it was over.
//!
//! Does not know what stood at a site: that a service had nothing there any more is believed.

use super::{Follows, Scene, must};
use crate::event::Command;
use crate::rules;
use crate::state::{Evacuation, EvacuationEnd, Leaving, RunEnd};

impl Scene<'_> {
    pub(super) fn evacuation(&self, after: &Evacuation) -> Follows {
        let say = |why: &str| format!("evacuation e{} {why}", after.id);
        must(after.phase < after.phases.len(), || say("is in a phase that it does not have"))?;
        let Some(before) = self.before.evacuations.get(&after.id) else { return self.evacuation_begun(after) };
        must(before.end.is_none(), || say("goes on after its end"))?;
        must(same_plan(before, after), || say("is another one than was ordered"))?;
        match self.rule {
            rules::EVACUATION_WENT_ON => self.evacuation_went_on(before, after),
            rules::EVACUATION_ENDED => {
                let whole = after.phase + 1 == after.phases.len() && before.phase_is_over();
                let so = matches!(after.end, Some(EvacuationEnd::Stopped(_))) || whole && after.end.is_some();
                let same = before.phases == after.phases && before.phase == after.phase;
                must(so && same && after.closed == Some(self.record.at), || say("has not come to that end"))
            }
            _ => Err(say("begins again")),
        }
    }

    fn evacuation_begun(&self, after: &Evacuation) -> Follows {
        let say = |why: &str| format!("evacuation e{} {why}", after.id);
        let next = self.before.evacuations.last_key_value().map_or(1, |(last, _)| last + 1);
        must(self.rule == rules::EVACUATION_BEGUN && after.id == next, || say("is not the next one"))?;
        must(self.before.open_evacuation().is_none(), || say("begins while another one is under way"))?;
        let meant =
            |order: &Command| matches!(order, Command::Evacuate { site, to } if *site == after.site && *to == after.to);
        must(self.orders(meant) && self.is_by(&after.by), || say("was not ordered"))?;
        let untouched = after.phases.iter().flatten().all(|leaving| leaving.run.is_none() && !leaving.gone);
        let fresh = untouched && after.phase == 0 && after.end.is_none() && after.opened == self.record.at;
        must(fresh, || say("begins with services gone already"))
    }

    fn evacuation_went_on(&self, before: &Evacuation, after: &Evacuation) -> Follows {
        let say = |why: &str| format!("evacuation e{} {why}", after.id);
        let next = after.phase == before.phase + 1 && before.phase_is_over();
        must(next || after.phase == before.phase, || say("goes on before its phase is over"))?;
        must(after.end.is_none(), || say("ends and goes on"))?;
        for (at, (was, is)) in before.phases.iter().zip(&after.phases).enumerate() {
            for (was, is) in was.iter().zip(is).filter(|(was, is)| was != is) {
                must(at == after.phase, || say("moves a service out of turn"))?;
                must(self.left(was, is), || format!("{} of evacuation e{} has not left", is.service, after.id))?;
            }
        }
        Ok(())
    }

    /// It was given a run of its own; or that has arrived; or there was nothing left to move.
    fn left(&self, was: &Leaving, is: &Leaving) -> bool {
        let run = is.run.and_then(|run| self.before.runs.get(&run)).filter(|run| run.service == is.service);
        match (was.run, is.run, is.gone) {
            (None, Some(_), false) => run.is_some(),
            (Some(before), Some(now), true) => {
                before == now && run.is_some_and(|run| run.end.as_ref().is_some_and(|end| *end != RunEnd::Undone))
            }
            (None, None, gone) => gone,
            _ => false,
        }
    }
}

fn same_plan(a: &Evacuation, b: &Evacuation) -> bool {
    let names = |of: &Evacuation| {
        let names = |phase: &Vec<Leaving>| phase.iter().map(|l| (l.service.clone(), l.to.clone())).collect::<Vec<_>>();
        of.phases.iter().map(names).collect::<Vec<_>>()
    };
    (&a.site, &a.to, &a.by, a.opened, &a.stays) == (&b.site, &b.to, &b.by, b.opened, &b.stays) && names(a) == names(b)
}
