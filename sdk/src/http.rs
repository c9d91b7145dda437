//! One HTTP request and its answer, for providers; the host sends it, and only where the operator has granted.
//!
//! Knows no redirects, no cookies and no retries: whoever calls decides what a status means.

use std::fmt;
use std::time::Duration;

use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};

use crate::contract::Failure;

/// The longest piece that a WASI stream takes at once.
const CHUNK: usize = 4096;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// "GET", "POST", …
    pub method: String,
    /// `http://` or `https://`, host, port, path and query.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Empty = none.
    pub body: Vec<u8>,
    /// For the connection, the first byte and each wait between two bytes.
    pub timeout: Duration,
    /// How much of the answer's body to read; what is beyond is left unread.
    pub body_limit: usize,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// "200" as a number.
    pub status: u16,
    /// Names in lower case, and values; those that are not text are left out.
    pub headers: Vec<(String, String)>,
    /// At most `body_limit` bytes.
    pub body: Vec<u8>,
    /// The body was longer.
    pub truncated: bool,
}

/// Why there is no whole answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// Not granted; nothing was sent.
    Denied(String),
    /// The request cannot be sent as it is; nothing was sent.
    Invalid(String),
    /// The machine answers, nothing listens.
    Refused(String),
    /// No answer in time.
    TimedOut(String),
    /// The name means nothing here.
    Unresolved(String),
    /// The network has no way there.
    Unreachable(String),
    /// Connected, but no whole answer came: broken off, or no TLS.
    Broken(String),
}

impl Request {
    /// A request without headers or body, a second's patience and 64 KiB of answer.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: Duration::from_secs(1),
            body_limit: 64 * 1024,
        }
    }

    /// One more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What to send.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// How long to wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How much of the answer's body to read.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// What a control call answers to a status that it did not expect. A server's error leaves open what it had done by
    /// then; a refusal of the request itself does not.
    pub fn into_failure(self) -> Failure {
        let start: String = String::from_utf8_lossy(&self.body).chars().take(200).collect();
        let text = format!("{} {start}", self.status).trim_end().to_owned();
        match self.status {
            429 | 503 => Failure::Busy(self.retry_after()),
            404 => Failure::NotFound(text),
            300..500 => Failure::Rejected(text),
            _ => Failure::UnknownOutcome(text),
        }
    }

    /// The wait that a throttling server asks for in seconds; a second if it does not say, or says a date.
    fn retry_after(&self) -> u64 {
        self.header("retry-after")
            .and_then(|text| text.trim().parse::<u64>().ok())
            .map_or(1_000, |seconds| seconds.saturating_mul(1_000))
    }
}

/// Sends a request and reads its answer. Works inside a host only: elsewhere there is nobody to send it, and it panics.
pub fn send(request: &Request) -> Result<Response, Error> {
    let (outgoing, options) = prepare(request)?;
    let body = outgoing.body().map_err(|()| Error::Invalid("the request's body was taken already".to_owned()))?;
    let pending = outgoing_handler::handle(outgoing, Some(options)).map_err(|code| classify(&code))?;
    write_body(body, &request.body)?;
    pending.subscribe().block();
    match pending.get() {
        Some(Ok(Ok(response))) => read(&response, request.body_limit),
        Some(Ok(Err(code))) => Err(classify(&code)),
        Some(Err(())) | None => Err(Error::Broken("the host gave no answer".to_owned())),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Denied(text) => write!(f, "not granted: {text}"),
            Error::Invalid(text) => write!(f, "invalid request: {text}"),
            Error::Refused(text) => write!(f, "connection refused: {text}"),
            Error::TimedOut(text) => write!(f, "timed out: {text}"),
            Error::Unresolved(text) => write!(f, "cannot be looked up: {text}"),
            Error::Unreachable(text) => write!(f, "not reachable: {text}"),
            Error::Broken(text) => write!(f, "broken off: {text}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// What a control call answers: only what surely was not sent is definite.
    pub fn into_failure(self) -> Failure {
        let text = self.to_string();
        match self {
            Error::Denied(_) => Failure::Denied(text),
            Error::Invalid(_) => Failure::Invalid(text),
            Error::Refused(_) | Error::Unresolved(_) | Error::Unreachable(_) => Failure::Rejected(text),
            Error::TimedOut(_) | Error::Broken(_) => Failure::UnknownOutcome(text),
        }
    }
}

fn prepare(request: &Request) -> Result<(OutgoingRequest, RequestOptions), Error> {
    let invalid = |what: &str| Error::Invalid(format!("{what} of {} {}", request.method, request.url));
    let (scheme, authority, path) = split_url(&request.url).ok_or_else(|| invalid("the address"))?;
    let headers: Vec<(String, Vec<u8>)> =
        request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let fields = Fields::from_list(&headers).map_err(|error| Error::Invalid(format!("a header: {error}")))?;
    let outgoing = OutgoingRequest::new(fields);
    outgoing.set_method(&method(&request.method)).map_err(|()| invalid("the method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(|()| invalid("the scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| invalid("the host"))?;
    outgoing.set_path_with_query(Some(&path)).map_err(|()| invalid("the path"))?;
    Ok((outgoing, options(request.timeout)))
}

/// A host that does not know one of these answers an error, and keeps its own limit: no reason not to ask.
fn options(timeout: Duration) -> RequestOptions {
    let options = RequestOptions::new();
    let nanoseconds = u64::try_from(timeout.as_nanos()).ok();
    let _ = options.set_connect_timeout(nanoseconds);
    let _ = options.set_first_byte_timeout(nanoseconds);
    let _ = options.set_between_bytes_timeout(nanoseconds);
    options
}

fn split_url(url: &str) -> Option<(Scheme, &str, String)> {
    let (scheme, rest) = match url.strip_prefix("https://") {
        Some(rest) => (Scheme::Https, rest),
        None => (Scheme::Http, url.strip_prefix("http://")?),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    (!authority.is_empty()).then_some((scheme, authority, path))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.to_owned()),
    }
}

fn write_body(body: OutgoingBody, bytes: &[u8]) -> Result<(), Error> {
    if !bytes.is_empty() {
        let stream = body.write().map_err(|()| Error::Broken("the request's body could not be opened".to_owned()))?;
        for chunk in bytes.chunks(CHUNK) {
            stream.blocking_write_and_flush(chunk).map_err(|error| Error::Broken(format!("sending: {error}")))?;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| classify(&code))
}

fn read(response: &IncomingResponse, limit: usize) -> Result<Response, Error> {
    let headers = response.headers().entries();
    let headers = headers
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), String::from_utf8(value).ok()?)));
    let body = response.consume().map_err(|()| Error::Broken("the answer's body was taken already".to_owned()))?;
    let (bytes, truncated) = read_body(&body, limit)?;
    Ok(Response { status: response.status(), headers: headers.collect(), body: bytes, truncated })
}

