//! What pilot is configured with, and what the operator may get wrong.

use std::path::PathBuf;

use pilot_registry::ServiceRegistry;
use pilot_registry_kubernetes::{Config, registry};
use pilot_registry_testkit::BadConfig;

use crate::objects::TRUST_DOMAIN;

/// With all facts that the model has a place for, and several pages even of a small list.
pub(crate) fn good(kubeconfig: PathBuf) -> Config {
    let trust_domain = TRUST_DOMAIN.to_owned();
    Config { kubeconfig: Some(kubeconfig), trust_domain, page_size: 100, ..Config::default() }
}

/// The registry of such a cluster.
pub(crate) fn follow(kubeconfig: PathBuf) -> Box<dyn ServiceRegistry> {
    Box::new(registry(good(kubeconfig)).expect("the configuration makes sense"))
}

/// What `Debug` shows.
pub(crate) fn views(kubeconfig: PathBuf) -> Vec<String> {
    let config = good(kubeconfig);
    vec![format!("{config:?}"), format!("{:?}", registry(config).expect("it makes sense"))]
}

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
