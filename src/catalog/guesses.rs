//! Ports whose numbers registries have guessed, brought together with the same ports of other registries.
//!
//! Each registry guesses by itself, from the instances that it knows. So registries may guess different numbers for
//! one port. Clients call one number, and it has to lead to the endpoints of all registries. A guess yields to what
//! a registry says. Among guesses, the number that the service had before stays; without one, the preferred
//! registry's is taken.
//!
//! Which port of another registry is the same one:
//! 1. the one of the same name;
//! 2. the one of the same number;
//! 3. where one of both has no name: the only one of the same protocol;
//! 4. where one of both has no name, and the registry has one port only: the only one of the same transport.
//!
//! Where that leaves several, nobody can tell: the guess stays a port of its own.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Port, Protocol, Service, ServicePort, ServiceSpec};

use super::part::Part;

/// Gives ports that were guessed the numbers that they have in the service as a whole. `before` are the ports
/// that it had. The parts are in order, the preferred first.
pub(super) fn settle(parts: &mut [Part], before: &[ServicePort]) {
    if parts.iter().all(|part| part.service.guessed.is_empty()) {
        return;
    }
    let mut said: Vec<ServicePort> = Vec::new();
    for part in &*parts {
        let guessed = &part.service.guessed;
        let explicit = part.service.ports.iter().filter(|port| !guessed.contains(&port.number));
        explicit.for_each(|port| add(&mut said, port));
    }
    let mut guessed: Vec<ServicePort> = Vec::new();
    for part in parts {
        let moves = moves(&part.service, [&said, before, &guessed]);
        let moved: BTreeMap<Port, Port> = moves
            .iter()
            .filter(|(from, to)| **from != to.number)
            .map(|(from, to)| (*from, to.number))
            .collect();
        if !moved.is_empty()
            && let Ok(service) = renumbered(&part.service, &moves)
        {
            part.replace(service, moved);
        }
        let service = &part.service;
        let own = service.ports.iter().filter(|port| service.guessed.contains(&port.number));
        own.for_each(|port| add(&mut guessed, port));
    }
}

fn add(ports: &mut Vec<ServicePort>, port: &ServicePort) {
    if ports.iter().all(|known| known.number != port.number) {
        ports.push(port.clone());
    }
}

/// From the numbers that a registry has guessed to the ports that they are. The first of the lists that has a
/// port decides.
fn moves(service: &Service, lists: [&[ServicePort]; 3]) -> BTreeMap<Port, ServicePort> {
    let own = |port: &&ServicePort| !service.guessed.contains(&port.number);
    let mut taken: BTreeSet<Port> = service.ports.iter().filter(own).map(|port| port.number).collect();
    let (unnamed, named): (Vec<_>, Vec<_>) = service
        .ports
        .iter()
        .filter(|port| service.guessed.contains(&port.number))
        .partition(|port| is_unnamed(port));
    let mut moves = BTreeMap::new();
    // What has a name is sure first.
    for port in named.into_iter().chain(unnamed) {
        let is_only = service.ports.len() == 1;
        let same = lists.iter().find_map(|list| same(port, is_only, list, &taken));
        if let Some(same) = same {
            taken.insert(same.number);
            moves.insert(port.number, same.clone());
        }
    }
    moves
}

/// The port of the list that is the same as that one.
fn same<'a>(
    port: &ServicePort,
    is_only: bool,
    list: &'a [ServicePort],
    taken: &BTreeSet<Port>,
) -> Option<&'a ServicePort> {
    let open = || list.iter().filter(|other| !taken.contains(&other.number) && is_udp(other) == is_udp(port));
    let by_name = open().find(|other| other.name == port.name);
    let by_number = || open().find(|other| other.number == port.number);
    let alike = || open().filter(|other| is_unnamed(other) || is_unnamed(port));
    let by_protocol = || only(alike().filter(|other| other.protocol == port.protocol));
    let has_protocol = || alike().any(|other| other.protocol == port.protocol);
    let the_only = || only(alike()).filter(|_| is_only && !has_protocol());
    by_name.or_else(by_number).or_else(by_protocol).or_else(the_only)
}

fn only<T>(mut values: impl Iterator<Item = T>) -> Option<T> {
    values.next().filter(|_| values.next().is_none())
}

/// A port without a name is called by its protocol and number.
fn is_unnamed(port: &ServicePort) -> bool {
    port.name == format!("{}-{}", port.protocol, port.number)
}

fn is_udp(port: &ServicePort) -> bool {
    port.protocol == Protocol::Udp
}

/// The service with other numbers. What is spoken on a port stays what the registry says.
fn renumbered(
    service: &Service,
    moves: &BTreeMap<Port, ServicePort>,
) -> Result<Service, pilot_registry::ModelError> {
    let mut spec: ServiceSpec = service.clone().into_spec();
    for port in &mut spec.ports {
        if let Some(same) = moves.get(&port.number) {
            (port.number, port.name) = (same.number, same.name.clone());
        }
    }
    let number = |port: &Port| moves.get(port).map_or(*port, |same| same.number);
    spec.guessed = spec.guessed.iter().map(number).collect();
    spec.guessed_protocols = spec.guessed_protocols.iter().map(number).collect();
    for endpoint in &mut spec.endpoints {
        endpoint.ports = endpoint.ports.iter().map(|(port, own)| (number(port), *own)).collect();
    }
    Service::new(spec)
}
