//! What a proxy's configuration depends on.

use std::fmt;
use std::sync::Arc;

use pilot_registry::{Locality, Namespace};

use super::{ClientKind, DEFAULT_XDS_CLUSTER, Role};

/// How a client gets the resources that others refer to: endpoints of clusters, routes of listeners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigSource {
    /// On the aggregated stream.
    Ads,
    /// On a stream of their own, to this cluster of the client's bootstrap.
    PerType {
        /// The cluster's name.
        cluster: Arc<str>,
        /// Delta or state of the world.
        delta: bool,
    },
}

/// Everything about a proxy that its configuration depends on. Proxies with equal scopes share resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// What the proxy is there for.
    pub role: Role,
    /// Where resources that others refer to come from.
    pub config_source: ConfigSource,
    /// What its client understands.
    pub client: ClientKind,
    /// What its endpoints are near to or far from; empty where that makes no difference.
    pub locality: Locality,
    /// Whose short names it uses; `None` where those are no others than everybody's.
    pub namespace: Option<Namespace>,
}

impl Scope {
    /// The scope of Envoys that take routes as a whole, to which nothing is near, and which use no names of a namespace.
    pub fn new(role: Role, config_source: ConfigSource) -> Self {
        Self {
            role,
            config_source,
            client: ClientKind::Envoy,
            locality: Locality::default(),
            namespace: None,
        }
    }

    /// The scope whose resources those of all scopes like this one begin with, wherever their proxies run and
    /// whatever their namespace is.
    #[must_use]
    pub fn common(&self) -> Self {
        Self { client: self.client, ..Self::new(self.role, self.config_source.clone()) }
    }

    /// Whether there are as many scopes like this one as clients think up names: it is neither of ADS, nor
    /// has it the usual name.
    pub fn has_chosen_name(&self) -> bool {
        match &self.config_source {
            ConfigSource::Ads => false,
            ConfigSource::PerType { cluster, .. } => **cluster != *DEFAULT_XDS_CLUSTER,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.as_str())?;
        match &self.config_source {
            ConfigSource::Ads => Ok(()),
            ConfigSource::PerType { cluster, delta } => {
                write!(f, "/{}/{cluster}", if *delta { "delta" } else { "sotw" })
            }
        }?;
        match self.client {
            ClientKind::EnvoyWithVhds => f.write_str("/vhds"),
            ClientKind::Grpc => f.write_str("/grpc"),
            ClientKind::Envoy => Ok(()),
        }?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        if self.locality == Locality::default() {
            return Ok(());
        }
        let Locality { region, zone, sub_zone } = &self.locality;
        let parts = [region, zone, sub_zone].map(String::as_str).join("/");
        write!(f, " near {}", parts.trim_end_matches('/'))
    }
}
