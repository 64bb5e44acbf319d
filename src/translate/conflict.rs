//! Conflicts: what two services claim and only one can have.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use pilot_registry::{Address, Hostname, Namespace, Port, ServiceId};
use serde::{Serialize, Serializer};

/// Something that a service claimed and did not get. Everything else of it stands: its clusters exist, and
/// it is reached in every other way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// What was claimed.
    pub claim: Claim,
    /// In the eyes of whose clients; `None` = in everybody's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
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
    /// A name by which a service is called.
    Name(Hostname),
    /// A virtual address and port by which an HTTP service is called.
    VirtualAddress(IpAddr, Port),
    /// An endpoint's place in its service.
    Endpoint(ServiceId, Address),
}

/// Who claims.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimant {
    /// A service, or one port of it.
    Service(ServiceId, Option<Port>),
    /// A service's port, and so many other services that ask for the same.
    Services(ServiceId, Port, usize),
    /// `[router] http_listen` of pilot.toml.
    HttpListen,
    /// pilot itself, for names of its own listeners.
    Pilot,
    /// A registry, by its name in pilot.toml.
    Registry(String),
    /// Nobody can have it.
    Nobody,
    /// An endpoint of a service's port.
    Endpoint(ServiceId, Port),
}

/// Why the winner won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A service's own host goes before another's alias.
    OwnHost,
    /// A name that all clients use goes before one that clients of a namespace use.
    AllClients,
    /// The winner's registry says what is spoken on the port; of the loser's port it is a guess.
    GuessedProtocol,
    /// The winner's registry says the port's number; of the loser it is a guess.
    GuessedPort,
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
    EndpointListens {
        /// Whether `http_listen` reaches the loser all the same.
        http_listen: bool,
    },
    /// The loser has virtual addresses: what it asks for beside them it gets if nobody else asks for it.
    Beside,
    /// The endpoint is the listener to every HTTP service: what is sent to it would come back for ever.
    Loop,
    /// Envoy sends datagrams to IP addresses only.
    UnixDatagrams,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.claim {
            Claim::Listener(at) | Claim::UdpListener(at) => self.at_listener(*at, f),
            Claim::Name(name) => self.about_name(name, f),
            Claim::VirtualAddress(ip, port) => {
                let Self { loser, winner, reason, .. } = self;
                let (at, place) = (SocketAddr::new(*ip, port.get()), self.place());
                write!(f, "{loser} cannot be reached at {at}{place}: {winner} has it ({reason}): ")?;
                f.write_str("give one of them another virtual address")
            }
            Claim::Endpoint(service, address) => self.about_endpoint(service, address, f),
        }
    }
}

impl Conflict {
    /// The services that it is about: those that claim, and the one that an endpoint belongs to.
    pub fn services(&self) -> impl Iterator<Item = &ServiceId> {
        let claimants = [&self.loser, &self.winner].into_iter().filter_map(|claimant| match claimant {
            Claimant::Service(id, _) | Claimant::Services(id, ..) | Claimant::Endpoint(id, _) => Some(id),
            Claimant::HttpListen | Claimant::Pilot | Claimant::Registry(_) | Claimant::Nobody => None,
        });
        let of_endpoint = match &self.claim {
            Claim::Endpoint(id, _) => Some(id),
            _ => None,
        };
        claimants.chain(of_endpoint)
    }

    fn at_listener(&self, at: SocketAddr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { claim, loser, winner, reason, .. } = self;
        let place = self.place();
        let udp = if matches!(claim, Claim::UdpListener(_)) { "UDP " } else { "" };
        match (reason, winner) {
            (Reason::EndpointListens { http_listen }, Claimant::Endpoint(host, _)) => {
                let (own, other) = match loser {
                    Claimant::Service(own, _) if own == host => ("its own endpoint", String::new()),
                    _ => ("an endpoint of ", host.to_string()),
                };
                let still = if *http_listen { " (http_listen still reaches it)" } else { "" };
                let port = at.port();
                write!(f, "{loser}: {udp}port {port} is taken by {own}{other}, so Envoy opens no listener ")?;
                write!(f, "at {at}{place}{still}: {reason}")
            }
            (Reason::Beside, _) => {
                write!(f, "{loser} cannot be reached at {udp}{at}{place}: {winner} has it: {reason}")
            }
            (Reason::Configuration, _) => {
                write!(f, "{loser} gets no listener of its own at {at}{place}: {winner} has it: ")?;
                f.write_str("give the service another port")
            }
            _ => {
                write!(f, "{loser} cannot be reached at {udp}{at}{place}: {winner} has it ")?;
                let shared = if udp.is_empty() {
                    "only HTTP services, or TLS services, can share a port"
                } else {
                    "one can"
                };
                write!(f, "({shared}; {reason}): ")?;
                match reason {
                    Reason::GuessedProtocol => write!(f, "say what {loser} speaks, or ")?,
                    Reason::GuessedPort => write!(f, "say which port clients of {loser} call, or ")?,
                    _ => {}
                }
                f.write_str("give one of them another port")
            }
        }
    }

    /// Where it is so, if not everywhere.
    fn place(&self) -> String {
        self.namespace.as_ref().map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
    }

    fn about_name(&self, name: &Hostname, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loser, winner, reason, .. } = self;
        let place = self.place();
        if let (Reason::Reserved, Claimant::Service(_, Some(port))) = (reason, loser) {
            write!(f, "{loser} cannot be reached as xds:///{name}{place}: {reason}: ")?;
            return write!(f, "name the port, xds:///{name}:{port}");
        }
        write!(f, "{loser} cannot be called {name}{place}: {winner} has that name ({reason}): ")?;
        f.write_str("give one of them another")
    }

    fn about_endpoint(&self, host: &ServiceId, address: &Address, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loser, winner, reason, .. } = self;
        match loser {
            Claimant::Registry(registry) => {
                write!(f, "{host}: endpoint {address} of registry {registry} is not used: ")?;
                write!(f, "{winner} {reason}")
            }
            Claimant::Service(_, Some(port)) => {
                write!(f, "{host}: endpoint {address} is not used at port {port}: {reason}")
            }
            _ => write!(f, "{host}: endpoint {address} is not used: {reason}"),
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(at) => write!(f, "listener {at}"),
            Self::UdpListener(at) => write!(f, "UDP listener {at}"),
            Self::Name(name) => write!(f, "name {name}"),
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
            Self::Service(host, _) => write!(f, "{host}"),
            Self::Services(host, _, others) => write!(f, "{host} and {others} more"),
            Self::HttpListen => f.write_str("http_listen of pilot.toml"),
            Self::Pilot => f.write_str("pilot"),
            Self::Registry(name) => write!(f, "registry {name}"),
            Self::Nobody => f.write_str("nobody"),
            Self::Endpoint(host, _) => write!(f, "an endpoint of {host}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnHost => "a service's own host goes before an alias",
            Self::AllClients => "a name that all clients use goes before one of a namespace",
            Self::GuessedProtocol => "a protocol that is said goes before one that was guessed",
            Self::GuessedPort => "a port that is said goes before one that was guessed",
            Self::Priority => "its registry is preferred",
            Self::FirstHost => "the first in the alphabet wins",
            Self::Configuration => "pilot.toml asks for it",
            Self::Beside => "its virtual addresses are the way to it, or give it a port that is free",
            Self::Reserved => "Envoy's listeners have names of that form",
            Self::Resolution => "is preferred, and decides how the service is resolved",
            Self::EndpointListens { .. } => {
                "give the service another port, or set [router] bind to another address"
            }
            Self::Loop => "http_listen is there, and requests would go round for ever",
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
