//! What one service adds to the resources: its clusters and endpoints. How it is entered: see `entrances`.

use std::net::SocketAddr;
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_registry::{Locality, Resolution, ServicePort};

use super::conflict::Conflict;
use super::{clusters, endpoints, names};
use crate::catalog::CatalogService;
use crate::mesh::MeshOptions;
use crate::resources::{Resource, ResourceType};

/// What all services are translated with.
pub(super) struct Context<'a> {
    pub(super) options: &'a MeshOptions,
    pub(super) config_source: &'a core::ConfigSource,
    /// Where the listener to every HTTP service by Host header is, if there is one.
    pub(super) http_listen: Option<SocketAddr>,
    /// What endpoints are near to.
    pub(super) locality: &'a Locality,
}

/// Clusters and endpoints: the part of a service that changes with its endpoints.
#[derive(Debug, Default)]
pub(super) struct Backends {
    pub(super) clusters: Vec<Arc<Resource>>,
    pub(super) endpoints: Vec<Arc<Resource>>,
    pub(super) conflicts: Vec<Conflict>,
}

impl Backends {
    pub(super) fn new(service: &CatalogService, context: &Context<'_>) -> Self {
        let mut backends =
            Self { conflicts: endpoints::misfits(service, context.http_listen), ..Self::default() };
        for port in service.ports() {
            backends.clusters.push(Arc::new(cluster(service, port, context)));
            if service.lead().resolution == Resolution::Endpoints {
                backends.endpoints.push(Arc::new(endpoints(service, port, context)));
            }
        }
        backends
    }

    /// The same, with the resources that equal those of before taken from there.
    pub(super) fn reusing(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            reuse(&mut self.clusters, &old.clusters);
            reuse(&mut self.endpoints, &old.endpoints);
        }
        self
    }
}

/// The cluster of a port.
pub(super) fn cluster(service: &CatalogService, port: &ServicePort, context: &Context<'_>) -> Resource {
    let cluster = clusters::cluster(service, port, context);
    let name: Arc<str> = cluster.name.as_str().into();
    let by_registry = service.lead().resolution == Resolution::Endpoints;
    let references = by_registry.then(|| (ResourceType::Endpoint, Arc::clone(&name)));
    Resource::new(name, &cluster, references.into_iter().collect(), false)
}

/// The endpoints of a port.
pub(super) fn endpoints(service: &CatalogService, port: &ServicePort, context: &Context<'_>) -> Resource {
    let name = names::cluster(port.number, "", service.host());
    let assignment = endpoints::load_assignment(&name, service, port, context);
    Resource::new(name.into(), &assignment, Vec::new(), false)
}

/// Replaces resources by those of before that equal them.
pub(super) fn reuse(new: &mut [Arc<Resource>], old: &[Arc<Resource>]) {
    for resource in new {
        if let Some(known) = old.iter().find(|known| *known == resource) {
            *resource = Arc::clone(known);
        }
    }
}
