//! What a proxy's configuration depends on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pilot_registry::{Labels, Locality, Namespace};

use super::{ClientKind, DEFAULT_XDS_CLUSTER, Role};

/// How a client gets the resources that others refer to: endpoints of clusters, routes of listeners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigSource {
    /// On the aggregated stream.
    Ads,
    /// There, too, in words that clients of gRPC understand.
    AdsOfGrpc,
    /// On a stream of their own, to this cluster of the client's bootstrap.
    PerType {
        /// The cluster's name.
        cluster: Arc<str>,
        /// Delta or state of the world.
        delta: bool,
    },
}

/// A proxy's labels by which rules order endpoints; `None` = a value that no endpoint has.
pub type Affinity = BTreeMap<Arc<str>, Option<Arc<str>>>;

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
    /// Its labels that endpoints come first for sharing.
    pub affinity: Arc<Affinity>,
    /// Whose short names it uses; `None` where those are no others than everybody's.
    pub namespace: Option<Namespace>,
    /// Its labels that rules ask for.
    pub labels: Arc<Labels>,
}

/// What services and rules look like depends on who looks: clients of a namespace, with labels that rules ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Viewpoint {
    /// Their namespace; `None` = one that makes no difference.
    pub namespace: Option<Namespace>,
    /// The labels that they have, of those that rules ask for.
    pub labels: Arc<Labels>,
}

impl fmt::Display for Viewpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.namespace.as_ref().map_or("any namespace", Namespace::as_str))?;
        self.labels.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

impl Scope {
    /// The scope of Envoys that take routes as a whole, to which nothing is near, and which use no names of a namespace.
    pub fn new(role: Role, config_source: ConfigSource) -> Self {
        Self {
            role,
            config_source,
            client: ClientKind::Envoy,
            locality: Locality::default(),
            affinity: Arc::default(),
            namespace: None,
            labels: Arc::default(),
        }
    }

    /// As who it sees services; `None` = as everybody.
    pub fn viewpoint(&self) -> Option<Viewpoint> {
        let viewpoint = Viewpoint { namespace: self.namespace.clone(), labels: Arc::clone(&self.labels) };
        Some(viewpoint).filter(|viewpoint| *viewpoint != Viewpoint::default())
    }

    /// What all scopes like this one have in common, wherever their proxies run and whatever their namespace is.
    pub fn common(&self) -> (Role, &ConfigSource, ClientKind) {
        (self.role, &self.config_source, self.client)
    }

    /// Whether there are as many scopes like this one as clients think up names: it is neither of ADS, nor
    /// has it the usual name.
    pub fn has_chosen_name(&self) -> bool {
        match &self.config_source {
            ConfigSource::Ads | ConfigSource::AdsOfGrpc => false,
            ConfigSource::PerType { cluster, .. } => **cluster != *DEFAULT_XDS_CLUSTER,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.as_str())?;
        match &self.config_source {
            ConfigSource::Ads => Ok(()),
            ConfigSource::AdsOfGrpc => f.write_str("/grpc"),
            ConfigSource::PerType { cluster, delta } => {
                write!(f, "/{}/{cluster}", if *delta { "delta" } else { "sotw" })
            }
        }?;
        match self.client {
            ClientKind::EnvoyWithVhds => f.write_str("/vhds"),
            ClientKind::Grpc | ClientKind::Envoy => Ok(()),
        }?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        for (i, (key, value)) in self.labels.iter().enumerate() {
            write!(f, "{}{key}={value}", if i == 0 { " with " } else { "," })?;
        }
        f.write_str(&near(&self.locality, &self.affinity))
    }
}

/// What is near to proxies, in words that follow others; empty = everything is equally far.
pub(crate) fn near(locality: &Locality, affinity: &Affinity) -> String {
    let Locality { region, zone, sub_zone } = locality;
    let place = [region, zone, sub_zone].map(String::as_str).join("/");
    let place = Some(place.trim_end_matches('/').to_owned()).filter(|place| !place.is_empty());
    let labels = affinity.iter().map(|(key, value)| match value {
        Some(value) => format!("{key}={value}"),
        None => format!("{key}=(none)"),
    });
    let near: Vec<String> = place.into_iter().chain(labels).collect();
    if near.is_empty() { String::new() } else { format!(" near {}", near.join(" ")) }
}
