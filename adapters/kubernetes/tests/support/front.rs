//! TLS in front of a server that has none.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use pilot_registry_testkit::server::{Acceptor, Certificate};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Takes TLS connections, and passes on what is in them. Its connections end with it.
pub(crate) struct Front(Acceptor);

impl Front {
    /// In front of `server`, with that certificate; where `clients` is given, clients need one of that
    /// authority.
    pub(crate) async fn to(
        server: SocketAddr,
        certificate: &Certificate,
        clients: Option<PathBuf>,
    ) -> Result<Self> {
        let tls = TlsAcceptor::from(Arc::new(config(certificate, clients.as_deref())?));
        Ok(Self(Acceptor::start(move |client| pass(client, tls.clone(), server)).await?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

fn config(certificate: &Certificate, clients: Option<&Path>) -> Result<ServerConfig> {
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(authority)?)?;
            ServerConfig::builder()
                .with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?)
        }
        None => ServerConfig::builder().with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_file(&certificate.certificate)?];
    Ok(builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(&certificate.key)?)?)
}

async fn pass(client: TcpStream, acceptor: TlsAcceptor, server: SocketAddr) {
    if let (Ok(mut client), Ok(mut server)) =
        (acceptor.accept(client).await, TcpStream::connect(server).await)
    {
        _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
