//! The layer that all proxies of one role and config source share: clusters, listeners and routes of all services that
//! everybody sees.
//!
//! ```text
//!  Step ──► ledger: who has which name, address and listener ──► grants ──► sights: what namespaces see otherwise
//!    └────► fragments: clusters and ways in of one service ◄───────┘
//!                └──► routes: ropes of virtual hosts ──► layer
//! ```
//!
//! A step costs what it touches. What it does not touch is shared with the base before, which stays as it is. Hosts of rules
//! that no service has are in `base/strangers.rs`.

mod fragment;
mod routes;
mod sights;
mod strangers;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Hostname, Namespace, ServiceId};

pub(super) use self::fragment::clusters_of;
use self::fragment::{Fragment, same_claims};
pub(super) use self::routes::{empty_routes, origin};
use super::claims::{Affected, Ledger};
use super::conflict::Conflict;
use super::context::{Lens, TranslationContext};
use super::entrances::{RouteKey, VirtualHostsByRoute};
use super::key::is_at_edge;
use super::place::Place;
use super::rules::{self, Viewer};
use super::shared_tls::TlsEntrances;
use super::sight::Sights;
use super::step::{FailedTranslation, Failures, Step, attempt};
use super::{reachable, source};
use crate::catalog::{CatalogService, ServiceChange};
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::{ConfigSource, Role, Viewpoint};
use crate::resources::{Layer, Patch, PerType, Resource, Rope};

/// What proxies of one role and config source share, and what it was made from.
#[derive(Clone, Debug)]
pub struct Base {
    options: MeshOptions,
    /// Rules, and the services that they name.
    mesh: Arc<Mesh>,
    /// Counts the meshes.
    generation: u64,
    http_listen: Option<SocketAddr>,
    config_source: core::ConfigSource,
    /// Whether it is for gRPC clients.
    is_grpc: bool,
    /// Whether its proxies have the listeners of Gateways, and no others.
    is_at_edge: bool,
    ledger: Ledger,
    /// Of the services that everybody sees.
    fragments: OrdMap<Hostname, Fragment>,
    /// The services that not everybody sees, by host.
    scoped: OrdMap<Hostname, Arc<[ScopedService]>>,
    routes: OrdMap<RouteKey, Rope>,
    /// What TLS services add to the listeners that they share.
    tls: OrdMap<SocketAddr, TlsEntrances>,
    /// Virtual hosts for hosts of rules that no service has, by host.
    strangers: OrdMap<Arc<str>, VirtualHostsByRoute>,
    /// What clients of a namespace see otherwise than everybody.
    sights: OrdMap<Namespace, Sights>,
    /// The services of which rules ask for labels of proxies.
    labelled: OrdSet<Hostname>,
    /// The hosts whose fragments report conflicts.
    conflicted: OrdSet<Hostname>,
    conflicts: Arc<[Conflict]>,
    failures: Failures,
    layer: Arc<Layer>,
}

/// A service that not everybody sees. Who sees it translates it: `audience.rs`.
#[derive(Clone, Debug)]
struct ScopedService {
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
    tls: BTreeSet<SocketAddr>,
    conflicts: bool,
}

