//! One entry of the list `service`.

use pilot_registry::{
    Hostname, ModelError, Namespace, Protocol, Resolution, Service, ServiceId, ServicePort, ServiceSpec,
    Visibility,
};

use super::endpoint::{self, Ports};
use super::fields::{self, Mistakes, Table};
use super::health_check::health_check;
use crate::document::{Node, Position, Value};

pub(super) const KEYS: &[&str] = &[
    "host",
    "aliases",
    "ports",
    "addresses",
    "resolution",
    "namespace",
    "export_to",
    "labels",
    "identities",
    "health_check",
    "rewrite_host",
    "endpoints",
];
const EXAMPLE: &str = r#"{ host = "a.local", ports = [{ port = 80, protocol = "http" }] }"#;
pub(super) const PORT_KEYS: &[&str] = &["port", "protocol", "name"];
pub(super) const RESOLUTIONS: &[(&str, Resolution)] = &[
    ("endpoints", Resolution::Endpoints),
    ("dns", Resolution::Dns),
    ("passthrough", Resolution::Passthrough),
];

/// The id with its host's place where that can be read, and the service when there is no mistake. Endpoints that are
/// there twice are no mistake of the service: `doubles` tells of them.
pub(super) fn service(
    node: &Node,
    mistakes: &mut Mistakes,
    doubles: &mut Mistakes,
) -> (Option<(Position, ServiceId)>, Option<Service>) {
    let Some(table) = Table::open(node, ("a service", EXAMPLE), KEYS, mistakes) else { return (None, None) };
    let host = host(&table, mistakes);
    // Everything is read even without a host: the author hears of all mistakes at once.
    let name = host.as_ref().map_or_else(placeholder, |(_, host)| Some(host.clone()));
    let namespace = namespace(&table, mistakes);
    let visibility = visibility(&table, &namespace, mistakes);
    // Who wrote that not everybody shall see it has meant this, however it was written.
    let owner = table.get("export_to").filter(|_| visibility != Some(Visibility::Everybody));
    let owner = owner.map(|_| namespace.clone());
    let spec = |name| ServiceSpec {
        namespace,
        visibility: visibility.unwrap_or_default(),
        ..ServiceSpec::new(name)
    };
    let service = name.and_then(|name| body(&table, spec(name), mistakes, doubles));
    let service = service.filter(|_| host.is_some());
    (host.map(|(at, host)| (at, ServiceId { host, owner })), service)
}

fn host(table: &Table<'_>, mistakes: &mut Mistakes) -> Option<(Position, Hostname)> {
    let Some(node) = table.get("host") else {
        mistakes.add(table.at, "a service without host: expected host = \"name.domain\"");
        return None;
    };
    Some((node.at, fields::parsed(node, "host", mistakes)?))
}

fn namespace(table: &Table<'_>, mistakes: &mut Mistakes) -> Namespace {
    let Some(node) = table.get("namespace") else { return Namespace::default() };
    let Some(text) = fields::text(node, "namespace", mistakes) else { return Namespace::default() };
    Namespace::try_from(text.to_owned()).unwrap_or_else(|error| {
        mistakes.add(node.at, error.to_string());
        Namespace::default()
    })
}

/// Which clients see the service; `None` = what is written makes no sense.
fn visibility(table: &Table<'_>, own: &Namespace, mistakes: &mut Mistakes) -> Option<Visibility> {
    let Some(node) = table.get("export_to") else { return Some(Visibility::Everybody) };
    let items = fields::list(node, "export_to", mistakes).iter();
    let words: Vec<Option<&str>> = items.map(|item| fields::text(item, "export_to", mistakes)).collect();
    if !matches!(node.value, Value::List(_)) {
        return None;
    }
    let words: Vec<&str> = words.into_iter().collect::<Option<_>>()?;
    Visibility::of_words(words, own).map_err(|error| mistakes.add(node.at, error.to_string())).ok()
}

fn placeholder() -> Option<Hostname> {
    "unnamed".parse().ok()
}

