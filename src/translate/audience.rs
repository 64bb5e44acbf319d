//! The layer of proxies in one namespace, or with labels that rules ask for: what they see otherwise than everybody.
//!
//! ```text
//!  sights of the namespace ──► overlays, by service ──┬──► clusters, listeners, names that are hidden
//!                                                     └──► routes: the base's virtual hosts, without and with others
//! ```
//!
//! All else is the base's. A change of what everybody sees alike costs nothing here, but for routes in which something is
//! otherwise: these are ropes of the base's virtual hosts.

mod tls;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use pilot_registry::{Hostname, ServiceId};

use super::base::{Base, empty_routes, origin};
use super::entrances::RouteKey;
use super::fallback;
use super::overlay::Overlay;
use super::sight::Sights;
use super::step::{FailedTranslation, Failures, Step, attempt};
use crate::proxy::Viewpoint;
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType, Rope, VirtualHost};
use tls::TlsListeners;

/// What proxies of one namespace see otherwise, and what it was made from.
#[derive(Clone, Debug)]
pub struct Audience {
    sights: Sights,
    overlays: OrdMap<ServiceId, Arc<Overlay>>,
    /// What services have here.
    provided: PerType<OrdMap<Arc<str>, Arc<Resource>>>,
    /// Route configurations, and the listeners that have them; `None` = there is none here, whatever everybody has.
    shared: PerType<OrdMap<Arc<str>, Option<Arc<Resource>>>>,
    /// What everybody has, and nobody has here, unless it is provided or shared.
    withheld: PerType<OrdSet<Arc<str>>>,
    routes: OrdMap<RouteKey, Routes>,
    tls: TlsListeners,
    failures: Failures,
    layer: Arc<Layer>,
}

/// What a route configuration is put together from.
#[derive(Clone, Debug, Default)]
struct Routes {
    /// The virtual hosts that are there for all who see their service, by name.
    own: OrdMap<Arc<str>, Arc<VirtualHost>>,
    /// Those for names of this namespace.
    local: OrdMap<Arc<str>, Arc<VirtualHost>>,
    /// The base's virtual hosts that are not there.
    withheld: OrdSet<Arc<str>>,
    /// As they were put together last; `None` = not yet.
    made: Option<Rope>,
    /// The base's route configuration that was there then.
    over: Option<Arc<Resource>>,
    /// The virtual hosts that may be others since then.
    touched: OrdSet<Arc<str>>,
}

/// The names of which something else may be said now.
type TouchedResources = PerType<BTreeSet<Arc<str>>>;

impl Audience {
    /// Follows a step, for which `base` is made already. `before`: what was there; `None` = nothing.
    pub(super) fn next(before: Option<&Self>, viewpoint: &Viewpoint, base: &Base, step: &Step) -> Self {
        let mut next = before.filter(|_| step.continues()).cloned().unwrap_or_else(|| Self {
            sights: Sights::new(),
            overlays: OrdMap::new(),
            provided: PerType::default(),
            shared: PerType::default(),
            withheld: PerType::default(),
            routes: OrdMap::new(),
            tls: TlsListeners::default(),
            failures: Failures::new(),
            layer: Arc::new(Layer::empty(step.generation, step.changed)),
        });
        let mut touched = TouchedResources::default();
        next.update_overlays(viewpoint, base, &mut touched);
        next.update_routes(base, &mut touched);
        for name in next.tls.update(base) {
            touched[ResourceType::Listener].insert(name);
        }
        next.apply(&touched, step);
        next
    }

    /// Whether nothing that it is made from differs in that base.
    pub(super) fn is_current(&self, viewpoint: &Viewpoint, base: &Base) -> bool {
        let same = |(key, routes): (&RouteKey, &Routes)| {
            let over = base.layer().sets[ResourceType::Route].get(&key.name());
            over.map(Arc::as_ptr) == routes.over.as_ref().map(Arc::as_ptr)
        };
        let sights = base.sights(viewpoint);
        (self.sights.ptr_eq(&sights) || self.sights == sights)
            && self.routes.iter().all(same)
            && self.tls.is_current(base)
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }

