//! One immutable state of the mesh: the catalog, and the options that translation depends on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pilot_registry::{Locality, Namespace};

use crate::catalog::{Catalog, Workload};
use crate::proxy::{Proxy, Scope, Transport};

/// Everything that the configuration of all proxies is made from.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// All services.
    pub catalog: Catalog,
    /// What pilot.toml says of all proxies.
    pub options: MeshOptions,
}

impl Mesh {
    /// The workload that a proxy runs beside, if registries know one at the proxy's address.
    pub fn workload(&self, address: Option<IpAddr>) -> Option<Workload<'_>> {
        self.catalog.workload(address?)
    }

    /// The scope of a proxy. Where it runs counts as far as some endpoint runs there, too, and its namespace if
    /// it makes a difference which services are there and what they are called: there are no more scopes than what registries know makes,
    /// whatever clients say. What a proxy does not say of itself is said by its workload, which is looked for
    /// where that matters.
    pub fn scope(&self, proxy: &Proxy, transport: Transport) -> Scope {
        let (near, named) = (self.options.prefer_near, self.catalog.has_namespaces());
        let is_placeless = near && proxy.locality == Locality::default();
        let is_silent = is_placeless || named && proxy.namespace.is_none();
        let workload = if is_silent { self.workload(proxy.address) } else { None };
        let place = || locality(&proxy.locality, workload.as_ref());
        let near = near.then(|| self.catalog.known_part(&place()));
        let namespace = named.then(|| namespace(proxy.namespace.as_ref(), workload.as_ref())).flatten();
        let namespace = namespace.filter(|namespace| self.catalog.differs_in(namespace)).cloned();
        let scope = proxy.scope(transport);
        // What a namespace sees otherwise, it gets as a whole.
        let in_parts = self.options.vhds && namespace.is_none();
        let client = if in_parts { scope.client } else { scope.client.whole() };
        Scope { client, locality: near.unwrap_or_default(), namespace, ..scope }
    }
}

/// Where a proxy runs: where it says itself, or else where its workload does.
pub fn locality(said: &Locality, workload: Option<&Workload<'_>>) -> Locality {
    if *said != Locality::default() {
        return said.clone();
    }
    workload.map(Workload::locality).unwrap_or_default()
}

/// The namespace of a proxy: what it says itself, or else that of its workload.
pub fn namespace<'a>(said: Option<&'a Namespace>, workload: Option<&Workload<'a>>) -> Option<&'a Namespace> {
    said.or_else(|| workload?.namespace())
}

/// What pilot.toml says of all proxies.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshOptions {
    /// How long a proxy waits for a connection to an endpoint. `[mesh] connect_timeout`.
    pub connect_timeout: Duration,
    /// The address on which outbound listeners of routers are bound. `[router] bind`.
    pub bind: IpAddr,
    /// Where routers serve every HTTP service by Host header. `[router] http_listen`.
    pub http_listen: Option<SocketAddr>,
    /// Whether routers that have `http_listen` also listen on each port with HTTP services. `[router]
    /// http_port_listeners`.
    pub http_port_listeners: bool,
    /// Whether a proxy is told to use the endpoints near to it first. `[mesh] locality`.
    pub prefer_near: bool,
    /// Whether Envoys that can take routes in parts do. `[xds] vhds`.
    pub vhds: bool,
    /// Whether a service without healthy endpoints is served by its unhealthy ones. `[mesh] panic`.
    pub serves_unhealthy: bool,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            bind: Ipv4Addr::LOCALHOST.into(),
            http_listen: None,
            http_port_listeners: true,
            prefer_near: false,
            vhds: true,
            serves_unhealthy: false,
        }
    }
}
