//! The table `kubernetes` of a registry in pilot.toml.

mod rules;
mod template;
mod usual;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use pilot_registry::{ConfigError, Hostname, Protocol, SpiffeId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use rules::RulesConfig;
pub use template::HostTemplate;
pub use usual::USUAL_VARIABLES;

/// The most namespaces that can be named: each takes a watch per resource.
const MAX_NAMESPACES: usize = 64;

/// A registry of the services of one Kubernetes cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The kubeconfig file that says where the cluster is and who pilot is. None = pilot runs in the cluster,
    /// and its service account says so.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Empty = its current one.
    pub context: String,
    /// The namespaces whose services are followed. Empty = all.
    pub namespaces: Vec<String>,
    /// Services are followed only in namespaces with these labels, in the form of kubectl: `mesh=on`.
    pub namespace_selector: String,
    /// Only services with these labels are followed, in the form of kubectl: `app,tier!=batch`.
    pub service_selector: String,
    /// The host of a service, from {service}, {namespace} and {domain}.
    pub host: HostTemplate,
    /// Other names of a service, of the same parts.
    pub aliases: Vec<HostTemplate>,
    /// Names of a service that only clients of its own namespace use, of the same parts.
    pub local_names: Vec<HostTemplate>,
    /// The cluster's domain.
    pub domain: String,
    /// The trust domain of workloads' identities: `spiffe://<trust_domain>/ns/<namespace>/sa/<account>`.
    /// Empty = identities are not told, and of pods nothing but their metadata is read.
    pub trust_domain: String,
    /// The protocol of ports of which neither an annotation, nor appProtocol, nor the name says it.
    pub default_protocol: String,
    /// Whether pods are followed: for the labels, weights and identities of endpoints.
    pub pods: bool,
    /// Whether nodes are followed: for the regions of endpoints.
    pub nodes: bool,
    /// How long a watch lasts until it is renewed: whole seconds. A server that has fallen silent is noticed
    /// when that fails.
    #[serde(with = "pilot_registry::duration")]
    #[schemars(with = "String")]
    pub watch_renewal: Duration,
    /// Objects of one page of a list.
    #[schemars(range(min = 1, max = 10_000))]
    pub page_size: u32,
    /// Bytes of one page of a list. A larger one ends the attempt.
    #[schemars(range(min = 1024))]
    pub max_page_bytes: usize,
    /// Bytes of one object in a watch. A larger one ends the attempt.
    #[schemars(range(min = 1024))]
    pub max_object_bytes: usize,
    /// Objects of one resource. A cluster with more is refused.
    #[schemars(range(min = 1))]
    pub max_objects: usize,
}

impl Default for Config {
    fn default() -> Self {
        let template = |text: &str| text.parse().expect("the default templates are templates");
        Self {
            kubeconfig: None,
            context: String::new(),
            namespaces: Vec::new(),
            namespace_selector: String::new(),
            service_selector: String::new(),
            host: template("{service}.{namespace}.svc.{domain}"),
            aliases: vec![template("{service}.{namespace}.svc"), template("{service}.{namespace}")],
            local_names: vec![template("{service}")],
            domain: "cluster.local".to_owned(),
            trust_domain: String::new(),
            default_protocol: Protocol::Tcp.as_str().to_owned(),
            pods: true,
            nodes: true,
            watch_renewal: Duration::from_secs(60),
            page_size: 500,
            max_page_bytes: 256 << 20,
            max_object_bytes: 4 << 20,
            max_objects: 1_000_000,
        }
    }
}

