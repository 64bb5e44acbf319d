//! The arguments that describe an instance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use pilot_registry::{Labels, Port, Protocol, RegisteredPort, Registration, Weight};

use crate::cli::place::PlaceArgs;
use crate::config::{Problem, Problems};
use crate::register::address::outward;
use crate::register::identity::{host_name, instance_id};

/// What is registered.
#[derive(Debug, clap::Args)]
pub(super) struct Instance {
    /// The service, by the name that the registry's users give it: payments.mesh. In Consul that is its name
    /// (payments), or a host as the registry's template makes it (payments.service.consul).
    #[arg(long, value_name = "SERVICE", value_parser = NonEmptyStringValueParser::new())]
    service: String,
    /// A port that the instance listens on, with a name before it and a protocol behind it where they matter:
    /// 8080, web=8080, 8080/http, web=8080/http (http, http2, grpc, tls, tcp, mongo, redis or udp). May be
    /// given several times; then each has a name. The first is the one that is checked.
    #[arg(long = "port", value_name = "[NAME=]PORT[/PROTOCOL]", required = true)]
    ports: Vec<NamedPort>,
    /// The IP address by which others reach the instance. Default: the one that this machine has on its route
    /// outwards, which is never loopback.
    #[arg(long, value_name = "IP", value_parser = address)]
    address: Option<IpAddr>,
    /// What tells the instance from all others of its service; registering the same id again replaces it.
    /// Default: this machine's name, the service, --address where it is given, and the first port.
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    id: Option<String>,
    /// A label: version=v2. May be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The instance's share of the load, relative to the others': 1 to 1000000.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = weight)]
    weight: Weight,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Instance {
    /// What is to be registered, and its first port.
    ///
    /// # Errors
    /// The arguments do not fit together, or this machine has no address to be reached by.
    pub(super) fn registration(self, ttl: Duration) -> Result<(Registration, Port), Problems> {
        let Self { service, ports, address, id, labels, weight, place } = self;
        let main_port = ports.first().map(|port| port.port.number);
        let main_port = main_port.ok_or_else(|| fault("--port", "expected at least one".into()))?;
        let id = id.unwrap_or_else(|| instance_id(&host_name(), &service, address, main_port));
        let registration = Registration {
            id,
            service,
            address: address.map_or_else(default_address, Ok)?,
            ports: named(ports)?,
            labels: unique(labels)?,
            weight,
            locality: place.into(),
            ttl,
        };
        Ok((registration, main_port))
    }
}

fn fault(setting: &str, message: String) -> Problems {
    Problem::with_setting(setting, message).into()
}

fn default_address() -> Result<IpAddr, Problems> {
    outward().map_err(|error| {
        let message = format!(
            "this machine has no address outwards ({error}): say by which IP address others reach it"
        );
        fault("--address", message)
    })
}

fn named(ports: Vec<NamedPort>) -> Result<BTreeMap<String, RegisteredPort>, Problems> {
    let several = ports.len() > 1;
    let mut named = BTreeMap::new();
    for NamedPort { name, port } in ports {
        if several && name.is_empty() {
            let message = format!("{}: with several ports each has a name: expected NAME={0}", port.number);
            return Err(fault("--port", message));
        }
        let twice = fault("--port", format!("{name}: given twice: expected another name"));
        if named.insert(name, port).is_some() {
            return Err(twice);
        }
    }
    Ok(named)
}

fn unique(labels: Vec<(String, String)>) -> Result<Labels, Problems> {
    let mut unique = Labels::new();
    for (key, value) in labels {
        let twice = fault("--label", format!("{key}: given twice"));
        if unique.insert(key, value).is_some() {
            return Err(twice);
        }
    }
    Ok(unique)
}

/// `web=8080/http`
#[derive(Clone, Debug, PartialEq, Eq)]
struct NamedPort {
    /// Empty where it has none.
    name: String,
    port: RegisteredPort,
}

impl FromStr for NamedPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = match text.split_once('=') {
            Some(("", _)) => return Err("expected a name before '=', like web=8080".into()),
            Some((name, rest)) => (name, rest),
            None => ("", text),
        };
        let (number, protocol) = match rest.split_once('/') {
            Some((number, protocol)) => (number, Some(protocol)),
            None => (rest, None),
        };
        let number = number.parse::<Port>().map_err(|error| error.to_string())?;
        let protocol = protocol.map(str::parse::<Protocol>).transpose().map_err(|error| error.to_string())?;
        Ok(Self { name: name.to_owned(), port: RegisteredPort { number, protocol } })
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    let ip = pilot_registry::ip_address(text).ok_or("expected an IPv4 or IPv6 address")?;
    if ip.is_unspecified() {
        return Err(
            "nothing can be sent to it: expected an address by which others reach the instance".into()
        );
    }
    Ok(ip)
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, like version=v2".into()),
    }
}

fn weight(text: &str) -> Result<Weight, String> {
    let out_of_range = || format!("expected 1 to {}", Weight::MAX);
    text.parse::<u32>().ok().and_then(|number| Weight::try_from(number).ok()).ok_or_else(out_of_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u32, protocol: Option<Protocol>) -> RegisteredPort {
        RegisteredPort { number: Port::try_from(number).unwrap(), protocol }
    }

    #[test]
    fn ports_have_a_name_and_a_protocol_where_they_matter() {
        for (text, name, wanted) in [
            ("8080", "", port(8080, None)),
            ("web=8080", "web", port(8080, None)),
            ("8080/grpc", "", port(8080, Some(Protocol::Grpc))),
            ("web=8080/http", "web", port(8080, Some(Protocol::Http))),
        ] {
            assert_eq!(text.parse(), Ok(NamedPort { name: name.into(), port: wanted }), "{text}");
        }
        for text in ["", "0", "65536", "=80", "web=", "web", "80/", "80/htp", "a=b=80"] {
            assert!(text.parse::<NamedPort>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn several_ports_have_different_names() {
        let ports = |texts: &[&str]| named(texts.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(ports(&["80"]).unwrap(), [(String::new(), port(80, None))].into());
        assert_eq!(ports(&["a=80", "b=81"]).unwrap().len(), 2);
        for texts in [["80", "81"], ["a=80", "81"], ["a=80", "a=81"]] {
            assert!(ports(&texts).is_err(), "{texts:?}");
        }
    }
}
