//! One place where a service is served.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Hostname, ModelError, Port};

/// Labels of a service or an endpoint: `version = v1`.
pub type Labels = BTreeMap<String, String>;

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// The absolute path of a Unix socket on the proxy's machine.
    Unix(String),
    /// A name that the proxy resolves itself; only for services with [`crate::Resolution::Dns`].
    Dns(Hostname),
}

impl FromStr for Address {
    type Err = ModelError;

    /// Reads `10.0.0.1`, `::1`, `[::1]`, `unix:/run/app.sock` or `db.example.com`. An IPv4 address in the form of
    /// an IPv6 one (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2) is that IPv4 address.
    fn from_str(text: &str) -> Result<Self, ModelError> {
        let refused = |why: &str| ModelError::Address { address: text.to_owned(), why: why.to_owned() };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                _ if !path.starts_with('/') => Err(refused("a Unix socket's path starts with '/'")),
                // The size of sun_path on Linux, less its final NUL.
                _ if path.len() > 107 => Err(refused("a Unix socket's path has at most 107 bytes")),
                _ if path.contains('\0') => Err(refused("a path has no NUL")),
                _ => Ok(Self::Unix(path.to_owned())),
            };
        }
        match ip_address(text) {
            Some(ip) if ip.is_unspecified() => {
                Err(refused("it stands for all addresses of a machine, and nothing can be sent to it"))
            }
            Some(ip) => Ok(Self::Ip(ip)),
            None if text.contains("://") => Err(refused("it is a URL")),
            None if is_host_and_port(text) => Err(refused("it has a port, which is said apart from it")),
            None if is_ipv6_and_port(text) => {
                Err(refused("an IPv6 address with a port stands in brackets, like [::1]:8080"))
            }
            None if text.contains(':') => Err(refused("it is not an IPv6 address")),
            None if looks_like_ipv4(text) => Err(refused("it is not an IPv4 address")),
            None => text.parse().map(Self::Dns),
        }
    }
}

/// The IP address that the text is, in its canonical form: `10.0.0.1` of `::ffff:10.0.0.1`, `::1` of `[::1]`.
/// Wherever people or platforms write an address, it is read by this.
pub fn ip_address(text: &str) -> Option<IpAddr> {
    let ip = match text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        // Brackets are for IPv6 addresses alone (RFC 3986 §3.2.2).
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    };
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// `10.0.0.1:80`, `[::1]:80` or `db.example.com:80`.
fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        port.parse::<u16>().is_ok() && !host.is_empty() && (bracketed || !host.contains(':'))
    })
}

/// `::1:18080`. What ends in up to four digits may be an address as a whole.
fn is_ipv6_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| host.parse::<std::net::Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok())
}

impl Address {
    /// The port of an endpoint's own, as far as it tells endpoints at this address apart: a Unix socket has none.
    pub fn own_port(&self, port: Port) -> Option<Port> {
        (!matches!(self, Self::Unix(_))).then_some(port)
    }

    /// Makes an IPv4 address that is written within IPv6 the IPv4 address that it is.
    pub(crate) fn make_canonical(&mut self) {
        if let Self::Ip(ip) = self {
            *ip = ip.to_canonical();
        }
    }
}

/// A name whose last label is a number is never a DNS name that resolves (RFC 3696 §2).
fn looks_like_ipv4(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    !last.is_empty() && last.bytes().all(|c| c.is_ascii_digit())
}

impl TryFrom<String> for Address {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Dns(name) => name.fmt(f),
        }
    }
}

/// An endpoint's share of the traffic, relative to its siblings: 1 to 1,000,000. The upper bound keeps
/// the sum over 4,000 endpoints below the 2^32 - 1 that Envoy accepts for one locality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(NonZeroU32);

impl Weight {
    /// The largest weight.
    pub const MAX: u32 = 1_000_000;

    /// The weight as a number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(NonZeroU32::MIN)
    }
}

impl TryFrom<u32> for Weight {
    type Error = ModelError;

    fn try_from(number: u32) -> Result<Self, ModelError> {
        let weight = NonZeroU32::new(number).filter(|weight| weight.get() <= Self::MAX);
        weight.map(Self).ok_or(ModelError::Weight { number, most: Self::MAX })
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.get()
    }
}

/// What the platform says of an endpoint. A fact: whether it gets traffic is decided elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The platform checks it and it passes.
    Healthy,
    /// It works, and the platform warns of it.
    Warning,
    /// It fails its checks.
    Unhealthy,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// The platform does not say.
    #[default]
    Unknown,
}

/// Where an endpoint runs. Empty parts are unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Locality {
    /// For example a cloud's region, or a datacenter.
    pub region: String,
    /// For example an availability zone.
    pub zone: String,
    /// For example a rack.
    pub sub_zone: String,
}

