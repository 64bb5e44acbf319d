//! Which endpoints a service can have: those that can be reached in the way that its preferred registry says, and
//! that lead to no listener of pilot's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use pilot_registry::{Address, Endpoint, Port, Protocol, Resolution, ServicePort};

use super::conflict::{Claim, Claimant, Conflict, Reason};
use crate::catalog::CatalogService;

/// The endpoints that are left out, for all ports or for one.
pub(super) fn misfits(service: &CatalogService, http_listen: Option<SocketAddr>) -> Vec<Conflict> {
    let mut misfits: Vec<Conflict> = unresolvable(service).collect();
    for port in service.ports() {
        for (_, endpoint) in service.endpoints().filter(|(_, endpoint)| fits(service, endpoint)) {
            let own = endpoint.ports.get(&port.number);
            let refusal = own.and_then(|own| refusal(port, endpoint, *own, http_listen));
            misfits.extend(refusal.map(|(winner, reason)| Conflict {
                claim: Claim::Endpoint(service.id().clone(), endpoint.address.clone()),
                namespace: None,
                loser: Claimant::Service(service.id().clone(), Some(port.number)),
                winner,
                reason,
            }));
        }
    }
    misfits
}

/// Why a port cannot have an endpoint that it is said to have.
pub(super) fn refusal(
    port: &ServicePort,
    endpoint: &Endpoint,
    own: Port,
    http_listen: Option<SocketAddr>,
) -> Option<(Claimant, Reason)> {
    if port.protocol == Protocol::Udp {
        let is_unix = matches!(endpoint.address, Address::Unix(_));
        return is_unix.then_some((Claimant::Nobody, Reason::UnixDatagrams));
    }
    let at = http_listen?;
    let loops = listeners_at(&endpoint.address, own).any(|listener| listener == at);
    loops.then_some((Claimant::HttpListen, Reason::Loop))
}

/// The endpoints that cannot be reached in the way that the preferred registry says.
fn unresolvable(service: &CatalogService) -> impl Iterator<Item = Conflict> {
    let lead = &service.parts()[0];
    service.endpoints().filter(|(_, endpoint)| !fits(service, endpoint)).map(|(part, endpoint)| Conflict {
        claim: Claim::Endpoint(service.id().clone(), endpoint.address.clone()),
        namespace: None,
        loser: Claimant::Registry(part.registry.to_string()),
        winner: Claimant::Registry(lead.registry.to_string()),
        reason: Reason::Resolution,
    })
}

/// Whether the endpoint can be reached in the way that the preferred registry says.
pub(super) fn fits(service: &CatalogService, endpoint: &Endpoint) -> bool {
    match (service.lead().resolution, &endpoint.address) {
        (Resolution::Passthrough, _) => false,
        (Resolution::Endpoints, address) => !matches!(address, Address::Dns(_)),
        (Resolution::Dns | Resolution::DnsRoundRobin, address) => !matches!(address, Address::Unix(_)),
    }
}

/// The addresses of listeners that a connection to this endpoint would reach.
pub(super) fn listeners_at(address: &Address, port: Port) -> impl Iterator<Item = SocketAddr> {
    let ip = match address {
        Address::Ip(ip) => Some(*ip),
        Address::Dns(name) => (name.as_str() == "localhost").then_some(Ipv4Addr::LOCALHOST.into()),
        Address::Unix(_) => None,
    };
    let at_any = ip.filter(IpAddr::is_loopback).map(any);
    ip.into_iter().chain(at_any).map(move |ip| SocketAddr::new(ip, port.get()))
}

fn any(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}