fn body(
    table: &Table<'_>,
    mut spec: ServiceSpec,
    mistakes: &mut Mistakes,
    doubles: &mut Mistakes,
) -> Option<Service> {
    spec.aliases = fields::parsed_list(table.get("aliases"), "aliases", mistakes);
    let ports = ports(table, mistakes);
    for node in table.get("addresses").map_or(&[][..], |node| fields::list(node, "addresses", mistakes)) {
        let Some(text) = fields::text(node, "addresses", mistakes) else { continue };
        match pilot_registry::ip_address(text) {
            Some(ip) => spec.virtual_addresses.push(ip),
            None => mistakes.add(node.at, format!("address {text:?} is not an IPv4 or IPv6 address")),
        }
    }
    if let Some(node) = table.get("resolution") {
        spec.resolution = fields::word(node, "resolution", RESOLUTIONS, mistakes).unwrap_or_default();
    }
    spec.labels = fields::labels(table.get("labels"), mistakes);
    spec.identities = fields::parsed_list(table.get("identities"), "identities", mistakes);
    spec.health_check = table.get("health_check").and_then(|node| health_check(node, mistakes));
    if let Some(node) = table.get("rewrite_host") {
        spec.rewrite_host = fields::boolean(node, "rewrite_host", mistakes).unwrap_or_default();
    }
    let known = ports.as_deref().map_or(Ports::Unknown, Ports::Known);
    let endpoints = endpoint::endpoints(table.get("endpoints"), known, mistakes, doubles);
    let places: Vec<_> = endpoints.iter().map(|(at, endpoint)| (*at, endpoint.address.to_string())).collect();
    spec.endpoints = endpoints.into_iter().map(|(_, endpoint)| endpoint).collect();
    spec.ports = ports?;
    if !mistakes.is_empty() {
        return None;
    }
    Service::new(spec).map_err(|error| mistakes.add(place(&error, table, &places), error.to_string())).ok()
}

/// Where the part of the service stands that the model refused.
fn place(error: &ModelError, table: &Table<'_>, endpoints: &[(Position, String)]) -> Position {
    let ports = || table.get("ports").map(|node| node.at);
    let place = match error {
        ModelError::Endpoint { address, .. } => {
            endpoints.iter().find(|(_, own)| *own == *address).map(|(at, _)| *at)
        }
        ModelError::HealthCheck { .. } => table.get("health_check").map(|node| node.at),
        ModelError::RewriteHost { .. } => table.get("rewrite_host").map(|node| node.at),
        ModelError::DuplicatePort { .. } | ModelError::NoPort { .. } => ports(),
        _ => None,
    };
    place.unwrap_or(table.at)
}

/// The ports, or `None` when one of them is wrong: then the endpoints' ports cannot be checked.
fn ports(table: &Table<'_>, mistakes: &mut Mistakes) -> Option<Vec<ServicePort>> {
    let Some(node) = table.get("ports") else {
        let example = "expected ports = [{ port = 80, protocol = \"http\" }]";
        mistakes.add(table.at, format!("a service without ports: {example}"));
        return None;
    };
    let items = fields::list(node, "ports", mistakes);
    // All are read, whichever is wrong: the author hears of all mistakes at once.
    let ports: Vec<Option<ServicePort>> = items.iter().map(|item| port(item, mistakes)).collect();
    let ports: Option<Vec<_>> = ports.into_iter().collect();
    ports.filter(|ports| {
        !ports.is_empty() || {
            mistakes.add(node.at, "ports is empty: expected at least one { port = 80, protocol = \"http\" }");
            false
        }
    })
}

fn port(node: &Node, mistakes: &mut Mistakes) -> Option<ServicePort> {
    let table = Table::open(node, ("a port", r#"{ port = 80, protocol = "http" }"#), PORT_KEYS, mistakes)?;
    let number = match table.get("port") {
        Some(node) => fields::port(node, "port", mistakes),
        None => {
            mistakes.add(table.at, "a port without its number: expected port = 1 to 65535");
            None
        }
    };
    let protocol: Option<Protocol> = match table.get("protocol") {
        Some(node) => fields::parsed(node, "protocol", mistakes),
        None => {
            let all = Protocol::ALL.map(Protocol::as_str).join(", ");
            mistakes.add(table.at, format!("a port without protocol: expected one of {all}"));
            None
        }
    };
    let (number, protocol) = (number?, protocol?);
    let name = match table.get("name") {
        None => format!("{protocol}-{number}"),
        Some(node) => match fields::text(node, "name", mistakes)? {
            "" => {
                mistakes.add(node.at, "a port's name is empty");
                return None;
            }
            name => name.to_owned(),
        },
    };
    Some(ServicePort { number, name, protocol })
}
