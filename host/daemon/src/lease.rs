//! Leases: until when a primary may run without hearing anything, and when it has ended for certain. Pure rules.
//!
//! Knows no socket, no clock and no process. A holder believes in a lease until [`LEASE`] after the moment at which it asked for
//! it: asked the host, or began to ask the other agents. Its enforcer ends the primary within [`FENCE`] of that. Whoever wants
//! to be certain that it has ended tells so many agents of a newer epoch that no majority can confirm the old one any more
//! ([`acknowledgements_needed`]), and then counts from the latest moment at which anybody may have confirmed it ([`ends`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::contract::{Epoch, Millis};

/// From asking to the end. Renewed twice a second, so that one lost answer does no harm.
pub const LEASE: Millis = 1_500;
/// From a lease's end to the moment from which no process of the primary is left.
pub const FENCE: Millis = 500;
/// Clocks of two machines do not run equally fast; this is a tenth of the above.
pub const MARGIN: Millis = 250;

/// The kernel says beforehand how long a proof may take.
const _: () = assert!(LEASE + FENCE + MARGIN == tidegate_kernel::fleet::LEASE_ENDS);

/// How many other agents have to confirm, so that they are a majority of all with the one who asks.
pub fn confirmations_needed(agents: usize) -> usize {
    agents / 2
}

/// How many agents other than the holder's have to know the newer epoch, so that those who do not are too few to confirm the
/// old one; none = the holder alone is a majority.
pub fn acknowledgements_needed(agents: usize) -> Option<usize> {
    let (others, confirm) = (agents.saturating_sub(1), confirmations_needed(agents));
    (confirm > 0).then(|| others + 1 - confirm)
}

/// Until when the holder believes in a lease for which it asked at `asked`.
pub fn until(asked: Millis) -> Millis {
    asked + LEASE
}

/// From when on no primary runs by a lease that was last renewed or confirmed at one of these moments.
pub fn ends(moments: impl IntoIterator<Item = Millis>) -> Millis {
    moments.into_iter().max().unwrap_or(0) + LEASE + FENCE + MARGIN
}

/// What one agent remembers of one cluster: the newest epoch it knows, durable; when it confirmed one, while it lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    epoch: Epoch,
    /// The latest confirmation of `epoch` or an older one that was given before a newer one was known.
    confirmed: Option<Millis>,
    /// The latest confirmation of an epoch that is older than `epoch`.
    confirmed_older: Option<Millis>,
}

/// An agent's answer to the news of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Known {
    /// The cluster's name.
    pub cluster: String,
    /// The newest epoch that the agent knows of, and will not forget.
    pub epoch: Epoch,
    /// Since it last confirmed an older one, in milliseconds; none = it never did.
    pub confirmed_ago: Option<Millis>,
}

impl Witness {
    /// Of a process that started at `started`, and knows `epoch` from its predecessor: that one may have confirmed until then.
    pub fn remembering(epoch: Epoch, started: Millis) -> Witness {
        Witness { epoch, confirmed: Some(started), confirmed_older: Some(started) }
    }

    /// The newest epoch that it knows of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether it knows of no epoch newer than this one. If so, the asker may rely on it.
    pub fn confirm(&mut self, epoch: Epoch, now: Millis) -> bool {
        let confirms = epoch >= self.epoch;
        if confirms {
            self.confirmed = Some(now);
        }
        confirms
    }

    /// It hears of an epoch; true if that is news, which has to be durable before it is acknowledged.
    pub fn learn(&mut self, epoch: Epoch) -> bool {
        let news = epoch > self.epoch;
        if news {
            self.epoch = epoch;
            self.confirmed_older = self.confirmed_older.max(self.confirmed.take());
        }
        news
    }

    /// What it acknowledges.
    pub fn known(&self, cluster: &str, now: Millis) -> Known {
        let confirmed_ago = self.confirmed_older.map(|at| now.saturating_sub(at));
        Known { cluster: cluster.to_owned(), epoch: self.epoch, confirmed_ago }
    }
}

/// What a host knows of one cluster's lease, on its own steady clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Who leads; none = nobody may.
    pub primary: Option<String>,
    /// Since which epoch.
    pub epoch: Epoch,
    /// Renewed no more for any older epoch than this.
    ended: Epoch,
    /// The latest moment at which a lease may have been given.
    last: Millis,
    /// What each agent acknowledged: the epoch, and the latest confirmation that it may have given for an older one.
    acknowledged: BTreeMap<String, (Epoch, Option<Millis>)>,
}

impl Granted {
    /// Of a host that started at `started`: its predecessor may have renewed until then.
    pub fn since(started: Millis) -> Granted {
        Granted { last: started, ..Granted::default() }
    }

    /// Who leads from now on. Until its first renewal a primary may run as long as a lease lasts, so this counts as one.
    pub fn lead(&mut self, primary: Option<&str>, epoch: Epoch, now: Millis) {
        if epoch < self.newest() {
            return;
        }
        (self.primary, self.epoch, self.last) = (primary.map(str::to_owned), epoch, self.last.max(now));
    }

    /// The newest epoch.
    pub fn newest(&self) -> Epoch {
        self.epoch.max(self.ended)
    }

    /// Who leads, if that has not been ended.
    pub fn leader(&self) -> Option<&str> {
        self.primary.as_deref().filter(|_| self.epoch >= self.ended)
    }

    /// A lease is given to `node` now, if it leads.
    pub fn renew(&mut self, node: &str, now: Millis) -> bool {
        let renewed = self.leader() == Some(node);
        if renewed {
            self.last = self.last.max(now);
        }
        renewed
    }

    /// No lease of an older epoch is renewed from now on.
    pub fn end(&mut self, epoch: Epoch) {
        self.ended = self.ended.max(epoch);
    }

    /// An agent acknowledges.
    pub fn acknowledge(&mut self, agent: &str, known: &Known, now: Millis) {
        let confirmed = known.confirmed_ago.map(|ago| now.saturating_sub(ago));
        let entry = self.acknowledged.entry(agent.to_owned()).or_default();
        if known.epoch >= entry.0 {
            *entry = (known.epoch, confirmed);
        }
    }

    /// When a lease of an epoch older than `epoch` has ended for certain; none = too few of the `agents` other than the holder's
    /// have acknowledged it yet.
    pub fn ends(&self, epoch: Epoch, holder: &str, agents: &[String]) -> Option<Millis> {
        let others = agents.iter().filter(|agent| *agent != holder);
        let acknowledged: Vec<_> =
            others.filter_map(|agent| self.acknowledged.get(agent)).filter(|(known, _)| *known >= epoch).collect();
        let enough = acknowledgements_needed(agents.len()).is_some_and(|needed| acknowledged.len() >= needed);
        enough.then(|| ends(acknowledged.into_iter().filter_map(|(_, confirmed)| *confirmed).chain([self.last])))
    }
}

#[cfg(test)]
mod tests;
