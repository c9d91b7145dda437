//! Times and lengths of time as an operator reads them: in their own zone, and in UTC.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use tidegate_kernel::contract::{self, Millis};

use crate::cli::failed::Failed;

/// The operator's zone, and what time it is.
#[derive(Clone, Debug)]
pub struct Times {
    zone: TimeZone,
    now: contract::Timestamp,
}

impl Times {
    /// As this machine has it.
    pub fn of_this_machine() -> Self {
        Times::new(TimeZone::system(), Timestamp::now().as_millisecond().unsigned_abs())
    }

    /// In `zone`, at `now`.
    pub fn new(zone: TimeZone, now: contract::Timestamp) -> Self {
        Times { zone, now }
    }

    /// What time it is.
    pub fn now(&self) -> contract::Timestamp {
        self.now
    }

    /// The same zone, at `now`.
    pub fn moved_to(&self, now: contract::Timestamp) -> Self {
        Times { now, ..self.clone() }
    }

    /// `2026-11-20 23:14:05 CET (22:14:05 UTC)`.
    pub fn show(&self, at: contract::Timestamp) -> String {
        let (local, utc) = (self.local(at), self.utc(at));
        match local.offset() == utc.offset() {
            true => utc.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            false if local.date() == utc.date() => {
                format!("{} ({})", local.strftime("%Y-%m-%d %H:%M:%S %Z"), utc.strftime("%H:%M:%S UTC"))
            }
            false => format!("{} ({})", local.strftime("%Y-%m-%d %H:%M:%S %Z"), utc.strftime("%Y-%m-%d %H:%M:%S UTC")),
        }
    }

    /// `23:14:05.250`, in the operator's zone: for lists whose heading says the day and the zone.
    pub fn clock(&self, at: contract::Timestamp) -> String {
        self.local(at).strftime("%H:%M:%S%.3f").to_string()
    }

    /// `2026-11-20 CET`: what [`Times::clock`] leaves out.
    pub fn day(&self, at: contract::Timestamp) -> String {
        self.local(at).strftime("%Y-%m-%d %Z").to_string()
    }

    /// `4 min ago`, or `in 4 min`.
    pub fn distance(&self, at: contract::Timestamp) -> String {
        match at.checked_sub(self.now) {
            None => format!("{} ago", length(self.now - at)),
            Some(0) => "now".to_owned(),
            Some(ahead) => format!("in {}", length(ahead)),
        }
    }

    /// Reads what an operator types: RFC 3339, or a date and time of their own zone.
    pub fn parse(&self, text: &str) -> Result<contract::Timestamp, Failed> {
        let local = || text.parse::<jiff::civil::DateTime>().ok().and_then(|at| at.to_zoned(self.zone.clone()).ok());
        let at = text.parse::<Timestamp>().ok().or_else(|| local().map(|zoned| zoned.timestamp()));
        let ms = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        ms.ok_or_else(|| {
            Failed::usage(format!("{text:?} is no time"))
                .next("write it like 2026-11-20T22:14:05Z, or 2026-11-20T23:14:05 for your own time zone")
        })
    }

    fn local(&self, at: contract::Timestamp) -> Zoned {
        timestamp(at).to_zoned(self.zone.clone())
    }

    fn utc(&self, at: contract::Timestamp) -> Zoned {
        timestamp(at).to_zoned(TimeZone::UTC)
    }
}

/// `250 ms`, `1.5 s`, `4 min`, `1 h 5 min`, `3 d 2 h`.
pub fn length(ms: Millis) -> String {
    let two = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big} {big_unit}"),
        small => format!("{big} {big_unit} {small} {small_unit}"),
    };
    let (s, min, h) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 if ms % 1_000 >= 100 => format!("{s}.{} s", ms % 1_000 / 100),
        1_000..60_000 => format!("{s} s"),
        60_000..3_600_000 => two(min, "min", s % 60, "s"),
        3_600_000..86_400_000 => two(h, "h", min % 60, "min"),
        _ => two(h / 24, "d", h % 24, "h"),
    }
}

fn timestamp(at: contract::Timestamp) -> Timestamp {
    i64::try_from(at).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Times, length};
    use jiff::tz::{Offset, TimeZone};

    /// 2026-11-20 22:14:05.250 UTC.
    const AT: u64 = 1_795_212_845_250;

    fn times(hours: i8) -> Times {
        Times::new(TimeZone::fixed(Offset::constant(hours)), AT)
    }

    #[test]
    fn shows_the_operators_zone_and_utc() {
        assert_eq!(times(1).show(AT), "2026-11-20 23:14:05 +01 (22:14:05 UTC)");
        assert_eq!(times(2).show(AT), "2026-11-21 00:14:05 +02 (2026-11-20 22:14:05 UTC)");
        assert_eq!(times(0).show(AT), "2026-11-20 22:14:05 UTC");
        assert_eq!(times(1).clock(AT), "23:14:05.250");
    }

    #[test]
    fn reads_what_it_shows_and_what_rfc_3339_says() {
        for text in ["2026-11-20T22:14:05.25Z", "2026-11-20T23:14:05.25+01:00", "2026-11-20 23:14:05.25"] {
            assert_eq!(times(1).parse(text).unwrap(), AT, "{text}");
        }
        assert!(times(1).parse("yesterday").is_err());
    }

    #[test]
    fn lengths_are_short_and_true() {
        let table = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (1_550, "1.5 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (61_000, "1 min 1 s"),
            (3_600_000, "1 h"),
            (3_900_000, "1 h 5 min"),
            (86_400_000, "1 d"),
            (266_400_000, "3 d 2 h"),
        ];
        for (ms, text) in table {
            assert_eq!(length(ms), text);
        }
    }

    #[test]
    fn distances_go_both_ways() {
        assert_eq!(times(0).distance(AT - 60_000), "1 min ago");
        assert_eq!(times(0).distance(AT + 60_000), "in 1 min");
        assert_eq!(times(0).distance(AT), "now");
    }
}
