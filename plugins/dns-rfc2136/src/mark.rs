//! The mark beside a name that Tidegate has written: one TXT record at `_tidegate.<name>`.
//!
//! Its form is `v=tidegate1 epoch=12 write=3`. `epoch` is that of the run that wrote; `write` counts its writes of this name, so
//! that two marks are equal only if nothing was written between them. Further words may come; readers skip what they do
//! not know. Pure: does not know records or servers.

use std::fmt;

/// What tells a mark from any other text.
const VERSION: &str = "v=tidegate1";

/// Who wrote a name last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Of the run that wrote.
    pub epoch: u64,
    /// Counts that run's writes of the name, from 1.
    pub write: u64,
}

impl Mark {
    /// Reads a mark; none for a text that is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        if words.next() != Some(VERSION) {
            return None;
        }
        let (mut epoch, mut write) = (None, None);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "epoch" => epoch = Some(value.parse().ok()?),
                "write" => write = Some(value.parse().ok()?),
                _ => {}
            }
        }
        Some(Self { epoch: epoch?, write: write? })
    }

    /// The mark of the next write by `epoch`, after this one if there is one.
    pub fn next(before: Option<Self>, epoch: u64) -> Self {
        match before {
            Some(mark) if mark.epoch == epoch => Self { epoch, write: mark.write + 1 },
            _ => Self { epoch, write: 1 },
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION} epoch={} write={}", self.epoch, self.write)
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;

    #[test]
    fn reads_what_it_writes_and_skips_what_it_does_not_know() {
        let mark = Mark { epoch: 12, write: 3 };
        for text in [mark.to_string().as_str(), "v=tidegate1 write=3 by=someone epoch=12 later"] {
            assert_eq!(Mark::parse(text), Some(mark), "{text}");
        }
    }

    #[test]
    fn takes_no_other_text_for_a_mark() {
        for text in ["", "v=spf1 -all", "v=tidegate2 epoch=1 write=1", "v=tidegate1", "v=tidegate1 epoch=x write=1"] {
            assert_eq!(Mark::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_two_writes_have_the_same_mark() {
        let first = Mark::next(None, 7);
        let second = Mark::next(Some(first), 7);
        let third = Mark::next(Some(second), 8);
        assert_eq!([first.write, second.write, third.write], [1, 2, 1]);
        assert!(first != second && second != third);
    }
}
