//! State of the world: a request lists all names that the client wants, a response is the full state
//! (CDS, LDS) or any part of it (EDS, RDS).

mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::discovery::DiscoveryResponse;
use pilot_envoy_api::envoy::config::endpoint::v3::ClusterLoadAssignment;

pub use request::StateRequest;

use super::client_copy::{ClientCopy, Has, Owed, Suspicion};
use super::composed::{Act, Composed, Scene};
use super::subscription::{Subscription, WILDCARD};
use super::type_state::{Rest, TypeState};
use super::variant::{Asked, Refusal, RequestParts, Variant};
use crate::resources::{Origin, Resource, ResourceType};

/// State of the world.
#[derive(Debug)]
pub struct Sotw;

impl Variant for Sotw {
    type Request = StateRequest;
    type Response = DiscoveryResponse;
    const NAME: &'static str = "sotw";
    const STALE_REQUESTS_COUNT: bool = false;

    fn parts(StateRequest { rest: request, .. }: &StateRequest) -> RequestParts<'_> {
        RequestParts {
            node: request.node.as_ref(),
            type_url: &request.type_url,
            nonce: &request.response_nonce,
            error: request.error_detail.as_ref(),
        }
    }

    fn longest_name(request: &StateRequest) -> usize {
        request.names.longest
    }

    fn subscribe(state: &mut TypeState, asked: &Asked<'_>, request: StateRequest) -> Result<(), Refusal> {
        let StateRequest { rest: request, names } = request;
        asked.allows(names.count)?;
        asked.allows_bytes(std::iter::once(names.bytes))?;
        // An empty nonce in mid-stream: the client begins anew (P2a). One that has never answered may only not have
        // read the first response yet.
        let anew = request.response_nonce.is_empty() && state.answered;
        if !state.requested {
            state.brought.unsaid = !request.version_info.is_empty();
        }
        // As in most requests: they only acknowledge.
        let listed = Some(names.hash());
        if state.listed == listed && !anew {
            return Ok(());
        }
        state.listed = listed;
        let (kind, given) = (asked.kind, names.decoded());
        let was_named = state.subscription.was_named() && !anew;
        let everything = match given.is_empty() {
            true => kind.has_wildcard() && !was_named,
            false => given.iter().any(|name| name == WILDCARD),
        };
        if anew {
            state.subscription = Subscription::default();
            // What it had, it may have forgotten; what is on its way is told of once more.
            state.copies.clear();
            (state.rest, state.due, state.trials) = (Rest::Nothing, Default::default(), Vec::new());
            state.in_flight.clear();
            state.answered = false;
        }
        if !given.is_empty() {
            state.subscription.note_named();
        }
        let begun = everything && !state.subscription.is_wildcard();
        let widened = replace_names(state, asked, given, everything);
        // To be asked for something is to be answered with the full state, even if it is empty.
        state.due.answer |= begun || (kind.has_wildcard() && widened);
        Ok(())
    }

    fn compose(state: &mut TypeState, scene: &Scene<'_>) -> Option<Composed> {
        let full = scene.kind.has_wildcard();
        let composed = match (state.rest, full) {
            (Rest::Nothing, _) => Some(scene.first(state)?),
            (_, true) => full_state(state, scene),
            (_, false) => Some(scene.part(state)?),
        };
        let answer = std::mem::take(&mut state.due.answer) && full;
        let mut composed = composed?;
        let removed = std::mem::take(&mut composed.removed);
        if !full {
            gone(state, scene, removed, &mut composed);
        }
        let nothing = composed.resources.is_empty() && composed.items.is_empty();
        (answer || !nothing).then_some(composed)
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

    fn asked_names(StateRequest { names, .. }: &StateRequest, listed: &mut Vec<String>) -> Vec<String> {
        let now = names.decoded();
        let new = now.iter().filter(|name| !listed.contains(name)).cloned().collect();
        *listed = now;
        new
    }

    fn nothing_of(_request: &StateRequest, first: bool) -> Option<Composed> {
        first.then(Composed::default)
    }
}

