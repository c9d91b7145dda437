//! Keeps what is young, what has to stay, and what that needs to be restored. Everything else goes.

use std::collections::BTreeMap;

use tidegate_sdk::prelude::*;
use tidegate_sdk::retention::{Backup, Choice, Kind, Request};
use tidegate_sdk::{DAY, Reason, Timestamp};

/// What an operator can set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Policy {
    /// Every backup younger than this stays.
    keep_days: u64,
    /// So many full backups stay, the newest, however old they are.
    keep_last: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { keep_days: 30, keep_last: 3 }
    }
}

impl Settings for Policy {
    fn check(&self) -> Vec<Problem> {
        let days = (self.keep_days > 36_500).then(|| Problem::new("/keep-days", "at most 36500"));
        let last = (self.keep_last < 1).then(|| Problem::new("/keep-last", "at least 1"));
        days.into_iter().chain(last).collect()
    }
}

impl RetentionPolicy for Policy {
    fn select(&self, request: &Request) -> Result<Vec<Choice>, String> {
        let known: BTreeMap<&str, &Backup> = request.backups.iter().map(|backup| (&*backup.id, backup)).collect();
        let mut choices = self.for_its_own_sake(request, &known);
        let kept = request.backups.iter().zip(&choices).filter(|(_, said)| said.keep).map(|(backup, _)| backup);
        let needed = needed(kept.collect(), &known);
        for said in &mut choices {
            if let Some(child) = needed.get(&*said.id) {
                said.keep = true;
                said.reasons.push(Reason::new("needed", format!("{child} cannot be restored without it")));
            }
            if !said.keep {
                said.reasons.push(Reason::new("expired", "nothing keeps it, and nothing that stays needs it"));
            }
        }
        Ok(choices)
    }
}

impl Policy {
    /// Doubt keeps: what is from the future is young, and a person judges what needs a backup that is not among these.
    fn for_its_own_sake(&self, request: &Request, known: &BTreeMap<&str, &Backup>) -> Vec<Choice> {
        let Policy { keep_days, keep_last } = self;
        let last = newest(request.backups.iter().filter(|backup| backup.kind == Kind::Full), *keep_last);
        let proven = newest(request.backups.iter().filter(|backup| backup.verified_at.is_some()), 1);
        let minimum_age = request.dataset.minimum_age.unwrap_or(0);
        let choice = |backup: &Backup| {
            let age = request.now.saturating_sub(backup.taken_at);
            let is_last = backup.kind == Kind::Full && backup.taken_at >= last;
            let is_proven = backup.verified_at.is_some() && backup.taken_at >= proven;
            let is_locked = backup.locked_until.is_some_and(|until| until > request.now);
            let lost = backup.parent.as_deref().filter(|parent| !known.contains_key(parent));
            let rules = [
                (age < keep_days.saturating_mul(DAY), "young", format!("it is younger than {keep_days} days")),
                (age < minimum_age, "minimum-age", "it is younger than its data set allows to go".to_owned()),
                (is_last, "last", format!("it is one of the last {keep_last} full backups")),
                (is_proven, "proven", "it is the newest from which a restore is proven".to_owned()),
                (is_locked, "locked", "its store has it locked".to_owned()),
                (!backup.holds.is_empty(), "held", format!("it is held for {}", backup.holds.join(", "))),
                (lost.is_some(), "parent-unknown", format!("it needs {}, which is not here", lost.unwrap_or_default())),
            ];
            let reasons = rules.into_iter().filter(|(holds, ..)| *holds).map(|(_, code, text)| Reason::new(code, text));
            let reasons: Vec<Reason> = reasons.collect();
            Choice { id: backup.id.clone(), keep: !reasons.is_empty(), reasons }
        };
        request.backups.iter().map(choice).collect()
    }
}

/// When the `count`th newest was taken, or the oldest if there are fewer.
fn newest<'a>(backups: impl Iterator<Item = &'a Backup>, count: usize) -> Timestamp {
    let mut taken: Vec<Timestamp> = backups.map(|backup| backup.taken_at).collect();
    taken.sort_unstable_by(|one, other| other.cmp(one));
    taken.into_iter().take(count).next_back().unwrap_or(0)
}

/// Whatever a kept backup needs to be restored, and for which one.
fn needed<'a>(kept: Vec<&'a Backup>, known: &BTreeMap<&str, &'a Backup>) -> BTreeMap<&'a str, &'a str> {
    let mut needed = BTreeMap::new();
    for mut child in kept {
        while let Some(parent) = child.parent.as_deref().and_then(|parent| known.get(parent)) {
            if needed.contains_key(&*parent.id) {
                break; // From there on it has been walked, or it is a circle.
            }
            needed.insert(&*parent.id, &*child.id);
            child = parent;
        }
    }
    needed
}

tidegate_sdk::retention_policy!(Policy);
