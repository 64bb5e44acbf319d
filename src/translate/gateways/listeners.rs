//! Listeners of Gateways.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use pilot_envoy_api::envoy::config::core::v3 as core;
use pilot_envoy_api::envoy::config::core::v3::socket_address::Protocol as Transport;
use pilot_envoy_api::envoy::config::listener::v3 as listener;
use pilot_envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as http;

use super::{GatewayTranslation, routes};
use crate::resources::{Resource, ResourceType};
use crate::rules::kinds::{ServerTls, ServerTlsMode};
use crate::translate::connections::{Lane, filter, tls_inspector};
use crate::translate::listeners::{HTTP_CONNECTION_MANAGER, manager};
use crate::translate::rules::gateways::hosts::{both, bound_to, most_specific, served};
use crate::translate::rules::gateways::{Bind, Listening, Place, Placed};
use crate::translate::rules::{DocumentConnections, connections_at_gateway};
use crate::translate::source::{boolean, bound};
use crate::translate::{defaults, edge, fallback, names};

/// How Envoy calls connections over TLS.
const TLS: &str = "tls";

/// The chains of a listener, and what they do not work without.
#[derive(Default)]
struct Chains {
    all: Vec<listener::FilterChain>,
    references: Vec<(ResourceType, Arc<str>)>,
}

impl Chains {
    fn leads_to(&mut self, lane: &Lane) {
        for (cluster, _) in &lane.clusters {
            let reference = (ResourceType::Cluster, Arc::from(cluster.as_str()));
            if !self.references.contains(&reference) {
                self.references.push(reference);
            }
        }
    }
}

impl GatewayTranslation<'_> {
    /// The listener of servers of HTTP.
    pub(super) fn http_listener(&self, place: &Place, routes: &str, listening: &Listening<'_>) -> Resource {
        let filters = vec![filter(HTTP_CONNECTION_MANAGER, &self.manager(routes))];
        let chain = listener::FilterChain { filters, ..Default::default() };
        let references = vec![(ResourceType::Route, routes.into())];
        self.listener(place, Chains { all: vec![chain], references }, false, listening)
    }

    /// The listener of servers of TLS, each with a chain of its own; `None` = none of them is served.
    pub(super) fn tls_listener(&self, place: &Place, listening: &Listening<'_>) -> Option<Resource> {
        let mut chains = Chains::default();
        for server in &listening.servers {
            match &server.server.tls {
                Some(tls) if server.server.routes_http() => self.https_chain(server, tls, &mut chains),
                Some(tls) if server.server.ends_tls() => {
                    self.bytes_chain(place, server, Some(tls), &mut chains)
                }
                _ => self.chains_by_name(place, server, listening, &mut chains),
            }
        }
        (!chains.all.is_empty()).then(|| self.listener(place, chains, true, listening))
    }

    /// The listener of a server of bytes; `None` = no rule is for them.
    pub(super) fn tcp_listener(&self, place: &Place, listening: &Listening<'_>) -> Option<Resource> {
        let mut chains = Chains::default();
        for server in &listening.servers {
            self.bytes_chain(place, server, None, &mut chains);
        }
        (!chains.all.is_empty()).then(|| self.listener(place, chains, false, listening))
    }

    fn https_chain(&self, server: &Placed<'_>, tls: &ServerTls, chains: &mut Chains) {
        let routes = routes::name_of_https(server);
        let manager = of_clients(self.manager(&routes), tls);
        chains.references.push((ResourceType::Route, routes.into()));
        chains.all.push(listener::FilterChain {
            name: server.name(),
            filter_chain_match: Some(of_hosts(server.hosts.iter().map(|host| &*host.name))),
            filters: vec![filter(HTTP_CONNECTION_MANAGER, &manager)],
            transport_socket: Some(self.socket(tls, &["h2", "http/1.1"])),
            ..Default::default()
        });
    }

    /// The chain of bytes, where TLS is ended or there is none: by the first rule of a document that has one.
    fn bytes_chain(&self, place: &Place, server: &Placed<'_>, tls: Option<&ServerTls>, chains: &mut Chains) {
        let made = self.connections(place, server, false);
        let Some(lane) = made.into_iter().find_map(|it| it.others) else { return };
        let hosts = || of_hosts(server.hosts.iter().map(|host| &*host.name));
        chains.leads_to(&lane);
        chains.all.push(listener::FilterChain {
            name: server.name(),
            filter_chain_match: tls.map(|_| hosts()),
            filters: vec![lane.filter(&self.mesh.options.traffic)],
            transport_socket: tls.map(|tls| self.socket(tls, &[])),
            ..Default::default()
        });
    }

    /// The chains of a server that does not end TLS: one for each rule, by the names that it is for.
    fn chains_by_name(
        &self,
        place: &Place,
        server: &Placed<'_>,
        listening: &Listening<'_>,
        chains: &mut Chains,
    ) {
        let all = listening.names();
        let mut taken = BTreeSet::new();
        for made in self.connections(place, server, true) {
            for (names, lane) in made.by_name {
                let named = names.iter().flat_map(|name| {
                    let mut met = server.hosts.iter().filter_map(|host| both(name, &host.name));
                    met.next().map(str::to_owned)
                });
                // What another server has more precisely is that one's.
                let is_own = |name: &String| {
                    let chosen = most_specific(name, all.iter().copied());
                    chosen.is_some_and(|it| server.hosts.iter().any(|host| &*host.name == it))
                };
                let named: Vec<String> =
                    named.filter(is_own).filter(|name| taken.insert(name.clone())).collect();
                let Some(first) = named.first() else { continue };
                chains.leads_to(&lane);
                chains.all.push(listener::FilterChain {
                    name: format!("{}/{first}", server.name()),
                    filter_chain_match: Some(of_hosts(named.iter().map(String::as_str))),
                    filters: vec![lane.filter(&self.mesh.options.traffic)],
                    ..Default::default()
                });
            }
        }
    }

    /// What documents say of connections to a server, the older ones first.
    fn connections(&self, place: &Place, server: &Placed<'_>, is_tls: bool) -> Vec<DocumentConnections> {
        let gateway = server.gateway_name();
        let at = SocketAddr::new(
            place.address().map_or(Ipv4Addr::UNSPECIFIED.into(), |at| at.ip()),
            server.server.port.number,
        );
        let documents = bound_to(self.mesh, &gateway, self.viewer).into_iter();
        let documents = documents.filter(|document| !served(self.mesh, &server.hosts, document).is_empty());
        let made = documents.filter_map(|document| {
            connections_at_gateway(document, self.mesh, self.viewer, &gateway, (at, is_tls))
        });
        made.collect()
    }

    fn manager(&self, routes: &str) -> http::HttpConnectionManager {
        let (words, prefix) = (fallback::words_of_gateway(), format!("gateway_{routes}"));
        edge::manager(manager(&prefix, routes, words, &self.config_source, &self.mesh.options))
    }

    fn listener(
        &self,
        place: &Place,
        Chains { all: filter_chains, references }: Chains,
        by_name: bool,
        listening: &Listening<'_>,
    ) -> Resource {
        let name = match place.address() {
            Some(at) => names::listener(at),
            None => format!("unix:{place}"),
        };
        let message = edge::listener(listener::Listener {
            name: name.clone(),
            address: Some(address(place)),
            filter_chains,
            listener_filters: by_name.then(tls_inspector).into_iter().collect(),
            traffic_direction: core::TrafficDirection::Outbound.into(),
            tcp_keepalive: defaults::tcp_keepalive(&self.mesh.options.traffic),
            ..Default::default()
        });
        Resource::new(name.as_str().into(), &message, references, routes::origin(&listening.servers[0]))
    }
}

