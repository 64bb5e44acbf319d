//! The endpoints of a service.

use std::collections::BTreeMap;

use pilot_registry::{Address, Endpoint, Health, Locality, Port, ServicePort, Weight, ip_address};

use super::fields::{self, Mistakes, Table};
use crate::document::{Field, Node, Position, Value};

pub(super) const KEYS: &[&str] =
    &["address", "port", "ports", "labels", "weight", "health", "region", "zone", "sub_zone", "identity"];
pub(super) const HEALTHS: &[(&str, Health)] = &[
    ("healthy", Health::Healthy),
    ("warning", Health::Warning),
    ("unhealthy", Health::Unhealthy),
    ("draining", Health::Draining),
    ("unknown", Health::Unknown),
];

/// The ports of the service, where they could be read.
#[derive(Clone, Copy)]
pub(super) enum Ports<'a> {
    Known(&'a [ServicePort]),
    Unknown,
}

/// All endpoints that could be read, each with its place. One that serves a port of the service at the address
/// and port of an earlier one is told in `doubles`: the model decides which of them counts.
pub(super) fn endpoints(
    node: Option<&Node>,
    ports: Ports<'_>,
    mistakes: &mut Mistakes,
    doubles: &mut Mistakes,
) -> Vec<(Position, Endpoint)> {
    let Some(node) = node else { return Vec::new() };
    let mut found = Vec::new();
    // Where each port of the service is served: address and own port.
    let mut seen: BTreeMap<(Port, Address, Port), Position> = BTreeMap::new();
    for item in fields::list(node, "endpoints", mistakes) {
        let Some(endpoint) = endpoint(item, ports, mistakes) else { continue };
        let places = |(service, own): (&Port, &Port)| {
            // What would be the port of a Unix socket has no meaning.
            let own = if matches!(endpoint.address, Address::Unix(_)) { service } else { own };
            (*service, endpoint.address.clone(), *own)
        };
        let places: Vec<_> = endpoint.ports.iter().map(places).collect();
        if let Some((first, (_, address, own))) =
            places.iter().find_map(|place| Some((seen.get(place)?, place)))
        {
            let at = if matches!(address, Address::Unix(_)) { String::new() } else { format!(" port {own}") };
            let message =
                format!("endpoint {address}{at} is there twice: line {} has it already", first.line);
            doubles.add(item.at, message);
        }
        for place in places {
            seen.entry(place).or_insert(item.at);
        }
        found.push((item.at, endpoint));
    }
    found
}

