//! What is different for proxies of one locality: the priorities of endpoints, and nothing else.
//!
//! All resources are those that proxies have in common, but the endpoints of services that have some nearer
//! and some farther away: as resources of their own, or inline in clusters that the proxy resolves itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::Resolution;

use super::common::{apply, changes, http_listen, remember};
use super::fragment::{self, Context};
use super::proximity::Proximity;
use super::{Translation, names};
use crate::catalog::CatalogService;
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::Scope;
use crate::resources::{Patch, Resource, ResourceType, TypeSet};

/// Translates one mesh after another for one locality.
#[derive(Debug)]
pub(super) struct Nearby {
    scope: Scope,
    options: Option<MeshOptions>,
    services: Vec<Arc<CatalogService>>,
    endpoints: Arc<TypeSet>,
    clusters: Clusters,
}

/// Clusters, of which few or none differ from the common ones: those with endpoints inline.
#[derive(Debug, Default)]
struct Clusters {
    own: BTreeMap<Arc<str>, Arc<Resource>>,
    /// The last common set, and what it became.
    last: Option<(Arc<TypeSet>, Arc<TypeSet>)>,
}

impl Nearby {
    /// Knows nothing yet.
    pub(super) fn new(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            options: None,
            services: Vec::new(),
            endpoints: Arc::default(),
            clusters: Clusters::default(),
        }
    }

    /// What the mesh is at this locality. `common`: what it is where nothing is near.
    pub(super) fn translate(
        &mut self,
        mesh: &Mesh,
        config_source: &core::ConfigSource,
        common: Translation,
    ) -> Translation {
        if self.options.as_ref() != Some(&mesh.options) {
            *self = Self { options: Some(mesh.options.clone()), ..Self::new(&self.scope) };
            self.endpoints = Arc::clone(&common.types[ResourceType::Endpoint as usize]);
        }
        let scope = self.scope.clone();
        let context = Context {
            options: &mesh.options,
            config_source,
            http_listen: http_listen(&scope, &mesh.options),
            locality: &scope.locality,
        };
        let (mut clusters, mut endpoints) = (Patch::new(), Patch::new());
        let changes = changes(&self.services, mesh.catalog.services());
        for change in &changes {
            for name in change.old.iter().flat_map(|service| cluster_names(service)) {
                clusters.insert(Arc::clone(&name), None);
                endpoints.insert(name, None);
            }
            if let Some(service) = &change.new {
                let (own_clusters, own_endpoints) = self.resources(service, &context, &common);
                clusters.extend(own_clusters);
                endpoints.extend(own_endpoints);
            }
        }
        remember(&mut self.services, changes, mesh.catalog.services());
        apply(&mut self.endpoints, &endpoints);
        self.clusters.apply(clusters);
        let mut types = common.types;
        types[ResourceType::Endpoint as usize] = Arc::clone(&self.endpoints);
        let clusters = &mut types[ResourceType::Cluster as usize];
        *clusters = self.clusters.over(clusters);
        Translation { types, ..common }
    }

    /// The clusters of a service that are not the common ones, and its endpoints.
    fn resources(
        &self,
        service: &CatalogService,
        context: &Context<'_>,
        common: &Translation,
    ) -> (Patch, Patch) {
        let (mut clusters, mut endpoints) = (Patch::new(), Patch::new());
        let matters = Proximity::matters(service, context.locality);
        for (port, name) in service.ports().iter().zip(cluster_names(service)) {
            let common = |kind: ResourceType| common.types[kind as usize].get(&name);
            match service.lead().resolution {
                Resolution::Endpoints if matters => {
                    let own = fragment::endpoints(service, port, context);
                    let known = [common(ResourceType::Endpoint), self.endpoints.get(&name)];
                    endpoints.insert(Arc::clone(&name), Some(shared(own, known)));
                }
                Resolution::Endpoints => {
                    endpoints.insert(Arc::clone(&name), common(ResourceType::Endpoint).cloned());
                }
                Resolution::Dns if matters => {
                    let own = fragment::cluster(service, port, context);
                    let known = [common(ResourceType::Cluster), self.clusters.own.get(&name)];
                    clusters.insert(Arc::clone(&name), Some(shared(own, known)));
                }
                Resolution::Dns | Resolution::Passthrough => {}
            }
        }
        (clusters, endpoints)
    }
}

impl Clusters {
    fn apply(&mut self, patch: Patch) {
        for (name, resource) in patch {
            let known = self.own.get(&name);
            if known.map(Arc::as_ptr) == resource.as_ref().map(Arc::as_ptr) {
                continue;
            }
            self.last = None;
            match resource {
                Some(resource) => drop(self.own.insert(name, resource)),
                None => drop(self.own.remove(&name)),
            }
        }
    }

    /// The common clusters, with the own ones instead of theirs.
    fn over(&mut self, common: &Arc<TypeSet>) -> Arc<TypeSet> {
        if self.own.is_empty() {
            return Arc::clone(common);
        }
        if let Some((_, own)) = self.last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, common)) {
            return Arc::clone(own);
        }
        let patch = self.own.iter().map(|(name, own)| (Arc::clone(name), Some(Arc::clone(own)))).collect();
        let own = Arc::new(common.patched(&patch));
        self.last = Some((Arc::clone(common), Arc::clone(&own)));
        own
    }
}

fn cluster_names(service: &CatalogService) -> impl Iterator<Item = Arc<str>> {
    service.ports().iter().map(|port| names::cluster(port.number, "", service.host()).into())
}

/// The resource as it is known already, if it is.
fn shared(own: Resource, known: [Option<&Arc<Resource>>; 2]) -> Arc<Resource> {
    let same = known.into_iter().flatten().find(|known| ***known == own);
    same.map_or_else(|| Arc::new(own), Arc::clone)
}
