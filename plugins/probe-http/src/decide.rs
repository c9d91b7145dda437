//! What to ask of an HTTP address, and what its answer means.
//!
//! Pure: knows neither sockets nor clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_sdk::http::{Error, Request, Response};
use tidegate_sdk::{Failure, Finding, Outcome, Period, Problem, schemars, serde};

/// How much of an answer is searched for the expected text.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// For all targets.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// An answer later than this is `slow`, unless the target says otherwise.
    pub slow_after: Option<Period>,
    /// What the probe calls itself, so that it can be found in the target's logs.
    pub user_agent: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { slow_after: None, user_agent: concat!("tidegate-probe-http/", env!("CARGO_PKG_VERSION")).to_owned() }
    }
}

impl tidegate_sdk::Settings for Settings {}

/// How to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The answer with its body.
    #[default]
    Get,
    /// The answer without it.
    Head,
}

/// One address.
#[derive(Debug, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// `http://10.1.0.7:8080/health` or `https://shop.example.com/health`.
    pub url: String,
    /// GET or HEAD.
    #[serde(default)]
    pub method: Method,
    /// Sent along; `host` for a virtual host.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The statuses that are good; none given: 200 to 299.
    #[serde(default)]
    pub expect_status: Vec<u16>,
    /// Must be in the body.
    pub expect_body: Option<String>,
    /// An answer later than this is `slow`.
    pub slow_after: Option<Period>,
    /// Where it is to be shorter than the host's.
    pub timeout: Option<Period>,
}

impl tidegate_sdk::Settings for Target {
    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            problems.push(Problem::new("/url", format!("{:?} does not begin with http:// or https://", self.url)));
        }
        if self.method == Method::Head && self.expect_body.is_some() {
            problems.push(Problem::new("/expect-body", "an answer to HEAD has no body; use GET"));
        }
        for (at, status) in self.expect_status.iter().enumerate().filter(|(_, status)| !(100..600).contains(*status)) {
            problems.push(Problem::new(format!("/expect-status/{at}"), format!("{status} is not an HTTP status")));
        }
        problems
    }
}

/// What to send.
pub fn request(settings: &Settings, target: &Target, timeout: Duration) -> Request {
    let method = match target.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
    };
    let timeout = target.timeout.map_or(timeout, |own| timeout.min(own.into()));
    let request = Request::new(method, &target.url).timeout(timeout).header("user-agent", &settings.user_agent);
    let body_limit = if target.expect_body.is_some() { BODY_BYTES_MAX } else { 0 };
    target.headers.iter().fold(request, |request, (name, value)| request.header(name, value)).body_limit(body_limit)
}

/// The finding: a vote. What was never sent says nothing of the target: no vote.
pub fn judge(
    settings: &Settings,
    target: &Target,
    answer: Result<Response, Error>,
    took: Duration,
) -> Result<Finding, Failure> {
    let (outcome, detail) = match answer {
        Ok(response) => answered(settings, target, &response, took),
        Err(Error::Denied(text)) => return Err(Failure::Denied(text)),
        Err(Error::Invalid(text)) => return Err(Failure::Invalid(text)),
        Err(error @ Error::Refused(_)) => (Outcome::Refused, format!("{}: {error}", target.url)),
        Err(error @ Error::TimedOut(_)) => {
            (Outcome::TimedOut, format!("{} after {} ms: {error}", target.url, took.as_millis()))
        }
        Err(error @ Error::Unreachable(_)) => (Outcome::TimedOut, format!("{}: {error}", target.url)),
        Err(error @ Error::Unresolved(_)) => (Outcome::Error, format!("{}: {error}", target.url)),
        Err(error @ Error::Broken(_)) => (Outcome::Partial, format!("{}: {error}", target.url)),
    };
    let latency = matches!(outcome, Outcome::Ok | Outcome::Slow).then(|| took.as_millis() as u64);
    Ok(Finding { outcome, latency, detail })
}

fn answered(settings: &Settings, target: &Target, response: &Response, took: Duration) -> (Outcome, String) {
    let status = response.status;
    if !is_expected(target, status) {
        // Our credentials are wrong, or too small: that says nothing of the service.
        let outcome = if matches!(status, 401 | 403) { Outcome::Unauthorized } else { Outcome::Partial };
        return (outcome, format!("{status} from {}", target.url));
    }
    match &target.expect_body {
        Some(text) if !contains(&response.body, text) => {
            (Outcome::Partial, format!("{status} from {} without {text:?} in its body", target.url))
        }
        _ => (in_time(settings, target, took), String::new()),
    }
}

