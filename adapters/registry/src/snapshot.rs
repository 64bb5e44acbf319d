//! Everything that a registry knows at one moment.

use std::sync::Arc;

use crate::sink::{Content, Sink};
use crate::{ModelError, Service, ServiceId};

/// Where a registry publishes what it knows.
pub type SnapshotSink = Sink<Snapshot>;

/// All services of a registry at one moment, ordered by [id](ServiceId): by host, those that everybody sees first.
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
    /// Two services have one id. Adapters report all but one of them as skipped, before they get here.
    pub fn new(services: impl IntoIterator<Item = Arc<Service>>) -> Result<Self, ModelError> {
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_by(|a, b| a.key().cmp(&b.key()));
        match services.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            Some(pair) => Err(ModelError::DuplicateService { id: pair[0].id().to_string() }),
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

    /// The services, ordered by id.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The service of that id.
    pub fn find(&self, id: &ServiceId) -> Option<&Arc<Service>> {
        let key = (&id.host, id.owner.as_ref());
        let at = self.services.binary_search_by(|service| service.key().cmp(&key));
        at.ok().map(|at| &self.services[at])
    }

    /// The service of that name; of several, the one that everybody sees. Aliases do not count.
    pub fn get(&self, host: &str) -> Option<&Arc<Service>> {
        let at = self.services.partition_point(|service| service.host.as_str() < host);
        self.services.get(at).filter(|service| service.host.as_str() == host)
    }

    /// How many endpoints its services have.
    pub fn endpoint_count(&self) -> usize {
        self.services.iter().map(|service| service.endpoints.len()).sum()
    }

    /// How many ports they have whose numbers were guessed.
    pub fn guessed_ports(&self) -> usize {
        self.services.iter().map(|service| service.guessed.len()).sum()
    }
}

impl Content for Snapshot {
    fn reusing(mut self, previous: &Self) -> Self {
        let mut old = previous.services.iter().peekable();
        for service in &mut self.services {
            while old.next_if(|old| old.key() < service.key()).is_some() {}
            if let Some(old) = old.next_if(|old| old.key() == service.key())
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
