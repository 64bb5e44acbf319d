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
use super::shared::{Doubt, Doubts};
use super::type_state::{Rest, TypeState};
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
    untold: &Doubts,
    update: u64,
) {
    let wanted: Vec<_> = routes.subscription.names().iter().filter(|it| is_in_parts(it)).cloned().collect();
    let before = state.subscription.names().clone();
    state.subscription.replace(wanted, lists);
    let gone = before.iter().filter(|name| !state.subscription.has_name(name));
    let gone: Vec<_> = gone.cloned().collect();
    gone.iter().for_each(|name| let_go(state, name, view));
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
        begin(state, view, untold, update);
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
    untold: &Doubts,
    update: u64,
) {
    if !std::mem::replace(&mut state.brought.told, true) {
        match state.requested {
            true => told_late(state, &claims, view, update),
            false => state.brought.claims = claims,
        }
    }
    if is_untold(state) {
        begin(state, view, untold, update);
    }
}

/// The client has been told all there is, and says only now what it had, or lists, of before. What is gone of that is
/// taken from it.
fn told_late(
    state: &mut TypeState,
    claims: &BTreeMap<String, String>,
    view: Option<TypeView<'_>>,
    update: u64,
) {
    let named = claims.iter().filter_map(|(name, version)| Some((read_part_name(name)?, version)));
    note_let_go(state, named);
    let is_gone = |name: &Arc<str>, hosts: &BTreeSet<(Arc<str>, u64)>| {
        let there = view.and_then(|view| view.get(name)).and_then(|there| there.rope());
        hosts.iter().any(|(host, _)| there.is_none_or(|there| there.get(host).is_none()))
    };
    let wanted = state.let_go.iter().filter(|(name, _)| state.subscription.has_name(name));
    let outdated: Vec<_> =
        wanted.filter(|(name, hosts)| is_gone(name, hosts)).map(|(name, _)| name).cloned().collect();
    outdated.iter().for_each(|name| anew(state, name, update));
}

/// The client asks for the virtual hosts of these routes once more: it may have forgotten them.
pub fn ask_again(state: &mut TypeState, view: TypeView<'_>, routes: &Arc<str>, update: u64) {
    state.look_at(view, routes, Owed::Answer, update);
    if let Some(copy) = state.copies.get_mut(routes) {
        copy.doubts.extend(std::mem::take(&mut copy.has).resource().cloned());
    }
}

/// Compares what the client has told with what there is, which was not known before.
pub fn settle_told(state: &mut TypeState, view: TypeView<'_>, untold: &Doubts, update: u64) {
    if state.requested {
        settle(state, view, untold, update);
    }
}

fn begin(state: &mut TypeState, view: Option<TypeView<'_>>, untold: &Doubts, update: u64) {
    state.requested = true;
    if let Some(view) = view {
        settle(state, view, untold, update);
    }
}

/// Compares what the client says it has with what there is. Of routes that it does not have any more, it may list
/// virtual hosts that it has dropped.
fn settle(state: &mut TypeState, view: TypeView<'_>, untold: &Doubts, update: u64) {
    let (routes, claims) =
        (std::mem::take(&mut state.brought.routes), std::mem::take(&mut state.brought.claims));
    let named = claims.iter().filter_map(|(name, version)| Some((read_part_name(name)?, version)));
    let (believed, dropped): (Vec<_>, Vec<_>) = named.partition(|((of, _), _)| routes.contains(*of));
    note_let_go(state, dropped.into_iter());
    if routes.is_empty() || state.rest != Rest::Nothing {
        return;
    }
    let mut claimed: BTreeMap<&str, BroughtHosts<'_>> = BTreeMap::new();
    for ((of, host), version) in believed {
        claimed.entry(of).or_default().claims.insert(host, version);
    }
    for doubt in untold.iter() {
        if claims.get(&*doubt.name).map_or("", |version| version) != &*doubt.told {
            continue;
        }
        if let Some((of, host)) = read_part_name(&doubt.name).filter(|(of, _)| routes.contains(*of)) {
            claimed.entry(of).or_default().doubts.insert(host, doubt);
        }
    }
    (state.rest, state.brought.came_back) = (Rest::Accepted, true);
    for name in state.subscription.names().clone().iter() {
        let there = view.get(name);
        let brought = claimed.get(&**name);
        let is_warm = brought.is_some_and(|brought| !brought.claims.is_empty());
        // What may have nothing may wait for its first word.
        let is_some = |has: &Arc<Resource>| is_warm || has.rope().is_some_and(|rope| !rope.is_empty());
        let has = brought.map(|brought| brought.routes(name, there)).filter(is_some);
        let is_there = has.as_ref().zip(there).is_some_and(|(has, there)| has.version() == there.version());
        if is_there && is_warm {
            continue;
        }
        let owed = if is_warm { Owed::News } else { Owed::Answer };
        state.copies.insert(Arc::clone(name), ClientCopy { owed, ..ClientCopy::new(has.into(), update) });
        state.due.most = state.due.most.max(owed);
    }
}

