//! A signal whose numbers are none.
//!
//! Knows nothing of measuring.

#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit/v0.1.0", world: "signal-provider" });

use exports::tidegate::dr::{
    plugin::{Guest as Plugin, Manifest, Problem},
    provider::{Guest as Provider, Setup},
    signal::Guest as Signal,
};
use tidegate::dr::types::{Fact, Failure};

struct Hostile;
export!(Hostile);

impl Plugin for Hostile {
    fn describe() -> Manifest {
        Manifest {
            name: "hostile-signal".into(),
            version: "0.1.0".into(),
            summary: "Answers what it is asked for, number or not".into(),
            settings_schema: "{}".into(),
            wants: vec![],
            memo_format: String::new(),
        }
    }

    fn check_settings(_: String) -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

impl Provider for Hostile {
    fn configure(_: Setup) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn ready(_: String) -> Result<Vec<Fact>, Failure> {
        Ok(vec![])
    }
}

impl Signal for Hostile {
    fn sample(query: String, _: u64) -> Result<f64, Failure> {
        query.parse().map_err(|_| Failure::Invalid(query))
    }
}
