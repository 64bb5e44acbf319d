//! The kinds of resources, and one value for each.

use std::fmt;
use std::ops::{Index, IndexMut};

/// The five kinds of resources, in the order in which they are sent: make before break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// VHDS: the virtual hosts of route configurations that a client takes in parts. All that belong to one route
    /// configuration are one resource here, a rope with the route configuration's name: see `xds/parts.rs`.
    VirtualHost,
}

impl ResourceType {
    /// All types, in the order in which they are sent.
    pub const ALL: [Self; 5] =
        [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route, Self::VirtualHost];

    /// The types of which clients say what they want. Virtual hosts come with the routes that they belong to.
    pub const ASKED: [Self; 4] = [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route];

    /// The name in `google.protobuf.Any` and in discovery requests.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
        }
    }

    /// The type that a discovery request names.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.type_url() == url)
    }

    /// `cds`, `eds`, `lds`, `rds` or `vhds`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cds",
            Self::Endpoint => "eds",
            Self::Listener => "lds",
            Self::Route => "rds",
            Self::VirtualHost => "vhds",
        }
    }

    /// Whether a client may ask for all resources of the type, and SotW responses are the full state.
    pub fn has_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One value for each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerType<T>([T; 5]);

impl<T> PerType<T> {
    /// A value made for each type.
    pub fn of(make: impl FnMut(ResourceType) -> T) -> Self {
        Self(ResourceType::ALL.map(make))
    }

    /// Each type with its value, in the order of [`ResourceType::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (ResourceType, &T)> {
        ResourceType::ALL.into_iter().zip(&self.0)
    }

    /// The same, to change the values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ResourceType, &mut T)> {
        ResourceType::ALL.into_iter().zip(&mut self.0)
    }

    /// The values, in the order of [`ResourceType::ALL`].
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// The same, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut()
    }
}

impl<T> Index<ResourceType> for PerType<T> {
    type Output = T;

    fn index(&self, kind: ResourceType) -> &T {
        &self.0[kind as usize]
    }
}

impl<T> IndexMut<ResourceType> for PerType<T> {
    fn index_mut(&mut self, kind: ResourceType) -> &mut T {
        &mut self.0[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use pilot_envoy_api::envoy::config;
    use prost::Name;

    use super::ResourceType;

    #[test]
    fn type_urls_are_those_of_the_messages() {
        use config::cluster::v3::Cluster;
        use config::endpoint::v3::ClusterLoadAssignment;
        use config::listener::v3::Listener;
        use config::route::v3::{RouteConfiguration, VirtualHost};
        for (kind, url) in [
            (ResourceType::Cluster, Cluster::type_url()),
            (ResourceType::Endpoint, ClusterLoadAssignment::type_url()),
            (ResourceType::Listener, Listener::type_url()),
            (ResourceType::Route, RouteConfiguration::type_url()),
            (ResourceType::VirtualHost, VirtualHost::type_url()),
        ] {
            assert_eq!(kind.type_url(), url);
            assert_eq!(ResourceType::from_type_url(&url), Some(kind));
        }
    }
}
