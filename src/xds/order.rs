//! Make before break, across the types of one aggregated stream (P15).
//!
//! ```text
//!  may be sent     listener, route    every cluster that it comes to name is there, with its endpoints. Of a route
//!                                     configuration, each virtual host waits for its own clusters
//!  may be removed  listener, route,   all that came with that change, or before it, is there
//!                  virtual host
//!                  route              and no listener that the client may use names it
//!                  cluster            no listener and no route that the client may use names it
//!                  endpoints          no cluster that the client may use names it
//! ```
//!
//! A client may use what it accepted last and what is on its way to it. Only what names something that is not there
//! waits; other changes go on, however fast they come. What is looked at is what the client does not have yet: never
//! all there is. A stream that serves one type knows nothing of the other types, so nothing waits there.

mod gate;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::client_copy::{ClientCopy, Owed, Suspicion};
use super::parts;
use super::shared::PartialRoutes;
use super::sorted::Sorted;
use super::type_state::{Rest, TypeState};
use crate::resources::{PerType, Resource, ResourceType, View};

pub use gate::{Gate, MayRemove, Target};

/// What the order of types depends on besides the types themselves.
#[derive(Debug)]
pub struct Order {
    aggregated: bool,
    /// Endpoints of clusters that were sent, until the client has them.
    awaited: Sorted<Arc<str>, Awaited>,
    /// The client was given its time to ask for what it was told of with that update, and before.
    patience_over: Option<u64>,
    /// The client was given its time and has never asked for any endpoints.
    without_endpoints: bool,
}

/// Endpoints that a client is to have, because it was sent their cluster.
#[derive(Clone, Debug)]
struct Awaited {
    /// Their cluster.
    of: Arc<str>,
    /// The client has asked for them.
    asked: bool,
    /// The update that their cluster came with.
    since: u64,
    /// The nonce of the response that their cluster was in: what is said of earlier ones says nothing of these.
    nonce: u64,
    /// The client had their cluster in an earlier version, ready to take requests. It uses that until these are there.
    replaces: bool,
}

impl Order {
    /// The order on a stream of all types, or none on a stream of one.
    pub fn new(aggregated: bool) -> Self {
        Self { aggregated, awaited: Sorted::default(), patience_over: None, without_endpoints: false }
    }

