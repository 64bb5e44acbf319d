//! One look at what registries and stores of rules have, without following them: nothing of those that would have to be
//! asked over the network.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use pilot_registry::{ServiceId, Snapshot, Texts};
use serde::Serialize;

use super::{entries, refused, registry};
use crate::catalog::Source;
use crate::config::{Loaded, Problem, RegistryKind, RulesKind};

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

/// What one look at a store of rules shows.
#[derive(Debug, Default)]
pub struct InspectedRules {
    /// Its name in pilot.toml.
    pub store: String,
    /// What it has.
    pub texts: Texts,
    /// What keeps it from being read.
    pub problems: Vec<Problem>,
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

/// Looks at all stores of rules once, as far as that needs no network.
pub fn inspect_rules(loaded: &Loaded) -> Vec<InspectedRules> {
    let entries = loaded.config.rules.iter();
    let kinds = entries.flat_map(|(name, entry)| entry.kinds().into_iter().map(move |kind| (name, kind)));
    kinds.filter_map(|(name, kind)| inspect_rules_of(loaded, name, &kind)).collect()
}

/// The texts of documents in a file or a folder, with what keeps them from being read.
#[cfg(feature = "file")]
pub fn rules_in(path: PathBuf) -> (Texts, Vec<Problem>) {
    let (texts, problems) = pilot_registry_file::load_rules(&pilot_registry_file::RulesConfig::new(path));
    let problem = |problem: pilot_registry_file::Problem| Problem {
        line: problem.line,
        column: problem.column,
        ..Problem::with_file(problem.file.display().to_string(), problem.message)
    };
    (texts, problems.into_iter().map(problem).collect())
}

/// The texts of documents in a file or a folder: this pilot was built without the feature `file`, so it reads none.
#[cfg(not(feature = "file"))]
pub fn rules_in(path: PathBuf) -> (Texts, Vec<Problem>) {
    let message = "this pilot was built without the feature \"file\": it reads no files of rules";
    (Texts::default(), vec![Problem::with_file(path.display().to_string(), message)])
}

#[cfg_attr(not(feature = "file"), allow(unused_variables, reason = "no kind has files"))]
fn inspect_rules_of(loaded: &Loaded, name: &str, kind: &RulesKind<'_>) -> Option<InspectedRules> {
    match kind {
        #[cfg(feature = "file")]
        RulesKind::File(config) => {
            let (texts, problems) = pilot_registry_file::load_rules(config);
            let problem = |problem: pilot_registry_file::Problem| {
                if problem.file == config.path {
                    let key = format!("rules.{name}.file.path");
                    return loaded.origins.problem(&key, problem.to_string());
                }
                Problem {
                    line: problem.line,
                    column: problem.column,
                    ..Problem::with_file(problem.file.display().to_string(), problem.message)
                }
            };
            let problems = problems.into_iter().map(problem).collect();
            Some(InspectedRules { store: name.to_owned(), texts, problems })
        }
        #[cfg(feature = "consul")]
        RulesKind::Consul(_) => None,
        #[cfg(feature = "etcd")]
        RulesKind::Etcd(_) => None,
        #[cfg(feature = "kubernetes")]
        RulesKind::Kubernetes(_) => None,
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        RulesKind::Never(never, _) => match *never {},
    }
}

/// What one look at a registry shows.
struct Content {
    snapshot: Snapshot,
    problems: Vec<Problem>,
    places: BTreeMap<ServiceId, Problem>,
}

/// `None` for a kind that would have to be asked over the network.
#[cfg_attr(not(feature = "file"), allow(unused_variables, reason = "no kind has files"))]
fn look(loaded: &Loaded, name: &str, kind: &RegistryKind<'_>) -> Option<Content> {
    match kind {
        #[cfg(feature = "file")]
        RegistryKind::File(config) => Some(look_at_files(loaded, name, config)),
        #[cfg(feature = "consul")]
        RegistryKind::Consul(_) => None,
        #[cfg(feature = "etcd")]
        RegistryKind::Etcd(_) => None,
        #[cfg(feature = "kubernetes")]
        RegistryKind::Kubernetes(_) => None,
        #[cfg(not(any(feature = "consul", feature = "etcd", feature = "file", feature = "kubernetes")))]
        RegistryKind::Never(never, _) => match *never {},
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
