//! The resources that all proxies share, wherever they are. Keeps the translation of each service, so that a
//! change costs only what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::listener::v3::Listener;
use pilot_registry::{Hostname, Locality, Namespace, Port};

use super::changes::{Change, changes};
use super::claims::Ledger;
use super::conflict::Conflict;
use super::entrances::{Entrances, RouteKey, VirtualHost};
use super::fragment::{Backends, Context};
use super::local::{LocalNames, Named};
use super::{Translation, fallback, listeners, names, routes, source};
use crate::catalog::CatalogService;
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{Role, Scope};
use crate::resources::{Patch, Resource, ResourceType, TypeSet, Types};

/// Translates one mesh after another for the proxies to which nothing is near. A resource that did not
/// change is the same allocation as before.
#[derive(Debug)]
pub(super) struct Common {
    scope: Scope,
    config_source: core::ConfigSource,
    world: Option<World>,
}

/// What is known of the last mesh.
#[derive(Debug)]
pub(super) struct World {
    options: MeshOptions,
    http_listen: Option<SocketAddr>,
    services: Arc<Vec<Arc<CatalogService>>>,
    ledger: Ledger,
    fragments: BTreeMap<Hostname, Fragment>,
    routes: BTreeMap<RouteKey, BTreeMap<(Hostname, Port), VirtualHost>>,
    local_names: LocalNames,
    /// The hosts whose fragments report conflicts.
    conflicted: BTreeSet<Hostname>,
    types: Types,
    conflicts: Arc<[Conflict]>,
}

#[derive(Debug)]
struct Fragment {
    service: Arc<CatalogService>,
    backends: Arc<Backends>,
    entrances: Arc<Entrances>,
}

/// What one translation changes.
#[derive(Default)]
struct Work {
    patches: [Patch; 4],
    routes: BTreeSet<RouteKey>,
    conflicts: bool,
}

/// Where routers serve every HTTP service; nowhere for others.
pub(super) fn http_listen(scope: &Scope, options: &MeshOptions) -> Option<SocketAddr> {
    options.http_listen.filter(|_| scope.role == Role::Router)
}

impl Common {
    /// Knows nothing yet.
    pub(super) fn new(scope: &Scope) -> Self {
        let scope = scope.common();
        Self { config_source: source::config_source(&scope.config_source), scope, world: None }
    }

    /// Where this client gets the resources that others refer to.
    pub(super) fn config_source(&self) -> &core::ConfigSource {
        &self.config_source
    }

    /// What is known of the mesh that was translated last.
    pub(super) fn world(&self) -> Option<&World> {
        self.world.as_ref()
    }

    /// Translates a mesh.
    pub(super) fn translate(&mut self, mesh: &Mesh) -> Translation {
        let mut work = Work::default();
        let world = match self.world.take() {
            Some(world) if world.options == mesh.options => self.world.insert(world),
            _ => {
                // These are written even if no service is in them.
                work.routes.insert(RouteKey::HttpListen);
                work.conflicts = true;
                self.world.insert(World::new(&self.scope, &mesh.options))
            }
        };
        let changes = changes(&world.services, mesh.catalog.shared_services());
        if !changes.is_empty() {
            world.update_services(&changes, &self.config_source, &mut work);
            world.services = Arc::clone(mesh.catalog.shared_services());
        }
        world.update_routes(&self.config_source, &mut work);
        world.apply(&work);
        Translation { types: world.types.clone(), conflicts: Arc::clone(&world.conflicts) }
    }
}

impl World {
    fn new(scope: &Scope, options: &MeshOptions) -> Self {
        let http_listen = http_listen(scope, options);
        Self {
            options: options.clone(),
            http_listen,
            services: Arc::default(),
            ledger: Ledger::new(http_listen),
            fragments: BTreeMap::new(),
            routes: BTreeMap::new(),
            local_names: LocalNames::default(),
            conflicted: BTreeSet::new(),
            types: std::array::from_fn(|_| Arc::new(TypeSet::new([]))),
            conflicts: Arc::default(),
        }
    }

