//! The layer that all proxies of one role and config source share: clusters, listeners and routes of all services that
//! everybody sees.
//!
//! ```text
//!  Step ──► ledger: who has which name, address and listener ──► grants ──► sights: what namespaces see otherwise
//!    └────► fragments: clusters and ways in of one service ◄───────┘
//!                └──► routes: ropes of virtual hosts ──► layer
//! ```
//!
//! A step costs what it touches. What it does not touch is shared with the base before, which stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Hostname, Namespace, Resolution, ServiceId, ServicePort};

use super::claims::{Affected, Ledger};
use super::conflict::Conflict;
use super::context::{Context, Lens, NOWHERE};
use super::entrances::{Entrances, RouteKey, reuse};
use super::sight::{Sight, Sights};
use super::step::{Failure, Failures, Step, attempt};
use super::{clusters, fallback, listeners, names, reachable, routes, source};
use crate::catalog::{CatalogService, ServiceChange, visible};
use crate::mesh::MeshOptions;
use crate::proxy::{ConfigSource, Role};
use crate::resources::{Layer, Origin, Patch, PerType, Resource, ResourceType, Rope};

/// What proxies of one role and config source share, and what it was made from.
#[derive(Clone, Debug)]
pub struct Base {
    options: MeshOptions,
    http_listen: Option<SocketAddr>,
    config_source: core::ConfigSource,
    ledger: Ledger,
    /// Of the services that everybody sees.
    fragments: OrdMap<Hostname, Fragment>,
    /// The services that not everybody sees, by host.
    scoped: OrdMap<Hostname, Arc<[Scoped]>>,
    routes: OrdMap<RouteKey, Rope>,
    /// What clients of a namespace see otherwise than everybody.
    sights: OrdMap<Namespace, Sights>,
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

/// A service that not everybody sees. Who sees it translates it: `audience.rs`.
#[derive(Clone, Debug)]
struct Scoped {
    service: Arc<CatalogService>,
    misfits: Arc<[Conflict]>,
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
            match next.update_services(changes, &failed, translate, &mut work) {
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
            scoped: OrdMap::new(),
            sights: OrdMap::new(),
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

    /// What clients of that namespace see otherwise than everybody.
    pub(super) fn sights(&self, namespace: &Namespace) -> Sights {
        self.sights.get(namespace).cloned().unwrap_or_default()
    }

    /// The namespaces that see otherwise what they did in the base before; `None` = all may, because routes differ.
    pub(super) fn seen_otherwise_since(&self, before: &Self) -> Option<BTreeSet<Namespace>> {
        let [routes, old] = [self, before].map(|base| &base.layer.sets[ResourceType::Route]);
        if !Arc::ptr_eq(&self.layer, &before.layer) && routes.differing(old).next().is_some() {
            return None;
        }
        let namespace = |item: DiffItem<'_, '_, Namespace, _>| match item {
            DiffItem::Add(it, _) | DiffItem::Remove(it, _) | DiffItem::Update { old: (it, _), .. } => {
                it.clone()
            }
        };
        Some(before.sights.diff(&self.sights).map(namespace).collect())
    }

    /// The service of that host that everybody sees.
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
        for id in changes.iter().filter_map(ServiceChange::id) {
            self.failures.remove(id);
        }
        for (host, why) in failed {
            let last = self.fragments.get(&host).map(|fragment| Arc::clone(&fragment.service));
            self.failures.insert(ServiceId::of_all(host), Failure { why, last });
        }
    }

    fn update_services(
        &mut self,
        changes: &[ServiceChange],
        failed: &BTreeMap<Hostname, Arc<str>>,
        translate: Translate,
        work: &mut Work,
    ) -> Result<(), Failed> {
        let mut next: BTreeMap<Hostname, Option<Arc<CatalogService>>> = BTreeMap::new();
        let mut affected = Affected::default();
        let host = |change: &ServiceChange| change.id().map(|id| id.host.clone());
        for of_host in changes.chunk_by(|one, other| host(one) == host(other)) {
            self.claim(of_host, failed, &mut next, &mut affected, work);
        }
        for id in std::mem::take(&mut affected.all) {
            if !failed.contains_key(&id.host) {
                let known = self.fragments.get(&id.host).map(|fragment| Arc::clone(&fragment.service));
                next.entry(id.host).or_insert(known);
            }
        }
        // First all that goes, then all that comes: what one service lets go of, another may take.
        let mut added = Vec::new();
        for (host, service) in next {
            let old = self.fragments.remove(&host);
            let made = attempt(|| service.map(|service| translate(self, service, old.as_ref())));
            let new = made.map_err(|why| Failed { host: host.clone(), why })?;
            self.withdraw(&host, old.as_ref(), new.as_ref(), work);
            self.note_viewers(&host, old.as_ref(), new.as_ref(), &mut affected);
            added.extend(new.map(|new| (host, old, new)));
        }
        for (host, old, new) in added {
            self.enter(&host, old.as_ref(), &new, work);
            self.fragments.insert(host, new);
        }
        self.update_sights(affected);
        Ok(())
    }

