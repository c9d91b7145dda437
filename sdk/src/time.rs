//! Days, in which policies of what is kept for long think; the contract itself counts milliseconds.

use crate::contract::Timestamp;

/// A day in the contract's unit.
pub const DAY: u64 = 86_400_000;

/// The moment at which the requests of the builders are asked: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = 1_767_225_600_000;

/// For tests: that long before the moment at which a builder's request is asked.
pub const fn days_ago(days: u64) -> Timestamp {
    NOW.saturating_sub(days.saturating_mul(DAY))
}

/// Whole days from one moment to another; none where the first is the later one, as clocks may have it.
pub const fn days_between(from: Timestamp, to: Timestamp) -> u64 {
    to.saturating_sub(from) / DAY
}

#[cfg(test)]
mod tests {
    use super::{NOW, days_ago, days_between};

    #[test]
    fn what_is_yet_to_come_is_no_day_old() {
        assert_eq!(days_between(days_ago(40), NOW), 40);
        assert_eq!(days_between(days_ago(40) + 1, NOW), 39);
        assert_eq!((days_between(NOW, days_ago(1)), days_ago(u64::MAX)), (0, 0));
    }
}
