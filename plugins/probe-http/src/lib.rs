//! One look at an HTTP address: one request, and whether the answer is the expected one.
//!
//! Sends and measures; what an answer means, `decide.rs` knows.

pub mod decide;

use std::time::{Duration, Instant};

use decide::{Settings, Target};
use tidegate_sdk::{Declared, Failure, Finding, Probe, Problem, Provider, Want, http};

/// The provider; it has nothing to remember between two looks.
pub struct ProbeHttp {
    settings: Settings,
}

impl Provider for ProbeHttp {
    type Settings = Settings;

    fn wants() -> Vec<Want> {
        ["http://*:*", "https://*:*"].map(|pattern| Want::Connect(pattern.to_owned())).into()
    }

    fn configure(settings: Settings, _: Declared) -> Result<Self, Vec<Problem>> {
        Ok(ProbeHttp { settings })
    }
}

impl Probe for ProbeHttp {
    type Target = Target;

    fn check(&self, target: Target, timeout: Duration) -> Result<Finding, Failure> {
        let request = decide::request(&self.settings, &target, timeout);
        let start = Instant::now();
        let answer = http::send(&request);
        decide::judge(&self.settings, &target, answer, start.elapsed())
    }
}

tidegate_sdk::probe_provider!(ProbeHttp);
