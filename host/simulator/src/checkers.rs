//! What must never happen in any world, whatever breaks and whatever a policy says.
//!
//! Each is looked at where it would happen: in the world, not in what the kernel believes.

use std::fmt;

use serde::Serialize;
use tidegate_kernel::contract::Millis;

/// An invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Checker {
    /// At most one node acknowledges writes in an epoch.
    TwoInOneEpoch,
    /// No two nodes acknowledge at once, but for the moment in which a frozen machine wakes up, and on a person's wrong word.
    SplitBrain,
    /// No acknowledged write is lost where nothing may be lost: told when the first client looks for one in vain, else at the end.
    WriteLost,
    /// No more is lost than was said beforehand, or accepted.
    LossBeyondBound,
    /// A name is never left without an answer.
    NameEmpty,
    /// A name never leads to where the data was fenced.
    TowardsFenced,
    /// Nobody is promoted while somebody else could still acknowledge, unless a person has said that it is off.
    UnprovenPromotion,
    /// A run that does not go on has told somebody.
    StuckSilently,
    /// What the host's journal says can be recovered, to the same state.
    Unrecoverable,
}

/// A lie in the world or in the host's hands, for showing that a checker fires: no storm draws one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Fences say that they hold, and do nothing.
    FenceLies,
    /// A promotion begins no timeline of its own.
    TimelineKept,
    /// Primaries wait for no standby, whatever is published.
    AcknowledgesAlone,
    /// Names are written without an answer.
    RoutesEmptied,
    /// Names are led to where a node was fenced.
    RoutesToTheFenced,
    /// Once a run has begun nobody hears what its steps came to, and no timer rings.
    HostAsleep,
    /// The journal forgets that a service moved.
    RecordsForgotten,
}

/// One time that it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Hit {
    /// Which one.
    pub checker: Checker,
    /// Milliseconds since the world began.
    pub at: Millis,
    /// In one sentence.
    pub text: String,
}

/// All of them, each checker once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hits(Vec<Hit>);

impl Checker {
    /// Its name in scenarios and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Checker::TwoInOneEpoch => "two-in-one-epoch",
            Checker::SplitBrain => "split-brain",
            Checker::WriteLost => "write-lost",
            Checker::LossBeyondBound => "loss-beyond-bound",
            Checker::NameEmpty => "name-empty",
            Checker::TowardsFenced => "towards-fenced",
            Checker::UnprovenPromotion => "unproven-promotion",
            Checker::StuckSilently => "stuck-silently",
            Checker::Unrecoverable => "unrecoverable",
        }
    }
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Hits {
    pub(crate) fn add(&mut self, checker: Checker, at: Millis, text: String) {
        if !self.0.iter().any(|hit| hit.checker == checker && hit.text == text) {
            self.0.push(Hit { checker, at, text });
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Hit> {
        self.0
    }
}
