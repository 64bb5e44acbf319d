//! Converts a description and instances to one service, as README.md describes.

mod ports;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use pilot_registry::{Address, Endpoint, Health, Hostname, Port, Service, ServicePort, ServiceSpec, Weight};

use crate::document::{Description, Instance};

/// An instance that is left out: its id, and why.
pub(crate) type LeftOut = (String, String);

/// A description by itself.
///
/// # Errors
/// It makes no sense, whatever the instances are.
pub(crate) fn check(host: &Hostname, description: &Description) -> Result<(), String> {
    Service::new(described(host, description)).map(drop).map_err(|error| error.to_string())
}

/// The service of these parts, if there is one, and the instances that are not in it.
pub(crate) fn service<'a>(
    host: &Hostname,
    description: Option<&Description>,
    instances: impl Iterator<Item = (&'a str, &'a Instance)> + Clone,
) -> (Option<Service>, Vec<LeftOut>) {
    let spec = match description {
        Some(description) => described(host, description),
        None => ServiceSpec { ports: ports::gathered(instances.clone()), ..ServiceSpec::new(host.clone()) },
    };
    let (mut left_out, mut endpoints) = (Vec::new(), BTreeMap::new());
    for (id, instance) in instances {
        match endpoint(instance, &spec.ports, description.is_some()) {
            Ok(endpoint) => _ = endpoints.insert(id, endpoint),
            Err(why) => left_out.push((id.to_owned(), why)),
        }
    }
    if description.is_none() && endpoints.is_empty() {
        return (None, left_out);
    }
    (build(spec, endpoints, &mut left_out), left_out)
}

/// Instances that do not fit are looked for only where the whole does not.
fn build(
    mut spec: ServiceSpec,
    mut endpoints: BTreeMap<&str, Endpoint>,
    left_out: &mut Vec<LeftOut>,
) -> Option<Service> {
    leave_out_doubles(&mut endpoints, left_out);
    spec.endpoints = endpoints.values().cloned().collect();
    if let Ok(service) = Service::new(spec.clone()) {
        return Some(service);
    }
    endpoints.retain(|id, endpoint| {
        let alone = ServiceSpec { endpoints: vec![endpoint.clone()], ..spec.clone() };
        let error = Service::new(alone).err();
        left_out.extend(error.as_ref().map(|error| ((*id).to_owned(), error.to_string())));
        error.is_none()
    });
    spec.endpoints = endpoints.into_values().collect();
    // One that has no sense without instances was refused before.
    Service::new(spec).ok()
}

/// Where an endpoint is reached.
type At = (Address, BTreeMap<Port, Port>);

/// Two instances at one place that say different things cannot both be meant. The healthiest is, then the
/// one with the most weight, then the first in order of ids: what was left behind under another id does not
/// hide the one that lives.
fn leave_out_doubles(endpoints: &mut BTreeMap<&str, Endpoint>, left_out: &mut Vec<LeftOut>) {
    let mut best: BTreeMap<At, (&str, Endpoint)> = BTreeMap::new();
    for (id, endpoint) in &*endpoints {
        let known = best.entry(at(endpoint)).or_insert_with(|| (*id, endpoint.clone()));
        if rank(endpoint) < rank(&known.1) {
            *known = (*id, endpoint.clone());
        }
    }
    endpoints.retain(|id, endpoint| {
        let (kept, other) = &best[&at(endpoint)];
        if other == endpoint {
            return true;
        }
        let why = format!("instance {kept:?} is at the same address and ports, and says otherwise");
        left_out.push(((*id).to_owned(), why));
        false
    });
}

fn at(endpoint: &Endpoint) -> At {
    (endpoint.address.clone(), endpoint.ports.clone())
}

/// The smaller, the better.
fn rank(endpoint: &Endpoint) -> (u8, Reverse<Weight>) {
    let health = match endpoint.health {
        Health::Healthy => 0,
        Health::Warning => 1,
        Health::Unknown => 2,
        Health::Draining => 3,
        Health::Unhealthy => 4,
    };
    (health, Reverse(endpoint.weight))
}

fn described(host: &Hostname, description: &Description) -> ServiceSpec {
    let port = |port: &crate::document::DescribedPort| ServicePort {
        number: port.number,
        name: port.name.clone().unwrap_or_else(|| format!("{}-{}", port.protocol, port.number)),
        protocol: port.protocol,
    };
    let Description { ports, aliases, virtual_addresses, resolution, namespace, labels, identities } =
        description;
    ServiceSpec {
        ports: ports.iter().map(port).collect(),
        aliases: aliases.clone(),
        virtual_addresses: virtual_addresses.clone(),
        resolution: *resolution,
        namespace: namespace.clone(),
        labels: labels.clone(),
        identities: identities.clone(),
        ..ServiceSpec::new(host.clone())
    }
}

fn endpoint(instance: &Instance, service: &[ServicePort], described: bool) -> Result<Endpoint, String> {
    let Instance { address, weight, labels, locality, health, identity, .. } = instance;
    let ports = if described {
        ports::of_described(instance, service)?
    } else {
        ports::of_gathered(instance, service)?
    };
    Ok(Endpoint {
        address: address.clone(),
        ports,
        labels: labels.clone(),
        weight: *weight,
        health: *health,
        locality: locality.clone(),
        identity: identity.clone(),
    })
}

#[cfg(test)]
mod tests;