fn read_body(body: &IncomingBody, limit: usize) -> Result<(Vec<u8>, bool), Error> {
    let stream = body.stream().map_err(|()| Error::Broken("the answer's body could not be opened".to_owned()))?;
    let mut bytes = Vec::new();
    while let Some(piece) = next_piece(&stream)? {
        let room = limit.saturating_sub(bytes.len());
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            return Ok((bytes, true));
        }
    }
    Ok((bytes, false))
}

fn next_piece(stream: &InputStream) -> Result<Option<Vec<u8>>, Error> {
    match stream.blocking_read(CHUNK as u64) {
        Ok(piece) => Ok(Some(piece)),
        Err(StreamError::Closed) => Ok(None),
        Err(StreamError::LastOperationFailed(error)) => {
            let code = wasip2::http::types::http_error_code(&error);
            Err(match code.as_ref().map(classify) {
                Some(Error::TimedOut(text)) => Error::TimedOut(text),
                _ => Error::Broken(format!("reading the answer: {}", error.to_debug_string())),
            })
        }
    }
}

fn classify(code: &ErrorCode) -> Error {
    let text = describe(code);
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::Denied(text),
        ErrorCode::ConnectionRefused => Error::Refused(text),
        ErrorCode::ConnectionTimeout
        | ErrorCode::DnsTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => Error::TimedOut(text),
        ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => Error::Unresolved(text),
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => Error::Unreachable(text),
        ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestBodySize(_) => Error::Invalid(text),
        _ => Error::Broken(text),
    }
}

/// "ErrorCode::ConnectionRefused" is the generated name; people get the words in it.
fn describe(code: &ErrorCode) -> String {
    let text = format!("{code:?}");
    text.strip_prefix("ErrorCode::").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use wasip2::http::types::{ErrorCode, Scheme};

    use super::{Error, Response, classify, split_url};
    use crate::contract::Failure;

    #[test]
    fn takes_an_address_apart() {
        let cases = [
            ("http://a", "a", "/"),
            ("http://a:80/x?y=1", "a:80", "/x?y=1"),
            ("http://[::1]:80?y", "[::1]:80", "/?y"),
            ("http://a/x#part", "a", "/x"),
        ];
        for (url, authority, path) in cases {
            let (_, got, rest) = split_url(url).unwrap();
            assert_eq!((got, rest.as_str()), (authority, path), "{url}");
        }
        assert!(matches!(split_url("https://a"), Some((Scheme::Https, "a", _))));
    }

    #[test]
    fn refuses_what_is_no_address() {
        for url in ["", "a", "ftp://a", "http://", "http:///x"] {
            assert!(split_url(url).is_none(), "{url}");
        }
    }

    #[test]
    fn an_unexpected_status_is_a_definite_failure_only_where_nothing_was_done() {
        let retry = |value: &str| vec![("retry-after".to_owned(), value.to_owned())];
        let failure =
            |status, headers| Response { status, headers, body: b"no".into(), truncated: false }.into_failure();
        let cases = [
            (301, Vec::new(), Failure::Rejected("301 no".to_owned())),
            (400, Vec::new(), Failure::Rejected("400 no".to_owned())),
            (404, Vec::new(), Failure::NotFound("404 no".to_owned())),
            (429, retry("7"), Failure::Busy(7_000)),
            (503, retry("Wed, 21 Oct 2015 07:28:00 GMT"), Failure::Busy(1_000)),
            (500, Vec::new(), Failure::UnknownOutcome("500 no".to_owned())),
            (202, Vec::new(), Failure::UnknownOutcome("202 no".to_owned())),
        ];
        for (status, headers, expected) in cases {
            assert_eq!(failure(status, headers), expected, "{status}");
        }
    }

    #[test]
    fn an_answer_that_never_came_leaves_the_outcome_open() {
        let failure = |code| classify(&code).into_failure();
        assert!(matches!(failure(ErrorCode::HttpRequestDenied), Failure::Denied(_)));
        assert!(matches!(failure(ErrorCode::ConnectionRefused), Failure::Rejected(_)));
        assert!(matches!(failure(ErrorCode::HttpResponseTimeout), Failure::UnknownOutcome(_)));
        assert!(matches!(failure(ErrorCode::ConnectionTerminated), Failure::UnknownOutcome(_)));
        assert!(matches!(classify(&ErrorCode::TlsCertificateError), Error::Broken(_)));
    }
}
