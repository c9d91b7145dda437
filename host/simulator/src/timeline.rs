//! A run's timeline: what the world did and what the host wrote down, each with its time. The same run gives the same bytes.

use tidegate_kernel::contract::Millis;
use tidegate_kernel::record::Record;
use tidegate_kernel::view::timeline;

/// A line of the world's.
pub(crate) fn line(at: Millis, text: &str) -> String {
    format!("{}     {text}", clock(at))
}

/// The lines of one record.
pub(crate) fn lines(at: Millis, record: &Record) -> impl Iterator<Item = String> {
    timeline::lines(record).map(move |line| format!("{} {line}", clock(at)))
}

/// "00:12.500", and hours where there are any.
pub(crate) fn clock(at: Millis) -> String {
    let (hours, minutes) = (at / 3_600_000, at / 60_000 % 60);
    let rest = format!("{minutes:02}:{:02}.{:03}", at / 1_000 % 60, at % 1_000);
    if hours > 0 { format!("{hours}:{rest}") } else { rest }
}
