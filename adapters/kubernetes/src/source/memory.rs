//! What is remembered from one attempt to the next: pods and nodes, which an attempt may not be able to read.
//!
//! Services and slices are not remembered: an attempt publishes only after it has listed them.

use std::sync::Arc;

use crate::cluster::Facts;
use parking_lot::Mutex;

/// Shared by the attempts of one registry.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Facts>>);

impl Memory {
    /// Takes all out. It is kept again when the attempt ends.
    pub(super) fn take(&self) -> Facts {
        std::mem::take(&mut *self.0.lock())
    }

    pub(super) fn keep(&self, facts: Facts) {
        *self.0.lock() = facts;
    }
}