    /// The services whose translation failed.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Looks again at the services that are seen differently now.
    fn update_overlays(&mut self, viewpoint: &Viewpoint, base: &Base, touched: &mut TouchedResources) {
        let sights = base.sights(viewpoint);
        let mut added = Vec::new();
        for id in changed(&self.sights, &sights) {
            let old = self.overlays.get(&id).cloned();
            let sight = sights.get(&id);
            let made = attempt(|| sight.map(|it| Overlay::new(&id, it, viewpoint, base, old.as_deref())));
            let new = match made {
                Ok(new) => new,
                Err(why) => {
                    self.failures.insert(id, FailedTranslation { why, last: None });
                    continue;
                }
            };
            self.failures.remove(&id);
            self.overlays.remove(&id);
            if let Some(old) = old {
                self.withdraw(&id.host, &old, touched);
            }
            added.extend(new.map(|new| (id, new)));
        }
        // What one service lets go of, another may take.
        for (id, new) in added {
            self.enter(&id.host, &new, touched);
            self.overlays.insert(id, Arc::new(new));
        }
        self.sights = sights;
    }

    fn withdraw(&mut self, host: &Hostname, old: &Overlay, touched: &mut TouchedResources) {
        for (kind, gone) in old.resources() {
            self.provided[kind].remove(gone.name());
            touched[kind].insert(Arc::clone(gone.name()));
        }
        for (kind, name) in &old.hidden.resources {
            self.withheld[*kind].remove(name);
            touched[*kind].insert(Arc::clone(name));
        }
        for ((key, _), host) in &old.virtual_hosts {
            self.routes(*key, host.name()).own.remove(host.name());
        }
        for ((key, _), host) in &old.local.virtual_hosts {
            self.routes(*key, host.name()).local.remove(host.name());
        }
        for (key, name) in &old.hidden.virtual_hosts {
            self.routes(*key, name).withheld.remove(name);
        }
        self.tls.withdraw(host, old);
    }

    fn enter(&mut self, host: &Hostname, new: &Overlay, touched: &mut TouchedResources) {
        for (kind, come) in new.resources() {
            self.provided[kind].insert(Arc::clone(come.name()), Arc::clone(come));
            touched[kind].insert(Arc::clone(come.name()));
        }
        for (kind, name) in &new.hidden.resources {
            self.withheld[*kind].insert(Arc::clone(name));
            touched[*kind].insert(Arc::clone(name));
        }
        for ((key, _), host) in &new.virtual_hosts {
            self.routes(*key, host.name()).own.insert(Arc::clone(host.name()), Arc::clone(host));
        }
        for ((key, _), host) in &new.local.virtual_hosts {
            self.routes(*key, host.name()).local.insert(Arc::clone(host.name()), Arc::clone(host));
        }
        for (key, name) in &new.hidden.virtual_hosts {
            self.routes(*key, name).withheld.insert(Arc::clone(name));
        }
        self.tls.enter(host, new);
    }

    /// Routes of which that virtual host is to be put in its place anew.
    fn routes(&mut self, key: RouteKey, host: &Arc<str>) -> &mut Routes {
        let routes = self.routes.entry(key).or_default();
        routes.touched.insert(Arc::clone(host));
        routes
    }

    /// Puts the route configurations together of which a virtual host changed, here or for all.
    fn update_routes(&mut self, base: &Base, touched: &mut TouchedResources) {
        let keys: Vec<RouteKey> = self.routes.keys().copied().collect();
        for key in keys {
            let Some(mut routes) = self.routes.get(&key).cloned() else { continue };
            let (name, (listener, at)) = (key.name(), base.listener(key));
            let over = base.layer().sets[ResourceType::Route].get(&name);
            let is_same = over.map(Arc::as_ptr) == routes.over.as_ref().map(Arc::as_ptr);
            if is_same && routes.touched.is_empty() {
                continue;
            }
            let rope = at.filter(|_| !routes.is_empty()).map(|at| (routes.put_together(over, key, at), at));
            routes.over = over.cloned();
            let hidden = over.is_some().then_some(None);
            let (route, own) = match rope {
                // As everybody has them.
                None => (None, None),
                Some((None, _)) => (hidden.clone(), hidden),
                Some((Some(rope), at)) => {
                    let made = Resource::from_rope(name.as_str().into(), rope, origin(key));
                    let own = over.is_none().then(|| base.http_listener(key, at));
                    let own = own.map(|own| Some(self.known(ResourceType::Listener, own)));
                    (Some(Some(self.known(ResourceType::Route, made))), own)
                }
            };
            self.share(ResourceType::Route, name.into(), route, touched);
            self.share(ResourceType::Listener, listener.into(), own, touched);
            match routes.is_empty() {
                true => _ = self.routes.remove(&key),
                false => _ = self.routes.insert(key, routes),
            }
        }
    }

    fn share(
        &mut self,
        kind: ResourceType,
        name: Arc<str>,
        said: Option<Option<Arc<Resource>>>,
        touched: &mut TouchedResources,
    ) {
        match said {
            Some(said) => _ = self.shared[kind].insert(Arc::clone(&name), said),
            None => _ = self.shared[kind].remove(&name),
        }
        touched[kind].insert(name);
    }

