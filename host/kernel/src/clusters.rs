//! What is known of each database: samples, and the end of leases.
//!
//! Knows no provider; a sample is what one says, and its age counts from when it was heard.

use crate::contract::{Cluster, Failure, Millis};
use crate::event::{Effect, Moment, RunId};
use crate::fleet::ClusterId;
use crate::kernel::Kernel;

impl Kernel {
    /// A cluster was looked at.
    pub(crate) fn sampled(&mut self, _: ClusterId, _: Result<Cluster, Failure>, _: Moment, _: &mut Vec<Effect>) {}

    /// When the last lease that anybody may hold for a run's cluster ends.
    pub(crate) fn lease_ends(&mut self, _: RunId, _: Result<Millis, String>, _: Moment, _: &mut Vec<Effect>) {}
}
