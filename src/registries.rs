//! The composition root: with its folder, the one place that names adapter crates.
//!
//! To add a kind of registry: a field and a variant in `config/entry.rs`, an arm in each function here and in
//! `registries/inspect.rs`, and the optional dependency in Cargo.toml.

mod inspect;
mod writing;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ConfigError, Namespace, Registrar, RuleStore, ServiceRegistry};

use crate::config::{Loaded, Problem, Problems, RegistryEntry, RegistryKind, RulesKind};

pub use inspect::{Inspected, InspectedRules, Inspection, inspect, inspect_rules, rules_in};
pub use writing::{ConfiguredRegistrar, expected_to_write, registrar};

/// A registry of pilot.toml, ready to run.
pub struct ConfiguredRegistry {
    /// Its name in pilot.toml.
    pub name: Arc<str>,
    /// What kind it is: `file`.
    pub kind: &'static str,
    /// 0 is preferred.
    pub priority: u32,
    /// Others are served without this one when it has not answered for so long; `None` = it is not optional.
    pub patience: Option<Duration>,
    /// The registry itself.
    pub registry: Box<dyn ServiceRegistry>,
}

impl std::fmt::Debug for ConfiguredRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, kind, priority, patience: _, registry: _ } = self;
        write!(f, "ConfiguredRegistry({name}, {kind}, {priority})")
    }
}

/// A store of rules of pilot.toml, ready to run.
pub struct ConfiguredRules {
    /// Its name in pilot.toml.
    pub name: Arc<str>,
    /// What kind it is: `file`.
    pub kind: &'static str,
    /// 0 is preferred.
    pub priority: u32,
    /// The namespaces of the documents that it may have; none = any.
    pub namespaces: Vec<Namespace>,
    /// The store itself.
    pub store: Box<dyn RuleStore>,
}

impl std::fmt::Debug for ConfiguredRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, kind, priority, namespaces: _, store: _ } = self;
        write!(f, "ConfiguredRules({name}, {kind}, {priority})")
    }
}

/// What pilot serves: services, and rules for their traffic.
#[derive(Default)]
pub struct Sources {
    /// Where services come from.
    pub registries: Vec<ConfiguredRegistry>,
    /// Where rules come from.
    pub rules: Vec<ConfiguredRules>,
}

impl From<Vec<ConfiguredRegistry>> for Sources {
    fn from(registries: Vec<ConfiguredRegistry>) -> Self {
        Self { registries, rules: Vec::new() }
    }
}

/// Makes all registries of the configuration, in the order of their names. Does no IO.
///
/// # Errors
/// What adapters refuse in their tables, with the places of the keys.
pub fn build(loaded: &Loaded) -> Result<Vec<ConfiguredRegistry>, Problems> {
    let (built, problems) = build_each(loaded);
    if problems.is_empty() { Ok(built) } else { Err(Problems(problems)) }
}

/// Makes those registries of the configuration whose tables are in order, and says what is wrong with the others.
/// Does no IO.
pub fn build_each(loaded: &Loaded) -> (Vec<ConfiguredRegistry>, Vec<Problem>) {
    let (mut built, mut problems) = (Vec::new(), Vec::new());
    for (name, entry, kind) in entries(loaded) {
        match registry(&kind) {
            Ok(registry) => built.push(ConfiguredRegistry {
                name: name.into(),
                kind: kind.as_str(),
                priority: entry.priority,
                patience: entry.optional.then_some(entry.patience.into()),
                registry,
            }),
            Err(error) => problems.push(refused(loaded, name, &kind, &error)),
        }
    }
    (built, problems)
}

