//! A length of time as an operator writes it: "250ms", "10s", "5m", "2h", "1d", "1h30m", as in the fleet file.
//!
//! Only for settings and targets; the contract itself counts milliseconds.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// A length of time in settings, in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(u64);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Period {
    /// That many milliseconds.
    pub const fn milliseconds(count: u64) -> Self {
        Period(count)
    }

    /// That many seconds.
    pub const fn seconds(count: u64) -> Self {
        Period(count * 1_000)
    }

    /// That many minutes.
    pub const fn minutes(count: u64) -> Self {
        Period(count * 60_000)
    }

    /// The length in milliseconds, the contract's unit.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let (mut rest, mut total) = (text, 0_u64);
        while !rest.is_empty() {
            let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
            let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
            let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
            total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*factor)?)?;
            rest = after;
        }
        (!text.is_empty()).then_some(Period(total))
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        Duration::from_millis(period.0)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |&&(_, factor): &&(&str, u64)| self.0 >= factor && self.0.is_multiple_of(factor);
        let largest = UNITS.iter().filter(fits).max_by_key(|(_, factor)| *factor);
        let (unit, factor) = largest.copied().unwrap_or(("ms", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Period::parse(&text).ok_or_else(|| {
            Error::custom(format!("{text:?} is not a length of time; write a number and its unit: \"500ms\", \"10s\", \"5m\", \"2h\", \"1d\""))
        })
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$", "examples": ["500ms", "10s", "5m"] })
    }
}

impl serde::Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Period;

    #[test]
    fn reads_each_unit() {
        let cases = [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("1h30m", 5_400_000),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(Period::parse(text), Some(Period::milliseconds(milliseconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_no_number() {
        for text in ["", "10", "s", "-1s", "1.5s", "10 s", "10w", "99999999999999999999d"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    #[test]
    fn prints_the_largest_whole_unit() {
        for text in ["0ms", "250ms", "90s", "5m", "2h", "1d"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
    }
}
