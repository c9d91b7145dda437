//! Begins in the clear, goes on in TLS, and tells what it was told; for `tidegate_sdk::net` and what stands behind it.
//!
//! Knows nothing of probing.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tidegate_sdk::net::Connection;
use tidegate_sdk::prelude::*;

/// Nothing to remember between two looks.
pub struct StartTls;

/// Whom to talk to.
#[derive(Deserialize, JsonSchema)]
pub struct Target {
    /// Its address and port.
    pub address: String,
    /// Whom its certificate has to name; none = stay in the clear.
    pub name: Option<String>,
    /// What to say, in the clear or not.
    pub say: String,
    /// For each wait; none = the look's own timeout.
    pub patience: Option<Period>,
}

impl Settings for Target {}

impl Provider for StartTls {
    type Settings = NoSettings;

    fn wants() -> Vec<Want> {
        vec![Want::Connect("tcp://*".to_owned())]
    }

    fn configure(_: NoSettings, _: Declared) -> Result<Self, Vec<Problem>> {
        Ok(StartTls)
    }
}

impl Probe for StartTls {
    type Target = Target;

    fn check(&self, target: Target, timeout: Duration) -> Result<Finding, Failure> {
        let patience = target.patience.map_or(timeout, Into::into);
        let detail = talk(&target, patience).unwrap_or_else(|error| format!("{:?}: {error}", error.kind()));
        Ok(Finding { outcome: Outcome::Ok, latency: None, detail })
    }
}

tidegate_sdk::probe_provider!(StartTls);

fn talk(target: &Target, timeout: Duration) -> io::Result<String> {
    let address: SocketAddr = target.address.parse().map_err(io::Error::other)?;
    let mut connection = Connection::open(address, timeout)?;
    if let Some(name) = &target.name {
        connection.write_all(b"?")?;
        let mut ready = [0];
        connection.read_exact(&mut ready)?;
        connection = connection.secure(name)?;
    }
    connection.write_all(target.say.as_bytes())?;
    connection.write_all(b"\n")?;
    connection.flush()?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let last = String::from_utf8_lossy(&answer[answer.len().saturating_sub(8)..]).into_owned();
    Ok(format!("{} bytes, the last: {last}", answer.len()))
}
