//! The end: the first signal drains with a deadline, the second ends at once. SIGHUP is no such signal.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{self, SignalKind};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// After a second signal, whoever still runs after this time is ended, whatever holds it up.
const GRACE: Duration = Duration::from_secs(2);

/// So soon after the first signal, another one is the same.
pub const SAME: Duration = Duration::from_millis(500);

/// Says that the end has begun. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shutdown(CancellationToken);

/// Begins the end. A trigger that is gone without a word has begun it too.
#[derive(Debug)]
pub struct Trigger(CancellationToken);

/// A shutdown and what triggers it.
pub fn shutdown() -> (Trigger, Shutdown) {
    let token = CancellationToken::new();
    (Trigger(token.clone()), Shutdown(token))
}

impl Trigger {
    /// Begins the end.
    pub fn begin(&self) {
        self.0.cancel();
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        self.begin();
    }
}

impl Shutdown {
    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the end to begin. Each wait has a token of its own, so that polling it takes no lock that
    /// others take: a loop makes this future once, outside of itself.
    pub fn begun(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.child_token().cancelled_owned()
    }
}

/// The signals that ask for the end: SIGINT and SIGTERM.
///
/// What comes within [`SAME`] of the first one is the first one: `timeout`, and whoever signals a process and its
/// group, means one.
#[derive(Debug)]
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    first: Option<Instant>,
}

impl Signals {
    /// Those that come from now on.
    ///
    /// # Errors
    /// Signals cannot be handled here.
    pub fn new() -> io::Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(unix::signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, first: None })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> SignalKind {
        loop {
            let kind = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
            };
            let now = Instant::now();
            match self.first {
                Some(first) if now < first + SAME => {}
                _ => {
                    self.first.get_or_insert(now);
                    return kind;
                }
            }
        }
    }
}

/// Ends the process with exit code 1 a while after a second SIGINT or SIGTERM.
///
/// Whoever handles signals ends in order long before. This is for what blocks the thread that would have to:
/// a log that nobody reads, a disk that does not answer. So it needs a task of its own.
pub async fn end_for_sure() {
    // Where signals cannot be handled, the system's way to handle them ends the process.
    let Ok(mut signals) = Signals::new() else { return };
    signals.next().await;
    signals.next().await;
    sleep(GRACE).await;
    std::process::exit(1);
}

/// SIGHUP: by hand it asks a server to reload, and a terminal that goes away sends it too.
#[derive(Debug)]
pub struct HangUps(Option<unix::Signal>);

impl HangUps {
    /// All of them.
    ///
    /// # Errors
    /// Signals cannot be handled here.
    pub fn all() -> io::Result<Self> {
        unix::signal(SignalKind::hangup()).map(|signal| Self(Some(signal)))
    }

    /// None where this process was started with SIGHUP ignored, as `nohup` does: so its children ignore it too.
    ///
    /// # Errors
    /// Signals cannot be handled here.
    pub fn unless_ignored() -> io::Result<Self> {
        if is_ignored() { Ok(Self(None)) } else { Self::all() }
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => None,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Takes them, for ever, and says in the log that nothing comes of it.
    pub async fn ignore(&mut self) -> Infallible {
        loop {
            self.next().await;
            tracing::info!("SIGHUP is ignored: SIGTERM or SIGINT ends pilot");
        }
    }
}

/// Whether this process was started with SIGHUP ignored (proc(5), `SigIgn`: bit 0 is signal 1).
fn is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// The share of the drain deadline over which streams are ended, so that clients do not all come back at
/// once and the last ones still have time to go.
pub const SPREAD: f64 = 0.5;

/// When a stream ends after shutdown has begun.
pub fn stream_end(drain: Duration) -> Duration {
    crate::supervisor::jittered(drain.mul_f64(SPREAD))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_waits_is_told_and_who_asks_later_too() {
        let (trigger, shutdown) = shutdown();
        let mut waits = pin!(shutdown.clone().begun());
        assert_eq!(waits.as_mut().now_or_never(), None);
        trigger.begin();
        assert_eq!(waits.now_or_never(), Some(()));
        assert_eq!(shutdown.begun().now_or_never(), Some(()));
    }

    #[test]
    fn a_trigger_that_is_gone_is_an_end() {
        let (trigger, shutdown) = shutdown();
        let mut waits = pin!(shutdown.begun());
        assert_eq!(waits.as_mut().now_or_never(), None);
        drop(trigger);
        assert_eq!(waits.now_or_never(), Some(()));
    }
}
