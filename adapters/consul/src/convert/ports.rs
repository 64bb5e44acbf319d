//! Which ports a service has, of what its instances say.

mod defaults;
mod notes;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use defaults::Defaults;
use pilot_registry::{Port, Protocol, ServicePort};

use super::instance::{Instance, InstancePort};
use super::settled::{Group, Said, Settled, most, protocol, settle};

/// Numbers of groups that are gone are kept up to so many groups: instances may make up names without end.
const MAX_KEPT: usize = 64;

/// The ports of instances, by what holds them together.
type Groups<'a> = BTreeMap<Group, Vec<&'a InstancePort>>;

/// The service's ports, and which of them an instance's port serves.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) numbers: BTreeMap<Group, Port>,
    pub(super) said: BTreeMap<Port, Said>,
    pub(super) service: Vec<ServicePort>,
    /// Those whose numbers nobody has said.
    pub(super) guessed: BTreeSet<Port>,
    /// Those whose protocols nobody has said.
    pub(super) guessed_protocols: BTreeSet<Port>,
    /// What a reader should know of how they were found.
    pub(super) notes: Vec<String>,
}

impl Ports {
    /// Finds the ports. Depends only on what the instances say, on what was settled before, and on the
    /// configuration, not on the order of the instances.
    ///
    /// A port that instances declare has that number. One that none declares has the number that the
    /// configuration says. Where that says none, the number is guessed: it is the one that most instances listen
    /// on, the lowest of several such, and is the declared port of that number where there is one. Names choose
    /// in their order, and no two of them the same number as long as there are others. A name that had a number
    /// keeps it: clients call it, whoever comes and goes.
    pub(super) fn of<'a>(
        instances: impl Iterator<Item = &'a Instance> + Clone,
        before: &Settled,
        defaults: &Defaults,
    ) -> Self {
        let mut groups = Groups::new();
        for port in instances.flat_map(|instance| &instance.ports) {
            groups.entry(Group::of(port)).or_default().push(port);
        }
        let configured = defaults::numbers(&groups, before, defaults);
        let guesses = guesses(&groups, before, &configured);
        let number = |group: &Group| match group {
            Group::Declared(number) => Some(*number),
            Group::Named(_) => configured.get(group).or_else(|| guesses.get(group)).copied(),
        };
        let said_by_somebody: BTreeSet<Port> =
            groups.keys().filter(|group| !guesses.contains_key(*group)).filter_map(number).collect();
        let mut members: BTreeMap<Port, Vec<&InstancePort>> = BTreeMap::new();
        let mut numbers = BTreeMap::new();
        for (group, ports) in &groups {
            let Some(number) = number(group) else { continue };
            members.entry(number).or_default().extend(ports);
            numbers.insert(group.clone(), number);
        }
        let said = said(&members, &before.said, defaults.protocol);
        let notes = notes::of(&groups, &guesses, &members, &said);
        keep(&mut numbers, before);
        let guessed = guesses.values().copied().filter(|port| !said_by_somebody.contains(port)).collect();
        let guessed_protocols = guessed_protocols(&members, &said);
        Self { numbers, service: described(&said), said, guessed, guessed_protocols, notes }
    }

    /// The port of the service that this port of an instance serves.
    pub(super) fn number(&self, port: &InstancePort) -> Option<Port> {
        self.numbers.get(&Group::of(port)).copied()
    }
}

/// The numbers of groups that neither instances nor the configuration give one.
fn guesses(
    groups: &Groups<'_>,
    before: &Settled,
    configured: &BTreeMap<Group, Port>,
) -> BTreeMap<Group, Port> {
    let is_open = |group: &&Group| group.is_named() && !configured.contains_key(*group);
    let kept = before.numbers.iter().filter(|(group, _)| is_open(group));
    let mut taken: BTreeSet<Port> = kept.map(|(_, port)| *port).chain(configured.values().copied()).collect();
    let mut guesses = BTreeMap::new();
    for (group, ports) in groups.iter().filter(|(group, _)| is_open(group)) {
        let Some(number) = before.numbers.get(group).copied().or_else(|| choose(ports, &taken)) else {
            continue;
        };
        taken.insert(number);
        guesses.insert(group.clone(), number);
    }
    guesses
}

/// The number that most listen on and no other name has. Where others have all of them, the ports are one:
/// an instance that lives is reached, whatever its port is called.
fn choose(ports: &[&InstancePort], taken: &BTreeSet<Port>) -> Option<Port> {
    let own = ports.iter().filter_map(|port| port.own);
    most(own.clone().filter(|port| !taken.contains(port))).or_else(|| most(own))
}

/// Groups that are gone have their numbers again when they are back.
fn keep(numbers: &mut BTreeMap<Group, Port>, before: &Settled) {
    let gone = before.numbers.iter().filter(|(group, _)| group.is_named() && !numbers.contains_key(*group));
    let gone: Vec<_> = gone.map(|(group, port)| (group.clone(), *port)).collect();
    if numbers.len() + gone.len() <= MAX_KEPT {
        numbers.extend(gone);
    }
}

/// What is said of each port.
fn said(
    members: &BTreeMap<Port, Vec<&InstancePort>>,
    before: &BTreeMap<Port, Said>,
    default: Protocol,
) -> BTreeMap<Port, Said> {
    let of = |(number, ports): (&Port, &Vec<&InstancePort>)| {
        let before = before.get(number);
        let said = Said {
            protocol: protocol(before.map(|before| before.protocol), ports, default),
            name: settle(
                before.and_then(|before| before.name.as_ref()),
                ports.iter().filter_map(|port| port.name.clone()),
            ),
        };
        (*number, said)
    };
    members.iter().map(of).collect()
}

/// The ports whose protocol no instance says.
fn guessed_protocols(
    members: &BTreeMap<Port, Vec<&InstancePort>>,
    said: &BTreeMap<Port, Said>,
) -> BTreeSet<Port> {
    let is_said = |number: &Port, ports: &[&InstancePort]| {
        let protocol = said.get(number).map(|said| said.protocol);
        ports.iter().any(|port| port.protocol.is_some() && port.protocol == protocol)
    };
    let guessed = members.iter().filter(|(number, ports)| !is_said(number, ports));
    guessed.map(|(number, _)| *number).collect()
}

/// Name and protocol of each port: what is said of it, else its protocol and number.
fn described(said: &BTreeMap<Port, Said>) -> Vec<ServicePort> {
    let mut names = BTreeSet::new();
    let described = said.iter().map(|(number, said)| {
        let protocol = said.protocol;
        // With its number, which no other has, a name that two ports have is told apart.
        let name = match &said.name {
            None => format!("{protocol}-{number}"),
            Some(name) if names.contains(name) => format!("{name}-{number}"),
            Some(name) => name.clone(),
        };
        names.insert(name.clone());
        ServicePort { number: *number, name, protocol }
    });
    described.collect()
}
