//! What is remembered from one attempt to the next.
//!
//! It is never published by itself: an attempt publishes only after it has read everything. It holds what an
//! attempt cannot ask for: instances that Consul hides although it lists their service, and what
//! was settled of each host, such as the port that clients have called so far.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pilot_registry::Hostname;

use super::reply::Key;
use crate::convert::{Content, Settled};

/// Shared by the attempts of one registry.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// What was said of each service, and its hash.
    pub(super) contents: BTreeMap<Key, (u64, Content)>,
    /// What was settled of each host.
    pub(super) settled: BTreeMap<Hostname, Settled>,
}

impl Memory {
    /// Takes all out. It is kept again when the attempt ends.
    pub(super) fn take(&self) -> Remembered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn keep(&self, remembered: Remembered) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = remembered;
    }
}
