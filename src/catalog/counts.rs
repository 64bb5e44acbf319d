//! Counts values over all services: each distinct value, and how many services have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The distinct values of all services, each with the number of services that have it. A copy costs nothing
/// before one of both changes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counts<T: Ord>(Arc<BTreeMap<T, usize>>);

impl<T: Ord> Default for Counts<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Ord + Clone> Counts<T> {
    /// A service with these values came.
    pub(super) fn add(&mut self, values: BTreeSet<&T>) {
        for value in values {
            *Arc::make_mut(&mut self.0).entry(value.clone()).or_default() += 1;
        }
    }

    /// A service with these values went.
    pub(super) fn remove(&mut self, values: BTreeSet<&T>) {
        for value in values {
            let counts = Arc::make_mut(&mut self.0);
            match counts.get_mut(value) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.remove(value)),
            }
        }
    }

    /// Whether the same values are there, in however many services.
    pub(super) fn has_the_values_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.keys().eq(other.0.keys())
    }

    /// Whether no service has any value.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some service has the value.
    pub(super) fn contains(&self, value: &T) -> bool {
        self.0.contains_key(value)
    }

    /// The first value, in order, that is not less than this one.
    pub(super) fn first_from(&self, value: T) -> Option<&T> {
        self.0.range(value..).next().map(|(found, _)| found)
    }
}