    /// Takes in what the services of one host claim now. What everybody sees of them is `next` to be translated.
    fn claim(
        &mut self,
        changes: &[ServiceChange],
        failed: &BTreeMap<Hostname, Arc<str>>,
        next: &mut BTreeMap<Hostname, Option<Arc<CatalogService>>>,
        affected: &mut Affected,
        work: &mut Work,
    ) {
        let Some(host) = changes.first().and_then(ServiceChange::id).map(|id| id.host.clone()) else {
            return;
        };
        let before = self.of_host(&host);
        let mut now = before.clone();
        let mut is_same = true;
        for change in changes {
            let Some(id) = change.id() else { continue };
            if id.owner.is_none() {
                if failed.contains_key(&host) {
                    continue;
                }
                next.insert(host.clone(), change.new.clone());
            }
            // What was translated last may be older than what was there last.
            let at = now.iter().position(|known| known.id() == id);
            let old = at.map(|at| now.remove(at));
            now.extend(change.new.clone());
            let (old, new) = (old.as_deref(), change.new.as_deref());
            work.conflicts |= self.ledger.replace_endpoints(old, new, affected);
            is_same &= old.zip(new).is_some_and(|(old, new)| same_claims(old, new));
            if id.owner.is_some() {
                self.note_misfits(old, new, work);
                for service in [old, new].into_iter().flatten() {
                    for namespace in service.visibility().namespaces().into_iter().flatten() {
                        affected.special.entry(namespace.clone()).or_default().insert(id.clone());
                    }
                }
            }
        }
        if !is_same {
            for service in before.iter().filter(|service| service.id().owner.is_none()) {
                for namespace in self.ledger.differing(service, &self.options) {
                    affected.special.entry(namespace).or_default().insert(service.id().clone());
                }
            }
            now.sort_by(|a, b| a.id().cmp(b.id()));
            self.ledger.replace(&before, &now, &self.options, affected);
            work.conflicts = true;
            self.note_group(&before, &now, affected);
        }
        let scoped = now.iter().filter(|service| service.id().owner.is_some());
        let scoped: Arc<[_]> = scoped.map(|service| self.scoped(service)).collect();
        match scoped.is_empty() {
            true => _ = self.scoped.remove(&host),
            false => _ = self.scoped.insert(host, scoped),
        }
    }

    /// All services of a host, in order: those that everybody sees as they were translated last.
    fn of_host(&self, host: &Hostname) -> Vec<Arc<CatalogService>> {
        let everybodys = self.fragments.get(host).map(|fragment| &fragment.service);
        let scoped = self.scoped.get(host).into_iter().flat_map(|scoped| scoped.iter().map(|it| &it.service));
        everybodys.into_iter().chain(scoped).cloned().collect()
    }

    fn scoped(&self, service: &Arc<CatalogService>) -> Scoped {
        let known = self.scoped.get(service.host()).into_iter().flat_map(|scoped| scoped.iter());
        let known = known.clone().find(|known| Arc::ptr_eq(&known.service, service)).cloned();
        known.unwrap_or_else(|| Scoped {
            service: Arc::clone(service),
            misfits: reachable::misfits(service, self.http_listen).into(),
        })
    }

    /// Where a service of a host is seen that may not be seen any more, or no other in its place.
    fn note_group(
        &self,
        before: &[Arc<CatalogService>],
        now: &[Arc<CatalogService>],
        affected: &mut Affected,
    ) {
        let all = || before.iter().chain(now);
        let namespaces: BTreeSet<&Namespace> =
            all().filter_map(|service| service.visibility().namespaces()).flatten().collect();
        for namespace in namespaces {
            let ids = all().map(|service| service.id().clone());
            affected.special.entry(namespace.clone()).or_default().extend(ids);
        }
    }

    fn note_misfits(&self, old: Option<&CatalogService>, new: Option<&CatalogService>, work: &mut Work) {
        let misfits = |service: Option<&CatalogService>| {
            service.map(|service| reachable::misfits(service, self.http_listen)).unwrap_or_default()
        };
        work.conflicts |= misfits(old) != misfits(new);
    }

    /// The namespaces that may see otherwise what everybody sees otherwise now.
    fn note_viewers(
        &self,
        host: &Hostname,
        old: Option<&Fragment>,
        new: Option<&Fragment>,
        affected: &mut Affected,
    ) {
        let [before, now] = [old, new].map(|fragment| fragment.map(|fragment| &fragment.entrances));
        if before.map(Arc::as_ptr) == now.map(Arc::as_ptr) {
            return;
        }
        let mut namespaces: BTreeSet<Namespace> = BTreeSet::new();
        for Fragment { service, entrances, .. } in old.into_iter().chain(new) {
            namespaces.extend(entrances.grants.local_names.keys().cloned());
            namespaces.extend(self.ledger.differing(service, &self.options));
        }
        for namespace in namespaces {
            affected.special.entry(namespace).or_default().insert(ServiceId::of_all(host.clone()));
        }
    }

