//! Storms: as many random disasters as asked for, each a world of its own that its seed alone decides.
//!
//! Draws from the union of everything that can break, two and three at once included. Knows no policy and no file.

mod card;
mod disaster;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_kernel::fleet::Fleet;

use crate::decide::Decider;
use crate::simulation::{Dawn, Ended, Script, Simulation};

pub use card::{Bad, Card, Spread};

/// Which disasters.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Over which fleet.
    pub fleet: Fleet,
    /// The seed of the first; each further one has the next seed.
    pub seed: u64,
    /// How many.
    pub runs: u64,
}

/// The script of the disaster of that seed.
pub fn disaster(fleet: &Fleet, seed: u64) -> Script {
    disaster::draw(fleet, seed)
}

/// Plays the disaster of that seed, keeping its timeline.
pub fn replay(fleet: &Fleet, seed: u64, decider: &mut dyn Decider) -> Ended {
    Simulation::new(fleet, disaster(fleet, seed), seed).hurried().with_timeline().run(decider)
}

impl Storm {
    /// Plays all of them, on as many threads as there are deciders. `progress` is told how many are over. The card is the same
    /// whatever the threads do; how long it took is for the caller to add.
    pub fn play<D: Decider + Send>(&self, deciders: Vec<D>, progress: &(dyn Fn(u64) + Sync)) -> Card {
        let (next, over) = (AtomicU64::new(0), AtomicU64::new(0));
        let cards = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for mut decider in deciders {
                let (next, over, cards) = (&next, &over, &cards);
                scope.spawn(move || {
                    let mut card = Card::default();
                    let dawn = Dawn::of(&self.fleet, disaster::BEGINS, &mut decider);
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.runs {
                            break;
                        }
                        let seed = self.seed.wrapping_add(number);
                        let script = disaster(&self.fleet, seed);
                        card.add(seed, &dawn.play(script, seed, &mut decider));
                        progress(over.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                    cards.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(card);
                });
            }
        });
        let cards = cards.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut whole = cards.into_iter().fold(Card::default(), Card::with);
        whole.close(self.seed);
        whole
    }
}