fn endpoint(node: &Node, ports: Ports<'_>, mistakes: &mut Mistakes) -> Option<Endpoint> {
    let table = Table::open(node, ("an endpoint", r#"{ address = "127.0.0.1:8080" }"#), KEYS, mistakes)?;
    let address = match table.get("address") {
        Some(node) => address(node, mistakes).map(|(address, port)| (node.at, address, port)),
        None => {
            mistakes.add(table.at, "an endpoint without address: expected address = \"127.0.0.1:8080\"");
            None
        }
    };
    let labels = fields::labels(table.get("labels"), mistakes);
    let weight = table.get("weight").map_or(Some(Weight::default()), |node| weight(node, mistakes));
    let health = table
        .get("health")
        .map_or(Some(Health::default()), |node| fields::word(node, "health", HEALTHS, mistakes));
    let mut part = |key: &str| {
        let text = table.get(key).and_then(|node| fields::text(node, key, mistakes));
        text.unwrap_or_default().to_owned()
    };
    let locality = Locality { region: part("region"), zone: part("zone"), sub_zone: part("sub_zone") };
    let identity = table.get("identity").and_then(|node| fields::parsed(node, "identity", mistakes));
    let (at, address, own) = address?;
    let ports = own_ports(&table, (at, &address, own), ports, mistakes)?;
    Some(Endpoint { address, ports, labels, weight: weight?, health: health?, locality, identity })
}

fn weight(node: &Node, mistakes: &mut Mistakes) -> Option<Weight> {
    let number = fields::integer(node, "weight", mistakes)?;
    let weight = u32::try_from(number).ok().and_then(|number| Weight::try_from(number).ok());
    if weight.is_none() {
        mistakes.add(node.at, format!("weight {number} is out of range: expected 1 to {}", Weight::MAX));
    }
    weight
}

/// An address, and the port when it has one.
fn address(node: &Node, mistakes: &mut Mistakes) -> Option<(Address, Option<Port>)> {
    let text = fields::text(node, "address", mistakes)?;
    if let Some((scheme, rest)) = text.split_once("://") {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let hint = match (split(authority).1, default_port(scheme)) {
            (None, Some(port)) if !authority.is_empty() => format!("{authority}:{port}"),
            _ if authority.is_empty() => "127.0.0.1:8080".to_owned(),
            _ => authority.to_owned(),
        };
        mistakes.add(node.at, format!("an endpoint is host and port, not a URL: write {hint:?}"));
        return None;
    }
    let (host, port) = split(text);
    let mut failed = |error: pilot_registry::ModelError| mistakes.add(node.at, error.to_string());
    let address = host.parse().map_err(&mut failed).ok()?;
    let port = port.map(str::parse).transpose().map_err(failed).ok()?;
    Some((address, port))
}

/// The port of URLs that do not name one.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`, `v6` or `unix:/path` in its two parts.
fn split(text: &str) -> (&str, Option<&str>) {
    if text.starts_with("unix:") || ip_address(text).is_some() {
        return (text, None);
    }
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        if rest.is_empty() {
            return (host, None);
        }
        if let Some(port) = rest.strip_prefix(':') {
            return (host, Some(port));
        }
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// From the service's ports to the endpoint's: those that it names, or the service's own.
fn own_ports(
    table: &Table<'_>,
    (at, address, in_address): (Position, &Address, Option<Port>),
    service: Ports<'_>,
    mistakes: &mut Mistakes,
) -> Option<BTreeMap<Port, Port>> {
    let (port, ports) = (table.get("port"), table.get("ports"));
    let said = usize::from(in_address.is_some()) + usize::from(port.is_some()) + usize::from(ports.is_some());
    if said > 1 {
        mistakes.add(at, "the port is said twice: expected one of \"address:port\", port or ports");
        return None;
    }
    if said == 1 && matches!(address, Address::Unix(_)) {
        mistakes.add(at, "a Unix socket has no port: expected neither port nor ports");
        return None;
    }
    let single = match port {
        Some(node) => Some(fields::port(node, "port", mistakes)?),
        None => in_address,
    };
    let Ports::Known(service) = service else { return None };
    match (single, ports, service) {
        (_, Some(node), _) => port_map(node, service, mistakes),
        (None, None, _) => Some(service.iter().map(|port| (port.number, port.number)).collect()),
        (Some(own), None, [only]) => Some([(only.number, own)].into()),
        (Some(own), None, _) => {
            let count = service.len();
            let first = service.first()?.number;
            mistakes.add(
                at,
                format!(
                    "port {own} of an endpoint whose service has {count} ports: \
                     say which with ports = {{ {first} = {own} }}"
                ),
            );
            None
        }
    }
}

fn port_map(node: &Node, service: &[ServicePort], mistakes: &mut Mistakes) -> Option<BTreeMap<Port, Port>> {
    let Value::Table(fields) = &node.value else {
        let found = node.value.kind();
        mistakes.add(node.at, format!("ports: expected a table like {{ 80 = 8080 }}, found {found}"));
        return None;
    };
    if fields.is_empty() {
        mistakes.add(node.at, "ports is empty: the endpoint would serve nothing");
        return None;
    }
    let mut ports = BTreeMap::new();
    for field in fields {
        let of_service = service_port(field, service, mistakes);
        let own = fields::port(&field.value, "port", mistakes);
        let (Some(key), Some(own)) = (of_service, own) else { continue };
        if ports.insert(key, own).is_some() {
            mistakes
                .add(field.at, format!("port {key} of the service is there twice, by number and by name"));
        }
    }
    // What is missing here is among the mistakes.
    Some(ports)
}

fn service_port(field: &Field, service: &[ServicePort], mistakes: &mut Mistakes) -> Option<Port> {
    let by_number = |port: &&ServicePort| port.number.to_string() == field.key;
    let by_name = |port: &&ServicePort| port.name == field.key;
    let found = service.iter().find(by_number).or_else(|| service.iter().find(by_name));
    if found.is_none() {
        let known: Vec<_> = service.iter().map(|port| format!("{} ({})", port.number, port.name)).collect();
        let known = known.join(", ");
        mistakes.add(field.at, format!("the service has no port {:?}: expected one of {known}", field.key));
    }
    found.map(|port| port.number)
}
