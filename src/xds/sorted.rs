//! A map in one piece of memory, for what comes in thousands at once and goes again.
//!
//! A tree has a node for every few entries. When a mesh comes back, thousands of clients have thousands of entries each
//! for a moment, and the holes that so many nodes leave stay with the process.

use std::borrow::Borrow;

/// Values by key, ordered by key. Empty, it takes no memory.
#[derive(Debug)]
pub(super) struct Sorted<K, V>(Vec<(K, V)>);

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Sorted<K, V> {
    /// Puts all of them in. Of entries with one key, the last is right.
    pub(super) fn extend(&mut self, entries: Vec<(K, V)>) {
        if entries.is_empty() {
            return;
        }
        self.0.reserve_exact(entries.len());
        self.0.extend(entries);
        // Stable, and quick where entries come in order.
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.0.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
    }

    /// The value of that key.
    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let at = self.0.binary_search_by(|(known, _)| known.borrow().cmp(key)).ok()?;
        Some(&self.0[at].1)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Keeps what is to stay.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(key, value)| stays(key, value));
        if self.is_empty() {
            self.clear();
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_key_is_right_and_nothing_is_kept_of_what_went() {
        let mut sorted = Sorted::default();
        sorted.extend(vec![("b", 1), ("c", 1), ("a", 1), ("b", 2)]);
        sorted.extend(vec![("c", 3), ("d", 1)]);
        let all: Vec<_> = sorted.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(all, [("a", 1), ("b", 2), ("c", 3), ("d", 1)]);
        assert_eq!((sorted.get("c"), sorted.get("e")), (Some(&3), None));
        sorted.retain(|_, value| *value > 2);
        assert_eq!(sorted.iter().count(), 1);
        sorted.retain(|_, _| false);
        assert_eq!(sorted.0.capacity(), 0);
    }
}
