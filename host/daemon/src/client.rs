//! Talks to a running host: HTTP over its Unix socket, or over TLS with a token.
//!
//! Knows addresses, time limits and the shape of answers; what they mean is the commands' business.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tidegate_kernel::event::Refused;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::cli::failed::{Failed, Told};

/// A host that is there takes a connection much faster.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// A swap compiles a plugin and tests it before it answers: the slowest thing that can be asked.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// More is no answer of a host: 10,000 services with all they say stay well below it.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Where a host takes orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Its Unix socket: whoever may open it is known by their login.
    Unix(PathBuf),
    /// `https://NAME:PORT`: with a token.
    Tls(String, u16),
    /// `http://ADDRESS:PORT`: loopback only, because a token would be readable on the way.
    Plain(String, u16),
}

/// A way to a host.
#[derive(Clone)]
pub struct Client {
    address: Address,
    token: Option<String>,
    tls: Option<Arc<rustls::ClientConfig>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("no host answers at {address}: {cause}")]
    NoHost {
        /// Where it was tried.
        address: Address,
        /// What the system said.
        cause: String,
    },
    /// It took the connection, and did not answer in time.
    #[error("the host at {0} does not answer")]
    Silent(Address),
    /// The token is missing, unknown, or its person may not do this.
    #[error("{told}")]
    Forbidden {
        /// The host's words.
        told: Box<Told>,
    },
    /// An order was not taken.
    #[error("the order was refused")]
    Refused(Refused),
    /// It answered with an error.
    #[error("{told}")]
    Answered {
        /// Its status.
        status: StatusCode,
        /// The host's words.
        told: Box<Told>,
    },
    /// What it said is nothing that this version understands.
    #[error("the answer from {address} makes no sense: {cause}")]
    Garbled {
        /// Who said it.
        address: Address,
        /// What is wrong with it.
        cause: String,
    },
}

/// An answer that was understood, and its words as they came: a newer host may say more than this version knows.
#[derive(Clone, Debug)]
pub struct Fetched<T> {
    /// What was understood.
    pub value: T,
    /// All of it.
    pub raw: Box<RawValue>,
}

/// A header's name and value.
type Header = (HeaderName, String);

/// Lines of an answer, as they come.
#[derive(Debug)]
pub struct Lines {
    address: Address,
    body: Incoming,
    rest: Vec<u8>,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    /// A way to `address`; `tls` is needed for `https:` only.
    pub fn new(address: Address, token: Option<String>, tls: Option<Arc<rustls::ClientConfig>>) -> Self {
        Client { address, token, tls }
    }

    /// What the host says at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        Ok(self.fetch(path).await?.value)
    }

    /// What the host says at `path`, and its words as they came.
    pub async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<Fetched<T>, Error> {
        let response = self.request(Method::GET, path, Bytes::new(), &[]).await?;
        self.document(response).await
    }

    /// Sends `value`, and reads the answer.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, value: &impl Serialize) -> Result<T, Error> {
        Ok(self.send(path, value).await?.value)
    }

    /// Sends `value`, and reads the answer and its words as they came.
    pub async fn send<T: DeserializeOwned>(&self, path: &str, value: &impl Serialize) -> Result<Fetched<T>, Error> {
        let body = serde_json::to_vec(value).map_err(|error| self.garbled(error))?;
        self.send_bytes(path, body, &[(CONTENT_TYPE, "application/json".to_owned())]).await
    }

    /// Sends a body of any kind, and reads the answer and its words as they came.
    pub async fn send_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
        headers: &[Header],
    ) -> Result<Fetched<T>, Error> {
        let response = self.request(Method::POST, path, body.into(), headers).await?;
        self.document(response).await
    }

    /// What the host says at `path`, line by line.
    pub async fn lines(&self, path: &str) -> Result<Lines, Error> {
        let response = self.request(Method::GET, path, Bytes::new(), &[]).await?;
        Ok(Lines { address: self.address.clone(), body: response.into_body(), rest: Vec::new() })
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[Header],
    ) -> Result<Response<Incoming>, Error> {
        let request = self.addressed(method, path, body, headers)?;
        let stream = timeout(CONNECT_MAX, self.connect()).await.map_err(|_| Error::Silent(self.address.clone()))??;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.garbled(error))?;
        // Ends with the answer's body, or with the client.
        tokio::spawn(connection);
        let response = timeout(ANSWER_MAX, sender.send_request(request)).await;
        let response =
            response.map_err(|_| Error::Silent(self.address.clone()))?.map_err(|error| self.garbled(error))?;
        if response.status().is_success() { Ok(response) } else { Err(self.error(response).await) }
    }

    fn addressed(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        headers: &[Header],
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.address.authority());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body)).map_err(|error| self.garbled(error))
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Error> {
        let absent = |cause: String| Error::NoHost { address: self.address.clone(), cause };
        match &self.address {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| absent(error.to_string()))?;
                Ok(Box::new(stream))
            }
            Address::Plain(host, port) => {
                let stream =
                    TcpStream::connect((host.as_str(), *port)).await.map_err(|error| absent(error.to_string()))?;
                Ok(Box::new(stream))
            }
            Address::Tls(host, port) => {
                let config = self.tls.clone().ok_or_else(|| absent("no TLS is configured".to_owned()))?;
                let name = ServerName::try_from(host.clone()).map_err(|error| absent(error.to_string()))?;
                let stream =
                    TcpStream::connect((host.as_str(), *port)).await.map_err(|error| absent(error.to_string()))?;
                let stream = TlsConnector::from(config)
                    .connect(name, stream)
                    .await
                    .map_err(|error| absent(error.to_string()))?;
                Ok(Box::new(stream))
            }
        }
    }

    async fn document<T: DeserializeOwned>(&self, response: Response<Incoming>) -> Result<Fetched<T>, Error> {
        let body = self.body(response).await?;
        let raw: Box<RawValue> = serde_json::from_slice(&body).map_err(|error| self.garbled(error))?;
        let value = serde_json::from_str(raw.get()).map_err(|error| self.garbled(error))?;
        Ok(Fetched { value, raw })
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, Error> {
        let limited = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = timeout(ANSWER_MAX, limited.collect()).await.map_err(|_| Error::Silent(self.address.clone()))?;
        body.map(|body| body.to_bytes())
            .map_err(|error| Error::Garbled { address: self.address.clone(), cause: error.to_string() })
    }

    async fn error(&self, response: Response<Incoming>) -> Error {
        let status = response.status();
        let body = match self.body(response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        if status == StatusCode::CONFLICT
            && let Ok(refused) = serde_json::from_slice::<Refused>(&body)
        {
            return Error::Refused(refused);
        }
        let told = Box::new(told(status, &body));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Forbidden { told },
            _ => Error::Answered { status, told },
        }
    }

    fn garbled(&self, cause: impl fmt::Display) -> Error {
        Error::Garbled { address: self.address.clone(), cause: cause.to_string() }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is nobody's business.
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Lines {
    /// The next line, without its end; none after the last.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
                Some(Err(error)) => {
                    return Err(Error::Garbled { address: self.address.clone(), cause: error.to_string() });
                }
                None if self.rest.is_empty() => return Ok(None),
                None => return Ok(Some(String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned())),
            }
        }
    }
}

