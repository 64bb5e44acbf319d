//! A resource set that differs from the common one in few resources, or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resources::{Patch, Resource, TypeSet};

/// The resources that differ, or are there beside the common ones.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    own: BTreeMap<Arc<str>, Arc<Resource>>,
    /// The last common set, and what it became.
    last: Option<(Arc<TypeSet>, Arc<TypeSet>)>,
}

impl Overlay {
    /// The own resource of that name.
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        self.own.get(name)
    }

    /// Replaces own resources.
    pub(super) fn apply(&mut self, patch: Patch) {
        for (name, resource) in patch {
            let known = self.own.get(&name);
            if known.map(Arc::as_ptr) == resource.as_ref().map(Arc::as_ptr) {
                continue;
            }
            self.last = None;
            match resource {
                Some(resource) => drop(self.own.insert(name, resource)),
                None => drop(self.own.remove(&name)),
            }
        }
    }

    /// Whether that set was the last common one, and no own resource has changed since.
    pub(super) fn is_over(&self, common: &Arc<TypeSet>) -> bool {
        self.last.as_ref().is_some_and(|(last, _)| Arc::ptr_eq(last, common))
    }

    /// The common set, with the own resources instead of its own.
    pub(super) fn over(&mut self, common: &Arc<TypeSet>) -> Arc<TypeSet> {
        if self.own.is_empty() {
            return Arc::clone(common);
        }
        if let Some((_, own)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, common)) {
            return Arc::clone(own);
        }
        let patch = self.own.iter().map(|(name, own)| (Arc::clone(name), Some(Arc::clone(own)))).collect();
        let own = Arc::new(common.patched(&patch));
        self.last = Some((Arc::clone(common), Arc::clone(&own)));
        own
    }
}

/// The resource as it is known already, if it is.
pub(super) fn shared(own: Resource, known: [Option<&Arc<Resource>>; 2]) -> Arc<Resource> {
    let same = known.into_iter().flatten().find(|known| ***known == own);
    same.map_or_else(|| Arc::new(own), Arc::clone)
}
