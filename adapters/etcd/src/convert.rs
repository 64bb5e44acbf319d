//! Converts a description and instances to one service, as README.md describes.

mod gathered;
mod ports;

use std::collections::BTreeMap;

use pilot_registry::{Address, Endpoint, Hostname, Port, Service, ServicePort, ServiceSpec, Visibility};

use crate::document::{Description, Instance};
use gathered::Gathered;
pub(crate) use gathered::Settled;

/// An entry that something is to be said of: an instance's id, and what.
pub(crate) type Said = (String, String);

/// What comes of the description and the instances of one host.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The service, if there is one.
    pub(crate) service: Option<Service>,
    /// What stays as it is for as long as there are instances.
    pub(crate) settled: Settled,
    /// Instances that are not in it, and why.
    pub(crate) left_out: Vec<Said>,
    /// What there is to say of instances that are in it.
    pub(crate) notes: Vec<Said>,
    /// What there is to say of the service.
    pub(crate) about: Option<String>,
}

/// A description by itself.
///
/// # Errors
/// It makes no sense, whatever the instances are.
pub(crate) fn check(host: &Hostname, description: &Description) -> Result<(), String> {
    Service::new(described(host, description)).map(drop).map_err(|error| error.to_string())
}

/// The service of these parts. `before` is what was settled of it.
pub(crate) fn service<'a>(
    host: &Hostname,
    description: Option<&Description>,
    instances: impl Iterator<Item = (&'a str, &'a Instance)> + Clone,
    before: &Settled,
) -> Outcome {
    let mut outcome = Outcome::default();
    let (spec, unnamed) = match description {
        Some(description) => {
            let spec = described(host, description);
            outcome.settled = Settled::described(&spec.ports);
            (spec, None)
        }
        None => {
            let Gathered { ports, guessed_protocols, unnamed, settled, notes } =
                Gathered::of(instances.clone(), before);
            outcome.settled = settled;
            outcome.about = (!notes.is_empty()).then(|| notes.join("; "));
            let guessed = ports.iter().map(|port| port.number).collect();
            let spec = ServiceSpec { ports, guessed, guessed_protocols, ..ServiceSpec::new(host.clone()) };
            (spec, unnamed)
        }
    };
    let mut endpoints = BTreeMap::new();
    for (id, instance) in instances {
        let ports = match description {
            Some(_) => ports::of_described(instance, &spec.ports),
            None => ports::of_gathered(instance, &spec.ports, unnamed),
        };
        match ports {
            Ok(ports) => _ = endpoints.insert(id, endpoint(instance, ports)),
            Err(why) => outcome.left_out.push((id.to_owned(), why)),
        }
    }
    if description.is_none() && endpoints.is_empty() {
        return outcome;
    }
    outcome.service = build(spec, endpoints, &mut outcome);
    outcome
}

/// Instances that do not fit are looked for only where the whole does not.
fn build(
    mut spec: ServiceSpec,
    mut endpoints: BTreeMap<&str, Endpoint>,
    outcome: &mut Outcome,
) -> Option<Service> {
    spec.endpoints = endpoints.values().cloned().collect();
    let service = Service::new(spec.clone()).ok().or_else(|| {
        endpoints.retain(|id, endpoint| {
            let alone = ServiceSpec { endpoints: vec![endpoint.clone()], ..spec.clone() };
            let error = Service::new(alone).err();
            outcome.left_out.extend(error.as_ref().map(|error| ((*id).to_owned(), error.to_string())));
            error.is_none()
        });
        spec.endpoints = endpoints.values().cloned().collect();
        // One that has no sense without instances was refused before.
        Service::new(spec).ok()
    })?;
    outcome.notes = doubles(&endpoints, &service);
    Some(service)
}

/// Two instances at one place that say different things cannot both be meant: the service has the better one.
fn doubles(endpoints: &BTreeMap<&str, Endpoint>, service: &Service) -> Vec<Said> {
    let served = |endpoint: &Endpoint| endpoint.ports.len();
    let all: usize = endpoints.values().map(served).sum();
    if all == service.endpoints.iter().map(served).sum::<usize>() {
        return Vec::new();
    }
    let winners: BTreeMap<_, _> =
        service.endpoints.iter().flat_map(|one| places(one).map(move |place| (place, one))).collect();
    let same =
        |one: &Endpoint, other: &Endpoint| *one == Endpoint { ports: one.ports.clone(), ..other.clone() };
    let mut said = Vec::new();
    for (id, endpoint) in endpoints {
        let Some((place, winner)) = places(endpoint)
            .filter_map(|place| Some((place, *winners.get(&place)?)))
            .find(|(_, winner)| !same(winner, endpoint))
        else {
            continue;
        };
        let is_it = |(_, other): &(&&str, &Endpoint)| {
            same(winner, other) && places(other).any(|other| other == place)
        };
        said.extend(endpoints.iter().find(is_it).map(|(winner, _)| {
            let what =
                format!("instance {winner:?} is at the same address and port, and counts in its place");
            ((*id).to_owned(), what)
        }));
    }
    said
}

/// Where it serves which ports of the service. The port of a Unix socket has no meaning.
fn places(endpoint: &Endpoint) -> impl Iterator<Item = (&Address, Port, Option<Port>)> {
    let is_unix = matches!(endpoint.address, Address::Unix(_));
    endpoint.ports.iter().map(move |(service, own)| (&endpoint.address, *service, (!is_unix).then_some(*own)))
}

fn described(host: &Hostname, description: &Description) -> ServiceSpec {
    let port = |port: &crate::document::DescribedPort| ServicePort {
        number: port.number,
        name: port.name.clone().unwrap_or_else(|| format!("{}-{}", port.protocol, port.number)),
        protocol: port.protocol,
    };
    let Description { ports, aliases, virtual_addresses, resolution, namespace, labels, identities, .. } =
        description;
    ServiceSpec {
        ports: ports.iter().map(port).collect(),
        aliases: aliases.clone(),
        virtual_addresses: virtual_addresses.clone(),
        resolution: *resolution,
        namespace: namespace.clone(),
        // One that makes no sense was refused before.
        visibility: description.visibility().unwrap_or(Visibility::Only([namespace.clone()].into())),
        labels: labels.clone(),
        identities: identities.clone(),
        ..ServiceSpec::new(host.clone())
    }
}

fn endpoint(instance: &Instance, ports: BTreeMap<Port, Port>) -> Endpoint {
    let Instance { address, weight, labels, locality, health, identity, .. } = instance;
    Endpoint {
        address: address.clone(),
        ports,
        labels: labels.clone(),
        weight: *weight,
        health: *health,
        locality: locality.clone(),
        identity: identity.clone(),
    }
}

#[cfg(test)]
mod tests;
