//! Which ports a service has, of what its instances say.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Port, Protocol, ServicePort};

use super::instance::{Instance, InstancePort};

/// What holds ports of several instances together: the service's port that they name, or their own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Declared(Port),
    Named(Option<String>),
}

/// The service's ports, and which of them an instance's port serves.
#[derive(Debug)]
pub(super) struct Ports {
    numbers: BTreeMap<Group, Port>,
    pub(super) service: Vec<ServicePort>,
}

impl Group {
    fn of(port: &InstancePort) -> Self {
        port.service.map_or_else(|| Self::Named(port.name.clone()), Self::Declared)
    }
}

impl Ports {
    /// Finds the ports. Depends only on what the instances say, not on their order.
    ///
    /// A port that instances declare has that number. One that none declares has the number that most
    /// instances listen on, the lowest of several such, and is the declared port of that number where there
    /// is one. Names choose in their order, and no two of them the same number.
    pub(super) fn of<'a>(instances: impl Iterator<Item = &'a Instance> + Clone) -> Self {
        let mut groups: BTreeMap<Group, Vec<&InstancePort>> = BTreeMap::new();
        for port in instances.flat_map(|instance| &instance.ports) {
            groups.entry(Group::of(port)).or_default().push(port);
        }
        let (mut numbers, mut chosen) = (BTreeMap::new(), BTreeSet::new());
        let mut members: BTreeMap<Port, Vec<&InstancePort>> = BTreeMap::new();
        for (group, ports) in groups {
            let number = match group {
                Group::Declared(number) => Some(number),
                Group::Named(_) => most(ports.iter().filter_map(|port| port.own), &chosen),
            };
            let Some(number) = number else { continue };
            if matches!(group, Group::Named(_)) {
                chosen.insert(number);
            }
            members.entry(number).or_default().extend(ports);
            numbers.insert(group, number);
        }
        Self { numbers, service: described(&members) }
    }

    /// The port of the service that this port of an instance serves.
    pub(super) fn number(&self, port: &InstancePort) -> Option<Port> {
        self.numbers.get(&Group::of(port)).copied()
    }
}

/// Name and protocol of each port: what most say, else its protocol and number.
fn described(members: &BTreeMap<Port, Vec<&InstancePort>>) -> Vec<ServicePort> {
    let mut names = BTreeSet::new();
    let described = members.iter().map(|(number, ports)| {
        let protocol = most(ports.iter().filter_map(|port| port.protocol), &BTreeSet::new());
        let protocol = protocol.unwrap_or(Protocol::Tcp);
        let given = most(ports.iter().filter_map(|port| port.name.clone()), &BTreeSet::new());
        // With its number, which no other has, a name that two ports have is told apart.
        let name = match given {
            None => format!("{protocol}-{number}"),
            Some(name) if names.contains(&name) => format!("{name}-{number}"),
            Some(name) => name,
        };
        names.insert(name.clone());
        ServicePort { number: *number, name, protocol }
    });
    described.collect()
}

/// What is there most often and not taken; of several such, the least.
fn most<T: Ord + Clone>(values: impl Iterator<Item = T>, taken: &BTreeSet<T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values.filter(|value| !taken.contains(value)) {
        *counts.entry(value).or_default() += 1;
    }
    let best = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == best).map(|(value, _)| value)
}