fn is_expected(target: &Target, status: u16) -> bool {
    if target.expect_status.is_empty() { (200..300).contains(&status) } else { target.expect_status.contains(&status) }
}

fn contains(body: &[u8], text: &str) -> bool {
    text.is_empty() || body.windows(text.len()).any(|part| part == text.as_bytes())
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

    use tidegate_sdk::http::{Error, Response};
    use tidegate_sdk::{Failure, Outcome, Period, parse};

    use super::{Method, Settings, Target, judge, request};

    const URL: &str = "http://shop/health";

    fn target() -> Target {
        Target { url: URL.to_owned(), slow_after: Some(Period::milliseconds(100)), ..Target::default() }
    }

    fn response(status: u16, body: &str) -> Result<Response, Error> {
        Ok(Response { status, headers: Vec::new(), body: body.into(), truncated: false })
    }

    #[test]
    fn each_answer_is_one_outcome() {
        let any = target();
        let moved = Target { expect_status: vec![301, 401], ..target() };
        let ready = Target { expect_body: Some("ready".to_owned()), ..target() };
        let text = |error: fn(String) -> Error| Err(error("why".to_owned()));
        let cases = [
            (&any, response(200, ""), 10, Outcome::Ok),
            (&any, response(204, ""), 101, Outcome::Slow),
            (&any, response(301, ""), 10, Outcome::Partial),
            (&any, response(503, ""), 10, Outcome::Partial),
            (&any, response(401, ""), 10, Outcome::Unauthorized),
            (&any, response(403, ""), 10, Outcome::Unauthorized),
            (&moved, response(301, ""), 10, Outcome::Ok),
            (&moved, response(401, ""), 10, Outcome::Ok),
            (&moved, response(200, ""), 10, Outcome::Partial),
            (&ready, response(200, "is ready."), 10, Outcome::Ok),
            (&ready, response(200, "starting"), 10, Outcome::Partial),
            (&any, text(Error::Refused), 1, Outcome::Refused),
            (&any, text(Error::TimedOut), 1_000, Outcome::TimedOut),
            (&any, text(Error::Unreachable), 1, Outcome::TimedOut),
            (&any, text(Error::Unresolved), 1, Outcome::Error),
            (&any, text(Error::Broken), 1, Outcome::Partial),
        ];
        for (target, answer, took, outcome) in cases {
            let text = format!("{answer:?} after {took} ms");
            let finding = judge(&Settings::default(), target, answer, Duration::from_millis(took)).unwrap();
            assert_eq!(finding.outcome, outcome, "{text}");
            let good = matches!(outcome, Outcome::Ok | Outcome::Slow);
            assert_eq!(finding.latency.is_some(), good, "{text}");
            assert_eq!(finding.detail.is_empty(), good, "{text}");
        }
    }

    #[test]
    fn what_was_never_sent_is_no_vote() {
        let judged = |error| judge(&Settings::default(), &target(), Err(error), Duration::ZERO);
        assert!(matches!(judged(Error::Denied(URL.to_owned())), Err(Failure::Denied(_))));
        assert!(matches!(judged(Error::Invalid(URL.to_owned())), Err(Failure::Invalid(_))));
    }

    #[test]
    fn asks_as_the_target_says() {
        let settings = Settings::default();
        let target = Target {
            method: Method::Head,
            headers: [("host".to_owned(), "shop.example".to_owned())].into(),
            timeout: Some(Period::milliseconds(300)),
            ..target()
        };
        let request = request(&settings, &target, Duration::from_secs(1));
        assert_eq!((request.method.as_str(), request.url.as_str()), ("HEAD", URL));
        assert_eq!(request.timeout, Duration::from_millis(300));
        assert_eq!(request.body_limit, 0, "nobody reads the body");
        let host = ("host".to_owned(), "shop.example".to_owned());
        assert_eq!(request.headers, [("user-agent".to_owned(), settings.user_agent), host]);
    }

    #[test]
    fn refuses_a_target_that_cannot_work() {
        let cases = [
            (r#"{"url": "shop/health"}"#, "/url"),
            (r#"{"url": "http://a", "method": "HEAD", "expect-body": "x"}"#, "/expect-body"),
            (r#"{"url": "http://a", "method": "POST"}"#, "/method"),
            (r#"{"url": "http://a", "expect-status": [200, 99]}"#, "/expect-status/1"),
            (r#"{"url": "http://a", "path": "/x"}"#, "/path"),
            (r#"{"method": "GET"}"#, ""),
        ];
        for (json, at) in cases {
            let problems = parse::<Target>(json).unwrap_err();
            assert_eq!(problems[0].at, at, "{json}: {problems:?}");
        }
    }
}
