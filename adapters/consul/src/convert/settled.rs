//! What stays the same of a host while its instances come and go.
//!
//! Clients call a port number and are configured for a protocol. So a number that was found once stays for good, and
//! a protocol stays as long as some instance says it. Only what is not settled yet is found from the instances of
//! the moment.

use std::collections::BTreeMap;

use pilot_registry::{Namespace, Port, Protocol, Resolution};

use super::instance::InstancePort;

/// What was settled of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Which port of the service each group has, also groups of which no instance is there at the moment.
    pub(super) numbers: BTreeMap<Group, Port>,
    /// What instances say of each port.
    pub(super) said: BTreeMap<Port, Said>,
    pub(super) resolution: Option<Resolution>,
    pub(super) namespace: Option<Namespace>,
}

/// What holds ports of several instances together: the service's port that they name, or their own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Declared(Port),
    Named(Option<String>),
}

/// What instances say of a port of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) protocol: Protocol,
    pub(super) name: Option<String>,
}

impl Group {
    pub(super) fn of(port: &InstancePort) -> Self {
        port.service.map_or_else(|| Self::Named(port.name.clone()), Self::Declared)
    }

    pub(super) fn is_named(&self) -> bool {
        matches!(self, Self::Named(_))
    }
}

/// What is said. What was settled stays as long as somebody says it, or nobody says anything else. Otherwise it
/// is what most say, the least of several such.
pub(super) fn settle<T: Ord + Clone>(before: Option<&T>, said: impl Iterator<Item = T> + Clone) -> Option<T> {
    match before {
        Some(before) if said.clone().any(|value| value == *before) => Some(before.clone()),
        _ => most(said).or_else(|| before.cloned()),
    }
}

/// What is spoken on a port. Who says nothing says the default protocol: so one instance with a wrong word does not
/// change what all others speak, and a word that nobody says any more does not stay. But where something only
/// describes the port, its word counts for all that say nothing.
pub(super) fn protocol(before: Option<Protocol>, ports: &[&InstancePort], default: Protocol) -> Protocol {
    let is_described = ports.iter().any(|port| port.own.is_none() && port.protocol.is_some());
    let implied = (!is_described).then_some(default);
    let said = ports.iter().filter_map(|port| port.protocol.or(implied));
    settle(before.as_ref(), said).unwrap_or(default)
}

/// What is there most often; of several such, the least.
pub(super) fn most<T: Ord + Clone>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let best = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == best).map(|(value, _)| value)
}
