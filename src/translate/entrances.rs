//! The ways into one service: listeners, and virtual hosts in routes that services share.
//!
//! All clients call it by some names, and those of a namespace by further ones: [`Entrances`] are for all, and
//! [`LocalEntrances`] for one namespace. Both are built alike.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use pilot_envoy_api::envoy::config::listener::v3::{FilterChain, Listener};
use pilot_envoy_api::envoy::config::route::v3 as route;
use pilot_registry::{Hostname, Namespace, Port, Protocol, Resolution, ServicePort};

use super::claims::Grants;
use super::conflict::{Claim, Claimant, Conflict, Reason};
use super::connections::{self, Lane};
use super::context::TranslationContext;
use super::names::default_of;
use super::rules::{self, Ruled};
use super::shared_tls::{EntranceRank, TlsByAddress, TlsEntrance};
use super::{listeners, names, routes};
use crate::catalog::CatalogService;
use crate::resources::{Origin, Resource, ResourceType, VirtualHost};
use crate::rules::kinds::DestinationRule;

/// The key of a route configuration: that of an HTTP port, or the one of `http_listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RouteKey {
    HttpListen,
    Port(Port),
}

impl RouteKey {
    /// The route configuration's name.
    pub(super) fn name(self) -> String {
        match self {
            Self::HttpListen => names::HTTP_LISTEN.to_owned(),
            Self::Port(port) => port.to_string(),
        }
    }

    /// Whether no port in a Host header counts there.
    pub(super) fn ignores_port(self) -> bool {
        matches!(self, Self::Port(_))
    }

    /// The key of the route configuration of that name; `None` = there is none.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            names::HTTP_LISTEN => Some(Self::HttpListen),
            port => Port::try_from(port.parse::<u32>().ok()?).ok().map(Self::Port),
        }
    }
}

/// Virtual hosts of one service, by the routes that they are in and the service's port.
pub(super) type VirtualHostsByRoute = BTreeMap<(RouteKey, Port), Arc<VirtualHost>>;

/// The ways in for all clients: the part of a service that no endpoint changes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Entrances {
    pub(super) grants: Grants,
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) tls: TlsByAddress,
    pub(super) virtual_hosts: VirtualHostsByRoute,
    /// Includes conflicts about namespace-local names, whether or not a proxy in that namespace is connected.
    pub(super) conflicts: Vec<Conflict>,
}

/// The ways in that clients of one namespace have beside those of all clients.
#[derive(Debug, Default)]
pub(super) struct LocalEntrances {
    pub(super) listeners: Vec<Arc<Resource>>,
    pub(super) virtual_hosts: VirtualHostsByRoute,
}

/// Names by which a service is called.
#[derive(Clone, Copy)]
struct Called<'a> {
    names: &'a [Hostname],
    /// By whom, if not by all.
    by: Option<&'a Namespace>,
}

impl Entrances {
    pub(super) fn new(service: &CatalogService, grants: Grants, context: &TranslationContext<'_>) -> Self {
        // A bound listener has no original destination that it could pass on to.
        if context.is_at_edge || service.lead().resolution == Resolution::Passthrough {
            return Self { grants, ..Self::default() };
        }
        let called = Called { names: &grants.names, by: None };
        let mut listeners = bound_listeners(service, &grants, context);
        listeners.extend(grpc_listeners(service, called, context));
        let virtual_hosts = virtual_hosts(service, &grants, called, context);
        let tls = tls_entrances(service, &grants, context);
        Self { listeners, tls, virtual_hosts, conflicts: reserved(service, &grants), grants }
    }

    /// The same, with the resources that equal those of before taken from there.
    pub(super) fn reusing(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            reuse(&mut self.listeners, &old.listeners);
            reuse_values(&mut self.tls, &old.tls);
            reuse_values(&mut self.virtual_hosts, &old.virtual_hosts);
        }
        self
    }
}

impl LocalEntrances {
    /// What the service has in that namespace of what it was granted, beside what it has for all who see it.
    pub(super) fn new(
        service: &CatalogService,
        grants: &Grants,
        namespace: &Namespace,
        context: &TranslationContext<'_>,
    ) -> Self {
        let names = grants.local_names.get(namespace).map(Vec::as_slice).unwrap_or_default();
        if context.is_at_edge || names.is_empty() || service.lead().resolution == Resolution::Passthrough {
            return Self::default();
        }
        let called = Called { names, by: Some(namespace) };
        Self {
            listeners: grpc_listeners(service, called, context),
            virtual_hosts: virtual_hosts(service, grants, called, context),
        }
    }

