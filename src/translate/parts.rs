//! The layers of proxies that take route configurations in parts: listeners with routes of another name, and these
//! routes. Each is made from a layer below it, and says something of the routes that this one says something of.
//!
//! ```text
//!  Base            listener 127.0.0.1_80 ──► 80     a rope
//!  Parts           listener 127.0.0.1_80 ──► 80~v   a skeleton that nobody refuses, and the same rope as virtual hosts
//!  Audience        80     the namespace's rope; the listener only where everybody else has none
//!  AudienceParts   80~v   the same rope as virtual hosts; the skeleton where the audience has the listener
//! ```
//!
//! The other name lets a proxy that comes to take its routes in parts, or no longer does, change over by a listener
//! update, which Envoy makes without a gap. The whole routes stay in the view for as long as it has both.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::base::{Base, origin};
use super::context::TranslationContext;
use super::entrances::RouteKey;
use super::step::Step;
use super::{listeners, routes};
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType, in_parts};

/// Listeners and routes of proxies that take routes in parts, and what they were made from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The layer with the whole routes.
    over: Arc<Layer>,
    layer: Arc<Layer>,
}

impl Parts {
    /// Follows a step, for which `base`, and the layer with the whole routes, are made already. `before`: what was
    /// there; `None` = nothing.
    pub(super) fn next(before: Option<&Self>, base: &Base, over: &Arc<Layer>, step: &Step) -> Self {
        let nothing = || Arc::new(Layer::empty(step.generation, step.changed));
        let nothing = || Self { over: nothing(), layer: nothing() };
        let before = before.filter(|_| step.continues()).cloned().unwrap_or_else(nothing);
        let (mut sets, mut hidden) = (before.layer.sets.clone(), before.layer.hidden.clone());
        let (mut patches, mut changed) = (PerType::<Patch>::default(), false);
        for key in touched(&before.over, over) {
            put(key, base, over, &before.layer, &mut patches);
            let is_hidden = over.get(ResourceType::Route, &key.name()) == Some(None);
            for kind in [ResourceType::Route, ResourceType::VirtualHost] {
                let name: Arc<str> = in_parts(&key.name()).into();
                changed |= match is_hidden {
                    true => hidden[kind].insert(name).is_none(),
                    false => hidden[kind].remove(&name).is_some(),
                };
            }
        }
        changed = patches.iter().fold(changed, |changed, (kind, patch)| sets[kind].apply(patch) | changed);
        let layer = match changed {
            true => Arc::new(Layer { hidden, ..Layer::of(step.generation, step.changed, sets) }),
            false => before.layer,
        };
        Self { over: Arc::clone(over), layer }
    }

    /// Whether nothing differs in the layer that it is made from.
    pub(super) fn is_current(&self, over: &Arc<Layer>) -> bool {
        Arc::ptr_eq(&self.over, over)
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }
}

/// The routes of which two layers say different things, or of whose listeners.
fn touched(before: &Layer, now: &Layer) -> BTreeSet<RouteKey> {
    let routes = before.differing(now, ResourceType::Route).filter_map(|name| RouteKey::of(name));
    let listeners = before.differing(now, ResourceType::Listener);
    let both = listeners.flat_map(|name| [before, now].map(|layer| &layer.sets).map(|sets| (sets, name)));
    let listeners = both.filter_map(|(sets, name)| sets[ResourceType::Listener].get(name));
    let named = listeners.flat_map(|listener| listener.references());
    let named = named.filter(|(kind, _)| *kind == ResourceType::Route);
    routes.chain(named.filter_map(|(_, name)| RouteKey::of(name))).collect()
}

/// The virtual hosts of these routes, or that there is nothing to say of them. The listener, and what it has of the
/// routes, are where the whole routes have their listener: an audience has most of them from the base.
fn put(key: RouteKey, base: &Base, over: &Layer, known: &Layer, patches: &mut PerType<Patch>) {
    let TranslationContext { config_source: source, options, .. } = base.context();
    let whole = over.sets[ResourceType::Route].get(&key.name());
    let (listener, at) = base.listener(key);
    let at = whole.and_then(|_| over.sets[ResourceType::Listener].get(&listener)).and(at);
    let (listener, name): (Arc<str>, Arc<str>) = (listener.into(), in_parts(&key.name()).into());
    let own = at.map(|at| {
        let message = listeners::http(&listener, at, &name, source, options);
        let references = vec![(ResourceType::Route, Arc::clone(&name))];
        Resource::new(Arc::clone(&listener), &message, references, origin(key))
    });
    let skeleton = at.map(|_| {
        let skeleton = routes::skeleton(&name, matches!(key, RouteKey::Port(_)), source);
        let references = vec![(ResourceType::VirtualHost, Arc::clone(&name))];
        Resource::new(Arc::clone(&name), &skeleton, references, origin(key))
    });
    let hosts = whole.and_then(|whole| virtual_hosts(whole));
    for (kind, name, made) in [
        (ResourceType::Listener, &listener, own),
        (ResourceType::Route, &name, skeleton),
        (ResourceType::VirtualHost, &name, hosts),
    ] {
        let same = |made: &Resource| known.sets[kind].get(name).filter(|known| ***known == *made).cloned();
        let made = made.map(|made| same(&made).unwrap_or_else(|| Arc::new(made)));
        patches[kind].insert(Arc::clone(name), made);
    }
}

/// The virtual hosts of a route configuration, as who takes it in parts sees it.
fn virtual_hosts(whole: &Resource) -> Option<Resource> {
    let name: Arc<str> = in_parts(whole.name()).into();
    Some(Resource::from_rope(name, whole.rope()?.clone(), whole.origin().clone()))
}
