//! The table `consul` of a store of rules in pilot.toml.

use std::path::PathBuf;

use pilot_registry::{ConfigError, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Config, Consistency, Limits, Tls};

/// A store of the documents of rules in Consul's keys.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// The agent that is asked: `http://host:port`, `https://host:port` or `unix:///path`.
    pub address: String,
    /// What the keys begin with: documents are below <prefix>/rules/.
    pub prefix: String,
    /// The datacenter whose keys are followed, through the agent. None = the agent's own.
    pub datacenter: Option<String>,
    /// The namespace whose keys are followed, of servers that have namespaces.
    pub namespace: Option<String>,
    /// The admin partition whose keys are followed, of servers that have partitions.
    pub partition: Option<String>,
    /// The ACL token. At most one of token, token_file and token_env is given.
    #[schemars(with = "Option<String>")]
    pub token: Option<Secret>,
    /// A file that holds the ACL token. It is read again with each new attempt.
    pub token_file: Option<PathBuf>,
    /// The environment variable that holds the ACL token.
    pub token_env: Option<String>,
    /// TLS, for an address that starts with https://.
    pub tls: Tls,
    /// How sure an answer has to be that it is the latest: "default", "stale" or "consistent".
    pub consistency: Consistency,
    /// What is taken from the agent at most.
    pub limits: RulesLimits,
}

/// What is taken from the agent at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesLimits {
    /// The most bytes that all documents may have together, as Consul sends them: a third more than they are. More are
    /// refused.
    #[schemars(range(min = 1024))]
    pub max_body_bytes: usize,
    /// How long the agent holds a long poll, in seconds.
    #[schemars(range(min = 1, max = 600))]
    pub wait_seconds: u64,
    /// How long an answer may take beyond that, and a connection to come about, in seconds.
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: u64,
}

impl Default for RulesLimits {
    fn default() -> Self {
        let Limits { max_polls: _, max_body_bytes, wait_seconds, timeout_seconds } = Limits::default();
        Self { max_body_bytes, wait_seconds, timeout_seconds }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        let Config { address, consistency, .. } = Config::default();
        Self {
            address,
            prefix: "pilot".to_owned(),
            datacenter: None,
            namespace: None,
            partition: None,
            token: None,
            token_file: None,
            token_env: None,
            tls: Tls::default(),
            consistency,
            limits: RulesLimits::default(),
        }
    }
}

impl RulesConfig {
    /// The paths that are given, by their keys, so that they can be made relative to another folder.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        super::paths(&mut self.token_file, &mut self.tls)
    }

    /// The agent, and how it is asked.
    pub(crate) fn agent(&self) -> Config {
        let RulesLimits { max_body_bytes, wait_seconds, timeout_seconds } = self.limits;
        Config {
            address: self.address.clone(),
            namespace: self.namespace.clone(),
            partition: self.partition.clone(),
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            token_env: self.token_env.clone(),
            tls: self.tls.clone(),
            consistency: self.consistency,
            limits: Limits { max_body_bytes, wait_seconds, timeout_seconds, ..Limits::default() },
            ..Config::default()
        }
    }

    /// What all keys of documents begin with.
    pub(crate) fn keys(&self) -> String {
        format!("{}/rules/", self.prefix)
    }

    /// Whether it makes sense; the first key that does not.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.agent().check()?;
        if self.datacenter.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(ConfigError::new("datacenter", "it is empty: expected a name"));
        }
        let is_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.trim() == part;
        if !self.prefix.split('/').all(is_part) {
            let why = "expected the beginning of a key without a slash at its ends, like \"pilot\" or \"apps/pilot\"";
            return Err(ConfigError::new("prefix", why));
        }
        Ok(())
    }
}