/// Where a listener is bound. One at all IPv6 addresses takes IPv4, too.
fn address(place: &Place) -> core::Address {
    match (&place.bind, place.address()) {
        (Bind::Ip(ip), Some(at)) => {
            let mut address = bound(Transport::Tcp, at);
            if let Some(core::address::Address::SocketAddress(socket)) = &mut address.address {
                socket.ipv4_compat = ip.is_ipv6() && ip.is_unspecified();
            }
            address
        }
        (Bind::Ip(_) | Bind::Unix(_), _) => {
            let pipe = core::Pipe { path: place.to_string(), ..Default::default() };
            core::Address { address: Some(core::address::Address::Pipe(pipe)) }
        }
    }
}

/// The connections that a server has: those whose SNI is one of its hosts.
fn of_hosts<'a>(hosts: impl Iterator<Item = &'a str> + Clone) -> listener::FilterChainMatch {
    let takes_all = hosts.clone().any(|host| host == "*");
    listener::FilterChainMatch {
        server_names: hosts.filter(|_| !takes_all).map(str::to_owned).collect(),
        transport_protocol: TLS.to_owned(),
        ..Default::default()
    }
}

/// Services are told which certificate the client has, where it may have one.
fn of_clients(manager: http::HttpConnectionManager, tls: &ServerTls) -> http::HttpConnectionManager {
    use http::http_connection_manager::{ForwardClientCertDetails, SetCurrentClientCertDetails};
    if !matches!(tls.mode(), ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual) {
        return manager;
    }
    let details =
        SetCurrentClientCertDetails { subject: boolean(true), uri: true, dns: true, ..Default::default() };
    http::HttpConnectionManager {
        forward_client_cert_details: ForwardClientCertDetails::SanitizeSet.into(),
        set_current_client_cert_details: Some(details),
        ..manager
    }
}