    /// What may be sent and removed of one type now.
    /// `state` is the type's own, `types` has the others.
    pub fn gate<'a>(
        &'a self,
        kind: ResourceType,
        state: &TypeState,
        types: &'a PerType<TypeState>,
        view: &'a View,
        partial_routes: &'a PartialRoutes,
    ) -> Gate<'a> {
        Gate::new(self, kind, state, types, view, partial_routes)
    }

    /// The client was sent these, which it did not have. A cluster that is sent anew warms until its endpoints
    /// are sent, a listener until its routes are, even if those are unchanged (P14).
    pub fn sent(
        &mut self,
        kind: ResourceType,
        fresh: &[Arc<Resource>],
        types: &mut PerType<TypeState>,
        view: &View,
        (nonce, update): (u64, u64),
    ) {
        let dependent = match kind {
            ResourceType::Cluster => ResourceType::Endpoint,
            ResourceType::Listener => ResourceType::Route,
            ResourceType::Endpoint | ResourceType::Route | ResourceType::VirtualHost => return,
        };
        let mut awaited = Vec::new();
        for resource in fresh {
            let since = types[kind].copies.get(&**resource.name()).map_or(update, |copy| copy.since);
            let state = &mut types[dependent];
            for name in needs(resource, dependent) {
                let asked = state.requested && state.subscription.covers(name);
                let told = !state.has(view.of(dependent), name).is_nothing() || state.is_on_its_way(name);
                // What it refuses is no answer, but that there is nothing else is one.
                let refused = state.copies.get(name).is_some_and(|copy| copy.refused.is_some());
                if asked && (told || refused) {
                    state.look_at(view.of(dependent), name, Owed::Again, update);
                }
                if kind == ResourceType::Cluster && self.aggregated {
                    let of = Arc::clone(resource.name());
                    let replaces = self.serves_meanwhile(&of, name);
                    awaited.push((Arc::clone(name), Awaited { of, asked, since, nonce, replaces }));
                }
            }
        }
        self.awaited.extend(awaited);
    }

    /// Whether the client uses an earlier version of that cluster until it has these endpoints.
    fn serves_meanwhile(&self, cluster: &str, endpoints: &str) -> bool {
        self.awaited.get(endpoints).is_some_and(|awaited| *awaited.of == *cluster && awaited.replaces)
    }

    /// The client is about to say what it makes of clusters. What it can use of those that it has, it uses until it has
    /// the endpoints of those that replace them.
    pub fn clusters_answered(&mut self, types: &PerType<TypeState>, view: &View) {
        let (clusters, endpoints) = (&types[ResourceType::Cluster], &types[ResourceType::Endpoint]);
        let is_used = |of: &str| {
            let has = clusters.has(view.of(ResourceType::Cluster), of);
            let has = has.resource().filter(|_| !clusters.is_going(of));
            has.is_some_and(|has| {
                let mut needed = needs(has, ResourceType::Endpoint);
                needed.all(|name| gate::has(endpoints, view, name) || self.serves_meanwhile(of, name))
            })
        };
        let used: BTreeSet<Arc<str>> =
            self.awaited.iter().map(|(_, it)| &it.of).filter(|of| is_used(of)).cloned().collect();
        self.awaited.iter_mut().for_each(|(_, awaited)| awaited.replaces |= used.contains(&awaited.of));
    }

    /// The client is told that there are no such clusters, so no endpoints of theirs are waited for, whether it ever took
    /// one of them or not.
    pub fn clusters_removed(&mut self, gone: &BTreeSet<&Arc<str>>) {
        if !gone.is_empty() {
            self.awaited.retain(|_, awaited| !gone.contains(&awaited.of));
        }
    }

    /// The client refuses that cluster as it was in the response of that nonce, so its endpoints are not waited for.
    pub fn cluster_refused(&mut self, cluster: &str, nonce: u64) {
        self.awaited.retain(|_, awaited| *awaited.of != *cluster || awaited.nonce != nonce);
    }

    /// The client said which endpoints it wants.
    pub fn endpoints_asked(&mut self, endpoints: &mut TypeState, view: Option<&View>, update: u64) {
        self.without_endpoints = false;
        let Some(view) = view.map(|view| view.of(ResourceType::Endpoint)) else { return };
        let covers = |name: &str| endpoints.subscription.covers(name);
        // It let go of a cluster of that name, and will ask for the endpoints of the next one.
        self.awaited.iter_mut().for_each(|(name, awaited)| awaited.asked &= covers(name));
        let now: Vec<_> = self.awaited.iter_mut().filter(|(name, it)| !it.asked && covers(name)).collect();
        for (name, awaited) in now {
            awaited.asked = true;
            // Sent even if it says that it has them: the cluster came after they did.
            endpoints.look_at(view, name, Owed::Again, update);
        }
    }

    /// The client has said what it makes of the endpoints in the response of that nonce.
    pub fn endpoints_answered(
        &mut self,
        endpoints: &TypeState,
        nonce: u64,
        said: impl Fn(&Arc<str>) -> bool,
    ) {
        let settled = |name: &Arc<str>| {
            let copy = endpoints.copies.get(name);
            copy.is_none_or(|copy| copy.owed <= Owed::News && copy.suspicion == Suspicion::None)
        };
        self.awaited.retain(|name, awaited| nonce < awaited.nonce || !(said(name) && settled(name)));
    }

    /// Whether a client that asks for these endpoints is to be answered, even if there are none.
    pub fn awaits(&self, endpoints: &str) -> bool {
        self.awaited.get(endpoints).is_some()
    }

    /// Whether the client is to have endpoints that it has not taken yet.
    pub fn is_awaiting(&self, view: &View) -> bool {
        self.needed(view).next().is_some()
    }

    /// The endpoints that it awaits and that their clusters, as they are now, need.
    fn needed(&self, view: &View) -> impl Iterator<Item = (&Arc<str>, &Awaited)> {
        self.awaited.iter().filter(|(name, awaited)| {
            let cluster = view.of(ResourceType::Cluster).get(&awaited.of);
            cluster.is_some_and(|it| needs(it, ResourceType::Endpoint).any(|needed| needed == *name))
        })
    }

    /// Whether something waits that the end of patience can let go. `update`: the last one.
    pub fn is_withholding(&self, types: &PerType<TypeState>, update: u64) -> bool {
        self.aggregated && !self.is_over(update) && types.values().any(TypeState::is_withheld)
    }

    /// Whether the client had its time for what came with that update.
    fn is_over(&self, update: u64) -> bool {
        self.patience_over.is_some_and(|over| update <= over)
    }

    /// The client has had its time for what came with that update, and before: it goes out in any case.
    pub fn end_patience(&mut self, types: &mut PerType<TypeState>, update: u64) {
        self.patience_over = self.patience_over.max(Some(update));
        self.without_endpoints = !types[ResourceType::Endpoint].requested;
        self.awaited.retain(|_, awaited| awaited.since > update);
        types.values_mut().for_each(|state| state.brought.untold = false);
    }

    /// Notes that the client has told of everything by which it may use this type, if it has.
    pub fn hear(&self, kind: ResourceType, state: &mut TypeState, types: &PerType<TypeState>, view: &View) {
        state.brought.untold = state.brought.untold && self.aggregated && !all_told(kind, types, view);
    }

    /// The number of the earliest update that brought something which is not there yet, and for which the client still
    /// has time.
    fn earliest(&self, types: &PerType<TypeState>, view: &View) -> u64 {
        let endpoints = &types[ResourceType::Endpoint];
        let awaited = self.needed(view).filter(|(name, _)| !gate::has(endpoints, view, name));
        let awaited = awaited.map(|(_, awaited)| awaited.since).filter(|_| !self.without_endpoints);
        let kinds = ResourceType::ALL.into_iter().filter(|kind| *kind != ResourceType::Endpoint);
        let others = kinds.map(|kind| self.earliest_of(kind, &types[kind], view));
        others.chain(awaited.filter(|since| !self.is_over(*since))).min().unwrap_or(u64::MAX)
    }

    /// The same, of one type.
    fn earliest_of(&self, kind: ResourceType, state: &TypeState, view: &View) -> u64 {
        let is_new = |name: &str, copy: &ClientCopy| {
            copy.has.is_nothing() && state.visible(view.of(kind), name).is_some_and(|it| !copy.refuses(it))
        };
        let copies = state.copies.iter().filter(|(name, copy)| is_new(name, copy));
        let rest = match state.rest {
            Rest::Nothing if state.requested => Some(0),
            Rest::Sent(since) => Some(since),
            Rest::Nothing | Rest::Accepted => None,
        };
        let all = copies.map(|(_, copy)| copy.since).chain(rest);
        all.filter(|since| !self.is_over(*since)).min().unwrap_or(u64::MAX)
    }
}

