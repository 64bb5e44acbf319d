//! Turns etcd's errors into errors that say what was tried, where, and of which kind the fault is.

use std::error::Error as _;

use etcd_client::Error;
use pilot_registry::{ErrorKind, RegistryError};

/// etcd's own words, which are part of its API (api/v3rpc/rpctypes).
const DENIALS: [&str; 6] = [
    "authentication failed",
    "user name is empty",
    "authentication is not enabled",
    "permission denied",
    "invalid auth token",
    // An alert of TLS: BadCertificate, CertificateRequired, …
    "received fatal alert",
];
/// What is said by a peer that is no etcd.
const NONSENSE: [&str; 7] = [
    "decoded message length too large",
    "failed to decode",
    "invalid compression flag",
    "detected:",
    "invalid content-type",
    "malformed",
    "corrupt message",
];

/// The error of doing that at an endpoint.
pub(crate) fn failed(doing: &str, endpoint: &str, error: &Error) -> RegistryError {
    let cause = cause(error);
    RegistryError::new(kind(error, &cause), format!("{doing} at {endpoint}: {cause}"))
}

/// The error of the first request over TLS. A server tells after the handshake that it does not accept the
/// client's certificate (RFC 8446 §4.4.2.4), and what is seen of that is a connection that ends at once.
pub(crate) fn of_tls(error: RegistryError) -> RegistryError {
    let chain = error.chain();
    let is_ended = ["connection closed", "broken pipe"].iter().any(|words| chain.contains(words));
    if error.kind() != ErrorKind::Unavailable || !is_ended {
        return error;
    }
    let why = "after the TLS handshake, as etcd ends one whose certificate it does not accept";
    RegistryError::denied(format!("{chain} ({why})"))
}

/// The error of an endpoint that has not answered in time.
pub(crate) fn late(doing: &str, endpoint: &str, time: std::time::Duration) -> RegistryError {
    RegistryError::unavailable(format!("{doing} at {endpoint}: no answer within {time:?}"))
}

/// The error of a watch that etcd has cancelled for that reason.
pub(crate) fn cancelled(endpoint: &str, reason: &str) -> RegistryError {
    let kind = if is_denial(reason) { ErrorKind::Denied } else { ErrorKind::Unavailable };
    let reason = if reason.is_empty() { "no reason given" } else { reason };
    RegistryError::new(kind, format!("etcd at {endpoint} cancelled the watch: {reason}"))
}

fn kind(error: &Error, cause: &str) -> ErrorKind {
    if is_denial(cause) {
        return ErrorKind::Denied;
    }
    let is_nonsense = NONSENSE.iter().any(|words| cause.contains(words));
    match error {
        // 12: a server that does not know etcd's API.
        Error::GRpcStatus(status) if status.code() as i32 == 12 || is_nonsense => ErrorKind::Malformed,
        Error::GRpcStatus(status) if [7, 16].contains(&(status.code() as i32)) => ErrorKind::Denied,
        Error::Utf8Error(_) | Error::InvalidMetadataValue(_) => ErrorKind::Malformed,
        _ => ErrorKind::Unavailable,
    }
}

fn is_denial(text: &str) -> bool {
    DENIALS.iter().any(|words| text.contains(words))
}

/// The messages of the error and of all its causes, without the metadata that a gRPC status shows.
fn cause(error: &Error) -> String {
    let (mut text, mut source) = match error {
        Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        Error::TransportError(transport) => (transport.to_string(), transport.source()),
        other => (other.to_string(), other.source()),
    };
    while let Some(error) = source {
        let message = error.to_string();
        if !text.contains(&message) {
            text = if text.is_empty() { message } else { format!("{text}: {message}") };
        }
        source = error.source();
    }
    text
}
