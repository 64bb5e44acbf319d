//! Delta (incremental): requests add and take away names, responses hold what changed and what is gone.

use std::sync::Arc;

use pilot_envoy_api::discovery::DeltaDiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::client_copy::{ClientCopy, Has, Owed};
use super::composed::{Composed, Scene};
use super::in_flight::InFlight;
use super::parts::{self, RoutesAsked};
use super::subscription::WILDCARD;
use super::type_state::{Rest, TypeState};
use super::variant::{Asked, Refusal, RequestParts, Variant};
use crate::resources::{Resource, ResourceType, read_part_name};

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

    fn routes_in_parts(request: &DeltaDiscoveryRequest, first: bool) -> Option<RoutesAsked> {
        RoutesAsked::of(request, first)
    }

    fn subscribe(
        state: &mut TypeState,
        asked: &Asked<'_>,
        request: DeltaDiscoveryRequest,
    ) -> Result<(), Refusal> {
        if asked.kind == ResourceType::VirtualHost {
            return ask_for_hosts(state, asked, request);
        }
        let (given, dropped) = (request.resource_names_subscribe, request.resource_names_unsubscribe);
        let claims = request.initial_resource_versions;
        let longest = given.len().max(dropped.len()).max(claims.len());
        asked.allows(longest)?;
        let first = !state.requested;
        // By the letter: also one that takes names away.
        if first && given.is_empty() && asked.kind.has_wildcard() {
            state.subscription.set_wildcard(true);
        }
        let adds = !given.is_empty();
        subscribe(state, asked, given);
        asked.allows(state.subscription.names().len())?;
        if adds {
            asked.allows_bytes(state.subscription.names().iter().map(|name| name.len()))?;
        }
        unsubscribe(state, asked, &dropped);
        if first {
            state.due.answer = state.subscription.is_wildcard() && claims.is_empty();
            (state.brought.came_back, state.brought.untold) = (!claims.is_empty(), !claims.is_empty());
            // What the client holds from an earlier stream (P10).
            state.brought.claims = claims;
            if let Some(view) = asked.view {
                let untold = asked.shared.untold.of(asked.scope, asked.kind);
                state.settle_claims(view, &untold, asked.update);
            }
        }
        Ok(())
    }

    fn compose(state: &mut TypeState, scene: &Scene<'_>) -> Option<Composed> {
        let first = state.rest == Rest::Nothing;
        let composed = if first { scene.first(state)? } else { scene.part(state)? };
        let answer = std::mem::take(&mut state.due.answer);
        let nothing = composed.resources.is_empty() && composed.removed.is_empty();
        (answer || !nothing).then_some(composed)
    }

    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> DeltaDiscoveryResponse {
        let bytes = |resource: &Arc<Resource>| resource.delta_bytes();
        DeltaDiscoveryResponse {
            system_version_info: version.to_owned(),
            resources: composed.resources.iter().map(bytes).chain(composed.parts).collect(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
            removed_resources: composed.removed.iter().map(|name| name.as_ref().to_owned()).collect(),
        }
    }

    fn asked_names(request: &DeltaDiscoveryRequest, _: &mut Vec<String>) -> Vec<String> {
        request.resource_names_subscribe.clone()
    }

    fn nothing_of(request: &DeltaDiscoveryRequest, first: bool) -> Option<Composed> {
        let names = request.resource_names_subscribe.iter().filter(|name| *name != WILDCARD);
        let removed: Vec<Arc<str>> = names.map(|name| name.as_str().into()).collect();
        (first || !removed.is_empty()).then(|| Composed { removed, ..Composed::default() })
    }
}

/// The wildcard begins, or is asked for again: everything is sent, held or not, as with names (P6).
fn begin_wildcard(state: &mut TypeState, asked: &Asked<'_>) {
    let Some(view) = asked.view.filter(|_| state.rest != Rest::Nothing) else {
        state.subscription.set_wildcard(true);
        return;
    };
    // What is on its way to a client that has unsubscribed from it will look to it like a part of the wildcard.
    let on_its_way: Vec<_> = state.in_flight.iter().flat_map(InFlight::names).cloned().collect();
    for name in on_its_way.into_iter().filter(|name| !state.subscription.covers(name)) {
        let copy = ClientCopy { owed: Owed::Answer, ..ClientCopy::new(Has::Unknown, asked.update) };
        state.copies.insert(name, copy);
    }
    for resource in view.iter().filter(|resource| !resource.is_by_name_only()) {
        state.look_at(view, resource.name(), Owed::Answer, asked.update);
    }
    state.subscription.set_wildcard(true);
    state.due.most = Owed::Answer;
}

fn subscribe(state: &mut TypeState, asked: &Asked<'_>, given: Vec<String>) {
    let mut names = Vec::with_capacity(given.len());
    for name in given {
        state.subscription.note_named();
        match name.as_str() {
            "" => {}
            WILDCARD => begin_wildcard(state, asked),
            _ => {
                let known = asked.view.and_then(|view| view.get(&name));
                let name: Arc<str> = known.map_or_else(|| name.into(), |known| Arc::clone(known.name()));
                if let Some(view) = asked.view {
                    if known.is_none() {
                        state.missing.insert(Arc::clone(&name));
                    }
                    // Answered even if it is held or does not exist (P6, P7).
                    state.look_at(view, &name, Owed::Answer, asked.update);
                }
                names.push(name);
            }
        }
    }
    state.subscription.add(names, &asked.shared.lists);
}

fn unsubscribe(state: &mut TypeState, asked: &Asked<'_>, dropped: &[String]) {
    if dropped.iter().any(|name| name == WILDCARD) {
        state.subscription.set_wildcard(false);
        state.narrow();
    }
    let before = state.subscription.clone();
    // Of names that the client was not subscribed to, nothing is said (P9).
    let names = state.subscription.remove(dropped, &asked.shared.lists);
    names.iter().for_each(|name| _ = state.missing.remove(name));
    let Some(view) = asked.view.filter(|_| state.subscription.is_wildcard()) else {
        return state.drop_names(&names);
    };
    // The client may have dropped them, and the wildcard may still want them (P8).
    let after = std::mem::replace(&mut state.subscription, before);
    names.iter().for_each(|name| state.look_at(view, name, Owed::Answer, asked.update));
    state.subscription = after;
}

/// Envoy names no virtual hosts, but what it has from an earlier stream. pilot has no client ask for single ones: who
/// does gets them with all others of their routes.
fn ask_for_hosts(
    state: &mut TypeState,
    asked: &Asked<'_>,
    request: DeltaDiscoveryRequest,
) -> Result<(), Refusal> {
    let (given, dropped) = (request.resource_names_subscribe, request.resource_names_unsubscribe);
    let claims = request.initial_resource_versions;
    asked.allows(given.len().max(dropped.len()))?;
    let untold = asked.shared.untold.of(asked.scope, asked.kind);
    // What it has of virtual hosts was sent to it: a service has one in each route that leads to it. So there may be more
    // of them than names that a client may give, and the size of a request is what bounds them.
    parts::tell(state, claims, asked.view, &untold, asked.update);
    for name in given {
        let routes = read_part_name(&name).and_then(|(routes, _)| state.subscription.names().get(routes));
        if let Some((routes, view)) = routes.cloned().zip(asked.view) {
            parts::ask_again(state, view, &routes, asked.update);
        }
    }
    Ok(())
}
