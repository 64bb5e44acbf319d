//! The layer of proxies in one namespace: the names that only they use.
//!
//! All else is the base's. Routes in which such a name is are ropes of the base's virtual hosts and of those of the
//! namespace; gRPC clients get more listeners. A changed endpoint costs nothing here.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use pilot_registry::{Hostname, Namespace};

use super::base::{Base, Named};
use super::entrances::{LocalEntrances, RouteKey};
use super::step::{Failure, Failures, Step, attempt};
use crate::resources::{Layer, Patch, PerType, Resource, ResourceType, Rope, VirtualHost};

/// What proxies of one namespace see beside, and what it was made from.
#[derive(Clone, Debug)]
pub struct Audience {
    /// Who has names here.
    named: Named,
    entrances: OrdMap<Hostname, Arc<LocalEntrances>>,
    routes: OrdMap<RouteKey, Routes>,
    failures: Failures,
    layer: Arc<Layer>,
}

/// What a route configuration is put together from.
#[derive(Clone, Debug, Default)]
struct Routes {
    /// The virtual hosts of this namespace, by name.
    own: OrdMap<Arc<str>, Arc<VirtualHost>>,
    /// The base's route configuration that was there when it was put together last; `None` if its own virtual
    /// hosts have changed since.
    over: Option<Arc<Resource>>,
}

impl Audience {
    /// Follows a step, for which `base` is made already. `before`: what was there; `None` = nothing.
    pub(super) fn next(before: Option<&Self>, namespace: &Namespace, base: &Base, step: &Step) -> Self {
        let mut next = before.filter(|_| step.continues()).cloned().unwrap_or_else(|| Self {
            named: Named::new(),
            entrances: OrdMap::new(),
            routes: OrdMap::new(),
            failures: Failures::new(),
            layer: Arc::new(Layer::empty(step.generation, step.changed)),
        });
        let mut patches = PerType::<Patch>::default();
        next.update_entrances(namespace, base, &mut patches[ResourceType::Listener]);
        next.update_routes(base, &mut patches[ResourceType::Route]);
        let mut sets = next.layer.sets.clone();
        if patches.iter().fold(false, |changed, (kind, patch)| sets[kind].apply(patch) | changed) {
            next.layer = Arc::new(Layer::of(step.generation, step.changed, sets));
        }
        next
    }

    /// Whether nothing that it is made from differs in that base.
    pub(super) fn is_current(&self, namespace: &Namespace, base: &Base) -> bool {
        let same = |(key, routes): (&RouteKey, &Routes)| {
            let over = base.layer().sets[ResourceType::Route].get(&key.name());
            over.map(Arc::as_ptr) == routes.over.as_ref().map(Arc::as_ptr)
        };
        self.named.ptr_eq(&base.named(namespace)) && self.routes.iter().all(same)
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }

    /// The services whose translation failed.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Looks again at the services that are called or entered differently now.
    fn update_entrances(&mut self, namespace: &Namespace, base: &Base, listeners: &mut Patch) {
        let named = base.named(namespace);
        let context = base.context();
        let mut added = Vec::new();
        for host in changed(&self.named, &named) {
            let old = self.entrances.get(&host).cloned();
            let granted = named.get(&host).zip(base.service(&host));
            let made = attempt(|| {
                granted.map(|(entrances, service)| {
                    let new = LocalEntrances::new(service, &entrances.grants, namespace, &context);
                    Arc::new(new.reusing(old.as_deref()))
                })
            });
            let new = match made {
                Ok(new) => new,
                Err(why) => {
                    self.failures.insert(host, Failure { why, last: None });
                    continue;
                }
            };
            self.failures.remove(&host);
            self.entrances.remove(&host);
            if let Some(old) = old {
                listeners.extend(old.listeners.iter().map(|gone| (Arc::clone(gone.name()), None)));
                self.withdraw(&old, new.as_deref());
            }
            added.extend(new.map(|new| (host, new)));
        }
        // What one service lets go of, another may take.
        for (host, new) in added {
            let come = new.listeners.iter().map(|come| (Arc::clone(come.name()), Some(Arc::clone(come))));
            listeners.extend(come);
            self.enter(&new);
            self.entrances.insert(host, new);
        }
        self.named = named;
    }

    fn withdraw(&mut self, old: &LocalEntrances, new: Option<&LocalEntrances>) {
        for (at @ (key, _), virtual_host) in &old.virtual_hosts {
            if new.is_none_or(|new| !new.virtual_hosts.contains_key(at)) {
                let routes = self.routes.entry(*key).or_default();
                routes.own.remove(virtual_host.name());
                routes.over = None;
            }
        }
    }

    fn enter(&mut self, new: &LocalEntrances) {
        for ((key, _), virtual_host) in &new.virtual_hosts {
            let routes = self.routes.entry(*key).or_default();
            let before = routes.own.insert(Arc::clone(virtual_host.name()), Arc::clone(virtual_host));
            if before.as_ref() != Some(virtual_host) {
                routes.over = None;
            }
        }
    }

    /// Puts the route configurations together of which a virtual host changed, here or for all.
    fn update_routes(&mut self, base: &Base, patch: &mut Patch) {
        let keys: Vec<RouteKey> = self.routes.keys().copied().collect();
        for key in keys {
            let Some(routes) = self.routes.get_mut(&key) else { continue };
            let name = key.name();
            let over = base.layer().sets[ResourceType::Route].get(&name).filter(|_| !routes.own.is_empty());
            if over.is_some() && over.map(Arc::as_ptr) == routes.over.as_ref().map(Arc::as_ptr) {
                continue;
            }
            let made = over.and_then(|over| Some((over, over.rope()?)));
            let made = made.map(|(over, rope)| {
                let made = Resource::from_rope(
                    Arc::clone(over.name()),
                    extended(rope, routes),
                    over.origin().clone(),
                );
                let known = self.layer.sets[ResourceType::Route].get(&name).filter(|known| ***known == made);
                known.map_or_else(|| Arc::new(made), Arc::clone)
            });
            patch.insert(name.into(), made);
            routes.over = over.cloned();
            if routes.own.is_empty() {
                self.routes.remove(&key);
            }
        }
    }
}

/// The base's virtual hosts, and those of this namespace.
fn extended(base: &Rope, routes: &Routes) -> Rope {
    let mut rope = base.clone();
    routes.own.values().for_each(|own| rope.insert(Arc::clone(own)));
    rope
}

/// The hosts that are in one of both only, or with other entrances.
fn changed(old: &Named, new: &Named) -> BTreeSet<Hostname> {
    let host = |item: DiffItem<'_, '_, Hostname, _>| match item {
        DiffItem::Add(host, _) | DiffItem::Remove(host, _) | DiffItem::Update { old: (host, _), .. } => {
            host.clone()
        }
    };
    old.diff(new).map(host).collect()
}
