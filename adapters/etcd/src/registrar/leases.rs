//! Remembers which leases belong to this registrar. No IO.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// How many are remembered for a key: attempts that fail leave some behind, which end by themselves.
const MOST: usize = 16;

/// By key, the leases under which the key may have been written.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<BTreeMap<String, Own>>);

#[derive(Debug, Default)]
struct Own {
    /// The newest last.
    leases: Vec<i64>,
    has_written: bool,
}

impl Leases {
    /// Before anything is written under it.
    pub(super) fn granted(&self, key: &str, lease: i64) {
        let mut all = self.0.lock();
        let own = all.entry(key.to_owned()).or_default();
        if own.leases.len() == MOST {
            own.leases.remove(0);
        }
        own.leases.push(lease);
    }

    /// The key has been written under that lease, so it is under no other.
    pub(super) fn written(&self, key: &str, lease: i64) {
        self.0.lock().insert(key.to_owned(), Own { leases: vec![lease], has_written: true });
    }

    pub(super) fn revoked(&self, key: &str, lease: i64) {
        if let Some(own) = self.0.lock().get_mut(key) {
            own.leases.retain(|other| *other != lease);
        }
    }

    pub(super) fn has_written(&self, key: &str) -> bool {
        self.0.lock().get(key).is_some_and(|own| own.has_written)
    }

    pub(super) fn contains(&self, key: &str, lease: i64) -> bool {
        self.0.lock().get(key).is_some_and(|own| own.leases.contains(&lease))
    }

    /// The newest first.
    pub(super) fn of(&self, key: &str) -> Vec<i64> {
        self.0.lock().get(key).map(|own| own.leases.iter().rev().copied().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_attempts_leave_is_forgotten_in_the_end() {
        let leases = Leases::default();
        (0..100).for_each(|lease| leases.granted("a", lease));
        assert_eq!(leases.of("a"), (84..100).rev().collect::<Vec<_>>());
        assert!(leases.contains("a", 99) && !leases.contains("a", 83) && !leases.contains("b", 99));
        assert!(!leases.has_written("a"));
        leases.written("a", 99);
        assert!(leases.has_written("a"));
        assert_eq!(leases.of("a"), [99]);
        leases.revoked("a", 99);
        assert_eq!(leases.of("a"), [] as [i64; 0]);
    }
}