impl Address {
    fn authority(&self) -> String {
        match self {
            Address::Unix(_) => "localhost".to_owned(),
            Address::Tls(host, port) | Address::Plain(host, port) => format!("{}:{port}", bracketed(host)),
        }
    }
}

impl FromStr for Address {
    type Err = Failed;

    fn from_str(text: &str) -> Result<Self, Failed> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Address::Unix(path.trim_start_matches("//").into()));
        }
        let (plain, rest) = match text.strip_prefix("http://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("https://").unwrap_or(text)),
        };
        let (host, port) = host_and_port(rest).ok_or_else(|| {
            Failed::usage(format!("{text:?} is no address of a host"))
                .next("write unix:PATH, https://NAME:PORT, or http://127.0.0.1:PORT")
        })?;
        match plain {
            true if !is_loopback(&host) => Err(Failed::usage(format!("{text} would send the token in the clear"))
                .next("use https:// for any address that is not loopback")),
            true => Ok(Address::Plain(host, port)),
            false => Ok(Address::Tls(host, port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tls(host, port) => write!(f, "https://{}:{port}", bracketed(host)),
            Address::Plain(host, port) => write!(f, "http://{}:{port}", bracketed(host)),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let what = error.to_string();
        match error {
            Error::NoHost { .. } => Failed::new(what)
                .unchanged("nothing was asked, so nothing was changed")
                .next("is it running? start it with `tidegate run --fleet FILE`, or say where it is with --host"),
            Error::Silent(_) => {
                Failed::new(what).next("whether an order arrived is unknown: look with `tidegate status`")
            }
            Error::Forbidden { told } => {
                let next = told
                    .next
                    .clone()
                    .unwrap_or_else(|| "give the token of a person whose roles allow it with --token-file".to_owned());
                Failed { told: *told, ..Failed::usage("") }.next(next)
            }
            Error::Refused(refused) => refusal(&refused),
            Error::Answered { status, told } if status.is_client_error() => Failed { told: *told, ..Failed::usage("") },
            Error::Answered { told, .. } => Failed { told: *told, ..Failed::new("") },
            Error::Garbled { .. } => {
                Failed::new(what).next("compare `tidegate version` with the host's: it may be a newer one")
            }
        }
    }
}

/// `text` as one segment of a path, or one value of a query.
pub fn encode(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn refusal(refused: &Refused) -> Failed {
    let what = refused.reasons.iter().map(|reason| reason.text.clone()).collect::<Vec<_>>().join("\n  and: ");
    let failed = if refused.by_guard { Failed::refused(what) } else { Failed::usage(what) };
    failed.unchanged("the order was not taken")
}

fn told(status: StatusCode, body: &[u8]) -> Told {
    #[derive(serde::Deserialize)]
    struct Body {
        error: Told,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(body) => body.error,
        Err(_) => Told {
            what: format!("the host answered {status}: {}", String::from_utf8_lossy(body).trim()),
            ..Told::default()
        },
    }
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.trim_end_matches('/').rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('/') { None } else { Some((host.to_owned(), port.parse().ok()?)) }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Address, Client, Error, encode};
    use crate::cli::failed::{Exit, Failed};
    use crate::tls;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn addresses_are_read_and_shown_alike() {
        for text in
            ["unix:/run/tidegate/host.sock", "https://host.example:7443", "http://127.0.0.1:7442", "https://[::1]:1"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("host.example:7443".parse::<Address>().unwrap(), Address::Tls("host.example".to_owned(), 7443));
    }

    #[test]
    fn refuses_to_send_a_token_in_the_clear() {
        for text in ["http://host.example:80", "http://10.0.0.1:80", "host.example", "https://:1", "https://a:b"] {
            assert_eq!(text.parse::<Address>().unwrap_err().exit, Exit::Usage, "{text}");
        }
    }

    #[test]
    fn names_become_one_segment() {
        assert_eq!(encode("failover/default"), "failover%2Fdefault");
        assert_eq!(encode("a b&ü"), "a%20b%26%C3%BC");
    }

    #[tokio::test]
    async fn says_where_no_host_answers_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let client = Client::new(Address::Unix(directory.path().join("none.sock")), None, None);
        let failed = Failed::from(client.get::<()>("/v1/status").await.unwrap_err());
        assert_eq!(failed.exit, Exit::Failed);
        assert!(failed.to_string().contains("none.sock"), "{failed}");
        assert!(failed.told.next.unwrap().contains("tidegate run"));
    }

    /// Answers one request with `answer`, whatever it was, and gives the request back.
    async fn answering(answer: &'static str) -> (Client, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        (Client::new(Address::Plain("127.0.0.1".to_owned(), port), Some("s3cret".to_owned()), None), served)
    }

    #[tokio::test]
    async fn a_guards_refusal_keeps_its_exit_code_and_its_reasons() {
        let body = r#"{"by-guard":true,"reasons":[{"code":"cooldown","text":"the last move ended 1 min ago"}]}"#;
        let answer = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (client, served) = answering(answer.leak()).await;
        let error = client.post::<serde_json::Value>("/v1/orders", &serde_json::json!({})).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        let failed = Failed::from(error);
        assert_eq!((failed.exit, failed.told.what.as_str()), (Exit::Refused, "the last move ended 1 min ago"));
        assert!(served.await.unwrap().contains("authorization: Bearer s3cret"));
    }

    #[tokio::test]
    async fn an_errors_words_arrive() {
        let body = r#"{"error":{"what":"no service is called chop","next":"did you mean shop?"}}"#;
        let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (client, _served) = answering(answer.leak()).await;
        let failed = Failed::from(client.get::<()>("/v1/services/chop").await.unwrap_err());
        assert_eq!(failed.exit, Exit::Usage);
        assert_eq!(failed.to_string(), "no service is called chop\n  next: did you mean shop?");
    }

    #[tokio::test]
    async fn lines_arrive_one_by_one_and_the_last_needs_no_end() {
        let (client, _served) = answering("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\none\ntwo").await;
        let mut lines = client.lines("/v1/journal").await.unwrap();
        let mut read = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            read.push(line);
        }
        assert_eq!(read, ["one", "two"]);
    }

    #[tokio::test]
    async fn shows_its_token_only_to_a_host_whose_certificate_it_trusts() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        for name in ["host", "stranger"] {
            let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
            std::fs::write(file(&format!("{name}.pem")), signed.cert.pem()).unwrap();
            std::fs::write(file(&format!("{name}.key")), signed.signing_key.serialize_pem()).unwrap();
        }
        let server = tls::server(&file("host.pem"), &file("host.key")).unwrap();
        for (trusted, reached) in [("host.pem", true), ("stranger.pem", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = Address::Tls("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
            let acceptor = tokio_rustls::TlsAcceptor::from(server.clone());
            let served = tokio::spawn(async move {
                let mut stream = acceptor.accept(listener.accept().await?.0).await?;
                let mut request = vec![0; 4096];
                let read = stream.read(&mut request).await?;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ntrue").await?;
                std::io::Result::Ok(String::from_utf8_lossy(&request[..read]).into_owned())
            });
            let roots = tls::client(Some(&file(trusted))).unwrap();
            let client = Client::new(address, Some("s3cret".to_owned()), Some(roots));
            let answer = client.get::<bool>("/healthz").await;
            assert_eq!(answer.is_ok(), reached, "{trusted}: {answer:?}");
            let heard = served.await.unwrap();
            assert_eq!(heard.is_ok_and(|request| request.contains("Bearer s3cret")), reached, "{trusted}");
        }
    }
}
