//! Counts what arrives at the clients.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use parking_lot::Mutex;
use pilot::resources::ResourceType;
use tokio::sync::Notify;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What arrived, and when.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    awaited: AtomicUsize,
    /// The one type of which responses count, if not all do.
    only: Mutex<Option<ResourceType>>,
    arrivals: Mutex<Vec<Duration>>,
    complete: Notify,
    resources: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    /// Begins anew: that many arrivals are awaited.
    pub(crate) fn begin(&self, awaited: usize) {
        self.begin_of(awaited, None);
    }

    /// The same, of responses of one type.
    pub(crate) fn begin_of(&self, awaited: usize, only: Option<ResourceType>) {
        *self.only.lock() = only;
        self.awaited.store(awaited, Ordering::SeqCst);
        self.arrivals.lock().clear();
        self.resources.store(0, Ordering::SeqCst);
        self.bytes.store(0, Ordering::SeqCst);
    }

    /// A client has what it was waiting for.
    pub(crate) fn arrived(&self) {
        let mut arrivals = self.arrivals.lock();
        arrivals.push(now());
        if arrivals.len() == self.awaited.load(Ordering::SeqCst) {
            self.complete.notify_one();
        }
    }

    /// A client that is in sync has a response of that type.
    pub(crate) fn followed(&self, type_url: &str) {
        if self.only.lock().is_none_or(|only| only.type_url() == type_url) {
            self.arrived();
        }
    }

    /// A client was sent resources.
    pub(crate) fn received(&self, resources: &[bytes::Bytes]) {
        let bytes: usize = resources.iter().map(bytes::Bytes::len).sum();
        self.resources.fetch_add(resources.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until all awaited have arrived, and says when each did, in order.
    pub(crate) async fn complete(&self) -> anyhow::Result<Vec<Duration>> {
        let waited = tokio::time::timeout(DEADLINE, self.complete.notified()).await;
        let mut arrivals = self.arrivals.lock();
        let awaited = self.awaited.load(Ordering::SeqCst);
        waited.with_context(|| format!("{} of {awaited} clients have what they wait for", arrivals.len()))?;
        arrivals.sort();
        Ok(std::mem::take(&mut arrivals))
    }

    /// How many resources all clients were sent since [`Tally::begin`], and their bytes.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.resources.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst))
    }
}

/// The time of day: the one clock that two processes share.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
