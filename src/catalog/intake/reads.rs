//! Counts the complete reads of a registry, and asks for a second one.
//!
//! Every attempt to follow a registry starts from nothing, so each is a complete read. The supervisor counts
//! attempts here, and reads everything again beside the running one when that is wanted.

use tokio::sync::watch;
use tokio::time::Instant;

/// The complete reads of one registry.
#[derive(Debug)]
pub(crate) struct Reads {
    begun: watch::Sender<Begun>,
    wanted: watch::Sender<WantedRead>,
}

/// The last read that began: 0 is none.
#[derive(Clone, Copy, Debug, Default)]
struct Begun {
    read: u64,
    at: Option<Instant>,
}

/// The last read that was asked for: 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WantedRead {
    read: u64,
    at: Option<Instant>,
}

impl Reads {
    pub(super) fn new() -> Self {
        Self { begun: watch::Sender::default(), wanted: watch::Sender::default() }
    }

    /// An attempt begins.
    pub(crate) fn begin(&self) {
        self.begun.send_modify(|begun| *begun = Begun { read: begun.read + 1, at: Some(Instant::now()) });
    }

    /// Waits until somebody wants a newer read than that one.
    pub(crate) async fn newer_wanted_than(&self, read: u64) {
        let mut wanted = self.wanted.subscribe();
        if wanted.wait_for(|wanted| wanted.read > read).await.is_err() {
            // The sender lives as long as `self`.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until nobody wants a second read.
    pub(crate) async fn none_wanted(&self) {
        let mut wanted = self.wanted.subscribe();
        if wanted.wait_for(|wanted| wanted.at.is_none()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The read that was wanted has been made, or is no longer wanted.
    pub(crate) fn answered(&self) {
        self.wanted.send_if_modified(|wanted| std::mem::take(wanted).at.is_some());
    }

    /// Follows which read is wanted.
    pub(super) fn subscribe(&self) -> watch::Receiver<WantedRead> {
        self.wanted.subscribe()
    }

    /// The read that began last.
    pub(crate) fn last(&self) -> u64 {
        self.begun.borrow().read
    }

    /// The read that a value comes from which the platform said then.
    pub(super) fn of(&self, checked: Instant) -> u64 {
        let begun = *self.begun.borrow();
        let before = begun.at.is_some_and(|at| checked < at);
        begun.read - u64::from(before)
    }

    /// Another read is wanted.
    pub(super) fn want_another(&self, now: Instant) {
        self.wanted.send_replace(WantedRead { read: self.last() + 1, at: Some(now) });
    }

    /// When a read was asked for of which nothing has come; what has come last is of read `seen`.
    pub(super) fn under_way_since(&self, seen: u64) -> Option<Instant> {
        let wanted = *self.wanted.borrow();
        wanted.at.filter(|_| wanted.read > seen)
    }
}
