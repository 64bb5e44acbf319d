//! What the guard compares with: what a registry said a short while ago, or before what is held began.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_registry::{Service, ServiceId, Snapshot};
use tokio::time::Instant;

use super::diff::{self, Findings};

/// What was there a short while ago, or before what is held began.
#[derive(Debug)]
pub(super) struct Baseline {
    pub(super) said: CountedSnapshot,
    pub(super) since: Instant,
    /// What comparing with it has shown.
    pub(super) findings: Findings,
}

/// A snapshot, and how many endpoints of it can serve.
#[derive(Clone, Debug, Default)]
pub(super) struct CountedSnapshot {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) usable: usize,
}

impl Baseline {
    pub(super) fn new(said: &CountedSnapshot, since: Instant) -> Self {
        Self { said: said.clone(), since, findings: Findings::default() }
    }

    /// With what is said now of these services, and as it is in all others.
    pub(super) fn moved_on(
        &self,
        said: &CountedSnapshot,
        since: Instant,
        which: impl Fn(&ServiceId) -> bool,
    ) -> Self {
        let old = self.said.snapshot.services().iter().filter(|service| !which(&service.id()));
        let new = said.snapshot.services().iter().filter(|service| which(&service.id()));
        Self::new(&CountedSnapshot::of(old.chain(new).cloned().collect()), since)
    }
}

impl CountedSnapshot {
    /// These services have become those, with the same ids.
    pub(super) fn update(&mut self, mut updated: BTreeMap<ServiceId, Arc<Service>>) {
        if updated.is_empty() {
            return;
        }
        let mut services = self.snapshot.services().to_vec();
        for service in &mut services {
            if let Some(updated) = updated.remove(&service.id()) {
                self.usable = (self.usable + diff::usable(&updated)).saturating_sub(diff::usable(service));
                *service = updated;
            }
        }
        let snapshot = Snapshot::new(services).expect("ids do not change");
        self.snapshot = Arc::new(snapshot);
    }

    pub(super) fn of(services: Vec<Arc<Service>>) -> Self {
        let usable = services.iter().map(|service| diff::usable(service)).sum();
        let snapshot = Snapshot::new(services).expect("of each id one service was taken");
        Self { snapshot: Arc::new(snapshot), usable }
    }
}
