//! What the policy has itself told again: how often it has looked at something in doubt, and when it last tried a repair.
//!
//! One line for each thing. A line that is not of this form counts as nothing remembered.

/// In the manifest; a revision with another one starts afresh.
pub const FORMAT: &str = "failover-quorum/2";

/// The longest pause between two tries of the same repair (ms).
const PAUSE_MAX: u64 = 300_000;
/// A repair that helped is remembered for this long after its last try (ms): what breaks again soon was not repaired.
const FORGET: u64 = 1_800_000;
/// After the first try; doubled with each further one (ms).
const PAUSE: u64 = 2_000;

/// How often that was looked at again, as of the last decision.
pub fn looks(memo: &str, about: &str) -> u32 {
    find(memo, about).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Remembers it.
pub fn remember(looks: u32, about: &str) -> String {
    format!("{looks} {about}")
}

/// Something that was done before, and may have to be done again.
#[derive(Debug, PartialEq)]
pub struct Tried {
    /// To be remembered in either case.
    pub line: String,
    /// How long to wait before the next try (ms); 0 = try now.
    pub wait: u64,
}

/// Whether it is time to try that (again). The clock is the wall's: where it jumps, a try comes early or late, and no harm is done.
pub fn tried(memo: &str, about: &str, now: u64) -> Tried {
    let (tries, last) = find(memo, about).and_then(read).unwrap_or((0, 0));
    let pause = if tries == 0 { 0 } else { (PAUSE << (tries - 1).min(8)).min(PAUSE_MAX) };
    match now.checked_sub(last).map_or(0, |since| pause.saturating_sub(since)) {
        0 => Tried { line: format!("{}@{now} {about}", tries.saturating_add(1)), wait: 0 },
        wait => Tried { line: format!("{tries}@{last} {about}"), wait },
    }
}

/// The lines of repairs that were tried lately, whatever has become of what they were for; without that of `about`.
pub fn lately<'a>(memo: &'a str, about: &str, now: u64) -> impl Iterator<Item = &'a str> {
    let is_late = move |line: &&'a str| {
        let Some((number, subject)) = line.split_once(' ') else { return false };
        let repair = ["fence ", "rejoin "].iter().any(|verb| subject.starts_with(verb));
        repair && subject != about && read(number).is_some_and(|(_, last)| now.saturating_sub(last) < FORGET)
    };
    memo.lines().filter(is_late)
}

/// How often that was seen, counting what is at least so far apart; and the line to remember.
pub fn seen(memo: &str, about: &str, now: u64, apart: u64) -> (u32, String) {
    let (times, last) = find(memo, about).and_then(read).unwrap_or((0, 0));
    let again = times == 0 || now.checked_sub(last).is_none_or(|since| since >= apart);
    let (times, last) = if again { (times.saturating_add(1), now) } else { (times, last) };
    (times, format!("{times}@{last} {about}"))
}

/// Both, as one memo.
pub fn join(memo: &str, line: &str) -> String {
    if memo.is_empty() { line.to_owned() } else { format!("{memo}\n{line}") }
}

fn find<'a>(memo: &'a str, about: &str) -> Option<&'a str> {
    let words = |line: &'a str| line.split_once(' ').filter(|(_, subject)| *subject == about);
    memo.lines().find_map(words).map(|(number, _)| number)
}

fn read(number: &str) -> Option<(u32, u64)> {
    let (count, at) = number.split_once('@')?;
    Some((count.parse().ok()?, at.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{FORGET, join, lately, looks, remember, seen, tried};

    #[test]
    fn counts_for_one_site_only() {
        let memo = remember(2, "west");
        assert_eq!((looks(&memo, "west"), looks(&memo, "east")), (2, 0));
    }

    #[test]
    fn forgets_what_it_cannot_read() {
        for memo in ["", "west", "x west", "-1 west", "{\"looks\":1}"] {
            assert_eq!(looks(memo, "west"), 0, "{memo}");
            assert_eq!(tried(memo, "west", 5).wait, 0, "{memo}");
        }
    }

    #[test]
    fn tries_again_after_longer_and_longer_pauses() {
        let (mut memo, mut now, mut waits) = (String::new(), 1_000_000, Vec::new());
        for _ in 0..10 {
            memo = tried(&memo, "rejoin a", now).line;
            let waiting = tried(&memo, "rejoin a", now);
            assert_eq!(waiting.line, memo, "waiting changes nothing");
            waits.push(waiting.wait);
            now += waiting.wait;
        }
        assert_eq!(waits, [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000]);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_repairs() {
        let memo = tried("", "rejoin a", 1_000_000).line;
        assert_eq!(tried(&memo, "rejoin a", 5).wait, 0);
    }

    #[test]
    fn a_repair_is_remembered_until_what_it_was_for_has_lasted() {
        let memo = join(&join(&tried("", "rejoin a", 1_000_000).line, &remember(2, "west")), "1@999000 fence b");
        let kept = |now| lately(&memo, "fence b", now).collect::<Vec<_>>();
        assert_eq!(kept(1_000_000 + FORGET - 1), ["1@1000000 rejoin a"]);
        assert!(kept(1_000_000 + FORGET).is_empty());
    }

    #[test]
    fn counts_what_is_far_enough_apart() {
        let mut memo = String::new();
        for (now, times) in [(1_000, 1), (1_100, 1), (1_500, 2), (9_000_000, 3), (9_000_499, 3)] {
            let (count, line) = seen(&memo, "write-failed a", now, 500);
            assert_eq!(count, times, "{now}");
            memo = line;
        }
    }

    #[test]
    fn remembers_several_things() {
        let memo = join(&tried("", "rejoin a", 7).line, &remember(2, "west"));
        assert_eq!((looks(&memo, "west"), tried(&memo, "rejoin a", 8).wait), (2, 1_999));
    }
}