impl Config {
    /// The files that it names, with their keys, to make relative paths absolute.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
        paths(&mut self.kubeconfig)
    }

    /// The protocol of ports of which nothing says it.
    pub(crate) fn protocol(&self) -> Result<Protocol, ConfigError> {
        let refused =
            |error: pilot_registry::ModelError| ConfigError::new("default_protocol", error.to_string());
        self.default_protocol.parse().map_err(refused)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.protocol()?;
        self.check_source()?;
        self.check_names()?;
        for (key, selector) in
            [("namespace_selector", &self.namespace_selector), ("service_selector", &self.service_selector)]
        {
            if selector.chars().any(char::is_control) {
                return Err(ConfigError::new(key, "it has control characters: expected labels, app=web"));
            }
        }
        let renewal = self.watch_renewal;
        if !(1..=3600).contains(&renewal.as_secs()) || renewal.subsec_nanos() != 0 {
            let reason = format!("{renewal:?} is out of range: expected whole seconds from 1s to 1h");
            return Err(ConfigError::new("watch_renewal", reason));
        }
        self.check_limits()
    }

    fn check_source(&self) -> Result<(), ConfigError> {
        if self.kubeconfig.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return Err(ConfigError::new("kubeconfig", "it is empty: expected a file, or no such key"));
        }
        if self.kubeconfig.is_none() && !self.context.is_empty() {
            return Err(ConfigError::new(
                "context",
                "there is no kubeconfig to look it up in: expected both",
            ));
        }
        if self.namespaces.len() > MAX_NAMESPACES {
            let reason =
                format!("there are more than {MAX_NAMESPACES}: expected fewer, or none, which is all");
            return Err(ConfigError::new("namespaces", reason));
        }
        let mut named = BTreeSet::new();
        for name in &self.namespaces {
            if !is_label(name) {
                let reason = format!("{name:?} is not a namespace: expected 1 to 63 of a-z, 0-9 and '-'");
                return Err(ConfigError::new("namespaces", reason));
            }
            if !named.insert(name) {
                let reason = format!("{name:?} is there twice: expected each once");
                return Err(ConfigError::new("namespaces", reason));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), ConfigError> {
        if let Err(error) = self.domain.parse::<Hostname>() {
            return Err(ConfigError::new("domain", error.to_string()));
        }
        if !self.trust_domain.is_empty()
            && let Err(error) = format!("spiffe://{}/ns/a/sa/b", self.trust_domain).parse::<SpiffeId>()
        {
            return Err(ConfigError::new("trust_domain", error.to_string()));
        }
        self.check_templates()
    }

    fn check_templates(&self) -> Result<(), ConfigError> {
        let mut named = self.local_names.iter().enumerate();
        if let Some((_, again)) = named.find(|(at, template)| self.local_names[..*at].contains(template)) {
            let reason = format!("{again:?} is there twice: expected each once");
            return Err(ConfigError::new("local_names", reason));
        }
        // In several namespaces, one short name would stand for several services to clients of all.
        let ambiguous = |alias: &&HostTemplate| !alias.has_namespace() && self.namespaces.len() != 1;
        match self.aliases.iter().find(ambiguous) {
            Some(alias) => Err(ConfigError::new(
                "aliases",
                format!(
                    "{alias:?} is the same for services of several namespaces: expected {{namespace}} in it, \
                     exactly one of namespaces, or local_names for clients of the service's own namespace"
                ),
            )),
            None => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        if !(1..=10_000).contains(&self.page_size) {
            return Err(ConfigError::new("page_size", "it is out of range: expected 1 to 10000"));
        }
        for (key, bytes) in
            [("max_page_bytes", self.max_page_bytes), ("max_object_bytes", self.max_object_bytes)]
        {
            if bytes < 1024 {
                return Err(ConfigError::new(key, "it is too small: expected at least 1024"));
            }
        }
        if self.max_objects == 0 {
            return Err(ConfigError::new("max_objects", "0 allows no object: expected at least 1"));
        }
        Ok(())
    }
}

fn paths(kubeconfig: &mut Option<PathBuf>) -> impl Iterator<Item = (&'static str, &mut PathBuf)> {
    // Joined, an empty path would be the folder itself.
    let named = kubeconfig.as_mut().filter(|path| !path.as_os_str().is_empty());
    named.map(|path| ("kubeconfig", path)).into_iter()
}

/// A name in the form of RFC 1123 labels, as those of namespaces are. It becomes part of a path.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_make_sense() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn a_short_name_needs_exactly_one_namespace() {
        let short = || Config { aliases: vec!["{service}".parse().unwrap()], ..Config::default() };
        assert_eq!(short().check().unwrap_err().key, "aliases");
        assert_eq!(Config { namespaces: vec!["shop".into()], ..short() }.check(), Ok(()));
        let two = Config { namespaces: vec!["shop".into(), "bank".into()], ..short() };
        assert_eq!(two.check().unwrap_err().key, "aliases");
    }

    #[test]
    fn short_names_for_clients_of_their_own_namespace_are_told_once_each() {
        let local = |names: &[&str]| Config {
            local_names: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..Config::default()
        };
        assert_eq!(local(&[]).check(), Ok(()));
        assert_eq!(local(&["{service}", "{service}.local"]).check(), Ok(()));
        assert_eq!(local(&["{service}", "{service}"]).check().unwrap_err().key, "local_names");
    }

    #[test]
    fn what_would_change_a_path_is_refused() {
        for name in ["", "../x", "a/b", "A", "a?b"] {
            let config = Config { namespaces: vec![name.into()], ..Config::default() };
            assert_eq!(config.check().unwrap_err().key, "namespaces", "{name:?}");
        }
    }

    #[test]
    fn a_namespace_is_followed_once() {
        let named =
            |names: [&str; 2]| Config { namespaces: names.map(Into::into).into(), ..Config::default() };
        assert_eq!(named(["shop", "shop"]).check().unwrap_err().key, "namespaces");
        assert_eq!(named(["shop", "bank"]).check(), Ok(()));
    }
}
