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

/// What a list of services says.
#[derive(Debug)]
pub(super) struct Listed {
    /// The services that are followed.
    pub(super) names: Names,
    /// Those of them that are not, because no host comes of their name.
    pub(super) no_hosts: NoHosts,
    /// The key of the configuration that leaves all services out, and in which words.
    pub(super) nothing: Option<(&'static str, String)>,
}

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
        let who = if client.has_token() {
            "the token may read none"
        } else {
            "nobody without a token may read any"
        };
        RegistryError::denied(format!(
            "{NAMES}: consul shows no service at all, not even its own: {who}; \
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
pub(super) fn read(body: &[u8], config: &Config) -> Result<Listed, RegistryError> {
    let tagged = |tags: &[String]| config.tags.iter().all(|tag| tags.contains(tag));
    let all = all(body)?;
    let is_empty = !all.is_empty() && all.iter().all(|(name, _)| name == OWN);
    // Consul's own service is let in only where somebody asks for it.
    let total = all.iter().filter(|(name, _)| *name != OWN).count();
    let named = all.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default()));
    let followed: Vec<_> = named.filter(|(name, _)| config.follows(name)).collect();
    let has_tags = followed.iter().any(|(_, tags)| tagged(tags));
    let nothing = match is_empty && followed.is_empty() {
        true => Some(("services", "there is none yet but Consul's own".to_owned())),
        false => nothing(total, followed.len(), has_tags, config),
    };
    let (mut names, mut no_hosts) = (Names::new(), NoHosts::new());
    for (name, tags) in followed.into_iter().filter(|(_, tags)| tagged(tags)) {
        match config.host.takes(&name) {
            Ok(()) => _ = names.insert(Arc::from(name), tags),
            Err(error) => _ = no_hosts.insert(name, error.to_string()),
        }
    }
    Ok(Listed { names, no_hosts, nothing })
}

/// The service that Consul's servers register themselves.
const OWN: &str = "consul";

/// Which key leaves out all services that there are, if one does. `followed`: how many have a name that counts;
/// `has_tags`: one of them has all tags.
fn nothing(total: usize, followed: usize, has_tags: bool, config: &Config) -> Option<(&'static str, String)> {
    if total > 0 && followed == 0 {
        return Some(("include", format!("services whose names include and exclude let in: 0 of {total}")));
    }
    if followed == 0 || has_tags {
        return None;
    }
    let (tag, names) = (if config.tags.len() == 1 { "tag" } else { "tags" }, config.tags.join(" and "));
    Some(("tags", format!("services with {tag} {names}: 0 of {followed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_which_nothing_is_followed_says_which_key_leaves_all_out() {
        let nothing = |body: &str, change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            let nothing = read(body.as_bytes(), &config).unwrap().nothing;
            nothing.map_or_else(String::new, |(key, why)| format!("{key}: {why}"))
        };
        let three = r#"{"a":["v1"],"b":["v1","v2"],"consul":[]}"#;
        assert_eq!(nothing(three, |config| config.tags = vec!["v1".into()]), "");
        assert_eq!(nothing(three, |_| ()), "");
        assert_eq!(nothing("{}", |config| config.tags = vec!["v1".into()]), "");
        assert_eq!(
            nothing(three, |config| config.tags = vec!["v1".into(), "prod".into()]),
            "tags: services with tags v1 and prod: 0 of 2"
        );
        assert_eq!(
            nothing(three, |config| config.tags = vec!["prod".into()]),
            "tags: services with tag prod: 0 of 2"
        );
        assert_eq!(
            nothing(three, |config| config.include = vec!["web*".into()]),
            "include: services whose names include and exclude let in: 0 of 2"
        );
        let none = "services: there is none yet but Consul's own";
        assert_eq!(nothing(r#"{"consul":[]}"#, |_| ()), none);
        assert_eq!(nothing(r#"{"consul":[]}"#, |config| config.include = vec!["web*".into()]), none);
        assert_eq!(nothing(r#"{"consul":[]}"#, |config| config.exclude = Vec::new()), "");
    }
}
