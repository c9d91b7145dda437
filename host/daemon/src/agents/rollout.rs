//! How a new revision of a probe reaches the agents: one failure domain after the other, each only once the one before works well.
//!
//! What goes this way is code, its settings and its limits; grants, secrets and targets hold everywhere at once. Where it does
//! not go well, it stops, and the other domains keep what they have. Knows no agent: who works well is told to it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tidegate_kernel::contract::Millis;

use super::protocol::SlotPlan;
use super::trial::Verdict;

/// To take the plan, compile the component and look, beside the looks' own intervals.
const PATIENCE: Millis = 60_000;

/// Looks that everybody gets to have, one after the other.
const LOOKS: Millis = 4;

/// All probe slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Rollouts {
    slots: BTreeMap<String, Rollout>,
}

/// One probe slot's revision on its way.
#[derive(Clone, Debug)]
struct Rollout {
    target: Code,
    /// What each failure domain works by, in the order in which it reaches them.
    domains: Vec<(String, Code)>,
    /// The domain that is to show that it works well, and until when.
    trying: Option<(String, Millis)>,
    waits_for: String,
    stopped: Option<String>,
}

/// What may turn out to be wrong with a revision.
#[derive(Clone, Debug)]
struct Code {
    revision: u64,
    digest: String,
    settings: Value,
    limits: Value,
}

/// Something that an operator would want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The slot's revision has gone on to a further failure domain.
    On {
        /// The slot.
        slot: String,
        /// The failure domain.
        domain: String,
    },
    /// Everybody works well by it.
    Everywhere {
        /// The slot.
        slot: String,
    },
    /// It goes no further, and why.
    Stopped {
        /// The slot.
        slot: String,
        /// For people.
        text: String,
    },
}

/// How far a revision has come that has not reached everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutView {
    /// Failure domains that work by it.
    pub reached: Vec<String>,
    /// Failure domains that keep the one before.
    pub to_come: Vec<String>,
    /// The failure domain that has to show that it works well.
    pub trying: Option<String>,
    /// What for.
    pub waits_for: String,
    /// It goes no further, because of this.
    pub stopped: Option<String>,
}

impl Rollouts {
    /// These are the slots' revisions now. A slot that was not there before goes everywhere at once: nobody has anything to keep.
    /// `interval` is a slot's longest from one look to the next.
    pub(super) fn aim(
        &mut self,
        slots: &BTreeMap<String, SlotPlan>,
        domains: &[String],
        interval: impl Fn(&str) -> Millis,
        now: Millis,
    ) {
        self.slots.retain(|name, _| slots.contains_key(name));
        for (name, plan) in slots {
            let code = Code::of(plan);
            let rollout = self.slots.entry(name.clone()).or_insert_with(|| Rollout::everywhere(code.clone()));
            rollout.cover(domains);
            rollout.aim(code, now + PATIENCE + LOOKS * interval(name));
        }
    }

    /// What a failure domain works by, where `slots` are the newest revisions.
    pub(super) fn of_domain(&self, domain: &str, slots: &BTreeMap<String, SlotPlan>) -> BTreeMap<String, SlotPlan> {
        let assigned = |name: &str| {
            let domains = &self.slots.get(name)?.domains;
            domains.iter().find(|(known, _)| known == domain).map(|(_, code)| code.clone())
        };
        let plan = |(name, plan): (&String, &SlotPlan)| match assigned(name) {
            Some(Code { revision, digest, settings, limits }) => {
                (name.clone(), SlotPlan { revision, digest, settings, limits, ..plan.clone() })
            }
            None => (name.clone(), plan.clone()),
        };
        slots.iter().map(plan).collect()
    }

    /// Digests that somebody works by.
    pub(super) fn digests(&self) -> BTreeSet<&str> {
        self.slots.values().flat_map(|rollout| &rollout.domains).map(|(_, code)| code.digest.as_str()).collect()
    }

    /// Slots with the failure domain that is to show that it works well.
    pub(super) fn trying(&self) -> Vec<(String, String)> {
        let trying = |(slot, rollout): (&String, &Rollout)| Some((slot.clone(), rollout.trying.clone()?.0));
        self.slots.iter().filter_map(trying).collect()
    }

