//! The endpoints that a ServiceEntry chooses by labels.

use std::sync::Arc;

use imbl::OrdMap;
use pilot_registry::{Service, ServiceId};

use crate::catalog::Source;
use crate::rules::kinds::EntrySelector;
use crate::rules::{DocumentId, Kind, Rules, Ruling};

/// A service of a registry: the preferred registry first.
pub(super) type ServiceKey = (u32, Arc<str>, ServiceId);

/// What a ServiceEntry chooses. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// WorkloadEntries.
    pub(super) workloads: OrdMap<DocumentId, Ruling>,
    /// Services of registries of which it chooses some endpoint.
    pub(super) registered: OrdMap<ServiceKey, Arc<Service>>,
}

impl Choice {
    /// What a selector chooses in a namespace.
    pub(super) fn new(
        selector: &EntrySelector,
        namespace: &str,
        rules: &Rules,
        registries: &[Source],
    ) -> Self {
        let is_chosen = |ruling: &&Ruling| {
            ruling.version.id.namespace == namespace
                && ruling.workload_entry().is_some_and(|entry| selector.chooses(&entry.labels))
        };
        let workloads = rules.of_kind(Kind::WorkloadEntry).filter(is_chosen);
        let workloads = workloads.map(|ruling| (ruling.version.id.clone(), ruling.clone())).collect();
        let registered = registries.iter().flat_map(|source| {
            let services = source.snapshot.services().iter();
            let chosen = services.filter(|service| choosable(service, namespace, selector));
            chosen.map(|service| (key(source, service), Arc::clone(service)))
        });
        Self { workloads, registered: registered.collect() }
    }

    /// It chooses that document, or does not any more (`None`).
    pub(super) fn workload(&mut self, id: &DocumentId, ruling: Option<&Ruling>) {
        match ruling {
            Some(ruling) => _ = self.workloads.insert(id.clone(), ruling.clone()),
            None => _ = self.workloads.remove(id),
        }
    }

    /// It chooses endpoints of that service, or does not any more (`None`).
    pub(super) fn service(&mut self, key: &ServiceKey, service: Option<&Arc<Service>>) {
        match service {
            Some(service) => _ = self.registered.insert(key.clone(), Arc::clone(service)),
            None => _ = self.registered.remove(key),
        }
    }
}

/// Whether some endpoint of a service may be chosen in a namespace.
pub(super) fn choosable(service: &Service, namespace: &str, selector: &EntrySelector) -> bool {
    service.namespace.as_str() == namespace
        && service.endpoints.iter().any(|endpoint| selector.chooses(&endpoint.labels))
}

fn key(source: &Source, service: &Service) -> ServiceKey {
    (source.priority, Arc::clone(&source.registry), service.id())
}

/// A service of a registry that differs: what was said of it, and what is said now.
pub(super) struct RegistryChange<'a> {
    pub(super) key: ServiceKey,
    pub(super) old: Option<&'a Arc<Service>>,
    pub(super) new: Option<&'a Arc<Service>>,
}

/// The services of registries that differ. It looks at pointers, except where these differ.
pub(super) fn differing<'a>(before: &'a [Source], now: &'a [Source]) -> Vec<RegistryChange<'a>> {
    let is_of = |source: &Source, other: &Source| {
        source.registry == other.registry && source.priority == other.priority
    };
    let gone = |source: &'a Source, old: &'a Arc<Service>| RegistryChange {
        key: key(source, old),
        old: Some(old),
        new: None,
    };
    let mut found = Vec::new();
    for source in before.iter().filter(|source| !now.iter().any(|other| is_of(source, other))) {
        found.extend(source.snapshot.services().iter().map(|service| gone(source, service)));
    }
    for source in now {
        let old = before.iter().find(|other| is_of(source, other));
        let mut old = old.map_or(&[][..], |old| old.snapshot.services()).iter().peekable();
        for service in source.snapshot.services() {
            if old.next_if(|old| Arc::ptr_eq(old, service)).is_some() {
                continue;
            }
            while let Some(missing) = old.next_if(|old| old.key() < service.key()) {
                found.push(gone(source, missing));
            }
            let known = old.next_if(|old| old.key() == service.key());
            if known.is_none_or(|known| !Arc::ptr_eq(known, service)) {
                found.push(RegistryChange { key: key(source, service), old: known, new: Some(service) });
            }
        }
        found.extend(old.map(|missing| gone(source, missing)));
    }
    found
}
