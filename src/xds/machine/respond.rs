//! The next response of one type: what goes into it, and what is remembered of it until it is answered.

use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::Machine;
use crate::resources::{Resource, ResourceType, TypeView, View};
use crate::xds::client_copy::{Owed, Suspicion};
use crate::xds::composed::{Composed, Scene};
use crate::xds::in_flight::InFlight;
use crate::xds::type_state::{Rest, TypeState};
use crate::xds::variant::{Response, Variant};
use crate::xds::virtual_hosts;

impl<V: Variant> Machine<V> {
    pub(super) fn respond(&mut self, kind: ResourceType, view: &Arc<View>) -> Option<Response<V::Response>> {
        let state = &self.types[kind];
        let (due, busy) = (state.due, !state.in_flight.is_empty());
        let urgent = state.rest == Rest::Nothing || due.answer || due.most == Owed::Answer;
        let owes = due.most > Owed::Nothing || !state.trials.is_empty();
        if !state.requested || !(urgent || (owes && !busy)) {
            return None;
        }
        // The gate looks at the other types only.
        let mut state = std::mem::take(&mut self.types[kind]);
        self.order.hear(kind, &mut state, &self.types, view);
        let gate = self.order.gate(kind, &state, &self.types, view, &self.shared.partial_routes);
        let mut scene = Scene { kind, view, gate, update: self.updates, trial: false, busy };
        let composed = compose::<V>(&mut state, &mut scene);
        drop(scene);
        self.types[kind] = state;
        let is_nothing = |it: &Composed| {
            kind == ResourceType::VirtualHost && it.resources.is_empty() && it.items.is_empty()
        };
        self.send(kind, view, composed.filter(|it| !is_nothing(it))?)
    }

    fn send(
        &mut self,
        kind: ResourceType,
        view: &Arc<View>,
        mut composed: Composed,
    ) -> Option<Response<V::Response>> {
        self.nonces += 1;
        let (nonce, generation): (Box<str>, _) = (self.nonces.to_string().into(), view.generation());
        let (items, whole) = (std::mem::take(&mut composed.items), composed.whole.take());
        let fresh: Vec<Arc<Resource>> = match &whole {
            Some(_) => composed.resources.clone(),
            None => items.iter().filter_map(|(_, sent)| sent.clone()).collect(),
        };
        if kind == ResourceType::Cluster {
            let gone = items.iter().filter(|(_, sent)| sent.is_none());
            self.order.clusters_removed(&gone.map(|(name, _)| name).collect());
        }
        let state = &mut self.types[kind];
        if kind == ResourceType::VirtualHost {
            virtual_hosts::encode(state, &mut composed, whole.is_some());
        }
        let whole = whole.filter(|_| state.rest != Rest::Accepted);
        let flight = InFlight {
            nonce: nonce.clone(),
            version: Box::default(),
            generation,
            items,
            whole,
            forgotten: false,
        };
        state.in_flight.push_back(flight);
        state.last_nonce = Some(nonce.clone());
        let version = version(state, view.of(kind));
        if let Some(flight) = state.in_flight.back_mut() {
            flight.version.clone_from(&version);
        }
        self.order.sent(kind, &fresh, &mut self.types, view, (self.nonces, self.updates));
        let count = composed.resources.len() + composed.parts.len();
        let message = V::response(composed, kind.type_url(), &version, &nonce);
        Some(Response { kind: Some(kind), nonce, version, resources: count, generation, message })
    }
}

/// What the client is to be sent now: what is new, or the next trial, in turn.
fn compose<V: Variant>(state: &mut TypeState, scene: &mut Scene<'_>) -> Option<Composed> {
    for news in if state.due.trial_was_last { [true, false] } else { [false, true] } {
        let composed = match news {
            true => {
                scene.trial = false;
                V::compose(state, scene)
            }
            false if scene.busy || !begin_trial(state) => None,
            false => {
                scene.trial = true;
                V::compose(state, scene)
            }
        };
        if composed.is_some() {
            state.due.trial_was_last = !news;
            return composed;
        }
    }
    None
}

/// Puts the next group that may be to blame on trial. Says whether there is one.
fn begin_trial(state: &mut TypeState) -> bool {
    while let Some(group) = state.trials.pop() {
        let mut some = false;
        for name in group {
            if let Some(copy) = state.copies.get_mut(&name).filter(|it| it.suspicion == Suspicion::Waits) {
                copy.suspicion = Suspicion::OnTrial;
                some = true;
            }
        }
        if some {
            return true;
        }
    }
    false
}

/// The version of what the client is brought to: that of the view, if it is to have just that. Equal versions mean
/// equal content.
fn version(state: &TypeState, view: TypeView<'_>) -> Box<str> {
    let mut hash = Xxh3::new();
    let mut same = true;
    for (name, copy) in &state.copies {
        let there = state.visible(view, name);
        let sent = state.on_its_way(name).last();
        let latest = sent.unwrap_or_else(|| copy.has.resource());
        let version = |resource: Option<&Arc<Resource>>| resource.map_or("", |it| it.version()).to_owned();
        if version(latest) != version(there) {
            same = false;
            hash.update(name.as_bytes());
            hash.update(&[0]);
            hash.update(version(latest).as_bytes());
            hash.update(&[0]);
        }
    }
    if same {
        return view.version().into();
    }
    hash.update(view.version().as_bytes());
    format!("{:016x}", hash.digest()).into()
}
