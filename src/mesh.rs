//! One immutable world: the catalog and the options that translation depends on.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::catalog::Catalog;

/// Everything that the configuration of all proxies is made from.
#[derive(Clone, Debug, Default)]
pub struct Mesh {
    /// All services.
    pub catalog: Catalog,
    /// What pilot.toml says of all proxies.
    pub options: MeshOptions,
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
