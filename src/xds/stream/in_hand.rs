//! What a stream holds, or waits for, of what there is little of for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

/// What the request that is being dealt with holds, from when it was read until it has been dealt with, waiting for a turn
/// included. Whoever reads requests puts it in, and the stream lets it go.
#[derive(Clone, Debug, Default)]
pub struct InHand(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    held: Mutex<Vec<OwnedSemaphorePermit>>,
    holds: AtomicUsize,
}

/// The stream holds something, or waits for it, until this is dropped.
#[must_use = "it is over when this is dropped"]
#[derive(Debug)]
pub struct Hold(InHand);

impl InHand {
    /// A request that holds this is given to the stream.
    pub fn take(&self, held: Vec<OwnedSemaphorePermit>) {
        *self.0.held.lock() = held;
    }

    /// The request has been dealt with.
    pub fn release(&self) {
        self.0.held.lock().clear();
    }

    /// The stream holds something else that others wait for, or waits for it.
    pub fn hold(&self) -> Hold {
        self.0.holds.fetch_add(1, Ordering::Relaxed);
        Hold(self.clone())
    }

    /// Whether the stream holds something, or waits for it.
    pub fn holds(&self) -> bool {
        self.0.holds.load(Ordering::Relaxed) > 0 || !self.0.held.lock().is_empty()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.holds.fetch_sub(1, Ordering::Relaxed);
    }
}
