//! What clients of a service go without: by the resolver that they ask, from the truth of each moment.
//!
//! Counts, and draws no conclusion.

use tidegate_kernel::contract::Millis;

/// What the clients of one service saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clients {
    /// Time without an answer, weighted by how many went without.
    pub(crate) down: f64,
    /// Outages that are over: when each began, and how long it lasted for the last client.
    pub(crate) outages: Vec<Outage>,
    /// One that is not.
    pub(crate) since: Option<Millis>,
    /// The part of the clients that is served now.
    pub(crate) served: f64,
}

/// A time in which not everybody was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) began: Millis,
    pub(crate) lasted: Millis,
}

impl Clients {
    /// So many were served for so long, until now.
    pub(crate) fn pass(&mut self, length: Millis) {
        self.down += (1.0 - self.served) * length as f64;
    }

    /// So many are served from now on.
    pub(crate) fn serve(&mut self, served: f64, now: Millis) {
        self.served = served;
        match self.since {
            None if served < 1.0 => self.since = Some(now),
            Some(began) if served >= 1.0 => {
                self.since = None;
                // What begins and ends in one moment is no outage.
                if now > began {
                    self.outages.push(Outage { began, lasted: now - began });
                }
            }
            _ => {}
        }
    }
}
