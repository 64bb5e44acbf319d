//! The end: the first signal drains with a deadline, the second ends at once.

use std::time::Duration;

use tokio::sync::watch;

/// Says that the end has begun. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

/// Begins the end.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// A shutdown and what triggers it.
pub fn shutdown() -> (Trigger, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Shutdown(receiver))
}

impl Trigger {
    /// Begins the end.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits for the end to begin. A trigger that is gone without a word is an end too.
    pub async fn begun(&self) {
        let mut receiver = self.0.clone();
        // An error means that the trigger is gone.
        let _ended = receiver.wait_for(|begun| *begun).await;
    }
}

/// Waits for SIGINT or SIGTERM.
///
/// # Errors
/// Signals cannot be handled here.
pub async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The share of the drain deadline over which streams are ended, so that clients do not all come back at
/// once and the last ones still have time to go.
pub const SPREAD: f64 = 0.5;

/// When a stream ends after shutdown has begun.
pub fn stream_end(drain: Duration) -> Duration {
    crate::supervisor::jittered(drain.mul_f64(SPREAD))
}