    fn update_services(&mut self, changes: &[Change], config_source: &core::ConfigSource, work: &mut Work) {
        let mut next: BTreeMap<Hostname, Option<Arc<CatalogService>>> = BTreeMap::new();
        let mut affected = BTreeSet::new();
        for Change { old, new } in changes {
            next.extend(old.iter().chain(new).next().map(|any| (any.host().clone(), new.clone())));
            let (old, new) = (old.as_deref(), new.as_deref());
            work.conflicts |= self.ledger.replace_endpoints(old, new, &mut affected);
            if !old.zip(new).is_some_and(|(old, new)| same_claims(old, new)) {
                self.ledger.replace(old, new, &self.options, &mut affected);
                work.conflicts = true;
            }
        }
        for host in affected {
            let known = self.fragments.get(&host).map(|fragment| Arc::clone(&fragment.service));
            next.entry(host).or_insert(known);
        }
        // First all that goes, then all that comes: what one service lets go of, another may take.
        let mut added = Vec::new();
        for (host, service) in next {
            let old = self.fragments.remove(&host);
            let new = service.map(|service| self.fragment(service, old.as_ref(), config_source));
            self.withdraw(&host, old.as_ref(), new.as_ref(), work);
            let entrances =
                |fragment: Option<&Fragment>| fragment.map(|fragment| Arc::clone(&fragment.entrances));
            self.local_names.replace(&host, entrances(old.as_ref()), entrances(new.as_ref()));
            added.extend(new.map(|new| (host, old, new)));
        }
        for (host, old, new) in added {
            self.enter(&host, old.as_ref(), &new, work);
            self.fragments.insert(host, new);
        }
    }

    /// What services are translated with where nothing is near.
    pub(super) fn context<'a>(&'a self, config_source: &'a core::ConfigSource) -> Context<'a> {
        const NOWHERE: &Locality =
            &Locality { region: String::new(), zone: String::new(), sub_zone: String::new() };
        let (options, http_listen) = (&self.options, self.http_listen);
        Context { options, config_source, http_listen, locality: NOWHERE }
    }

    /// Who has names of its own in that namespace.
    pub(super) fn named(&self, namespace: &Namespace) -> Option<&Arc<Named>> {
        self.local_names.of(namespace)
    }

    /// The service of that host.
    pub(super) fn service(&self, host: &Hostname) -> Option<&CatalogService> {
        self.fragments.get(host).map(|fragment| &*fragment.service)
    }

    /// Translates a service, as far as it is not the same as before.
    fn fragment(
        &self,
        service: Arc<CatalogService>,
        old: Option<&Fragment>,
        config_source: &core::ConfigSource,
    ) -> Fragment {
        let context = self.context(config_source);
        let backends = match old.filter(|old| Arc::ptr_eq(&old.service, &service)) {
            Some(old) => Arc::clone(&old.backends),
            None => {
                let old = old.map(|old| &*old.backends);
                Arc::new(Backends::new(&service, &context).reusing(old))
            }
        };
        let grants = self.ledger.grants(&service, &self.options);
        let same = |old: &&Fragment| old.entrances.grants == grants && same_claims(&old.service, &service);
        let entrances = match old.filter(same) {
            Some(old) => Arc::clone(&old.entrances),
            None => {
                let old = old.map(|old| &*old.entrances);
                Arc::new(Entrances::new(&service, grants, &context).reusing(old))
            }
        };
        Fragment { service, backends, entrances }
    }

    fn withdraw(&mut self, host: &Hostname, old: Option<&Fragment>, new: Option<&Fragment>, work: &mut Work) {
        for (kind, old) in old.into_iter().flat_map(Fragment::resources) {
            let stays = new.into_iter().flat_map(Fragment::resources);
            if !stays.into_iter().any(|(other, new)| other == kind && new.name() == old.name()) {
                work.patches[kind as usize].insert(Arc::clone(old.name()), None);
            }
        }
        for (key, port) in old.into_iter().flat_map(|old| old.entrances.virtual_hosts.keys()) {
            if new.is_none_or(|new| !new.entrances.virtual_hosts.contains_key(&(*key, *port))) {
                work.routes.insert(*key);
                self.routes.entry(*key).or_default().remove(&(host.clone(), *port));
            }
        }
        if new.is_none_or(|new| new.conflicts().next().is_none()) {
            work.conflicts |= self.conflicted.remove(host);
        }
    }

    fn enter(&mut self, host: &Hostname, old: Option<&Fragment>, new: &Fragment, work: &mut Work) {
        for (kind, new) in new.resources() {
            let known = old.into_iter().flat_map(Fragment::resources);
            if !known.into_iter().any(|(other, old)| other == kind && Arc::ptr_eq(old, new)) {
                work.patches[kind as usize].insert(Arc::clone(new.name()), Some(Arc::clone(new)));
            }
        }
        for (at @ (key, port), virtual_host) in &new.entrances.virtual_hosts {
            if old.and_then(|old| old.entrances.virtual_hosts.get(at)) != Some(virtual_host) {
                work.routes.insert(*key);
                self.routes.entry(*key).or_default().insert((host.clone(), *port), virtual_host.clone());
            }
        }
        if new.conflicts().next().is_some() {
            self.conflicted.insert(host.clone());
            work.conflicts |= old.is_none_or(|old| !old.conflicts().eq(new.conflicts()));
        }
    }

