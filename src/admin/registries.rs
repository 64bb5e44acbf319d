//! What is known of each registry, and letting go of what its guard holds.

mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::reply::Failure;
use crate::catalog::{DiskStatus, Freshness, Held};
use crate::metrics::health_word;
use crate::rfc3339;
use crate::supervisor::Registered;
pub use told::{LastErrorReport, RegistryTrouble, WatchReport};

/// One registry. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegistryReport {
    /// Its name in pilot.toml.
    pub name: String,
    /// The adapter: `file`, `consul`.
    pub kind: String,
    /// 0 is preferred.
    pub priority: u32,
    /// Whether others are served without it.
    pub optional: bool,
    /// `connecting`, `live` or `degraded`.
    pub health: String,
    /// What is wrong, when degraded.
    pub trouble: Option<RegistryTrouble>,
    /// What else is wrong, the oldest first.
    #[serde(default)]
    pub other_troubles: Vec<RegistryTrouble>,
    /// What went wrong last; it stays when it is over.
    pub last_error: Option<LastErrorReport>,
    /// What it tells of its platform, by name: `server_version`.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
    /// How it follows its platform, by what is followed.
    #[serde(default)]
    pub watches: BTreeMap<String, WatchReport>,
    /// Where what is served of it is from: `registry`, or `disk` while it has not answered yet; `None` =
    /// nothing is known of it.
    pub origin: Option<String>,
    /// Counts the values that differed from the one before; `None` = it has not answered yet.
    pub revision: Option<u64>,
    /// When the value last changed.
    pub changed_at: Option<String>,
    /// Time since the platform last said that this is its value.
    pub age_seconds: Option<f64>,
    /// How many services are served of it.
    pub services: usize,
    /// How many endpoints they have.
    pub endpoints: usize,
    /// What of them it no longer says, or calls unhealthy, and is held back from that.
    pub held: Option<HeldReport>,
    /// How its last known good is kept on disk; `None` = it is not.
    pub disk: Option<DiskReport>,
    /// Entries that were skipped, and why.
    pub skipped: BTreeMap<String, String>,
    /// What there is to say of entries that are served: what was guessed, what of them does not count.
    #[serde(default)]
    pub notes: BTreeMap<String, String>,
}

/// What is held of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldReport {
    /// Since when.
    pub since: String,
    /// When the first of it is let go at the latest, if the registry is live then.
    pub until: String,
    /// How many endpoints.
    pub endpoints: usize,
    /// How many of which service.
    pub services: BTreeMap<String, usize>,
    /// How many of them are there, and keep the health that they had.
    #[serde(default)]
    pub unhealthy: usize,
}

/// How the last known good of a registry is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// As of when it is there; `None` = it is not there yet.
    pub saved_at: Option<String>,
    /// What went wrong last, and has not gone right since.
    pub error: Option<String>,
}

/// What was let go of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    /// The registry's name in pilot.toml.
    pub registry: String,
    /// How many endpoints.
    pub endpoints: usize,
    /// How many of which service.
    pub services: BTreeMap<String, usize>,
}

impl RegistryReport {
    /// Of the registry of that name.
    pub(super) fn of_name(registries: &[Registered], name: &str) -> Result<Self, Failure> {
        named(registries, name).map(Self::of)
    }

    pub(super) fn of(registered: &Registered) -> Self {
        let (health, troubles, published, skipped, notes) = registered.feed.with_state(|state| {
            let troubles: Vec<_> = state.troubles().cloned().collect();
            let (skipped, notes) = (Arc::clone(&state.skipped), Arc::clone(&state.notes));
            (state.health(), troubles, state.published.clone(), skipped, notes)
        });
        let mut troubles = troubles.iter().map(RegistryTrouble::of);
        let (status, now) = (registered.feed.status(), Instant::now());
        let known = registered.intake.state().known;
        let age = registered.data_age().as_ref().map(Duration::as_secs_f64);
        Self {
            name: registered.name.to_string(),
            kind: registered.kind.to_owned(),
            priority: registered.priority,
            optional: registered.intake.policy().patience.is_some(),
            health: health_word(&health).to_owned(),
            trouble: troubles.next(),
            other_troubles: troubles.collect(),
            last_error: status.last_error.as_ref().map(|error| LastErrorReport::of(error, now)),
            watches: WatchReport::all(&status, now),
            facts: status.facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            origin: known.as_ref().map(|known| origin_word(known.freshness).to_owned()),
            revision: published.as_ref().map(|published| published.revision),
            changed_at: published.as_ref().map(|published| wall_clock(published.changed)),
            age_seconds: age,
            services: known.as_ref().map_or(0, |known| known.snapshot.services().len()),
            endpoints: known.as_ref().map_or(0, |known| known.snapshot.endpoint_count()),
            held: known.as_ref().and_then(|known| known.held.as_deref()).map(HeldReport::of),
            disk: registered.intake.disk().map(DiskReport::of),
            skipped: skipped.as_ref().clone(),
            notes: notes.as_ref().clone(),
        }
    }
}

impl HeldReport {
    fn of(held: &Held) -> Self {
        Self {
            since: wall_clock(held.since),
            until: wall_clock(held.until),
            endpoints: held.endpoints(),
            services: by_name(held),
            unhealthy: held.unhealthy.values().sum(),
        }
    }
}

impl DiskReport {
    fn of(DiskStatus { saved_at, error }: DiskStatus) -> Self {
        Self { saved_at: saved_at.map(rfc3339::format), error }
    }
}

impl Released {
    /// Lets go of what is held of the registry of that name.
    pub(super) fn from(registries: &[Registered], name: &str) -> Result<Self, Failure> {
        let held = named(registries, name)?.intake.release();
        Ok(Self {
            registry: name.to_owned(),
            endpoints: held.as_ref().map_or(0, Held::endpoints),
            services: held.as_ref().map(by_name).unwrap_or_default(),
        })
    }
}

/// The registry of that name.
fn named<'a>(registries: &'a [Registered], name: &str) -> Result<&'a Registered, Failure> {
    registries.iter().find(|registered| *registered.name == *name).ok_or_else(|| {
        let known = registries.iter().map(|registered| &*registered.name);
        Failure::not_found(format!("no registry {name:?}")).knowing(known)
    })
}

fn by_name(held: &Held) -> BTreeMap<String, usize> {
    held.counts().into_iter().map(|(host, endpoints)| (host.to_string(), endpoints)).collect()
}

fn origin_word(freshness: Freshness) -> &'static str {
    match freshness {
        Freshness::Live => "registry",
        Freshness::Disk { .. } => "disk",
    }
}

fn wall_clock(at: Instant) -> String {
    let (ago, ahead) = (at.elapsed(), at.saturating_duration_since(Instant::now()));
    let then = SystemTime::now().checked_sub(ago).and_then(|then| then.checked_add(ahead));
    rfc3339::format(then.unwrap_or(SystemTime::UNIX_EPOCH))
}
