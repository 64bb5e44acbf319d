//! What a client may have taken of responses that it did not accept: it does not tell of that when it comes back.
//!
//! ```text
//!  c@1 accepted ── c@2 and a bad one are refused ── the client has c@2, and tells of c@1
//! ```

use std::sync::Arc;

use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;

use super::client_copy::Has;
use super::in_flight::{InFlight, Item};
use super::shared::{Doubt, Shared};
use super::type_state::TypeState;
use crate::proxy::Scope;
use crate::resources::{
    HostChange, PerType, Resource, ResourceType, Rope, VirtualHost, host_version, part_name,
};

/// Notes that the client may have taken these.
pub(super) fn note<'a>(
    shared: &Shared,
    scope: Option<&Scope>,
    kind: ResourceType,
    state: &TypeState,
    items: impl Iterator<Item = &'a Item>,
) {
    for (name, sent) in items {
        let has = state.copies.get(name).map_or(&Has::Nothing, |copy| &copy.has);
        let is_routes = kind == ResourceType::VirtualHost;
        // It tells of the version that it had before this stream.
        if has.may_lead_anywhere() && !is_routes {
            continue;
        }
        let version = |it: Option<&Arc<Resource>>| it.map_or("", |it| it.version()).into();
        let (told, now) = (version(has.resource()), version(sent.as_ref()));
        let doubt = Doubt { name: Arc::clone(name), told, has: now };
        match sent.as_ref().and_then(|sent| sent.rope()).filter(|_| is_routes) {
            Some(rope) => {
                if shared.untold.is_new(scope, doubt) {
                    shared.untold.note(scope, kind, hosts(name, has, rope));
                }
            }
            None => shared.untold.note(scope, kind, Some(doubt).filter(|it| it.told != it.has)),
        }
    }
}

/// Whether a response came after the last that its client got as one of another scope: what only that one knew is in none of
/// these.
pub(super) fn is_since(moved: Option<u64>, flight: &InFlight) -> bool {
    moved.is_none_or(|last| flight.nonce.parse().is_ok_and(|nonce: u64| nonce > last))
}

/// Notes what a client may have of responses that it did not answer before its stream ended. It may have refused them.
pub(super) fn note_unanswered(
    shared: &Shared,
    scope: Option<&Scope>,
    moved: Option<u64>,
    types: &PerType<TypeState>,
) {
    for (kind, state) in types.iter() {
        for flight in state.in_flight.iter().filter(|flight| !is_of_one_route(kind, flight)) {
            let whole = flight.whole.iter().filter(|_| kind == ResourceType::VirtualHost);
            let whole: Vec<Item> = whole
                .flat_map(|whole| whole.resources())
                .map(|it| (Arc::clone(it.name()), Some(Arc::clone(it))))
                .collect();
            let scope = scope.filter(|_| is_since(moved, flight));
            note(shared, scope, kind, state, flight.items.iter().chain(&whole));
        }
        let scope = scope.filter(|_| moved.is_none());
        // It lists these, and may have taken their routes again without them.
        let taken = state.let_go.iter().filter(|(routes, _)| state.subscription.has_name(routes));
        let listed = taken.flat_map(|(routes, hosts)| hosts.iter().map(move |host| (routes, host)));
        shared.untold.note(
            scope,
            kind,
            listed.map(|(routes, (host, hash))| Doubt {
                name: part_name(routes, host).into(),
                told: host_version(*hash),
                has: Box::default(),
            }),
        );
    }
}

/// Whether a response holds virtual hosts of one route configuration only: Envoy takes all of these, or none.
fn is_of_one_route(kind: ResourceType, flight: &InFlight) -> bool {
    kind == ResourceType::VirtualHost && !flight.forgotten && flight.names().take(2).count() == 1
}

fn hosts(routes: &str, has: &Has, sent: &Rope) -> Vec<Doubt> {
    let none = Rope::new(&RouteConfiguration::default());
    let has = has.resource().and_then(|has| has.rope()).unwrap_or(&none);
    let version = |host: &Option<Arc<VirtualHost>>| host.as_ref().map(|host| host.version());
    let doubt = |change: &HostChange| {
        Some(Doubt {
            name: part_name(routes, change.name()?).into(),
            told: version(&change.before).unwrap_or_default(),
            has: version(&change.now).unwrap_or_default(),
        })
    };
    sent.changes_since(has).iter().filter_map(doubt).collect()
}