    /// Puts the routes together in which a virtual host changed, and their listeners.
    fn update_routes(&mut self, config_source: &core::ConfigSource, work: &mut Work) {
        for key in std::mem::take(&mut work.routes) {
            let name = key.name();
            let (listener, at) = match key {
                RouteKey::Port(port) => {
                    let at = SocketAddr::new(self.options.bind, port.get());
                    (names::listener(at), Some(at))
                }
                RouteKey::HttpListen => (names::HTTP_LISTEN.to_owned(), self.http_listen),
            };
            let any = self.routes.get(&key).is_some_and(|hosts| !hosts.is_empty());
            match at.filter(|_| any || key == RouteKey::HttpListen) {
                Some(at) => {
                    let listener = listeners::http(&listener, at, &name, config_source);
                    self.put(ResourceType::Listener, http_listener(&listener, &name), work);
                    self.put(ResourceType::Route, self.route_configuration(key, at), work);
                }
                None => {
                    self.routes.remove(&key);
                    self.drop_unless_taken(ResourceType::Listener, &listener, work);
                    self.drop_unless_taken(ResourceType::Route, &name, work);
                }
            }
        }
    }

    /// The routes of a listener there: the services, and what all other hosts get.
    fn route_configuration(&self, key: RouteKey, at: SocketAddr) -> Resource {
        let hosts = self.routes.get(&key).unwrap_or(const { &BTreeMap::new() });
        let bytes = hosts.values().map(|host| host.bytes.clone());
        let virtual_hosts = bytes.chain(fallback::virtual_host(at, hosts)).collect();
        let references = hosts.values().map(|host| (ResourceType::Cluster, Arc::clone(&host.cluster)));
        let ignore_port = matches!(key, RouteKey::Port(_));
        let routes = routes::RouteConfiguration::new(&key.name(), virtual_hosts, ignore_port);
        Resource::new(key.name().into(), &routes, references.collect(), false)
    }

    fn put(&self, kind: ResourceType, resource: Resource, work: &mut Work) {
        let known = self.types[kind as usize].get(resource.name()).filter(|known| ***known == resource);
        let resource = known.map_or_else(|| Arc::new(resource), Arc::clone);
        work.patches[kind as usize].insert(Arc::clone(resource.name()), Some(resource));
    }

    /// A service may have taken the name over.
    fn drop_unless_taken(&self, kind: ResourceType, name: &str, work: &mut Work) {
        if self.types[kind as usize].get(name).is_some() {
            work.patches[kind as usize].entry(name.into()).or_insert(None);
        }
    }

    fn apply(&mut self, work: &Work) {
        for (set, patch) in self.types.iter_mut().zip(&work.patches) {
            apply(set, patch);
        }
        if work.conflicts {
            let fragments = self.conflicted.iter().filter_map(|host| self.fragments.get(host));
            let own = fragments.flat_map(Fragment::conflicts).cloned();
            let mut conflicts: Vec<_> = self.ledger.conflicts().chain(own).collect();
            conflicts.sort();
            conflicts.dedup();
            if *self.conflicts != *conflicts {
                self.conflicts = conflicts.into();
            }
        }
    }
}

impl Fragment {
    fn resources(&self) -> impl Iterator<Item = (ResourceType, &Arc<Resource>)> {
        let clusters = self.backends.clusters.iter().map(|resource| (ResourceType::Cluster, resource));
        let endpoints = self.backends.endpoints.iter().map(|resource| (ResourceType::Endpoint, resource));
        let listeners = self.entrances.listeners.iter().map(|resource| (ResourceType::Listener, resource));
        clusters.chain(endpoints).chain(listeners)
    }

    fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.backends.conflicts.iter().chain(&self.entrances.conflicts)
    }
}

/// Patches a set, if that makes it another one.
pub(super) fn apply(set: &mut Arc<TypeSet>, patch: &Patch) {
    if patch.iter().any(|(name, new)| !set.get(name).map_or(new.is_none(), |old| is(new, old))) {
        *set = Arc::new(set.patched(patch));
    }
}

fn is(new: &Option<Arc<Resource>>, old: &Arc<Resource>) -> bool {
    new.as_ref().is_some_and(|new| Arc::ptr_eq(new, old))
}

/// Whether two states of a service claim the same, and are entered in the same way.
fn same_claims(a: &CatalogService, b: &CatalogService) -> bool {
    a.parts()[0].priority == b.parts()[0].priority
        && a.lead().resolution == b.lead().resolution
        && a.ports() == b.ports()
        && a.aliases() == b.aliases()
        && a.local_names() == b.local_names()
        && a.virtual_addresses() == b.virtual_addresses()
}

fn http_listener(listener: &Listener, routes: &str) -> Resource {
    let references = vec![(ResourceType::Route, routes.into())];
    Resource::new(listener.name.as_str().into(), listener, references, false)
}
