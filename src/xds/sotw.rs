//! State of the world: a request lists all names that the client wants, a response is the full state
//! (CDS, LDS) or any part of it (EDS, RDS).

use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::discovery::DiscoveryResponse;
use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;

use super::machine::{Composed, Limits, Refusal, RequestParts, Variant};
use super::subscription::WILDCARD;
use super::type_state::TypeState;
use crate::resources::{Resource, ResourceType, TypeSet};

/// State of the world.
#[derive(Debug)]
pub struct Sotw;

impl Variant for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;
    const NAME: &'static str = "sotw";
    const STALE_REQUESTS_COUNT: bool = false;

    fn parts(request: &DiscoveryRequest) -> RequestParts<'_> {
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
        request: DiscoveryRequest,
        set: Option<&TypeSet>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
        let first = !state.requested;
        let given = request.resource_names;
        if given.len() > limits.max_names {
            return Err(Refusal::TooManyNames { kind, names: given.len(), max: limits.max_names });
        }
        let subscription = &mut state.subscription;
        let everything = match given.is_empty() {
            true => kind.has_wildcard() && !subscription.was_named(),
            false => given.iter().any(|name| name == WILDCARD),
        };
        if !given.is_empty() {
            subscription.note_named();
        }
        if everything && !subscription.is_wildcard() {
            state.pending.everything = true;
            state.pending.answer = true;
        }
        let widened = replace_names(state, given, everything, set);
        if kind.has_wildcard() && (first || widened) {
            state.pending.answer = true;
        }
        Ok(())
    }

    fn compose(state: &mut TypeState, kind: ResourceType, set: &TypeSet, removals: bool) -> Option<Composed> {
        if kind.has_wildcard() { full_state(state, set, removals) } else { changed_part(state, set) }
    }

    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> DiscoveryResponse {
        let bytes = |resource: &Arc<Resource>| -> Bytes { resource.any_bytes().clone() };
        DiscoveryResponse {
            version_info: version.to_owned(),
            resources: composed.resources.iter().map(bytes).collect(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
        }
    }

    fn nothing_of(_request: &DiscoveryRequest) -> Composed {
        Composed::default()
    }
}

/// Brings the names to those given. Says whether there are new ones.
fn replace_names(state: &mut TypeState, given: Vec<String>, wildcard: bool, set: Option<&TypeSet>) -> bool {
    let narrowed = state.subscription.is_wildcard() && !wildcard;
    state.subscription.set_wildcard(wildcard);
    if !narrowed && same_names(state, &given) {
        return false;
    }
    let own = |name: String| match set.and_then(|set| set.get(&name)) {
        Some(resource) => Arc::clone(resource.name()),
        None => name.into(),
    };
    let wanted = given.into_iter().filter(|name| !name.is_empty() && name != WILDCARD);
    let mut names: Vec<Arc<str>> = wanted.map(own).collect();
    names.sort();
    names.dedup();
    let mut widened = false;
    for name in &names {
        if !state.subscription.has_name(name) {
            widened = true;
            state.pending.look_at(Arc::clone(name), false);
        }
    }
    state.subscription.replace(names);
    let subscription = &state.subscription;
    // What is wanted no longer is not kept up to date, so it is sent again when it is wanted again.
    state.held.retain(|held| subscription.wants(held));
    state.pending.names.retain(|name, _| wildcard || subscription.has_name(name));
    state.pending.removals.retain(|name| wildcard || subscription.has_name(name));
    state.pending.everything &= wildcard;
    widened
}

/// Whether the list is the same as before, as it is in most requests: they only acknowledge.
fn same_names(state: &TypeState, given: &[String]) -> bool {
    let wanted = given.iter().filter(|name| !name.is_empty() && *name != WILDCARD);
    let mut names: Vec<&str> = wanted.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let known = state.subscription.names();
    names.len() == known.len() && names.iter().zip(known).all(|(name, known)| **name == **known)
}

/// All that the client wants, if it is not what the client has. What is gone stays in it until it may be
/// removed.
fn full_state(state: &mut TypeState, set: &TypeSet, removals: bool) -> Option<Composed> {
    let answer = std::mem::take(&mut state.pending.answer);
    let forced = state.take_names(set).into_values().any(|forced| forced);
    let mut resources: Vec<Arc<Resource>> = if state.subscription.is_wildcard() {
        set.resources().iter().filter(|it| state.subscription.wants(it)).cloned().collect()
    } else {
        state.subscription.names().iter().filter_map(|name| set.get(name)).cloned().collect()
    };
    if removals {
        state.pending.removals.clear();
    } else if !state.pending.removals.is_empty() {
        let kept = state.pending.removals.iter().filter_map(|name| state.held.get(name)).cloned();
        resources.extend(kept);
        resources.sort_by(|a, b| a.name().cmp(b.name()));
        resources.dedup_by(|a, b| a.name() == b.name());
    }
    let fresh: Vec<_> = resources.iter().filter(|resource| !state.held.has(resource)).cloned().collect();
    let fewer = resources.len() < state.held.resources().len();
    if !answer && !forced && fresh.is_empty() && !fewer {
        return None;
    }
    state.held.replace(resources.clone());
    Some(Composed { resources, fresh, removed: Vec::new() })
}

/// Those of the client's names that changed. There is no way to say that one is gone.
fn changed_part(state: &mut TypeState, set: &TypeSet) -> Option<Composed> {
    state.pending.answer = false;
    state.pending.removals.clear();
    let mut composed = Composed::default();
    for (name, forced) in state.take_names(set) {
        let Some(resource) = state.visible(set, &name) else { continue };
        let fresh = !state.held.has(resource);
        if fresh {
            composed.fresh.push(Arc::clone(resource));
            state.held.insert(Arc::clone(resource));
        }
        if fresh || forced {
            composed.resources.push(Arc::clone(resource));
        }
    }
    (!composed.resources.is_empty()).then_some(composed)
}
