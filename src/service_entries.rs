//! Services that documents say: ServiceEntries, with the endpoints that they choose.
//!
//! ```text
//!  ServiceEntry ──────────────┐
//!  WorkloadEntry ── labels ───┼─► MadeEntry: its services ─► lists, as input to the catalog beside the registries
//!  registries' services ──────┘   (of the same namespace)
//! ```
//!
//! Pure: from documents and registries to services. A change costs what it touches: entries of which nothing changed keep
//! their services, and registries are looked at only where some entry chooses endpoints.

mod build;
mod chosen;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilot_registry::{Service, ServiceId, Snapshot};

use crate::catalog::{Source, SourceDocuments};
use crate::rules::kinds::EntrySelector;
use crate::rules::{DocumentId, Kind, Rules, Ruling};
use chosen::{Choice, RegistryChange, choosable, differing};

/// The services that documents say. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub struct ServiceEntries {
    /// The documents that it was made of.
    rules: Rules,
    /// The registries that it was made of.
    registries: Arc<[Source]>,
    made: OrdMap<DocumentId, Arc<MadeEntry>>,
    /// The entries that choose endpoints, by namespace.
    choosing: OrdSet<(Arc<str>, DocumentId)>,
    lists: Arc<[Source]>,
}

/// What became of one document.
#[derive(Clone, Debug)]
struct MadeEntry {
    ruling: Ruling,
    choice: Choice,
    services: Vec<Arc<Service>>,
    /// What of it could not be made, in words.
    faults: Arc<[String]>,
}

/// Services of which each id is there once, and the document of each.
#[derive(Default)]
struct DocumentList {
    services: Vec<Arc<Service>>,
    names: OrdMap<ServiceId, Arc<str>>,
}

impl ServiceEntries {
    /// The services, as input to the catalog.
    pub fn sources(&self) -> &[Source] {
        &self.lists
    }

    /// What of a document could not be made, in words.
    pub fn faults(&self, id: &DocumentId) -> &[String] {
        self.made.get(id).map_or(&[], |made| &*made.faults)
    }

    /// The services of a document.
    pub fn services(&self, id: &DocumentId) -> &[Arc<Service>] {
        self.made.get(id).map_or(&[], |made| &made.services)
    }

    /// The entries that choose that WorkloadEntry.
    pub fn choosing<'a>(&'a self, workload: &'a DocumentId) -> impl Iterator<Item = &'a DocumentId> {
        let of = self.choosing_in(&workload.namespace);
        of.filter(|id| self.made.get(*id).is_some_and(|made| made.choice.workloads.contains_key(workload)))
    }

    /// The same, of these documents and registries.
    #[must_use]
    pub fn next(&self, rules: &Rules, registries: &[Source]) -> Self {
        let mut next = Self { rules: rules.clone(), registries: registries.into(), ..self.clone() };
        let mut dirty = BTreeSet::new();
        for (old, new) in self.rules.differing(rules) {
            let Some(ruling) = new.or(old) else { continue };
            let id = &ruling.version.id;
            match ruling.version.spec.kind() {
                Kind::ServiceEntry => next.replace(id.clone(), new, &mut dirty),
                Kind::WorkloadEntry => next.workload(id, new, &mut dirty),
                _ => {}
            }
        }
        if !next.choosing.is_empty() {
            for change in differing(&self.registries, registries) {
                next.registered(&change, &mut dirty);
            }
        }
        let is_older_now = |id: &DocumentId| {
            let both = self.made.get(id).zip(next.made.get(id));
            both.is_some_and(|(before, now)| before.ruling.by_age(&now.ruling).is_ne())
        };
        let is_reordered = dirty.iter().any(is_older_now);
        let has_other_services = next.build(dirty) || is_reordered;
        if has_other_services {
            next.lists = next.listed();
        }
        next
    }

    /// A document is there, is another one, or is gone (`None`).
    fn replace(&mut self, id: DocumentId, ruling: Option<&Ruling>, dirty: &mut BTreeSet<DocumentId>) {
        let namespace: Arc<str> = id.namespace.as_str().into();
        self.choosing.remove(&(Arc::clone(&namespace), id.clone()));
        let selector = ruling.and_then(selector_of);
        if let Some((ruling, selector)) = ruling.zip(selector) {
            self.choosing.insert((namespace, id.clone()));
            let choice = Choice::new(selector, &id.namespace, &self.rules, &self.registries);
            self.put(id.clone(), ruling, choice);
        } else if let Some(ruling) = ruling {
            self.put(id.clone(), ruling, Choice::default());
        }
        dirty.insert(id);
    }

    fn put(&mut self, id: DocumentId, ruling: &Ruling, choice: Choice) {
        let services = self.made.get(&id).map(|made| made.services.clone()).unwrap_or_default();
        let made = MadeEntry { ruling: ruling.clone(), choice, services, faults: [].into() };
        self.made.insert(id, Arc::new(made));
    }

