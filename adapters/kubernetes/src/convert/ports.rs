//! The ports of a service, and their protocols.

use std::collections::BTreeSet;

use pilot_registry::{Port, Protocol, ServicePort};

use super::Notes;
use super::annotations::Annotations;
use crate::objects::{self, Key, ServiceSpec};

/// A port of the model, and what it is called in the API.
#[derive(Debug)]
pub(super) struct NamedPort {
    pub(super) port: ServicePort,
    /// Its name, by which endpoint slices refer to it; empty where the service has only one.
    pub(super) name: String,
    /// `TCP` or `UDP`.
    pub(super) transport: &'static str,
    /// Whether nothing says its protocol, which is the default then.
    pub(super) is_guess: bool,
}

/// The ports that the model has a place for. It has one port of each number: where TCP and UDP share one,
/// that is TCP.
pub(super) fn ports(
    key: &Key,
    spec: &ServiceSpec,
    annotations: &Annotations,
    default: Protocol,
    notes: &mut Notes,
) -> Vec<NamedPort> {
    let mut read = Vec::new();
    for port in spec.ports.iter().flatten() {
        match named(port, annotations, default) {
            Ok(port) => read.push(port),
            Err(why) => notes.skip(entry(key, port.name.as_deref().unwrap_or_default(), port.port), why),
        }
    }
    read.sort_by_key(|port: &NamedPort| port.transport);
    let mut numbers = BTreeSet::new();
    read.retain(|port| {
        let first = numbers.insert(port.port.number);
        if !first {
            let number = port.port.number.get().into();
            notes.skip(entry(key, &port.name, number), "another port of the service has the same number");
        }
        first
    });
    read
}

fn entry(key: &Key, name: &str, number: u32) -> String {
    match name {
        "" => format!("services {key} port {number}"),
        name => format!("services {key} port {name} ({number})"),
    }
}

fn named(
    port: &objects::ServicePort,
    annotations: &Annotations,
    default: Protocol,
) -> Result<NamedPort, String> {
    let transport = match port.protocol.as_deref().unwrap_or("TCP") {
        "TCP" => "TCP",
        "UDP" => "UDP",
        other => return Err(format!("protocol {other:?} is not followed: expected TCP or UDP")),
    };
    let number = Port::try_from(port.port).map_err(|error| error.to_string())?;
    let name = port.name.clone().unwrap_or_default();
    let said = match transport {
        "UDP" => Some(Protocol::Udp),
        _ => protocol(port, &name, annotations),
    };
    let (protocol, is_guess) = (said.unwrap_or(default), said.is_none());
    let shown = if name.is_empty() { format!("{protocol}-{number}") } else { name.clone() };
    Ok(NamedPort { port: ServicePort { number, name: shown, protocol }, name, transport, is_guess })
}

/// An annotation, `appProtocol`, the beginning of the name: the first that says something.
fn protocol(port: &objects::ServicePort, name: &str, annotations: &Annotations) -> Option<Protocol> {
    let said = annotations.protocol_of(port.port, name);
    let said = said.or_else(|| app_protocol(port.app_protocol.as_deref()?));
    said.or_else(|| app_protocol(name.split('-').next()?))
}

/// Names of IANA's and of Kubernetes' own (Service, `appProtocol`). What has no place in the model says
/// nothing.
fn app_protocol(name: &str) -> Option<Protocol> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "h2c" | "kubernetes.io/h2c" => Protocol::Http2,
        "ws" | "kubernetes.io/ws" | "grpcweb" => Protocol::Http,
        "https" | "wss" | "kubernetes.io/wss" => Protocol::Tls,
        // Datagrams are a matter of the port's protocol.
        "udp" => return None,
        other => return other.parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_protocols_are_understood() {
        for (name, expected) in [
            ("http", Some(Protocol::Http)),
            ("HTTP2", Some(Protocol::Http2)),
            ("kubernetes.io/h2c", Some(Protocol::Http2)),
            ("kubernetes.io/wss", Some(Protocol::Tls)),
            ("https", Some(Protocol::Tls)),
            ("grpc", Some(Protocol::Grpc)),
            ("mongo", Some(Protocol::Mongo)),
            ("example.com/own", None),
            ("udp", None),
            ("", None),
        ] {
            assert_eq!(app_protocol(name), expected, "{name}");
        }
    }
}
