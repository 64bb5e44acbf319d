//! What one registry says: its services as a whole, and its part of one service.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Port, Service, Snapshot};

/// One registry's services, as input to the catalog.
#[derive(Clone, Debug)]
pub struct Source {
    /// The registry's name in pilot.toml.
    pub registry: Arc<str>,
    /// 0 is preferred.
    pub priority: u32,
    /// What the registry published last.
    pub snapshot: Arc<Snapshot>,
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
}

impl Part {
    /// What that registry published of a service.
    pub(super) fn new(source: &Source, service: Arc<Service>) -> Self {
        let (registry, priority) = (Arc::clone(&source.registry), source.priority);
        Self { registry, priority, service, published: None, moved: BTreeMap::new() }
    }

    /// Whether it is what that registry published of the service.
    pub(super) fn is_of(&self, source: &Source, service: &Arc<Service>) -> bool {
        let published = self.published.as_ref().unwrap_or(&self.service);
        Arc::ptr_eq(published, service)
            && self.priority == source.priority
            && self.registry == source.registry
    }

    /// The ports whose numbers the registry has guessed, and which have other numbers in the catalog: from the
    /// guess to the number.
    pub fn moved(&self) -> &BTreeMap<Port, Port> {
        &self.moved
    }

    /// Has the service with other numbers for ports that were guessed.
    pub(super) fn replace(&mut self, service: Service, moved: BTreeMap<Port, Port>) {
        self.published = Some(std::mem::replace(&mut self.service, Arc::new(service)));
        self.moved = moved;
    }
}