    /// The resource as it is in the layer, if it is the same.
    fn known(&self, kind: ResourceType, made: Resource) -> Arc<Resource> {
        let known = self.layer.sets[kind].get(made.name()).filter(|known| ***known == made);
        known.map_or_else(|| Arc::new(made), Arc::clone)
    }

    /// What is said of a name: a resource, that there is none, or nothing.
    fn said(&self, kind: ResourceType, name: &Arc<str>) -> Option<Option<Arc<Resource>>> {
        let own = self.provided[kind].get(name).map(|it| Some(Arc::clone(it)));
        let tls = (kind == ResourceType::Listener).then(|| self.tls.said(name)).flatten();
        let shared = [tls, self.shared[kind].get(name).cloned()];
        // Of two kinds of listeners at one address, the one that is there counts.
        let there = shared.iter().flatten().find(|said| said.is_some()).cloned();
        let is_withheld = shared.iter().any(Option::is_some) || self.withheld[kind].contains(name);
        own.or(there).or_else(|| is_withheld.then_some(None))
    }

    fn apply(&mut self, touched: &TouchedResources, step: &Step) {
        let (mut sets, mut hidden) = (self.layer.sets.clone(), self.layer.hidden.clone());
        let mut changed = false;
        for (kind, names) in touched.iter() {
            let mut patch = Patch::new();
            for name in names {
                let said = self.said(kind, name);
                match said {
                    Some(None) => changed |= hidden[kind].insert(Arc::clone(name)).is_none(),
                    _ => changed |= hidden[kind].remove(name).is_some(),
                }
                patch.insert(Arc::clone(name), said.flatten());
            }
            changed |= sets[kind].apply(&patch);
        }
        if changed {
            self.layer = Arc::new(Layer { hidden, ..Layer::of(step.generation, step.changed, sets) });
        }
    }
}

impl Routes {
    /// Whether they are as everybody has them.
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.local.is_empty() && self.withheld.is_empty()
    }

    /// The virtual hosts, for a listener there; `None` = there is none, and so no listener. Costs what differs from
    /// what was put together last.
    fn put_together(&mut self, over: Option<&Arc<Resource>>, key: RouteKey, at: SocketAddr) -> Option<Rope> {
        let (none, now) = (empty_routes(key), over.and_then(|over| over.rope()));
        let now = now.unwrap_or(&none);
        let before = self.over.as_ref().and_then(|over| over.rope());
        let (before, mut rope) = match &self.made {
            Some(made) => (before.unwrap_or(&none), made.clone()),
            None => (now, now.clone()),
        };
        let changes = now.changes_since(before);
        let changed = changes.iter().filter_map(|change| change.name());
        for name in changed.chain(&self.touched) {
            match self.host(name, now) {
                Some(host) => rope.insert(Arc::clone(host)),
                None => rope.remove(name),
            }
        }
        self.put_fallback(&mut rope, now, key, at);
        (self.made, self.touched) = (Some(rope.clone()), OrdSet::new());
        (!rope.is_empty() || key == RouteKey::HttpListen).then_some(rope)
    }

    /// The virtual host of that name, where the base has these.
    fn host<'a>(&'a self, name: &Arc<str>, base: &'a Rope) -> Option<&'a Arc<VirtualHost>> {
        let everybodys = || base.get(name).filter(|_| !self.withheld.contains(name));
        self.local.get(name).or_else(|| self.own.get(name)).or_else(everybodys)
    }

    fn put_fallback(&self, rope: &mut Rope, base: &Rope, key: RouteKey, at: SocketAddr) {
        // Further names of services change nothing for those who name none.
        let is_alike = self.own.is_empty() && self.withheld.is_empty();
        let last = rope.get(fallback::NAME).cloned();
        rope.remove(fallback::NAME);
        let made = match is_alike {
            true => base.get(fallback::NAME).cloned(),
            false => fallback::virtual_host(at, key.ignores_port(), rope).map(Arc::new),
        };
        if let Some(made) = made {
            rope.insert(last.filter(|last| *last == made).unwrap_or(made));
        }
    }
}

/// The services that are in one of both only, or seen otherwise.
fn changed(old: &Sights, new: &Sights) -> BTreeSet<ServiceId> {
    let id = |item: DiffItem<'_, '_, ServiceId, _>| match item {
        DiffItem::Add(id, _) | DiffItem::Remove(id, _) | DiffItem::Update { old: (id, _), .. } => id.clone(),
    };
    old.diff(new).map(id).collect()
}
