//! The API server's version, which is only shown. An error here has no other effect.

use std::convert::Infallible;

use pilot_registry::{Content, ErrorKind, RegistryError, Sink};
use serde::Deserialize;

use crate::client::{Client, Refusal};

/// The name of the fact.
const FACT: &str = "server_version";
/// The most bytes of the answer that are read.
const MAX_BYTES: usize = 64 << 10;

/// `Info` of apimachinery's `version`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    git_version: String,
}

/// Asks once, and tells the sink. What an earlier attempt told stays while the server cannot be reached.
pub(super) async fn tell<T: Content>(client: &Client, sink: &Sink<T>) -> Infallible {
    match version(client).await {
        Ok(version) => sink.fact(FACT, &version),
        Err(Refusal::Failed(error) | Refusal::OutOfReach(error))
            if error.kind() == ErrorKind::Unavailable => {}
        Err(_) => sink.fact(FACT, ""),
    }
    std::future::pending().await
}

async fn version(client: &Client) -> Result<String, Refusal> {
    let what = "read the version";
    let answer = client.get(what, "/version", "application/json").await?.whole(MAX_BYTES).await?;
    let Info { git_version } = serde_json::from_slice(&answer)
        .map_err(|_| RegistryError::malformed(format!("{what}: the answer is no version")))?;
    Ok(git_version)
}