/// What a client brought of the virtual hosts of some routes.
#[derive(Default)]
struct BroughtHosts<'a> {
    /// What it says: names and versions.
    claims: BTreeMap<String, &'a str>,
    /// Where it may have something else.
    doubts: BTreeMap<String, &'a Doubt>,
}

impl BroughtHosts<'_> {
    /// What it has, as far as that is known by names and versions.
    fn routes(&self, name: &Arc<str>, there: Option<&Arc<Resource>>) -> Arc<Resource> {
        let now = there.and_then(|there| there.rope());
        let mut rope = now.cloned().unwrap_or_else(|| no_hosts(name));
        for host in now.into_iter().flat_map(Rope::virtual_hosts) {
            if !self.claims.contains_key(&**host.name()) {
                rope.remove(host.name());
            }
        }
        for (host, version) in &self.claims {
            if rope.get(host).is_none_or(|it| *it.version() != **version) {
                rope.insert(Arc::new(VirtualHost::unknown(host, version)));
            }
        }
        for (host, doubt) in &self.doubts {
            let there = now.and_then(|now| now.get(host)).map(|host| host.version()).unwrap_or_default();
            if doubt.has != there {
                rope.insert(Arc::new(VirtualHost::unknown(host, &doubt.has)));
            }
        }
        Arc::new(Resource::from_rope(Arc::clone(name), rope, Origin::Shared))
    }
}

fn no_hosts(routes: &str) -> Rope {
    Rope::new(&RouteConfiguration { name: routes.to_owned(), ..Default::default() })
}

/// Routes without virtual hosts.
pub fn none(routes: &str) -> Arc<Resource> {
    Arc::new(Resource::from_rope(routes.into(), no_hosts(routes), Origin::Shared))
}

/// The client lets go of these routes. It has none of their virtual hosts then, and lists them nevertheless when it
/// comes back.
fn let_go(state: &mut TypeState, name: &Arc<str>, view: Option<TypeView<'_>>) {
    let copy = state.copies.get(name);
    let there =
        view.and_then(|view| view.get(name)).filter(|_| copy.is_none() && state.rest == Rest::Accepted);
    let known = copy.into_iter().flat_map(ClientCopy::may_use).chain(there);
    let ropes = known.chain(state.on_its_way(name).flatten()).filter_map(|it| it.rope());
    let hosts = ropes.flat_map(Rope::shared_hosts).map(|host| (Arc::clone(host.name()), host.hash()));
    let hosts: Vec<_> = hosts.collect();
    if !hosts.is_empty() {
        state.let_go.entry(Arc::clone(name)).or_default().extend(hosts);
    }
}

/// It lists virtual hosts of routes that it has let go of: names, and versions.
fn note_let_go<'a>(state: &mut TypeState, hosts: impl Iterator<Item = ((&'a str, String), &'a String)>) {
    for ((of, host), version) in hosts.filter(|((of, _), _)| is_in_parts(of)) {
        let host = VirtualHost::unknown(&host, version);
        state.let_go.entry(of.into()).or_default().insert((Arc::clone(host.name()), host.hash()));
    }
}

/// The client has taken these routes anew, or did not take them: it has none of their virtual hosts, but for those
/// that were on their way to it.
pub fn anew(state: &mut TypeState, name: &Arc<str>, update: u64) {
    let known = state.copies.get(name).into_iter().flat_map(ClientCopy::may_use);
    let doubts: Vec<_> = known.chain(state.on_its_way(name).flatten()).cloned().collect();
    state.in_flight.iter_mut().for_each(|flight| flight.forget(name));
    state.trials.iter_mut().for_each(|group| group.retain(|it| it != name));
    state.trials.retain(|group| !group.is_empty());
    if state.rest != Rest::Nothing {
        let copy = ClientCopy { owed: Owed::Answer, doubts, ..ClientCopy::new(Has::Nothing, update) };
        state.copies.insert(Arc::clone(name), copy);
        state.due.most = Owed::Answer;
    }
}

/// These routes do not exist any more, and the client uses them no longer. Envoy keeps their virtual hosts until it
/// lets go of them, and has them again should they come back before: that is remembered.
pub fn abandon(state: &mut TypeState, name: &Arc<str>) {
    let Some(copy) = state.copies.get_mut(name) else { return };
    let abandoned = |it: &Arc<Resource>| {
        let rope = it.rope()?.abandoned();
        Some(Arc::new(Resource::from_rope(Arc::clone(name), rope, Origin::Shared)))
    };
    copy.has = copy.has.resource().and_then(abandoned).into();
    copy.doubts = copy.doubts.iter().filter_map(abandoned).collect();
    copy.route.iter_mut().for_each(|route| route.groups.clear());
    (copy.owed, copy.suspicion) = (Owed::Nothing, Suspicion::None);
    state.settle(name, None);
}
