//! What became of the rules of a VirtualService for connections.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::super::connections::{Caller, asker, names_and_routes, tcp_route};
use super::super::lens::Viewer;
use super::{Examiner, Standing};
use crate::catalog::CatalogService;
use crate::rules::kinds::{ConnectionDestination, ConnectionMatch, Destination, MESH, VirtualService};
use pilot_registry::{Protocol, ServicePort};

impl<'a> Examiner<'a> {
    /// What of the rules for connections leads nowhere, or is for nobody.
    pub(super) fn connections(&mut self, rule: &'a VirtualService) {
        let services: Vec<&'a CatalogService> =
            rule.hosts.iter().filter_map(|host| Some(&**self.mesh.named(host, self.namespace())?)).collect();
        let ports: BTreeSet<u16> =
            services.iter().flat_map(|service| ports(service)).map(|port| port.number.get()).collect();
        for (i, tls) in rule.tls.iter().enumerate() {
            let path = format!("spec.tls[{i}]");
            self.dead_conditions(&path, &tls.matches, &services, &ports);
            self.connection_destinations(&path, &tls.route);
        }
        for (i, tcp) in rule.tcp.iter().enumerate() {
            let path = format!("spec.tcp[{i}]");
            self.dead_conditions(&path, &tcp.matches, &services, &ports);
            self.connection_destinations(&path, &tcp.route);
        }
    }

    /// Rules that are for ports of a kind that the service of a host does not have.
    pub(super) fn rules_without_ports(
        &mut self,
        rule: &VirtualService,
        host: &str,
        service: &CatalogService,
    ) {
        let has = |is_it: fn(Protocol) -> bool| service.ports().iter().any(|port| is_it(port.protocol));
        let is_bytes = |protocol: Protocol| !protocol.is_http() && protocol != Protocol::Udp;
        let of_kinds = [
            (rule.http.is_empty(), has(Protocol::is_http), "http", "HTTP port", "HTTP requests"),
            (
                rule.tls.is_empty(),
                has(|it| it == Protocol::Tls),
                "tls",
                "port with the protocol tls",
                "TLS connections",
            ),
            (rule.tcp.is_empty(), has(is_bytes), "tcp", "port that is TCP and not HTTP", "TCP connections"),
        ];
        let (there, missing): (Vec<_>, Vec<_>) =
            of_kinds.into_iter().filter(|(is_empty, ..)| !is_empty).partition(|(_, has, ..)| *has);
        let standing = if there.is_empty() { Standing::Unused } else { Standing::Accepted };
        for (_, _, key, port, what) in missing {
            self.say(
                standing,
                format!("spec.{key}: {host} has no {port}: these rules are for {what}, and do nothing"),
            );
        }
    }

    /// Rules for connections to a host that no service has.
    pub(super) fn connections_to_strangers(&mut self, rule: &VirtualService, host: &str) {
        let standing = if rule.http.is_empty() { Standing::Unused } else { Standing::Accepted };
        for (key, is_empty) in [("tls", rule.tls.is_empty()), ("tcp", rule.tcp.is_empty())] {
            if !is_empty {
                let message = format!(
                    "spec.{key}: no service has {host}: these rules are for connections to services, and do nothing"
                );
                self.say(standing, message);
            }
        }
    }

    /// Conditions that no connection fulfils.
    fn dead_conditions(
        &mut self,
        path: &str,
        conditions: &[impl ConnectionMatch],
        services: &[&CatalogService],
        ports: &BTreeSet<u16>,
    ) {
        for (i, condition) in conditions.iter().enumerate() {
            let gateways = condition.source().gateways;
            if let Some(port) = condition.port().filter(|port| !services.is_empty() && !ports.contains(port))
            {
                let listed: Vec<String> = ports.iter().map(u16::to_string).collect();
                let message = format!(
                    "{path}.match[{i}].port: it never matches: no host has a port {port} for connections; they have {}",
                    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
                );
                self.say(Standing::Accepted, message);
            } else if !gateways.is_empty() && !gateways.iter().any(|gateway| gateway == MESH) {
                continue;
            } else if !condition.subnets().is_empty() && !services.is_empty() {
                let viewer = Viewer { namespace: "", labels: condition.source().labels };
                let is_met = services.iter().any(|service| {
                    let addresses = self.addresses(service);
                    addresses.into_iter().any(|at| {
                        let port = condition.port().unwrap_or_default();
                        let namespace = condition.source().namespace.unwrap_or_default();
                        let viewer = Viewer { namespace, ..viewer };
                        Caller { asker: asker(viewer, port), at }.fulfils(condition)
                    })
                });
                if !is_met {
                    let message = format!(
                        "{path}.match[{i}].destinationSubnets: it never matches: no host has a virtual address there"
                    );
                    self.say(Standing::Accepted, message);
                }
            }
        }
    }

    fn connection_destinations(&mut self, path: &str, route: &[ConnectionDestination]) {
        for (i, to) in route.iter().enumerate() {
            self.connection_destination(&format!("{path}.route[{i}].destination"), &to.destination);
        }
    }

    fn connection_destination(&mut self, path: &str, destination: &Destination) {
        let Some(service) = self.mesh.named(&destination.host, self.namespace()) else {
            return self.unknown(&format!("{path}.host"), &destination.host);
        };
        let named = destination.port.map(|port| port.number);
        let port = named.and_then(|number| service.ports().iter().find(|port| port.number.get() == number));
        match (named, port) {
            (Some(number), None) => {
                self.say(Standing::Dangling, format!("{path}.port: {} has no port {number}", service.host()));
            }
            (_, Some(port)) if port.protocol == Protocol::Udp => {
                let message = format!("{path}.port: port {} of {} is UDP", port.number, service.host());
                self.say(Standing::Dangling, message);
            }
            _ => {}
        }
        if let Some(subset) = &destination.subset {
            self.missing_subset(path, service, subset, |_| true);
        }
    }

    /// Whether a document has a rule for connections of these proxies to the service.
    pub(super) fn connects(
        &self,
        rule: &VirtualService,
        viewer: Viewer<'_>,
        service: &CatalogService,
    ) -> bool {
        let addresses = self.addresses(service);
        ports(service).any(|port| {
            addresses.iter().any(|at| {
                let at = SocketAddr::new(at.ip(), port.number.get());
                let caller = Caller { asker: asker(viewer, port.number.get()), at };
                let by_name =
                    port.protocol == Protocol::Tls && names_and_routes(rule, caller).next().is_some();
                by_name || tcp_route(rule, caller).is_some()
            })
        })
    }

    /// Where clients call a service.
    fn addresses(&self, service: &CatalogService) -> Vec<SocketAddr> {
        let all = [self.mesh.options.bind].into_iter().chain(service.virtual_addresses().iter().copied());
        all.map(|ip| SocketAddr::new(ip, 0)).collect()
    }
}

/// The ports to which connections come of which bytes alone are known.
fn ports(service: &CatalogService) -> impl Iterator<Item = &ServicePort> {
    let is_bytes = |port: &&ServicePort| !port.protocol.is_http() && port.protocol != Protocol::Udp;
    service.ports().iter().filter(is_bytes)
}
