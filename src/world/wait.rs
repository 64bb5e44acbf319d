//! Waiting for a time, and for what somebody publishes.

use tokio::sync::watch;
use tokio::time::Instant;

/// Waits until then; without end where there is no such time. One that has passed is not waited for: the timer is only
/// as fine as a millisecond.
pub(super) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) if deadline > Instant::now() => tokio::time::sleep_until(deadline).await,
        Some(_) => {}
        None => std::future::pending().await,
    }
}

/// Waits for the next value, and gives the receiver back.
pub(super) async fn next_change<T: Send + Sync>(mut receiver: watch::Receiver<T>) -> watch::Receiver<T> {
    if receiver.changed().await.is_err() {
        // The sender outlives its receivers; should it end, its last value stays.
        std::future::pending::<()>().await;
    }
    receiver
}
