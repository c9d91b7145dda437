//! HTTP for providers: the host's own sender, which connects only to addresses that the gate has just admitted.
//!
//! The name is resolved once, by the gate, and the connection goes to that very address; TLS still checks the name.
//! Redirects are answers like any other: a guest that follows one comes back through the gate. Connections are not
//! shared, neither between plugins nor between requests. Does not know what a request is for.

use crate::{
    grants::{Gate, Scheme},
    limits::Limits,
};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{
    future::Future,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tidegate_kernel::contract::Failure;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Io), Error>;

/// Sends one instance's requests.
#[derive(Clone)]
pub(crate) struct Sender {
    pub(crate) gate: Arc<Gate>,
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) limits: Limits,
    /// When the call ends that sends: no request outlasts it.
    pub(crate) until: Instant,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// TLS with the machine's roots, and the operator's own besides.
pub(crate) fn tls(extra_roots: &[Vec<u8>]) -> anyhow::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in native.errors {
        tracing::warn!("a root certificate of this machine is not usable: {error}");
    }
    roots.add_parsable_certificates(native.certs);
    for der in extra_roots {
        roots.add(der.clone().into())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl WasiHttpHooks for Sender {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let sender = self.clone();
        Box::new(async move { sender.send(request, options.unwrap_or_default()).await })
    }
}

impl Sender {
    async fn send(self, request: Request<WasiBody>, options: RequestOptions) -> Sent {
        let target = Target::of(request.uri())?;
        let connect = async {
            let addresses = self.gate.http(target.scheme, &target.host, target.port).await.map_err(refused)?;
            target.secure(first(&addresses).await?, self.tls.clone()).await
        };
        let stream =
            timeout(self.most(options.connect_timeout), connect).await.map_err(|_| Error::ConnectionTimeout)??;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The request has to make progress while it is being sent; afterwards the guest's own reads drive the connection.
        let connection = wasmtime_wasi::runtime::spawn(async move { connection.await.map_err(Error::from) });
        let answer = sender.send_request(origin_form(request)?);
        let answer = timeout(self.most(options.first_byte_timeout), answer)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)??;
        let max = usize::try_from(self.limits.http_body.0).unwrap_or(usize::MAX);
        let io: Io = Box::new(async move {
            let _keep = sender;
            connection.await
        });
        Ok((answer.map(|body| capped(body, max)), io))
    }

    fn most(&self, wanted: Option<Duration>) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        wanted.map_or(left, |wanted| wanted.min(left))
    }
}

/// Where a request goes.
struct Target {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Target {
    fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let (scheme, port) =
            if uri.scheme() == Some(&http::uri::Scheme::HTTP) { (Scheme::Http, 80) } else { (Scheme::Https, 443) };
        // Credentials in an authority would make one host look like another.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        Ok(Target { scheme, host: authority.host().to_owned(), port: authority.port_u16().unwrap_or(port) })
    }

    async fn secure(&self, stream: TcpStream, tls: Arc<rustls::ClientConfig>) -> Result<Box<dyn Stream>, Error> {
        if self.scheme == Scheme::Http {
            return Ok(Box::new(stream));
        }
        let bare = self.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(|_| Error::HttpRequestUriInvalid)?;
        let stream = tokio_rustls::TlsConnector::from(tls).connect(name, stream).await.map_err(Error::Tls)?;
        Ok(Box::new(stream))
    }
}

/// The first address that answers.
async fn first(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let mut failed = Error::DestinationNotFound;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Error::Connect(error),
        }
    }
    Err(failed)
}

fn refused(failure: Failure) -> Error {
    match failure {
        Failure::NotFound(_) => Error::DestinationNotFound,
        _ => Error::HttpRequestDenied,
    }
}

/// An origin server is asked for a path, not for a whole URI.
fn origin_form(mut request: Request<WasiBody>) -> Result<Request<WasiBody>, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = Uri::builder().path_and_query(path).build().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

fn capped(body: hyper::body::Incoming, max: usize) -> WasiBody {
    let too_large = move |error: Box<dyn std::error::Error + Send + Sync>| match error.downcast::<hyper::Error>() {
        Ok(error) => Error::from(*error),
        Err(_) => Error::HttpResponseBodySize(Some(max as u64)),
    };
    let body: WasiBody =
        Limited::new(body, max).map_err(too_large).map_frame(|frame| frame.map_data(Bytes::from)).boxed_unsync();
    body
}
