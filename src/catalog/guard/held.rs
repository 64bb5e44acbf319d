//! What the guard holds: of a registry as a whole, and of one service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{Endpoint, Service, ServiceId, Snapshot};
use tokio::time::Instant;

use super::diff::{Instances, ServiceDiff};

/// What is held of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Since when.
    pub since: Instant,
    /// When the first of it is let go at the latest, if the registry is live then.
    pub until: Instant,
    /// The endpoints that are kept, by service, ordered by address.
    pub services: BTreeMap<ServiceId, Arc<[Endpoint]>>,
    /// How many endpoints keep the health that they had, by service.
    pub unhealthy: BTreeMap<ServiceId, usize>,
}

impl Held {
    /// How many endpoints are kept, or keep their former health.
    pub fn endpoints(&self) -> usize {
        self.counts().into_values().sum()
    }

    /// The same, of one service.
    pub fn of(&self, id: &ServiceId) -> usize {
        let kept = self.services.get(id).map_or(0, |endpoints| endpoints.len());
        kept + self.unhealthy.get(id).copied().unwrap_or_default()
    }

    /// The same, by service.
    pub fn counts(&self) -> BTreeMap<&ServiceId, usize> {
        let mut counts: BTreeMap<_, usize> = self.unhealthy.iter().map(|(id, count)| (id, *count)).collect();
        for (id, endpoints) in &self.services {
            *counts.entry(id).or_default() += endpoints.len();
        }
        counts
    }
}

/// A service of which something is held.
#[derive(Debug)]
pub(super) struct HeldService {
    pub(super) since: Instant,
    /// When its time is over, if the registry is live until then.
    pub(super) until: Instant,
    /// When it began to lack just this, and which complete read said so.
    pub(super) seen: Instant,
    pub(super) read: u64,
    /// What the registry says of it.
    pub(super) said: Option<Arc<Service>>,
    /// Ordered by address.
    pub(super) missing: Arc<[Endpoint]>,
    /// What counts of it.
    pub(super) whole: Arc<Service>,
}

impl HeldService {
    /// Whether the registry says nothing of it.
    pub(super) fn is_gone(&self) -> bool {
        self.said.is_none()
    }

    /// Whether some of what is held is there.
    pub(super) fn is_partly_in(&self, read: &Snapshot) -> bool {
        let Some(service) = read.find(&self.whole.id()) else { return false };
        let there = Instances::of(service);
        let can_serve = |at: usize| service.endpoints[at].is_usable();
        self.missing.is_empty() && self.is_gone()
            || self.missing.iter().filter_map(|endpoint| there.find(endpoint)).any(can_serve)
    }

    /// What is kept of a service that lacks something, after what was kept of it before.
    pub(super) fn of(
        change: &ServiceDiff<'_>,
        before: Option<Self>,
        hold: Duration,
        now: Instant,
        read: u64,
    ) -> Option<Self> {
        let same = |before: &Self| match (&before.said, change.new) {
            (Some(before), Some(now)) => Arc::ptr_eq(before, now),
            (before, now) => before.is_none() && now.is_none(),
        };
        if before.as_ref().is_some_and(same) {
            return before;
        }
        let (whole, missing) = change.whole()?;
        let missing: Arc<[Endpoint]> = missing.into();
        let said = change.new.cloned();
        let new = Self { since: now, until: now + hold, seen: now, read, said, missing, whole };
        Some(match before {
            None => new,
            Some(before) if before.missing == new.missing => {
                Self { said: new.said, whole: new.whole, ..before }
            }
            Some(before) => Self { since: before.since, until: before.until, ..new },
        })
    }
}
