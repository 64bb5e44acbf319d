//! What is known of each registry.

use std::collections::BTreeMap;
use std::time::SystemTime;

use pilot_registry::{Published, RegistryHealth, Snapshot};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::metrics::health_word;
use crate::rfc3339;
use crate::supervisor::Registered;

/// One registry. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistryReport {
    /// Its name in pilot.toml.
    pub name: String,
    /// The adapter: `file`, `consul`.
    pub kind: String,
    /// 0 is preferred.
    pub priority: u32,
    /// `connecting`, `live` or `degraded`.
    pub health: String,
    /// What is wrong, when degraded.
    pub trouble: Option<RegistryTrouble>,
    /// Counts the values that differed from the one before; `None` = nothing known yet.
    pub revision: Option<u64>,
    /// When the value last changed.
    pub changed_at: Option<String>,
    /// Time since the platform last said that this is its value.
    pub age_seconds: Option<f64>,
    /// How many services it has.
    pub services: usize,
    /// How many endpoints they have.
    pub endpoints: usize,
    /// Entries that were left out, and why.
    pub skipped: BTreeMap<String, String>,
}

/// What is wrong with a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryTrouble {
    /// Since when.
    pub since: String,
    /// `denied`, `unavailable` or `malformed`.
    pub kind: String,
    /// What was tried, and how it failed.
    pub error: String,
}

impl RegistryReport {
    pub(super) fn of(registered: &Registered) -> Self {
        let (health, published, skipped) = registered.feed.with_state(|state| {
            (state.health(), state.published.clone(), std::sync::Arc::clone(&state.skipped))
        });
        let snapshot = published.as_ref().map(|published: &Published<Snapshot>| &published.value);
        Self {
            name: registered.name.to_string(),
            kind: registered.kind.to_owned(),
            priority: registered.priority,
            health: health_word(&health).to_owned(),
            trouble: trouble(&health),
            revision: published.as_ref().map(|published| published.revision),
            changed_at: published.as_ref().map(|published| wall_clock(published.changed)),
            age_seconds: published.as_ref().map(|published| published.checked.elapsed().as_secs_f64()),
            services: snapshot.map_or(0, |snapshot| snapshot.services().len()),
            endpoints: snapshot.map_or(0, |snapshot| snapshot.endpoint_count()),
            skipped: skipped.as_ref().clone(),
        }
    }
}

fn trouble(health: &RegistryHealth) -> Option<RegistryTrouble> {
    let RegistryHealth::Degraded(trouble) = health else { return None };
    Some(RegistryTrouble {
        since: wall_clock(trouble.since),
        kind: trouble.error.kind().as_str().to_owned(),
        error: trouble.error.chain(),
    })
}

fn wall_clock(at: Instant) -> String {
    rfc3339::format(SystemTime::now().checked_sub(at.elapsed()).unwrap_or(SystemTime::UNIX_EPOCH))
}
