//! What differs for proxies in one locality: the priorities of endpoints, and nothing else.
//!
//! All other resources are the common ones. Only services with nearer and farther endpoints get endpoints of
//! their own, either as endpoint resources or inline in clusters that the proxy resolves itself.

use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::Resolution;

use super::changes::changes;
use super::common::{apply, http_listen};
use super::fragment::{self, Context};
use super::overlay::{Overlay, shared};
use super::proximity::Proximity;
use super::{Translation, names};
use crate::catalog::CatalogService;
use crate::mesh::{Mesh, MeshOptions};
use crate::proxy::Scope;
use crate::resources::{Patch, ResourceType, TypeSet};

/// Translates one mesh after another for one locality.
#[derive(Debug)]
pub(super) struct Nearby {
    scope: Scope,
    options: Option<MeshOptions>,
    services: Arc<Vec<Arc<CatalogService>>>,
    endpoints: Arc<TypeSet>,
    clusters: Overlay,
}

impl Nearby {
    /// Knows nothing yet.
    pub(super) fn new(scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            options: None,
            services: Arc::default(),
            endpoints: Arc::default(),
            clusters: Overlay::default(),
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
        let changes = changes(&self.services, mesh.catalog.shared_services());
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
        self.services = Arc::clone(mesh.catalog.shared_services());
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
                    let known = [common(ResourceType::Cluster), self.clusters.get(&name)];
                    clusters.insert(Arc::clone(&name), Some(shared(own, known)));
                }
                Resolution::Dns | Resolution::Passthrough => {}
            }
        }
        (clusters, endpoints)
    }
}

fn cluster_names(service: &CatalogService) -> impl Iterator<Item = Arc<str>> {
    service.ports().iter().map(|port| names::cluster(port.number, "", service.host()).into())
}
