//! What a plugin may use up, per slot: safe defaults, each settable in the fleet file.
//!
//! Does not know how a limit is enforced. One thing is not here because it cannot be per slot: the stack of a guest
//! is bounded per engine (`EngineConfig::stack`), the same for every policy and the same for every provider.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time as people write it: "50ms", "2s", "5m", "1h".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes as people write it: "64KiB", "4MiB", "1GiB", "500".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $policy:expr, $provider:expr;)*) => {
        /// What one slot's plugin may use up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub struct Limits { $($(#[$doc])* pub $name: $type,)* }

        /// What the fleet file says of them; what it leaves out keeps its default.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
        pub struct LimitSettings { $($(#[$doc])* pub $name: Option<$type>,)* }

        impl Limits {
            /// The defaults of a policy slot.
            pub const fn policy() -> Self { Limits { $($name: $policy,)* } }

            /// The defaults of a provider slot.
            pub const fn provider() -> Self { Limits { $($name: $provider,)* } }

            /// These, where `settings` does not say otherwise.
            pub fn with(self, settings: &LimitSettings) -> Self {
                Limits { $($name: settings.$name.unwrap_or(self.$name),)* }
            }
        }

        impl LimitSettings {
            /// These, and what they leave out as `others` have it.
            pub fn or(self, others: &LimitSettings) -> Self {
                LimitSettings { $($name: self.$name.or(others.$name),)* }
            }
        }
    };
}

const fn ms(ms: u64) -> Span {
    Span(Duration::from_millis(ms))
}

const fn kib(kib: u64) -> Size {
    Size(kib << 10)
}

limits! {
    /// Units of work of one policy call, counted exactly: the same request always uses the same. Providers have `cpu`.
    fuel: u64 = 20_000_000, 0;
    /// The longest that one call may take, whatever it does; a change has the timeout that its runbook gives it instead.
    wall_clock: Span = ms(1_000), ms(10_000);
    /// The longest that a provider may compute without calling the host.
    cpu: Span = ms(250), ms(1_000);
    /// All linear memories of an instance together.
    memory: Size = kib(4 << 10), kib(32 << 10);
    /// Core instances in one component instance.
    instances: u32 = 64, 64;
    /// Linear memories in one instance; a policy cannot have more than these.
    memories: u32 = 15, 16;
    /// Tables in one instance; a policy cannot have more than these.
    tables: u32 = 15, 32;
    /// Entries in one table.
    table_elements: u32 = 10_000, 20_000;
    /// What one call may return, all strings and lists together.
    output: Size = kib(256), kib(4 << 10);
    /// Bytes that the guest may hand to the host in one host call.
    transfer: Size = kib(256), kib(4 << 10);
    /// Host calls in one call of the plugin.
    host_calls: u32 = 10_000, 1_000_000;
    /// Text that one call may log, standard output and error included; the rest is cut off and counted.
    log: Size = kib(64), kib(64);
    /// Host resources (streams, sockets, files) that an instance may hold at once.
    resources: u32 = 256, 1_024;
    /// An HTTP response's body.
    http_body: Size = kib(4 << 10), kib(16 << 10);
    /// Provider instances alive at once.
    pool: u32 = 1, 256;
    /// Of these, how many may work for the same key (target site) at once.
    bulkhead: u32 = 1, 192;
    /// Traps within a minute after which a provider is quarantined.
    restarts: u32 = 1, 5;
}

const SPANS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl Span {
    /// In milliseconds, as the contract counts.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let factor = SPANS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let millis = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
        millis
            .map(|ms| Span(Duration::from_millis(ms)))
            .ok_or_else(|| format!("“{text}” is no duration; write \"50ms\", \"2s\", \"5m\" or \"1h\""))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text);
        let unit = if unit.is_empty() { "B" } else { unit };
        let factor = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let bytes = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(factor));
        bytes.map(Size).ok_or_else(|| format!("“{text}” is no size; write \"64KiB\", \"4MiB\" or a number of bytes"))
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.as_millis(), &SPANS)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1 << 10) && self.0 > 0 {
            show(f, self.0, &SIZES[..3])
        } else {
            write!(f, "{}B", self.0)
        }
    }
}

/// In the largest unit that shows the number exactly.
fn show(f: &mut fmt::Formatter<'_>, number: u64, units: &[(&str, u64)]) -> fmt::Result {
    let (name, factor) = units.iter().rev().find(|(_, factor)| number.is_multiple_of(*factor)).unwrap_or(&units[0]);
    write!(f, "{}{name}", number / factor)
}

macro_rules! as_text {
    ($($type:ident, $number:expr;)*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Written { Text(String), Number(u64) }
                match Written::deserialize(deserializer)? {
                    Written::Text(text) => text.parse().map_err(D::Error::custom),
                    Written::Number(number) => $number(number).map_err(D::Error::custom),
                }
            }
        }
    )*};
}

as_text! {
    Span, |number| Err::<Span, _>(format!("{number} has no unit; write \"{number}ms\" or \"{number}s\""));
    Size, |number| Ok::<_, String>(Size(number));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_people_write_them_and_print_back() {
        for text in ["50ms", "2s", "5m", "1h", "1500ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for (text, bytes) in [("64KiB", 64 << 10), ("4 MiB", 4 << 20), ("1GB", 1_000_000_000), ("500", 500)] {
            assert_eq!(text.parse::<Size>().unwrap(), Size(bytes), "{text}");
        }
        assert_eq!(Size(4 << 20).to_string(), "4MiB");
        for nonsense in ["", "ms", "5 parsecs", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(nonsense.parse::<Span>().is_err(), "{nonsense}");
            assert!(nonsense.parse::<Size>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn settings_replace_only_what_they_name_and_refuse_unknown_keys() {
        let settings: LimitSettings =
            serde_json::from_str(r#"{"memory": "8MiB", "wall-clock": "1s", "fuel": 7}"#).unwrap();
        let limits = Limits::policy().with(&settings);
        assert_eq!((limits.memory, limits.wall_clock, limits.fuel), (Size(8 << 20), ms(1_000), 7));
        assert_eq!(limits.host_calls, Limits::policy().host_calls);
        let others = LimitSettings { fuel: Some(8), host_calls: Some(9), ..LimitSettings::default() };
        let both = settings.or(&others);
        assert_eq!((both.memory, both.fuel, both.host_calls), (Some(Size(8 << 20)), Some(7), Some(9)));
        assert!(serde_json::from_str::<LimitSettings>(r#"{"memmory": "8MiB"}"#).is_err());
        assert!(
            serde_json::from_str::<LimitSettings>(r#"{"wall-clock": 50}"#).unwrap_err().to_string().contains("no unit")
        );
    }
}