/// Makes all stores of rules of the configuration, in the order of their names. Does no IO.
///
/// # Errors
/// What adapters refuse in their tables, with the places of the keys.
pub fn rules(loaded: &Loaded) -> Result<Vec<ConfiguredRules>, Problems> {
    let (mut built, mut problems) = (Vec::new(), Vec::new());
    for (name, entry) in &loaded.config.rules {
        for kind in entry.kinds() {
            match rule_store(&kind) {
                Ok(store) => built.push(ConfiguredRules {
                    name: name.as_str().into(),
                    kind: kind.as_str(),
                    priority: entry.priority,
                    namespaces: entry.namespaces.clone(),
                    store,
                }),
                Err(error) => {
                    let key = format!("rules.{name}.{}.{}", kind.as_str(), error.key);
                    problems.push(loaded.origins.problem(&key, error.reason.as_str()));
                }
            }
        }
    }
    if problems.is_empty() { Ok(built) } else { Err(Problems(problems)) }
}

fn rule_store(kind: &RulesKind<'_>) -> Result<Box<dyn RuleStore>, ConfigError> {
    match kind {
        #[cfg(feature = "file")]
        RulesKind::File(config) => Ok(Box::new(pilot_registry_file::rules((*config).clone())?)),
        #[cfg(feature = "consul")]
        RulesKind::Consul(config) => Ok(Box::new(pilot_registry_consul::rules((*config).clone())?)),
        #[cfg(feature = "etcd")]
        RulesKind::Etcd(config) => Ok(Box::new(pilot_registry_etcd::rules((*config).clone())?)),
        #[cfg(feature = "kubernetes")]
        RulesKind::Kubernetes(config) => Ok(Box::new(pilot_registry_kubernetes::rules(config)?)),
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        RulesKind::Never(never, _) => match *never {},
    }
}

/// A file or an environment variable that the table of a registry names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named<T> {
    /// The key that names it: `registry.east.consul.token_file`.
    pub key: String,
    /// Its name.
    pub name: T,
}

/// The files with credentials and certificates that registries name. Does no IO.
pub fn named_files(loaded: &Loaded) -> Vec<Named<PathBuf>> {
    named(loaded, |kind| kind.files(), |kind| kind.files())
}

/// The files that files of [`named_files`] name in turn, with their places there. Reads those.
pub fn files_of_files(loaded: &Loaded) -> Vec<Named<(String, PathBuf)>> {
    let within = |all: Vec<(&'static str, String, PathBuf)>| {
        all.into_iter().map(|(key, place, path)| (key, (place, path))).collect()
    };
    named(loaded, |kind| within(kind.files_of_files()), |kind| within(kind.files_of_files()))
}

/// The environment variables that registries need. Does no IO.
pub fn named_variables(loaded: &Loaded) -> Vec<Named<String>> {
    named(loaded, |kind| kind.variables(), |kind| kind.variables())
}

fn named<T>(
    loaded: &Loaded,
    of: impl Fn(&RegistryKind<'_>) -> Vec<(&'static str, T)>,
    of_rules: impl Fn(&RulesKind<'_>) -> Vec<(&'static str, T)>,
) -> Vec<Named<T>> {
    let within = |table: String, all: Vec<(&'static str, T)>| {
        all.into_iter().map(move |(key, name)| Named { key: format!("{table}.{key}"), name })
    };
    let registries = entries(loaded)
        .flat_map(|(registry, _, kind)| within(format!("registry.{registry}.{}", kind.as_str()), of(&kind)));
    let stores = loaded.config.rules.iter().flat_map(|(name, entry)| {
        let kinds = entry.kinds().into_iter();
        kinds
            .flat_map(|kind| within(format!("rules.{name}.{}", kind.as_str()), of_rules(&kind)))
            .collect::<Vec<_>>()
    });
    registries.chain(stores).collect()
}

/// Calls `changed` once at the start, and then each time that a file may have changed, for ever. The system tells
/// of changes; where it does not, and without the feature `file`, there is only the first call.
pub async fn follow_file(path: &Path, changed: impl Fn()) -> Infallible {
    #[cfg(feature = "file")]
    {
        let mut notice = pilot_registry_file::Notice::of(path);
        loop {
            notice.changed().await;
            changed();
        }
    }
    #[cfg(not(feature = "file"))]
    {
        _ = path;
        changed();
        std::future::pending().await
    }
}

