//! Make before break, across the types of one aggregated stream (P15).
//!
//! ```text
//!  may be sent     listener, route    every cluster that it names is there, with its endpoints; or the client
//!                                     asks for clusters by name, and has no listener or route of that name
//!  may be removed  route              no listener that the client may use names it
//!                  cluster            no listener and no route that the client may use names it
//!                  endpoints          no cluster that the client may use names it
//! ```
//!
//! A client may use what it was last sent and, until it has accepted that, also what it had before. Only a
//! resource whose references are missing waits; other changes go on, however fast they come. A stream that
//! serves one type knows nothing of the other types, so nothing waits there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::type_state::TypeState;
use crate::resources::{Resource, ResourceType, TypeView, View};

/// What the order of types depends on besides the types themselves.
#[derive(Debug)]
pub struct Order {
    aggregated: bool,
    /// Endpoints of new clusters, until the client has them; `true` = it has asked for them.
    awaited: BTreeMap<Arc<str>, bool>,
    /// The client was given its time to ask for what it was told of.
    patience_over: bool,
    /// The client was given its time and has never asked for any endpoints.
    without_endpoints: bool,
}

impl Order {
    /// The order on a stream of all types, or none on a stream of one.
    pub fn new(aggregated: bool) -> Self {
        Self { aggregated, awaited: BTreeMap::new(), patience_over: false, without_endpoints: false }
    }

    /// What may be sent and removed of one type now. `state` is the type's own, `types` has the others.
    pub fn gate<'a>(
        &'a self,
        kind: ResourceType,
        state: &TypeState,
        types: &'a [TypeState; 4],
        set: &'a Arc<View>,
    ) -> Gate<'a> {
        let clusters = &types[ResourceType::Cluster as usize];
        let names_clusters = matches!(kind, ResourceType::Listener | ResourceType::Route);
        let all_there = clusters.is_settled() && self.awaited.is_empty();
        let checks = self.aggregated && names_clusters && !self.patience_over && !all_there;
        let kept = self.kept(kind, state, types);
        // A client that names its clusters asks for them because of what names them. What it does not have yet,
        // nothing breaks when it comes first.
        let by_name = checks && !clusters.subscription.is_wildcard();
        let has = by_name.then(|| {
            let held = state.held.resources().iter().map(|held| held.name());
            held.chain(&state.outdated).filter(|name| state.client_has(name)).cloned().collect()
        });
        Gate { order: self, types, set, checks, has, kept }
    }

    /// The client was sent these, which it did not have. A cluster that is sent anew warms until its endpoints
    /// are sent, a listener until its routes are, even if those are unchanged (P14).
    pub fn sent(&mut self, kind: ResourceType, fresh: &[Arc<Resource>], types: &mut [TypeState; 4]) {
        let dependent = match kind {
            ResourceType::Cluster => ResourceType::Endpoint,
            ResourceType::Listener => ResourceType::Route,
            ResourceType::Endpoint | ResourceType::Route => return,
        };
        for name in fresh.iter().flat_map(|resource| needs(resource, dependent)) {
            let state = &mut types[dependent as usize];
            let asked = state.subscription.is_wildcard() || state.subscription.has_name(name);
            if state.held.get(name).is_some() {
                state.pending.look_at(Arc::clone(name), true);
            }
            if kind == ResourceType::Cluster && self.aggregated {
                self.awaited.insert(Arc::clone(name), asked);
            }
        }
    }

    /// The client said which clusters it has from before. Whether it has their endpoints, it says later.
    pub fn clusters_brought(&mut self, types: &[TypeState; 4]) {
        let [clusters, endpoints, ..] = types;
        let needed = clusters.held.resources().iter().flat_map(|held| needs(held, ResourceType::Endpoint));
        for name in needed.filter(|name| self.aggregated && !endpoints.client_has(name)) {
            self.awaited.entry(Arc::clone(name)).or_insert(true);
        }
    }

    /// The client asked for endpoints, or said that it has some.
    pub fn endpoints_heard(&mut self, endpoints: &mut TypeState, set: Option<TypeView<'_>>) {
        self.without_endpoints = false;
        for (name, asked) in &mut self.awaited {
            let asks = endpoints.subscription.is_wildcard() || endpoints.subscription.has_name(name);
            if asks && !*asked {
                // Sent even if it says that it has them: the cluster came after they did.
                endpoints.pending.look_at(Arc::clone(name), true);
            }
            *asked |= asks;
        }
        let exists = |name: &str| set.is_none_or(|set| set.get(name).is_some());
        let owed = |name: &str| endpoints.pending.names.contains_key(name);
        self.awaited
            .retain(|name, asked| exists(name) && (!*asked || owed(name) || !endpoints.client_has(name)));
    }

    /// Whether something waits that only the client, or the end of patience, can let go.
    pub fn is_waiting(&self, types: &[TypeState; 4]) -> bool {
        let withheld =
            types.iter().any(|state| state.requested && state.withheld && state.pending.has_updates());
        let unknown = ResourceType::ALL.into_iter().any(|kind| {
            let state = &types[kind as usize];
            state.returned && !state.pending.removals.is_empty() && !all_told(kind, types)
        });
        self.aggregated && !self.patience_over && (withheld || unknown)
    }

    /// Something changed: a new time of patience begins where something has to wait.
    pub fn changed(&mut self) {
        self.patience_over = false;
    }

    /// The client has had its time: the rest goes out in any case.
    pub fn end_patience(&mut self, types: &mut [TypeState; 4]) {
        self.patience_over = true;
        self.without_endpoints = !types[ResourceType::Endpoint as usize].requested;
        self.awaited.clear();
        types.iter_mut().for_each(|state| state.returned = false);
    }

    /// Which of the names that are gone have to stay.
    fn kept(&self, kind: ResourceType, state: &TypeState, types: &[TypeState; 4]) -> Kept {
        let gone = &state.pending.removals;
        if !self.aggregated || gone.is_empty() {
            return Kept::Nothing;
        }
        let users = || users(kind).iter().map(|user| &types[*user as usize]);
        if (state.returned && !all_told(kind, types)) || users().any(|user| !user.outdated.is_empty()) {
            return Kept::Everything;
        }
        let named = users().flat_map(TypeState::in_use).flat_map(|resource| needs(resource, kind));
        Kept::These(named.filter(|name| gone.contains(*name)).cloned().collect())
    }
}

