//! State of the world: a request lists all names that the client wants, a response is the full state
//! (CDS, LDS) or any part of it (EDS, RDS).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::discovery::DiscoveryResponse;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use pilot_envoy_api::envoy::service::discovery::v3::DiscoveryRequest;

use super::composed::Composed;
use super::machine::{Limits, Refusal, RequestParts, Variant};
use super::order::Gate;
use super::subscription::WILDCARD;
use super::type_state::TypeState;
use crate::resources::{Origin, Resource, ResourceType, TypeView};

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

    fn longest_name(request: &DiscoveryRequest) -> usize {
        request.resource_names.iter().map(String::len).max().unwrap_or(0)
    }

    fn subscribe(
        state: &mut TypeState,
        kind: ResourceType,
        request: DiscoveryRequest,
        set: Option<TypeView<'_>>,
        limits: &Limits,
    ) -> Result<(), Refusal> {
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
        let begun = everything && !subscription.is_wildcard();
        let widened = replace_names(state, given, everything, set);
        state.pending.everything |= begun;
        // To be asked for something is to be answered with the full state, even if it is empty.
        state.pending.answer |= begun || (kind.has_wildcard() && widened);
        Ok(())
    }

    fn compose(
        state: &mut TypeState,
        kind: ResourceType,
        set: TypeView<'_>,
        gate: &Gate<'_>,
    ) -> Option<Composed> {
        if kind.has_wildcard() { full_state(state, set, gate) } else { changed_part(state, kind, set, gate) }
    }

    fn response(composed: Composed, type_url: &str, version: &str, nonce: &str) -> DiscoveryResponse {
        let bytes = |resource: &Arc<Resource>| -> Bytes { resource.any_bytes() };
        DiscoveryResponse {
            version_info: version.to_owned(),
            resources: composed.resources.iter().map(bytes).collect(),
            type_url: type_url.to_owned(),
            nonce: nonce.to_owned(),
        }
    }

    fn nothing_of(_request: &DiscoveryRequest, first: bool) -> Option<Composed> {
        first.then(Composed::default)
    }
}

/// Brings the names to those given. Says whether there are new ones.
fn replace_names(
    state: &mut TypeState,
    given: Vec<String>,
    wildcard: bool,
    set: Option<TypeView<'_>>,
) -> bool {
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
            if set.is_some_and(|set| set.get(name).is_none()) {
                state.missing.insert(Arc::clone(name));
            }
        }
    }
    state.subscription.replace(names);
    // What is wanted no longer is not kept up to date, so it is sent again when it is wanted again.
    state.narrow();
    widened
}

/// Whether the list is the same as before, as it is in most requests: they only acknowledge.
fn same_names(state: &TypeState, given: &[String]) -> bool {
    let in_order = given.iter().map(String::as_str).eq(state.subscription.names().iter().map(|name| &**name));
    if in_order {
        return true;
    }
    let wanted = given.iter().filter(|name| !name.is_empty() && *name != WILDCARD);
    let mut names: Vec<&str> = wanted.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let known = state.subscription.names();
    names.len() == known.len() && names.iter().zip(known).all(|(name, known)| **name == **known)
}

/// All that the client wants, if it is not what the client has. What is gone stays in it until it may be
/// removed; what may not be sent yet stays as it was.
fn full_state(state: &mut TypeState, set: TypeView<'_>, gate: &Gate<'_>) -> Option<Composed> {
    let mut composed = Composed::default();
    let mut withheld = BTreeSet::new();
    let mut changed = false;
    for resource in wanted(state, set) {
        let held = state.held.get(resource.name());
        let same = state.held.has(resource);
        if same || gate.may_send(resource) {
            changed |= !same;
            if !state.client_agrees(resource) {
                composed.fresh.push(Arc::clone(resource));
                composed.before.push((Arc::clone(resource.name()), held.cloned()));
            }
            composed.resources.push(Arc::clone(resource));
        } else {
            withheld.insert(Arc::clone(resource.name()));
            composed.resources.extend(held.cloned());
        }
    }
    state.withheld = !withheld.is_empty();
    if state.withheld && state.pending.answer {
        // We do not know what the client has: what is not in its first answer, it would remove.
        return None;
    }
    let kept: Vec<_> = state.pending.removals.iter().filter(|name| !gate.may_remove(name)).cloned().collect();
    for name in &kept {
        let held =
            state.held.get(name).filter(|_| set.get(name).is_none_or(|it| !state.subscription.wants(it)));
        composed.resources.extend(held.cloned());
    }
    composed.resources.sort_by(|a, b| a.name().cmp(b.name()));
    composed.partial = state.withheld || !kept.is_empty();
    let forced = state.take_names(set).into_iter().any(|(name, forced)| forced && !withheld.contains(&name));
    state.pending.names = withheld.into_iter().map(|name| (name, false)).collect();
    state.pending.removals = kept.into_iter().collect();
    let answer = std::mem::take(&mut state.pending.answer);
    let fewer = composed.resources.len() < state.held.resources().len();
    if !answer && !forced && !changed && !fewer {
        return None;
    }
    note_the_rest(state, &mut composed);
    state.held.replace(composed.resources.clone());
    Some(composed)
}

/// Also what is not in a full state changes by it, and what was rejected is in it once more.
fn note_the_rest(state: &TypeState, composed: &mut Composed) {
    let stays = |name: &str| composed.resources.binary_search_by(|it| it.name().as_ref().cmp(name)).is_ok();
    let gone = state.held.resources().iter().filter(|held| !stays(held.name()));
    let gone = gone.map(|held| (Arc::clone(held.name()), Some(Arc::clone(held))));
    let again = state.rejected.keys().map(|name| (Arc::clone(name), state.held.get(name).cloned()));
    let rest: Vec<_> = gone.chain(again).collect();
    composed.before.extend(rest);
}

fn wanted<'a>(state: &'a TypeState, set: TypeView<'a>) -> Box<dyn Iterator<Item = &'a Arc<Resource>> + 'a> {
    if state.subscription.is_wildcard() {
        Box::new(set.iter().filter(|resource| state.subscription.wants(resource)))
    } else {
        Box::new(state.subscription.names().iter().filter_map(move |name| set.get(name)))
    }
}

/// Those of the client's names that changed. There is no way to say that one is gone.
fn changed_part(
    state: &mut TypeState,
    kind: ResourceType,
    set: TypeView<'_>,
    gate: &Gate<'_>,
) -> Option<Composed> {
    state.pending.answer = false;
    let mut composed = Composed::default();
    composed.take_updates(state, set, gate);
    let gone: Vec<_> = state.pending.removals.iter().filter(|name| gate.may_remove(name)).cloned().collect();
    state.drop_names(&gone);
    if kind == ResourceType::Endpoint {
        let removed = std::mem::take(&mut composed.removed);
        composed.resources.extend(removed.into_iter().map(no_endpoints));
    }
    (!composed.resources.is_empty()).then_some(composed)
}

/// What a client is told of endpoints that it has to be answered about, because their cluster was sent, and
/// that are gone since. Envoy warms a cluster until its endpoints come, and takes no other cluster
/// meanwhile, for 15 s; state of the world has no other word for "none".
fn no_endpoints(cluster: Arc<str>) -> Arc<Resource> {
    let assignment = ClusterLoadAssignment { cluster_name: cluster.to_string(), ..Default::default() };
    Arc::new(Resource::new(cluster, &assignment, Vec::new(), Origin::Shared))
}
