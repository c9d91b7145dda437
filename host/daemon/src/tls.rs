//! TLS as both sides configure it: certificate and key for those who listen, roots for those who call.
//!
//! Knows nothing of what is said over it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// For who listens: certificate chain and key, PEM.
pub fn server(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let chain = certificates(certificate)?;
    let private =
        PrivateKeyDer::from_pem_file(key).with_context(|| format!("read the private key {}", key.display()))?;
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = config
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| format!("{} and {} do not belong together", certificate.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// For who calls: trusts this file of authorities (PEM) and no others, or without one those of the machine.
pub fn client(authorities: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let roots = match authorities {
        Some(path) => roots(path, &certificates(path)?)?,
        None => native_roots()?,
    };
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What providers' TLS is to trust besides the machine's authorities: those of this file (PEM), each as DER.
pub fn trusted(path: Option<&Path>) -> Result<Vec<Vec<u8>>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let found = certificates(path).and_then(|found| roots(path, &found).map(|_| found)).with_context(|| {
        let path = path.display();
        format!("{path} is to be trusted (`trust`) and cannot be\n  unchanged: nothing was started\n  next: write the authorities there, PEM, or take `trust` out")
    })?;
    Ok(found.iter().map(|certificate| certificate.to_vec()).collect())
}

/// Named, so that it does not matter which other providers are compiled in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(path: &Path, given: &[CertificateDer<'static>]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in given {
        roots.add(certificate.clone()).with_context(|| format!("{} holds no certificate authority", path.display()))?;
    }
    Ok(roots)
}

fn native_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    ensure!(
        added > 0,
        "this machine trusts no certificate authority\n  unchanged: nothing was connected\n  \
         next: install ca-certificates, or name the authority's file"
    );
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = || format!("read the certificates in {}", path.display());
    let certificates = CertificateDer::pem_file_iter(path).with_context(what)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().with_context(what)?;
    ensure!(!certificates.is_empty(), "{} holds no certificate (PEM)", path.display());
    Ok(certificates)
}
