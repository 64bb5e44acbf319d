//! What the configuration says of ports of which instances do not.

use std::collections::BTreeMap;

use pilot_registry::{Port, Protocol};

use super::super::settled::{Settled, protocol};
use super::Groups;
use crate::convert::settled::Group;
use crate::{Config, DefaultPort};

/// What the configuration says of ports of which instances do not.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub(super) port: Option<DefaultPort>,
    pub(super) protocol: Protocol,
}

impl Default for Defaults {
    fn default() -> Self {
        Self::from(&Config::default())
    }
}

impl From<&Config> for Defaults {
    fn from(config: &Config) -> Self {
        Self { port: config.service_port.clone(), protocol: config.default_protocol }
    }
}

/// The groups that have a number by configuration. Where several would have the same one, it is the group's that
/// has it already, else that of the port that instances call their default, else the one without a name, else
/// the first in order of names.
pub(super) fn numbers(groups: &Groups<'_>, before: &Settled, defaults: &Defaults) -> BTreeMap<Group, Port> {
    let Some(default) = &defaults.port else { return BTreeMap::new() };
    let named = groups.iter().filter(|(group, _)| group.is_named());
    let wanted = named.filter_map(|(group, ports)| {
        let before_it = before.numbers.get(group);
        let settled = before_it.and_then(|number| Some(before.said.get(number)?.protocol));
        let number = default.of(protocol(settled, ports, defaults.protocol))?;
        let has_it = before_it == Some(&number);
        let is_default = ports.iter().any(|port| port.is_default);
        Some((number, (!has_it, !is_default, group)))
    });
    let mut first: BTreeMap<Port, _> = BTreeMap::new();
    for (number, rank) in wanted {
        let best = first.entry(number).or_insert(rank);
        *best = rank.min(*best);
    }
    first.into_iter().map(|(number, (.., group))| (group.clone(), number)).collect()
}
