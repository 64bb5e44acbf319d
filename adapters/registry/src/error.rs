//! Errors of registries and of their configuration.

/// A value that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the messages name")]
pub enum ModelError {
    #[error("host {name:?} is not a DNS name: {why}")]
    Hostname { name: String, why: &'static str },
    #[error("port {number} is not a port: expected 1 to 65535")]
    Port { number: String },
    #[error("unknown protocol {name:?}: {instead}")]
    Protocol { name: String, instead: String },
    #[error(
        "address {address:?} is not an address: {why}; expected an IPv4 or IPv6 address, unix:/path, or a DNS name"
    )]
    Address { address: String, why: String },
    #[error("weight {number} is out of range: expected 1 to {most}")]
    Weight { number: u32, most: u32 },
    #[error("identity {id:?} is not a SPIFFE id: expected spiffe://trust-domain/path")]
    SpiffeId { id: String },
    #[error("namespace {name:?} is not a namespace: expected 1 to 253 letters, digits, '-', '_' or '.'")]
    Namespace { name: String },
    #[error("service {host} has no port: expected at least one")]
    NoPort { host: String },
    #[error("service {host} has port {port} twice")]
    DuplicatePort { host: String, port: String },
    #[error("endpoint {address} of service {host}: {why}")]
    Endpoint { host: String, address: String, why: String },
    #[error("health_check of service {host}: {why}")]
    HealthCheck { host: String, why: String },
    #[error("rewrite_host of service {host}: {why}")]
    RewriteHost { host: String, why: &'static str },
    #[error("service {id} is there twice")]
    DuplicateService { id: String },
    #[error(
        "export_to: {why}; expected \"*\" (everybody), \".\" (the service's own namespace), \"~\" (nobody), or namespaces"
    )]
    Visibility { why: String },
}

/// Why an attempt to follow a registry ended.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    kind: ErrorKind,
    message: String,
    #[source]
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

/// What kind of trouble it is. The supervisor tries again in each case: credentials and servers get mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The platform refused us: credentials, permissions.
    Denied,
    /// The platform did not answer, or broke off.
    Unavailable,
    /// The platform's answer makes no sense as a whole. (One entry that makes no sense is
    /// [skipped](crate::SnapshotSink::skipped).)
    Malformed,
}

impl ErrorKind {
    /// The kind as a word, for metrics and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Malformed => "malformed",
        }
    }
}

impl RegistryError {
    /// An error of that kind. `message` says what was tried and with what; no secrets.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// [`ErrorKind::Denied`].
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// [`ErrorKind::Malformed`].
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(std::sync::Arc::new(source));
        self
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message and the messages of all causes, in one line. A cause that the message before it has quoted
    /// is not said again.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.ends_with(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

/// A configuration that an adapter refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct ConfigError {
    /// The key inside the adapter's own table: `address`, `tls.ca`.
    pub key: String,
    /// What is wrong, and what was expected.
    pub reason: String,
}

impl ConfigError {
    /// The value of `key` is refused because of `reason`.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading a variable: {0}")]
    struct Quoting(#[source] std::env::VarError);

    #[test]
    fn a_cause_that_is_quoted_already_is_said_once() {
        let error =
            RegistryError::unavailable("no account").caused_by(Quoting(std::env::VarError::NotPresent));
        assert_eq!(error.chain(), "no account: reading a variable: environment variable not found");
    }
}