/// A workload's identity: `spiffe://trust-domain/path` (SPIFFE-ID §2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId(String);

impl SpiffeId {
    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpiffeId {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let domain_char = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._".contains(&c);
        let path_char = |c: u8| c.is_ascii_alphanumeric() || b"-._/".contains(&c);
        let (domain, path) = match text.strip_prefix("spiffe://") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => ("", ""),
        };
        let segments_ok = path.is_empty() || path.split('/').all(|part| !["", ".", ".."].contains(&part));
        let ok = !domain.is_empty()
            && text.len() <= 2048
            && !text.ends_with('/')
            && domain.bytes().all(domain_char)
            && path.bytes().all(path_char)
            && segments_ok;
        ok.then(|| Self(text.to_owned())).ok_or_else(|| ModelError::SpiffeId { id: text.to_owned() })
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.0
    }
}

/// One place where a service is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// From the service's port to this endpoint's port. A service port that is not here is not served by
    /// this endpoint. For a Unix socket the endpoint's port has no meaning; the key still says what is served.
    pub ports: BTreeMap<Port, Port>,
    /// The endpoint's own labels.
    pub labels: Labels,
    /// Its share of the traffic.
    pub weight: Weight,
    /// What the platform says of it.
    pub health: Health,
    /// Where it runs.
    pub locality: Locality,
    /// Who it is, where the platform knows.
    pub identity: Option<SpiffeId>,
}

impl Endpoint {
    /// Whether its platform calls it neither unhealthy nor draining.
    pub fn is_usable(&self) -> bool {
        match self.health {
            Health::Healthy | Health::Warning | Health::Unknown => true,
            Health::Unhealthy | Health::Draining => false,
        }
    }

    /// An endpoint that serves nothing yet: no ports, weight 1, health unknown.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            ports: BTreeMap::new(),
            labels: Labels::new(),
            weight: Weight::default(),
            health: Health::default(),
            locality: Locality::default(),
            identity: None,
        }
    }

    /// The same endpoint, which also serves the service's port `service` at its own port `own`.
    #[must_use]
    pub fn serving(mut self, service: Port, own: Port) -> Self {
        self.ports.insert(service, own);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form() {
        let read = |text: &str| text.parse::<Address>().unwrap();
        assert_eq!(read("127.0.0.1"), Address::Ip([127, 0, 0, 1].into()));
        assert_eq!(read("::1"), Address::Ip("::1".parse().unwrap()));
        assert_eq!(read("[::1]"), read("::1"));
        assert_eq!(read("::ffff:1.2.3.4"), read("1.2.3.4"));
        assert_eq!(read("[::ffff:1.2.3.4]").to_string(), "1.2.3.4");
        assert_eq!(read("unix:/run/a.sock"), Address::Unix("/run/a.sock".into()));
        assert_eq!(read("DB.example.com").to_string(), "db.example.com");
    }

    #[test]
    fn addresses_that_make_no_sense_are_refused() {
        for text in ["", "1.2.3", "256.1.1.1", "1:2", "unix:run.sock", "a b", "[127.0.0.1]", "[::1", "[]"] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_address_that_is_refused_is_refused_for_what_it_is() {
        for (text, why) in [
            ("0.0.0.0", "stands for all addresses"),
            ("::", "stands for all addresses"),
            ("::ffff:0.0.0.0", "stands for all addresses"),
            ("http://127.0.0.1:80", "it is a URL"),
            ("127.0.0.1:80", "it has a port"),
            ("[::1]:80", "it has a port"),
            ("db.local:80", "it has a port"),
            ("::1:18080", "stands in brackets"),
            ("fe80::g", "it is not an IPv6 address"),
            ("1.2.3.256", "it is not an IPv4 address"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn weights_out_of_range_are_refused() {
        assert!(Weight::try_from(0).is_err());
        assert!(Weight::try_from(1_000_001).is_err());
        assert_eq!(Weight::try_from(1_000_000).unwrap().get(), 1_000_000);
    }

    #[test]
    fn spiffe_ids_follow_the_specification() {
        for id in ["spiffe://mesh", "spiffe://mesh/ns/default/sa/reviews"] {
            assert_eq!(id.parse::<SpiffeId>().unwrap().as_str(), id);
        }
        for id in [
            "",
            "mesh/a",
            "spiffe://",
            "spiffe:///a",
            "spiffe://Mesh/a",
            "spiffe://m/a/",
            "spiffe://m/../a",
            "spiffe://m/a?b",
        ] {
            assert!(id.parse::<SpiffeId>().is_err(), "{id:?}");
        }
    }
}
