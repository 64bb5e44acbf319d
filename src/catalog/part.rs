//! What one registry says: its services as a whole, and its part of one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::OrdMap;
use pilot_registry::{Endpoint, Port, Service, ServiceId, Snapshot};

use super::guard::Held;

/// One registry's services, as input to the catalog.
#[derive(Clone, Debug)]
pub struct Source {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// 0 is preferred.
    pub priority: u32,
    /// What counts of the registry.
    pub snapshot: Arc<Snapshot>,
    /// What of it the registry no longer says.
    pub held: Option<Arc<Held>>,
    /// It is documents of rules that say these services, and no registry.
    pub documents: Option<SourceDocuments>,
}

/// Documents that say services, instead of a registry. Of one host, each list has one document at most.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceDocuments {
    /// Which list it is: of one host, the document in the first list is preferred.
    pub list: u32,
    /// The document of each service: `ServiceEntry/default/api`.
    pub names: OrdMap<ServiceId, Arc<str>>,
}

/// A place in the order of who says something: the first is preferred. Priority first; of one priority, registries go before
/// documents.
pub(super) type SourceRank<'a> = (u32, Option<u32>, &'a str);

/// What one registry says of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The registry's name in pilot.toml, or the document that says it: `ServiceEntry/default/api`.
    pub registry: Arc<str>,
    /// The registry's priority; 0 is preferred.
    pub priority: u32,
    /// The list that the document is in; `None` = it is a registry.
    list: Option<u32>,
    /// The service as the registry knows it, with the numbers of [ports that were guessed](Part::moved) as they
    /// are in the catalog.
    pub service: Arc<Service>,
    /// What the registry published, where that is something else.
    published: Option<Arc<Service>>,
    moved: BTreeMap<Port, Port>,
    /// The endpoints of the service that the registry no longer says, ordered by address.
    held: Option<Arc<[Endpoint]>>,
}

impl Source {
    /// A registry of which nothing is held.
    pub fn new(registry: impl Into<Arc<str>>, priority: u32, snapshot: Arc<Snapshot>) -> Self {
        Self { registry: registry.into(), priority, snapshot, held: None, documents: None }
    }

    /// Its place in the order.
    pub(super) fn rank(&self) -> SourceRank<'_> {
        (self.priority, self.list(), &self.registry)
    }

    fn list(&self) -> Option<u32> {
        self.documents.as_ref().map(|documents| documents.list)
    }

    /// Who says that service.
    fn name_of(&self, service: &Service) -> &Arc<str> {
        let document = self.documents.as_ref().and_then(|documents| documents.names.get(&service.id()));
        document.unwrap_or(&self.registry)
    }

    fn held_of(&self, service: &Service) -> Option<&Arc<[Endpoint]>> {
        self.held.as_ref()?.services.get(&service.id())
    }
}

impl Part {
    /// What that registry published of a service.
    pub(super) fn new(source: &Source, service: Arc<Service>) -> Self {
        let (registry, priority) = (Arc::clone(source.name_of(&service)), source.priority);
        let (list, held) = (source.list(), source.held_of(&service).cloned());
        Self { registry, priority, list, service, published: None, moved: BTreeMap::new(), held }
    }

    /// Whether it is what that registry published of the service.
    pub(super) fn is_of(&self, source: &Source, service: &Arc<Service>) -> bool {
        let published = self.published.as_ref().unwrap_or(&self.service);
        Arc::ptr_eq(published, service)
            && self.priority == source.priority
            && self.list == source.list()
            && self.registry == *source.name_of(service)
            && self.held.as_ref().map(Arc::as_ptr) == source.held_of(service).map(Arc::as_ptr)
    }

    /// Its place in the order.
    pub(super) fn rank(&self) -> SourceRank<'_> {
        (self.priority, self.list, &self.registry)
    }

    /// Whether a document says it, and no registry.
    pub fn is_of_document(&self) -> bool {
        self.list.is_some()
    }

    /// The ports whose numbers the registry has guessed, and which have other numbers in the catalog: from the
    /// guess to the number.
    pub fn moved(&self) -> &BTreeMap<Port, Port> {
        &self.moved
    }

    /// Whether the registry no longer says some endpoint of the service.
    pub fn holds_some(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.is_empty())
    }

    /// Whether the registry no longer says that endpoint of the service, which is held back from disappearing.
    pub fn is_held(&self, endpoint: &Endpoint) -> bool {
        let Some(held) = &self.held else { return false };
        let from = held.partition_point(|held| held.address < endpoint.address);
        let mut there = held[from..].iter().take_while(|held| held.address == endpoint.address);
        there.any(|held| endpoint.ports.values().all(|own| held.ports.values().any(|of| of == own)))
    }

    /// Has the service with other numbers for ports that were guessed.
    pub(super) fn replace(&mut self, service: Service, moved: BTreeMap<Port, Port>) {
        self.published = Some(std::mem::replace(&mut self.service, Arc::new(service)));
        self.moved = moved;
    }
}
