//! The ports that clients call, where instances do not say it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use pilot_registry::{Port, Protocol};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

const EXPECTED: &str = "a port, like 80, or ports by protocol, like { http = 80, grpc = 9090 }";

/// The port that clients call, of services whose instances do not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultPort {
    /// `80`: of all of them.
    All(Port),
    /// `{ http = 80, grpc = 9090 }`: of those that speak these protocols.
    ByProtocol(BTreeMap<Protocol, Port>),
}

impl DefaultPort {
    /// The port of a service that speaks that protocol.
    pub(crate) fn of(&self, protocol: Protocol) -> Option<Port> {
        match self {
            Self::All(port) => Some(*port),
            Self::ByProtocol(ports) => ports.get(&protocol).copied(),
        }
    }

    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::ByProtocol(ports) if ports.is_empty())
    }
}

impl<'de> Deserialize<'de> for DefaultPort {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = DefaultPort;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<DefaultPort, E> {
        let port = u32::try_from(number).unwrap_or(u32::MAX).try_into();
        port.map(DefaultPort::All).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<DefaultPort, E> {
        self.visit_u64(number.try_into().unwrap_or(0))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DefaultPort, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(DefaultPort::ByProtocol)
    }
}

impl JsonSchema for DefaultPort {
    fn schema_name() -> Cow<'static, str> {
        "DefaultPort".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let port = |description: String| {
            schemars::json_schema!({
                "type": "integer", "minimum": 1, "maximum": 65535, "description": description,
            })
        };
        let of = |protocol: &Protocol| {
            let about = format!("The port of services that speak {protocol}.");
            (protocol.to_string(), port(about).to_value())
        };
        let by_protocol: serde_json::Map<_, _> = Protocol::ALL.iter().map(of).collect();
        schemars::json_schema!({
            "anyOf": [
                port("The port of all of them.".to_owned()),
                { "type": "object", "properties": by_protocol, "additionalProperties": false },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u32) -> Port {
        Port::try_from(number).unwrap()
    }

    #[test]
    fn it_is_one_port_or_ports_by_protocol() {
        let read = |text: &str| serde_json::from_str::<DefaultPort>(text).unwrap();
        assert_eq!(read("80").of(Protocol::Udp), Some(port(80)));
        let table = read(r#"{ "http": 80, "grpc": 9090 }"#);
        let of = [Protocol::Http, Protocol::Grpc, Protocol::Tcp].map(|protocol| table.of(protocol));
        assert_eq!(of, [Some(port(80)), Some(port(9090)), None]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_was_expected() {
        for (text, why) in [
            ("0", "65535"),
            ("-1", "65535"),
            ("65536", "65535"),
            ("\"80\"", "{ http = 80, grpc = 9090 }"),
            ("true", "{ http = 80, grpc = 9090 }"),
            (r#"{ "https": 443 }"#, "one of http, http2"),
            (r#"{ "http": 0 }"#, "65535"),
        ] {
            let error = serde_json::from_str::<DefaultPort>(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