    /// What its failure domain shows of a slot's new revision, at `now`. None = nothing has changed.
    pub(super) fn judge(&mut self, slot: &str, verdict: Verdict, interval: Millis, now: Millis) -> Option<Moved> {
        let rollout = self.slots.get_mut(slot)?;
        let (domain, until) = rollout.trying.clone()?;
        let why = match verdict {
            Verdict::Well => {
                let slot = slot.to_owned();
                return Some(match rollout.go_on(now + PATIENCE + LOOKS * interval) {
                    Some(domain) => Moved::On { slot, domain },
                    None => Moved::Everywhere { slot },
                });
            }
            Verdict::Waits(what) if now < until => {
                rollout.waits_for = what;
                return None;
            }
            Verdict::Waits(what) => format!("{what} in time"),
            Verdict::Bad(why) => why,
        };
        Some(Moved::Stopped { slot: slot.to_owned(), text: rollout.stop(&domain, &why, slot) })
    }

    /// None = it has reached everybody.
    pub(super) fn view(&self, slot: &str) -> Option<RolloutView> {
        let rollout = self.slots.get(slot)?;
        if rollout.trying.is_none() && rollout.stopped.is_none() {
            return None;
        }
        let named = |same: bool| {
            let domains = rollout.domains.iter().filter(|(_, code)| code.is_same(&rollout.target) == same);
            domains.map(|(domain, _)| domain.clone()).collect()
        };
        Some(RolloutView {
            reached: named(true),
            to_come: named(false),
            trying: rollout.trying.as_ref().map(|(domain, _)| domain.clone()),
            waits_for: rollout.waits_for.clone(),
            stopped: rollout.stopped.clone(),
        })
    }
}

impl Rollout {
    fn everywhere(target: Code) -> Self {
        Rollout { target, domains: Vec::new(), trying: None, waits_for: String::new(), stopped: None }
    }

    /// A domain that is new has nothing to keep.
    fn cover(&mut self, domains: &[String]) {
        let known: BTreeMap<String, Code> = std::mem::take(&mut self.domains).into_iter().collect();
        let code = |domain: &String| known.get(domain).unwrap_or(&self.target).clone();
        self.domains = domains.iter().map(|domain| (domain.clone(), code(domain))).collect();
        self.trying.take_if(|(domain, _)| !domains.contains(domain));
    }

    /// The same revision again changes nothing: what has been stopped stays stopped.
    fn aim(&mut self, target: Code, until: Millis) {
        let is_new = target.revision != self.target.revision || !target.is_same(&self.target);
        if is_new {
            (self.target, self.stopped) = (target, None);
        }
        if is_new || (self.trying.is_none() && self.stopped.is_none()) {
            self.go_on(until);
        }
    }

    /// Gives it to the next domain that has something else.
    fn go_on(&mut self, until: Millis) -> Option<String> {
        let next = self.domains.iter_mut().find(|(_, code)| !code.is_same(&self.target));
        let domain = next.map(|(domain, code)| {
            *code = self.target.clone();
            domain.clone()
        });
        self.trying = domain.clone().map(|domain| (domain, until));
        self.waits_for.clear();
        domain
    }

    fn stop(&mut self, domain: &str, why: &str, slot: &str) -> String {
        self.trying = None;
        let kept = self.domains.iter().filter(|(_, code)| !code.is_same(&self.target));
        let kept: Vec<&str> = kept.map(|(domain, _)| domain.as_str()).collect();
        let kept = if kept.is_empty() { "no failure domain".to_owned() } else { kept.join(", ") };
        self.stopped = Some(format!("failure domain {domain}: {why}"));
        format!(
            "its new revision goes no further than failure domain {domain}: {why}. The revision before is kept in {kept}. Next: \
             `tidegate plugin rollback {slot}`, or swap a better one in"
        )
    }
}

impl Code {
    fn of(plan: &SlotPlan) -> Self {
        let SlotPlan { revision, digest, settings, limits, .. } = plan.clone();
        Code { revision, digest, settings, limits }
    }

