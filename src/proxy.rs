//! Who a proxy is, as its node says, and the scope that follows from it.

mod client_kind;
mod node;
mod scope;

use std::net::IpAddr;
use std::sync::Arc;

use pilot_registry::{Labels, Locality, Namespace};

pub use client_kind::ClientKind;
pub use node::{NodeError, named};
pub(crate) use scope::near;
pub use scope::{Affinity, ConfigSource, Scope, Viewpoint};

/// What a proxy is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs beside one workload.
    Sidecar,
    /// Outbound only, with bound listeners.
    Router,
    /// Lets traffic into the mesh.
    Ingress,
}

impl Role {
    /// The word in a node id.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sidecar => "sidecar",
            Self::Router => "router",
            Self::Ingress => "ingress",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Sidecar, Self::Router, Self::Ingress].into_iter().find(|role| role.as_str() == word)
    }
}

/// A proxy, as its node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The node id, whole.
    pub id: Arc<str>,
    /// `node.cluster`: the name of the group that the proxy is in.
    pub cluster: Arc<str>,
    /// What it is there for.
    pub role: Role,
    /// The address in its id, by which registries know the workload that it runs beside. `None` where that says
    /// nothing: every machine has a loopback.
    pub address: Option<IpAddr>,
    /// The client's name and version as it tells them: `envoy 1.40.0`.
    pub user_agent: Arc<str>,
    /// What it understands, where the way in which it asks allows it.
    pub client: ClientKind,
    /// `node.locality`: where it runs. Empty parts are unknown.
    pub locality: Locality,
    /// Its place among services: what the short names are that it uses.
    pub namespace: Option<Namespace>,
    /// What it says of itself in `node.metadata.LABELS`, as far as rules may ask for that.
    pub labels: Labels,
    /// The cluster of its bootstrap that leads to pilot, for clients that do not use ADS:
    /// `node.metadata.XDS_CLUSTER`, or `pilot`.
    xds_cluster: Arc<str>,
    /// Whether its node says that.
    says_xds_cluster: bool,
}

/// The oldest version of Envoy that pilot is tested with.
pub const OLDEST_ENVOY: (u32, u32) = (1, 36);

/// The bootstrap cluster that leads to pilot, unless `node.metadata.XDS_CLUSTER` names another.
pub const DEFAULT_XDS_CLUSTER: &str = "pilot";

impl Proxy {
    /// Why its version is not supported; `None` = it is, or it is no Envoy.
    pub fn unsupported(&self) -> Option<String> {
        let version = self.user_agent.strip_prefix("envoy ")?;
        let mut parts = version.split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else { return None };
        let (oldest_major, oldest_minor) = OLDEST_ENVOY;
        let is_old = (major, minor) < OLDEST_ENVOY;
        is_old.then(|| format!("older than {oldest_major}.{oldest_minor}"))
    }

    /// The cluster of its bootstrap that leads to pilot, as its configuration will name it where it does not use
    /// ADS.
    pub fn xds_cluster(&self) -> &str {
        &self.xds_cluster
    }

    /// Whether its node says the name of that cluster.
    pub fn says_xds_cluster(&self) -> bool {
        self.says_xds_cluster
    }

    /// The same proxy, as one that does not take routes in parts.
    #[must_use]
    pub fn with_whole_routes(self) -> Self {
        Self { client: self.client.whole(), ..self }
    }

    /// The key of everything that this proxy's configuration depends on when it asks like that, and neither where
    /// it runs matters nor what its namespace is.
    pub fn scope(&self, transport: Transport) -> Scope {
        let (client, config_source) = match transport {
            Transport::Ads if self.client == ClientKind::Grpc => (self.client, ConfigSource::AdsOfGrpc),
            Transport::Ads => (self.client, ConfigSource::Ads),
            Transport::PerType { delta } => {
                let cluster = Arc::clone(&self.xds_cluster);
                (self.client.whole(), ConfigSource::PerType { cluster, delta })
            }
        };
        // What Gateways make is not served in parts.
        let client = if self.role == Role::Ingress { client.whole() } else { client };
        Scope { client, ..Scope::new(self.role, config_source) }
    }
}

/// The way in which a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// All types on one stream.
    Ads,
    /// A stream per type.
    PerType {
        /// Delta or state of the world.
        delta: bool,
    },
}
