//! The variables of Consul's own tools.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, UsualValue, UsualVariables, variable};

/// Those that say where the agent is and who asks it (Consul's command line, "Environment variables").
pub const USUAL_VARIABLES: UsualVariables = UsualVariables {
    unless: &["address", "token", "token_file", "token_env"],
    default_place: Some(("address", "the agent at http://127.0.0.1:8500")),
    selects: &["datacenters", "namespace", "partition", "tags", "include", "exclude"],
    find,
};

const ADDRESS: &str = "CONSUL_HTTP_ADDR";
const TOKEN: &str = "CONSUL_HTTP_TOKEN";
const SSL: &str = "CONSUL_HTTP_SSL";

fn find(environment: &BTreeMap<String, String>) -> Vec<UsualValue> {
    let address = variable(environment, ADDRESS).map(|address| UsualValue {
        variable: ADDRESS,
        key: "address",
        value: Given::Text(url(address, variable(environment, SSL).is_some_and(is_true))),
    });
    let token = variable(environment, TOKEN).map(|_| UsualValue {
        variable: TOKEN,
        key: "token_env",
        value: Given::Text(TOKEN.to_owned()),
    });
    address.into_iter().chain(token).collect()
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
}