    /// The number aside, which only says when it came.
    fn is_same(&self, other: &Code) -> bool {
        (&self.digest, &self.settings, &self.limits) == (&other.digest, &other.settings, &other.limits)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SLOT: &str = "probe/http";

    fn revision(revision: u64, digest: &str) -> BTreeMap<String, SlotPlan> {
        let plan = SlotPlan {
            digest: digest.to_owned(),
            revision,
            settings: json!({}),
            grants: vec![format!("tcp://127.0.0.1:{revision}")],
            limits: json!({}),
            declared: Vec::new(),
            secrets: BTreeMap::new(),
        };
        BTreeMap::from([(SLOT.to_owned(), plan)])
    }

    fn aim(rollouts: &mut Rollouts, slots: &BTreeMap<String, SlotPlan>, now: Millis) {
        rollouts.aim(slots, &["west", "east", "north"].map(str::to_owned), |_| 1_000, now);
    }

    /// Of west, east and north.
    fn digests(rollouts: &Rollouts, newest: &BTreeMap<String, SlotPlan>) -> [String; 3] {
        ["west", "east", "north"].map(|domain| rollouts.of_domain(domain, newest)[SLOT].digest.clone())
    }

    /// At 1,000 a second revision is on its way.
    fn on_its_way() -> (Rollouts, BTreeMap<String, SlotPlan>) {
        let mut rollouts = Rollouts::default();
        aim(&mut rollouts, &revision(1, "old"), 0);
        let newest = revision(2, "new");
        aim(&mut rollouts, &newest, 1_000);
        (rollouts, newest)
    }

    #[test]
    fn the_first_revision_goes_everywhere_and_the_next_from_one_domain_to_the_next() {
        let mut rollouts = Rollouts::default();
        let first = revision(1, "old");
        aim(&mut rollouts, &first, 0);
        assert_eq!((digests(&rollouts, &first), rollouts.view(SLOT)), (["old"; 3].map(str::to_owned), None));

        let (mut rollouts, newest) = on_its_way();
        for (reached, next) in
            [(["new", "old", "old"], Some("east")), (["new", "new", "old"], Some("north")), (["new"; 3], None)]
        {
            assert_eq!(digests(&rollouts, &newest), reached);
            let east = &rollouts.of_domain("east", &newest)[SLOT];
            assert_eq!(east.grants, newest[SLOT].grants, "what is granted holds everywhere at once");
            assert_eq!(rollouts.judge(SLOT, Verdict::Waits("a look".to_owned()), 1_000, 2_000), None);
            let moved = rollouts.judge(SLOT, Verdict::Well, 1_000, 2_000);
            let slot = SLOT.to_owned();
            let expected = match next {
                Some(domain) => Moved::On { slot, domain: domain.to_owned() },
                None => Moved::Everywhere { slot },
            };
            assert_eq!(moved, Some(expected));
        }
        assert_eq!((rollouts.view(SLOT), rollouts.digests()), (None, BTreeSet::from(["new"])));
    }

    #[test]
    fn stops_where_it_does_not_work_or_nobody_says_so_in_time_and_keeps_the_old_one_elsewhere() {
        let late = 1_000 + PATIENCE + LOOKS * 1_000;
        for (verdict, now) in [(Verdict::Bad("broken".to_owned()), 1_001), (Verdict::Waits("broken".to_owned()), late)]
        {
            let (mut rollouts, newest) = on_its_way();
            assert_eq!(rollouts.judge(SLOT, Verdict::Waits("broken".to_owned()), 1_000, late - 1), None);
            let Some(Moved::Stopped { text, .. }) = rollouts.judge(SLOT, verdict, 1_000, now) else { panic!() };
            assert!(text.contains("west: broken") && text.contains("kept in east, north"), "{text}");
            assert!(text.contains("tidegate plugin rollback probe/http"), "{text}");
            aim(&mut rollouts, &newest, now);
            assert_eq!(digests(&rollouts, &newest), ["new", "old", "old"], "an unrelated reload does not push it on");
            assert_eq!(rollouts.judge(SLOT, Verdict::Well, 1_000, now), None);
            assert!(rollouts.view(SLOT).is_some_and(|view| view.stopped.is_some()));
        }
    }

    #[test]
    fn a_way_back_concerns_only_those_who_had_left() {
        let (mut rollouts, _) = on_its_way();
        rollouts.judge(SLOT, Verdict::Bad("broken".to_owned()), 1_000, 1_001);
        let back = revision(3, "old");
        aim(&mut rollouts, &back, 2_000);
        assert_eq!(digests(&rollouts, &back), ["old"; 3]);
        assert_eq!(rollouts.trying(), [(SLOT.to_owned(), "west".to_owned())]);
        let everywhere = Moved::Everywhere { slot: SLOT.to_owned() };
        assert_eq!(rollouts.judge(SLOT, Verdict::Well, 1_000, 2_001), Some(everywhere));
        assert_eq!(rollouts.view(SLOT), None);
    }

    #[test]
    fn goes_on_when_the_domain_that_it_tried_is_taken_out_of_the_fleet_file() {
        let (mut rollouts, newest) = on_its_way();
        rollouts.aim(&newest, &["east", "north"].map(str::to_owned), |_| 1_000, 2_000);
        assert_eq!(digests(&rollouts, &newest)[1..], ["new", "old"]);
        assert_eq!(rollouts.trying(), [(SLOT.to_owned(), "east".to_owned())]);
    }
}
