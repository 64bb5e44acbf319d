//! What is in order and yet not what somebody wanted: services without endpoints, ports that Envoy cannot have.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use pilot_registry::{Address, Protocol, Resolution, ServiceId, ServicePort};

use crate::catalog::{Catalog, CatalogService};
use crate::config::{Config, Problem};
use crate::mesh::Mesh;
use crate::own_ports::{self, OTHER_PORT, OwnPorts, listed};
use crate::proxy::{ConfigSource, Role, Scope};
use crate::translate::{Claimant, Conflict, translate};

/// The ports below are those of root, or of who has CAP_NET_BIND_SERVICE.
const FIRST_FREE_PORT: u16 = 1024;

/// Where services are written.
pub(super) type Places = BTreeMap<ServiceId, Problem>;

/// All warnings of services. `complete` says whether every registry was looked at.
pub(super) fn of(catalog: Catalog, config: &Config, places: &Places, complete: bool) -> Vec<Problem> {
    let mut warnings = Vec::new();
    if complete {
        warnings.extend(without_endpoints(&catalog, places));
    }
    warnings.extend(ports(&catalog, config, places));
    warnings.extend(own_listeners(&catalog, config, places));
    warnings.extend(conflicts(catalog, config, places));
    warnings
}

/// A warning at the place where the service is written.
fn warning(service: Option<&ServiceId>, places: &Places, message: String) -> Problem {
    let place = service.and_then(|service| places.get(service)).cloned().unwrap_or_default();
    Problem { message, ..place }
}

fn without_endpoints(catalog: &Catalog, places: &Places) -> Vec<Problem> {
    let lacking = catalog.services().iter().filter(|service| {
        // Other services are resolved by their own names, or not at all.
        service.lead().resolution == Resolution::Endpoints && service.endpoints().next().is_none()
    });
    let warn = |service: &std::sync::Arc<CatalogService>| {
        let id = service.id();
        warning(Some(id), places, format!("{id} has no endpoints: clients get 503 until it has one"))
    };
    lacking.map(warn).collect()
}

/// Ports that a router may be unable to listen on. One warning for each, however many services have it.
fn ports(catalog: &Catalog, config: &Config, places: &Places) -> Vec<Problem> {
    let warn = |(port, hosts): (u16, Vec<&ServiceId>)| {
        let why = taken(SocketAddr::new(config.router.bind, port), config, OTHER_PORT)?;
        Some(warning(hosts.first().copied(), places, format!("port {port} of {}: {why}", listed(&hosts))))
    };
    let http_listen = config.router.http_listen.and_then(|at| {
        let why = taken(at, config, "choose another port")?;
        Some(warning(None, places, format!("router.http_listen {at}: {why}")))
    });
    let udp = |(port, hosts): (u16, Vec<&ServiceId>)| {
        let why = privileged(port, OTHER_PORT)?;
        Some(warning(hosts.first().copied(), places, format!("port {port} of {}: {why}", listed(&hosts))))
    };
    let bound = own_ports::bound(catalog, config.router.http_port_listeners).into_iter().filter_map(warn);
    // pilot and Envoy's admin page have no UDP ports.
    let udp = own_ports::bound_udp(catalog).into_iter().filter_map(udp);
    bound.chain(udp).chain(http_listen).collect()
}

/// Endpoints at addresses of this machine, other than loopback, where pilot or an Envoy here listens itself. What is
/// at loopback is a conflict wherever the Envoy runs; these are one only if it runs here.
fn own_listeners(catalog: &Catalog, config: &Config, places: &Places) -> Vec<Problem> {
    let mut known: BTreeMap<IpAddr, bool> = BTreeMap::new();
    // Only addresses of this machine can be bound.
    let is_bound = |ip: &IpAddr| UdpSocket::bind((*ip, 0)).is_ok();
    let mut is_own = |ip: IpAddr| !ip.is_loopback() && *known.entry(ip).or_insert_with_key(is_bound);
    let mut warnings = Vec::new();
    for service in catalog.services() {
        for (at, port) in tcp_endpoints(service) {
            if let Some(why) = listener_at(at, port, config).filter(|_| is_own(at.ip())) {
                let message = format!("{}: endpoint {at} {why}", service.id());
                warnings.push(warning(Some(service.id()), places, message));
            }
        }
    }
    warnings
}

/// Where endpoints of a service listen, and for which of its ports.
fn tcp_endpoints(service: &CatalogService) -> impl Iterator<Item = (SocketAddr, &ServicePort)> {
    service.endpoints().flat_map(|(_, endpoint)| {
        let ip = if let Address::Ip(ip) = endpoint.address { Some(ip) } else { None };
        let tcp = service.ports().iter().filter(|port| port.protocol != Protocol::Udp);
        tcp.filter_map(move |port| {
            Some((SocketAddr::new(ip?, endpoint.ports.get(&port.number)?.get()), port))
        })
    })
}

/// What of pilot, or of an Envoy beside it, listens there.
fn listener_at(at: SocketAddr, port: &ServicePort, config: &Config) -> Option<String> {
    let is_at = |listen: &SocketAddr| {
        listen.port() == at.port() && (listen.ip() == at.ip() || listen.ip().is_unspecified())
    };
    let own = [("xds.listen", config.xds.listen), ("admin.listen", config.admin.listen)];
    if let Some((key, _)) = own.iter().find(|(_, listen)| is_at(listen)) {
        return Some(format!("is pilot's own port on this machine ({key})"));
    }
    if config.router.http_listen.as_ref().is_some_and(is_at) {
        return Some(
            "is router.http_listen of an Envoy on this machine: requests would go round for ever".to_owned(),
        );
    }
    let bind = SocketAddr::new(config.router.bind, port.number.get());
    let has_listener = config.router.http_port_listeners || !port.protocol.is_http();
    (has_listener && is_at(&bind)).then(|| {
        format!(
            "is where an Envoy on this machine listens for port {} ([router] bind): only one of them can. Give the \
             program another port",
            port.number
        )
    })
}

/// Why a router on pilot's machine cannot listen there, or not without more rights. `cure`: what helps.
fn taken(at: SocketAddr, config: &Config, cure: &str) -> Option<String> {
    let own = OwnPorts { xds: Some(config.xds.listen), admin: Some(config.admin.listen) };
    own.taken(at, cure).or_else(|| privileged(at.port(), cure))
}

fn privileged(port: u16, cure: &str) -> Option<String> {
    (port < FIRST_FREE_PORT).then(|| {
        format!(
            "an Envoy that is not root may not listen below 1024: {cure}, or give Envoy CAP_NET_BIND_SERVICE"
        )
    })
}

/// What a router would be served with, and some service would not get.
fn conflicts(catalog: Catalog, config: &Config, places: &Places) -> Vec<Problem> {
    let mesh = Mesh { catalog, options: config.into(), ..Mesh::default() };
    let scope = Scope::new(Role::Router, ConfigSource::Ads);
    let disputed = mesh.catalog.disagreements();
    let disputed = disputed.map(|(id, said)| warning(Some(id), places, format!("{id}: {said}")));
    let claims = translate(&mesh, &scope, tokio::time::Instant::now()).conflicts;
    let claims = claims.iter().map(|conflict| warning(loser(conflict), places, conflict.to_string()));
    disputed.chain(claims).collect()
}

fn loser(conflict: &Conflict) -> Option<&ServiceId> {
    match &conflict.loser {
        Claimant::Service(id, _) | Claimant::Endpoint(id, _) => Some(id),
        _ => None,
    }
}
