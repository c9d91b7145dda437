//! What an action's request is, and what its answer means.
//!
//! Pure: knows neither sockets nor secrets' places.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_sdk::http::{Request, Response};
use tidegate_sdk::template::{self, Values};
use tidegate_sdk::{Done, Failure, Problem, Settings, schemars, serde, serde_json};

/// How much of an answer is kept for people.
const TEXT_CHARS_MAX: usize = 200;

/// One request, as the fleet file declares it under `[action.NAME]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Action {
    /// `https://api.example.com/deployments/{deployment}`; values are percent-encoded.
    pub url: String,
    /// POST if none is given.
    #[serde(default = "post")]
    pub method: String,
    /// Sent along.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Values in it are escaped as inside a JSON string.
    #[serde(default)]
    pub body: String,
    /// The statuses that mean done; none given: 200 to 299.
    #[serde(default)]
    pub expect: Vec<u16>,
    /// A granted secret that is sent as `authorization: Bearer …`, with the undo and the check too.
    pub bearer_secret: Option<String>,
    /// Puts back what the request changed.
    pub undo: Option<Box<Action>>,
    /// Changes nothing, and succeeds if the request would.
    pub ready: Option<Box<Action>>,
}

/// What an undo needs to know of its action.
#[derive(Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Receipt {
    /// As the runbook gave them.
    pub arguments: String,
}

impl Settings for Action {
    fn check(&self) -> Vec<Problem> {
        let mut problems = self.check_request();
        for (at, inner) in [("/undo", &self.undo), ("/ready", &self.ready)] {
            let Some(inner) = inner else { continue };
            problems.extend(inner.check_request().into_iter().map(|problem| below(at, problem)));
            if inner.undo.is_some() || inner.ready.is_some() || inner.bearer_secret.is_some() {
                problems.push(Problem::new(at, "has no undo, ready or bearer-secret of its own"));
            }
        }
        let open = self
            .ready
            .as_deref()
            .and_then(|ready| template::names(&ready.url).chain(template::names(&ready.body)).next());
        problems.extend(open.map(|name| Problem::new("/ready", format!("has no step to give a value to {{{name}}}"))));
        problems
    }
}

impl Action {
    fn check_request(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            problems.push(Problem::new("/url", format!("{:?} does not begin with http:// or https://", self.url)));
        }
        if self.method.is_empty() || !self.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            problems.push(Problem::new("/method", format!("{:?} is not a method like \"POST\"", self.method)));
        }
        problems
    }
}

impl Receipt {
    /// A lost receipt is one without arguments: an undo that needs none still works.
    pub fn read(receipt: Option<&str>) -> Result<Self, Failure> {
        let invalid =
            |error: serde_json::Error| Failure::Invalid(format!("the receipt is not one of this plugin: {error}"));
        receipt.map_or_else(|| Ok(Receipt::default()), |text| serde_json::from_str(text).map_err(invalid))
    }

    fn write(&self) -> String {
        serde_json::json!({ "arguments": self.arguments }).to_string()
    }
}

/// What to send.
pub fn request(
    action: &Action,
    values: &Values,
    token: Option<&str>,
    key: Option<&str>,
    timeout: Duration,
) -> Result<Request, Failure> {
    let url = template::fill(&action.url, values, template::percent)?;
    let body = template::fill(&action.body, values, template::json)?;
    let mut request = Request::new(&action.method, url).timeout(timeout).body(body);
    for (name, value) in &action.headers {
        request = request.header(name, value);
    }
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    Ok(match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    })
}

/// An undo is another request than what it undoes, so it has another key.
pub fn undo_key(key: &str) -> String {
    format!("{key}/undo")
}

/// The answer, if its status is an expected one.
pub fn expected(action: &Action, response: Response) -> Result<Response, Failure> {
    let status = response.status;
    let good = if action.expect.is_empty() { (200..300).contains(&status) } else { action.expect.contains(&status) };
    if good { Ok(response) } else { Err(response.into_failure()) }
}

/// What was done.
pub fn performed(name: &str, response: &Response, receipt: Receipt) -> Done {
    Done { text: text(name, response), receipt: receipt.write() }
}

/// What was put back.
pub fn undone(name: &str, response: &Response) -> Done {
    Done { text: text(&format!("undo of {name}"), response), receipt: String::new() }
}

