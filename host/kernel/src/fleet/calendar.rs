//! Maintenance windows and the fleet's time zone: from UTC to the local weekday and time of day.
//!
//! Pure: the time comes with the question, and the zones are those built into the program, so that a decision made
//! again from the journal sees the same local time. Knows no service.

use jiff::Timestamp as Instant;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::Window;
use super::problem::Report;
use super::section::{Section, choose};
use crate::contract::{Millis, Timestamp};

const DAYS: [(&str, u8); 7] = [("mon", 0), ("tue", 1), ("wed", 2), ("thu", 3), ("fri", 4), ("sat", 5), ("sun", 6)];

/// Local weekday (0 = Monday) and milliseconds since the local midnight; UTC if there is no such zone.
pub fn local_time(time_zone: &str, wall: Timestamp) -> (u8, Millis) {
    let zone = zone(time_zone).unwrap_or(TimeZone::UTC);
    let instant =
        i64::try_from(wall).ok().and_then(|wall| Instant::from_millisecond(wall).ok()).unwrap_or(Instant::MAX);
    let local = instant.to_zoned(zone).datetime();
    let of_day = (i64::from(local.hour()) * 60 + i64::from(local.minute())) * 60 + i64::from(local.second());
    let millis = of_day * 1_000 + i64::from(local.millisecond());
    (local.weekday().to_monday_zero_offset().unsigned_abs(), millis.unsigned_abs())
}

/// Whether one of the windows is open. It opens at `from` and has closed at `to`; one whose `to` is before its `from`
/// closes on the next day.
pub fn in_maintenance(windows: &[Window], weekday: u8, time: Millis) -> bool {
    let yesterday = (weekday + 6) % 7;
    windows.iter().any(|window| {
        let (from, to) = (*window.hours.start(), *window.hours.end());
        let opens = |day| window.days.contains(&day);
        if from < to {
            opens(weekday) && (from..to).contains(&time)
        } else {
            (opens(weekday) && time >= from) || (opens(yesterday) && time < to)
        }
    })
}

pub(super) fn is_time_zone(name: &str) -> bool {
    zone(name).is_some()
}

fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "UTC" => Some(TimeZone::UTC),
        name => TimeZoneDatabase::bundled().get(name).ok(),
    }
}

/// `{ days = ["sat"], from = "02:00", to = "04:00" }`; every day if it names none.
pub(super) fn window(mut section: Section<'_>) -> Window {
    let days = section.words("days").map_or((0..7).collect(), |words| {
        words.iter().filter_map(|word| choose(section.report, "days", word, &DAYS)).collect()
    });
    let mut time = |key| {
        let word = section.needed_word(key, "write a time of day: \"02:00\"")?;
        let time = super::duration::parse_time_of_day(&word.text);
        if time.is_none() {
            tell_no_time(section.report, key, &word);
        }
        time
    };
    let hours = (time("from").unwrap_or(0), time("to").unwrap_or(1));
    if hours.0 == hours.1 {
        let todo = "write \"00:00\" to \"24:00\" for a whole day";
        section.report.error(section.at, "a maintenance window ends as it begins", todo);
    }
    section.finish();
    Window { days, hours: hours.0..=hours.1 }
}

fn tell_no_time(report: &Report, key: &str, word: &super::section::Word) {
    report.error(
        word.at,
        format!("`{key}` is no time of day: \"{}\"", word.text),
        "write hours and minutes: \"02:00\"",
    );
}
