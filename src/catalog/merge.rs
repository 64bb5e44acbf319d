//! Many registries -> one catalog.
//!
//! A service that several registries know, by its host and, where not everybody sees it, by its namespace, is one: the
//! union of its endpoints, ports, aliases and virtual addresses. What the registries disagree about (a port's protocol,
//! resolution, namespace, visibility) is decided by the preferred registry: lowest priority number first, then the
//! registry's name in alphabetical order. Each such decision is a [`Disagreement`](super::Disagreement). A port whose
//! number a registry has guessed is brought together with the port that it is in other registries first
//! (`guesses.rs`).

use std::sync::Arc;

use pilot_registry::{Service, ServiceId};

use super::lookup::Catalog;
use super::part::{Part, Source};
use super::service::CatalogService;

impl Catalog {
    /// Merges what the registries know. A service of which nothing changed is taken from `previous`, so
    /// that catalogs are compared by pointers.
    pub fn merge(sources: &[Source], previous: &Self) -> Self {
        let mut sources: Vec<_> = sources.iter().map(Cursor::new).collect();
        let rank = |cursor: &Cursor<'_>| (cursor.source.priority, Arc::clone(&cursor.source.registry));
        sources.sort_by_key(rank);
        let mut old = previous.services.iter().peekable();
        let mut services = Vec::with_capacity(previous.services.len());
        let mut index = previous.index.clone();
        while let Some(id) = sources.iter().filter_map(Cursor::id).min() {
            let id = &id;
            while let Some(gone) = old.next_if(|old| old.id() < id) {
                index.replace(Some(gone), None);
            }
            let known = old.next_if(|old| old.id() == id);
            services.push(match known.filter(|known| is_made_of(known, &sources, id)) {
                Some(known) => Arc::clone(known),
                None => {
                    let parts = sources.iter().filter_map(|source| source.part(id));
                    let before = known.map(|known| &**known);
                    let service = Arc::new(CatalogService::new(parts.collect(), before));
                    index.replace(known.map(|known| &**known), Some(&service));
                    service
                }
            });
            sources.iter_mut().for_each(|source| source.pass(id));
        }
        old.for_each(|gone| index.replace(Some(gone), None));
        Self { services: Arc::new(services), index }
    }
}

/// Whether the service is what the sources, preferred first, say of that id.
fn is_made_of(service: &CatalogService, sources: &[Cursor<'_>], id: &ServiceId) -> bool {
    let mut parts = service.parts().iter();
    let mut said = sources.iter().filter_map(|source| Some((source.source, source.at(id)?)));
    said.all(|(source, service)| parts.next().is_some_and(|part| part.is_of(source, service)))
        && parts.next().is_none()
}

/// A place in one registry's services, which are ordered by id.
struct Cursor<'a> {
    source: &'a Source,
    rest: &'a [Arc<Service>],
}

impl<'a> Cursor<'a> {
    fn new(source: &'a Source) -> Self {
        Self { source, rest: source.snapshot.services() }
    }

    /// The id at this place.
    fn id(&self) -> Option<ServiceId> {
        self.rest.first().map(|service| service.id())
    }

    /// The service at this place, if it has that id.
    fn at(&self, id: &ServiceId) -> Option<&'a Arc<Service>> {
        self.rest.first().filter(|service| service.key() == (&id.host, id.owner.as_ref()))
    }

    fn part(&self, id: &ServiceId) -> Option<Part> {
        Some(Part::new(self.source, Arc::clone(self.at(id)?)))
    }

    /// Goes on to the next place, if this is that id's.
    fn pass(&mut self, id: &ServiceId) {
        if self.at(id).is_some() {
            self.rest = &self.rest[1..];
        }
    }
}
