//! What the provider asks of its host: secrets, and commands at a site. Behind a trait, because natively there is no host.

use std::time::Duration;

use tidegate_sdk::{Failure, Output};

/// Lends secrets and runs commands.
pub trait Host {
    /// A secret that is text.
    fn secret(&self, name: &str) -> Result<String, Failure>;

    /// Has the agent of a site run a declared command, once for each key, however often it is asked for.
    fn run(
        &self,
        site: &str,
        name: &str,
        arguments: &[(String, String)],
        key: &str,
        timeout: Duration,
    ) -> Result<Output, Failure>;
}

/// The host that runs the component, as far as the operator granted it.
pub struct Granted;

impl Host for Granted {
    fn secret(&self, name: &str) -> Result<String, Failure> {
        tidegate_sdk::secret_text(name)
    }

    fn run(
        &self,
        site: &str,
        name: &str,
        arguments: &[(String, String)],
        key: &str,
        timeout: Duration,
    ) -> Result<Output, Failure> {
        tidegate_sdk::run_command(site, name, arguments, Some(key), timeout)
    }
}
