//! Finds resources of a set by name: by search at first, by hash once many have been asked for.
//!
//! When a thousand clients reconnect, each looks up every name in the same set, so a hash table pays quickly.
//! After a change, only a few names are looked up in a new set: there a table would cost more than it saves.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::Resource;

/// How often a set is asked before the table is made, as a share of its size.
const PATIENCE: usize = 2;

/// A table that is made when it pays.
#[derive(Debug, Default)]
pub(super) struct Index {
    asked: AtomicU32,
    table: OnceLock<Table>,
}

/// Places of resources by the hash of their name: open addressing, never more than half full.
#[derive(Debug)]
struct Table {
    /// 0 = free, otherwise the place plus one. The length is a power of two.
    slots: Box<[u32]>,
}

impl Index {
    /// The resource of that name among these, which are ordered by name and always the same.
    pub(super) fn find<'a>(&self, resources: &'a [Arc<Resource>], name: &str) -> Option<&'a Arc<Resource>> {
        if let Some(table) = self.table.get() {
            return table.find(resources, name);
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if asked as usize > resources.len() / PATIENCE {
            return self.table.get_or_init(|| Table::new(resources)).find(resources, name);
        }
        let at = resources.binary_search_by(|resource| resource.name().as_ref().cmp(name));
        at.ok().map(|at| &resources[at])
    }
}

impl Table {
    fn new(resources: &[Arc<Resource>]) -> Self {
        let mut slots = vec![0; (resources.len() * 2).next_power_of_two()].into_boxed_slice();
        for (resource, place) in resources.iter().zip(1..) {
            let mut at = start(resource.name(), slots.len());
            while slots[at] != 0 {
                at = (at + 1) % slots.len();
            }
            slots[at] = place;
        }
        Self { slots }
    }

    fn find<'a>(&self, resources: &'a [Arc<Resource>], name: &str) -> Option<&'a Arc<Resource>> {
        let mut at = start(name, self.slots.len());
        loop {
            let place = (self.slots[at] as usize).checked_sub(1)?;
            let found = resources.get(place).filter(|resource| &**resource.name() == name);
            if found.is_some() {
                return found;
            }
            at = (at + 1) % self.slots.len();
        }
    }
}

fn start(name: &str, slots: usize) -> usize {
    // The low bits are all that counts.
    xxhash_rust::xxh3::xxh3_64(name.as_bytes()) as usize & (slots - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilot_envoy_api::envoy::config::cluster::v3::Cluster;

    #[test]
    fn names_are_found_before_and_after_the_table_is_made() {
        let name = |number: usize| format!("cluster-{number:03}");
        for count in [0, 1, 2, 3, 300] {
            let message = Cluster::default();
            let resource = |number| Resource::new(name(number).into(), &message, Vec::new(), false);
            let resources: Vec<_> = (0..count).map(|number| Arc::new(resource(number))).collect();
            let index = Index::default();
            for _ in 0..3 {
                for number in 0..count + 2 {
                    let found = index.find(&resources, &name(number)).map(|found| &**found.name());
                    assert_eq!(found, (number < count).then_some(&*name(number)));
                }
            }
            assert!(index.table.get().is_some());
        }
    }
}
