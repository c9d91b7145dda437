//! How long to wait before the next try: longer each time, and not all agents at once.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
/// A host that is back should hear of its agents within a second or two.
const LONGEST: Duration = Duration::from_secs(2);

/// Waits between tries.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The last try worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After a failed try.
    pub(super) async fn wait(&mut self) {
        tokio::time::sleep(delay(self.failures, crate::agents::draw())).await;
        self.failures = self.failures.saturating_add(1);
    }
}

/// Twice as long with each failure, and from half of that to all of it.
fn delay(failures: u32, random: u64) -> Duration {
    let whole = LONGEST.min(SHORTEST * 2_u32.pow(failures.min(10)));
    whole / 2 + whole.mul_f64((random % 1_024) as f64 / 2_048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_limit_and_never_vanishes() {
        for (failures, shortest, longest) in
            [(0, 50, 100), (1, 100, 200), (3, 400, 800), (5, 1_000, 2_000), (u32::MAX, 1_000, 2_000)]
        {
            for random in [0, 511, 1_023, u64::MAX] {
                let millis = delay(failures, random).as_millis();
                assert!((shortest..=longest).contains(&millis), "{failures} failures: {millis} ms");
            }
        }
    }
}
