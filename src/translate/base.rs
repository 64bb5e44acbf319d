//! The layer that all proxies of one role and config source share: clusters, listeners and routes of all services.
//!
//! ```text
//!  Step ──► ledger: who has which name, address and listener ──► grants
//!    └────► fragments: clusters and ways in of one service ◄───────┘
//!                └──► routes: ropes of virtual hosts ──► layer
//! ```
//!
//! A step costs what it touches. What it does not touch is shared with the base before, which stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Hostname, Namespace, Resolution, ServicePort};

use super::claims::Ledger;
use super::conflict::Conflict;
use super::context::{Context, Lens, NOWHERE};
use super::entrances::{Entrances, RouteKey, reuse};
use super::step::{Failure, Failures, Step, attempt};
use super::{clusters, fallback, listeners, names, reachable, routes, source};
use crate::catalog::{CatalogService, ServiceChange};
use crate::mesh::MeshOptions;
use crate::proxy::{ConfigSource, Role};
use crate::resources::{Layer, Origin, Patch, PerType, Resource, ResourceType, Rope};

/// The services that clients of a namespace call by names of their own.
pub(super) type Named = OrdMap<Hostname, Arc<Entrances>>;

/// What proxies of one role and config source share, and what it was made from.
#[derive(Clone, Debug)]
pub struct Base {
    options: MeshOptions,
    http_listen: Option<SocketAddr>,
    config_source: core::ConfigSource,
    ledger: Ledger,
    fragments: OrdMap<Hostname, Fragment>,
    routes: OrdMap<RouteKey, Rope>,
    local_names: OrdMap<Namespace, Named>,
    /// The hosts whose fragments report conflicts.
    conflicted: OrdSet<Hostname>,
    conflicts: Arc<[Conflict]>,
    failures: Failures,
    layer: Arc<Layer>,
}

/// What one service adds.
#[derive(Clone, Debug)]
struct Fragment {
    service: Arc<CatalogService>,
    clusters: Arc<[Arc<Resource>]>,
    misfits: Arc<[Conflict]>,
    entrances: Arc<Entrances>,
}

/// Translates a service, as far as it is not the same as before.
type Translate = fn(&Base, Arc<CatalogService>, Option<&Fragment>) -> Fragment;

/// What one step changes.
#[derive(Default)]
struct Work {
    patches: PerType<Patch>,
    routes: BTreeSet<RouteKey>,
    conflicts: bool,
}

/// A service that could not be translated.
struct Failed {
    host: Hostname,
    why: Arc<str>,
}

/// Where routers serve every HTTP service; nowhere for others.
pub(super) fn http_listen(role: Role, options: &MeshOptions) -> Option<SocketAddr> {
    options.http_listen.filter(|_| role == Role::Router)
}

impl Base {
    /// Follows a step. `before`: what was there; `None` = nothing.
    ///
    /// A service that cannot be translated stays as it was, and so does whatever it claims.
    pub(super) fn next(before: Option<&Self>, role: Role, source: &ConfigSource, step: &Step) -> Self {
        Self::next_with(before, role, source, step, Self::fragment)
    }

    fn next_with(
        before: Option<&Self>,
        role: Role,
        source: &ConfigSource,
        step: &Step,
        translate: Translate,
    ) -> Self {
        let before = before.filter(|_| step.continues());
        let changes = if before.is_some() { step.changes() } else { step.everything() };
        let mut failed = BTreeMap::<Hostname, Arc<str>>::new();
        loop {
            let mut work = Work::default();
            let mut next = before.cloned().unwrap_or_else(|| {
                // These are written even if no service is in them.
                work.routes.insert(RouteKey::HttpListen);
                work.conflicts = true;
                Self::empty(role, source, step)
            });
            let taken = changes.iter().filter(|it| it.host().is_some_and(|host| !failed.contains_key(host)));
            match next.update_services(taken, &failed, translate, &mut work) {
                Ok(()) => {
                    next.note_failures(changes, failed);
                    next.update_routes(&mut work);
                    next.apply(&work, step);
                    return next;
                }
                Err(Failed { host, why }) => _ = failed.insert(host, why),
            }
        }
    }

    fn empty(role: Role, source: &ConfigSource, step: &Step) -> Self {
        let options = step.mesh.options.clone();
        let http_listen = http_listen(role, &options);
        Self {
            options,
            http_listen,
            config_source: source::config_source(source),
            ledger: Ledger::new(http_listen),
            fragments: OrdMap::new(),
            routes: OrdMap::new(),
            local_names: OrdMap::new(),
            conflicted: OrdSet::new(),
            conflicts: Arc::default(),
            failures: Failures::new(),
            layer: Arc::new(Layer::empty(step.generation, step.changed)),
        }
    }

