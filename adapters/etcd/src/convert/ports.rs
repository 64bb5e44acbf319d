//! Maps the ports of a service to the ports of an instance.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Port, Protocol, ServicePort};

use crate::document::Instance;

/// From the ports of a described service to the instance's.
pub(super) fn of_described(
    instance: &Instance,
    service: &[ServicePort],
) -> Result<BTreeMap<Port, Port>, String> {
    if let Some(own) = instance.port {
        let only = match service {
            [only] => Some(only),
            several => several.iter().find(|port| port.number == own),
        };
        let number = only.map(|port| port.number).ok_or_else(|| {
            let example = service.first().map_or("", |port| port.name.as_str());
            let count = service.len();
            format!(
                "port {own} of a service with {count} ports: say which with \"ports\": {{{example:?}: {own}}}"
            )
        })?;
        return Ok([(number, own)].into());
    }
    if instance.ports.is_empty() {
        return Ok(service.iter().map(|port| (port.number, port.number)).collect());
    }
    let mut ports = BTreeMap::new();
    for (key, own) in &instance.ports {
        let by_number = service.iter().find(|port| port.number.to_string() == *key);
        let port = by_number.or_else(|| service.iter().find(|port| port.name == *key)).ok_or_else(|| {
            let known: Vec<_> =
                service.iter().map(|port| format!("{} ({})", port.number, port.name)).collect();
            format!("the service has no port {key:?}: expected one of {}", known.join(", "))
        })?;
        if ports.insert(port.number, *own).is_some() {
            return Err(format!("port {} of the service is there twice, by number and by name", port.number));
        }
    }
    Ok(ports)
}

/// The ports of a service that nobody describes: those that its instances name. A port's number is the
/// smallest that one of them has it at and that no other port has taken, so that it is the same whoever
/// computes it, and stays when instances of the same kind come and go.
pub(super) fn gathered<'a>(instances: impl Iterator<Item = (&'a str, &'a Instance)>) -> Vec<ServicePort> {
    let mut named: BTreeMap<&str, Gathered> = BTreeMap::new();
    for (_, instance) in instances {
        if let Some(number) = instance.port {
            named.entry("").or_default().add(number, instance.protocol);
        }
        for (name, number) in &instance.ports {
            named.entry(name).or_default().add(*number, instance.protocols.get(name).copied());
        }
    }
    let unnamed = named.remove("").unwrap_or_default();
    let (mut ports, mut taken) = (Vec::new(), BTreeSet::new());
    for (name, gathered) in named {
        let Some(number) = gathered.numbers.iter().find(|number| taken.insert(**number)) else { continue };
        let protocol = gathered.protocol.unwrap_or_else(|| protocol_in(name));
        ports.push(ServicePort { number: *number, name: name.to_owned(), protocol });
    }
    // Instances that do not name their port serve the one that has the same number.
    if unnamed.numbers.iter().all(|number| taken.contains(number)) {
        return ports;
    }
    if let Some(number) = unnamed.numbers.iter().find(|number| taken.insert(**number)) {
        let protocol = unnamed.protocol.unwrap_or(Protocol::Tcp);
        let name = format!("{protocol}-{number}");
        if ports.iter().all(|port| port.name != name) {
            ports.push(ServicePort { number: *number, name, protocol });
        }
    }
    ports
}

/// From the gathered ports to the instance's.
pub(super) fn of_gathered(
    instance: &Instance,
    service: &[ServicePort],
) -> Result<BTreeMap<Port, Port>, String> {
    const DESCRIBE: &str = "the service needs a description";
    if let Some(own) = instance.port {
        let same = service.iter().find(|port| port.number == own);
        // What has the name that an unnamed port is given.
        let unnamed = service.iter().find(|port| port.name == format!("{}-{}", port.protocol, port.number));
        let port = same.or(unnamed).ok_or_else(|| {
            format!("port {own} without a name beside ports with names: expected ports; or {DESCRIBE}")
        })?;
        return Ok([(port.number, own)].into());
    }
    if instance.ports.is_empty() {
        return Err(format!("no port is said: expected port or ports; or {DESCRIBE}"));
    }
    let mut ports = BTreeMap::new();
    for (name, own) in &instance.ports {
        let port = service.iter().find(|port| port.name == *name);
        let port = port.ok_or_else(|| {
            format!("port {name:?} has the number {own}, as another port of the service has: {DESCRIBE}")
        })?;
        ports.insert(port.number, *own);
    }
    Ok(ports)
}

#[derive(Default)]
struct Gathered {
    numbers: BTreeSet<Port>,
    /// What the first instance that says it says.
    protocol: Option<Protocol>,
}

impl Gathered {
    fn add(&mut self, number: Port, protocol: Option<Protocol>) {
        self.numbers.insert(number);
        self.protocol = self.protocol.or(protocol);
    }
}

/// A port named `grpc` or `http-admin` says what is spoken there; any other one takes bytes.
fn protocol_in(name: &str) -> Protocol {
    name.split('-').next().and_then(|word| word.parse().ok()).unwrap_or(Protocol::Tcp)
}
