//! What one service adds to a base.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilot_registry::{Namespace, Port, Resolution, ServicePort};

use super::Base;
use crate::catalog::CatalogService;
use crate::resources::{Origin, Resource, ResourceType};
use crate::translate::clusters::ClusterTarget;
use crate::translate::conflict::Conflict;
use crate::translate::context::TranslationContext;
use crate::translate::entrances::{Entrances, origin_of, reuse};
use crate::translate::rules::{self, Look, Looks, Ruled};
use crate::translate::{clusters, names, reachable};

/// What one service adds.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) service: Arc<CatalogService>,
    pub(super) clusters: Arc<[Arc<Resource>]>,
    pub(super) misfits: Arc<[Conflict]>,
    pub(super) entrances: Arc<Entrances>,
    /// What rules say of it.
    pub(super) ruled: Arc<Ruled>,
    /// Whether rules say anything of it, to whomever.
    pub(super) is_named: bool,
    /// The namespaces whose proxies rules may tell something else of it than everybody.
    pub(super) viewers: Arc<BTreeSet<Namespace>>,
    /// Whether rules of it ask for labels of proxies.
    pub(super) asks_for_labels: bool,
    /// Counts the meshes, up to the one of which it was translated.
    pub(super) generation: u64,
}

impl Fragment {
    pub(super) fn resources(&self) -> impl Iterator<Item = (ResourceType, &Arc<Resource>)> {
        let clusters = self.clusters.iter().map(|resource| (ResourceType::Cluster, resource));
        let listeners = self.entrances.listeners.iter().map(|resource| (ResourceType::Listener, resource));
        clusters.chain(listeners)
    }

    pub(super) fn conflicts(&self) -> impl Iterator<Item = &Conflict> {
        self.misfits.iter().chain(&self.entrances.conflicts)
    }
}

impl Base {
    /// Translates a service, as far as it is not the same as before.
    pub(super) fn fragment(&self, service: Arc<CatalogService>, old: Option<&Fragment>) -> Fragment {
        let context = self.context();
        let ruled = Ruled::of(&self.mesh, &service, context.viewer);
        let is_named = rules::is_named(&self.mesh, &service);
        // Which subsets are there for others matters to the names of endpoints.
        let is_same =
            |old: &&Fragment| Arc::ptr_eq(&old.service, &service) && old.ruled.is_empty() && ruled.is_empty();
        let (clusters, misfits) = match old.filter(is_same) {
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
        // Rules lead to other services, of which something else may be there.
        let is_plain = |old: &Fragment| old.ruled.is_empty() && ruled.is_empty();
        let same = |old: &&Fragment| {
            is_plain(old) && old.entrances.grants == grants && same_claims(&old.service, &service)
        };
        let entrances = match old.filter(same) {
            Some(old) => Arc::clone(&old.entrances),
            None => {
                let old = old.map(|old| &*old.entrances);
                Arc::new(Entrances::new(&service, grants, &context).reusing(old))
            }
        };
        let asks_for_labels = rules::depends_on_labels(&self.mesh, &service, &ruled);
        let viewers = if is_named { rules::viewers(&self.mesh, &service) } else { BTreeSet::new() };
        let (ruled, viewers, generation) = (Arc::new(ruled), Arc::new(viewers), self.generation);
        Fragment {
            service,
            clusters,
            misfits,
            entrances,
            ruled,
            is_named,
            viewers,
            asks_for_labels,
            generation,
        }
    }
}

/// The clusters of all ports.
pub(in crate::translate) fn clusters_of(
    service: &CatalogService,
    context: &TranslationContext<'_>,
) -> Vec<Arc<Resource>> {
    let ruled = Ruled::of(context.mesh, service, context.viewer);
    let looks = Looks::of(context.mesh, service);
    let at = |port: &ServicePort| (port.number, looks.at(port.number));
    let looks: BTreeMap<Port, Vec<Look<'_>>> = service.ports().iter().map(at).collect();
    let targets = ClusterTarget::all(service, &ruled).into_iter();
    targets.map(|target| Arc::new(cluster(target, &looks[&target.port.number], context))).collect()
}

/// The cluster of a port, or of a subset there.
fn cluster(target: ClusterTarget<'_>, looks: &[Look<'_>], context: &TranslationContext<'_>) -> Resource {
    let ClusterTarget { service, port, ruled, .. } = target;
    let seen = target.seen(context.options, &context.lens);
    let look = Look::find(looks, target.subset, seen.labels, seen.nearness);
    let endpoints = names::cluster(port.number, look, service.host());
    let cluster = clusters::cluster(target, &endpoints, context);
    let by_registry = service.lead().resolution == Resolution::Endpoints;
    let references = by_registry.then(|| (ResourceType::Endpoint, endpoints.as_str().into()));
    let origin = match ruled.documents_of_policies().next() {
        Some(ruling) => Origin::Document(ruling.version.id.to_string().into(), Some(service.host().clone())),
        None => origin_of(service),
    };
    Resource::new(cluster.name.as_str().into(), &cluster, references.into_iter().collect(), origin)
}

/// Whether two states of a service claim the same, and are entered in the same way.
pub(super) fn same_claims(a: &CatalogService, b: &CatalogService) -> bool {
    let priorities = |service: &CatalogService| -> Vec<(u32, bool)> {
        service.parts().iter().map(|part| (part.priority, part.holds_some())).collect()
    };
    priorities(a) == priorities(b)
        && a.lead().resolution == b.lead().resolution
        && a.lead().rewrite_host == b.lead().rewrite_host
        && a.ports() == b.ports()
        && a.ports().iter().all(|port| a.guess(port.number) == b.guess(port.number))
        && a.aliases() == b.aliases()
        && a.local_names() == b.local_names()
        && a.visibility() == b.visibility()
        && a.virtual_addresses() == b.virtual_addresses()
}
