//! The composition root: the one place that names adapter crates.
//!
//! To add a kind of registry: a field and a variant in `config/entry.rs`, an arm in each function here,
//! and the optional dependency in Cargo.toml.

mod writing;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ConfigError, Registrar, ServiceId, ServiceRegistry, Snapshot};
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

/// What one look at all registries shows.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The registries, in the order of their names.
    pub registries: Vec<Inspected>,
    /// All that is wrong with what they have.
    pub problems: Vec<Problem>,
    /// What can be merged: nothing of registries that were not looked at.
    pub sources: Vec<Source>,
    /// Where services are written, by host: a problem without a message. None of registries without files.
    pub places: BTreeMap<ServiceId, Problem>,
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

/// Looks at all registries once. Reads files.
pub fn inspect(loaded: &Loaded) -> Inspection {
    let mut inspection = Inspection::default();
    let Inspection { registries: found, problems, sources, places } = &mut inspection;
    for (name, entry, kind) in entries(loaded) {
        if let Err(error) = registry(&kind) {
            problems.push(refused(loaded, name, &kind, &error));
            continue;
        }
        let content = look(loaded, name, &kind);
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
        for (host, place) in content.places {
            places.entry(host).or_insert(place);
        }
        let snapshot = Arc::new(content.snapshot);
        sources.push(Source::new(name, entry.priority, snapshot));
    }
    inspection
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
    named(loaded, |kind| kind.files())
}

/// The environment variables that registries need. Does no IO.
pub fn named_variables(loaded: &Loaded) -> Vec<Named<String>> {
    named(loaded, |kind| kind.variables())
}

fn named<T>(loaded: &Loaded, of: impl Fn(&Kind<'_>) -> Vec<(&'static str, T)>) -> Vec<Named<T>> {
    let named = |(registry, _, kind): (&str, _, Kind<'_>)| {
        let table = format!("registry.{registry}.{}", kind.as_str());
        let all = of(&kind).into_iter();
        all.map(|(key, name)| Named { key: format!("{table}.{key}"), name }).collect::<Vec<_>>()
    };
    entries(loaded).flat_map(named).collect()
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
    places: BTreeMap<ServiceId, Problem>,
}

/// `None` for a kind that would have to be asked over the network.
#[cfg_attr(not(feature = "file"), allow(unused_variables, reason = "no kind has files"))]
fn look(loaded: &Loaded, name: &str, kind: &Kind<'_>) -> Option<Content> {
    match kind {
        #[cfg(feature = "file")]
        Kind::File(config) => Some(look_at_files(loaded, name, config)),
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

#[cfg(feature = "file")]
fn look_at_files(loaded: &Loaded, name: &str, config: &pilot_registry_file::Config) -> Content {
    let found = pilot_registry_file::load(config);
    // Of a path that leads to nothing, it is pilot.toml that names the wrong one.
    let leads_nowhere = std::fs::metadata(&config.path)
        .map_or_else(|error| error.kind() == std::io::ErrorKind::NotFound, |metadata| metadata.is_dir());
    let problem = |problem: pilot_registry_file::Problem| {
        if leads_nowhere && problem.file == config.path {
            return loaded.origins.problem(&format!("registry.{name}.file.path"), problem.to_string());
        }
        Problem {
            line: problem.line,
            column: problem.column,
            ..Problem::with_file(problem.file.display().to_string(), problem.message)
        }
    };
    let place = |(id, (file, line, column)): (ServiceId, (PathBuf, usize, usize))| {
        let place = Problem::with_file(file.display().to_string(), String::new());
        (id, Problem { line: Some(line), column: Some(column), ..place })
    };
    Content {
        // The adapter has left out all but one of an id.
        snapshot: Snapshot::new(found.services).unwrap_or_default(),
        problems: found.problems.into_iter().map(problem).collect(),
        places: found.places.into_iter().map(place).collect(),
    }
}
