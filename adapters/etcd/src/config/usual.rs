//! The variables of etcdctl.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, Unread, UsualValue, UsualVariables, present, texts, variable};

/// Those that say where etcd is and who asks it.
pub const USUAL_VARIABLES: UsualVariables = UsualVariables {
    unless: &["endpoints", "user", "password", "password_file", "password_env"],
    default_place: None,
    selects: &[],
    find,
    unread,
};

const ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";
const USER: &str = "ETCDCTL_USER";
const PASSWORD: &str = "ETCDCTL_PASSWORD";

/// Variables that are keys of pilot, too.
const KEYS: [(&str, &str); 3] =
    [("ETCDCTL_CACERT", "tls.ca"), ("ETCDCTL_CERT", "tls.cert"), ("ETCDCTL_KEY", "tls.key")];

/// Variables that pilot has no key for.
const UNREAD: [(&str, &str); 3] = [
    ("ETCDCTL_DISCOVERY_SRV", "pilot asks no DNS for endpoints: use endpoints"),
    ("ETCDCTL_INSECURE_SKIP_TLS_VERIFY", "pilot trusts no certificate that it cannot verify: use tls.ca"),
    ("ETCDCTL_INSECURE_TRANSPORT", "the scheme says it: use http:// or https:// in endpoints"),
];

fn find(environment: &BTreeMap<String, String>) -> Vec<UsualValue> {
    let endpoints = variable(environment, ENDPOINTS).map(|text| {
        let scheme = if present(environment, &KEYS).is_empty() { "http" } else { "https" };
        let endpoints = text.split(',').map(str::trim).filter(|endpoint| !endpoint.is_empty());
        let endpoints = endpoints.map(|endpoint| url(endpoint, scheme));
        let value = Given::List(endpoints.collect());
        UsualValue { variable: ENDPOINTS, key: "endpoints", value }
    });
    endpoints.into_iter().chain(user(environment)).chain(texts(environment, &KEYS)).collect()
}

/// A user whose password has a variable of its own. One that stands behind the name is not copied.
fn user(environment: &BTreeMap<String, String>) -> impl Iterator<Item = UsualValue> {
    let user = variable(environment, USER).filter(|user| !user.contains(':'));
    let both = user.zip(variable(environment, PASSWORD)).map(|(user, _)| {
        let text =
            |variable, key, text: &str| UsualValue { variable, key, value: Given::Text(text.to_owned()) };
        [text(USER, "user", user), text(PASSWORD, "password_env", PASSWORD)]
    });
    both.into_iter().flatten()
}

fn unread(environment: &BTreeMap<String, String>) -> Unread {
    let alone = variable(environment, USER).is_some() && user(environment).next().is_none();
    let alone = alone.then_some((
        USER,
        "pilot takes the password from elsewhere: use user and password_env, or ETCDCTL_PASSWORD",
    ));
    present(environment, &UNREAD).into_iter().chain(alone).collect()
}

/// etcdctl takes an endpoint without a scheme, and speaks TLS to it where it is given certificates.
fn url(endpoint: &str, scheme: &str) -> String {
    if endpoint.contains("://") { endpoint.to_owned() } else { format!("{scheme}://{endpoint}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_etcdctl_reads_them() {
        let text = "127.0.0.1:2379, https://b:2379,".to_owned();
        let found = find(&BTreeMap::from([(ENDPOINTS.to_owned(), text)]));
        let endpoints = ["http://127.0.0.1:2379", "https://b:2379"].map(str::to_owned).to_vec();
        let value = Given::List(endpoints);
        assert_eq!(found, [UsualValue { variable: ENDPOINTS, key: "endpoints", value }]);
    }
    #[test]
    fn an_endpoint_without_a_scheme_is_called_by_tls_where_there_are_certificates() {
        let all = [(ENDPOINTS, "a:2379"), ("ETCDCTL_CACERT", "ca.pem")];
        let found = find(&all.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(found[0].value, Given::List(vec!["https://a:2379".to_owned()]));
    }
}
