//! Route configurations in parts: which virtual hosts belong together, and what a client gets of a configuration of
//! which some parts are held back.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::resources::{HostChange, Resource, Rope};

/// Virtual hosts that change together, because a domain moves between them.
#[derive(Clone, Debug, Default)]
pub struct Unit(pub Vec<HostChange>);

impl Unit {
    /// The names of its virtual hosts.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter_map(HostChange::name)
    }

    /// Whether it is not known what some of them were before.
    pub fn is_from_unknown(&self) -> bool {
        self.0.iter().any(HostChange::is_from_unknown)
    }

    /// Whether it only takes virtual hosts away.
    pub fn is_removal(&self) -> bool {
        self.0.iter().all(|change| change.now.is_none())
    }
}

/// What differs between what a client has and what there is, in the order of names. Where it is not known what some
/// virtual hosts were, any domain may move.
pub fn units(has: Option<&Rope>, now: &Rope) -> Vec<Unit> {
    let units = apart(has, now);
    match units.iter().any(Unit::is_from_unknown) {
        true => vec![Unit(units.into_iter().flat_map(|unit| unit.0).collect())],
        false => units,
    }
}

/// The same, as far as domains are known to move.
pub fn apart(has: Option<&Rope>, now: &Rope) -> Vec<Unit> {
    let changes = match has {
        Some(has) => now.changes_since(has),
        None => {
            let hosts = now.virtual_hosts().filter_map(|host| now.get(host.name()));
            hosts.map(|host| HostChange { before: None, now: Some(Arc::clone(host)) }).collect()
        }
    };
    if has.is_none() || changes.len() < 2 {
        return changes.into_iter().map(|change| Unit(vec![change])).collect();
    }
    let mut units: Vec<Unit> = Vec::with_capacity(changes.len());
    let mut unit_of: BTreeMap<Box<str>, usize> = BTreeMap::new();
    for change in changes {
        let hosts = change.before.iter().chain(&change.now);
        let domains: Vec<Box<str>> = hosts.flat_map(|host| host.domains().map(Box::from)).collect();
        let mut own = units.len();
        units.push(Unit(vec![change]));
        for domain in domains {
            let other = *unit_of.entry(domain).or_insert(own);
            if other != own {
                let (from, to) = (own.max(other), own.min(other));
                let moved = std::mem::take(&mut units[from].0);
                units[to].0.extend(moved);
                unit_of.values_mut().filter(|unit| **unit == from).for_each(|unit| *unit = to);
                own = to;
            }
        }
    }
    units.retain(|unit| !unit.0.is_empty());
    units
}

/// The configuration with these virtual hosts as they were.
pub fn without<'a>(now: &Arc<Resource>, held: impl Iterator<Item = &'a Unit>) -> Arc<Resource> {
    let mut held = held.peekable();
    let Some(rope) = now.rope().filter(|_| held.peek().is_some()) else { return Arc::clone(now) };
    let mut rope = rope.clone();
    for change in held.flat_map(|unit| &unit.0) {
        match &change.before {
            Some(before) => rope.insert(Arc::clone(before)),
            None => change.name().into_iter().for_each(|name| rope.remove(name)),
        }
    }
    Arc::new(Resource::from_rope(Arc::clone(now.name()), rope, now.origin().clone()))
}
