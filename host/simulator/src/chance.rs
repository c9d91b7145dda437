//! Chance from a seed: the same seed gives the same world, on every machine.

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A stream of numbers that only the seed decides.
#[derive(Clone, Debug)]
pub struct Chance(Pcg64Mcg);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Chance(Pcg64Mcg::seed_from_u64(seed))
    }

    /// From 0 to `below`, without `below`; 0 if that is 0.
    pub fn below(&mut self, below: u64) -> u64 {
        // The highest bits of the product: every value is as likely as any other, to one part in 2^64 / below.
        ((u128::from(self.0.next_u64()) * u128::from(below)) >> 64) as u64
    }

    /// From `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to.saturating_sub(from) + 1)
    }

    /// Yes in so many of a hundred cases.
    pub fn per_cent(&mut self, per_cent: u32) -> bool {
        self.below(100) < u64::from(per_cent)
    }

    /// One of them; none of none.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len() as u64) as usize)
    }
}
