//! What a resource is there for.

use std::fmt;
use std::sync::Arc;

use pilot_registry::{Hostname, Port};

/// What a resource, or a virtual host, is there for: what to change where a proxy refuses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A service.
    Service(Hostname),
    /// A document of a rule store, and the service whose requests it is about; `None` = it is about a host that no service has.
    Document(Arc<str>, Option<Hostname>),
    /// A key of pilot.toml, for example `router.http_listen`.
    Option(&'static str),
    /// The HTTP services of that port, which share it: its listener and routes.
    Port(Port),
    /// All services that share it.
    Shared,
}

impl Origin {
    /// The port, if it is there for the services of one.
    pub fn port(&self) -> Option<Port> {
        match self {
            Self::Port(port) => Some(*port),
            Self::Service(_) | Self::Document(..) | Self::Option(_) | Self::Shared => None,
        }
    }

    /// The service that it is about, if it is one.
    pub fn service(&self) -> Option<&Hostname> {
        match self {
            Self::Service(host) | Self::Document(_, Some(host)) => Some(host),
            Self::Document(_, None) | Self::Option(_) | Self::Port(_) | Self::Shared => None,
        }
    }

    /// The document that asked for it.
    pub fn document(&self) -> Option<&Arc<str>> {
        match self {
            Self::Document(document, _) => Some(document),
            Self::Service(_) | Self::Option(_) | Self::Port(_) | Self::Shared => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(host) => write!(f, "service {host}"),
            Self::Document(document, _) => f.write_str(document),
            Self::Option(key) => write!(f, "{key} of pilot.toml"),
            Self::Port(port) => write!(f, "the HTTP services of port {port}"),
            Self::Shared => f.write_str("several services"),
        }
    }
}
