//! What differs for proxies of one namespace: additional names of services, and nothing else.
//!
//! All other resources are the common ones. Routes in which some service has such a name are replaced, and
//! gRPC clients get more listeners. A changed endpoint costs nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Hostname, Namespace, Port};

use super::common::World;
use super::entrances::{Entrances, LocalEntrances, RouteKey, VirtualHost};
use super::overlay::{Overlay, shared};
use super::routes::RouteConfiguration;
use crate::resources::{Patch, Resource, ResourceType, TypeSet, Types};

/// The services that clients of a namespace call by names of their own, by namespace.
#[derive(Debug, Default)]
pub(super) struct LocalNames(BTreeMap<Namespace, Arc<Named>>);

/// Those of one namespace. As long as it is one allocation, none of them is called or entered differently.
pub(super) type Named = BTreeMap<Hostname, Arc<Entrances>>;

impl LocalNames {
    /// Those of that namespace.
    pub(super) fn of(&self, namespace: &Namespace) -> Option<&Arc<Named>> {
        self.0.get(namespace)
    }

    /// Replaces a service's entrances.
    pub(super) fn replace(
        &mut self,
        host: &Hostname,
        old: Option<Arc<Entrances>>,
        new: Option<Arc<Entrances>>,
    ) {
        if old.as_ref().map(Arc::as_ptr) == new.as_ref().map(Arc::as_ptr) {
            return;
        }
        for namespace in old.iter().flat_map(|old| old.grants.local_names.keys()) {
            let Some(named) = self.0.get_mut(namespace) else { continue };
            Arc::make_mut(named).remove(host);
            if named.is_empty() {
                self.0.remove(namespace);
            }
        }
        let Some(new) = new else { return };
        for namespace in new.grants.local_names.keys() {
            let named = Arc::make_mut(self.0.entry(namespace.clone()).or_default());
            named.insert(host.clone(), Arc::clone(&new));
        }
    }
}

/// Translates one mesh after another for one namespace.
#[derive(Debug)]
pub(super) struct Local {
    namespace: Namespace,
    /// Who has names here, as it was.
    named: Option<Arc<Named>>,
    entrances: BTreeMap<Hostname, LocalEntrances>,
    routes: BTreeMap<RouteKey, Routes>,
    listeners: Overlay,
    route_configurations: Overlay,
}

/// What a route configuration is put together from.
#[derive(Debug, Default)]
struct Routes {
    /// The virtual hosts of this namespace.
    own: BTreeMap<(Hostname, Port), VirtualHost>,
    /// The common route configuration that was there when it was put together last; `None` if its own virtual
    /// hosts have changed since.
    over: Option<Arc<Resource>>,
}

impl Local {
    /// Knows nothing yet.
    pub(super) fn new(namespace: &Namespace) -> Self {
        Self {
            namespace: namespace.clone(),
            named: None,
            entrances: BTreeMap::new(),
            routes: BTreeMap::new(),
            listeners: Overlay::default(),
            route_configurations: Overlay::default(),
        }
    }

    /// What the mesh is in this namespace. `types`: what it is in none, of the same world.
    pub(super) fn translate(
        &mut self,
        world: &World,
        config_source: &core::ConfigSource,
        mut types: Types,
    ) -> Types {
        let named = world.named(&self.namespace);
        let same = named.map(Arc::as_ptr) == self.named.as_ref().map(Arc::as_ptr);
        if !same {
            self.update_entrances(named.cloned(), world, config_source);
        }
        let routes = &types[ResourceType::Route as usize];
        if !(same && self.route_configurations.is_over(routes)) {
            self.update_routes(routes);
        }
        for (kind, overlay) in [
            (ResourceType::Listener, &mut self.listeners),
            (ResourceType::Route, &mut self.route_configurations),
        ] {
            types[kind as usize] = overlay.over(&types[kind as usize]);
        }
        types
    }

