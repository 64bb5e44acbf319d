//! How things stand at the moment of a scrape: proxies, what services do not get, how long endpoints are held.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::{OfRegistry, to_i64};
use crate::proxies::{Proxies, SyncState};
use crate::resources::ResourceType;
use crate::supervisor::Registered;
use crate::translate::{Claim, Conflict};
use crate::world::World;

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
    let scopes = Gauge::<i64>::default();
    scopes.set(to_i64(proxies.scopes().len()));
    registry.register("scopes", "Different configurations that connected proxies are sent", scopes);
    let shared = Gauge::<i64>::default();
    shared.set(to_i64(proxies.shared_ids()));
    registry.register("proxies_shared_node_ids", "Node ids that proxies at several addresses have", shared);
}

/// What is claimed, in words.
const CLAIMS: [&str; 4] = ["endpoint", "listener", "name", "virtual_address"];

fn word(claim: &Claim) -> &'static str {
    match claim {
        Claim::Endpoint(..) => CLAIMS[0],
        Claim::Listener(_) | Claim::UdpListener(_) => CLAIMS[1],
        Claim::Name(..) => CLAIMS[2],
        Claim::VirtualAddress(..) => CLAIMS[3],
    }
}

/// Adds what services claim and do not get, for whichever of the connected proxies.
pub(super) fn register_claims(registry: &mut Registry, world: &World, proxies: &Proxies) {
    let mut sets: Vec<_> = proxies.scopes().iter().map(|scope| world.conflicts(scope)).collect();
    // Many scopes have theirs in common.
    sets.sort_by_key(|set| set.as_ptr());
    sets.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let conflicts: BTreeSet<&Conflict> = sets.iter().flat_map(|set| set.iter()).collect();
    let counts = Family::<[(&str, &str); 1], Gauge>::default();
    for claim in CLAIMS {
        counts.get_or_create(&[("claim", claim)]).set(0);
    }
    for conflict in conflicts {
        counts.get_or_create(&[("claim", word(&conflict.claim))]).inc();
    }
    let help =
        "Things that a service claims and does not get, as another has them: `pilot services` names them";
    registry.register("claim_conflicts", help, counts);
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
