//! What the API answers: documents, text, streams, and what went wrong in the words of an operator.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};
use tidegate_kernel::event::Refused;

use super::people::Role;
use crate::host::core::Stopped;

/// A body that may come in pieces.
pub(super) type Body = BoxBody<Bytes, std::io::Error>;

/// An answer, or what to answer instead.
pub(super) type Answer = Result<Response<Body>, Told>;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The HTTP status that goes with it.
    #[serde(skip)]
    pub status: u16,
    /// What is wrong, in one sentence.
    pub what: String,
    /// Where: a path, a header, a file.
    #[serde(rename = "where")]
    pub at: String,
    /// What is as it was.
    pub unchanged: String,
    /// What to do now.
    pub next: String,
}

impl Told {
    pub(super) fn new(
        status: StatusCode,
        what: impl Into<String>,
        at: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        let unchanged = "nothing was changed".to_owned();
        Told { status: status.as_u16(), what: what.into(), at: at.into(), unchanged, next: next.into() }
    }

    pub(super) fn no_such(kind: &str, name: &str, next: &str) -> Self {
        Told::new(StatusCode::NOT_FOUND, format!("there is no {kind} {name}"), name, next)
    }

    pub(super) fn may_not(name: &str, role: Role) -> Self {
        let role = role.as_str();
        let what = format!("{name} does not have the role {role}, which this needs");
        Told::new(StatusCode::FORBIDDEN, what, format!("[person.{name}]"), format!("ask somebody with the role {role}"))
    }

    pub(super) fn failed(error: &anyhow::Error, at: &str) -> Self {
        Told::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"), at, "look into the host's log")
    }

    pub(super) fn response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Wrapped {
            error: Told,
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(status, &Wrapped { error: self })
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { what, at, unchanged, next, .. } = self;
        write!(f, "{what} ({at})\n  unchanged: {unchanged}\n  next: {next}")
    }
}

impl From<Stopped> for Told {
    fn from(stopped: Stopped) -> Self {
        Told::new(StatusCode::SERVICE_UNAVAILABLE, stopped.to_string(), "host", "ask again once it has started")
    }
}

/// A document.
pub(super) fn document(value: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// An order or a plan that was refused: the kernel's own words.
pub(super) fn refused(refused: &Refused) -> Answer {
    Ok(json(StatusCode::CONFLICT, refused))
}

/// Text of that kind.
pub(super) fn text(text: String, kind: &'static str) -> Response<Body> {
    with_type(StatusCode::OK, whole(text.into()), kind)
}

/// A body in pieces, of that kind.
pub(super) fn with_type(status: StatusCode, body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_type(status, whole(bytes.into()), "application/json"),
        Err(error) => with_type(StatusCode::INTERNAL_SERVER_ERROR, whole(error.to_string().into()), "text/plain"),
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
