//! What a cost policy is asked, and answers. Its settings are those of the revision that is asked.

use super::{Fact, Millis, Money, Objectives, Reason, Strategy, Tier, Timestamp};
use serde::{Deserialize, Serialize};

contract! {
    /// A way to protect a service, and what it costs.
    #[derive(Eq)]
    struct Offer {
        pub strategy: Strategy,
        pub monthly: Money,
        pub monthly_failed_over: Money,
        pub rto: Millis,
        pub rpo: Millis,
        pub sites: Vec<String>,
    }

    /// A service, and what its loss would cost.
    struct ProtectedService {
        pub service: String,
        pub tier: Tier,
        pub objectives: Objectives,
        pub impact_per_hour: Money,
        pub incidents_per_year: f64,
        pub current: Strategy,
        pub offers: Vec<Offer>,
        pub dependencies: Vec<String>,
        pub processing: Vec<String>,
        pub backups: Vec<String>,
        pub facts: Vec<Fact>,
    }

    /// Something that is paid for.
    struct Asset {
        pub id: String,
        pub kind: String,
        pub service: String,
        pub site: String,
        pub monthly: Money,
        pub utilisation: f64,
        pub facts: Vec<Fact>,
    }

    /// All that a cost policy is told.
    struct Request {
        pub now: Timestamp,
        pub currency: String,
        pub monthly_budget: Option<Money>,
        pub services: Vec<ProtectedService>,
        pub assets: Vec<Asset>,
        pub facts: Vec<Fact>,
    }

    /// How a service is to be protected.
    #[derive(Eq)]
    struct Assignment {
        pub service: String,
        pub strategy: Strategy,
        pub monthly: Money,
        pub avoided_loss_yearly: Money,
        pub meets_objectives: bool,
        pub reasons: Vec<Reason>,
    }

    /// What could cost less.
    #[derive(Eq)]
    struct Saving { pub asset: String, pub change: String, pub monthly: Money, pub risk: String, pub reasons: Vec<Reason> }

    /// What a cost policy says.
    #[derive(Eq)]
    struct Advice {
        pub assignments: Vec<Assignment>,
        pub savings: Vec<Saving>,
        pub monthly: Money,
        pub avoided_loss_yearly: Money,
        pub warnings: Vec<Reason>,
    }
}
