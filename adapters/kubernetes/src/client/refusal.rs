//! Classifies the API server's refusals.

use std::error::Error;

use http::StatusCode;
use kube::client::AuthError;
use pilot_registry::{ErrorKind, RegistryError};
use serde::Deserialize;

use super::Content;

/// The most bytes of a refusal that are read.
const MAX_BYTES: usize = 64 << 10;
/// The most characters of its message that are shown.
const MAX_SHOWN: usize = 300;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// 410: what was asked for is forgotten. A new list is needed.
    Expired,
    /// 422: the server does not know this way of asking.
    Unsupported,
    /// 500: it may be this way of asking that the server, or its storage, cannot answer.
    Internal(RegistryError),
    /// 404: the server has no such resource.
    Missing(RegistryError),
    /// 403: this resource is not for us; others may be.
    Forbidden(RegistryError),
    /// No connection, no credentials, or 401: whatever else is asked for fares the same.
    OutOfReach(RegistryError),
    /// Anything else.
    Failed(RegistryError),
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

/// What the API server says in words: `Status` of meta/v1.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) message: String,
    pub(crate) code: u16,
}

impl Status {
    /// What such an answer to `what` means.
    pub(crate) fn refusal(&self, what: &str) -> Refusal {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let error = |kind| RegistryError::new(kind, format!("{what}: {code}{}", self.shown()));
        match code {
            StatusCode::GONE => Refusal::Expired,
            StatusCode::UNPROCESSABLE_ENTITY => Refusal::Unsupported,
            StatusCode::NOT_FOUND => Refusal::Missing(error(ErrorKind::Malformed)),
            StatusCode::FORBIDDEN => Refusal::Forbidden(error(ErrorKind::Denied)),
            StatusCode::UNAUTHORIZED => Refusal::OutOfReach(error(ErrorKind::Denied)),
            StatusCode::INTERNAL_SERVER_ERROR => Refusal::Internal(error(ErrorKind::Unavailable)),
            code if code.is_server_error() => Refusal::Failed(error(ErrorKind::Unavailable)),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Refusal::Failed(error(ErrorKind::Unavailable))
            }
            _ => Refusal::Failed(error(ErrorKind::Malformed)),
        }
    }

    fn shown(&self) -> String {
        let shown: String = self.message.chars().take(MAX_SHOWN).collect();
        if shown.is_empty() { shown } else { format!(": {shown}") }
    }
}

/// What another status than 200 means.
pub(super) async fn refused(what: &str, code: StatusCode, content: Content) -> Refusal {
    // The code says enough where the words cannot be read.
    let bytes = content.whole(MAX_BYTES).await.unwrap_or_default();
    let said: Status = serde_json::from_slice(&bytes).unwrap_or_default();
    Status { code: code.as_u16(), ..said }.refusal(what)
}

/// Why a request did not get through.
pub(super) fn failed(what: &str, error: kube::Error) -> RegistryError {
    match error {
        kube::Error::Auth(error) => denied(&error),
        kube::Error::Service(error) => {
            // What a layer said is wrapped once more.
            match error.downcast::<AuthError>() {
                Ok(error) => denied(&error),
                Err(error) => RegistryError::unavailable(format!("{what}: {}", chain(error.as_ref()))),
            }
        }
        error => RegistryError::unavailable(what.to_owned()).caused_by(error),
    }
}

/// Why there cannot be a client at all.
pub(super) fn unusable(error: kube::Error) -> RegistryError {
    match error {
        kube::Error::Auth(error) => denied(&error),
        error => RegistryError::malformed("the way to the API server cannot be used").caused_by(error),
    }
}

/// What plugins are given and what they print stays unsaid: it holds secrets.
fn denied(error: &AuthError) -> RegistryError {
    let why = match error {
        AuthError::AuthExecRun { out, .. } => format!("the credentials' plugin ended with {}", out.status),
        AuthError::AuthExecParse(_) => "what the credentials' plugin printed cannot be parsed".to_owned(),
        AuthError::MalformedTokenExpirationDate(_) => {
            "the time at which the token ends makes no sense".to_owned()
        }
        AuthError::AuthExec(_) => "the credentials' plugin failed".to_owned(),
        AuthError::InvalidBasicAuth(_) => "user and password make no header".to_owned(),
        AuthError::InvalidBearerToken(_) => "the token makes no header".to_owned(),
        AuthError::ParseTokenKey(_) => "the token's key cannot be parsed".to_owned(),
        error => error.to_string(),
    };
    RegistryError::denied(format!("no credentials for the API server: {why}"))
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut said = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    said.dedup();
    said.join(": ")
}
