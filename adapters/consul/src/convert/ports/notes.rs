//! What a reader should know of how the ports of a service were found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use pilot_registry::Port;

use super::super::instance::InstancePort;
use super::super::settled::Said;
use super::Groups;
use crate::convert::settled::Group;

/// The notes on guesses that might have been others, then on what instances disagree about.
pub(super) fn of(
    groups: &Groups<'_>,
    guesses: &BTreeMap<Group, Port>,
    members: &BTreeMap<Port, Vec<&InstancePort>>,
    said: &BTreeMap<Port, Said>,
) -> Vec<String> {
    let guessed = guesses.iter().filter_map(|(group, number)| guessed(group, &groups[group], *number));
    let disputed = members.iter().flat_map(|(number, ports)| disputed(*number, ports, &said[number]));
    guessed.chain(disputed).collect()
}

/// Where all instances listen on one number, that is the number whenever anybody looks.
fn guessed(group: &Group, ports: &[&InstancePort], number: Port) -> Option<String> {
    let own: BTreeSet<Port> = ports.iter().filter_map(|port| port.own).collect();
    if own.iter().eq([&number]) || own.is_empty() {
        return None;
    }
    let which = match group {
        Group::Named(Some(name)) => format!("its port {name:?} is served at {number}"),
        _ => format!("served at port {number}"),
    };
    let how =
        if own.contains(&number) { "that of most instances" } else { "that of most instances at first" };
    Some(format!(
        "{which}, which was guessed ({how}). Say which port clients call: service_port in the meta of its \
         instances, or in this registry's table of pilot.toml"
    ))
}

/// What instances of one port say differently of it.
fn disputed(number: Port, ports: &[&InstancePort], said: &Said) -> impl Iterator<Item = String> {
    // Who says nothing matters where that is what counts.
    let is_said = ports.iter().any(|port| port.protocol == Some(said.protocol));
    let nothing = || (!is_said).then(|| "none".to_owned());
    let protocols =
        ports.iter().filter_map(|port| port.protocol.map_or_else(nothing, |one| Some(one.to_string())));
    let names = ports.iter().filter_map(|port| port.name.as_ref().map(|name| format!("{name:?}")));
    let protocol = Some(said.protocol.to_string());
    let name = said.name.as_ref().map(|name| format!("{name:?}"));
    [
        dispute(number, "protocols", protocols.collect(), protocol),
        dispute(number, "names", names.collect(), name),
    ]
    .into_iter()
    .flatten()
}

fn dispute(number: Port, what: &str, said: BTreeSet<String>, counts: Option<impl Display>) -> Option<String> {
    let counts = counts.filter(|_| said.len() > 1)?;
    let said: Vec<_> = said.into_iter().collect();
    Some(format!("its instances say different {what} of port {number}: {}; {counts} counts", said.join(", ")))
}
