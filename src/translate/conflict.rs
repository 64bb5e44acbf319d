//! Conflicts: what two services claim and only one can have.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use pilot_registry::{Address, Hostname, Namespace, Port};
use serde::{Serialize, Serializer};

/// Something that a service claimed and did not get. Everything else of it stands: its clusters exist, and
/// it is reached in every other way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// What was claimed.
    pub claim: Claim,
    /// Who claimed it and did not get it.
    pub loser: Claimant,
    /// Who has it.
    pub winner: Claimant,
    /// Why.
    pub reason: Reason,
}

/// What is claimed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A TCP listener's address.
    Listener(SocketAddr),
    /// A UDP listener's address.
    UdpListener(SocketAddr),
    /// A name by which a service is called: by all clients, or by those of one namespace. In order, those of one
    /// name stand together, that of all clients first.
    Name(Hostname, Option<Namespace>),
    /// A virtual address and port by which an HTTP service is called.
    VirtualAddress(IpAddr, Port),
    /// An endpoint's place in its service.
    Endpoint(Hostname, Address),
}

/// Who claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimant {
    /// A service, or one port of it.
    Service(Hostname, Option<Port>),
    /// `[router] http_listen` of pilot.toml.
    HttpListen,
    /// pilot itself, for names of its own listeners.
    Pilot,
    /// A registry, by its name in pilot.toml.
    Registry(String),
    /// Nobody can have it.
    Nobody,
    /// An endpoint of a service's port.
    Endpoint(Hostname, Port),
}

/// Why the winner won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A service's own host goes before another's alias.
    OwnHost,
    /// A name that all clients use goes before one that clients of a namespace use.
    AllClients,
    /// The winner's registry has the smaller priority number.
    Priority,
    /// Both registries have the same priority; the host that comes first in the alphabet wins.
    FirstHost,
    /// What pilot.toml asks for goes before what services ask for.
    Configuration,
    /// The name has the form of a bound listener's.
    Reserved,
    /// The preferred registry decides the service's resolution, and the endpoint does not fit it.
    Resolution,
    /// An endpoint listens at the address: a listener there would send to itself.
    EndpointListens,
    /// The endpoint is the listener to every HTTP service: what is sent to it would come back for ever.
    Loop,
    /// Envoy sends datagrams to IP addresses only.
    UnixDatagrams,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, loser, winner, reason } = self;
        write!(f, "{claim}: claimed by {loser}, goes to {winner}: {reason}")
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(at) => write!(f, "listener {at}"),
            Self::UdpListener(at) => write!(f, "UDP listener {at}"),
            Self::Name(name, None) => write!(f, "name {name}"),
            Self::Name(name, Some(namespace)) => write!(f, "name {name} in namespace {namespace}"),
            Self::VirtualAddress(ip, port) => {
                write!(f, "virtual address {}", SocketAddr::new(*ip, port.get()))
            }
            Self::Endpoint(host, address) => write!(f, "endpoint {address} of {host}"),
        }
    }
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(host, Some(port)) => write!(f, "{host}:{port}"),
            Self::Service(host, None) => write!(f, "{host}"),
            Self::HttpListen => f.write_str("http_listen"),
            Self::Pilot => f.write_str("pilot"),
            Self::Registry(name) => write!(f, "registry {name}"),
            Self::Nobody => f.write_str("nobody"),
            Self::Endpoint(host, port) => write!(f, "an endpoint of {host}:{port}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnHost => "a service's own host goes before an alias",
            Self::AllClients => "a name that all clients use goes before one of a namespace",
            Self::Priority => "its registry is preferred",
            Self::FirstHost => "its host comes first in the alphabet",
            Self::Configuration => "pilot.toml asks for it",
            Self::Reserved => "names of that form belong to bound listeners",
            Self::Resolution => "the preferred registry decides how the service is resolved",
            Self::EndpointListens => {
                "an endpoint listens there: give the service another port, or [router] bind another address"
            }
            Self::Loop => "it is the router's own listener, requests would go round for ever",
            Self::UnixDatagrams => {
                "no proxy sends datagrams to Unix sockets: give the endpoint an IP address"
            }
        })
    }
}

impl Serialize for Claim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Claimant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
