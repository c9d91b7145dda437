#![doc = include_str!("../README.md")]

mod bindings;
mod cluster;
mod contract;
pub mod cost;
mod decision;
mod export;
pub mod http;
mod log;
mod money;
pub mod net;
mod period;
mod policy;
mod provider;
mod reach;
pub mod retention;
mod settings;
mod situation;
pub mod template;
pub mod tiering;
mod time;

pub use contract::*;
pub use export::{Packaged, check_settings, manifest};
pub use log::{debug, error, info, warn};
pub use money::money;
pub use period::Period;
pub use policy::{CostPolicy, FailoverPolicy, RetentionPolicy, TieringPolicy};
pub use provider::{
    Action, Declared, Dns, Download, Notify, Probe, Provider, Replication, Signal, Storage, StorageRead, Upload,
};
pub use reach::{run_command, secret, secret_text};
pub use settings::{NoSettings, Settings, parse};
pub use situation::SituationBuilder;
pub use time::{DAY, days_ago, days_between};

pub use {schemars, serde, serde_json};

/// What nearly every plugin uses.
pub mod prelude {
    pub use crate::contract::*;
    pub use crate::{CostPolicy, FailoverPolicy, RetentionPolicy, TieringPolicy};
    pub use crate::{Declared, NoSettings, Period, Probe, Provider, Settings};
    pub use schemars::JsonSchema;
    pub use serde::Deserialize;
}

#[doc(hidden)]
pub mod __macro {
    pub use crate::bindings::exports::tidegate::dr::{
        action, cost_policy, dns, dns_control, failover_policy, notify, plugin, probe, provider, replication,
        replication_control, retention_policy, signal, storage, storage_control, tiering_policy,
    };
    pub use crate::export::{Component, Instance, Package, Packaged, worlds};
    pub use crate::settings::{check, schema};
}
