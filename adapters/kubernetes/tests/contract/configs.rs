//! What the operator may get wrong.

use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::BadConfig;

/// Configurations that are refused.
pub(crate) fn bad() -> Vec<BadConfig> {
    let bad = |wrong, mentions, text| BadConfig { wrong, mentions, outcome: refusal(text) };
    vec![
        bad("an unknown key", &["line 2", "`namspaces`", "`namespaces`"], "pods = true\nnamspaces = []"),
        bad("a template without a service", &["line 1", "{service}"], "host = 'web'"),
        bad("an unknown protocol", &["default_protocol", "http", "grpc"], "default_protocol = 'htp'"),
        bad("a context of nothing", &["context", "kubeconfig"], "context = 'east'"),
        bad("a short name for many", &["aliases", "{namespace}"], "aliases = ['{service}']"),
        bad("a short name twice", &["local_names", "{service}"], "local_names = ['{service}', '{service}']"),
        bad("a path for a namespace", &["namespaces", "a-z"], "namespaces = ['../nodes']"),
        bad("a trust domain that is none", &["trust_domain", "spiffe://"], "trust_domain = 'a b'"),
    ]
}

fn refusal(text: &str) -> Result<(), String> {
    let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
    registry(config).map(drop).map_err(|error| error.to_string())
}
