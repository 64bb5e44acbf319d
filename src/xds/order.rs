//! Make before break, across the types of one aggregated stream.
//!
//! Clusters and endpoints go first, then listeners and routes; what is gone is removed last, and only
//! after the client has accepted the listeners and routes that no longer name it (P15).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::subscription::Subscription;
use super::type_state::TypeState;
use crate::resources::{Resource, ResourceType};

/// What the order of types depends on besides the types themselves.
#[derive(Debug, Default)]
pub struct Order {
    /// Endpoints of clusters that were sent and that the client has not asked for: it will, and until
    /// they are there its clusters are not ready for traffic.
    awaited: BTreeSet<Arc<str>>,
    /// The client was given its time to ask for what it was told of.
    patience_over: bool,
}

impl Order {
    /// Whether new and changed resources of the type may be sent now.
    pub fn may_update(&self, kind: ResourceType, types: &[TypeState; 4]) -> bool {
        match kind {
            ResourceType::Cluster | ResourceType::Endpoint => true,
            ResourceType::Listener | ResourceType::Route => self.patience_over || self.clusters_ready(types),
        }
    }

    /// Whether removals of the type may be sent now.
    pub fn may_remove(&self, kind: ResourceType, types: &[TypeState; 4]) -> bool {
        let accepted = |kind: ResourceType| {
            let state = &types[kind as usize];
            state.is_settled() && state.pending.removals.is_empty() && !state.rejected
        };
        let listener = || accepted(ResourceType::Listener);
        let listeners_and_routes = || listener() && accepted(ResourceType::Route);
        match kind {
            ResourceType::Listener => true,
            ResourceType::Route => listener(),
            ResourceType::Cluster => {
                let from_before = types[kind as usize].pending.removals_from_before;
                // Of what a client held before it came back we cannot know yet what uses it.
                let known = types[ResourceType::Listener as usize].requested || self.patience_over;
                listeners_and_routes() && (known || !from_before)
            }
            ResourceType::Endpoint => listeners_and_routes() && accepted(ResourceType::Cluster),
        }
    }

    /// Whether something waits that only the client, or the end of patience, can let go.
    pub fn is_waiting(&self, types: &[TypeState; 4]) -> bool {
        let waits = |kind: ResourceType| {
            let state = &types[kind as usize];
            state.requested && state.pending.has_updates() && !self.may_update(kind, types)
        };
        let clusters = &types[ResourceType::Cluster as usize].pending;
        let removals = clusters.removals_from_before && !clusters.removals.is_empty();
        !self.patience_over && (waits(ResourceType::Listener) || waits(ResourceType::Route) || removals)
    }

    /// The client was sent clusters that name these endpoints.
    pub fn clusters_sent(&mut self, endpoints: impl IntoIterator<Item = Arc<str>>) {
        self.patience_over = false;
        self.awaited.extend(endpoints);
    }

    /// The client asked for endpoints.
    pub fn endpoints_requested(&mut self, subscription: &Subscription) {
        self.awaited.retain(|name| !subscription.has_name(name));
    }

    /// Something changed: a new time of patience begins where something has to wait.
    pub fn changed(&mut self) {
        self.patience_over = false;
    }

    /// The client has had its time: the rest goes out in any case.
    pub fn end_patience(&mut self) {
        self.patience_over = true;
        self.awaited.clear();
    }

    fn clusters_ready(&self, types: &[TypeState; 4]) -> bool {
        let endpoints = &types[ResourceType::Endpoint as usize];
        let clusters = &types[ResourceType::Cluster as usize];
        // A client that never asks for endpoints is not one that needs them for its clusters.
        let asked = !endpoints.requested || self.awaited.is_empty();
        clusters.is_settled() && endpoints.is_settled() && asked
    }
}

/// The endpoints that a cluster, or the routes that a listener, does not work without.
pub fn needs(resource: &Resource, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
    resource.references().iter().filter(move |(to, _)| *to == kind).map(|(_, name)| name)
}