    /// Its resources.
    pub(super) fn layer(&self) -> &Arc<Layer> {
        &self.layer
    }

    /// What services claim and do not have.
    pub fn conflicts(&self) -> &Arc<[Conflict]> {
        &self.conflicts
    }

    /// The services whose translation failed.
    pub(super) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Who has names of its own in that namespace.
    pub(super) fn named(&self, namespace: &Namespace) -> Named {
        self.local_names.get(namespace).cloned().unwrap_or_default()
    }

    /// The service of that host.
    pub(super) fn service(&self, host: &Hostname) -> Option<&CatalogService> {
        self.fragments.get(host).map(|fragment| &*fragment.service)
    }

    /// What services are translated with.
    pub(super) fn context(&self) -> Context<'_> {
        let lens = Lens {
            http_listen: self.http_listen,
            locality: NOWHERE,
            serves_unhealthy: self.options.serves_unhealthy,
        };
        Context { options: &self.options, config_source: &self.config_source, lens }
    }

    fn note_failures(&mut self, changes: &[ServiceChange], failed: BTreeMap<Hostname, Arc<str>>) {
        for host in changes.iter().filter_map(ServiceChange::host) {
            self.failures.remove(host);
        }
        for (host, why) in failed {
            let last = self.fragments.get(&host).map(|fragment| Arc::clone(&fragment.service));
            self.failures.insert(host, Failure { why, last });
        }
    }

    fn update_services<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a ServiceChange>,
        failed: &BTreeMap<Hostname, Arc<str>>,
        translate: Translate,
        work: &mut Work,
    ) -> Result<(), Failed> {
        let mut next: BTreeMap<Hostname, Option<Arc<CatalogService>>> = BTreeMap::new();
        let mut affected = BTreeSet::new();
        for change in changes {
            let Some(host) = change.host() else { continue };
            next.insert(host.clone(), change.new.clone());
            // What was translated last may be older than what was there last.
            let old = self.fragments.get(host).map(|fragment| Arc::clone(&fragment.service));
            let (old, new) = (old.as_deref(), change.new.as_deref());
            work.conflicts |= self.ledger.replace_endpoints(old, new, &mut affected);
            if !old.zip(new).is_some_and(|(old, new)| same_claims(old, new)) {
                self.ledger.replace(old, new, &self.options, &mut affected);
                work.conflicts = true;
            }
        }
        for host in affected.into_iter().filter(|host| !failed.contains_key(host)) {
            let known = self.fragments.get(&host).map(|fragment| Arc::clone(&fragment.service));
            next.entry(host).or_insert(known);
        }
        // First all that goes, then all that comes: what one service lets go of, another may take.
        let mut added = Vec::new();
        for (host, service) in next {
            let old = self.fragments.remove(&host);
            let made = attempt(|| service.map(|service| translate(self, service, old.as_ref())));
            let new = made.map_err(|why| Failed { host: host.clone(), why })?;
            self.withdraw(&host, old.as_ref(), new.as_ref(), work);
            self.rename(&host, old.as_ref(), new.as_ref());
            added.extend(new.map(|new| (host, old, new)));
        }
        for (host, old, new) in added {
            self.enter(&host, old.as_ref(), &new, work);
            self.fragments.insert(host, new);
        }
        Ok(())
    }

    /// Translates a service, as far as it is not the same as before.
    fn fragment(&self, service: Arc<CatalogService>, old: Option<&Fragment>) -> Fragment {
        let context = self.context();
        let (clusters, misfits) = match old.filter(|old| Arc::ptr_eq(&old.service, &service)) {
            Some(old) => (Arc::clone(&old.clusters), Arc::clone(&old.misfits)),
            None => {
                let mut clusters: Vec<_> =
                    service.ports().iter().map(|port| Arc::new(cluster(&service, port, &context))).collect();
                if let Some(old) = old {
                    reuse(&mut clusters, &old.clusters);
                }
                (clusters.into(), reachable::misfits(&service, self.http_listen).into())
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
        Fragment { service, clusters, misfits, entrances }
    }

    fn withdraw(&mut self, host: &Hostname, old: Option<&Fragment>, new: Option<&Fragment>, work: &mut Work) {
        for (kind, old) in old.into_iter().flat_map(Fragment::resources) {
            let stays = new.into_iter().flat_map(Fragment::resources);
            if !stays.into_iter().any(|(other, new)| other == kind && new.name() == old.name()) {
                work.patches[kind].insert(Arc::clone(old.name()), None);
            }
        }
        for (at @ (key, _), virtual_host) in old.into_iter().flat_map(|old| &old.entrances.virtual_hosts) {
            if new.is_none_or(|new| !new.entrances.virtual_hosts.contains_key(at)) {
                work.routes.insert(*key);
                if let Some(rope) = self.routes.get_mut(key) {
                    rope.remove(virtual_host.name());
                }
            }
        }
        if new.is_none_or(|new| new.conflicts().next().is_none()) {
            work.conflicts |= self.conflicted.remove(host).is_some();
        }
    }

    fn enter(&mut self, host: &Hostname, old: Option<&Fragment>, new: &Fragment, work: &mut Work) {
        for (kind, new) in new.resources() {
            let known = old.into_iter().flat_map(Fragment::resources);
            if !known.into_iter().any(|(other, old)| other == kind && Arc::ptr_eq(old, new)) {
                work.patches[kind].insert(Arc::clone(new.name()), Some(Arc::clone(new)));
            }
        }
        for (at @ (key, _), virtual_host) in &new.entrances.virtual_hosts {
            let known = old.and_then(|old| old.entrances.virtual_hosts.get(at));
            if known.is_none_or(|known| !Arc::ptr_eq(known, virtual_host)) {
                work.routes.insert(*key);
                let rope = self.routes.entry(*key).or_insert_with(|| empty_routes(*key));
                rope.insert(Arc::clone(virtual_host));
            }
        }
        if new.conflicts().next().is_some() {
            self.conflicted.insert(host.clone());
            work.conflicts |= old.is_none_or(|old| !old.conflicts().eq(new.conflicts()));
        }
    }

    /// Keeps the lists of who has names of its own in a namespace.
    fn rename(&mut self, host: &Hostname, old: Option<&Fragment>, new: Option<&Fragment>) {
        let [old, new] = [old, new].map(|fragment| fragment.map(|fragment| &fragment.entrances));
        if old.map(Arc::as_ptr) == new.map(Arc::as_ptr) {
            return;
        }
        for namespace in old.into_iter().flat_map(|old| old.grants.local_names.keys()) {
            let Some(named) = self.local_names.get_mut(namespace) else { continue };
            named.remove(host);
            if named.is_empty() {
                self.local_names.remove(namespace);
            }
        }
        for (new, namespace) in
            new.into_iter().flat_map(|new| new.grants.local_names.keys().map(move |it| (new, it)))
        {
            self.local_names.entry(namespace.clone()).or_default().insert(host.clone(), Arc::clone(new));
        }
    }

    /// Puts the routes together in which a virtual host changed, and their listeners.
    fn update_routes(&mut self, work: &mut Work) {
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
                    let message = listeners::http(&listener, at, &name, &self.config_source);
                    let references = vec![(ResourceType::Route, name.as_str().into())];
                    let made = Resource::new(listener.as_str().into(), &message, references, origin(key));
                    self.put(ResourceType::Listener, made, work);
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
        let mut rope = self.routes.get(&key).cloned().unwrap_or_else(|| empty_routes(key));
        if let Some(fallback) = fallback::virtual_host(at, &rope) {
            rope.insert(Arc::new(fallback));
        }
        Resource::from_rope(key.name().into(), rope, origin(key))
    }

    fn put(&self, kind: ResourceType, resource: Resource, work: &mut Work) {
        let known = self.layer.sets[kind].get(resource.name()).filter(|known| ***known == resource);
        let resource = known.map_or_else(|| Arc::new(resource), Arc::clone);
        work.patches[kind].insert(Arc::clone(resource.name()), Some(resource));
    }

    /// A service may have taken the name over.
    fn drop_unless_taken(&self, kind: ResourceType, name: &str, work: &mut Work) {
        if self.layer.sets[kind].get(name).is_some() {
            work.patches[kind].entry(name.into()).or_insert(None);
        }
    }

    fn apply(&mut self, work: &Work, step: &Step) {
        let mut sets = self.layer.sets.clone();
        let patches = work.patches.iter();
        if patches.fold(false, |changed, (kind, patch)| sets[kind].apply(patch) | changed) {
            self.layer = Arc::new(Layer::of(step.generation, step.changed, sets));
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
        let clusters = self.clusters.iter().map(|resource| (ResourceType::Cluster, resource));
        let listeners = self.entrances.listeners.iter().map(|resource| (ResourceType::Listener, resource));
        clusters.chain(listeners)
    }

    fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.misfits.iter().chain(&self.entrances.conflicts)
    }
}

/// The cluster of a port.
fn cluster(service: &CatalogService, port: &ServicePort, context: &Context<'_>) -> Resource {
    let cluster = clusters::cluster(service, port, context);
    let name: Arc<str> = cluster.name.as_str().into();
    let by_registry = service.lead().resolution == Resolution::Endpoints;
    let references = by_registry.then(|| (ResourceType::Endpoint, Arc::clone(&name)));
    let origin = Origin::Service(service.host().clone());
    Resource::new(name, &cluster, references.into_iter().collect(), origin)
}

fn empty_routes(key: RouteKey) -> Rope {
    Rope::new(&routes::configuration(&key.name(), matches!(key, RouteKey::Port(_))))
}

fn origin(key: RouteKey) -> Origin {
    match key {
        RouteKey::HttpListen => Origin::Option("router.http_listen"),
        RouteKey::Port(_) => Origin::Shared,
    }
}

/// Whether two states of a service claim the same, and are entered in the same way.
fn same_claims(a: &CatalogService, b: &CatalogService) -> bool {
    let priorities = |service: &CatalogService| -> Vec<(u32, bool)> {
        service.parts().iter().map(|part| (part.priority, part.holds_some())).collect()
    };
    priorities(a) == priorities(b)
        && a.lead().resolution == b.lead().resolution
        && a.ports() == b.ports()
        && a.aliases() == b.aliases()
        && a.local_names() == b.local_names()
        && a.virtual_addresses() == b.virtual_addresses()
}

#[cfg(test)]
mod tests {
    use pilot_registry::Service;
    use pilot_registry_testkit::{service, snapshot};

    use super::*;
    use crate::catalog::{Catalog, Source};
    use crate::mesh::Mesh;
    use crate::resources::Published;

    fn broken(base: &Base, service: Arc<CatalogService>, old: Option<&Fragment>) -> Fragment {
        assert_ne!(service.host().as_str(), "a", "no such name");
        base.fragment(service, old)
    }

    fn follow(
        last: Option<(Arc<Mesh>, Base)>,
        services: impl IntoIterator<Item = Arc<Service>>,
        translate: Translate,
    ) -> (Arc<Mesh>, Base) {
        let source = Source {
            registry: "east".into(),
            priority: 0,
            snapshot: Arc::new(snapshot(services)),
            held: Default::default(),
        };
        let (before, base) = last.unzip();
        let catalog =
            Catalog::merge(&[source], before.as_ref().map_or(&Catalog::default(), |it| &it.catalog));
        let mesh = Arc::new(Mesh { catalog, ..Mesh::default() });
        let step = Step::new(before, Arc::clone(&mesh), 1, Published::now());
        let base = Base::next_with(base.as_ref(), Role::Sidecar, &ConfigSource::Ads, &step, translate);
        (mesh, base)
    }

    fn names(base: &Base, kind: ResourceType) -> Vec<&str> {
        base.layer.sets[kind].iter().map(|resource| &**resource.name()).collect()
    }

    /// What it claims stays its own, so nobody else takes what it is still reached by.
    #[test]
    fn a_service_whose_translation_fails_keeps_its_resources_and_its_claims() {
        let tcp = |host: &str, port: u32| service(host).tcp(port).endpoint("10.0.0.1", 1).build();
        let made = follow(None, [tcp("a", 90), tcp("b", 91)], Base::fragment);
        let (mesh, base) = follow(Some(made), [tcp("a", 91), tcp("b", 90), tcp("c", 92)], broken);
        let listeners = ["127.0.0.1_90", "127.0.0.1_92"];
        assert_eq!(names(&base, ResourceType::Listener), listeners);
        assert_eq!(
            names(&base, ResourceType::Cluster),
            ["outbound|90||a", "outbound|90||b", "outbound|92||c"]
        );
        let lost: Vec<_> = base.conflicts().iter().map(ToString::to_string).collect();
        assert!(
            lost.len() == 1 && lost[0].starts_with("b cannot be reached at 127.0.0.1:90: a has it"),
            "{lost:?}"
        );
        assert!(base.failures()["a"].why.contains("no such name"));

        let (_, base) = follow(Some((mesh, base)), [tcp("a", 93), tcp("b", 90)], Base::fragment);
        assert!(base.failures().is_empty());
        assert_eq!(names(&base, ResourceType::Cluster), ["outbound|90||b", "outbound|93||a"]);
        assert_eq!(names(&base, ResourceType::Listener), ["127.0.0.1_90", "127.0.0.1_93"]);
    }
}
