//! The namespaces whose clients may see something else than everybody: a service has a local name there, or is seen only
//! there and in some others.
//!
//! Proxies of all other namespaces share one configuration, so clients cannot create work by inventing
//! namespaces.

use std::collections::BTreeSet;

use pilot_registry::Namespace;

use super::counts::Counts;
use super::service::CatalogService;

/// Those namespaces, and how many services make the difference.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Namespaces(Counts<Namespace>);

impl Namespaces {
    /// A service came, went, or changed. Most changes are of endpoints, and cost nothing here.
    pub(super) fn replace(&mut self, old: Option<&CatalogService>, new: Option<&CatalogService>) {
        let (old, new) = (old.map(of).unwrap_or_default(), new.map(of).unwrap_or_default());
        if old != new {
            self.0.add(new);
            self.0.remove(old);
        }
    }

    /// Whether both know the same namespaces.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.0.has_the_values_of(&other.0)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, namespace: &Namespace) -> bool {
        self.0.contains(namespace)
    }
}

fn of(service: &CatalogService) -> BTreeSet<&Namespace> {
    let local = service.local_names().iter().map(|(namespace, _)| namespace);
    local.chain(service.visibility().namespaces().into_iter().flatten()).collect()
}
