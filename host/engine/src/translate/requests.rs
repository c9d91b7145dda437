//! What policies of retention, tiering and cost are asked and answer. They are asked seldom: a request is copied.
//!
//! Whether an answer makes sense is `policy::choices`' business.

use super::{list, same_enum, same_record};
use crate::bindings::policies::{
    exports::tidegate::dr::{cost_policy as costs, retention_policy as keeps, tiering_policy as places},
    tidegate::dr::{storage, types},
};
use tidegate_kernel::contract::{self as plain, cost, retention, tiering};

same_enum!(plain::storage::StorageClass, storage::StorageClass, { Hot, Cool, Cold, Archive });
same_enum!(retention::Kind, keeps::Kind, { Full, Incremental, Differential, Log, Snapshot });

same_record!(plain::Objectives => types::Objectives, { rto, rpo, mtpd });
same_record!(tiering::Price => places::Price, {
    stored_as, location, gigabyte_month, retrieval_gigabyte, thousand_requests, minimum_days, minimum_bytes, retrieval_time
});
same_record!(tiering::Item => places::Item, { object, only_verified_copy });
same_record!(cost::Offer => costs::Offer, { strategy, monthly, monthly_failed_over, rto, rpo, sites });

impl From<plain::storage::Object> for storage::Object {
    fn from(from: plain::storage::Object) -> Self {
        storage::Object {
            key: from.key,
            version: from.version,
            size: from.size,
            stored_as: from.stored_as.into(),
            stored_since: from.stored_since,
            location: from.location,
            created_at: from.created_at,
            accessed_at: from.accessed_at,
            checksum: from.checksum,
            locked_until: from.locked_until,
            legal_hold: from.legal_hold,
            tags: list(from.tags),
            facts: list(from.facts),
        }
    }
}

impl From<retention::Backup> for keeps::Backup {
    fn from(from: retention::Backup) -> Self {
        keeps::Backup {
            id: from.id,
            kind: from.kind.into(),
            parent: from.parent,
            taken_at: from.taken_at,
            size: from.size,
            verified_at: from.verified_at,
            locations: from.locations,
            locked_until: from.locked_until,
            holds: from.holds,
            tags: from.tags,
            facts: list(from.facts),
        }
    }
}

impl From<retention::Dataset> for keeps::Dataset {
    fn from(from: retention::Dataset) -> Self {
        keeps::Dataset {
            name: from.name,
            classification: from.classification,
            regulations: from.regulations,
            minimum_age: from.minimum_age,
            time_zone: from.time_zone,
            facts: list(from.facts),
        }
    }
}

impl From<cost::ProtectedService> for costs::ProtectedService {
    fn from(from: cost::ProtectedService) -> Self {
        costs::ProtectedService {
            service: from.service,
            tier: from.tier.into(),
            objectives: from.objectives.into(),
            impact_per_hour: from.impact_per_hour,
            incidents_per_year: from.incidents_per_year,
            current: from.current.into(),
            offers: list(from.offers),
            dependencies: from.dependencies,
            processing: from.processing,
            backups: from.backups,
            facts: list(from.facts),
        }
    }
}

impl From<cost::Asset> for costs::Asset {
    fn from(from: cost::Asset) -> Self {
        costs::Asset {
            id: from.id,
            kind: from.kind,
            service: from.service,
            site: from.site,
            monthly: from.monthly,
            utilisation: from.utilisation,
            facts: list(from.facts),
        }
    }
}

/// A request with the settings of the revision that is asked.
pub(crate) fn retention(from: &retention::Request, settings: &str) -> keeps::Request {
    let retention::Request { now, dataset, backups, facts } = from.clone();
    keeps::Request {
        now,
        dataset: dataset.into(),
        backups: list(backups),
        settings: settings.to_owned(),
        facts: list(facts),
    }
}

/// A request with the settings of the revision that is asked.
pub(crate) fn tiering(from: &tiering::Request, settings: &str) -> places::Request {
    let tiering::Request { now, bucket, rto, items, prices, facts } = from.clone();
    places::Request {
        now,
        bucket,
        rto,
        items: list(items),
        prices: list(prices),
        settings: settings.to_owned(),
        facts: list(facts),
    }
}

/// A request with the settings of the revision that is asked.
pub(crate) fn cost(from: &cost::Request, settings: &str) -> costs::Request {
    let cost::Request { now, currency, monthly_budget, services, assets, facts } = from.clone();
    costs::Request {
        now,
        currency,
        monthly_budget,
        services: list(services),
        assets: list(assets),
        settings: settings.to_owned(),
        facts: list(facts),
    }
}

impl From<keeps::Choice> for retention::Choice {
    fn from(from: keeps::Choice) -> Self {
        retention::Choice { id: from.id, keep: from.keep, reasons: list(from.reasons) }
    }
}

impl From<places::Placement> for tiering::Placement {
    fn from(from: places::Placement) -> Self {
        match from {
            places::Placement::Stay => tiering::Placement::Stay,
            places::Placement::MoveTo(class) => tiering::Placement::MoveTo(class.into()),
            places::Placement::Expire => tiering::Placement::Expire,
        }
    }
}

impl From<places::Choice> for tiering::Choice {
    fn from(from: places::Choice) -> Self {
        tiering::Choice {
            key: from.key,
            placement: from.placement.into(),
            saves: from.saves,
            reasons: list(from.reasons),
        }
    }
}

impl From<costs::Assignment> for cost::Assignment {
    fn from(from: costs::Assignment) -> Self {
        cost::Assignment {
            service: from.service,
            strategy: from.strategy.into(),
            monthly: from.monthly,
            avoided_loss_yearly: from.avoided_loss_yearly,
            meets_objectives: from.meets_objectives,
            reasons: list(from.reasons),
        }
    }
}

impl From<costs::Saving> for cost::Saving {
    fn from(from: costs::Saving) -> Self {
        cost::Saving {
            asset: from.asset,
            change: from.change,
            monthly: from.monthly,
            risk: from.risk,
            reasons: list(from.reasons),
        }
    }
}

impl From<costs::Advice> for cost::Advice {
    fn from(from: costs::Advice) -> Self {
        cost::Advice {
            assignments: list(from.assignments),
            savings: list(from.savings),
            monthly: from.monthly,
            avoided_loss_yearly: from.avoided_loss_yearly,
            warnings: list(from.warnings),
        }
    }
}
