//! What one service adds to the resources.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::listener::v3::Listener;
use pilot_registry::{Locality, Port, Protocol, Resolution, ServicePort};

use super::claims::Grants;
use super::conflict::{Claim, Claimant, Conflict, Reason};
use super::{clusters, endpoints, listeners, names, routes};
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

/// The key of a route configuration: that of an HTTP port, or the one of `http_listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RouteKey {
    HttpListen,
    Port(Port),
}

/// An encoded virtual host, and where it sends to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VirtualHost {
    pub(super) bytes: Bytes,
    pub(super) cluster: Arc<str>,
}

/// Clusters and endpoints: the part of a service that changes with its endpoints.
#[derive(Debug, Default)]
pub(super) struct Backends {
    pub(super) clusters: Vec<Arc<Resource>>,
    pub(super) endpoints: Vec<Arc<Resource>>,
    pub(super) conflicts: Vec<Conflict>,
}

/// The ways in: the part of a service that no endpoint changes.
#[derive(Debug, Default)]
pub(super) struct Entrances {
    pub(super) grants: Grants,
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) virtual_hosts: BTreeMap<(RouteKey, Port), VirtualHost>,
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

impl Entrances {
    pub(super) fn new(service: &CatalogService, grants: Grants, context: &Context<'_>) -> Self {
        let mut entrances = Self { grants, ..Self::default() };
        // A bound listener has no original destination that it could pass on to.
        if service.lead().resolution == Resolution::Passthrough {
            return entrances;
        }
        for (port, at) in service.ports().iter().zip(0..) {
            if port.protocol.is_http() {
                entrances.add_routes(service, port, at, context);
            } else {
                entrances.add_listeners(service, port, at);
            }
        }
        if service.lead().resolution == Resolution::Endpoints {
            entrances.add_grpc(service);
        }
        entrances
    }

    /// The same, with the resources that equal those of before taken from there.
    pub(super) fn reusing(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            reuse(&mut self.listeners, &old.listeners);
        }
        self
    }

    /// Listeners of a port that is not HTTP.
    fn add_listeners(&mut self, service: &CatalogService, port: &ServicePort, index: usize) {
        let cluster: Arc<str> = names::cluster(port.number, "", service.host()).into();
        let build = if port.protocol == Protocol::Udp { listeners::udp } else { listeners::tcp };
        let Some(port) = self.grants.ports.get(index) else { return };
        let is_virtual = |at: &SocketAddr| service.virtual_addresses().contains(&at.ip());
        let listeners = port.listeners.iter().map(|at| build(*at, &cluster, is_virtual(at)));
        self.listeners.extend(listeners.map(|listener| listener_to(&cluster, &listener, false)));
    }

    /// Virtual hosts of an HTTP port: in the routes of its number, and in those of `http_listen`.
    fn add_routes(
        &mut self,
        service: &CatalogService,
        port: &ServicePort,
        index: usize,
        context: &Context<'_>,
    ) {
        let Some(granted) = self.grants.ports.get(index) else { return };
        let number = port.number;
        let cluster: Arc<str> = names::cluster(number, "", service.host()).into();
        let virtual_host = |bare_names: bool, bare_addresses: bool, dialled: Option<Port>| {
            let mut domains = Vec::new();
            for name in &self.grants.names {
                domains.extend(bare_names.then(|| name.to_string()));
                domains.extend([Some(number), dialled].into_iter().flatten().map(|n| format!("{name}:{n}")));
            }
            for ip in &granted.virtual_addresses {
                domains.extend(bare_addresses.then(|| names::ip_domain(*ip)));
                domains.push(names::ip_port_domain(*ip, number));
            }
            let name = format!("{}:{number}", service.host());
            let bytes = routes::virtual_host(name, domains, &cluster);
            VirtualHost { bytes, cluster: Arc::clone(&cluster) }
        };
        let mut added = Vec::new();
        if !granted.listeners.is_empty() {
            added.push((RouteKey::Port(number), virtual_host(true, true, None)));
        }
        if let Some(at) = context.http_listen {
            let is_default = default_port(service, Protocol::is_http) == Some(number);
            // Clients name the port that they dial, unless the service means something else by it. Names
            // only: a virtual address may be another service's at that port.
            let dialled = Port::try_from(u32::from(at.port()))
                .ok()
                .filter(|dialled| is_default && service.ports().iter().all(|port| port.number != *dialled));
            added.push((RouteKey::HttpListen, virtual_host(is_default, number.get() == 80, dialled)));
        }
        self.virtual_hosts.extend(added.into_iter().map(|(key, host)| ((key, number), host)));
    }

    /// Listeners by name for gRPC clients: `host:port` for each HTTP/2 port, and `host` for the one that
    /// is meant when no port is named.
    fn add_grpc(&mut self, service: &CatalogService) {
        let default = default_port(service, Protocol::is_http2);
        for port in service.ports().iter().filter(|port| port.protocol.is_http2()) {
            let cluster: Arc<str> = names::cluster(port.number, "", service.host()).into();
            for name in &self.grants.names {
                let with_port = format!("{name}:{}", port.number);
                self.listeners.push(listener_to(&cluster, &listeners::api(&with_port, &cluster), true));
                if default != Some(port.number) {
                    continue;
                }
                if names::is_reserved(name) {
                    self.conflicts.push(reserved(service, name.clone(), port.number));
                    continue;
                }
                let listener = listeners::api(name.as_str(), &cluster);
                self.listeners.push(listener_to(&cluster, &listener, true));
            }
        }
    }
}

fn reuse(new: &mut [Arc<Resource>], old: &[Arc<Resource>]) {
    for resource in new {
        if let Some(known) = old.iter().find(|known| *known == resource) {
            *resource = Arc::clone(known);
        }
    }
}

fn reserved(service: &CatalogService, name: pilot_registry::Hostname, port: Port) -> Conflict {
    Conflict {
        claim: Claim::Name(name),
        loser: Claimant::Service(service.host().clone(), Some(port)),
        winner: Claimant::Pilot,
        reason: Reason::Reserved,
    }
}

/// The port that is meant when a client names none: the only one of its kind, else 80, else the lowest.
fn default_port(service: &CatalogService, kind: fn(Protocol) -> bool) -> Option<Port> {
    let numbers = || service.ports().iter().filter(|port| kind(port.protocol)).map(|port| port.number);
    numbers().find(|number| number.get() == 80).or_else(|| numbers().min())
}

fn listener_to(cluster: &Arc<str>, listener: &Listener, by_name_only: bool) -> Arc<Resource> {
    let references = vec![(ResourceType::Cluster, Arc::clone(cluster))];
    Arc::new(Resource::new(listener.name.as_str().into(), listener, references, by_name_only))
}
