//! How a stream is woken: it has one signal, and whatever it waits for sets that.
//!
//! ```text
//!  layer   ─ Waiters ─┐
//!  layer   ─ Waiters ─┼─ set ──► Signal ──► the stream looks what there is
//!  address ─ Waiters ─┘
//! ```
//!
//! A stream is put on the lists once, not each time it waits: a thousand streams that wait for the same layer share
//! nothing that they would all write to when it changes.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// Wakes one stream. It stays set until it is cleared.
#[derive(Default)]
pub(super) struct Signal {
    is_set: AtomicBool,
    waker: AtomicWaker,
}

impl Signal {
    /// Whoever waits is woken. It sees what was done before this.
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// What was done until now needs no waking any more: it is looked at after this.
    pub(super) fn clear(&self) {
        self.is_set.swap(false, Ordering::AcqRel);
    }

    /// Waits until it is set.
    pub(super) async fn wait(&self) {
        let is_set = || self.is_set.load(Ordering::Acquire);
        poll_fn(|context| {
            if !is_set() {
                self.waker.register(context.waker());
                // It may have been set before the waker was there.
                if !is_set() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// Who waits for one thing.
#[derive(Default)]
pub(super) struct Waiters(Mutex<List>);

#[derive(Default)]
struct List {
    signals: Vec<Weak<Signal>>,
    /// How many are looked through when some may be dead.
    max: usize,
}

impl Waiters {
    /// The signal is set with the others, for as long as somebody holds it.
    pub(super) fn add(&self, signal: &Arc<Signal>) {
        let mut list = self.0.lock();
        if list.signals.len() >= list.max {
            list.signals.retain(|signal| signal.strong_count() > 0);
            list.max = 16.max(list.signals.len() * 2);
        }
        list.signals.push(Arc::downgrade(signal));
    }

    /// Sets all signals, in the order in which they came.
    pub(super) fn set(&self) {
        let list = self.0.lock();
        list.signals.iter().filter_map(Weak::upgrade).for_each(|signal| signal.set());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_signal_wakes_who_waits_and_stays_set_until_it_is_cleared() {
        let (waiters, signal) = (Waiters::default(), Arc::new(Signal::default()));
        waiters.add(&signal);
        assert!(signal.wait().now_or_never().is_none());
        tokio::join!(signal.wait(), async { waiters.set() });
        assert!(signal.wait().now_or_never().is_some());
        signal.clear();
        assert!(signal.wait().now_or_never().is_none());
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let waiters = Waiters::default();
        let stays = Arc::new(Signal::default());
        waiters.add(&stays);
        (0..1000).for_each(|_| waiters.add(&Arc::default()));
        assert!(waiters.0.lock().signals.len() <= 16);
        waiters.set();
        assert!(stays.wait().now_or_never().is_some());
    }
}
