//! What distance does to what is sent: what never arrives, and how late the rest does.
//!
//! Two rules for all that crosses a link. A question is lost with its answer, by chance. A stream loses nothing: what is lost of it is
//! sent again, so that loss is one more delay. No packet is followed.

use tidegate_kernel::contract::Millis;

use super::World;
use super::conditions::Conditions;

/// There and back, when nothing is the matter.
const NEAR: Millis = 4;
const HERE: Millis = 1;
/// A stream sends again what nobody has acknowledged for about so long, as TCP does.
const SENT_AGAIN: Millis = 200;

/// From one place to another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) cut: bool,
    /// Per cent.
    pub(crate) loss: u32,
    pub(crate) later: Millis,
}

/// What becomes of a question and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    Answered,
    /// What was asked for is done, and whoever asked does not hear of it.
    Unanswered,
    /// Nothing was done, and whoever asked cannot tell.
    Lost,
    /// Nothing gets there; whoever asks knows that nobody was asked.
    NoWay,
}

impl Link {
    /// A link that loses everything is cut.
    pub(super) fn lose(&mut self, per_cent: u32) {
        self.loss = self.loss.max(per_cent.min(99));
        self.cut |= per_cent >= 100;
    }

    /// How much later a stream arrives. Of what is sent, p per cent are sent again, of that p per cent once more, and so on:
    /// p / (100 - p) times on average, and each time it waits.
    pub(super) fn behind(self) -> Millis {
        self.later + SENT_AGAIN * Millis::from(self.loss) / Millis::from(100 - self.loss)
    }
}

impl Conditions {
    /// Something sent can be answered: neither way is cut. That is also what a stream needs, be it replication, reports or the
    /// renewal of a lease: where no acknowledgement comes back, nothing more is sent.
    pub(crate) fn reach(&self, one: usize, other: usize) -> bool {
        !(self.link(one, other).cut || self.link(other, one).cut)
    }

    /// How much further apart than usual two places are, there and back.
    pub(super) fn further(&self, one: usize, other: usize) -> Millis {
        self.link(one, other).later + self.link(other, one).later
    }

    /// There and back.
    pub(super) fn round_trip(&self, one: usize, other: usize) -> Millis {
        if one == other { HERE } else { NEAR + self.further(one, other) }
    }

    /// How much later than usual a stream's sender knows that something has arrived; none = it never does.
    pub(super) fn streams(&self, one: usize, other: usize) -> Option<Millis> {
        self.reach(one, other).then(|| self.link(one, other).behind() + self.link(other, one).behind())
    }

    /// Per cent of the questions that stay without an answer.
    pub(super) fn loss(&self, one: usize, other: usize) -> u32 {
        self.link(one, other).loss.max(self.link(other, one).loss)
    }
}

impl World {
    /// A question is sent from one place to another.
    pub(super) fn exchange(&mut self, from: usize, to: usize) -> Exchange {
        let (there, back) = (self.conditions.link(from, to), self.conditions.link(to, from));
        if there.cut {
            return Exchange::NoWay;
        }
        if back.cut {
            return Exchange::Unanswered;
        }
        if !self.is_lost(from, to) {
            return Exchange::Answered;
        }
        // Which way, by what each of them loses.
        match self.chance.below(u64::from(there.loss + back.loss)) < u64::from(there.loss) {
            true => Exchange::Lost,
            false => Exchange::Unanswered,
        }
    }

    /// Whether one question between two places stays without an answer, by chance.
    pub(super) fn is_lost(&mut self, one: usize, other: usize) -> bool {
        let loss = self.conditions.loss(one, other);
        loss > 0 && self.chance.per_cent(loss)
    }
}
