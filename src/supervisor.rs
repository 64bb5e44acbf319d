//! The only retry loop: attempt, back off, health.
//!
//! A registry's `run` is one attempt. When it ends, its last value stays in force, its health says why, and
//! it is tried again after a while: 250 ms doubling to 3 s, or to 30 s where the platform answers nonsense,
//! with full jitter. An attempt that published something resets the back-off. After one that did not, the
//! time that it spent waiting for the platform is subtracted from the wait.
//!
//! When a second complete read is wanted, it is made beside the running attempt (`second_read.rs`).

mod journal;
mod second_read;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use pilot_registry::{
    Content, ErrorKind, Feed, RegistryError, RuleStore, ServiceRegistry, Sink, Snapshot, SnapshotSink,
    TextSink, Texts,
};
use tokio::time::Instant;
use tracing::Instrument;

use crate::catalog::{Freshness, Intake, Policy};

/// The longest wait after a first failure.
const BACK_OFF_MIN: Duration = Duration::from_millis(250);
/// The longest wait while the platform is away or refuses us. Both end when somebody mends them, after any
/// time, and what changed meanwhile must be known within 5 s of it. Asking is cheap for both sides: one
/// connection, one refused request.
const BACK_OFF_MAX: Duration = Duration::from_secs(3);
/// The longest wait while its answers make no sense: each may be as large as everything that it has.
const BACK_OFF_MAX_MALFORMED: Duration = Duration::from_secs(30);

/// A registry of pilot.toml and what is known of it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its name in pilot.toml.
    pub name: Arc<str>,
    /// The adapter's kind: `file`, `consul`.
    pub kind: &'static str,
    /// 0 is preferred.
    pub priority: u32,
    /// Its last value and its health.
    pub feed: Feed<Snapshot>,
    /// What of its value counts.
    pub intake: Intake,
}

impl Registered {
    /// A registry of which nothing is known yet.
    pub fn new(
        name: impl Into<Arc<str>>,
        kind: &'static str,
        priority: u32,
        feed: Feed<Snapshot>,
        policy: Policy,
    ) -> Self {
        let name = name.into();
        let intake = Intake::new(Arc::clone(&name), policy);
        Self { name, kind, priority, feed, intake }
    }

    /// Time since the platform last said that this is its value, also when it said so to an earlier pilot.
    pub fn data_age(&self) -> Option<Duration> {
        match self.intake.state().known.map(|known| known.freshness) {
            Some(Freshness::Disk { saved_at }) => Some(saved_at.elapsed().unwrap_or_default()),
            _ => self.feed.published().map(|published| published.checked.elapsed()),
        }
    }
}

/// Attempts for ever, and tells the log. Dropping the future ends the registry's attempt with it.
pub async fn supervise(registered: &Registered, registry: &dyn ServiceRegistry, sink: &SnapshotSink) {
    let journal = journal::follow(&registered.name, &registered.feed);
    let beside = || {
        registered.intake.reads().begin();
        second_read::second_reads(registered, registry, sink)
    };
    tokio::join!(attempts(&registered.name, registry, sink, &registered.feed, beside), journal);
}

/// The same for a store of rules. What it has is small, and is not read a second time.
pub async fn supervise_rules(name: &str, store: &dyn RuleStore, sink: &TextSink, feed: &Feed<Texts>) {
    // A registry may have the same name.
    let name = format!("rules.{name}");
    let journal = journal::follow(&name, feed);
    tokio::join!(attempts(&name, store, sink, feed, std::future::pending::<()>), journal);
}

/// Who can be asked for a value.
#[async_trait]
trait Asked<T: Content>: Send + Sync {
    /// Its table in pilot.toml, for the log.
    fn table(&self, name: &str) -> String;

    async fn attempt(&self, sink: &Sink<T>) -> Result<Infallible, RegistryError>;
}

#[async_trait]
impl Asked<Snapshot> for dyn ServiceRegistry + '_ {
    fn table(&self, name: &str) -> String {
        format!("registry.{name}.{}", self.name())
    }

    async fn attempt(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        self.run(sink).await
    }
}

