//! The composition root: the one place that names adapter crates.
//!
//! To add a kind of registry: a field and a variant in `config/entry.rs`, an arm in each function here,
//! and the optional dependency in Cargo.toml.

mod writing;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ConfigError, Registrar, ServiceRegistry, Snapshot};
use serde::Serialize;

use crate::catalog::Source;
use crate::config::{Kind, Loaded, Problem, Problems, RegistryEntry};

pub use writing::{ConfiguredRegistrar, registrar};

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

/// What can be said of a registry without following it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspected {
    /// Its name in pilot.toml.
    pub registry: String,
    /// What kind it is.
    pub kind: &'static str,
    /// 0 is preferred.
    pub priority: u32,
    /// The services that it has; `None` = it was not looked at, because that needs the network.
    pub services: Option<usize>,
    /// The endpoints of all of them.
    pub endpoints: Option<usize>,
}

/// Makes all registries of the configuration, in the order of their names. Does no IO.
///
/// # Errors
/// What adapters refuse in their tables, with the places of the keys.
pub fn build(loaded: &Loaded) -> Result<Vec<ConfiguredRegistry>, Problems> {
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
    if problems.is_empty() { Ok(built) } else { Err(Problems(problems)) }
}

/// Looks at all registries once: what they have, all that is wrong with it, and what can be merged. Reads
/// files.
pub fn inspect(loaded: &Loaded) -> (Vec<Inspected>, Vec<Problem>, Vec<Source>) {
    let (mut found, mut problems, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for (name, entry, kind) in entries(loaded) {
        if let Err(error) = registry(&kind) {
            problems.push(refused(loaded, name, &kind, &error));
            continue;
        }
        let content = look(&kind);
        let count = |count: fn(&Snapshot) -> usize| content.as_ref().map(|content| count(&content.snapshot));
        found.push(Inspected {
            registry: name.into(),
            kind: kind.as_str(),
            priority: entry.priority,
            services: count(|snapshot| snapshot.services().len()),
            endpoints: count(Snapshot::endpoint_count),
        });
        let Some(content) = content else { continue };
        problems.extend(content.problems);
        let snapshot = Arc::new(content.snapshot);
        sources.push(Source { registry: name.into(), priority: entry.priority, snapshot });
    }
    (found, problems, sources)
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

fn entries(loaded: &Loaded) -> impl Iterator<Item = (&str, &RegistryEntry, Kind<'_>)> {
    loaded
        .config
        .registry
        .iter()
        .flat_map(|(name, entry)| entry.kinds().into_iter().map(move |kind| (name.as_str(), entry, kind)))
}

fn refused(loaded: &Loaded, name: &str, kind: &Kind<'_>, error: &ConfigError) -> Problem {
    let key = format!("registry.{name}.{}.{}", kind.as_str(), error.key);
    loaded.origins.problem(&key, error.reason.as_str())
}

fn registry(kind: &Kind<'_>) -> Result<Box<dyn ServiceRegistry>, ConfigError> {
    match kind {
        #[cfg(feature = "file")]
        Kind::File(config) => Ok(Box::new(pilot_registry_file::registry((*config).clone())?)),
        #[cfg(feature = "consul")]
        Kind::Consul(config) => Ok(Box::new(pilot_registry_consul::registry((*config).clone())?)),
        #[cfg(feature = "etcd")]
        Kind::Etcd(config) => Ok(Box::new(pilot_registry_etcd::registry((*config).clone())?)),
        #[cfg(feature = "kubernetes")]
        Kind::Kubernetes(config) => Ok(Box::new(pilot_registry_kubernetes::registry((*config).clone())?)),
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        Kind::Never(never, _) => match *never {},
    }
}

/// The writing side, where the kind has one.
fn writer(kind: &Kind<'_>) -> Option<Result<Box<dyn Registrar>, ConfigError>> {
    match kind {
        #[cfg(feature = "file")]
        Kind::File(_) => None,
        #[cfg(feature = "kubernetes")]
        Kind::Kubernetes(_) => None,
        #[cfg(feature = "consul")]
        Kind::Consul(config) => Some(match pilot_registry_consul::registrar((*config).clone()) {
            Ok(registrar) => Ok(Box::new(registrar)),
            Err(error) => Err(error),
        }),
        #[cfg(feature = "etcd")]
        Kind::Etcd(config) => Some(match pilot_registry_etcd::registrar((*config).clone()) {
            Ok(registrar) => Ok(Box::new(registrar)),
            Err(error) => Err(error),
        }),
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        Kind::Never(never, _) => match *never {},
    }
}

/// The kinds that have a writing side.
fn writable_kinds() -> Vec<&'static str> {
    vec![
        #[cfg(feature = "consul")]
        "consul",
        #[cfg(feature = "etcd")]
        "etcd",
    ]
}

/// What one look at a registry shows.
struct Content {
    snapshot: Snapshot,
    problems: Vec<Problem>,
}

/// `None` for a kind that would have to be asked over the network.
fn look(kind: &Kind<'_>) -> Option<Content> {
    match kind {
        #[cfg(feature = "file")]
        Kind::File(config) => {
            let loaded = pilot_registry_file::load(config);
            let problem = |problem: pilot_registry_file::Problem| Problem {
                line: problem.line,
                column: problem.column,
                ..Problem::with_file(problem.file.display().to_string(), problem.message)
            };
            Some(Content {
                // The adapter has left out all but one of a host.
                snapshot: Snapshot::new(loaded.services).unwrap_or_default(),
                problems: loaded.problems.into_iter().map(problem).collect(),
            })
        }
        #[cfg(feature = "consul")]
        Kind::Consul(_) => None,
        #[cfg(feature = "etcd")]
        Kind::Etcd(_) => None,
        #[cfg(feature = "kubernetes")]
        Kind::Kubernetes(_) => None,
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        Kind::Never(never, _) => match *never {},
    }
}
