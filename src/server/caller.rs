//! The client at the other end of a connection: what all of its requests share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::xds::stream::Peer;

/// Who is at the other end of a connection. Each of its requests has it as an extension.
#[derive(Clone)]
pub(super) struct Caller {
    peer: Peer,
    /// How many of its requests are being answered.
    open: Arc<watch::Sender<usize>>,
    /// Places for those of them that are no discovery.
    others: Arc<Semaphore>,
}

/// How many requests of one connection may be answered at once beside those of discovery. Probes of health are one at a
/// time; reflection is a few.
const OTHERS_MAX: usize = 16;

impl Default for Caller {
    fn default() -> Self {
        Self::new(Peer::default())
    }
}

/// A request that is being answered, until this is dropped.
pub(super) struct OpenRequest(Arc<watch::Sender<usize>>);

impl Caller {
    /// Who is connected there.
    pub(super) fn of(stream: &TcpStream) -> Self {
        Self::new(Peer::from(stream.peer_addr().ok()))
    }

    fn new(peer: Peer) -> Self {
        let others = Arc::new(Semaphore::new(OTHERS_MAX));
        Self { peer, open: Arc::new(watch::Sender::new(0)), others }
    }

    /// Who it is to its streams.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Asks the streams of the connection to end, because it does.
    pub(super) fn leave(&self) {
        self.peer.leave.cancel();
    }

    /// Counts a request for as long as what this gives lives.
    pub(super) fn request(&self) -> OpenRequest {
        self.open.send_modify(|open| *open += 1);
        OpenRequest(Arc::clone(&self.open))
    }

    /// A place for a request that is no discovery; `None` = the connection has as many as it may.
    pub(super) fn other(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.others).try_acquire_owned().ok()
    }

    /// Waits until nothing was open for that long.
    pub(super) async fn idle(&self, time: Duration) {
        let mut open = self.open.subscribe();
        loop {
            let is_idle = *open.borrow_and_update() == 0;
            // The sender lives as long as this does.
            if is_idle && timeout(time, open.changed()).await.is_err() {
                return;
            } else if !is_idle {
                _ = open.wait_for(|open| *open == 0).await;
            }
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_once_nothing_was_open_for_long_enough() {
        let caller = Caller::default();
        let (begun, time) = (Instant::now(), Duration::from_secs(60));
        let requests = async {
            tokio::time::sleep(Duration::from_secs(50)).await;
            let first = caller.request();
            tokio::time::sleep(Duration::from_secs(100)).await;
            let _second = caller.request();
            drop(first);
            tokio::time::sleep(Duration::from_secs(100)).await;
        };
        tokio::join!(caller.idle(time), requests);
        assert_eq!(begun.elapsed().as_secs(), 50 + 100 + 100 + 60);
    }
}
