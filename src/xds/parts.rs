//! Virtual hosts of routes that a client takes in parts (VHDS, P25).
//!
//! ```text
//!  RDS   the client asks for 80~v ──► it wants the virtual hosts of 80~v, and has none of them, whatever it had
//!  VHDS  copies["80~v"].has: the rope of what it accepted
//!        view      "80~v":   the rope of what there is       a response holds what differs, virtual host by virtual host
//! ```
//!
//! Envoy never says which virtual hosts it wants. They are pushed behind the routes that they belong to, and never
//! before: it would acknowledge them and drop them. What a route configuration has of virtual hosts is one rope here,
//! as where it is sent as a whole, so what waits for clusters, and what is done about a refusal, is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_envoy_api::envoy::config::route::v3::RouteConfiguration;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::client_copy::{ClientCopy, Has, Owed, Suspicion};
use super::names::NameLists;
use super::type_state::{Base, TypeState};
use crate::resources::{Origin, Resource, Rope, TypeView, VirtualHost, is_in_parts, read_part_name};

/// What a request for routes says of those that are taken in parts.
#[derive(Debug, Default)]
pub struct RoutesAsked {
    /// It is the first one for routes.
    pub first: bool,
    /// The names that it adds.
    pub given: Vec<String>,
    /// Those of which the client has something.
    pub claimed: BTreeSet<String>,
}

impl RoutesAsked {
    /// What a request says; `None` = nothing of which routes the client wants.
    pub fn of(request: &DeltaDiscoveryRequest, first: bool) -> Option<Self> {
        let (given, dropped) = (&request.resource_names_subscribe, &request.resource_names_unsubscribe);
        if !first && given.is_empty() && dropped.is_empty() {
            return None;
        }
        let in_parts = |name: &&String| is_in_parts(name);
        let claimed = request.initial_resource_versions.keys().filter(in_parts).filter(|_| first);
        Some(Self {
            first,
            given: given.iter().filter(in_parts).cloned().collect(),
            claimed: claimed.cloned().collect(),
        })
    }
}

/// Brings what a client wants of virtual hosts to what it wants of routes. `routes`: their state, brought up to date.
pub fn follow(
    state: &mut TypeState,
    routes: &TypeState,
    asked: RoutesAsked,
    view: Option<TypeView<'_>>,
    lists: &NameLists,
    update: u64,
) {
    let wanted: Vec<_> = routes.subscription.names().iter().filter(|it| is_in_parts(it)).cloned().collect();
    let before = state.subscription.names().clone();
    state.subscription.replace(wanted, lists);
    let gone = before.iter().filter(|name| !state.subscription.has_name(name));
    let gone: Vec<_> = gone.cloned().collect();
    state.drop_names(&gone);
    for name in asked
        .given
        .iter()
        .filter_map(|name| state.subscription.names().get(name).cloned())
        .collect::<Vec<_>>()
    {
        anew(state, &name, update);
    }
    if asked.first {
        state.brought.routes = asked.claimed;
    } else {
        // What it told, or will tell, is of before.
        let anew = gone.iter().map(|name| &**name).chain(asked.given.iter().map(String::as_str));
        anew.for_each(|name| _ = state.brought.routes.remove(name));
    }
    if is_untold(state) && state.brought.told {
        begin(state, view, update);
    } else if !is_untold(state) && !state.subscription.names().is_empty() {
        state.requested = true;
    }
}

/// Whether the client has routes from an earlier stream, and has not told which virtual hosts it has of them.
pub fn is_untold(state: &TypeState) -> bool {
    !state.requested && !state.brought.routes.is_empty() && !state.subscription.names().is_empty()
}

/// The client had its time to tell what it has: it is sent all that there is.
pub fn end_patience(state: &mut TypeState) {
    state.requested |= is_untold(state);
}

/// The client says which virtual hosts it has from an earlier stream: names and versions.
pub fn tell(
    state: &mut TypeState,
    claims: BTreeMap<String, String>,
    view: Option<TypeView<'_>>,
    update: u64,
) {
    if !state.brought.told {
        state.brought.told = true;
        if !state.requested {
            state.brought.claims = claims;
        }
    }
    if is_untold(state) {
        begin(state, view, update);
    }
}

