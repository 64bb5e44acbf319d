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
#[derive(Debug, Default)]
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
    /// instances listen on, the lowest of several such; groups choose in their order, and a number that is
    /// taken is not chosen again.
    pub(super) fn of<'a>(instances: impl Iterator<Item = &'a Instance> + Clone) -> Self {
        let mut groups: BTreeMap<Group, Vec<&InstancePort>> = BTreeMap::new();
        for port in instances.flat_map(|instance| &instance.ports) {
            groups.entry(Group::of(port)).or_default().push(port);
        }
        let mut ports = Self::default();
        let (mut taken, mut names) = (BTreeSet::new(), BTreeSet::new());
        for (group, members) in groups {
            let number = match group {
                Group::Declared(number) => Some(number),
                Group::Named(_) => most(members.iter().filter_map(|port| port.own), &taken),
            };
            let Some(number) = number else { continue };
            taken.insert(number);
            let protocol = most(members.iter().filter_map(|port| port.protocol), &BTreeSet::new());
            let protocol = protocol.unwrap_or(Protocol::Tcp);
            let given = most(members.iter().filter_map(|port| port.name.clone()), &BTreeSet::new());
            let own = format!("{protocol}-{number}");
            // With its number, which no other has, a name that two ports have is told apart.
            let name = given.map_or(own, |name| match names.contains(&name) {
                true => format!("{name}-{number}"),
                false => name,
            });
            names.insert(name.clone());
            ports.service.push(ServicePort { number, name, protocol });
            ports.numbers.insert(group, number);
        }
        ports
    }

    /// The port of the service that this port of an instance serves.
    pub(super) fn number(&self, port: &InstancePort) -> Option<Port> {
        self.numbers.get(&Group::of(port)).copied()
    }
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