fn text(what: &str, response: &Response) -> String {
    let start: String = String::from_utf8_lossy(&response.body).chars().take(TEXT_CHARS_MAX).collect();
    format!("{what}: {} {start}", response.status).trim_end().to_owned()
}

fn below(at: &str, problem: Problem) -> Problem {
    Problem { at: format!("{at}{}", problem.at), text: problem.text }
}

fn post() -> String {
    "POST".to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_sdk::http::Response;
    use tidegate_sdk::{Call, Failure, parse, template};

    use super::{Action, Receipt, expected, performed, request, undo_key};

    fn action(json: &str) -> Action {
        parse(json).unwrap()
    }

    fn call() -> Call {
        Call { epoch: 7, key: "run-1/scale".to_owned(), timeout: 1_000 }
    }

    fn response(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: b"ok".into(), truncated: false }
    }

    #[test]
    fn sends_what_was_declared_with_the_steps_values() {
        let action = action(
            r#"{"url": "http://api/d/{deployment}", "method": "PATCH", "headers": {"x": "y"}, "body": "{\"name\": \"{deployment}\", \"n\": {n}}"}"#,
        );
        let values = template::values(r#"{"deployment": "a/\"b", "n": 3}"#, &call()).unwrap();
        let request = request(&action, &values, Some("token"), Some("key"), Duration::from_secs(1)).unwrap();
        assert_eq!((request.method.as_str(), request.url.as_str()), ("PATCH", "http://api/d/a%2F%22b"));
        assert_eq!(request.body, br#"{"name": "a/\"b", "n": 3}"#);
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("x", "y"), ("authorization", "Bearer token"), ("idempotency-key", "key")]);
    }

    #[test]
    fn sends_nothing_while_a_value_is_missing() {
        let action = action(r#"{"url": "http://api/{deployment}"}"#);
        let values = template::values("", &call()).unwrap();
        let sent = request(&action, &values, None, None, Duration::from_secs(1));
        assert!(matches!(sent, Err(Failure::Invalid(text)) if text.contains("{deployment}")));
    }

    #[test]
    fn done_is_only_what_was_expected() {
        let any = action(r#"{"url": "http://api"}"#);
        let accepted = action(r#"{"url": "http://api", "expect": [202, 409]}"#);
        let cases = [(&any, 204, true), (&any, 409, false), (&accepted, 409, true), (&accepted, 200, false)];
        for (action, status, good) in cases {
            assert_eq!(expected(action, response(status)).is_ok(), good, "{status}");
        }
        assert!(matches!(expected(&any, response(500)), Err(Failure::UnknownOutcome(_))));
        assert!(matches!(expected(&any, response(409)), Err(Failure::Rejected(_))));
    }

    #[test]
    fn an_undo_gets_its_actions_arguments_back() {
        let arguments = r#"{"deployment": "shop"}"#.to_owned();
        let done = performed("scale", &response(200), Receipt { arguments: arguments.clone() });
        assert_eq!(done.text, "scale: 200 ok");
        assert_eq!(Receipt::read(Some(&done.receipt)).unwrap().arguments, arguments);
        assert_eq!(Receipt::read(None).unwrap(), Receipt::default());
        assert!(matches!(Receipt::read(Some("x")), Err(Failure::Invalid(_))));
        assert_ne!(undo_key(&call().key), call().key);
    }

    #[test]
    fn refuses_a_declaration_that_cannot_work() {
        let cases = [
            (r#"{"url": "api"}"#, "/url"),
            (r#"{"url": "http://a", "method": "post"}"#, "/method"),
            (r#"{"url": "http://a", "undo": {"url": "a"}}"#, "/undo/url"),
            (r#"{"url": "http://a", "undo": {"url": "http://a", "undo": {"url": "http://a"}}}"#, "/undo"),
            (r#"{"url": "http://a", "ready": {"url": "http://a/{x}"}}"#, "/ready"),
            (r#"{"url": "http://a", "undo": {"url": "http://a", "x": 1}}"#, "/undo/x"),
        ];
        for (json, at) in cases {
            let problems = parse::<Action>(json).unwrap_err();
            assert_eq!(problems[0].at, at, "{json}: {problems:?}");
        }
    }
}
