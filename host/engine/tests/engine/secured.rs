//! TLS for providers: HTTP's, and that of a connection which begins in the clear. Only who shows a certificate that the
//! host trusts, for the name that was asked for, is talked to.

use crate::{
    providers::Names,
    support::{check, connect, engine_with, probe, probe_slot},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use serde_json::json;
use std::{future::Future, net::SocketAddr, sync::Arc};
use tidegate_engine::{Engine, EngineConfig, Grants, ProviderSlot, RevisionSpec};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// An authority of the operator's own, and what it lets a server be.
struct Authority {
    root: Vec<u8>,
    acceptor: TlsAcceptor,
}

impl Authority {
    /// Vouches for a server of the name `db.test`, also by its address.
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = ["db.test", "127.0.0.1"].map(str::to_owned);
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        Authority { root: issuer.der().to_vec(), acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    async fn trusted(&self) -> Engine {
        let resolver = Arc::new(Names);
        engine_with(EngineConfig { extra_roots: vec![self.root.clone()], resolver, ..EngineConfig::default() }).await
    }
}

/// Trusts the machine's authorities only.
async fn wary() -> Engine {
    engine_with(EngineConfig { resolver: Arc::new(Names), ..EngineConfig::default() }).await
}

/// Serves each connection in this way, for ever.
async fn serve<F: Future<Output = std::io::Result<()>> + Send>(
    serve: impl Fn(TcpStream) -> F + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve = serve.clone();
            tokio::spawn(async move { serve(stream).await });
        }
    });
    address
}

/// As a database does it: one byte in the clear, answered by one, and then TLS. Says much, and then what it was told.
async fn database(mut stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    if stream.read_u8().await? == b'?' {
        stream.write_u8(b'S').await?;
        return echo(acceptor.accept(stream).await?).await;
    }
    Ok(())
}

async fn echo(mut stream: TlsStream<TcpStream>) -> std::io::Result<()> {
    let mut said = Vec::new();
    while !said.ends_with(b"\n") {
        said.push(stream.read_u8().await?);
    }
    stream.write_all(&vec![b'.'; 300_000]).await?;
    stream.write_all(said.trim_ascii_end()).await?;
    stream.shutdown().await
}

async fn page(stream: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let _ = stream.read(&mut [0; 4_096]).await?;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello").await?;
    stream.shutdown().await
}

async fn starttls(engine: &Engine, grants: Grants) -> ProviderSlot {
    let bytes = tidegate_test_guests::starttls_probe().to_vec();
    probe_slot(engine, RevisionSpec { bytes, ..probe(grants) }).await
}

async fn told(slot: &ProviderSlot, address: SocketAddr, name: Option<&str>) -> String {
    let target = json!({ "address": address.to_string(), "name": name, "say": "the end." }).to_string();
    slot.check("site", &target, 5_000).await.unwrap().detail
}

#[tokio::test]
async fn a_connection_goes_on_in_tls_with_whom_the_host_trusts_under_the_name_asked_for() {
    let authority = Authority::new();
    let acceptor = authority.acceptor.clone();
    let address = serve(move |stream| database(stream, acceptor.clone())).await;
    let slot = starttls(&authority.trusted().await, connect(&[&format!("tcp://{address}")])).await;
    for name in ["db.test", "127.0.0.1"] {
        assert_eq!(told(&slot, address, Some(name)).await, "300008 bytes, the last: the end.", "{name}");
    }
    for name in ["other.test", "10.0.0.1", "no name at all"] {
        let found = told(&slot, address, Some(name)).await;
        assert!(found.starts_with(&format!("InvalidData: no TLS with {name}:")), "{name}: {found}");
    }
    assert_eq!(slot.health().recent_traps, 0, "a certificate that is not good enough is an answer");
}

#[tokio::test]
async fn a_connection_does_not_go_on_with_whom_the_host_does_not_trust() {
    let authority = Authority::new();
    let acceptor = authority.acceptor.clone();
    let address = serve(move |stream| database(stream, acceptor.clone())).await;
    let slot = starttls(&wary().await, connect(&[&format!("tcp://{address}")])).await;
    let found = told(&slot, address, Some("db.test")).await;
    assert!(found.contains("UnknownIssuer"), "{found}");
}

#[tokio::test]
async fn a_server_that_hangs_up_or_says_nothing_in_the_handshake_is_told_so() {
    let leaving = serve(|mut stream| async move {
        let _ = stream.read_u8().await?;
        stream.write_u8(b'S').await
    });
    let silent = serve(|mut stream| async move {
        let _ = stream.read_u8().await?;
        stream.write_u8(b'S').await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.map(drop)
    });
    let (leaving, silent) = (leaving.await, silent.await);
    let grants = connect(&[&format!("tcp://{leaving}"), &format!("tcp://{silent}")]);
    let slot = starttls(&wary().await, grants).await;
    let found = told(&slot, leaving, Some("db.test")).await;
    assert!(found.starts_with("InvalidData: no TLS with db.test:"), "{found}");
    let target = json!({ "address": silent.to_string(), "name": "db.test", "say": "", "patience": "200ms" });
    let found = slot.check("site", &target.to_string(), 10_000).await.unwrap().detail;
    assert!(found.starts_with("TimedOut"), "{found}");
}

#[tokio::test]
async fn a_connection_needs_its_grant_in_the_clear_and_for_tls_alike() {
    let clear = serve(|mut stream| async move {
        let mut said = [0; 9];
        stream.read_exact(&mut said).await?;
        stream.write_all(&said[..8]).await
    });
    let clear = clear.await;
    let engine = wary().await;
    let granted = starttls(&engine, connect(&[&format!("tcp://{clear}")])).await;
    assert_eq!(told(&granted, clear, None).await, "8 bytes, the last: the end.");
    let bare = starttls(&engine, Grants::default()).await;
    for name in [None, Some("db.test")] {
        let found = told(&bare, clear, name).await;
        assert!(found.starts_with("PermissionDenied"), "{name:?}: {found}");
    }
}

#[tokio::test]
async fn https_reaches_whom_the_host_trusts_and_nobody_else() {
    let authority = Authority::new();
    let acceptor = authority.acceptor.clone();
    let port = serve(move |stream| page(stream, acceptor.clone())).await.port();
    let grants = || connect(&[&format!("https://*.test:{port}"), &format!("https://127.0.0.0/8:{port}")]);
    let trusting = probe_slot(&authority.trusted().await, probe(grants())).await;
    let wary = probe_slot(&wary().await, probe(grants())).await;
    for (slot, host, expected) in [
        (&trusting, "db.test", "hello"),
        (&trusting, "127.0.0.1", "hello"),
        (&trusting, "other.test", "Tls"),
        (&wary, "db.test", "Tls"),
    ] {
        let found = match check(slot, &format!("http https://{host}:{port}/")).await {
            Ok(finding) => finding.detail,
            Err(failure) => failure.to_string(),
        };
        assert!(found.contains(expected), "{host}: expected “{expected}”: {found}");
    }
}