    /// The same, with the resources that equal those of before taken from there.
    pub(super) fn reusing(mut self, old: Option<&Self>) -> Self {
        if let Some(old) = old {
            reuse(&mut self.listeners, &old.listeners);
            reuse_values(&mut self.virtual_hosts, &old.virtual_hosts);
        }
        self
    }
}

/// Replaces resources by those of before that equal them.
pub(super) fn reuse(new: &mut [Arc<Resource>], old: &[Arc<Resource>]) {
    for resource in new {
        if let Some(known) = old.iter().find(|known| *known == resource) {
            *resource = Arc::clone(known);
        }
    }
}

/// Replaces values by those of before that equal them.
pub(super) fn reuse_values<K: Ord, V: PartialEq>(new: &mut BTreeMap<K, Arc<V>>, old: &BTreeMap<K, Arc<V>>) {
    for (at, value) in new {
        if let Some(known) = old.get(at).filter(|known| *known == value) {
            *value = Arc::clone(known);
        }
    }
}

/// Listeners that ports have for themselves.
fn bound_listeners(
    service: &CatalogService,
    grants: &Grants,
    context: &TranslationContext<'_>,
) -> Vec<Arc<Resource>> {
    let ruled = Ruled::of(context.mesh, service, context.viewer);
    let is_virtual = |at: &SocketAddr| service.virtual_addresses().contains(&at.ip());
    let mut bound = Vec::new();
    for (port, granted) in service.ports().iter().zip(&grants.ports) {
        if port.protocol.is_http() || port.protocol == Protocol::Tls {
            continue;
        }
        let cluster: Arc<str> = names::cluster(port.number, "", service.host()).into();
        let build = |at: &SocketAddr| match port.protocol {
            Protocol::Udp => listener_to(service, &cluster, &listeners::udp(*at, &cluster, is_virtual(at))),
            _ => {
                let Way { others, clusters, origin, .. } = way(service, &ruled, port, *at, context);
                let traffic = &context.options.traffic;
                let listener = listeners::tcp(*at, Vec::new(), others, false, is_virtual(at), traffic);
                referring(&listener, &clusters, origin)
            }
        };
        bound.extend(granted.listeners.iter().map(build).map(Arc::new));
    }
    bound
}

/// What the TLS ports add to the listeners that they share.
fn tls_entrances(
    service: &CatalogService,
    grants: &Grants,
    context: &TranslationContext<'_>,
) -> TlsByAddress {
    let ruled = Ruled::of(context.mesh, service, context.viewer);
    let mut by_address = TlsByAddress::new();
    for (port, granted) in service.ports().iter().zip(&grants.ports) {
        for at in granted.listeners.iter().filter(|_| port.protocol == Protocol::Tls) {
            let Way { by_name, others, clusters, origin, is_ruled } =
                way(service, &ruled, port, *at, context);
            let names = || grants.names.iter().map(ToString::to_string).collect();
            let by_name = match (&others, is_ruled) {
                (Some(all), false) => vec![connections::for_names(all, names())],
                _ => by_name,
            };
            let addresses = service.virtual_addresses();
            let is_virtual = addresses.contains(&at.ip());
            let rank = EntranceRank {
                is_beside: !addresses.is_empty() && !is_virtual,
                guess: service.guess(port.number),
                priority: service.parts()[0].priority,
            };
            let entrance = TlsEntrance { rank, by_name, others, is_ruled, clusters, origin, is_virtual };
            by_address.insert(*at, Arc::new(entrance));
        }
    }
    by_address
}

/// Where connections to a port of a service go.
struct Way {
    /// By the names that clients ask for, where a document says it.
    by_name: Vec<FilterChain>,
    /// All others; `None` = they are closed.
    others: Option<FilterChain>,
    clusters: Vec<Arc<str>>,
    origin: Origin,
    is_ruled: bool,
}

/// By the document that counts, or all to the service.
fn way(
    service: &CatalogService,
    ruled: &Ruled,
    port: &ServicePort,
    at: SocketAddr,
    context: &TranslationContext<'_>,
) -> Way {
    let traffic = &context.options.traffic;
    match rules::connections(&ruled.routes, context.mesh, context.viewer, port, at) {
        Some(made) => Way {
            by_name: made.by_name.iter().map(|(names, lane)| lane.chain(names, traffic)).collect(),
            others: made.others.map(|lane| lane.chain(&[], traffic)),
            clusters: made.clusters,
            origin: Origin::Document(made.document, Some(service.host().clone())),
            is_ruled: true,
        },
        None => {
            let cluster = names::cluster(port.number, "", service.host());
            let lane = Lane::to(cluster.clone(), rules::tcp(ruled, "", port.number));
            Way {
                by_name: Vec::new(),
                others: Some(lane.chain(&[], traffic)),
                clusters: vec![cluster.into()],
                origin: origin_of(service),
                is_ruled: false,
            }
        }
    }
}

