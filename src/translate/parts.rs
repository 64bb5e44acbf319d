//! The layer of proxies that take route configurations in parts: listeners with routes of another name, and these
//! routes.
//!
//! ```text
//!  Base    listener 127.0.0.1_80 ──► 80     a rope
//!  Parts   listener 127.0.0.1_80 ──► 80~v   a skeleton that nobody refuses, and the same rope as virtual hosts
//! ```
//!
//! The other name lets a proxy that comes to take its routes in parts, or no longer does, change over by a listener
//! update, which Envoy makes without a gap. The base's own routes stay in the view for as long as it has both.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::base::{Base, origin};
use super::entrances::RouteKey;
use super::step::Step;
use super::{listeners, routes};
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType, in_parts};

/// Listeners and routes of proxies that take routes in parts, and what they were made from.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The base's layer.
    over: Arc<Layer>,
    layer: Arc<Layer>,
}

impl Parts {
    /// Follows a step, for which `base` is made already. `before`: what was there; `None` = nothing.
    pub(super) fn next(before: Option<&Self>, base: &Base, step: &Step) -> Self {
        let over = Arc::clone(base.layer());
        let before = before.filter(|_| step.continues());
        let routes = &over.sets[ResourceType::Route];
        let names: BTreeSet<&Arc<str>> = match before {
            Some(before) => before.over.sets[ResourceType::Route].differing(routes).collect(),
            None => routes.iter().map(|routes| routes.name()).collect(),
        };
        let layer = || Arc::new(Layer::empty(step.generation, step.changed));
        let mut layer = before.map_or_else(layer, |before| Arc::clone(&before.layer));
        let mut patches = PerType::<Patch>::default();
        for key in names.into_iter().filter_map(|name| RouteKey::of(name)) {
            put(key, base, &layer, &mut patches);
        }
        let mut sets = layer.sets.clone();
        if patches.iter().fold(false, |changed, (kind, patch)| sets[kind].apply(patch) | changed) {
            layer = Arc::new(Layer::of(step.generation, step.changed, sets));
        }
        Self { over, layer }
    }

    /// Whether nothing that it is made from differs in that base.
    pub(super) fn is_current(&self, base: &Base) -> bool {
        Arc::ptr_eq(&self.over, base.layer())
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }
}

/// The listener of these routes, the routes, and their virtual hosts; or that they are gone.
fn put(key: RouteKey, base: &Base, known: &Layer, patches: &mut PerType<Patch>) {
    let name: Arc<str> = in_parts(&key.name()).into();
    let (listener, at) = base.listener(key);
    let whole = base.layer().sets[ResourceType::Route].get(&key.name());
    let Some((whole, at)) = whole.zip(at) else {
        patches[ResourceType::Listener].insert(listener.into(), None);
        patches[ResourceType::Route].insert(Arc::clone(&name), None);
        patches[ResourceType::VirtualHost].insert(name, None);
        return;
    };
    let mut put = |kind: ResourceType, made: Resource| {
        let known = known.sets[kind].get(made.name()).filter(|known| ***known == made).cloned();
        patches[kind].insert(Arc::clone(made.name()), Some(known.unwrap_or_else(|| Arc::new(made))));
    };
    let source = base.context().config_source;
    let message = listeners::http(&listener, at, &name, source);
    let references = vec![(ResourceType::Route, Arc::clone(&name))];
    put(ResourceType::Listener, Resource::new(listener.into(), &message, references, origin(key)));
    let skeleton = routes::skeleton(&name, matches!(key, RouteKey::Port(_)), source);
    let references = vec![(ResourceType::VirtualHost, Arc::clone(&name))];
    put(ResourceType::Route, Resource::new(Arc::clone(&name), &skeleton, references, origin(key)));
    patches[ResourceType::VirtualHost].insert(name, virtual_hosts(whole));
}

/// The virtual hosts of a route configuration, as who takes it in parts sees it.
pub(super) fn virtual_hosts(whole: &Resource) -> Option<Arc<Resource>> {
    let name: Arc<str> = in_parts(whole.name()).into();
    let rope = whole.rope()?.clone();
    Some(Arc::new(Resource::from_rope(name, rope, whole.origin().clone())))
}
