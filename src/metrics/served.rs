//! What pilot serves of each registry at the moment of a scrape. It may differ from what the registry says.

use std::sync::atomic::AtomicU64;
use std::time::UNIX_EPOCH;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::{OfRegistry, to_i64};
use crate::catalog::{Freshness, Held};
use crate::supervisor::Registered;

#[derive(Default)]
pub(super) struct ServedGauges {
    services: Family<OfRegistry, Gauge>,
    endpoints: Family<OfRegistry, Gauge>,
    known: Family<OfRegistry, Gauge>,
    stale: Family<OfRegistry, Gauge>,
    held: Family<OfRegistry, Gauge>,
    holds: Family<OfRegistry, Counter>,
    saved: Family<OfRegistry, Gauge<f64, AtomicU64>>,
    save_failing: Family<OfRegistry, Gauge>,
}

impl ServedGauges {
    pub(super) fn read(&self, registered: &Registered) {
        let label = &[("registry", registered.name.to_string())];
        let (known, holds) = (registered.intake.state().known, registered.intake.holds());
        self.known.get_or_create(label).set(i64::from(known.is_some()));
        self.holds.get_or_create(label).inc_by(holds);
        if let Some(disk) = registered.intake.disk() {
            self.save_failing.get_or_create(label).set(i64::from(disk.error.is_some()));
            let since = disk.saved_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            if let Some(since) = since {
                self.saved.get_or_create(label).set(since.as_secs_f64());
            }
        }
        let Some(known) = known else { return };
        let held = known.held.as_deref().map_or(0, Held::endpoints);
        self.held.get_or_create(label).set(to_i64(held));
        self.stale.get_or_create(label).set(i64::from(known.freshness != Freshness::Live));
        self.services.get_or_create(label).set(to_i64(known.snapshot.services().len()));
        self.endpoints.get_or_create(label).set(to_i64(known.snapshot.endpoint_count()));
    }

    pub(super) fn register(self, registry: &mut Registry) {
        registry.register("registry_services", "Services served of the registry", self.services);
        registry.register("registry_endpoints", "Endpoints served of the registry", self.endpoints);
        registry.register("registry_known", "Whether anything is known of the registry", self.known);
        registry.register(
            "registry_stale",
            "Whether what is served of the registry is its last known good from disk",
            self.stale,
        );
        registry.register(
            "registry_held_endpoints",
            "Endpoints that are held back from disappearing, or from turning unhealthy",
            self.held,
        );
        registry.register("registry_holds", "How often a mass disappearance has been held back", self.holds);
        registry.register(
            "registry_saved_timestamp_seconds",
            "As of when the registry's last known good is on disk",
            self.saved,
        );
        registry.register(
            "registry_save_failing",
            "Whether reading or writing the last known good has failed and not gone right since",
            self.save_failing,
        );
    }
}