/// Virtual hosts of the HTTP ports: in the routes of their numbers, and in those of `http_listen`.
fn virtual_hosts(
    service: &CatalogService,
    grants: &Grants,
    called: Called<'_>,
    context: &TranslationContext<'_>,
) -> VirtualHostsByRoute {
    let mut virtual_hosts = VirtualHostsByRoute::new();
    let ruled = Ruled::of(context.mesh, service, context.viewer);
    let priorities = has_priorities(service, &ruled, context);
    for (port, granted) in service.ports().iter().zip(&grants.ports) {
        if !port.protocol.is_http() {
            continue;
        }
        let number = port.number;
        let addresses = if called.by.is_none() { granted.virtual_addresses.as_slice() } else { &[] };
        let by_port = led(service, &ruled, number, number, priorities, context);
        let virtual_host = |led: &Led, domains: Vec<String>| {
            let (name, routes) = (called.virtual_host(service, number), led.routes.clone());
            let host = route::VirtualHost { name, domains, routes, ..Default::default() };
            Arc::new(VirtualHost::new(&host, led.clusters.clone(), led.origin.clone()))
        };
        if !granted.listeners.is_empty() {
            // What was dialled is the port: that of the Host header is not looked at.
            let domains = called.names.iter().map(ToString::to_string);
            let domains = domains.chain(addresses.iter().map(|ip| names::ip_domain(*ip)));
            virtual_hosts.insert((RouteKey::Port(number), number), virtual_host(&by_port, domains.collect()));
        }
        if let Some(at) = context.lens.http_listen {
            let is_default = default_port(service, Protocol::is_http) == Some(number);
            let domains = called.names.iter().flat_map(|name| names_with_ports(name, number, is_default));
            let bare = number.get() == 80;
            let domains = domains.chain(addresses.iter().flat_map(|ip| address_domains(*ip, number, bare)));
            let at = Port::try_from(u32::from(at.port())).ok().filter(|_| by_port.asks_where);
            let there = at.map(|at| led(service, &ruled, number, at, priorities, context));
            let virtual_host = virtual_host(there.as_ref().unwrap_or(&by_port), domains.collect());
            virtual_hosts.insert((RouteKey::HttpListen, number), virtual_host);
        }
    }
    virtual_hosts
}

/// Where requests to a port of a service go.
struct Led {
    routes: Vec<route::Route>,
    /// The clusters that the routes name.
    clusters: Vec<Arc<str>>,
    origin: Origin,
    /// Whether it matters at which port the requests come in.
    asks_where: bool,
}

/// By the document that counts, or all to the service. `at`: the port at which the requests come in. `priorities`: its endpoints
/// can have several.
fn led(
    service: &CatalogService,
    ruled: &Ruled,
    port: Port,
    at: Port,
    priorities: bool,
    context: &TranslationContext<'_>,
) -> Led {
    if let Some(made) = rules::made(&ruled.routes, context.mesh, context.viewer, port, at) {
        let origin = made.origin(Some(service));
        return Led { routes: made.routes, clusters: made.clusters, origin, asks_where: made.asks_where };
    }
    let cluster: Arc<str> = names::cluster(port, "", service.host()).into();
    let hash_policy = rules::hash_policies(ruled, "", port);
    let routes = routes::all_to(&cluster, priorities, hash_policy, service.lead().rewrite_host);
    Led { routes, clusters: vec![cluster], origin: origin_of(service), asks_where: false }
}

impl Called<'_> {
    /// The name of a virtual host, unlike that of any other in the same routes: hosts have no slashes.
    fn virtual_host(&self, service: &CatalogService, port: Port) -> String {
        let host = service.host();
        match self.by {
            None => format!("{host}:{port}"),
            Some(namespace) => format!("{host}:{port}/{namespace}"),
        }
    }
}

/// A name as it stands in Host headers that mean this port where one listener is for all ports: those that name
/// it, and, for the default port, those that name none, or one that no HTTP port of the service has.
/// A wildcard has one star: with another port, it is in the last virtual host (`fallback/wildcards.rs`).
fn names_with_ports(name: &Hostname, port: Port, is_default: bool) -> Vec<String> {
    let bare = || is_default.then(|| name.to_string());
    let with_port = [format!("{name}:{port}")];
    match name.suffix() {
        None => with_port.into_iter().chain(bare()).chain(is_default.then(|| format!("{name}:*"))).collect(),
        Some(_) => bare().into_iter().chain(with_port).collect(),
    }
}

