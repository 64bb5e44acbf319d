//! Finds the services that differ between two catalogs.

use std::sync::Arc;

use pilot_registry::ServiceId;

use super::service::CatalogService;

/// A service before and after; at least one of both is there.
pub(crate) struct ServiceChange {
    pub(crate) old: Option<Arc<CatalogService>>,
    pub(crate) new: Option<Arc<CatalogService>>,
}

impl ServiceChange {
    /// The service's id.
    pub(crate) fn id(&self) -> Option<&ServiceId> {
        self.new.as_ref().or(self.old.as_ref()).map(|service| service.id())
    }
}

/// What differs between two lists that are ordered by id. Pointers are compared, not services.
pub(crate) fn changes(
    old: &Arc<Vec<Arc<CatalogService>>>,
    new: &Arc<Vec<Arc<CatalogService>>>,
) -> Vec<ServiceChange> {
    let mut changes = Vec::new();
    if Arc::ptr_eq(old, new) {
        return changes;
    }
    let mut old = old.iter().peekable();
    for service in new.iter() {
        if old.next_if(|old| Arc::ptr_eq(old, service)).is_some() {
            continue;
        }
        while let Some(gone) = old.next_if(|old| old.id() < service.id()) {
            changes.push(ServiceChange { old: Some(Arc::clone(gone)), new: None });
        }
        let known = old.next_if(|old| old.id() == service.id());
        if known.is_none_or(|known| !Arc::ptr_eq(known, service)) {
            changes.push(ServiceChange { old: known.map(Arc::clone), new: Some(Arc::clone(service)) });
        }
    }
    changes.extend(old.map(|gone| ServiceChange { old: Some(Arc::clone(gone)), new: None }));
    changes
}
