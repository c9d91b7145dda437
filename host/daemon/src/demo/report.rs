//! What the demonstration measured, as one document; times are in milliseconds unless the name says otherwise.

use serde::Serialize;

/// Everything that `--json` prints.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// From the site's death to the recorded verdict.
    pub detected_ms: Option<u64>,
    /// From the site's death until the authoritative server answered with another site.
    pub dns_changed_ms: Option<u64>,
    /// The longest time that the client of the active-passive service went without an answer.
    pub client_outage_ms: Option<u64>,
    /// Calls of both clients.
    pub client_requests: usize,
    /// Those of them that got no answer.
    pub client_errors: usize,
    /// The verdict's name.
    pub verdict: Option<String>,
    /// The policy's, for people.
    pub reasons: Vec<String>,
    /// The policy replaced under load.
    pub swap: Swap,
    /// The policy that misbehaves.
    pub hostile: Hostile,
    /// The service went home after the hold-down.
    pub failed_back: bool,
    /// The database that moved; none = PostgreSQL cannot be used on this machine.
    pub database: Option<Database>,
    /// The proof.
    pub journal: Journal,
    /// What did not happen as it should; empty = all of it happened.
    pub wrong: Vec<String>,
}

/// The failover policy replaced under load.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Swap {
    /// Answered.
    pub decisions: u64,
    /// Asked and never answered.
    pub dropped: u64,
    /// Asked after the acknowledgement and answered by the old revision.
    pub stale: u64,
    /// The longest time between two answers.
    pub longest_gap_us: u64,
    /// From the order to the acknowledgement.
    pub ready_ms: f64,
}

/// The plugin that misbehaves.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Hostile {
    /// It passed the self-test of a swap.
    pub loaded: bool,
    /// Every misdeed ended as a recorded hold, and nobody else noticed.
    pub contained: bool,
}

/// The database that moved.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Database {
    /// PostgreSQL's.
    pub version: String,
    /// The longest time that the client went without an acknowledgement.
    pub outage_ms: u64,
    /// Rows that the client was told are safe.
    pub acknowledged: usize,
    /// Those of them that whoever leads does not have.
    pub lost: usize,
    /// The kind of proof that nobody else could take writes.
    pub proof: String,
    /// Who leads now.
    pub leads: String,
}

/// The proof.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Journal {
    /// How many there are.
    pub records: u64,
    /// Each is chained to the one before.
    pub verified: bool,
}

impl Report {
    /// Whether all of it happened.
    pub fn happened(&self) -> bool {
        self.wrong.is_empty()
    }
}