#[derive(Debug)]
enum Kept {
    Nothing,
    These(BTreeSet<Arc<str>>),
    Everything,
}

/// What may be sent and removed of one type now.
#[derive(Debug)]
pub struct Gate<'a> {
    order: &'a Order,
    types: &'a [TypeState; 4],
    set: &'a Arc<View>,
    checks: bool,
    /// What the client has of this type, where only that waits for clusters.
    has: Option<BTreeSet<Arc<str>>>,
    kept: Kept,
}

impl Gate<'_> {
    /// Whether the client has all that the resource names.
    pub fn may_send(&self, resource: &Resource) -> bool {
        let is_first = self.has.as_ref().is_some_and(|has| !has.contains(resource.name()));
        let waits = self.checks && !is_first;
        !waits || needs(resource, ResourceType::Cluster).all(|cluster| self.has_cluster(cluster))
    }

    /// Whether nothing that the client may use names it.
    pub fn may_remove(&self, name: &str) -> bool {
        match &self.kept {
            Kept::Nothing => true,
            Kept::These(names) => !names.contains(name),
            Kept::Everything => false,
        }
    }

    fn has_cluster(&self, name: &str) -> bool {
        let clusters = &self.types[ResourceType::Cluster as usize];
        let wanted = clusters.visible(self.set.of(ResourceType::Cluster), name);
        // What does not exist, or what the client asks for only when it is told of it, is not waited for.
        let Some(cluster) = wanted.filter(|_| clusters.requested) else { return true };
        // A cluster that is sent anew serves as it was until it is ready.
        match (clusters.held.get(name), clusters.before(name)) {
            (Some(held), None) => self.has_endpoints(held, held.version() == cluster.version()),
            (Some(_), Some(Some(before))) => self.has_endpoints(before, false),
            (Some(_), Some(None)) | (None, _) => false,
        }
    }

    /// `latest`: the cluster is as it is now, so that endpoints that do not exist are not waited for.
    fn has_endpoints(&self, cluster: &Resource, latest: bool) -> bool {
        let endpoints = &self.types[ResourceType::Endpoint as usize];
        let exists = |name: &str| self.set.of(ResourceType::Endpoint).get(name).is_some();
        self.order.without_endpoints
            || needs(cluster, ResourceType::Endpoint)
                .all(|name| endpoints.client_has(name) || (latest && !exists(name)))
    }
}

/// The types that name resources of this one.
fn users(kind: ResourceType) -> &'static [ResourceType] {
    match kind {
        ResourceType::Cluster => &[ResourceType::Listener, ResourceType::Route],
        ResourceType::Endpoint => &[ResourceType::Cluster],
        ResourceType::Listener => &[],
        ResourceType::Route => &[ResourceType::Listener],
    }
}

/// Whether a client that came back has told of everything by which it may use this type.
fn all_told(kind: ResourceType, types: &[TypeState; 4]) -> bool {
    let told = |user: &ResourceType| match user {
        ResourceType::Route => {
            let (listeners, routes) =
                (&types[ResourceType::Listener as usize], &types[ResourceType::Route as usize]);
            let mut named = listeners.in_use().flat_map(|listener| needs(listener, ResourceType::Route));
            named.all(|name| routes.subscription.is_wildcard() || routes.subscription.has_name(name))
        }
        user => types[*user as usize].requested,
    };
    users(kind).iter().all(told)
}

/// The resources of one type that a resource does not work without.
pub fn needs(resource: &Resource, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
    resource.references().filter(move |(to, _)| *to == kind).map(|(_, name)| name)
}
