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

/// Names of which no host comes, and why.
pub(super) type NoHosts = BTreeMap<String, String>;

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

/// Whether there is a service of that name now. Fails where the token may read none any more: what was open
/// when the right was taken away is answered with nothing, before the list of services is.
pub(super) async fn lists(
    client: &Client,
    datacenter: Option<&str>,
    has_own_service: bool,
    name: &str,
) -> Result<bool, RegistryError> {
    let query = Query { consistent: true, ..Query::new(NAMES, datacenter) };
    let answer = ask(client, query, has_own_service).await?;
    all(&answer.body).map(|all| all.contains_key(name))
}

fn all(body: &[u8]) -> Result<BTreeMap<String, Option<Vec<String>>>, RegistryError> {
    serde_json::from_slice(body).map_err(|error| {
        RegistryError::malformed(format!("{NAMES}: expected services and their tags")).caused_by(error)
    })
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

/// Reads the list: the services that are followed, and those that are not because no host comes of their
/// name. Consul takes names that no request can ask for, as `..`: they are never asked for.
pub(super) fn read(body: &[u8], config: &Config) -> Result<(Names, NoHosts), RegistryError> {
    let tagged = |tags: &[String]| config.tags.iter().all(|tag| tags.contains(tag));
    let named = all(body)?.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default()));
    let (mut names, mut no_hosts) = (Names::new(), NoHosts::new());
    for (name, tags) in named.filter(|(name, tags)| config.follows(name) && tagged(tags)) {
        match config.host.takes(&name) {
            Ok(()) => _ = names.insert(Arc::from(name), tags),
            Err(error) => _ = no_hosts.insert(name, error.to_string()),
        }
    }
    Ok((names, no_hosts))
}
