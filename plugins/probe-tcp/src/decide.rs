//! What a look at a TCP port means: the outcome, and the words for people.
//!
//! Pure: knows neither sockets nor clocks.

use std::time::Duration;

use tidegate_sdk::{Failure, Finding, Outcome, Period, Problem, schemars, serde};

/// How much of an answer is looked at.
pub const BANNER_BYTES_MAX: usize = 16 * 1024;

/// For all targets.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// An answer later than this is `slow`, unless the target says otherwise.
    pub slow_after: Option<Period>,
}

impl tidegate_sdk::Settings for Settings {}

/// One port.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// `host:port`, `192.0.2.1:5432` or `[2001:db8::1]:5432`.
    pub address: String,
    /// Sent after connecting.
    pub send: Option<String>,
    /// Must be in the answer.
    pub expect: Option<String>,
    /// An answer later than this is `slow`.
    pub slow_after: Option<Period>,
    /// Where it is to be shorter than the host's.
    pub timeout: Option<Period>,
}

impl tidegate_sdk::Settings for Target {
    fn check(&self) -> Vec<Problem> {
        let port = self.address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        match port {
            Some((host, 1..)) if !host.is_empty() => Vec::new(),
            _ => vec![Problem::new("/address", format!("{:?} is not host:port", self.address))],
        }
    }
}

/// What the look has seen.
#[derive(Debug, PartialEq)]
pub enum Seen {
    /// The port took the connection, and no more was asked.
    Connected,
    /// The other side said this, and ended or was heard to the end.
    Answered(Vec<u8>),
    /// Connected, and then not the expected answer in time.
    Silent,
    /// Connected, and then broken off.
    Broken(String),
    /// The machine answers, nothing listens.
    Refused,
    /// No connection in time.
    TimedOut,
    /// The network has no way there.
    Unreachable(String),
    /// The name means nothing here.
    Unresolved(String),
    /// Not granted.
    Denied(String),
}

/// The finding: a vote. What says nothing of the target is a failure: no vote.
pub fn judge(settings: &Settings, target: &Target, seen: Seen, took: Duration) -> Result<Finding, Failure> {
    let address = &target.address;
    let (outcome, detail) = match seen {
        Seen::Connected => (in_time(settings, target, took), String::new()),
        Seen::Answered(heard) => answered(settings, target, &heard, took),
        Seen::Silent => {
            (Outcome::Partial, format!("{address} took the connection and did not answer as expected in time"))
        }
        Seen::Broken(error) => (Outcome::Partial, format!("{address} broke off: {error}")),
        Seen::Refused => (Outcome::Refused, format!("{address} refused the connection")),
        Seen::TimedOut => (Outcome::TimedOut, format!("{address} did not answer in {} ms", took.as_millis())),
        Seen::Unreachable(error) => (Outcome::TimedOut, format!("not reachable: {error}")),
        Seen::Unresolved(error) => (Outcome::Error, format!("{address} cannot be looked up: {error}")),
        Seen::Denied(error) => return Err(Failure::Denied(format!("{address}: {error}"))),
    };
    let latency = matches!(outcome, Outcome::Ok | Outcome::Slow).then(|| took.as_millis() as u64);
    Ok(Finding { outcome, latency, detail })
}

/// Whether the expected text was said.
pub fn contains(heard: &[u8], expected: &str) -> bool {
    expected.is_empty() || heard.windows(expected.len()).any(|part| part == expected.as_bytes())
}

fn answered(settings: &Settings, target: &Target, heard: &[u8], took: Duration) -> (Outcome, String) {
    let expected = target.expect.as_deref().unwrap_or_default();
    if contains(heard, expected) {
        return (in_time(settings, target, took), String::new());
    }
    let start: String = String::from_utf8_lossy(heard).chars().take(80).collect();
    (Outcome::Partial, format!("{} said {start:?}, not {expected:?}", target.address))
}

fn in_time(settings: &Settings, target: &Target, took: Duration) -> Outcome {
    match target.slow_after.or(settings.slow_after) {
        Some(limit) if took > limit.into() => Outcome::Slow,
        _ => Outcome::Ok,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_sdk::{Failure, Outcome, Period, parse};

    use super::{Seen, Settings, Target, contains, judge};

    fn target() -> Target {
        Target {
            address: "db:5432".to_owned(),
            expect: Some("220 ".to_owned()),
            slow_after: Some(Period::milliseconds(100)),
            ..Target::default()
        }
    }

    #[test]
    fn each_thing_seen_is_one_outcome() {
        let cases = [
            (Seen::Connected, 10, Outcome::Ok),
            (Seen::Connected, 101, Outcome::Slow),
            (Seen::Answered(b"220 mail".to_vec()), 10, Outcome::Ok),
            (Seen::Answered(b"220 mail".to_vec()), 101, Outcome::Slow),
            (Seen::Answered(b"554 no".to_vec()), 10, Outcome::Partial),
            (Seen::Silent, 1_000, Outcome::Partial),
            (Seen::Broken("reset".to_owned()), 10, Outcome::Partial),
            (Seen::Refused, 1, Outcome::Refused),
            (Seen::TimedOut, 1_000, Outcome::TimedOut),
            (Seen::Unreachable("no route".to_owned()), 1, Outcome::TimedOut),
            (Seen::Unresolved("no such name".to_owned()), 1, Outcome::Error),
        ];
        for (seen, took, outcome) in cases {
            let text = format!("{seen:?} after {took} ms");
            let finding = judge(&Settings::default(), &target(), seen, Duration::from_millis(took)).unwrap();
            assert_eq!(finding.outcome, outcome, "{text}");
            let good = matches!(outcome, Outcome::Ok | Outcome::Slow);
            assert_eq!(finding.latency.is_some(), good, "{text}");
            assert_eq!(finding.detail.is_empty(), good, "{text}");
        }
    }

    #[test]
    fn what_was_not_granted_is_no_vote() {
        let answer = judge(&Settings::default(), &target(), Seen::Denied("no grant".to_owned()), Duration::ZERO);
        assert!(matches!(answer, Err(Failure::Denied(_))));
    }

    #[test]
    fn refuses_a_target_without_a_port() {
        for address in ["db", "db:", ":5432", "db:0", "db:70000"] {
            let problems = parse::<Target>(&format!(r#"{{"address": {address:?}}}"#)).unwrap_err();
            assert_eq!(problems[0].at, "/address", "{address}");
        }
        assert!(parse::<Target>(r#"{"address": "[2001:db8::1]:5432"}"#).is_ok());
    }

    #[test]
    fn finds_the_expected_text_anywhere() {
        assert!(contains(b"\r\n220 ready", "220 "));
        assert!(contains(b"", ""));
        assert!(!contains(b"22", "220"));
    }
}