    /// Looks again at the services that are called or entered differently now.
    fn update_entrances(
        &mut self,
        named: Option<Arc<Named>>,
        world: &World,
        config_source: &core::ConfigSource,
    ) {
        let changed = changed(self.named.as_deref(), named.as_deref());
        let context = world.context(config_source);
        let mut listeners = Patch::new();
        let mut added = Vec::new();
        for host in changed {
            let old = self.entrances.remove(&host);
            let granted = named.as_ref().and_then(|named| named.get(&host)).zip(world.service(&host));
            let new = granted.map(|(entrances, service)| {
                let new = LocalEntrances::new(service, &entrances.grants, &self.namespace, &context);
                new.reusing(old.as_ref())
            });
            if let Some(old) = old {
                listeners.extend(old.listeners.iter().map(|gone| (Arc::clone(gone.name()), None)));
                self.withdraw(&host, &old, new.as_ref());
            }
            added.extend(new.map(|new| (host, new)));
        }
        // What one service lets go of, another may take.
        for (host, new) in added {
            listeners
                .extend(new.listeners.iter().map(|come| (Arc::clone(come.name()), Some(Arc::clone(come)))));
            self.enter(&host, &new);
            self.entrances.insert(host, new);
        }
        self.listeners.apply(listeners);
        self.named = named;
    }

    fn withdraw(&mut self, host: &Hostname, old: &LocalEntrances, new: Option<&LocalEntrances>) {
        for at @ (key, port) in old.virtual_hosts.keys() {
            if new.is_none_or(|new| !new.virtual_hosts.contains_key(at)) {
                let routes = self.routes.entry(*key).or_default();
                routes.own.remove(&(host.clone(), *port));
                routes.over = None;
            }
        }
    }

    fn enter(&mut self, host: &Hostname, new: &LocalEntrances) {
        for ((key, port), virtual_host) in &new.virtual_hosts {
            let routes = self.routes.entry(*key).or_default();
            let before = routes.own.insert((host.clone(), *port), virtual_host.clone());
            if before.as_ref() != Some(virtual_host) {
                routes.over = None;
            }
        }
    }

    /// Puts the route configurations together of which a virtual host changed, here or for all.
    fn update_routes(&mut self, common: &Arc<TypeSet>) {
        let mut patch = Patch::new();
        for (key, routes) in &mut self.routes {
            let name = key.name();
            let over = common.get(&name).filter(|_| !routes.own.is_empty());
            if over.is_some() && over.map(Arc::as_ptr) == routes.over.as_ref().map(Arc::as_ptr) {
                continue;
            }
            let made = over.map(|over| {
                let known = self.route_configurations.get(&name);
                shared(extended(over, routes.own.values()), [known, None])
            });
            patch.insert(name.into(), made);
            routes.over = over.cloned();
        }
        self.routes.retain(|_, routes| !routes.own.is_empty());
        self.route_configurations.apply(patch);
    }
}

/// The common route configuration, and virtual hosts of this namespace: what is common is not kept twice.
fn extended<'a>(common: &Arc<Resource>, own: impl Iterator<Item = &'a VirtualHost>) -> Resource {
    let reference = |host: &VirtualHost| (ResourceType::Cluster, Arc::clone(&host.cluster));
    let (hosts, references) = own.map(|host| (host.bytes.clone(), reference(host))).unzip();
    Resource::extending(common, &RouteConfiguration::more(hosts), references)
}

/// The hosts that are in one of both only, or with other entrances.
fn changed(old: Option<&Named>, new: Option<&Named>) -> BTreeSet<Hostname> {
    let unlike = |one: Option<&Named>, other: Option<&Named>| {
        let differs = |(host, entrances): &(&Hostname, &Arc<_>)| {
            let others = other.and_then(|other| other.get(*host));
            others.is_none_or(|other| !Arc::ptr_eq(other, entrances))
        };
        let hosts = one.into_iter().flatten().filter(differs).map(|(host, _)| host.clone());
        hosts.collect::<BTreeSet<_>>()
    };
    let mut changed = unlike(old, new);
    changed.extend(unlike(new, old));
    changed
}
