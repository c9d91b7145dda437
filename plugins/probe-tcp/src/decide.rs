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

/// A protocol whose servers can be told from ports that merely take connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Asked whether it encrypts, a PostgreSQL server says one byte, before it knows who asks.
    Postgres,
}

/// PostgreSQL's SSLRequest: its length, and a number that is no version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

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
    /// Instead of `send` and `expect`: it has to answer as a server of this protocol does.
    pub speaks: Option<Protocol>,
    /// An answer later than this is `slow`.
    pub slow_after: Option<Period>,
    /// Where it is to be shorter than the host's.
    pub timeout: Option<Period>,
}

impl tidegate_sdk::Settings for Target {
    fn check(&self) -> Vec<Problem> {
        let port = self.address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let mut problems = match port {
            Some((host, 1..)) if !host.is_empty() => Vec::new(),
            _ => vec![Problem::new("/address", format!("{:?} is not host:port", self.address))],
        };
        if self.speaks.is_some() && (self.send.is_some() || self.expect.is_some()) {
            problems
                .push(Problem::new("/speaks", "says already what is sent and expected; leave `send` and `expect` out"));
        }
        problems
    }
}

impl Target {
    /// What is said after connecting, if anything.
    pub fn question(&self) -> Option<&[u8]> {
        match self.speaks {
            Some(Protocol::Postgres) => Some(&SSL_REQUEST),
            None => self.send.as_deref().map(str::as_bytes),
        }
    }

    /// Whether an answer is waited for.
    pub fn wants_answer(&self) -> bool {
        self.speaks.is_some() || self.expect.is_some()
    }

    /// Whether what was heard so far is the answer.
    pub fn is_answered(&self, heard: &[u8]) -> bool {
        match self.speaks {
            Some(Protocol::Postgres) => matches!(heard, [b'S' | b'N']),
            None => contains(heard, self.expect.as_deref().unwrap_or_default()),
        }
    }

    /// Whether no more that could be said would make it the answer.
    pub fn is_misanswered(&self, heard: &[u8]) -> bool {
        self.speaks.is_some() && !heard.is_empty() && !self.is_answered(heard)
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
fn contains(heard: &[u8], expected: &str) -> bool {
    expected.is_empty() || heard.windows(expected.len()).any(|part| part == expected.as_bytes())
}

fn answered(settings: &Settings, target: &Target, heard: &[u8], took: Duration) -> (Outcome, String) {
    if target.is_answered(heard) {
        return (in_time(settings, target, took), String::new());
    }
    let start: String = String::from_utf8_lossy(heard).chars().take(80).collect();
    let expected = match target.speaks {
        Some(Protocol::Postgres) => "as PostgreSQL does".to_owned(),
        None => format!("{:?}", target.expect.as_deref().unwrap_or_default()),
    };
    (Outcome::Partial, format!("{} said {start:?}, not {expected}", target.address))
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

    use super::{Protocol, Seen, Settings, Target, contains, judge};

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
    fn knows_a_postgresql_server_by_one_byte() {
        let target = Target { address: "db:5432".to_owned(), speaks: Some(Protocol::Postgres), ..Target::default() };
        assert_eq!(target.question(), Some(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f][..]));
        for (heard, outcome) in [
            (&b"S"[..], Outcome::Ok),
            (b"N", Outcome::Ok),
            (b"", Outcome::Partial),
            (b"E", Outcome::Partial),
            (b"SSH-2.0", Outcome::Partial),
        ] {
            let seen = Seen::Answered(heard.to_vec());
            let finding = judge(&Settings::default(), &target, seen, Duration::from_millis(1)).unwrap();
            assert_eq!(finding.outcome, outcome, "{heard:?}");
        }
        let silent = judge(&Settings::default(), &target, Seen::Silent, Duration::from_millis(800)).unwrap();
        assert_eq!(silent.outcome, Outcome::Partial);
    }

    #[test]
    fn refuses_to_speak_two_languages() {
        let problems = parse::<Target>(r#"{"address": "db:5432", "speaks": "postgres", "expect": "220"}"#).unwrap_err();
        assert_eq!(problems[0].at, "/speaks");
        assert!(parse::<Target>(r#"{"address": "db:5432", "speaks": "postgres"}"#).is_ok());
    }

    #[test]
    fn finds_the_expected_text_anywhere() {
        assert!(contains(b"\r\n220 ready", "220 "));
        assert!(contains(b"", ""));
        assert!(!contains(b"22", "220"));
    }
}
