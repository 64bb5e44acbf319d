//! A second complete read of a registry, beside the attempt that follows it.
//!
//! ```text
//!  attempt ────────► sink ──────────► Feed ──► Intake ── "much is missing: read again" ──┐
//!  second attempt ─► sink of its own ─► its first value ──► Intake                        │
//!        ▲──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! The first attempt goes on, so changes are seen at once meanwhile, and nothing that it has said is taken back. The
//! second one ends when it has answered. If it has something that the first still lacks a moment later, the first
//! one has missed something, and begins anew.

use std::time::Duration;

use parking_lot::Mutex;
use pilot_registry::{Published, RegistryHealth, ServiceRegistry, Snapshot, SnapshotSink, channel};
use tokio::time::Instant;

use super::{Registered, attempts};

/// What the platform has just got back reaches the running attempt within this time.
const GRACE: Duration = Duration::from_secs(5);

/// Reads everything again whenever that is wanted. Returns when the running attempt has to begin anew.
pub(super) async fn second_reads(
    registered: &Registered,
    registry: &dyn ServiceRegistry,
    sink: &SnapshotSink,
) {
    let (name, intake) = (&*registered.name, &registered.intake);
    let running = intake.reads().last();
    loop {
        intake.reads().newer_wanted_than(running).await;
        let (began, answer) = tokio::select! {
            answer = second_read(name, registry, sink) => answer,
            () = intake.reads().none_wanted() => continue,
        };
        intake.confirm(began, &answer);
        if intake.lacks_some_of(&answer) {
            tokio::time::sleep(GRACE).await;
            if intake.lacks_some_of(&answer) {
                tracing::warn!(registry = name, "a second read shows more than is followed: beginning anew");
                return;
            }
        }
        intake.reads().answered();
    }
}

/// One complete read, however many attempts it takes. What is wrong with it is wrong with the registry. When the
/// attempt began that succeeded, and what it said.
async fn second_read(
    name: &str,
    registry: &dyn ServiceRegistry,
    sink: &SnapshotSink,
) -> (Instant, Published<Snapshot>) {
    let (own, feed) = channel();
    let began = Mutex::new(Instant::now());
    let attempt_begins = || {
        *began.lock() = Instant::now();
        std::future::pending()
    };
    let answer = async {
        let (mut states, mut fault) = (feed.subscribe(), None);
        loop {
            let (published, health) = feed.with_state(|state| (state.published.clone(), state.health()));
            match (health, published) {
                (RegistryHealth::Live, Some(published)) => return published,
                (RegistryHealth::Degraded(trouble), _) if fault.is_none() => {
                    fault = Some(sink.fault(trouble.error));
                }
                (RegistryHealth::Live | RegistryHealth::Connecting, None) => fault = None,
                (RegistryHealth::Connecting, Some(_)) | (RegistryHealth::Degraded(_), _) => {}
            }
            if states.changed().await.is_err() {
                // The feed outlives its receivers.
                std::future::pending::<()>().await;
            }
        }
    };
    let published = tokio::select! {
        published = answer => published,
        never = attempts(name, registry, &own, &feed, attempt_begins) => match never {},
    };
    (began.into_inner(), published)
}
