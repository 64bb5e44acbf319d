//! Tables in the place of the list of services, and the list that was meant by them.

use std::net::IpAddr;

use pilot_registry::Hostname;

use super::service;
use crate::document::{Field, Format, LIST, Node, Position, Value};

/// Longer services are shown by their hosts.
const LONGEST: usize = 240;

/// The list that says what the fields say, as text that can be copied, where they are one service, or services by
/// their names. Of several services it shows the first.
pub(super) fn list(fields: &[Field], format: Format) -> Option<String> {
    let is_service = |fields: &[Field]| fields.iter().any(|it| service::KEYS.contains(&it.key.as_str()));
    let named = |field: &Field| {
        let host: Hostname = field.key.parse().ok()?;
        let said = match &field.value.value {
            Value::Table(said) if is_service(said) => said.clone(),
            Value::List(addresses) => of_addresses(addresses)?,
            _ => of_addresses(std::slice::from_ref(&field.value))?,
        };
        let said = said.into_iter().filter(|field| field.key != "host");
        Some(std::iter::once(text("host", host.as_str())).chain(said).collect())
    };
    let service = match is_service(fields) {
        true => fields.to_vec(),
        false => fields.iter().map(named).collect::<Option<Vec<_>>>()?.into_iter().next()?,
    };
    let item = match shown(&Value::Table(service.clone()), format) {
        item if item.len() <= LONGEST => item,
        _ => {
            let host = service.into_iter().filter(|field| field.key == "host").collect();
            let host = shown(&Value::Table(host), format);
            format!("{}, ...}}", host.trim_end_matches(['}', ' ']))
        }
    };
    Some(match format {
        Format::Toml => format!("{LIST} = [{item}]"),
        Format::Yaml => format!("{LIST}: [{item}]"),
        Format::Json => format!("{{\"{LIST}\": [{item}]}}"),
    })
}

/// What a service has whose programs listen at these addresses, each with a port.
fn of_addresses(nodes: &[Node]) -> Option<Vec<Field>> {
    let addresses: Vec<_> = nodes.iter().map(address).collect::<Option<_>>()?;
    let (_, first) = *addresses.first()?;
    // On one machine, clients' port is another than the program's.
    let port = if first == 8000 { 8080 } else { 8000 };
    let port = vec![field("port", Value::Integer(port)), text("protocol", "http")];
    let is_name = |(host, _): &(&str, u16)| host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    let dns = addresses.iter().any(is_name).then(|| text("resolution", "dns"));
    let endpoint =
        |(host, port): &(&str, u16)| Value::Table(vec![text("address", &format!("{host}:{port}"))]);
    let endpoints = addresses.iter().map(endpoint).map(node).collect();
    let ports = field("ports", Value::List(vec![node(Value::Table(port))]));
    Some(std::iter::once(ports).chain(dns).chain([field("endpoints", Value::List(endpoints))]).collect())
}

/// Host and port of `127.0.0.1:9080`, also in a URL.
fn address(node: &Node) -> Option<(&str, u16)> {
    let Value::Text(text) = &node.value else { return None };
    let text = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest);
    let (host, port) = text.trim_end_matches('/').rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let is_ip = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    (is_ip || host.parse::<Hostname>().is_ok()).then_some((host, port))
}

fn node(value: Value) -> Node {
    Node { at: Position::START, value }
}

fn field(key: &str, value: Value) -> Field {
    Field { at: Position::START, key: key.to_owned(), value: node(value) }
}

fn text(key: &str, value: &str) -> Field {
    field(key, Value::Text(value.to_owned()))
}

/// The value in one line.
fn shown(value: &Value, format: Format) -> String {
    let listed = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Other(_) => "...".to_owned(),
        Value::Text(text) => quoted(text),
        Value::List(items) => {
            format!("[{}]", listed(items.iter().map(|item| shown(&item.value, format)).collect()))
        }
        Value::Table(fields) => {
            let one = |field: &Field| {
                let is = if format == Format::Toml { " = " } else { ": " };
                format!("{}{is}{}", key(&field.key, format), shown(&field.value.value, format))
            };
            let inside = listed(fields.iter().map(one).collect());
            if format == Format::Toml { format!("{{ {inside} }}") } else { format!("{{{inside}}}") }
        }
    }
}

fn key(key: &str, format: Format) -> String {
    let is_plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if is_plain && format != Format::Json { key.to_owned() } else { quoted(key) }
}

/// As all three formats take it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