/// The types that name resources of this one.
fn users(kind: ResourceType) -> &'static [ResourceType] {
    match kind {
        ResourceType::Cluster => &[ResourceType::Listener, ResourceType::Route, ResourceType::VirtualHost],
        ResourceType::Endpoint => &[ResourceType::Cluster],
        ResourceType::Listener => &[],
        ResourceType::Route => &[ResourceType::Listener],
        ResourceType::VirtualHost => &[ResourceType::Route],
    }
}

/// Whether a client that came back has told of everything by which it may use this type.
fn all_told(kind: ResourceType, types: &PerType<TypeState>, view: &View) -> bool {
    let told = |user: &ResourceType| match user {
        ResourceType::Route => {
            let (listeners, routes) = (&types[ResourceType::Listener], &types[ResourceType::Route]);
            let there = listeners.subscription.resources(view.of(ResourceType::Listener));
            let there = there.filter(|listener| !listeners.copies.contains_key(listener.name()));
            let known = there.chain(listeners.in_use().map(|(_, resource)| resource));
            let mut named = known.flat_map(|listener| needs(listener, ResourceType::Route));
            named.all(|name| routes.subscription.covers(name))
        }
        // It is told of with the routes that it belongs to.
        ResourceType::VirtualHost => !parts::is_untold(&types[ResourceType::VirtualHost]),
        user => types[*user].requested,
    };
    users(kind).iter().all(told)
}

/// The resources of one type that a resource does not work without.
pub fn needs(resource: &Resource, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
    resource.references().filter(move |(to, _)| *to == kind).map(|(_, name)| name)
}
