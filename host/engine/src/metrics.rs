//! What the engine counts, as plain numbers for whoever shows them.
//!
//! Knows no format and no registry.

use crate::question::PolicyFault;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The running counts of one engine.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) decisions: Count,
    pub(crate) decided_again: Count,
    pub(crate) policy_faults: Count,
    pub(crate) policy_traps: Count,
    pub(crate) policy_limits: Count,
    pub(crate) host_panics: Count,
    pub(crate) provider_calls: Count,
    pub(crate) provider_traps: Count,
    pub(crate) provider_timeouts: Count,
    pub(crate) provider_instances: Count,
    pub(crate) provider_busy: Count,
    pub(crate) swaps: Count,
    pub(crate) refusals: Count,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Questions that policies answered with a decision.
    pub decisions: u64,
    /// Questions asked again because the revision changed meanwhile.
    pub decided_again: u64,
    /// Questions without a decision, for whatever reason.
    pub policy_faults: u64,
    /// Of these, crashes.
    pub policy_traps: u64,
    /// Of these, limits: fuel, time and the others.
    pub policy_limits: u64,
    /// Questions that wait for a worker now.
    pub policy_queue: u64,
    /// Panics of the host itself that were contained.
    pub host_panics: u64,
    /// Calls of providers.
    pub provider_calls: u64,
    /// Of these, crashes and limits.
    pub provider_traps: u64,
    /// Of these, cut off at their deadline.
    pub provider_timeouts: u64,
    /// Provider instances alive now.
    pub provider_instances: u64,
    /// Of these, at work.
    pub provider_busy: u64,
    /// Revisions replaced.
    pub swaps: u64,
    /// Plugins and revisions refused.
    pub refusals: u64,
}

impl Counters {
    pub(crate) fn decided<T>(&self, result: &Result<T, PolicyFault>) {
        match result {
            Ok(_) => self.decisions.add(),
            Err(fault) => {
                self.policy_faults.add();
                match fault {
                    PolicyFault::Trapped(_) => self.policy_traps.add(),
                    PolicyFault::OutOfFuel(_) | PolicyFault::TooLate(_) | PolicyFault::Limit(_) => {
                        self.policy_limits.add()
                    }
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn snapshot(&self, policy_queue: usize) -> Snapshot {
        Snapshot {
            decisions: self.decisions.get(),
            decided_again: self.decided_again.get(),
            policy_faults: self.policy_faults.get(),
            policy_traps: self.policy_traps.get(),
            policy_limits: self.policy_limits.get(),
            policy_queue: policy_queue as u64,
            host_panics: self.host_panics.get(),
            provider_calls: self.provider_calls.get(),
            provider_traps: self.provider_traps.get(),
            provider_timeouts: self.provider_timeouts.get(),
            provider_instances: self.provider_instances.get(),
            provider_busy: self.provider_busy.get(),
            swaps: self.swaps.get(),
            refusals: self.refusals.get(),
        }
    }
}
