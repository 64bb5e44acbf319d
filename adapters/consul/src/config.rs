//! The table `consul` of a registry in pilot.toml.

mod address;
mod check;
mod pattern;
mod rules;
mod service_port;
mod template;
mod usual;

use std::path::PathBuf;
use std::time::Duration;

use pilot_registry::{ConfigError, Protocol, Secret};
use schemars::JsonSchema;
use serde::Deserialize;

pub(crate) use address::Address;
pub use pattern::Pattern;
pub use rules::{RulesConfig, RulesLimits};
pub use service_port::DefaultPort;
pub use template::HostTemplate;
pub(crate) use template::Names;
pub use usual::{RULES_USUAL_VARIABLES, USUAL_VARIABLES};

/// A registry of the services that a Consul cluster knows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The agent that is asked: `http://host:port`, `https://host:port` or `unix:///path`.
    pub address: String,
    /// The datacenters whose services are followed, each through the agent. None = the agent's own.
    pub datacenters: Vec<String>,
    /// The namespace whose services are followed, of servers that have namespaces.
    pub namespace: Option<String>,
    /// The admin partition whose services are followed, of servers that have partitions.
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
    /// The services that are followed, by name; '*' stands for any characters.
    pub include: Vec<Pattern>,
    /// The services that are not followed although they are included.
    pub exclude: Vec<Pattern>,
    /// Instances count only if they have all of these tags.
    pub tags: Vec<String>,
    /// The host of a service, from {service}, {datacenter}, {namespace} and {partition}. Services of one
    /// host are one service.
    pub host: HostTemplate,
    /// The port that clients call, of services whose instances do not say it in their meta (service_port): one
    /// for all, 80, or by protocol, { http = 80, grpc = 9090 }. None = it is guessed.
    pub service_port: Option<DefaultPort>,
    /// The protocol of ports of which neither meta, nor a tag, nor the port's name says it.
    #[schemars(with = "String")]
    pub default_protocol: Protocol,
    /// The check states in which an instance takes traffic: "passing", or also "warning", with the
    /// instance's own weight for that state.
    pub serve: Vec<CheckStatus>,
    /// The key of an instance's or a node's meta that holds the region. Without it the datacenter is the
    /// region.
    pub region_meta: String,
    /// The key of an instance's or a node's meta that holds the zone.
    pub zone_meta: String,
    /// The key of an instance's or a node's meta that holds the sub-zone.
    pub sub_zone_meta: String,
    /// Whether the sidecar proxies of Consul's own service mesh count as instances.
    pub connect_proxies: bool,
    /// Whether the gateways of Consul's own service mesh count as instances.
    pub gateways: bool,
    /// Which of an instance's addresses is taken, where it has that one: "lan", "wan", or the plain one.
    pub tagged_address: Option<TaggedAddress>,
    /// What is taken from the agent at most.
    pub limits: Limits,
}

/// TLS towards the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificates of the authorities that are trusted, as PEM. Required with https://.
    pub ca: Option<PathBuf>,
    /// The client's certificate chain, as PEM.
    pub cert: Option<PathBuf>,
    /// The client's key, as PEM.
    pub key: Option<PathBuf>,
    /// The name that the agent's certificate has to have. None = the host of the address.
    pub server_name: Option<String>,
}

/// Consul's consistency modes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// The leader answers.
    #[default]
    Default,
    /// Any server answers, also one that lags behind.
    Stale,
    /// The leader answers after it has made sure that it still is the leader.
    Consistent,
}

/// The state of an instance's checks: the worst of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// All checks pass.
    Passing,
    /// Some check warns, none is critical.
    Warning,
}

/// An address besides the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaggedAddress {
    /// The address inside the datacenter.
    Lan,
    /// The address for other datacenters.
    Wan,
}

impl TaggedAddress {
    /// The name of the address in Consul.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }
}

/// What is taken from the agent at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Services that are followed by a long poll each, and so, nearly, connections. With more services all
    /// of them are read in turn. Agents allow 200 connections of one client by default.
    #[schemars(range(min = 1, max = 10000))]
    pub max_polls: usize,
    /// The most bytes that one answer may have. A larger one is refused.
    #[schemars(range(min = 1024))]
    pub max_body_bytes: usize,
    /// How long the agent holds a long poll, in seconds; and the time in which everything is checked once.
    #[schemars(range(min = 1, max = 600))]
    pub wait_seconds: u64,
    /// How long an answer may take beyond that, and a connection to come about, in seconds.
    #[schemars(range(min = 1, max = 600))]
    pub timeout_seconds: u64,
}

impl Limits {
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_seconds)
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_polls: 100, max_body_bytes: 64 << 20, wait_seconds: 30, timeout_seconds: 10 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "http://127.0.0.1:8500".to_owned(),
            datacenters: Vec::new(),
            namespace: None,
            partition: None,
            token: None,
            token_file: None,
            token_env: None,
            tls: Tls::default(),
            consistency: Consistency::default(),
            include: vec![Pattern::from("*")],
            exclude: vec![Pattern::from("consul")],
            tags: Vec::new(),
            host: HostTemplate::default(),
            service_port: None,
            default_protocol: Protocol::Tcp,
            serve: vec![CheckStatus::Passing],
            region_meta: "region".to_owned(),
            zone_meta: "zone".to_owned(),
            sub_zone_meta: "sub_zone".to_owned(),
            connect_proxies: false,
            gateways: false,
            tagged_address: None,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// The paths that are given, by their keys, so that they can be made relative to another folder.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        paths(&mut self.token_file, &mut self.tls)
    }

    /// Whether a service of that name is followed.
    pub(crate) fn follows(&self, name: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        any(&self.include) && !any(&self.exclude)
    }

    /// Whether instances that warn take traffic.
    pub(crate) fn serves_warning(&self) -> bool {
        self.serve.contains(&CheckStatus::Warning)
    }

    /// The address, read.
    pub(crate) fn address(&self) -> Result<Address, ConfigError> {
        self.address.parse().map_err(|reason: String| ConfigError::new("address", reason))
    }
}

fn paths<'a>(
    token_file: &'a mut Option<PathBuf>,
    tls: &'a mut Tls,
) -> impl Iterator<Item = (&'static str, &'a mut PathBuf)> {
    let paths = [
        ("token_file", token_file.as_mut()),
        ("tls.ca", tls.ca.as_mut()),
        ("tls.cert", tls.cert.as_mut()),
        ("tls.key", tls.key.as_mut()),
    ];
    paths.into_iter().filter_map(|(key, path)| Some((key, path?)))
}

#[cfg(test)]
mod tests;
