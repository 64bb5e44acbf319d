//! What one registry says: its services as a whole, and its part of one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Endpoint, Port, Service, Snapshot};

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
}

/// What one registry says of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// The registry's priority; 0 is preferred.
    pub priority: u32,
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
        Self { registry: registry.into(), priority, snapshot, held: None }
    }

    fn held_of(&self, service: &Service) -> Option<&Arc<[Endpoint]>> {
        self.held.as_ref()?.services.get(&service.id())
    }
}

impl Part {
    /// What that registry published of a service.
    pub(super) fn new(source: &Source, service: Arc<Service>) -> Self {
        let (registry, priority) = (Arc::clone(&source.registry), source.priority);
        let held = source.held_of(&service).cloned();
        Self { registry, priority, service, published: None, moved: BTreeMap::new(), held }
    }

    /// Whether it is what that registry published of the service.
    pub(super) fn is_of(&self, source: &Source, service: &Arc<Service>) -> bool {
        let published = self.published.as_ref().unwrap_or(&self.service);
        Arc::ptr_eq(published, service)
            && self.priority == source.priority
            && self.registry == source.registry
            && self.held.as_ref().map(Arc::as_ptr) == source.held_of(service).map(Arc::as_ptr)
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
