//! Everything that a registry knows at one moment.

use std::sync::Arc;

use crate::sink::{Content, Sink};
use crate::{ModelError, Service};

/// Where a registry publishes what it knows.
pub type SnapshotSink = Sink<Snapshot>;

/// All services of a registry at one moment, ordered by host.
///
/// A service that did not change keeps its `Arc` from snapshot to snapshot ([`SnapshotSink`] sees
/// to it), so two snapshots are compared by pointers.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    services: Vec<Arc<Service>>,
    deliberate: bool,
}

/// Two snapshots are equal when their services are.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.services == other.services
    }
}

impl Eq for Snapshot {}

impl Snapshot {
    /// A snapshot of these services, in any order.
    ///
    /// # Errors
    /// Two services have one host. Adapters report all but one of them as skipped, before they get here.
    pub fn new(services: impl IntoIterator<Item = Arc<Service>>) -> Result<Self, ModelError> {
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_by(|a, b| a.host.cmp(&b.host));
        match services.windows(2).find(|pair| pair[0].host == pair[1].host) {
            Some(pair) => Err(ModelError::DuplicateHost { host: pair[0].host.to_string() }),
            None => Ok(Self { services, deliberate: false }),
        }
    }

    /// The same snapshot, of which the platform knows that somebody meant it: what is missing from it was taken
    /// away on purpose, and is not held back. That is so of what a person wrote; a platform that may answer with
    /// too little never knows it.
    #[must_use]
    pub fn deliberate(self) -> Self {
        Self { deliberate: true, ..self }
    }

    /// Whether somebody meant it. See [`Snapshot::deliberate`].
    pub fn is_deliberate(&self) -> bool {
        self.deliberate
    }

    /// The services, ordered by host.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The service of that name. Aliases do not count.
    pub fn get(&self, host: &str) -> Option<&Arc<Service>> {
        let at = self.services.binary_search_by(|service| service.host.as_str().cmp(host));
        at.ok().map(|at| &self.services[at])
    }

    /// How many endpoints its services have.
    pub fn endpoint_count(&self) -> usize {
        self.services.iter().map(|service| service.endpoints.len()).sum()
    }
}

impl Content for Snapshot {
    fn reusing(mut self, previous: &Self) -> Self {
        let mut old = previous.services.iter().peekable();
        for service in &mut self.services {
            while old.next_if(|old| old.host < service.host).is_some() {}
            if let Some(old) = old.next_if(|old| old.host == service.host)
                && (Arc::ptr_eq(old, service) || old == service)
            {
                *service = Arc::clone(old);
            }
        }
        self
    }

    fn same(&self, other: &Self) -> bool {
        // After `reusing`, equal services are one allocation.
        let same = |(a, b): (&Arc<Service>, &Arc<Service>)| Arc::ptr_eq(a, b);
        self.services.len() == other.services.len() && self.services.iter().zip(&other.services).all(same)
    }
}
