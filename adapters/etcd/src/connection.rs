//! A connection to one etcd endpoint that answers.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, KvClient, TlsOptions};
use pilot_registry::{ErrorKind, RegistryError};
use tokio::time::{Duration, timeout};

use crate::config::{Config, Tls};
use crate::error;
use crate::keys::Keys;

/// Notices a peer that is gone while nothing is sent. etcd forbids more than one in 5 s.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A connection to one endpoint, which had a leader when it was made. All requests go there, so that one
/// answer is never older than the one before.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) endpoint: String,
    pub(crate) timeout: Duration,
}

impl Connection {
    /// Connects to the first endpoint that answers, beginning with the one whose turn it is. An attempt that
    /// comes after this one begins with the next.
    ///
    /// # Errors
    /// None answers. Where one refuses the credentials, that is the error.
    pub(crate) async fn open(
        config: &Config,
        keys: &Keys,
        turn: &AtomicUsize,
    ) -> Result<Self, RegistryError> {
        let options = options(config)?;
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let mut errors = Vec::new();
        for n in 0..config.endpoints.len() {
            let endpoint = &config.endpoints[(first + n) % config.endpoints.len()];
            match Self::to(endpoint, config, keys, options.clone()).await {
                Ok(connection) => return Ok(connection),
                Err(error) => errors.push(error),
            }
        }
        Err(all(errors))
    }

    async fn to(
        endpoint: &str,
        config: &Config,
        keys: &Keys,
        options: ConnectOptions,
    ) -> Result<Self, RegistryError> {
        let doing = if config.user.is_some() { "authenticating with etcd" } else { "connecting to etcd" };
        let first = async {
            let connected = timeout(config.timeout, Client::connect([endpoint], Some(options))).await;
            let client = connected
                .map_err(|_| error::late(doing, endpoint, config.timeout))?
                .map_err(|error| error::failed(doing, endpoint, &error))?;
            let connection = Self { client, endpoint: endpoint.to_owned(), timeout: config.timeout };
            connection.revision(keys).await?;
            Ok(connection)
        };
        first.await.map_err(|error| if config.tls.is_some() { error::of_tls(error) } else { error })
    }

    /// The revision of this moment, which the leader has confirmed.
    ///
    /// # Errors
    /// etcd refuses, or does not answer.
    pub(crate) async fn revision(&self, keys: &Keys) -> Result<i64, RegistryError> {
        // Never a key; asking for it needs a leader, and the permission to read below the prefix.
        let answer = self.answer("asking etcd for its revision", self.kv().get(keys.root(), None)).await?;
        Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// The version of the member that is talked to.
    ///
    /// # Errors
    /// etcd refuses, or does not answer.
    pub(crate) async fn version(&self) -> Result<String, RegistryError> {
        let mut client = self.client.maintenance_client();
        Ok(self.answer("asking etcd for its version", client.status()).await?.version().to_owned())
    }

    pub(crate) fn kv(&self) -> KvClient {
        self.client.kv_client()
    }

    /// Waits for an answer, but not too long.
    pub(crate) async fn answer<T>(
        &self,
        doing: &str,
        request: impl Future<Output = Result<T, etcd_client::Error>>,
    ) -> Result<T, RegistryError> {
        match timeout(self.timeout, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error::failed(doing, &self.endpoint, &error)),
            Err(_) => Err(error::late(doing, &self.endpoint, self.timeout)),
        }
    }
}

fn options(config: &Config) -> Result<ConnectOptions, RegistryError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(config.timeout)
        .with_keep_alive(KEEPALIVE, config.timeout)
        .with_tcp_keepalive(KEEPALIVE)
        // A member that is cut off from the others says so, instead of saying nothing new.
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some(user) = &config.user {
        options = options.with_user(user.clone(), password(config)?);
    }
    if let Some(tls) = &config.tls {
        options = options.with_tls(tls_options(tls)?);
    }
    Ok(options)
}

fn password(config: &Config) -> Result<String, RegistryError> {
    if let Some(path) = &config.password_file {
        return Ok(read("password_file", path)?.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Some(name) = &config.password_env {
        let why = format!("password_env: there is no variable {name:?}, or it is not UTF-8");
        return std::env::var(name).map_err(|_| RegistryError::denied(why));
    }
    Ok(config.password.as_ref().map(|password| password.reveal().to_owned()).unwrap_or_default())
}

fn tls_options(tls: &Tls) -> Result<TlsOptions, RegistryError> {
    let mut options = TlsOptions::new().ca_certificate(Certificate::from_pem(read("tls.ca", &tls.ca)?));
    if let (Some(cert), Some(key)) = (&tls.cert, &tls.key) {
        options = options.identity(Identity::from_pem(read("tls.cert", cert)?, read("tls.key", key)?));
    }
    if let Some(name) = &tls.server_name {
        options = options.domain_name(name);
    }
    Ok(options)
}

/// Read anew for each connection, so that renewed files are used.
fn read(key: &str, path: &Path) -> Result<String, RegistryError> {
    std::fs::read_to_string(path)
        .map_err(|error| RegistryError::denied(format!("{key}: reading {}", path.display())).caused_by(error))
}

/// One error of all. The kind is that which most calls for a person.
fn all(mut errors: Vec<RegistryError>) -> RegistryError {
    if errors.len() == 1
        && let Some(only) = errors.pop()
    {
        return only;
    }
    let is = |kind| errors.iter().any(|error: &RegistryError| error.kind() == kind);
    let kind = [ErrorKind::Denied, ErrorKind::Malformed].into_iter().find(|kind| is(*kind));
    let texts: Vec<String> = errors.iter().map(RegistryError::chain).collect();
    let message = format!("no endpoint of etcd can be used: {}", texts.join("; "));
    RegistryError::new(kind.unwrap_or(ErrorKind::Unavailable), message)
}
