//! `wasi:tls` for providers: TLS over streams that a guest has already, with the host's roots and the host's check.
//!
//! Opens no way of its own: the streams come from a socket that the gate has admitted. Whom the certificate has to name is
//! the guest's to say, and that it is checked is not: nothing here encrypts without knowing to whom.

use super::host::ProviderHost;
use rustls::pki_types::ServerName;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{TlsConnector, client};
use wasmtime::component::Linker;
use wasmtime_wasi_tls::{Error, TlsProvider, TlsStream, TlsTransport, p2};

/// Makes handshakes with this configuration.
pub(super) struct Tls(pub(super) Arc<rustls::ClientConfig>);

/// The runtime's trait on the library's type.
struct Secured(client::TlsStream<Box<dyn TlsTransport>>);

type Handshake = Pin<Box<dyn Future<Output = Result<Box<dyn TlsStream>, Error>> + Send>>;

pub(super) fn add_to_linker(linker: &mut Linker<ProviderHost>) -> wasmtime::Result<()> {
    let mut options = p2::LinkOptions::default();
    options.tls(true);
    p2::add_to_linker(linker, &options)
}

impl TlsProvider for Tls {
    fn connect(&self, server_name: String, transport: Box<dyn TlsTransport>) -> Handshake {
        let connector = TlsConnector::from(self.0.clone());
        Box::pin(async move {
            let name = ServerName::try_from(server_name).map_err(|error| Error::msg(error.to_string()))?;
            let stream = connector.connect(name, transport).await.map_err(|error| Error::msg(error.to_string()))?;
            Ok(Box::new(Secured(stream)) as Box<dyn TlsStream>)
        })
    }
}

impl TlsStream for Secured {}

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
