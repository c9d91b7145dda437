//! Protects each service by the cheapest offer that meets its objectives, and says what nobody seems to need.

use tidegate_sdk::cost::{Advice, Asset, Assignment, Offer, ProtectedService, Request, Saving};
use tidegate_sdk::prelude::*;
use tidegate_sdk::{Money, Reason, money};

/// Milliseconds in an hour; and into how many parts an incident a year is counted.
const HOUR: i128 = 3_600_000;
const PARTS: i128 = 1_000;

/// What an operator can set.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Policy {
    /// What is used less than this, in per cent, could be saved.
    idle_percent: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { idle_percent: 5 }
    }
}

impl Settings for Policy {
    fn check(&self) -> Vec<Problem> {
        if self.idle_percent <= 100 { Vec::new() } else { vec![Problem::new("/idle-percent", "at most 100")] }
    }
}

impl CostPolicy for Policy {
    fn advise(&self, request: &Request) -> Result<Advice, String> {
        let chosen: Vec<(&ProtectedService, &Offer)> =
            request.services.iter().filter_map(|service| Some((service, best(service)?))).collect();
        let assignments: Vec<Assignment> = chosen.iter().map(|(service, offer)| assignment(service, offer)).collect();
        let monthly = sum(assignments.iter().map(|assigned| assigned.monthly));
        let idle = |asset: &&Asset| asset.utilisation * 100.0 < f64::from(self.idle_percent);
        Ok(Advice {
            avoided_loss_yearly: sum(assignments.iter().map(|assigned| assigned.avoided_loss_yearly)),
            savings: request.assets.iter().filter(idle).map(|asset| saving(asset, &chosen)).collect(),
            warnings: warnings(request, &assignments, monthly),
            assignments,
            monthly,
        })
    }
}

fn meets(offer: &Offer, service: &ProtectedService) -> bool {
    offer.rto <= service.objectives.rto && offer.rpo <= service.objectives.rpo
}

/// The cheapest that meets the objectives, of two the quicker one; where none does, the quickest of all.
fn best(service: &ProtectedService) -> Option<&Offer> {
    let good = service.offers.iter().filter(|offer| meets(offer, service));
    let cheapest = good.min_by_key(|offer| (offer.monthly, offer.rto));
    cheapest.or_else(|| service.offers.iter().min_by_key(|offer| (offer.rto, offer.rpo, offer.monthly)))
}

fn assignment(service: &ProtectedService, offer: &Offer) -> Assignment {
    let (meets_objectives, name) = (meets(offer, service), offer.strategy.name());
    let reason = match meets_objectives {
        true => Reason::new("cheapest", format!("{name} is the cheapest that meets its objectives")),
        false => Reason::new("quickest", format!("nothing meets its objectives, and {name} is the quickest")),
    };
    Assignment {
        service: service.service.clone(),
        strategy: offer.strategy,
        monthly: offer.monthly,
        avoided_loss_yearly: avoided(service, offer),
        meets_objectives,
        reasons: vec![reason],
    }
}

/// What outages cost less in a year than today: each is shorter by the difference between today's recovery time and the
/// chosen one, and each hour of it would have cost the service's impact. Nothing where today's offer is not known.
fn avoided(service: &ProtectedService, offer: &Offer) -> Money {
    let today = service.current_offer().unwrap_or(offer);
    let shorter = i128::from(today.rto) - i128::from(offer.rto);
    // Whole thousandths, so that all that follows is exact; more than a million incidents are as bad as a million.
    let incidents = (service.incidents_per_year.clamp(0.0, 1e6) * 1e3 + 0.5) as i128;
    money((i128::from(service.impact_per_hour) * incidents).saturating_mul(shorter), HOUR * PARTS)
}

fn saving(asset: &Asset, chosen: &[(&ProtectedService, &Offer)]) -> Saving {
    let Asset { id, service, site, monthly, .. } = asset;
    let is_needed = chosen.iter().any(|(of, offer)| of.service == *service && offer.sites.contains(site));
    let risk = match is_needed {
        true => format!("{service} is protected at {site}: it may be what stands by"),
        false => format!("nothing that was chosen for {service} needs {site}"),
    };
    Saving {
        asset: id.clone(),
        change: "stop it, or make it smaller".to_owned(),
        monthly: *monthly,
        risk,
        reasons: vec![Reason::new("idle", "it is hardly used")],
    }
}

fn warnings(request: &Request, assignments: &[Assignment], monthly: Money) -> Vec<Reason> {
    let unoffered = request.services.iter().filter(|service| service.offers.is_empty());
    let unoffered = unoffered.map(|of| Reason::new("no-offer", format!("nothing is offered for {}", of.service)));
    let unmet = assignments.iter().filter(|assigned| !assigned.meets_objectives);
    let unmet =
        unmet.map(|of| Reason::new("objectives-unmet", format!("nothing meets the objectives of {}", of.service)));
    let budget = request.monthly_budget.filter(|budget| monthly > *budget);
    let dear = budget.map(|_| Reason::new("over-budget", "all of it together costs more a month than the budget has"));
    unoffered.chain(unmet).chain(dear).collect()
}

fn sum(amounts: impl Iterator<Item = Money>) -> Money {
    amounts.fold(0, Money::saturating_add)
}

tidegate_sdk::cost_policy!(Policy);
