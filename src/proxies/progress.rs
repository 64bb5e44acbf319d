//! Tells who waits that some proxy has come further. While nobody waits, streams pay one look at a number for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Whether somebody waits, and how he is told.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    waiting: AtomicUsize,
    changed: Notify,
}

/// Somebody waits for as long as this lives.
pub(crate) struct ProgressWait<'a>(&'a Progress);

impl Progress {
    /// Somebody begins to wait. What proxies do after this wakes [`ProgressWait::changed`].
    pub(crate) fn wait(&self) -> ProgressWait<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        ProgressWait(self)
    }

    /// A stream has come further: what it did is in its status already.
    pub(super) fn note(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_waiters();
        }
    }
}

impl ProgressWait<'_> {
    /// Ends with the next step that a stream makes after this was called, whenever it is first polled.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.0.changed.notified()
    }
}

impl Drop for ProgressWait<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_step_that_comes_while_somebody_looks_is_not_missed() {
        let progress = Progress::default();
        progress.note();
        let waiting = progress.wait();
        let changed = waiting.changed();
        progress.note();
        changed.await;
        assert!(waiting.changed().now_or_never().is_none());
        drop(waiting);
        assert_eq!(progress.waiting.load(Ordering::SeqCst), 0);
    }
}
