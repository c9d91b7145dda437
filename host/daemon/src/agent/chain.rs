//! Remembers how far the host's journal had come, so that changing or cutting it does not go unnoticed.
//!
//! A head that does not follow from an earlier one is never believed, and from then on told with each report.

use std::collections::VecDeque;

use crate::agents::protocol::{ChainHead, Rewritten};

/// Some minutes' worth of a busy journal.
const KEEP: usize = 1_024;

/// The heads that were shown and believed, the oldest first.
#[derive(Default)]
pub(super) struct Chain {
    heads: VecDeque<ChainHead>,
    rewritten: Option<Rewritten>,
}

impl Chain {
    /// The host shows its newest head. Once one was not believed, none is.
    pub(super) fn show(&mut self, shown: ChainHead) {
        if self.rewritten.is_some() {
            return;
        }
        match self.heads.back() {
            Some(newest) if shown == *newest => {}
            Some(newest) if shown.number <= newest.number => self.disbelieve(shown),
            _ => {
                if self.heads.len() == KEEP {
                    self.heads.pop_front();
                }
                self.heads.push_back(shown);
            }
        }
    }

    /// The newest head that was believed, and the one that was not with what it contradicts.
    pub(super) fn told(&self) -> (Option<ChainHead>, Option<Rewritten>) {
        (self.heads.back().cloned(), self.rewritten.clone())
    }

    /// Contradicts what was seen of the same number, or else goes back behind the newest.
    fn disbelieve(&mut self, shown: ChainHead) {
        let same_number = self.heads.iter().find(|head| head.number == shown.number && head.hash != shown.hash);
        let Some(seen) = same_number.or(self.heads.back()).cloned() else { return };
        tracing::error!(
            seen = seen.number,
            shown = shown.number,
            "the host shows a journal that does not follow from the one it showed before; its new head is not believed"
        );
        self.rewritten = Some(Rewritten { seen, shown });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64, hash: &str) -> ChainHead {
        ChainHead { number, hash: hash.into() }
    }

    #[test]
    fn believes_what_goes_on_and_nothing_that_goes_back() {
        let cases = [
            ("goes on", head(9, "i"), None),
            ("stays", head(7, "g"), None),
            ("the newest was changed", head(7, "x"), Some((7, 7))),
            ("an older one was changed", head(5, "x"), Some((5, 5))),
            ("was cut", head(5, "e"), Some((7, 5))),
            ("goes back to one never shown", head(6, "f"), Some((7, 6))),
        ];
        for (what, shown, expected) in cases {
            let mut chain = Chain::default();
            chain.show(head(5, "e"));
            chain.show(head(7, "g"));
            chain.show(shown);
            let found = chain.told().1.map(|rewritten| (rewritten.seen.number, rewritten.shown.number));
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn does_not_forget_that_it_was_shown_something_else() {
        let mut chain = Chain::default();
        for shown in [head(5, "e"), head(5, "x"), head(9, "i")] {
            chain.show(shown);
        }
        let (seen, rewritten) = chain.told();
        assert_eq!(seen, Some(head(5, "e")));
        assert!(rewritten.is_some());
    }
}
