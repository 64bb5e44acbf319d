//! Lists of names that clients ask for. Most proxies of a mesh ask for the same names: they share one list.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3;

/// An ordered list of names, each once. A clone is the same list.
#[derive(Clone, Default)]
pub struct Names(Arc<List>);

#[derive(Default)]
struct List {
    names: Box<[Arc<str>]>,
    /// The list that this became last. What one client asks for next, the others ask for, too.
    next: Mutex<Option<Next>>,
}

struct Next {
    added: Vec<Arc<str>>,
    dropped: Vec<Arc<str>>,
    list: Weak<List>,
}

impl Names {
    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.names.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.names.is_empty()
    }

    /// The name as the list has it.
    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        let found = self.0.names.binary_search_by(|known| known.as_ref().cmp(name));
        found.ok().map(|at| &self.0.names[at])
    }

    /// Whether both are one list in memory.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        self.is_shared_with(other) || self.0.names == other.0.names
    }
}

impl Eq for Names {}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// All lists that some stream holds.
#[derive(Debug, Default)]
pub struct NameLists(Mutex<ListsByHash>);

#[derive(Debug, Default)]
struct ListsByHash {
    /// By a hash of the names.
    lists: BTreeMap<u64, Vec<Weak<List>>>,
    /// The lists that nobody holds any more are dropped when there are so many hashes.
    sweep_at: usize,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} names", self.names.len())
    }
}

impl NameLists {
    /// The list of these names, which need not be in order.
    pub fn list(&self, mut names: Vec<Arc<str>>) -> Names {
        names.sort();
        names.dedup();
        let mut hash = Xxh3::new();
        for name in &names {
            hash.update(name.as_bytes());
            hash.update(&[0]);
        }
        let mut known = self.0.lock();
        let same = known.lists.entry(hash.digest()).or_default();
        same.retain(|list| list.strong_count() > 0);
        if let Some(list) = same.iter().filter_map(Weak::upgrade).find(|list| *list.names == *names) {
            return Names(list);
        }
        let list = Arc::new(List { names: names.into(), next: Mutex::default() });
        same.push(Arc::downgrade(&list));
        if known.lists.len() > known.sweep_at {
            known.lists.retain(|_, same| same.iter().any(|list| list.strong_count() > 0));
            known.sweep_at = 64.max(2 * known.lists.len());
        }
        Names(list)
    }

    /// The list that one becomes when names are added, or taken away. Costs what is added and taken away where
    /// another stream made the same step.
    pub fn step(&self, from: &Names, mut added: Vec<Arc<str>>, dropped: Vec<Arc<str>>) -> Names {
        added.retain(|name| from.get(name).is_none());
        if added.is_empty() && dropped.is_empty() {
            return from.clone();
        }
        let same = |next: &&Next| next.added == added && next.dropped == dropped;
        if let Some(list) = from.0.next.lock().as_ref().filter(same).and_then(|next| next.list.upgrade()) {
            return Names(list);
        }
        let stays = from.iter().filter(|name| !dropped.contains(name));
        let names = match dropped.len() > 16 {
            true => {
                let dropped: std::collections::BTreeSet<_> = dropped.iter().collect();
                from.iter().filter(|name| !dropped.contains(name)).chain(&added).cloned().collect()
            }
            false => stays.chain(&added).cloned().collect(),
        };
        let list = self.list(names);
        *from.0.next.lock() = Some(Next { added, dropped, list: Arc::downgrade(&list.0) });
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn equal_lists_are_one_whatever_way_they_came_about() {
        let lists = NameLists::default();
        let one = lists.list(named(&["b", "a", "b"]));
        let other = lists.step(&lists.list(named(&["a", "c"])), named(&["b"]), named(&["c"]));
        assert!(one.is_shared_with(&other));
        assert_eq!(one.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
        let (next, again) =
            (lists.step(&one, named(&["d"]), vec![]), lists.step(&other, named(&["d"]), vec![]));
        assert!(next.is_shared_with(&again));
        assert!(lists.step(&one, named(&["a"]), vec![]).is_shared_with(&one));
    }

    #[test]
    fn lists_that_nobody_holds_are_forgotten() {
        let lists = NameLists::default();
        (0..10_000).for_each(|n| _ = lists.list(named(&[&n.to_string()])));
        assert!(lists.0.lock().lists.len() < 200);
    }
}