/// Addresses alone do not stand for a port that is not theirs: it may be another service's.
fn address_domains(ip: IpAddr, port: Port, bare: bool) -> impl Iterator<Item = String> {
    bare.then(|| names::ip_domain(ip)).into_iter().chain([names::ip_port_domain(ip, port)])
}

/// Listeners by name for gRPC clients: `host:port` for each HTTP/2 port, and `host` for the one that is meant
/// when no port is named.
fn grpc_listeners(
    service: &CatalogService,
    called: Called<'_>,
    context: &TranslationContext<'_>,
) -> Vec<Arc<Resource>> {
    let default = default_grpc_port(service);
    let ruled = Ruled::of(context.mesh, service, context.viewer);
    let mut by_name = Vec::new();
    for port in grpc_ports(service) {
        let led = led(service, &ruled, port.number, port.number, false, context);
        let Led { routes, clusters, origin, .. } = led;
        let routes = rules::for_grpc(routes);
        let listener = |name: &str| {
            let listener = listeners::api(name, &routes);
            Arc::new(referring(&listener, &clusters, origin.clone()).by_name_only())
        };
        // No client asks for a wildcard.
        for name in called.names.iter().filter(|name| name.suffix().is_none()) {
            by_name.push(listener(&format!("{name}:{}", port.number)));
            if default == Some(port.number) && !names::is_reserved(name) {
                by_name.push(listener(name.as_str()));
            }
        }
    }
    by_name
}

/// The names among all that are granted for which a gRPC client's listener cannot be there.
fn reserved(service: &CatalogService, grants: &Grants) -> Vec<Conflict> {
    let Some(port) = default_grpc_port(service) else { return Vec::new() };
    let of_all = grants.names.iter().map(|name| (name, None));
    let local = grants.local_names.iter();
    let local = local.flat_map(|(namespace, names)| names.iter().map(move |name| (name, Some(namespace))));
    let reserved = of_all.chain(local).filter(|(name, _)| names::is_reserved(name));
    let conflict = |(name, namespace): (&Hostname, Option<&Namespace>)| Conflict {
        claim: Claim::Name(name.clone()),
        namespace: namespace.cloned(),
        loser: Claimant::Service(service.id().clone(), Some(port)),
        winner: Claimant::Pilot,
        reason: Reason::Reserved,
    };
    reserved.map(conflict).collect()
}

/// The ports that gRPC clients can reach: they know no other resolution.
fn grpc_ports(service: &CatalogService) -> impl Iterator<Item = &ServicePort> {
    let known = service.lead().resolution == Resolution::Endpoints;
    service.ports().iter().filter(move |port| known && port.protocol.is_http2())
}

fn default_grpc_port(service: &CatalogService) -> Option<Port> {
    grpc_ports(service).next().and_then(|_| default_port(service, Protocol::is_http2))
}

/// The port that is meant when a client names none: 80 if it is of that kind, else the lowest that is.
fn default_port(service: &CatalogService, kind: fn(Protocol) -> bool) -> Option<Port> {
    default_of(service.ports().iter().filter(|port| kind(port.protocol)).map(|port| port.number))
}

/// Whether endpoints of the service can have several priorities, for whom ever.
fn has_priorities(service: &CatalogService, ruled: &Ruled, context: &TranslationContext<'_>) -> bool {
    let first = service.parts()[0].priority;
    context.options.prefer_near
        || ruled.policies().any(DestinationRule::asks_for_places)
        || service.parts().iter().any(|part| part.priority != first || part.holds_some())
}

fn listener_to(service: &CatalogService, cluster: &Arc<str>, listener: &Listener) -> Resource {
    referring(listener, std::slice::from_ref(cluster), origin_of(service))
}

/// What the resources of a service are there for, where no rule says anything of it: the document that it is from, or itself.
pub(super) fn origin_of(service: &CatalogService) -> Origin {
    let host = service.host().clone();
    match service.document() {
        Some(document) => Origin::Document(Arc::clone(document), Some(host)),
        None => Origin::Service(host),
    }
}

fn referring(listener: &Listener, clusters: &[Arc<str>], origin: Origin) -> Resource {
    let references = clusters.iter().map(|cluster| (ResourceType::Cluster, Arc::clone(cluster))).collect();
    Resource::new(listener.name.as_str().into(), listener, references, origin)
}