#[async_trait]
impl Asked<Texts> for dyn RuleStore + '_ {
    fn table(&self, name: &str) -> String {
        format!("{name}.{}", self.name())
    }

    async fn attempt(&self, sink: &TextSink) -> Result<Infallible, RegistryError> {
        self.run(sink).await
    }
}

/// Attempts for ever. What `beside` makes runs beside each attempt; when it returns, the attempt ends, which is no
/// failure, and the next one begins at once.
async fn attempts<T: Content, B: Future<Output = ()> + Send>(
    name: &str,
    registry: &(impl Asked<T> + ?Sized),
    sink: &Sink<T>,
    feed: &Feed<T>,
    beside: impl Fn() -> B + Send + Sync,
) -> Infallible {
    let (mut failures, mut failed) = (0, journal::Failed::default());
    let table = registry.table(name);
    loop {
        let started = Instant::now();
        // What an adapter writes to the log is of this registry, by the name of its table in pilot.toml.
        let span = tracing::error_span!("registry", table);
        let ended = tokio::select! {
            error = attempt(registry, sink).instrument(span) => Some(error),
            () = beside() => None,
        };
        let Some(error) = ended else { continue };
        let progress = feed.published().is_some_and(|published| published.checked >= started);
        failures = if progress { 0 } else { failures + 1 };
        let waited = if progress { Duration::ZERO } else { waited(started.elapsed(), error.kind()) };
        let wait = jittered(back_off(failures, error.kind())).saturating_sub(waited);
        failed.tell(name, error.chain(), progress, wait);
        feed.attempt_failed(error);
        tokio::time::sleep(wait).await;
    }
}

/// One attempt. A panic in an adapter is a bug, but not one that may take the others down.
async fn attempt<T: Content>(registry: &(impl Asked<T> + ?Sized), sink: &Sink<T>) -> RegistryError {
    let ended: Result<Result<Infallible, _>, _> =
        AssertUnwindSafe(registry.attempt(sink)).catch_unwind().await;
    match ended {
        Ok(Err(error)) => error,
        Err(_panic) => RegistryError::malformed("the adapter panicked: this is a bug in it"),
    }
}

/// The longest wait after so many failures in a row, the last of that kind.
pub(crate) fn back_off(failures: u32, kind: ErrorKind) -> Duration {
    let most = match kind {
        ErrorKind::Unavailable | ErrorKind::Denied => BACK_OFF_MAX,
        ErrorKind::Malformed => BACK_OFF_MAX_MALFORMED,
    };
    BACK_OFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most)
}

/// How much of the time that an attempt took, which brought nothing, was waiting already: all of it, unless
/// there was an answer, to which the platform may have to do as much again.
fn waited(took: Duration, kind: ErrorKind) -> Duration {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Denied => took,
        ErrorKind::Malformed => Duration::ZERO,
    }
}

/// A random duration from zero to `most`, so that many do not return at once.
pub fn jittered(most: Duration) -> Duration {
    most.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_to_its_maximum() {
        for (failures, wait_ms) in [(0, 250), (1, 250), (2, 500), (3, 1000), (4, 2000)] {
            for kind in [ErrorKind::Unavailable, ErrorKind::Denied, ErrorKind::Malformed] {
                assert_eq!(back_off(failures, kind), Duration::from_millis(wait_ms));
            }
        }
        assert_eq!(back_off(u32::MAX, ErrorKind::Malformed), Duration::from_secs(30));
    }

    #[test]
    fn back_off_lets_healing_be_seen_within_5_s() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Denied] {
            assert_eq!(back_off(u32::MAX, kind), Duration::from_secs(3));
        }
    }

    #[test]
    fn waiting_in_vain_for_an_answer_counts_as_waiting() {
        let took = Duration::from_secs(4);
        assert_eq!(waited(took, ErrorKind::Unavailable), took);
        assert_eq!(waited(took, ErrorKind::Malformed), Duration::ZERO);
    }

    #[test]
    fn jitter_stays_in_its_bounds_and_differs() {
        let most = Duration::from_secs(1);
        let waits: std::collections::BTreeSet<_> = (0..32).map(|_| jittered(most)).collect();
        assert!(waits.len() > 16 && waits.iter().all(|wait| *wait <= most));
    }
}