/// The JSON schema (draft 2020-12) of the files of a file registry.
#[cfg(feature = "file")]
pub fn services_schema() -> serde_json::Value {
    let mut schema = pilot_registry_file::schema().to_value();
    schema["$id"] = "urn:pilot:schema:services".into();
    schema["title"] = "services of pilot".into();
    schema
}

/// The JSON schema (draft 2020-12) of a service's description in an etcd.
#[cfg(feature = "etcd")]
pub fn etcd_service_schema() -> serde_json::Value {
    let mut schema = pilot_registry_etcd::service_schema().to_value();
    schema["$id"] = "urn:pilot:schema:etcd-service".into();
    schema["title"] = "a service of pilot in etcd".into();
    schema
}

/// The JSON schema (draft 2020-12) of an instance of a service in an etcd.
#[cfg(feature = "etcd")]
pub fn etcd_instance_schema() -> serde_json::Value {
    let mut schema = pilot_registry_etcd::instance_schema().to_value();
    schema["$id"] = "urn:pilot:schema:etcd-instance".into();
    schema["title"] = "an instance of a service of pilot in etcd".into();
    schema
}

fn entries(loaded: &Loaded) -> impl Iterator<Item = (&str, &RegistryEntry, RegistryKind<'_>)> {
    loaded
        .config
        .registry
        .iter()
        .flat_map(|(name, entry)| entry.kinds().into_iter().map(move |kind| (name.as_str(), entry, kind)))
}

fn refused(loaded: &Loaded, name: &str, kind: &RegistryKind<'_>, error: &ConfigError) -> Problem {
    let key = format!("registry.{name}.{}.{}", kind.as_str(), error.key);
    loaded.origins.problem(&key, error.reason.as_str())
}

fn registry(kind: &RegistryKind<'_>) -> Result<Box<dyn ServiceRegistry>, ConfigError> {
    match kind {
        #[cfg(feature = "file")]
        RegistryKind::File(config) => Ok(Box::new(pilot_registry_file::registry((*config).clone())?)),
        #[cfg(feature = "consul")]
        RegistryKind::Consul(config) => Ok(Box::new(pilot_registry_consul::registry((*config).clone())?)),
        #[cfg(feature = "etcd")]
        RegistryKind::Etcd(config) => Ok(Box::new(pilot_registry_etcd::registry((*config).clone())?)),
        #[cfg(feature = "kubernetes")]
        RegistryKind::Kubernetes(config) => {
            Ok(Box::new(pilot_registry_kubernetes::registry((*config).clone())?))
        }
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        RegistryKind::Never(never, _) => match *never {},
    }
}

/// The writing side, where the kind has one.
fn writer(kind: &RegistryKind<'_>) -> Option<Result<Box<dyn Registrar>, ConfigError>> {
    match kind {
        #[cfg(feature = "file")]
        RegistryKind::File(_) => None,
        #[cfg(feature = "kubernetes")]
        RegistryKind::Kubernetes(_) => None,
        #[cfg(feature = "consul")]
        RegistryKind::Consul(config) => Some(match pilot_registry_consul::registrar((*config).clone()) {
            Ok(registrar) => Ok(Box::new(registrar)),
            Err(error) => Err(error),
        }),
        #[cfg(feature = "etcd")]
        RegistryKind::Etcd(config) => Some(match pilot_registry_etcd::registrar((*config).clone()) {
            Ok(registrar) => Ok(Box::new(registrar)),
            Err(error) => Err(error),
        }),
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        RegistryKind::Never(never, _) => match *never {},
    }
}

/// The kinds that have a writing side, each with a line of pilot.toml that is such a registry.
fn writable_kinds() -> Vec<(&'static str, &'static str)> {
    vec![
        #[cfg(feature = "consul")]
        ("consul", "registry.east.consul.address = \"http://127.0.0.1:8500\""),
        #[cfg(feature = "etcd")]
        ("etcd", "registry.west.etcd.endpoints = [\"http://127.0.0.1:2379\"]"),
    ]
}
