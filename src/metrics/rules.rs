//! Stores of rules and their documents at the moment of a scrape.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::label::{OfState, STATES, health_word};
use crate::proxies::Proxies;
use crate::translate::rules::Standing;
use crate::world::World;

pub(super) fn register(registry: &mut Registry, world: &World, proxies: &Proxies) {
    let (documents, health) = (Family::<OfState, Gauge>::default(), Family::<OfState, Gauge>::default());
    for store in world.rule_stores() {
        let label = |state: &str| [("store", store.name.to_string()), ("state", state.to_owned())];
        for standing in Standing::ALL {
            documents.get_or_create(&label(standing.as_str())).set(0);
        }
        let word = health_word(&store.feed.health());
        for state in STATES {
            health.get_or_create(&label(state)).set(i64::from(state == word));
        }
    }
    let (refused, mesh) = (proxies.shared().refused_documents(), world.mesh());
    for judged in &*world.judged() {
        let state = match refused.is_empty() {
            true => judged.standing(),
            false => judged.standing_with(mesh.as_deref(), |document| refused.contains(document)),
        };
        let state = state.as_str().to_owned();
        documents.get_or_create(&[("store", judged.store.to_string()), ("state", state)]).inc();
    }
    registry.register(
        "rules_documents",
        "Documents of a store of rules, by what became of them: `pilot rules` names them",
        documents,
    );
    registry.register("rules_store_health", "1 for the state that the store of rules is in", health);
}
