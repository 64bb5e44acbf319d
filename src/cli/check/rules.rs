//! The documents of rules: what is wrong with them, and what they name that is not there.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilot_registry::Hostname;

use crate::catalog::Catalog;
use crate::cli::documents::problem;
use crate::config::{Config, Loaded, Problem};
use crate::mesh::Mesh;
use crate::registries::{self, InspectedRules};
use crate::rules::{DEFAULT_NAMESPACE, DocumentChange, Entry, Level, Library, Rules, StoreRank};
use crate::translate::rules::standing;

/// What was found in all stores that need no network.
#[derive(Debug, Default)]
pub(super) struct Documents {
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// How many documents there are.
    pub(super) count: usize,
    stores: Vec<(StoreRank, Library)>,
}

impl Documents {
    /// Reads them. `as_one`: they are of one store, whatever their files.
    pub(super) fn of(loaded: &Loaded, as_one: bool) -> Self {
        let mut found = Self::default();
        let mut stores = registries::inspect_rules(loaded);
        if as_one {
            stores = merged(stores).into_iter().collect();
        }
        for InspectedRules { store, texts, problems } in stores {
            found.problems.extend(problems);
            let Some(entry) = loaded.config.rules.get(&store) else { continue };
            let mut library = Library::of(entry.namespaces.clone());
            library.take(&texts, DEFAULT_NAMESPACE);
            for entry in library.entries().iter() {
                found.count += 1;
                for finding in entry.findings.iter() {
                    let list = match finding.level {
                        Level::Error => &mut found.problems,
                        Level::Warning => &mut found.warnings,
                    };
                    list.push(problem(&entry.place, finding));
                }
            }
            found.stores.push((StoreRank { priority: entry.priority, name: store.as_str().into() }, library));
        }
        found
    }

    /// The hosts of the services that documents have policies for.
    pub(super) fn with_policies(&self, catalog: &Catalog, config: &Config) -> BTreeSet<Hostname> {
        let mesh = self.beside(catalog, config);
        let rulings = mesh.rules.iter().filter_map(|ruling| {
            Some((&ruling.destination_rule()?.host, ruling.version.id.namespace.as_str()))
        });
        let services = rulings.flat_map(|(host, namespace)| mesh.meant(host, namespace));
        services.map(|service| service.host().clone()).collect()
    }

    /// A mesh of these services and all documents.
    fn beside(&self, catalog: &Catalog, config: &Config) -> Mesh {
        let changes = self.stores.iter().flat_map(|(store, library)| {
            let change = move |(id, version): (&_, &Arc<_>)| DocumentChange {
                store: store.clone(),
                id: Clone::clone(id),
                now: Some(Arc::clone(version)),
            };
            library.in_force().iter().map(change)
        });
        let rules = Rules::default().with(changes).0;
        Mesh::new(config.into()).next(&catalog.registries(), rules)
    }

    /// What documents name that is not there, and who counts in the place of whom.
    pub(super) fn in_mesh(&self, catalog: &Catalog, config: &Config) -> Vec<Problem> {
        let mesh = self.beside(catalog, config);
        let mut warnings = Vec::new();
        for (store, library) in &self.stores {
            for entry in library.entries().iter() {
                let Some(id) = entry.id.as_ref().filter(|_| !entry.is_rejected()) else { continue };
                let Some(ruling) = mesh.rules.get(id).filter(|ruling| ruling.store == *store) else {
                    continue;
                };
                for (_, why) in standing(&mesh, ruling) {
                    warnings.push(at(entry, entry.at.line, entry.at.column, format!("{id}: {why}")));
                }
            }
        }
        warnings
    }
}

/// All texts as those of the first store.
fn merged(stores: Vec<InspectedRules>) -> Option<InspectedRules> {
    stores.into_iter().reduce(|mut all, next| {
        let texts = all.texts.iter().chain(next.texts.iter());
        all.texts = texts.map(|(place, text)| (Arc::clone(place), Arc::clone(text))).collect();
        all.problems.extend(next.problems);
        all
    })
}

fn at(entry: &Entry, line: usize, column: usize, message: String) -> Problem {
    Problem { line: Some(line), column: Some(column), ..Problem::with_file(entry.place.to_string(), message) }
}
