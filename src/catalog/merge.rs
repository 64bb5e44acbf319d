//! Many registries -> one catalog.
//!
//! A service that several registries know, by its host and, where not everybody sees it, by its namespace, is one: the
//! union of its endpoints, ports, aliases and virtual addresses. What the registries disagree about (a port's protocol,
//! resolution, namespace, visibility) is decided by the preferred registry: lowest priority number first, then the
//! registry's name in alphabetical order. Each such decision is a [`Disagreement`](super::Disagreement). A port whose
//! number a registry has guessed is brought together with the port that it is in other registries first
//! (`guesses.rs`).

use std::ops::Range;
use std::sync::Arc;

use pilot_registry::{Hostname, Namespace, Service, ServiceId};

use super::lookup::Catalog;
use super::part::{Part, Source};
use super::service::CatalogService;

impl Catalog {
    /// Merges what the registries know. A service of which nothing changed is taken from `previous`, so
    /// that catalogs are compared by pointers.
    pub fn merge(sources: &[Source], previous: &Self) -> Self {
        let mut sources = sources.to_vec();
        sources.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let window = Window::between(&previous.sources, &sources);
        let known = window.of(&previous.services, |service| key_of(service.id()));
        let mut old = previous.services[known.clone()].iter().peekable();
        let mut cursors: Vec<_> = sources.iter().map(|source| Cursor::new(source, &window)).collect();
        let mut services = Vec::with_capacity(previous.services.len() + 1);
        services.extend_from_slice(&previous.services[..known.start]);
        let mut index = previous.index.clone();
        while let Some(id) = cursors.iter().filter_map(Cursor::id).min() {
            let id = &id;
            while let Some(gone) = old.next_if(|old| old.id() < id) {
                index.replace(Some(gone), None);
            }
            let known = old.next_if(|old| old.id() == id);
            services.push(match known.filter(|known| is_made_of(known, &cursors, id)) {
                Some(known) => Arc::clone(known),
                None => {
                    let parts = cursors.iter().filter_map(|cursor| cursor.part(id));
                    let before = known.map(|known| &**known);
                    let service = Arc::new(CatalogService::new(parts.collect(), before));
                    index.replace(known.map(|known| &**known), Some(&service));
                    service
                }
            });
            cursors.iter_mut().for_each(|cursor| cursor.pass(id));
        }
        old.for_each(|gone| index.replace(Some(gone), None));
        services.extend_from_slice(&previous.services[known.end..]);
        Self { services: Arc::new(services), index, sources: sources.into() }
    }
}

/// An id, to be compared.
type Key<'a> = (&'a Hostname, Option<&'a Namespace>);

fn key_of(id: &ServiceId) -> Key<'_> {
    (&id.host, id.owner.as_ref())
}

/// The ids among which something may have changed: from the first one to the last one.
enum Window {
    All,
    Some(ServiceId, ServiceId),
    Nothing,
}

impl Window {
    /// Of registries, in their order. It looks at pointers, except where these differ.
    fn between(before: &[Source], now: &[Source]) -> Self {
        let is_same = |(before, now): (&Source, &Source)| {
            before.rank() == now.rank()
                && before.held.as_ref().map(Arc::as_ptr) == now.held.as_ref().map(Arc::as_ptr)
        };
        if before.len() != now.len() || !before.iter().zip(now).all(is_same) {
            return Self::All;
        }
        let differing = before.iter().zip(now).map(|(before, now)| {
            let (before, now) = (before.snapshot.services(), now.snapshot.services());
            let is_same = |(before, now): &(&Arc<Service>, &Arc<Service>)| Arc::ptr_eq(before, now);
            let first = before.iter().zip(now).take_while(is_same).count();
            let (before, now) = (&before[first..], &now[first..]);
            let last = before.iter().rev().zip(now.iter().rev()).take_while(is_same).count();
            [&before[..before.len() - last], &now[..now.len() - last]]
        });
        let differing: Vec<_> = differing.flatten().collect();
        let first =
            differing.iter().filter_map(|services| services.first()).map(|service| service.id()).min();
        let last = differing.iter().filter_map(|services| services.last()).map(|service| service.id()).max();
        first.zip(last).map_or(Self::Nothing, |(first, last)| Self::Some(first, last))
    }

    /// Where it is among services that are ordered by id.
    fn of<T>(&self, services: &[T], key: impl Fn(&T) -> Key<'_>) -> Range<usize> {
        match self {
            Self::All => 0..services.len(),
            Self::Nothing => services.len()..services.len(),
            Self::Some(first, last) => {
                let start = services.partition_point(|service| key(service) < key_of(first));
                start..services.partition_point(|service| key(service) <= key_of(last))
            }
        }
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
    fn new(source: &'a Source, window: &Window) -> Self {
        let services = source.snapshot.services();
        Self { source, rest: &services[window.of(services, |service| service.key())] }
    }

    /// The id at this place.
    fn id(&self) -> Option<ServiceId> {
        self.rest.first().map(|service| service.id())
    }

    /// The service at this place, if it has that id.
    fn at(&self, id: &ServiceId) -> Option<&'a Arc<Service>> {
        self.rest.first().filter(|service| service.key() == key_of(id))
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
