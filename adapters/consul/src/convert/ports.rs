//! Which ports a service has, of what its instances say.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Port, Protocol, ServicePort};

use super::instance::{Instance, InstancePort};

/// What holds ports of several instances together: the service's port that they name, or their own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Declared(Port),
    Named(Option<String>),
}

/// Which port of the service each group has.
pub(crate) type Numbers = BTreeMap<Group, Port>;

/// The service's ports, and which of them an instance's port serves.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) numbers: Numbers,
    pub(super) service: Vec<ServicePort>,
    /// What a reader should know of how they were found.
    pub(super) note: Option<String>,
}

impl Group {
    fn of(port: &InstancePort) -> Self {
        port.service.map_or_else(|| Self::Named(port.name.clone()), Self::Declared)
    }

    fn chooses(&self) -> bool {
        matches!(self, Self::Named(_))
    }
}

impl Ports {
    /// Finds the ports. Depends only on what the instances say and on the numbers before, not on their order.
    ///
    /// A port that instances declare has that number. One that none declares has the number that most
    /// instances listen on, the lowest of several such, and is the declared port of that number where there
    /// is one. Names choose in their order, and no two of them the same number as long as there are others.
    /// A name that had a number keeps it: clients call it, whoever comes and goes.
    pub(super) fn of<'a>(instances: impl Iterator<Item = &'a Instance> + Clone, before: &Numbers) -> Self {
        let mut groups: BTreeMap<Group, Vec<&InstancePort>> = BTreeMap::new();
        for port in instances.flat_map(|instance| &instance.ports) {
            groups.entry(Group::of(port)).or_default().push(port);
        }
        let note = note(&groups, before);
        let mut numbers = Numbers::new();
        let kept = before.iter().filter(|(group, _)| groups.contains_key(*group));
        let mut chosen: BTreeSet<Port> =
            kept.filter(|(group, _)| group.chooses()).map(|(_, port)| *port).collect();
        let mut members: BTreeMap<Port, Vec<&InstancePort>> = BTreeMap::new();
        for (group, ports) in groups {
            let number = match group {
                Group::Declared(number) => Some(number),
                Group::Named(_) => before.get(&group).copied().or_else(|| choose(&ports, &chosen)),
            };
            let Some(number) = number else { continue };
            if group.chooses() {
                chosen.insert(number);
            }
            members.entry(number).or_default().extend(ports);
            numbers.insert(group, number);
        }
        Self { numbers, service: described(&members), note }
    }

    /// The port of the service that this port of an instance serves.
    pub(super) fn number(&self, port: &InstancePort) -> Option<Port> {
        self.numbers.get(&Group::of(port)).copied()
    }
}

/// The number that most listen on and no other name has. Where others have all of them, the ports are one:
/// an instance that lives is reached, whatever its port is called.
fn choose(ports: &[&InstancePort], chosen: &BTreeSet<Port>) -> Option<Port> {
    let own = ports.iter().filter_map(|port| port.own);
    most(own.clone(), chosen).or_else(|| most(own, &BTreeSet::new()))
}

/// Ports that differ, and of which none is declared, leave it to the moment which one clients call.
fn note(groups: &BTreeMap<Group, Vec<&InstancePort>>, before: &Numbers) -> Option<String> {
    let undeclared = groups.iter().filter(|(group, _)| group.chooses());
    undeclared.map(|(group, ports)| (before.get(group), ports)).find_map(|(before, ports)| {
        let own: BTreeSet<Port> = ports.iter().filter_map(|port| port.own).collect();
        let moved = before.is_some_and(|before| !own.contains(before));
        (own.len() > 1 || moved).then(|| {
            "its instances listen on other ports than the service's, and which one that is depends on when \
             they were seen: expected service_port in their meta"
                .to_owned()
        })
    })
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