/// The services that could not be translated, with the reason.
type Failed = BTreeMap<Hostname, Arc<str>>;

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
        let mut failed = Failed::new();
        loop {
            let mut work = Work::default();
            let mut next = before.cloned().unwrap_or_else(|| {
                // These are written even if no service is in them.
                work.routes.insert(RouteKey::HttpListen);
                work.conflicts = true;
                Self::empty(role, source, step)
            });
            (next.mesh, next.generation) = (Arc::clone(&step.mesh), step.generation);
            match next.update_services(changes, &failed, translate, &mut work) {
                Ok(()) => {
                    next.note_failures(changes, failed);
                    next.update_strangers(before.is_some().then_some(step.touched_hosts()), &mut work);
                    next.update_routes(&mut work);
                    next.update_tls(&mut work);
                    next.apply(&work, step);
                    return next;
                }
                // What they would have let go of, others have not: all begins anew without them.
                Err(more) => failed.extend(more),
            }
        }
    }

    fn empty(role: Role, source: &ConfigSource, step: &Step) -> Self {
        let options = step.mesh.options.clone();
        let http_listen = http_listen(role, &options);
        Self {
            options,
            mesh: Arc::clone(&step.mesh),
            generation: step.generation,
            http_listen,
            config_source: source::config_source(source),
            is_grpc: *source == ConfigSource::AdsOfGrpc,
            is_at_edge: is_at_edge(role, source),
            ledger: Ledger::new(http_listen),
            fragments: OrdMap::new(),
            routes: OrdMap::new(),
            tls: OrdMap::new(),
            strangers: OrdMap::new(),
            scoped: OrdMap::new(),
            sights: OrdMap::new(),
            labelled: OrdSet::new(),
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

    /// The service of that host that everybody sees.
    pub(super) fn service(&self, host: &Hostname) -> Option<&CatalogService> {
        self.fragments.get(host).map(|fragment| &*fragment.service)
    }

    /// The clusters of the service of that host that everybody sees.
    pub(super) fn clusters(&self, host: &Hostname) -> &[Arc<Resource>] {
        self.fragments.get(host).map_or(&[], |fragment| &*fragment.clusters)
    }

    /// What services are translated with for everybody.
    pub(super) fn context(&self) -> TranslationContext<'_> {
        let lens = Lens::new(self.http_listen, Place::NOWHERE, &self.options);
        let Self { options, mesh, config_source, .. } = self;
        let (viewer, is_grpc, is_at_edge) = (rules::ANYBODY, self.is_grpc, self.is_at_edge);
        TranslationContext { options, mesh, viewer, config_source, lens, is_grpc, is_at_edge }
    }

    /// What services are translated with for these clients.
    pub(super) fn seen_from<'a>(&'a self, viewpoint: &'a Viewpoint) -> TranslationContext<'a> {
        let namespace = viewpoint.namespace.as_ref().map_or(rules::ANYBODY.namespace, Namespace::as_str);
        TranslationContext { viewer: Viewer { namespace, labels: &viewpoint.labels }, ..self.context() }
    }

    fn note_failures(&mut self, changes: &[ServiceChange], failed: Failed) {
        for id in changes.iter().filter_map(ServiceChange::id) {
            self.failures.remove(id);
        }
        for (host, why) in failed {
            let last = self.fragments.get(&host).map(|fragment| Arc::clone(&fragment.service));
            self.failures.insert(ServiceId::of_all(host), FailedTranslation { why, last });
        }
    }

    /// Gives all that could not be translated. Nothing is to be done then with what was made of the others.
    fn update_services(
        &mut self,
        changes: &[ServiceChange],
        failed: &Failed,
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
        let (mut added, mut more) = (Vec::new(), Failed::new());
        for (host, service) in next {
            let old = self.fragments.remove(&host);
            self.labelled.remove(&host);
            let new = match attempt(|| service.map(|service| translate(self, service, old.as_ref()))) {
                Ok(new) => new,
                Err(why) => {
                    more.insert(host, why);
                    continue;
                }
            };
            self.withdraw(&host, old.as_ref(), new.as_ref(), work);
            self.note_viewers(&host, old.as_ref(), new.as_ref(), &mut affected);
            added.extend(new.map(|new| (host, old, new)));
        }
        if !more.is_empty() {
            return Err(more);
        }
        for (host, old, new) in added {
            self.enter(&host, old.as_ref(), &new, work);
            if new.asks_for_labels {
                self.labelled.insert(host.clone());
            }
            self.fragments.insert(host, new);
        }
        self.update_sights(affected);
        Ok(())
    }

    /// Takes in what the services of one host claim now. What everybody sees of them is `next` to be translated.
    fn claim(
        &mut self,
        changes: &[ServiceChange],
        failed: &Failed,
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

    fn scoped(&self, service: &Arc<CatalogService>) -> ScopedService {
        let known = self.scoped.get(service.host()).into_iter().flat_map(|scoped| scoped.iter());
        let known = known.clone().find(|known| Arc::ptr_eq(&known.service, service)).cloned();
        known.unwrap_or_else(|| ScopedService {
            service: Arc::clone(service),
            misfits: reachable::misfits(service, self.http_listen).into(),
        })
    }

    fn note_misfits(&self, old: Option<&CatalogService>, new: Option<&CatalogService>, work: &mut Work) {
        let misfits = |service: Option<&CatalogService>| {
            service.map(|service| reachable::misfits(service, self.http_listen)).unwrap_or_default()
        };
        work.conflicts |= misfits(old) != misfits(new);
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
        for at in old.into_iter().flat_map(|old| old.entrances.tls.keys()) {
            if new.is_none_or(|new| !new.entrances.tls.contains_key(at)) {
                work.tls.insert(*at);
                self.tls.entry(*at).or_default().remove(host);
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
        for (at, entrance) in &new.entrances.tls {
            let known = old.and_then(|old| old.entrances.tls.get(at));
            if known.is_none_or(|known| !Arc::ptr_eq(known, entrance)) {
                work.tls.insert(*at);
                self.tls.entry(*at).or_default().insert(host.clone(), Arc::clone(entrance));
            }
        }
        if new.conflicts().next().is_some() {
            self.conflicted.insert(host.clone());
            work.conflicts |= old.is_none_or(|old| !old.conflicts().eq(new.conflicts()));
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

#[cfg(test)]
mod tests;