    /// A WorkloadEntry is another one, or is gone (`None`).
    fn workload(&mut self, id: &DocumentId, ruling: Option<&Ruling>, dirty: &mut BTreeSet<DocumentId>) {
        let entry = ruling.and_then(Ruling::workload_entry);
        for (of, mut made) in self.choosers(&id.namespace) {
            let Some(selector) = selector_of(&made.ruling) else { continue };
            let is_chosen = entry.is_some_and(|entry| selector.chooses(&entry.labels));
            let was_chosen = made.choice.workloads.contains_key(id);
            if is_chosen || was_chosen {
                made.choice.workload(id, ruling.filter(|_| is_chosen));
                self.made.insert(of.clone(), Arc::new(made));
                dirty.insert(of);
            }
        }
    }

    /// A registry says something else of a service.
    fn registered(&mut self, change: &RegistryChange<'_>, dirty: &mut BTreeSet<DocumentId>) {
        let RegistryChange { key, old, new } = change;
        let namespaces: BTreeSet<&str> =
            [old, new].into_iter().copied().flatten().map(|service| service.namespace.as_str()).collect();
        let choosers: Vec<_> =
            namespaces.into_iter().flat_map(|namespace| self.choosers(namespace)).collect();
        for (of, mut made) in choosers {
            let Some(selector) = selector_of(&made.ruling) else { continue };
            let namespace = made.ruling.version.id.namespace.as_str();
            let chosen = new.filter(|service| choosable(service, namespace, selector));
            if chosen.is_none() && !made.choice.registered.contains_key(key) {
                continue;
            }
            made.choice.service(key, chosen);
            self.made.insert(of.clone(), Arc::new(made));
            dirty.insert(of);
        }
    }

    /// The entries of a namespace that choose endpoints.
    fn choosers(&self, namespace: &str) -> Vec<(DocumentId, MadeEntry)> {
        let of = self.choosing_in(namespace);
        of.filter_map(|id| Some((id.clone(), MadeEntry::clone(self.made.get(id)?)))).collect()
    }

    fn choosing_in(&self, namespace: &str) -> impl Iterator<Item = &DocumentId> {
        let namespace: Arc<str> = namespace.into();
        let from = self.choosing.range((Arc::clone(&namespace), DocumentId::FIRST)..);
        from.take_while(move |(of, _)| *of == namespace).map(|(_, id)| id)
    }

    /// Makes the services of these documents anew. Says whether some differ.
    fn build(&mut self, dirty: BTreeSet<DocumentId>) -> bool {
        let mut has_other_services = false;
        for id in dirty {
            let ruling = self.rules.get(&id).filter(|ruling| ruling.service_entry().is_some()).cloned();
            let Some((ruling, before)) = ruling.zip(self.made.get(&id).cloned()) else {
                has_other_services |= self.made.remove(&id).is_some();
                continue;
            };
            let (services, faults) = build::services(&ruling, &before.choice);
            let services: Vec<_> = services.into_iter().map(|service| reused(service, &before)).collect();
            let is_same = |(old, new): (&Arc<Service>, &Arc<Service>)| Arc::ptr_eq(old, new);
            has_other_services |= before.services.len() != services.len()
                || !before.services.iter().zip(&services).all(is_same);
            let made = MadeEntry { ruling, services, faults: faults.into(), choice: before.choice.clone() };
            self.made.insert(id, Arc::new(made));
        }
        has_other_services
    }

    /// The services in lists: each list has one of each id, and the first list those of the oldest documents.
    fn listed(&self) -> Arc<[Source]> {
        let mut entries: Vec<&Arc<MadeEntry>> = self.made.values().collect();
        entries.sort_by(|a, b| a.ruling.by_age(&b.ruling));
        let mut heights: BTreeMap<ServiceId, usize> = BTreeMap::new();
        let mut lists: Vec<DocumentList> = Vec::new();
        for made in entries {
            let name: Arc<str> = made.ruling.version.id.to_string().into();
            for service in &made.services {
                let height = heights.entry(service.id()).or_default();
                if lists.len() == *height {
                    lists.push(DocumentList::default());
                }
                let list = &mut lists[*height];
                list.services.push(Arc::clone(service));
                list.names.insert(service.id(), Arc::clone(&name));
                *height += 1;
            }
        }
        let numbered = (0..).zip(lists);
        // Each list has an id once.
        let sources = numbered.filter_map(|(list, DocumentList { services, names })| {
            let snapshot = Arc::new(Snapshot::new(services).ok()?);
            let documents = Some(SourceDocuments { list, names });
            Some(Source { documents, ..Source::new("documents", 0, snapshot) })
        });
        sources.collect()
    }
}

fn selector_of(ruling: &Ruling) -> Option<&EntrySelector> {
    ruling.service_entry()?.workload_selector.as_ref()
}

/// The service, or the one of before that is the same.
fn reused(service: Service, before: &MadeEntry) -> Arc<Service> {
    let known = before.services.iter().find(|known| ***known == service);
    known.map_or_else(|| Arc::new(service), Arc::clone)
}
