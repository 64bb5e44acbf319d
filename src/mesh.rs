//! One immutable world: the catalog and the options that translation depends on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pilot_registry::{Locality, Namespace};

use crate::catalog::{Catalog, Workload};

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

    /// Where a proxy runs: where it says itself, or else where the workload at its address does.
    pub fn locality(&self, said: &Locality, address: Option<IpAddr>) -> Locality {
        if *said != Locality::default() {
            return said.clone();
        }
        self.workload(address).map(|workload| workload.locality()).unwrap_or_default()
    }

    /// The namespace of a proxy: what it says itself, or else that of the workload at its address.
    pub fn namespace<'a>(
        &'a self,
        said: Option<&'a Namespace>,
        address: Option<IpAddr>,
    ) -> Option<&'a Namespace> {
        said.or_else(|| self.workload(address)?.namespace())
    }
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
    /// Whether a proxy is told to use the endpoints near to it first. `[mesh] locality`.
    pub prefer_near: bool,
}

impl Default for MeshOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            bind: Ipv4Addr::LOCALHOST.into(),
            http_listen: None,
            prefer_near: false,
        }
    }
}
