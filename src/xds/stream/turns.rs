//! Who is sent much, and when: in order of arrival, a few at a time.
//!
//! The first answers of a stream take milliseconds of computing. When all proxies of a mesh come back at once, whatever
//! else is to be done would wait behind all of them: changes for those that are there, probes, the end.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// So many streams for each core compose their first answers at one time: enough to keep all cores busy.
const PER_CORE: usize = 2;

/// Admits streams to compose their first answers of a type.
#[derive(Clone, Debug)]
pub struct FirstSyncs(Arc<Semaphore>);

/// A stream's turn. It lasts until this is dropped, and no client is waited for meanwhile.
#[must_use = "the turn is over when this is dropped"]
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held until it is dropped")] Option<OwnedSemaphorePermit>);

impl FirstSyncs {
    /// Admits as many at a time as this machine has work for.
    pub fn new() -> Self {
        Self::at_once(std::thread::available_parallelism().map_or(1, usize::from) * PER_CORE)
    }

    /// Admits that many at a time.
    pub fn at_once(number: usize) -> Self {
        Self(Arc::new(Semaphore::new(number)))
    }

    /// Waits for a turn, behind all who wait already.
    pub async fn turn(&self, metrics: &Metrics) -> Turn {
        if let Ok(turn) = Arc::clone(&self.0).try_acquire_owned() {
            return Turn(Some(turn));
        }
        let _waiting = metrics.first_sync_waits();
        // The semaphore is never closed.
        Turn(Arc::clone(&self.0).acquire_owned().await.ok())
    }
}

impl Default for FirstSyncs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn turns_are_given_in_order_of_arrival() {
        let (syncs, metrics) = (FirstSyncs::at_once(1), Metrics::new());
        let now = syncs.turn(&metrics).await;
        let (mut second, mut third) = (Box::pin(syncs.turn(&metrics)), Box::pin(syncs.turn(&metrics)));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(now);
        assert!((&mut third).now_or_never().is_none(), "the second is before it");
        let second = (&mut second).now_or_never().expect("its turn has come");
        let fourth = syncs.turn(&metrics).now_or_never();
        assert!(fourth.is_none() && (&mut third).now_or_never().is_none());
        drop(second);
        assert!(third.now_or_never().is_some());
    }
}
