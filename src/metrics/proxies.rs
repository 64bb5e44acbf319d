//! The connected proxies at the moment of a scrape. Goes through all streams.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::to_i64;
use crate::proxies::{Proxies, SyncState};
use crate::resources::ResourceType;

/// The states, with their words.
const STATES: [(SyncState, &str); 5] = [
    (SyncState::Acked, "acked"),
    (SyncState::NotSent, "not_sent"),
    (SyncState::NotFound, "not_found"),
    (SyncState::Stale, "stale"),
    (SyncState::Nacked, "nacked"),
];

/// Adds what is known of proxies.
pub(super) fn register(registry: &mut Registry, proxies: &Proxies) {
    let states = Family::<[(&str, &str); 1], Gauge>::default();
    let counts = proxies.states();
    for (state, word) in STATES {
        let count = counts.get(&state).copied().unwrap_or_default();
        states.get_or_create(&[("state", word)]).set(to_i64(count));
    }
    registry.register("proxies", "Connected proxies, by the worst state of their types", states);
    let refused = Family::<[(&str, &str); 1], Gauge>::default();
    for kind in ResourceType::ALL {
        refused.get_or_create(&[("type", kind.as_str())]).set(0);
    }
    for rejection in proxies.shared().rejections.list() {
        refused.get_or_create(&[("type", rejection.kind.as_str())]).inc();
    }
    let help = "Resources that a connected proxy refuses, by type: `pilot proxies` names them";
    registry.register("xds_refused_resources", help, refused);
    let withheld = Family::<[(&str, &str); 1], Gauge>::default();
    for kind in ResourceType::ALL {
        withheld.get_or_create(&[("type", kind.as_str())]).set(0);
    }
    for known in proxies.shared().builds.withheld() {
        withheld.get_or_create(&[("type", known.rejection.kind.as_str())]).inc();
    }
    let help =
        "Versions that new proxies are not sent, because others of their name and version refused them";
    registry.register("xds_withheld_resources", help, withheld);
    let shared = Gauge::<i64>::default();
    shared.set(to_i64(proxies.shared_ids()));
    registry.register("proxies_shared_node_ids", "Node ids that proxies at several addresses have", shared);
}
