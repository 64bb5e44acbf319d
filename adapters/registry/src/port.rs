//! Ports of services and what is spoken on them.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A TCP or UDP port, 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Port(NonZeroU16);

impl Port {
    /// The port's number.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u32> for Port {
    type Error = ModelError;

    fn try_from(number: u32) -> Result<Self, ModelError> {
        let port = u16::try_from(number).ok().and_then(NonZeroU16::new);
        port.map(Self).ok_or(ModelError::Port { number: number.to_string() })
    }
}

impl From<Port> for u32 {
    fn from(port: Port) -> Self {
        port.get().into()
    }
}

impl FromStr for Port {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let port = text.parse().ok().map(Self);
        port.ok_or_else(|| ModelError::Port { number: text.to_owned() })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is spoken on a port. Told, never guessed: a wrong guess breaks traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/1.1 to the service.
    Http,
    /// HTTP/2 to the service, without TLS (prior knowledge).
    Http2,
    /// gRPC: HTTP/2 to the service.
    Grpc,
    /// TLS that passes through untouched.
    Tls,
    /// Bytes.
    Tcp,
    /// MongoDB's wire protocol.
    Mongo,
    /// Redis.
    Redis,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Every protocol, in the order in which they are listed to people.
    pub const ALL: [Self; 8] =
        [Self::Http, Self::Http2, Self::Grpc, Self::Tls, Self::Tcp, Self::Mongo, Self::Redis, Self::Udp];

    /// The protocol's name in lower case, as in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
            Self::Mongo => "mongo",
            Self::Redis => "redis",
            Self::Udp => "udp",
        }
    }

    /// Whether requests on the port can be routed by Host and path.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }

    /// Whether the service itself expects HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc)
    }
}

impl FromStr for Protocol {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let named = |protocol: &Self| protocol.as_str().eq_ignore_ascii_case(text);
        let found = Self::ALL.into_iter().find(named);
        found.ok_or_else(|| ModelError::Protocol { name: text.to_owned(), instead: instead(text) })
    }
}

impl TryFrom<String> for Protocol {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> Self {
        protocol.as_str().to_owned()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServicePort {
    /// The port that clients call.
    pub number: Port,
    /// A name that is unique in the service: `http`, `metrics`.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
}

/// What to write in the place of an unknown protocol.
fn instead(name: &str) -> String {
    let all = Protocol::ALL.map(Protocol::as_str).join(", ");
    let known = match name.to_ascii_lowercase().as_str() {
        "https" | "ssl" | "grpcs" | "wss" | "ldaps" | "amqps" | "rediss" => "tls",
        "postgres" | "postgresql" | "mysql" | "mariadb" | "mssql" | "amqp" | "kafka" | "mqtt" | "nats"
        | "memcached" | "ldap" | "smtp" | "ssh" | "cassandra" | "zookeeper" | "thrift" => "tcp",
        "mongodb" => "mongo",
        "h2" | "h2c" => "http2",
        "http1" | "http/1.1" | "ws" | "websocket" => "http",
        "dns" | "quic" | "http3" | "h3" => "udp",
        _ => return format!("expected one of {all}"),
    };
    format!("write {known:?} (one of {all})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_read_in_any_case_and_an_unknown_one_lists_them() {
        assert_eq!("gRPC".parse::<Protocol>().unwrap(), Protocol::Grpc);
        let error = "htp".parse::<Protocol>().unwrap_err().to_string();
        for protocol in Protocol::ALL {
            assert!(error.contains(protocol.as_str()), "{error}");
        }
    }

    #[test]
    fn ports_out_of_range_are_refused() {
        for number in [0, 65_536, 70_000, u32::MAX] {
            assert!(Port::try_from(number).is_err(), "{number}");
        }
        for text in ["", "0", "65536", "-1", "80a"] {
            assert!(text.parse::<Port>().is_err(), "{text:?}");
        }
        assert_eq!("65535".parse::<Port>().unwrap().get(), 65_535);
    }

    #[test]
    fn an_unknown_protocol_that_others_know_is_told_what_to_write() {
        let said = |name: &str| name.parse::<Protocol>().unwrap_err().to_string();
        assert!(
            said("postgres")
                .starts_with("unknown protocol \"postgres\": write \"tcp\" (one of http, http2, ")
        );
        assert!(said("HTTPS").contains("write \"tls\""));
        assert!(said("htp").starts_with("unknown protocol \"htp\": expected one of http, http2, "));
    }
}
