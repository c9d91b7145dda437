//! What a cost policy is asked, and answers; and, for tests, requests to start from.
//!
//! ```
//! use tidegate_sdk::Strategy;
//! use tidegate_sdk::cost::{Asset, Offer, ProtectedService, Request};
//!
//! let shop = ProtectedService::of("shop", Strategy::BackupRestore)
//!     .offer(Offer::of(Strategy::BackupRestore, 100, 4 * 3_600_000))
//!     .offer(Offer::of(Strategy::ActivePassive, 900, 60_000));
//! let request = Request::builder().service(shop).asset(Asset::of("db-2", "shop", 300, 0.02)).budget(1_000).build();
//! assert_eq!(request.services[0].current_offer().map(|offer| offer.rto), Some(14_400_000));
//! ```

use crate::contract::{Money, Objectives, Strategy, Tier};
use crate::time::NOW;

pub use crate::bindings::exports::tidegate::dr::cost_policy::{
    Advice, Asset, Assignment, Offer, ProtectedService, Request, Saving,
};

/// One of the currency, in the contract's unit.
const ONE: Money = 1_000_000;

impl Request {
    /// Nothing to protect yet, and all the money that it takes.
    pub fn builder() -> RequestBuilder {
        RequestBuilder(Request {
            now: NOW,
            currency: "EUR".to_owned(),
            monthly_budget: None,
            services: Vec::new(),
            assets: Vec::new(),
            settings: String::new(),
            facts: Vec::new(),
        })
    }
}

/// Builds a [`Request`].
pub struct RequestBuilder(Request);

impl RequestBuilder {
    /// One more service.
    pub fn service(mut self, service: ProtectedService) -> Self {
        self.0.services.push(service);
        self
    }

    /// One more thing that is paid for.
    pub fn asset(mut self, asset: Asset) -> Self {
        self.0.assets.push(asset);
        self
    }

    /// So much may be spent a month, in whole units of the currency.
    pub fn budget(mut self, monthly: u32) -> Self {
        self.0.monthly_budget = Some(Money::from(monthly) * ONE);
        self
    }

    /// Anything else, by changing the record itself.
    pub fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.0);
        self
    }

    /// The request.
    pub fn build(self) -> Request {
        self.0
    }
}

impl ProtectedService {
    /// A service that has to be back within an hour and may lose five minutes, whose loss costs 1000 an hour, every other year.
    /// Nobody has offered to protect it yet.
    pub fn of(service: &str, current: Strategy) -> Self {
        ProtectedService {
            service: service.to_owned(),
            tier: Tier::Tier2,
            objectives: Objectives { rto: 3_600_000, rpo: 300_000, mtpd: None },
            impact_per_hour: 1_000 * ONE,
            incidents_per_year: 0.5,
            current,
            offers: Vec::new(),
            dependencies: Vec::new(),
            processing: Vec::new(),
            backups: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// One more way to protect it.
    pub fn offer(mut self, offer: Offer) -> Self {
        self.offers.push(offer);
        self
    }

    /// Anything else, by changing the record itself.
    pub fn with(mut self, change: impl FnOnce(&mut ProtectedService)) -> Self {
        change(&mut self);
        self
    }

    /// The offer for how it is protected now.
    pub fn current_offer(&self) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.strategy == self.current)
    }
}

impl Offer {
    /// At two sites, for so many whole units of the currency a month, back after that long (ms) and a minute behind.
    pub fn of(strategy: Strategy, monthly: u32, rto: u64) -> Self {
        let monthly = Money::from(monthly) * ONE;
        let sites = vec!["west".to_owned(), "east".to_owned()];
        Offer { strategy, monthly, monthly_failed_over: monthly, rto, rpo: 60_000, sites }
    }
}

impl Asset {
    /// A machine in the north, for so many whole units of the currency a month, used to that part (0 to 1).
    pub fn of(id: &str, service: &str, monthly: u32, utilisation: f64) -> Self {
        Asset {
            id: id.to_owned(),
            kind: "machine".to_owned(),
            service: service.to_owned(),
            site: "north".to_owned(),
            monthly: Money::from(monthly) * ONE,
            utilisation,
            facts: Vec::new(),
        }
    }
}

impl Strategy {
    /// The strategy's name in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::ActiveActive => "active-active",
            Strategy::ActivePassive => "active-passive",
            Strategy::PilotLight => "pilot-light",
            Strategy::BackupRestore => "backup-restore",
        }
    }
}