    /// Finds out anew what clients of namespaces see.
    fn update_sights(&mut self, affected: Affected) {
        for (namespace, services) in affected.special {
            let mut sights = self.sights(&namespace);
            for id in services {
                match self.sight(&namespace, &id) {
                    Some(sight) if sights.get(&id) == Some(&sight) => {}
                    Some(sight) => _ = sights.insert(id, sight),
                    None => _ = sights.remove(&id),
                }
            }
            match sights.is_empty() {
                true => _ = self.sights.remove(&namespace),
                false => _ = self.sights.insert(namespace, sights),
            }
        }
    }

    /// What clients of a namespace see of a service; `None` = what everybody sees.
    fn sight(&self, namespace: &Namespace, id: &ServiceId) -> Option<Sight> {
        let of_host = self.of_host(&id.host);
        let service = of_host.iter().find(|service| service.id() == id)?;
        let seen = visible(&of_host, Some(namespace));
        let is_seen = seen.is_some_and(|seen| Arc::ptr_eq(seen, service));
        let grants = || self.ledger.grants(service, Some(namespace), &self.options);
        if id.owner.is_some() {
            return is_seen.then(|| Sight::Scoped { service: Arc::clone(service), grants: grants().into() });
        }
        let everybodys = &self.fragments.get(&id.host)?.entrances;
        let entrances = Arc::clone(everybodys);
        if !is_seen {
            return Some(Sight::Hidden(entrances));
        }
        let grants = grants();
        let is_same = grants.names == everybodys.grants.names && grants.ports == everybodys.grants.ports;
        match is_same {
            true if grants.local_names.is_empty() => None,
            true => Some(Sight::Named(entrances)),
            false => Some(Sight::Other { entrances, grants: grants.into() }),
        }
    }

    /// Translates a service, as far as it is not the same as before.
    fn fragment(&self, service: Arc<CatalogService>, old: Option<&Fragment>) -> Fragment {
        let context = self.context();
        let (clusters, misfits) = match old.filter(|old| Arc::ptr_eq(&old.service, &service)) {
            Some(old) => (Arc::clone(&old.clusters), Arc::clone(&old.misfits)),
            None => {
                let mut clusters = clusters_of(&service, &context);
                if let Some(old) = old {
                    reuse(&mut clusters, &old.clusters);
                }
                (clusters.into(), reachable::misfits(&service, self.http_listen).into())
            }
        };
        let grants = self.ledger.grants(&service, None, &self.options);
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

    /// Puts the routes together in which a virtual host changed, and their listeners.
    fn update_routes(&mut self, work: &mut Work) {
        for key in std::mem::take(&mut work.routes) {
            let name = key.name();
            let (listener, at) = self.listener(key);
            let any = self.routes.get(&key).is_some_and(|hosts| !hosts.is_empty());
            match at.filter(|_| any || key == RouteKey::HttpListen) {
                Some(at) => {
                    self.put(ResourceType::Listener, self.http_listener(key, at), work);
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

    /// The name of the listener that has these routes, and where it is.
    pub(super) fn listener(&self, key: RouteKey) -> (String, Option<SocketAddr>) {
        match key {
            RouteKey::Port(port) => {
                let at = SocketAddr::new(self.options.bind, port.get());
                (names::listener(at), Some(at))
            }
            RouteKey::HttpListen => (names::HTTP_LISTEN.to_owned(), self.http_listen),
        }
    }

    /// The listener that has these routes.
    pub(super) fn http_listener(&self, key: RouteKey, at: SocketAddr) -> Resource {
        let (listener, routes) = (self.listener(key).0, key.name());
        let message = listeners::http(&listener, at, &routes, &self.config_source);
        let references = vec![(ResourceType::Route, routes.as_str().into())];
        Resource::new(listener.as_str().into(), &message, references, origin(key))
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
            let scoped = self.scoped.values().flat_map(|scoped| scoped.iter());
            let scoped = scoped.flat_map(|scoped| scoped.misfits.iter());
            let own = fragments.flat_map(Fragment::conflicts).chain(scoped).cloned();
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

/// The clusters of all ports.
pub(super) fn clusters_of(service: &CatalogService, context: &Context<'_>) -> Vec<Arc<Resource>> {
    service.ports().iter().map(|port| Arc::new(cluster(service, port, context))).collect()
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

pub(super) fn empty_routes(key: RouteKey) -> Rope {
    Rope::new(&routes::configuration(&key.name(), matches!(key, RouteKey::Port(_))))
}

/// What routes are there for, and their listener.
pub(super) fn origin(key: RouteKey) -> Origin {
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
        && a.ports().iter().all(|port| a.guess(port.number) == b.guess(port.number))
        && a.aliases() == b.aliases()
        && a.local_names() == b.local_names()
        && a.visibility() == b.visibility()
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
        assert!(base.failures()[&ServiceId::of_all("a".parse().unwrap())].why.contains("no such name"));

        let (_, base) = follow(Some((mesh, base)), [tcp("a", 93), tcp("b", 90)], Base::fragment);
        assert!(base.failures().is_empty());
        assert_eq!(names(&base, ResourceType::Cluster), ["outbound|90||b", "outbound|93||a"]);
        assert_eq!(names(&base, ResourceType::Listener), ["127.0.0.1_90", "127.0.0.1_93"]);
    }
}
