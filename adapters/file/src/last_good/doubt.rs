//! What went of which nobody said that it shall go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Service, ServiceId, Snapshot};
use tokio::time::Instant;

/// It is over after this time. Far longer than the guard of pilot.toml holds anything, which reads once more
/// and then believes it.
pub(super) const TIME: Duration = Duration::from_secs(600);

/// Nobody knows whether what is missing shall be. It outlasts the look that began it: another file that changes
/// says nothing of what went.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Of services that nobody has seen: until when.
    unknown: Option<Instant>,
    /// Services that went with their file: how many endpoints they had, and until when they are waited for.
    missing: BTreeMap<ServiceId, (usize, Instant)>,
}

impl Doubt {
    /// There may have been others before.
    pub(super) fn begin(&mut self, now: Instant) {
        self.unknown = Some(now + TIME);
    }

    /// The file of these is gone.
    pub(super) fn miss(&mut self, services: impl Iterator<Item = Arc<Service>>, now: Instant) {
        let missing = services.map(|service| (service.id(), (service.endpoints.len(), now + TIME)));
        self.missing.extend(missing);
    }

    /// Ends what is over: what is back with as many endpoints, and what has taken long enough.
    pub(super) fn review(&mut self, snapshot: &Snapshot, now: Instant) {
        self.unknown = self.unknown.filter(|until| now < *until);
        let is_back = |id: &ServiceId, endpoints: usize| {
            snapshot.find(id).is_some_and(|service| service.endpoints.len() >= endpoints)
        };
        self.missing.retain(|id, (endpoints, until)| now < *until && !is_back(id, *endpoints));
    }

    pub(super) fn is_none(&self) -> bool {
        self.unknown.is_none() && self.missing.is_empty()
    }
}