/// The client asks for the virtual hosts of these routes once more: it may have forgotten them.
pub fn ask_again(state: &mut TypeState, view: TypeView<'_>, routes: &Arc<str>, update: u64) {
    state.look_at(view, routes, Owed::Answer, update);
    if let Some(copy) = state.copies.get_mut(routes) {
        copy.doubt = std::mem::take(&mut copy.has).resource().cloned();
    }
}

/// Compares what the client has told with what there is, which was not known before.
pub fn settle_told(state: &mut TypeState, view: TypeView<'_>, update: u64) {
    if state.requested {
        settle(state, view, update);
    }
}

fn begin(state: &mut TypeState, view: Option<TypeView<'_>>, update: u64) {
    state.requested = true;
    if let Some(view) = view {
        settle(state, view, update);
    }
}

/// Compares what the client says it has with what there is. Of routes that it does not have any more, it may list
/// virtual hosts that it has dropped.
pub fn settle(state: &mut TypeState, view: TypeView<'_>, update: u64) {
    let (routes, claims) =
        (std::mem::take(&mut state.brought.routes), std::mem::take(&mut state.brought.claims));
    if routes.is_empty() || state.base != Base::Nothing {
        return;
    }
    let mut claimed: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
    for (name, version) in &claims {
        if let Some((of, host)) = read_part_name(name).filter(|(of, _)| routes.contains(*of)) {
            claimed.entry(of).or_default().insert(host, version);
        }
    }
    (state.base, state.brought.came_back) = (Base::Accepted, true);
    for name in state.subscription.names().clone().iter() {
        let there = view.get(name);
        let has = claimed.get(&**name).map(|claims| brought(name, there, claims));
        let is_there = has.as_ref().zip(there).is_some_and(|(has, there)| has.version() == there.version());
        if is_there || (has.is_none() && there.is_none()) {
            continue;
        }
        let owed = if has.is_some() { Owed::News } else { Owed::Answer };
        state.copies.insert(Arc::clone(name), ClientCopy { owed, ..ClientCopy::new(has.into(), update) });
        state.due.most = state.due.most.max(owed);
    }
}

/// What a client has of virtual hosts, as far as that is known by names and versions.
fn brought(name: &Arc<str>, there: Option<&Arc<Resource>>, claims: &BTreeMap<String, &str>) -> Arc<Resource> {
    let none = || Rope::new(&RouteConfiguration { name: name.to_string(), ..Default::default() });
    let now = there.and_then(|there| there.rope());
    let mut rope = now.cloned().unwrap_or_else(none);
    for host in now.into_iter().flat_map(Rope::virtual_hosts) {
        if !claims.contains_key(&**host.name()) {
            rope.remove(host.name());
        }
    }
    for (host, version) in claims {
        if rope.get(host).is_none_or(|it| *it.version() != **version) {
            rope.insert(Arc::new(VirtualHost::unknown(host, version)));
        }
    }
    Arc::new(Resource::from_rope(Arc::clone(name), rope, Origin::Shared))
}

/// The client has taken these routes anew, or did not take them: it has none of their virtual hosts.
pub fn anew(state: &mut TypeState, name: &Arc<str>, update: u64) {
    state.in_flight.iter_mut().for_each(|flight| flight.forget(name));
    state.trials.iter_mut().for_each(|group| group.retain(|it| it != name));
    state.trials.retain(|group| !group.is_empty());
    if state.base != Base::Nothing {
        let copy = ClientCopy { owed: Owed::Answer, ..ClientCopy::new(Has::Nothing, update) };
        state.copies.insert(Arc::clone(name), copy);
        state.due.most = Owed::Answer;
    }
}

/// These routes do not exist any more, and the client uses them no longer. Envoy keeps their virtual hosts until it
/// lets go of them, and has them again should they come back before: that is remembered.
pub fn abandon(state: &mut TypeState, name: &str) {
    let Some(copy) = state.copies.get_mut(name) else { return };
    let ropes: Vec<&Rope> = copy.may_use().filter_map(|it| it.rope()).collect();
    let has = ropes.split_first().map(|(first, others)| {
        let mut rope = (*first).clone();
        let doubtful = others.iter().flat_map(|rope| rope.shared_hosts());
        doubtful.for_each(|host| rope.insert(Arc::clone(host)));
        Arc::new(Resource::from_rope(name.into(), rope.abandoned(), Origin::Shared))
    });
    copy.has = has.into();
    (copy.doubt, copy.owed, copy.suspicion) = (None, Owed::Nothing, Suspicion::None);
    state.settle(name, None);
}