/// Brings the names to those given. Says whether there are new ones, or everything is wanted now.
fn replace_names(state: &mut TypeState, asked: &Asked<'_>, given: Vec<String>, wildcard: bool) -> bool {
    let narrowed = state.subscription.is_wildcard() && !wildcard;
    let begun = wildcard && !state.subscription.is_wildcard();
    let same = same_names(&state.subscription, &given);
    if same && !narrowed && !begun {
        return false;
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut widened = false;
    if !same {
        let own = |name: String| match asked.view.and_then(|view| view.get(&name)) {
            Some(resource) => Arc::clone(resource.name()),
            None => name.into(),
        };
        let wanted = given.into_iter().filter(|name| !name.is_empty() && name != WILDCARD);
        names = wanted.map(own).collect();
        for name in &names {
            if state.subscription.has_name(name) {
                continue;
            }
            widened = true;
            let Some(view) = asked.view else { continue };
            // What it has by the wildcard it knows already.
            if view.get(name).is_none() {
                state.missing.insert(Arc::clone(name));
            } else if state.has(view, name).is_nothing() {
                state.look_at(view, name, Owed::Answer, asked.update);
            }
        }
    }
    if let Some(view) = asked.view.filter(|_| begun) {
        for resource in view.iter().filter(|resource| !resource.is_by_name_only()) {
            if state.has(view, resource.name()).is_nothing() {
                state.look_at(view, resource.name(), Owed::Answer, asked.update);
            }
        }
    }
    state.subscription.set_wildcard(wildcard);
    if !same {
        state.subscription.replace(names, &asked.shared.lists);
    }
    // What is wanted no longer is not kept up to date, so it is sent again when it is wanted again.
    state.narrow();
    widened
}

/// Whether the names are the same as before, perhaps in another order.
fn same_names(subscription: &Subscription, given: &[String]) -> bool {
    let known = || subscription.names().iter().map(|name| &**name);
    if given.iter().map(String::as_str).eq(known()) {
        return true;
    }
    let wanted = given.iter().filter(|name| !name.is_empty() && *name != WILDCARD);
    let mut names: Vec<&str> = wanted.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.len() == subscription.names().len() && names.into_iter().eq(known())
}

/// All that the client wants, if it is not what the client has. What is gone stays in it until it may be
/// removed; what may not be sent yet, or is refused, stays as it was.
fn full_state(state: &mut TypeState, scene: &Scene<'_>) -> Option<Composed> {
    let acts: BTreeMap<Arc<str>, Act> = scene.acts(state).into_iter().collect();
    let withheld = acts.values().any(|act| matches!(act, Act::Wait(true)));
    if withheld && state.due.answer && !scene.trial {
        // We do not know what the client has: what is not in its answer, it would remove.
        state.due.withheld = true;
        return None;
    }
    let says = |act: &Act| matches!(act, Act::Send(..) | Act::Remove);
    let speaks = state.due.answer || acts.values().any(says);
    for (name, act) in &acts {
        scene.note(state, name, act);
    }
    scene.note_due(state, withheld);
    if !speaks {
        return None;
    }
    let mut composed = Composed::default();
    let view = scene.view.of(scene.kind);
    for (name, copy) in &state.copies {
        let sent = match acts.get(name) {
            Some(Act::Send(resource, _)) => Some(Arc::clone(resource)),
            Some(Act::Remove) => None,
            _ => match state.on_its_way(name).last() {
                Some(sent) => sent.cloned(),
                None => stays(state, copy, state.visible(view, name)),
            },
        };
        composed.resources.extend(sent.clone());
        // Also what is on its way already is in it once more.
        let known = match &sent {
            Some(sent) => copy.has.is(sent) && !matches!(acts.get(name), Some(Act::Send(..))),
            None => copy.has.is_nothing() && copy.doubts.is_empty(),
        };
        if !known {
            composed.items.push((Arc::clone(name), sent));
        }
    }
    let others = state.subscription.resources(view).filter(|it| !state.copies.contains_key(it.name()));
    composed.resources.extend(others.cloned());
    composed.resources.sort_by(|a, b| a.name().cmp(b.name()));
    Some(composed)
}

/// What a full state says of a name that is not to change.
fn stays(state: &TypeState, copy: &ClientCopy, there: Option<&Arc<Resource>>) -> Option<Arc<Resource>> {
    match &copy.has {
        Has::This(has) => Some(Arc::clone(has)),
        // From an earlier stream it may have an older version, which is not to be taken from it. Where that is not
        // known, there is only the new one to be said in its place: the client does not use it, but for what it named.
        _ if state.brought.unsaid => {
            let is_named = copy.refused.as_ref().is_some_and(|refused| refused.named);
            let is_to_be_said = |there: &&Arc<Resource>| match copy.refuses(there) {
                true => is_named,
                false => matches!(copy.has, Has::Unknown) && copy.suspicion == Suspicion::None,
            };
            there.filter(is_to_be_said).cloned()
        }
        _ => None,
    }
}

/// Names of EDS and RDS that are gone: there is no word for that. What is gone may be forgotten, but a client that
/// was sent a cluster waits for its endpoints.
fn gone(state: &mut TypeState, scene: &Scene<'_>, removed: Vec<Arc<str>>, composed: &mut Composed) {
    for name in removed {
        if scene.kind == ResourceType::Endpoint && scene.gate.awaits(&name) {
            composed.resources.push(no_endpoints(Arc::clone(&name)));
            let said = composed.items.binary_search_by(|(known, _)| known.cmp(&name));
            said.map_or_else(|at| composed.items.insert(at, (Arc::clone(&name), None)), |_| ());
        } else {
            // What is there is refused, and that is to be remembered.
            if state.visible(scene.view.of(scene.kind), &name).is_none() {
                state.copies.remove(&name);
            }
            composed.items.retain(|(known, _)| *known != name);
        }
    }
    composed.resources.sort_by(|a, b| a.name().cmp(b.name()));
}

/// What a client is told of endpoints that it has to be answered about, because their cluster was sent, and
/// that are gone since. Envoy warms a cluster until its endpoints come, and takes no other cluster
/// meanwhile, for 15 s; state of the world has no other word for "none".
fn no_endpoints(cluster: Arc<str>) -> Arc<Resource> {
    let assignment = ClusterLoadAssignment { cluster_name: cluster.to_string(), ..Default::default() };
    Arc::new(Resource::new(cluster, &assignment, Vec::new(), Origin::Shared))
}
