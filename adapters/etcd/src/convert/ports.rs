//! Maps the ports of a service to the ports of an instance.

use std::collections::BTreeMap;

use pilot_registry::{Port, ServicePort};

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

/// From the gathered ports to the instance's.
pub(super) fn of_gathered(
    instance: &Instance,
    service: &[ServicePort],
    unnamed: Option<Port>,
) -> Result<BTreeMap<Port, Port>, String> {
    const DESCRIBE: &str = "the service needs a description";
    if let Some(own) = instance.port {
        let same = service.iter().find(|port| port.number == own).map(|port| port.number);
        let number = same.or(unnamed).ok_or_else(|| {
            format!("port {own} without a name beside ports with names: expected ports; or {DESCRIBE}")
        })?;
        return Ok([(number, own)].into());
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
