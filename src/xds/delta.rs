//! Delta (incremental): requests add and take away names, responses hold what changed and what is gone.

use std::sync::Arc;

use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::composed::Composed;
use super::machine::{Limits, Refusal, RequestParts, Variant};
use super::order::Gate;
use super::subscription::WILDCARD;
use super::type_state::TypeState;
use crate::resources::{Resource, ResourceType, TypeView};

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

    fn longest_name(request: &DeltaDiscoveryRequest) -> usize {
        let names = request.resource_names_subscribe.iter().chain(&request.resource_names_unsubscribe);
        let claims = request.initial_resource_versions.iter().flat_map(|(name, version)| [name, version]);
        names.chain(claims).map(String::len).max().unwrap_or(0)
    }

    fn subscribe(
        state: &mut TypeState,
        kind: ResourceType,
        request: DeltaDiscoveryRequest,
        set: Option<TypeView<'_>>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let (given, dropped) = (request.resource_names_subscribe, request.resource_names_unsubscribe);
        let claims = request.initial_resource_versions;
        let longest = given.len().max(dropped.len()).max(claims.len());
        if longest > limits.max_names {
            return Err(Refusal::TooManyNames { kind, names: longest, max: limits.max_names });
        }
        let first = !state.requested;
        if first && given.is_empty() && kind.has_wildcard() {
            begin_wildcard(state);
        }
        subscribe(state, given, set);
        let names = state.subscription.names().len();
        if names > limits.max_names {
            return Err(Refusal::TooManyNames { kind, names, max: limits.max_names });
        }
        unsubscribe(state, &dropped);
        if first {
            state.pending.answer = state.subscription.is_wildcard() && claims.is_empty();
            state.returned = !claims.is_empty();
            // What the client holds from an earlier stream (P10).
            state.claims = claims;
            if let Some(set) = set {
                state.settle_claims(set);
            }
        }
        Ok(())
    }

    fn compose(
        state: &mut TypeState,
        _kind: ResourceType,
        set: TypeView<'_>,
        gate: &Gate<'_>,
    ) -> Option<Composed> {
        let mut composed = Composed::default();
        composed.take_updates(state, set, gate);
        if state.withheld && state.pending.answer {
            return None;
        }
        let removable: Vec<_> =
            state.pending.removals.iter().filter(|name| gate.may_remove(name)).cloned().collect();
        for name in removable {
            state.pending.removals.remove(&name);
            composed.before.push((Arc::clone(&name), state.held.remove(&name)));
            composed.removed.push(name);
        }
        composed.fresh = composed.resources.clone();
        let answer = std::mem::take(&mut state.pending.answer);
        let nothing = composed.resources.is_empty() && composed.removed.is_empty();
        (answer || !nothing).then_some(composed)
    }

    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> DeltaDiscoveryResponse {
        let bytes = |resource: &Arc<Resource>| resource.delta_bytes();
        DeltaDiscoveryResponse {
            system_version_info: version.to_owned(),
            resources: composed.resources.iter().map(bytes).collect(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: composed.removed.iter().map(|name| name.as_ref().to_owned()).collect(),
        }
    }

    fn nothing_of(request: &DeltaDiscoveryRequest, first: bool) -> Option<Composed> {
        let names = request.resource_names_subscribe.iter().filter(|name| *name != WILDCARD);
        let removed: Vec<Arc<str>> = names.map(|name| name.as_str().into()).collect();
        (first || !removed.is_empty()).then(|| Composed { removed, ..Composed::default() })
    }
}

fn begin_wildcard(state: &mut TypeState) {
    // What is on its way to a client that has unsubscribed from it will look to it like a part of the wildcard.
    let on_its_way = state.in_flight.iter().flat_map(|it| &it.before).map(|(name, _)| name);
    for name in on_its_way.filter(|name| state.held.get(name).is_none()) {
        state.pending.look_at(Arc::clone(name), true);
    }
    state.subscription.set_wildcard(true);
    state.pending.everything = true;
}

fn subscribe(state: &mut TypeState, given: Vec<String>, set: Option<TypeView<'_>>) {
    let mut names = Vec::with_capacity(given.len());
    for name in given {
        state.subscription.note_named();
        match name.as_str() {
            "" => {}
            WILDCARD => begin_wildcard(state),
            _ => {
                let known = set.and_then(|set| set.get(&name));
                let name: Arc<str> = known.map_or_else(|| name.into(), |known| Arc::clone(known.name()));
                if set.is_some() && known.is_none() {
                    state.missing.insert(Arc::clone(&name));
                }
                // Answered even if it is held or does not exist (P6, P7).
                state.pending.look_at(Arc::clone(&name), true);
                names.push(name);
            }
        }
    }
    state.subscription.add(names);
}

fn unsubscribe(state: &mut TypeState, dropped: &[String]) {
    if dropped.iter().any(|name| name == WILDCARD) {
        state.subscription.set_wildcard(false);
        state.narrow();
    }
    // Of names that the client was not subscribed to, nothing is said (P9).
    let names = state.subscription.remove(dropped);
    names.iter().for_each(|name| _ = state.missing.remove(name));
    if state.subscription.is_wildcard() {
        // The client may have dropped them, and the wildcard may still want them (P8).
        names.into_iter().for_each(|name| state.pending.look_at(name, true));
    } else {
        state.drop_names(&names);
    }
}
