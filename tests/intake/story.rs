//! A story of a registry and its guard. No clock runs: a story says what time it is.

use std::sync::Arc;
use std::time::Duration;

use pilot::catalog::{Guard, GuardSettings};
use pilot_registry::{Content, Service, Snapshot};
use pilot_registry_testkit::snapshot;
use tokio::time::Instant;

use crate::services::counts;

/// A registry's guard, and what time it is.
pub(crate) struct Story {
    pub(crate) guard: Guard,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) said: Option<Arc<Snapshot>>,
}

impl Story {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { guard: Guard::new(Some(GuardSettings::default())), start: now, now, said: None }
    }

    /// It is so many seconds after the story began.
    pub(crate) fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = self.start + Duration::from_secs(seconds);
        self
    }

    /// The registry says this, as part of that read. What counts then.
    pub(crate) fn says(&mut self, read: u64, services: impl IntoIterator<Item = Arc<Service>>) -> String {
        let mut next = snapshot(services);
        if let Some(said) = &self.said {
            // As a sink does.
            next = next.reusing(said);
        }
        let next = Arc::new(next);
        self.said = Some(Arc::clone(&next));
        self.guard.publish(self.now, &next, read);
        self.counts()
    }

    pub(crate) fn counts(&self) -> String {
        counts(self.guard.counts())
    }

    pub(crate) fn held(&self) -> usize {
        self.guard.held().map_or(0, |held| held.endpoints())
    }
}
