//! Words that several reasons use.
//!
//! Knows no rule.

use tidegate_sdk::{Consensus, SiteView, Status};

/// A length of time for people: "800 ms", "45 s", "8 min", "3 h"; rounded up, so that a wait is never said too short.
pub fn span(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..120_000 => format!("{} s", milliseconds.div_ceil(1_000)),
        120_000..7_200_000 => format!("{} min", milliseconds.div_ceil(60_000)),
        _ => format!("{} h", milliseconds.div_ceil(3_600_000)),
    }
}

/// A loss as people count it: 1 s, 2 s, 5 s, 10 s … So an estimate that grows a little stays the same words.
pub fn round_up(milliseconds: u64) -> u64 {
    const STEPS: [u64; 18] =
        [0, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 18_000, 43_200, 86_400];
    const DAY: u64 = 86_400_000;
    let step = STEPS.iter().map(|seconds| seconds * 1_000).find(|step| *step >= milliseconds);
    step.unwrap_or_else(|| milliseconds.div_ceil(DAY).saturating_mul(DAY))
}

/// "2 of 3".
pub fn votes(consensus: &Consensus) -> String {
    format!("{} of {}", consensus.agreeing, consensus.expected)
}

/// The contract's word for a status.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Healthy => "healthy",
        Status::Degraded => "degraded",
        Status::Unhealthy => "unhealthy",
        Status::Unknown => "unknown",
    }
}

/// The number that a site's fact of that key is, if it has one.
pub fn number(site: &SiteView, key: &str) -> Option<u32> {
    site.facts.iter().find(|fact| fact.key == key)?.value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{round_up, span};

    #[test]
    fn rounds_a_loss_up_and_never_down() {
        let cases = [(0, 0), (1, 1_000), (2_000, 2_000), (2_001, 5_000), (86_400_001, 172_800_000)];
        for (milliseconds, rounded) in cases {
            assert_eq!(round_up(milliseconds), rounded, "{milliseconds}");
        }
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }

    #[test]
    fn says_a_wait_never_too_short() {
        let cases = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_001, "2 s"),
            (119_500, "120 s"),
            (120_001, "3 min"),
            (7_200_000, "2 h"),
            (86_400_000, "24 h"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(span(milliseconds), text);
        }
    }
}
