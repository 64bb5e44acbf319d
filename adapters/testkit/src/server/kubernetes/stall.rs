//! Lists that stop halfway.

use tokio::sync::watch::Sender;

/// Holds the second half of each list back while it is set.
#[derive(Debug, Default)]
pub(super) struct Stall {
    set: Sender<bool>,
    waiting: Sender<usize>,
}

impl Stall {
    pub(super) fn set(&self, stalled: bool) {
        self.set.send_replace(stalled);
    }

    /// For a list that has sent its first half.
    pub(super) async fn pass(&self) {
        let mut set = self.set.subscribe();
        if *set.borrow_and_update() {
            self.waiting.send_modify(|count| *count += 1);
            // The sender is in `self`.
            _ = set.wait_for(|set| !set).await;
            self.waiting.send_modify(|count| *count -= 1);
        }
    }

    pub(super) async fn somebody_waits(&self) {
        _ = self.waiting.subscribe().wait_for(|count| *count > 0).await;
    }
}
