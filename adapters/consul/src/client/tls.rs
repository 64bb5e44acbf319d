//! TLS towards the agent: trusted authorities, and the client certificate.

use std::path::Path;
use std::sync::Arc;

use pilot_registry::RegistryError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::Config;

/// What a TLS connection is made with.
pub(super) struct Tls {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server_name: Option<String>,
}

/// Reads the files. `None` where none is configured.
pub(super) fn client(config: &Config) -> Result<Option<Tls>, RegistryError> {
    let Some(ca) = &config.tls.ca else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls.ca", ca)? {
        roots.add(certificate).map_err(|error| unreadable("tls.ca", ca, error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RegistryError::malformed("setting up TLS").caused_by(error))?
        .with_root_certificates(roots);
    let client = match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) => {
            let chain = certificates("tls.cert", cert)?;
            let own = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("tls.key", key, error))?;
            builder.with_client_auth_cert(chain, own).map_err(|error| unreadable("tls.key", key, error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Some(Tls { client: Arc::new(client), server_name: config.tls.server_name.clone() }))
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| unreadable(key, path, error))?;
    if found.is_empty() {
        let why = format!("{key} {} has no certificate: expected PEM", path.display());
        return Err(RegistryError::denied(why));
    }
    Ok(found)
}

fn unreadable(
    key: &str,
    path: &Path,
    error: impl std::error::Error + Send + Sync + 'static,
) -> RegistryError {
    RegistryError::denied(format!("reading {key} {}", path.display())).caused_by(error)
}
