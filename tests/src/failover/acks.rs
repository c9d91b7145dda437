//! What a client was told is safe: when, by which node, and by which writer; and what can be said of it afterwards.
//!
//! Pure; knows no database.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// One acknowledged row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// When the client had it.
    pub at: Instant,
    /// Position of the node that gave it.
    pub node: usize,
    /// Who wrote the row.
    pub writer: usize,
    /// The row's number.
    pub row: i64,
}

/// The longest time that a writer went without an acknowledgement, from `since` on.
pub fn outage(acks: &[Ack], writer: usize, since: Instant) -> Duration {
    let of_writer: Vec<Instant> = acks.iter().filter(|ack| ack.writer == writer).map(|ack| ack.at).collect();
    let gaps = of_writer.windows(2).filter(|pair| pair[1] >= since);
    gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// How long two nodes acknowledged: from the first word of the one that took over to the last of another.
pub fn split_brain(acks: &[Ack]) -> Duration {
    let mut longest = Duration::ZERO;
    let nodes: BTreeSet<usize> = acks.iter().map(|ack| ack.node).collect();
    for later in &nodes {
        let Some(first) = acks.iter().filter(|ack| ack.node == *later).map(|ack| ack.at).min() else { continue };
        // Only a node that acknowledged before the other took over is one that should have stopped.
        let before = |node: &usize| acks.iter().any(|ack| ack.node == *node && ack.at < first);
        for earlier in nodes.iter().filter(|node| *node != later).filter(|node| before(node)) {
            let takes_back = acks.iter().filter(|ack| ack.node == *later && ack.at >= first).map(|ack| ack.at).max();
            let overlap = acks.iter().filter(|ack| ack.node == *earlier && ack.at > first);
            let last = overlap.map(|ack| ack.at).filter(|at| takes_back.is_some_and(|end| *at <= end)).max();
            longest = longest.max(last.map_or(Duration::ZERO, |last| last - first));
        }
    }
    longest
}

/// Acknowledged rows that are not among those that were found in the end: how many, and from the first to the last of them.
pub fn lost(acks: &[Ack], found: &BTreeSet<(usize, i64)>) -> (usize, Duration) {
    let gone = acks.iter().filter(|ack| !found.contains(&(ack.writer, ack.row)));
    let mut times: Vec<Instant> = gone.map(|ack| ack.at).collect();
    times.sort_unstable();
    let span = times.first().zip(times.last()).map(|(first, last)| *last - *first);
    (times.len(), span.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acks(start: Instant, told: &[(u64, usize, usize)]) -> Vec<Ack> {
        let ack = |(row, (ms, node, writer)): (usize, &(u64, usize, usize))| Ack {
            at: start + Duration::from_millis(*ms),
            node: *node,
            writer: *writer,
            row: row as i64,
        };
        told.iter().enumerate().map(ack).collect()
    }

    #[test]
    fn the_outage_is_the_longest_silence_of_one_writer() {
        let start = Instant::now();
        let told = acks(start, &[(0, 0, 0), (10, 0, 0), (700, 1, 1), (900, 1, 0), (910, 1, 0)]);
        assert_eq!(outage(&told, 0, start), Duration::from_millis(890));
        assert_eq!(outage(&told, 0, start + Duration::from_millis(905)), Duration::from_millis(10));
    }

    #[test]
    fn a_node_that_goes_on_after_another_took_over_is_split_brain() {
        let start = Instant::now();
        let clean = acks(start, &[(0, 0, 0), (10, 0, 0), (500, 1, 0), (600, 1, 0)]);
        assert_eq!(split_brain(&clean), Duration::ZERO);
        let torn = acks(start, &[(0, 0, 0), (500, 1, 0), (530, 0, 1), (600, 1, 0)]);
        assert_eq!(split_brain(&torn), Duration::from_millis(30));
    }

    #[test]
    fn what_was_acknowledged_and_is_not_found_is_lost() {
        let told = acks(Instant::now(), &[(0, 0, 0), (10, 0, 0), (30, 0, 0)]);
        assert_eq!(lost(&told, &BTreeSet::from([(0, 0)])), (2, Duration::from_millis(20)));
    }
}
