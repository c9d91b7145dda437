//! Does the answer of a retention, tiering or cost policy make sense for the request that it answers? Shape only, as `check`
//! sees to for decisions: what must never be removed is for whoever acts on it.

use super::check::{check_reason, short};
use crate::request::{Reply, Request};
use std::collections::BTreeSet;
use tidegate_kernel::contract::{Reason, cost, retention, tiering};

/// The first thing that is wrong with it, in words.
pub(crate) fn check(reply: &Reply, request: &Request) -> Result<(), String> {
    match (reply, request) {
        (Reply::Retention(choices), Request::Retention(asked)) => check_retention(choices, asked),
        (Reply::Tiering(choices), Request::Tiering(asked)) => check_tiering(choices, asked),
        (Reply::Cost(advice), Request::Cost(asked)) => check_cost(advice, asked),
        (_, request) => Err(format!("it is no answer to a question about {}", request.world())),
    }
}

/// One choice for each backup, in the request's order.
fn check_retention(choices: &[retention::Choice], asked: &retention::Request) -> Result<(), String> {
    let answered = choices.iter().map(|choice| choice.id.as_str());
    in_order("backup", answered, asked.backups.iter().map(|backup| backup.id.as_str()))?;
    check_reasons(choices.iter().flat_map(|choice| &choice.reasons))
}

/// One choice for each object, in the request's order.
fn check_tiering(choices: &[tiering::Choice], asked: &tiering::Request) -> Result<(), String> {
    let answered = choices.iter().map(|choice| choice.key.as_str());
    in_order("object", answered, asked.items.iter().map(|item| item.object.key.as_str()))?;
    check_reasons(choices.iter().flat_map(|choice| &choice.reasons))
}

/// Each service at most once, as it is or as it was offered; savings of assets that it was told of.
fn check_cost(advice: &cost::Advice, asked: &cost::Request) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for assignment in &advice.assignments {
        let name = assignment.service.as_str();
        let known = asked.services.iter().find(|service| service.service == name);
        let known = known.ok_or_else(|| format!("it names the service {}, which it was not told of", short(name)))?;
        if !seen.insert(name) {
            return Err(format!("it assigns {name} two strategies"));
        }
        let offered = known.offers.iter().any(|offer| offer.strategy == assignment.strategy);
        if !offered && known.current != assignment.strategy {
            return Err(format!("it assigns {name} to {}, which nobody has offered", assignment.strategy));
        }
    }
    for saving in &advice.savings {
        if !asked.assets.iter().any(|asset| asset.id == saving.asset) {
            return Err(format!("it names the asset {}, which it was not told of", short(&saving.asset)));
        }
    }
    let assigned = advice.assignments.iter().flat_map(|assignment| &assignment.reasons);
    let saved = advice.savings.iter().flat_map(|saving| &saving.reasons);
    check_reasons(assigned.chain(saved).chain(&advice.warnings))
}

/// A choice in the wrong place would be taken for another's: a backup that has to stay would go.
fn in_order<'a>(
    what: &str,
    answered: impl ExactSizeIterator<Item = &'a str>,
    asked: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), String> {
    if answered.len() != asked.len() {
        return Err(format!("it chooses for {} of {} {what}s", answered.len(), asked.len()));
    }
    for (at, (said, wanted)) in answered.zip(asked).enumerate() {
        if said != wanted {
            let (said, wanted) = (short(said), short(wanted));
            return Err(format!("choice {} is for the {what} {said}, where {wanted} was asked about", at + 1));
        }
    }
    Ok(())
}

fn check_reasons<'a>(reasons: impl IntoIterator<Item = &'a Reason>) -> Result<(), String> {
    reasons.into_iter().try_for_each(check_reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{neutral, world::World};
    use tidegate_kernel::contract::Strategy;

    fn retention() -> (retention::Request, Vec<retention::Choice>) {
        let Request::Retention(asked) = neutral::request(World::Retention).unwrap() else { panic!("it has backups") };
        let keep =
            |backup: &retention::Backup| retention::Choice { id: backup.id.clone(), keep: true, reasons: vec![] };
        ((*asked).clone(), asked.backups.iter().map(keep).collect())
    }

    #[test]
    fn every_backup_has_its_choice_in_its_place() {
        let (asked, good) = retention();
        assert_eq!(check_retention(&good, &asked), Ok(()));
        let mut swapped = good.clone();
        swapped.swap(0, 1);
        let mut shouting = good.clone();
        shouting[0].reasons = vec![Reason::new("Not Kebab", "")];
        for (wrong, complaint) in
            [(&swapped, "choice 1 is for"), (&good[1..].to_vec(), "of"), (&shouting, "kebab-case")]
        {
            assert!(check_retention(wrong, &asked).unwrap_err().contains(complaint), "{wrong:?}");
        }
    }

    #[test]
    fn advice_is_about_what_was_asked_and_offered() {
        let Request::Cost(asked) = neutral::request(World::Cost).unwrap() else { panic!("it has services") };
        let assignment = |service: &str, strategy| cost::Assignment {
            service: service.into(),
            strategy,
            monthly: 0,
            avoided_loss_yearly: 0,
            meets_objectives: true,
            reasons: vec![],
        };
        let saving = |asset: &str| cost::Saving {
            asset: asset.into(),
            change: String::new(),
            monthly: 0,
            risk: String::new(),
            reasons: vec![],
        };
        let advice = |assignments, savings| cost::Advice {
            assignments,
            savings,
            monthly: 0,
            avoided_loss_yearly: 0,
            warnings: vec![],
        };
        let (name, current) = (asked.services[0].service.as_str(), asked.services[0].current);
        let unoffered = Strategy::ALL.iter().copied().find(|strategy| {
            *strategy != current && asked.services[0].offers.iter().all(|offer| offer.strategy != *strategy)
        });
        let cases = [
            (advice(vec![assignment(name, current)], vec![]), None),
            (advice(vec![assignment("mars", current)], vec![]), Some("not told of")),
            (advice(vec![assignment(name, current), assignment(name, current)], vec![]), Some("two strategies")),
            (advice(vec![assignment(name, unoffered.unwrap())], vec![]), Some("nobody has offered")),
            (advice(vec![], vec![saving("mars")]), Some("not told of")),
        ];
        for (said, complaint) in cases {
            let found = check_cost(&said, &asked);
            assert_eq!(found.is_err(), complaint.is_some(), "{said:?}: {found:?}");
            assert!(complaint.is_none_or(|text| found.unwrap_err().contains(text)), "{said:?}");
        }
    }
}
