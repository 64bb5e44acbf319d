//! Delta (incremental): requests add and take away names, responses hold what changed and what is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::machine::{Composed, Limits, Refusal, RequestParts, Variant};
use super::subscription::WILDCARD;
use super::type_state::TypeState;
use crate::resources::{Resource, ResourceType, TypeSet};

/// Delta.
#[derive(Debug)]
pub struct Delta;

impl Variant for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;
    const NAME: &'static str = "delta";
    const STALE_REQUESTS_COUNT: bool = true;

    fn parts(request: &DeltaDiscoveryRequest) -> RequestParts<'_> {
        RequestParts {
            node: request.node.as_ref(),
            type_url: &request.type_url,
            nonce: &request.response_nonce,
            error: request.error_detail.as_ref(),
        }
    }

    fn subscribe(
        state: &mut TypeState,
        kind: ResourceType,
        request: DeltaDiscoveryRequest,
        set: Option<&TypeSet>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let names = state.subscription.names().len() + request.resource_names_subscribe.len();
        if names.max(request.initial_resource_versions.len()) > limits.max_names {
            return Err(Refusal::TooManyNames { kind, names, max: limits.max_names });
        }
        let first = !state.requested;
        if first && request.resource_names_subscribe.is_empty() && kind.has_wildcard() {
            begin_wildcard(state);
        }
        for name in request.resource_names_subscribe {
            subscribe(state, name, set);
        }
        for name in request.resource_names_unsubscribe {
            unsubscribe(state, &name);
        }
        if first {
            state.pending.answer =
                state.subscription.is_wildcard() && request.initial_resource_versions.is_empty();
            take_claims(state, request.initial_resource_versions, set);
        }
        Ok(())
    }

    fn compose(
        state: &mut TypeState,
        _kind: ResourceType,
        set: &TypeSet,
        removals: bool,
    ) -> Option<Composed> {
        let answer = std::mem::take(&mut state.pending.answer);
        settle_claims(state, set);
        let mut composed = Composed::default();
        for (name, forced) in state.take_names(set) {
            match state.visible(set, &name) {
                Some(resource) if forced || !state.held.has(resource) => {
                    composed.resources.push(Arc::clone(resource));
                    state.held.insert(Arc::clone(resource));
                }
                Some(_) => {}
                None if forced => {
                    state.held.remove(&name);
                    state.pending.removals.remove(&name);
                    composed.removed.push(name);
                }
                None => {}
            }
        }
        if removals {
            state.pending.removals_from_before = false;
            for name in std::mem::take(&mut state.pending.removals) {
                state.held.remove(&name);
                composed.removed.push(name);
            }
        }
        composed.fresh = composed.resources.clone();
        let nothing = composed.resources.is_empty() && composed.removed.is_empty();
        (answer || !nothing).then_some(composed)
    }

    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> DeltaDiscoveryResponse {
        let bytes = |resource: &Arc<Resource>| resource.delta_bytes().clone();
        DeltaDiscoveryResponse {
            system_version_info: version.to_owned(),
            resources: composed.resources.iter().map(bytes).collect(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: composed.removed.iter().map(|name| name.as_ref().to_owned()).collect(),
        }
    }

    fn nothing_of(request: &DeltaDiscoveryRequest) -> Composed {
        let names = request.resource_names_subscribe.iter().filter(|name| *name != WILDCARD);
        Composed { removed: names.map(|name| name.as_str().into()).collect(), ..Composed::default() }
    }
}

fn begin_wildcard(state: &mut TypeState) {
    state.subscription.set_wildcard(true);
    state.pending.everything = true;
}

fn subscribe(state: &mut TypeState, name: String, set: Option<&TypeSet>) {
    state.subscription.note_named();
    match name.as_str() {
        "" => {}
        WILDCARD => begin_wildcard(state),
        _ => {
            let name: Arc<str> = match set.and_then(|set| set.get(&name)) {
                Some(resource) => Arc::clone(resource.name()),
                None => name.into(),
            };
            state.subscription.add(Arc::clone(&name));
            // Answered even if it is held or does not exist (P6, P7).
            state.pending.look_at(name, true);
        }
    }
}

fn unsubscribe(state: &mut TypeState, name: &str) {
    if name == WILDCARD {
        state.subscription.set_wildcard(false);
        state.pending.everything = false;
        let subscription = &state.subscription;
        state.held.retain(|held| subscription.has_name(held.name()));
        state.pending.names.retain(|name, _| subscription.has_name(name));
        state.pending.removals.retain(|name| subscription.has_name(name));
        return;
    }
    state.subscription.remove(name);
    if state.subscription.is_wildcard() && !name.is_empty() {
        // The client may have dropped it, and the wildcard still wants it (P8).
        state.pending.look_at(name.into(), true);
    } else {
        state.drop_name(name);
    }
}

/// What the client holds from an earlier stream (P10).
fn take_claims(state: &mut TypeState, claims: BTreeMap<String, String>, set: Option<&TypeSet>) {
    state.claims = claims;
    if let Some(set) = set {
        settle_claims(state, set);
    }
}

/// Compares what the client says it holds with what there is.
fn settle_claims(state: &mut TypeState, set: &TypeSet) {
    for (name, version) in std::mem::take(&mut state.claims) {
        match state.visible(set, &name) {
            Some(resource) if resource.version() == version => {
                state.pending.names.remove(resource.name());
                state.held.insert(Arc::clone(resource));
            }
            Some(resource) => state.pending.look_at(Arc::clone(resource.name()), false),
            None if state.subscription.is_wildcard() || state.subscription.has_name(&name) => {
                state.pending.forget(&name);
                state.pending.removals.insert(name.into());
                state.pending.removals_from_before = true;
            }
            None => {}
        }
    }
}
