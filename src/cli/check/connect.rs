//! Asking the registries: one attempt of each, until it has said once what it has.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use pilot_registry::{Feed, RegistryHealth, Snapshot, SnapshotSink, channel};
use serde::Serialize;
use tokio::time::{Instant, timeout};

use crate::catalog::Source;
use crate::registries::ConfiguredRegistry;

/// What a registry said when it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Answer {
    /// Whether it said what it has, and nothing is wrong.
    pub(super) ok: bool,
    /// How long that took.
    pub(super) took_ms: u64,
    /// How many entries it has that make no sense, or are left out for another reason.
    pub(super) skipped: usize,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// What is known of a registry that was asked.
pub(super) struct Asked {
    pub(super) registry: Arc<str>,
    pub(super) answer: Answer,
    /// What it has, if it said that.
    pub(super) source: Option<Source>,
    /// What it said of entries: that one is left out, and why, or what had to be guessed.
    pub(super) told: Vec<String>,
}

/// Asks all of them at once, each for so long at most.
pub(super) async fn ask(registries: Vec<ConfiguredRegistry>, patience: Duration) -> Vec<Asked> {
    join_all(registries.into_iter().map(|registry| ask_one(registry, patience))).await
}

async fn ask_one(configured: ConfiguredRegistry, patience: Duration) -> Asked {
    let ConfiguredRegistry { name, priority, registry, .. } = configured;
    let (sink, feed): (SnapshotSink, Feed<Snapshot>) = channel();
    let started = Instant::now();
    let mut states = feed.subscribe();
    let attempt = async {
        tokio::select! {
            Err(error) = registry.run(&sink) => Some(error),
            _said = states.wait_for(|state| state.published.is_some()) => None,
        }
    };
    let ended = timeout(patience, attempt).await;
    let wrong = match feed.health() {
        RegistryHealth::Degraded(trouble) => Some(trouble.error.chain()),
        RegistryHealth::Live | RegistryHealth::Connecting => None,
    };
    let late = || format!("no answer within {}", pilot_registry::duration::format(patience));
    let error = match ended {
        Ok(Some(error)) => Some(error.chain()),
        Ok(None) => wrong,
        Err(_elapsed) => Some(wrong.map_or_else(late, |wrong| format!("{}: {wrong}", late()))),
    };
    let (snapshot, skipped, notes) = feed.with_state(|state| {
        let snapshot = state.published.as_ref().map(|it| Arc::clone(&it.value));
        (snapshot, Arc::clone(&state.skipped), Arc::clone(&state.notes))
    });
    let skipped_here = skipped.iter().map(|(entry, why)| format!("{entry} is skipped: {why}"));
    let noted = notes.iter().map(|(entry, note)| format!("{entry}: {note}"));
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Asked {
        registry: Arc::clone(&name),
        answer: Answer { ok: error.is_none(), took_ms, skipped: skipped.len(), error },
        source: snapshot.map(|snapshot| Source::new(name, priority, snapshot)),
        told: skipped_here.chain(noted).collect(),
    }
}
