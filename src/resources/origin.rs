//! What a resource is there for.

use std::fmt;

use pilot_registry::Hostname;

/// What a resource, or a virtual host, is there for: what to change where a proxy refuses it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A service.
    Service(Hostname),
    /// A key of pilot.toml, for example `router.http_listen`.
    Option(&'static str),
    /// All services that share it: a listener of a port, for example.
    Shared,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(host) => write!(f, "service {host}"),
            Self::Option(key) => write!(f, "{key} of pilot.toml"),
            Self::Shared => f.write_str("several services"),
        }
    }
}
