//! Ports on which an Envoy on pilot's machine cannot listen, because pilot or Envoy itself does.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use pilot_registry::{Protocol, Resolution, ServiceId};

use crate::catalog::{Catalog, CatalogService};

/// Where Envoy's own admin pages are, by the bootstrap that pilot prints.
const ENVOY_ADMIN: u16 = 9901;
/// As many services are named in one sentence.
const NAMED: usize = 3;

/// Where pilot listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnPorts {
    /// For proxies: `[xds] listen`.
    pub xds: Option<SocketAddr>,
    /// For people and probes: `[admin] listen`.
    pub admin: Option<SocketAddr>,
}

impl OwnPorts {
    /// Why an Envoy on this machine cannot listen there; `None` = nothing of pilot or Envoy is in its way. `cure`: what
    /// helps.
    pub fn taken(&self, at: SocketAddr, cure: &str) -> Option<String> {
        let (bind, port) = (at.ip(), at.port());
        let own = [("xds.listen", self.xds), ("admin.listen", self.admin)];
        let own = own.into_iter().filter_map(|(key, own)| Some((key, own?)));
        if let Some((key, at)) = own.clone().find(|(_, at)| at.port() == port && overlap(bind, at.ip())) {
            return Some(format!(
                "pilot itself listens at {at} ({key}), so Envoy cannot listen there: {cure}, or pilot \
                 another {key}"
            ));
        }
        let loopback = IpAddr::from([127, 0, 0, 1]);
        (port == ENVOY_ADMIN && overlap(bind, loopback)).then(|| {
            format!(
                "Envoy has its own admin page there: {cure}, or move the page with pilot bootstrap \
                 --admin-address"
            )
        })
    }

    /// Services with ports that an Envoy on this machine cannot listen on, in a sentence for each port.
    pub fn conflicts(&self, ports: &BTreeMap<u16, Vec<&ServiceId>>, bind: IpAddr) -> Vec<String> {
        let said = |(port, services): (&u16, &Vec<&ServiceId>)| {
            let why = self.taken(SocketAddr::new(bind, *port), OTHER_PORT)?;
            Some(format!("port {port} of {}: {why}", listed(services)))
        };
        ports.iter().filter_map(said).collect()
    }
}

/// What helps where a service has such a port.
pub const OTHER_PORT: &str = "give the service another port";

/// The TCP ports that a router listens on for services, with the services of each. `http`: whether it does for HTTP.
pub fn bound(catalog: &Catalog, http: bool) -> BTreeMap<u16, Vec<&ServiceId>> {
    bound_by(catalog.services().iter().map(AsRef::as_ref), http)
}

/// The UDP ports that a router listens on for services, with the services of each.
pub fn bound_udp(catalog: &Catalog) -> BTreeMap<u16, Vec<&ServiceId>> {
    let services = catalog.services().iter().map(AsRef::as_ref);
    by_port(services, |protocol| protocol == Protocol::Udp)
}

/// The TCP ports that a router listens on for some services.
pub fn bound_by<'a>(
    services: impl IntoIterator<Item = &'a CatalogService>,
    http: bool,
) -> BTreeMap<u16, Vec<&'a ServiceId>> {
    by_port(services, |protocol| protocol != Protocol::Udp && (http || !protocol.is_http()))
}

fn by_port<'a>(
    services: impl IntoIterator<Item = &'a CatalogService>,
    has_listener: impl Fn(Protocol) -> bool,
) -> BTreeMap<u16, Vec<&'a ServiceId>> {
    let mut bound: BTreeMap<u16, Vec<&ServiceId>> = BTreeMap::new();
    // A router has nothing to listen on for services that have no addresses.
    let is_bound = |service: &&CatalogService| service.lead().resolution != Resolution::Passthrough;
    for service in services.into_iter().filter(is_bound) {
        for port in service.ports().iter().filter(|port| has_listener(port.protocol)) {
            bound.entry(port.number.get()).or_default().push(service.id());
        }
    }
    bound
}

/// The names of the first services, and how many more there are.
pub fn listed(services: &[&ServiceId]) -> String {
    let named: Vec<String> = services.iter().take(NAMED).map(ToString::to_string).collect();
    match services.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn overlap(bind: IpAddr, at: IpAddr) -> bool {
    bind == at || bind.is_unspecified() || at.is_unspecified()
}
