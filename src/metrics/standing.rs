//! How proxies stand at the moment of a scrape, and for how long endpoints have been held.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::{OfRegistry, to_i64};
use crate::proxies::{Proxies, SyncState};
use crate::supervisor::Registered;

/// The states, with their words.
const STATES: [(SyncState, &str); 5] = [
    (SyncState::Acked, "acked"),
    (SyncState::NotSent, "not_sent"),
    (SyncState::NotFound, "not_found"),
    (SyncState::Stale, "stale"),
    (SyncState::Nacked, "nacked"),
];

/// Adds what is known of proxies.
pub(super) fn register_proxies(registry: &mut Registry, proxies: &Proxies) {
    let states = Family::<[(&str, &str); 1], Gauge>::default();
    let counts = proxies.states();
    for (state, word) in STATES {
        let count = counts.get(&state).copied().unwrap_or_default();
        states.get_or_create(&[("state", word)]).set(to_i64(count));
    }
    registry.register("proxies_in_state", "Connected proxies, by the worst state of their types", states);
    let shared = Gauge::<i64>::default();
    shared.set(to_i64(proxies.shared_ids()));
    registry.register("proxies_shared_node_ids", "Node ids that proxies at several addresses have", shared);
}

/// Adds how long the oldest of what is held of each registry has been held.
pub(super) fn register_held(registry: &mut Registry, registries: &[Registered]) {
    let held = Family::<OfRegistry, Gauge<f64, AtomicU64>>::default();
    for registered in registries {
        let known = registered.intake.state().known;
        let since = known.and_then(|known| known.held.as_deref().map(|held| held.since));
        let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        held.get_or_create(&[("registry", registered.name.to_string())]).set(seconds);
    }
    registry.register("registry_held_seconds", "Time since the oldest hold of the registry began", held);
}
