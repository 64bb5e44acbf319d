//! Tells whether a change can move a proxy to another scope: its locality or its namespace may come from the
//! registries.
//!
//! One hash covers everything that `Mesh::scope` reads. Equal hashes mean that no proxy can have changed its
//! scope.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

use super::part::Part;
use super::service::CatalogService;

/// The sum of the services' hashes, which does not depend on their order, and follows a change at the cost of the
/// services that changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Places(u64);

impl Places {
    /// A service came, changed or went.
    pub(super) fn replace(&mut self, old: Option<&CatalogService>, new: Option<&CatalogService>) {
        let [old, new] = [old, new].map(|service| service.map(hash).unwrap_or_default());
        self.0 = self.0.wrapping_sub(old).wrapping_add(new);
    }
}

fn hash(service: &CatalogService) -> u64 {
    let mut hash = Xxh3::new();
    service.local_names().iter().for_each(|(namespace, _)| namespace.hash(&mut hash));
    for Part { service, .. } in service.parts() {
        (&service.namespace, service.local_names.is_empty(), service.endpoints.len()).hash(&mut hash);
        for endpoint in &service.endpoints {
            (&endpoint.address, &endpoint.ports, &endpoint.locality).hash(&mut hash);
        }
    }
    hash.finish()
}
