//! The variables of Consul's own tools.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, Unread, UsualValue, UsualVariables, present, texts, variable};

/// Those that say where the agent is and who asks it (Consul's command line, "Environment variables").
pub const USUAL_VARIABLES: UsualVariables = UsualVariables {
    unless: &["address", "token", "token_file", "token_env"],
    default_place: Some(("address", "the agent at http://127.0.0.1:8500")),
    selects: &["datacenters", "namespace", "partition", "tags", "include", "exclude"],
    find,
    unread,
};

/// The same, for documents of rules.
pub const RULES_USUAL_VARIABLES: UsualVariables =
    UsualVariables { selects: &["prefix", "datacenter", "namespace", "partition"], ..USUAL_VARIABLES };

const ADDRESS: &str = "CONSUL_HTTP_ADDR";
const TOKEN: &str = "CONSUL_HTTP_TOKEN";
const TOKEN_FILE: &str = "CONSUL_HTTP_TOKEN_FILE";
const SSL: &str = "CONSUL_HTTP_SSL";
const VERIFY: &str = "CONSUL_HTTP_SSL_VERIFY";

/// Variables that are keys of pilot, too.
const KEYS: [(&str, &str); 6] = [
    ("CONSUL_CACERT", "tls.ca"),
    ("CONSUL_CLIENT_CERT", "tls.cert"),
    ("CONSUL_CLIENT_KEY", "tls.key"),
    ("CONSUL_TLS_SERVER_NAME", "tls.server_name"),
    ("CONSUL_NAMESPACE", "namespace"),
    ("CONSUL_PARTITION", "partition"),
];

/// Variables that pilot has no key for.
const UNREAD: [(&str, &str); 2] = [
    ("CONSUL_HTTP_AUTH", "pilot knows tokens only: use token_env or token_file"),
    ("CONSUL_CAPATH", "pilot takes one file: use tls.ca, or CONSUL_CACERT"),
];

fn find(environment: &BTreeMap<String, String>) -> Vec<UsualValue> {
    let tls = variable(environment, SSL).is_some_and(is_true);
    let address = match variable(environment, ADDRESS) {
        Some(address) => Some((ADDRESS, url(address, tls))),
        None => tls.then(|| (SSL, "https://127.0.0.1:8500".to_owned())),
    };
    let address =
        address.map(|(variable, url)| UsualValue { variable, key: "address", value: Given::Text(url) });
    // Consul's tools prefer the file, too.
    let file = texts(environment, &[(TOKEN_FILE, "token_file")]).next();
    let token = || {
        let value = Given::Text(TOKEN.to_owned());
        variable(environment, TOKEN).map(|_| UsualValue { variable: TOKEN, key: "token_env", value })
    };
    let token = file.or_else(token);
    address.into_iter().chain(token).chain(texts(environment, &KEYS)).collect()
}

fn unread(environment: &BTreeMap<String, String>) -> Unread {
    // Without it certificates are looked at, as by pilot.
    let is_off = variable(environment, VERIFY)
        .is_some_and(|text| ["0", "f", "F", "FALSE", "false", "False"].contains(&text));
    let verify = is_off.then_some((VERIFY, "pilot trusts no certificate that it cannot verify: use tls.ca"));
    let both = variable(environment, TOKEN_FILE).and(variable(environment, TOKEN));
    let both = both.map(|_| (TOKEN, "CONSUL_HTTP_TOKEN_FILE goes before it"));
    present(environment, &UNREAD).into_iter().chain(verify).chain(both).collect()
}

/// Consul's tools take an address without a scheme, and never go back to http when TLS was asked for.
fn url(address: &str, tls: bool) -> String {
    match (address.split_once("://"), tls) {
        (None, false) => format!("http://{address}"),
        (None, true) | (Some(("http", _)), true) => {
            format!("https://{}", address.trim_start_matches("http://"))
        }
        (Some(_), _) => address.to_owned(),
    }
}

/// What Go's `strconv.ParseBool` takes for true.
fn is_true(text: &str) -> bool {
    ["1", "t", "T", "TRUE", "true", "True"].contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Vec<(&'static str, &'static str, String)> {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = |value: Given| match value {
            Given::Text(text) => text,
            Given::List(texts) => texts.join(","),
        };
        find(&environment).into_iter().map(|it| (it.variable, it.key, text(it.value))).collect()
    }

    #[test]
    fn an_address_is_read_as_consuls_tools_read_it() {
        for (address, ssl, expected) in [
            ("127.0.0.1:8500", "", "http://127.0.0.1:8500"),
            ("http://c:8500", "false", "http://c:8500"),
            ("c:8501", "true", "https://c:8501"),
            ("http://c:8501", "1", "https://c:8501"),
            ("https://c:8501", "", "https://c:8501"),
            ("unix:///run/consul.sock", "true", "unix:///run/consul.sock"),
        ] {
            let found = found(&[("CONSUL_HTTP_ADDR", address), ("CONSUL_HTTP_SSL", ssl)]);
            assert_eq!(found, [("CONSUL_HTTP_ADDR", "address", expected.to_owned())]);
        }
    }

    #[test]
    fn a_token_is_named_and_not_copied() {
        let found = found(&[("CONSUL_HTTP_TOKEN", "s3cret")]);
        assert_eq!(found, [("CONSUL_HTTP_TOKEN", "token_env", "CONSUL_HTTP_TOKEN".to_owned())]);
    }

    #[test]
    fn a_file_with_a_token_goes_before_a_token() {
        let found = found(&[("CONSUL_HTTP_TOKEN", "s3cret"), ("CONSUL_HTTP_TOKEN_FILE", "/t")]);
        assert_eq!(found, [("CONSUL_HTTP_TOKEN_FILE", "token_file", "/t".to_owned())]);
        let both = [("CONSUL_HTTP_TOKEN", "s3cret"), ("CONSUL_HTTP_TOKEN_FILE", "/t")];
        let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            unread(&BTreeMap::from(both)),
            [("CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE goes before it")]
        );
    }

    #[test]
    fn tls_alone_is_the_usual_agent_by_tls() {
        let found = found(&[("CONSUL_HTTP_SSL", "1")]);
        assert_eq!(found, [("CONSUL_HTTP_SSL", "address", "https://127.0.0.1:8500".to_owned())]);
    }

    #[test]
    fn what_pilot_has_no_key_for_is_named_where_it_says_something() {
        let named =
            |name: &str, value: &str| unread(&BTreeMap::from([(name.to_owned(), value.to_owned())])).len();
        assert_eq!(named("CONSUL_HTTP_AUTH", "u:p"), 1);
        assert_eq!(["false", "true", ""].map(|verify| named("CONSUL_HTTP_SSL_VERIFY", verify)), [1, 0, 0]);
    }
}
