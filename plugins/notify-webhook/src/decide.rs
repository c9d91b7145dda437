//! What a message is as a request, how it is signed, and what the answer means.
//!
//! Pure: knows neither sockets nor where secrets come from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_sdk::http::{Request, Response};
use tidegate_sdk::{Call, Failure, Message, Problem, Settings, Severity, schemars, serde, serde_json};

/// A channel, as the fleet file declares it under `[channel.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Channel {
    /// Where messages go.
    pub url: String,
    /// Sent along.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A granted secret with which each message is signed.
    pub signing_secret: Option<String>,
}

impl Settings for Channel {
    fn check(&self) -> Vec<Problem> {
        let good = self.url.starts_with("http://") || self.url.starts_with("https://");
        let problem = || Problem::new("/url", format!("{:?} does not begin with http:// or https://", self.url));
        (!good).then(problem).into_iter().collect()
    }
}

/// What to send. The same message always has the same key and the same body, so that a receiver can drop a repetition.
pub fn request(name: &str, channel: &Channel, message: &Message, call: &Call, secret: Option<&[u8]>) -> Request {
    let body = document(name, message, call).to_string();
    let mut request = Request::new("POST", &channel.url).header("content-type", "application/json");
    for (name, value) in &channel.headers {
        request = request.header(name, value);
    }
    request = request.header("idempotency-key", &call.key);
    if let Some(secret) = secret {
        request = request.header("x-tidegate-signature", format!("sha256={}", signature(secret, body.as_bytes())));
    }
    request.body(body)
}

/// Delivered, or why not.
pub fn delivered(response: Response) -> Result<(), Failure> {
    if (200..300).contains(&response.status) { Ok(()) } else { Err(response.into_failure()) }
}

/// HMAC-SHA-256 in hexadecimal.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// `text` is for chat servers, which show it and ignore the rest.
fn document(channel: &str, message: &Message, call: &Call) -> serde_json::Value {
    let facts: BTreeMap<&str, &str> =
        message.facts.iter().map(|fact| (fact.key.as_str(), fact.value.as_str())).collect();
    serde_json::json!({
        "channel": channel,
        "key": call.key,
        "severity": severity(message.severity),
        "subject": message.subject,
        "body": message.body,
        "text": format!("{}\n{}", message.subject, message.body).trim_end(),
        "at": message.at,
        "facts": facts,
    })
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use tidegate_sdk::http::Response;
    use tidegate_sdk::{Call, Fact, Failure, Message, Severity, parse, serde_json};

    use super::{Channel, delivered, request, signature};

    fn channel() -> Channel {
        let headers = [("x-team".to_owned(), "shop".to_owned())].into();
        Channel { url: "https://chat/hook".to_owned(), headers, signing_secret: None }
    }

    fn message() -> Message {
        Message {
            severity: Severity::Critical,
            subject: "shop failed over".to_owned(),
            body: "west is lost".to_owned(),
            at: 1_767_225_600_000,
            facts: vec![Fact::new("to-site", "east")],
        }
    }

    fn call() -> Call {
        Call { epoch: 7, key: "run-1/told".to_owned(), timeout: 1_000 }
    }

    #[test]
    fn sends_one_document_with_its_key() {
        let request = request("pager", &channel(), &message(), &call(), None);
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            headers,
            [("content-type", "application/json"), ("x-team", "shop"), ("idempotency-key", "run-1/told")]
        );
        let document: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let expected = serde_json::json!({
            "channel": "pager", "key": "run-1/told", "severity": "critical", "subject": "shop failed over",
            "body": "west is lost", "text": "shop failed over\nwest is lost", "at": 1_767_225_600_000_u64,
            "facts": {"to-site": "east"},
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn a_repetition_is_the_same_to_the_byte() {
        let sent = || request("pager", &channel(), &message(), &call(), Some(b"secret"));
        assert_eq!(sent(), sent());
    }

    /// RFC 4231, test cases 2 and 6: a short key, and one longer than a block.
    #[test]
    fn signs_as_the_standard_says() {
        let short = signature(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(short, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = signature(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(long, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }

    #[test]
    fn the_signature_is_of_the_body_that_is_sent() {
        let request = request("pager", &channel(), &message(), &call(), Some(b"secret"));
        let (_, sent) = request.headers.iter().find(|(name, _)| name == "x-tidegate-signature").unwrap();
        assert_eq!(*sent, format!("sha256={}", signature(b"secret", &request.body)));
    }

    #[test]
    fn only_a_2xx_is_delivered() {
        let answer = |status| delivered(Response { status, headers: Vec::new(), body: Vec::new(), truncated: false });
        assert_eq!(answer(204), Ok(()));
        assert_eq!(answer(429), Err(Failure::Busy(1_000)));
        assert_eq!(answer(400), Err(Failure::Rejected("400".to_owned())));
        assert_eq!(answer(500), Err(Failure::UnknownOutcome("500".to_owned())));
    }

    #[test]
    fn refuses_a_channel_without_an_address() {
        for json in [r#"{"url": "chat"}"#, r#"{"url": ""}"#] {
            assert_eq!(parse::<Channel>(json).unwrap_err()[0].at, "/url", "{json}");
        }
    }
}
