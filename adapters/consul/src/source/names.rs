//! The list of services of a datacenter.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use pilot_registry::RegistryError;

use crate::Config;
use crate::client::{Answer, Call, Client, Query};

pub(super) const NAMES: &str = "/v1/catalog/services";

/// Names, and the tags of all instances of each.
pub(super) type Names = BTreeMap<Arc<str>, Vec<String>>;

/// Asks for the list, and makes sure that an empty one is not a refusal.
pub(super) async fn ask(
    client: &Client,
    query: Query<'_>,
    has_own_service: bool,
) -> Result<Answer, RegistryError> {
    let answer = client.query(&query).await?;
    if answer.body.trim_ascii() == b"{}" {
        believe_emptiness(client, &answer, has_own_service).await?;
    }
    Ok(answer)
}

/// Consul answers who may read nothing with an empty list. But no cluster is empty: its servers are the
/// service `consul`. So an empty list is believed where there is no access control at all, or where a newer
/// server does not say that it has left something out.
async fn believe_emptiness(
    client: &Client,
    answer: &Answer,
    has_own_service: bool,
) -> Result<(), RegistryError> {
    let refused = || {
        let whose = if client.has_token() { "the token" } else { "nobody without a token" };
        RegistryError::denied(format!(
            "{NAMES}: consul shows no service at all, not even its own: {whose} is allowed to read any; \
             expected service:read and node:read"
        ))
    };
    if answer.filtered {
        return Err(refused());
    }
    if !has_own_service {
        return Ok(());
    }
    let call = Call { method: Method::GET, path: "/v1/acl/token/self".to_owned(), body: Bytes::new() };
    let (status, body) = client.call(&call).await?;
    let without_acl =
        status == StatusCode::UNAUTHORIZED && String::from_utf8_lossy(&body).contains("disabled");
    if without_acl { Ok(()) } else { Err(refused()) }
}

/// Reads the list: the services that are followed.
pub(super) fn read(body: &[u8], config: &Config) -> Result<Names, RegistryError> {
    let all: BTreeMap<String, Option<Vec<String>>> = serde_json::from_slice(body).map_err(|error| {
        RegistryError::malformed(format!("{NAMES}: expected services and their tags")).caused_by(error)
    })?;
    let tagged = |tags: &[String]| config.tags.iter().all(|tag| tags.contains(tag));
    let named = all.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default()));
    let followed = named.filter(|(name, tags)| config.follows(name) && tagged(tags));
    Ok(followed.map(|(name, tags)| (Arc::from(name), tags)).collect())
}
