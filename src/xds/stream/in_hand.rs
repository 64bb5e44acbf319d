//! What the request that is being dealt with holds.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

/// Held from when a request was read until it has been dealt with, waiting for a turn included. Whoever reads requests
/// puts it in, and the stream lets it go.
#[derive(Clone, Debug, Default)]
pub struct InHand(Arc<Mutex<Vec<OwnedSemaphorePermit>>>);

impl InHand {
    /// A request that holds this is given to the stream.
    pub fn take(&self, held: Vec<OwnedSemaphorePermit>) {
        *self.0.lock() = held;
    }

    /// The request has been dealt with.
    pub fn release(&self) {
        self.0.lock().clear();
    }
}
