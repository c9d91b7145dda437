//! Lengths of time as operators write them: "800ms", "30s", "5m", "2h", "1d", "1h30m".
//!
//! Knows no key of the fleet file.

use crate::contract::Millis;

const UNITS: [(&str, Millis); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// None if it is not one, or too long to count.
pub fn parse_duration(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut total: Millis = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<Millis>().ok()?.checked_mul(*millis)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// The shortest way to write it: "90s", "5m", "1500ms".
pub fn write_duration(length: Millis) -> String {
    let divides = |(_, millis): &&(&str, Millis)| length >= *millis && length.is_multiple_of(*millis);
    let (unit, millis) = UNITS.iter().rev().find(divides).unwrap_or(&UNITS[1]);
    format!("{}{unit}", length / millis)
}

/// "02:30" in milliseconds since midnight; "24:00" is the day's end.
pub(super) fn parse_time_of_day(text: &str) -> Option<Millis> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |part: &str| (part.len() == 2).then(|| part.parse::<Millis>().ok()).flatten();
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let valid = minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0));
    valid.then_some(hours * 3_600_000 + minutes * 60_000)
}
